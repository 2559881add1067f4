//! Text for a page: escaped, and tags that are always closed.

use std::fmt::Write as _;

/// What may stand between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A terminal's colours and the like have no place in a page.
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A page, or a part of it, that grows.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Adds markup as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// Adds an element with text in it.
    pub(super) fn text(&mut self, tag: &str, attributes: &str, text: &str) {
        let space = if attributes.is_empty() { "" } else { " " };
        // Writing into a text cannot fail.
        let _ = write!(self.0, "<{tag}{space}{attributes}>{}</{tag}>", escape(text));
    }

    /// A rectangle of the drawing that tells what it is when pointed at.
    pub(super) fn bar(&mut self, class: &str, (x, y, width, height): Place, title: &str) {
        let _ = write!(
            self.0,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\">",
            width.max(1.0)
        );
        self.text("title", "", title);
        self.raw("</rect>\n");
    }

    /// Text in the drawing.
    pub(super) fn label(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let attributes = format!("class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\"");
        self.text("text", &attributes, text);
        self.raw("\n");
    }

    /// A line through points.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let _ = write!(self.0, "<polyline class=\"{class}\" points=\"");
        for (x, y) in points {
            let _ = write!(self.0, "{x:.1},{y:.1} ");
        }
        self.raw("\"></polyline>\n");
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// x, y, width, height.
pub(super) type Place = (f64, f64, f64, f64);
