//! The page around the drawing.

use super::{Recording, axis::seconds, lanes, markup::Markup};

/// What stands above the drawing.
#[derive(Debug, Clone)]
pub struct Heading {
    /// Name of the scenario.
    pub scenario: String,
    /// What it proves.
    pub about: String,
    /// `ok`, or the property that did not hold and what was seen.
    pub verdict: String,
    /// The last line of the run's output.
    pub summary: String,
    /// The command that shows the run again.
    pub command: String,
    /// Questions and their answers, where there are some.
    pub answers: Vec<(String, String)>,
}

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("pointer.js");

/// What the marks mean: class and words.
const LEGEND: &[(&str, &str)] = &[
    ("leader", "leads"),
    ("candidate", "asks for votes"),
    ("follower", "follows"),
    ("standin", "has the log, no vote"),
    ("recovering", "recovers, or joins"),
    ("down", "does not run"),
    ("cut", "cut off from a majority"),
    ("cut-some", "cut off from some"),
    ("lacking", "pins lack copies"),
];

/// The whole page.
#[must_use]
pub fn page(heading: &Heading, recording: &Recording) -> String {
    let mut out = Markup::default();
    out.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    out.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    out.raw("<meta name=\"color-scheme\" content=\"light dark\"/>\n");
    // No icon: a browser would ask the server for one.
    out.raw("<link rel=\"icon\" href=\"data:,\"/>\n");
    out.text(
        "title",
        "",
        &format!("{}: {}", heading.scenario, heading.verdict),
    );
    out.raw("\n<style>");
    out.raw(STYLE);
    out.raw("</style>\n</head>\n<body>\n<main>\n");
    head(&mut out, heading);
    legend(&mut out);
    out.raw("<figure>\n");
    out.raw(&lanes::draw(recording));
    out.raw("</figure>\n<p class=\"hint\" id=\"pointer\">Point at a lane to read what it shows there.</p>\n");
    story(&mut out, recording);
    out.raw("</main>\n<script>");
    out.raw(SCRIPT);
    out.raw("</script>\n</body>\n</html>\n");
    out.into_string()
}

fn head(out: &mut Markup, heading: &Heading) {
    out.raw("<header>\n");
    out.text("h1", "", &heading.scenario);
    out.text("p", "", &heading.about);
    let class = if heading.verdict == "ok" { "ok" } else { "bad" };
    out.text("p", &format!("class=\"verdict {class}\""), &heading.verdict);
    out.text("p", "class=\"summary\"", &heading.summary);
    out.raw("<p class=\"summary\">Again: ");
    out.text("code", "", &heading.command);
    out.raw("</p>\n");
    if !heading.answers.is_empty() {
        out.raw("<table class=\"answers\"><tbody>\n");
        for (question, answer) in &heading.answers {
            out.raw("<tr>");
            out.text("th", "scope=\"row\"", question);
            out.text("td", "", answer);
            out.raw("</tr>\n");
        }
        out.raw("</tbody></table>\n");
    }
    out.raw("</header>\n");
}

fn legend(out: &mut Markup) {
    out.raw("<ul class=\"legend\">\n");
    for (class, words) in LEGEND {
        out.raw(&format!(
            "<li><svg viewBox=\"0 0 22 12\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"22\" height=\"12\"></rect></svg>"
        ));
        out.text("span", "", words);
        out.raw("</li>\n");
    }
    for (class, words) in [("commits", "entries applied"), ("messages", "messages")] {
        out.raw(&format!(
            "<li><svg viewBox=\"0 0 22 12\" aria-hidden=\"true\"><polyline class=\"{class}\" points=\"0,10 7,3 14,8 22,2\"></polyline></svg>"
        ));
        out.text("span", "", words);
        out.raw("</li>\n");
    }
    out.raw("</ul>\n");
}

fn story(out: &mut Markup, recording: &Recording) {
    out.raw("<section>\n");
    out.text("h2", "", "What happened");
    out.raw("\n<table class=\"story\"><thead><tr><th>#</th><th>at</th><th>what</th></tr></thead><tbody>\n");
    for ((at, text), number) in recording.events.iter().zip(1..) {
        let bad = text.starts_with("VIOLATED");
        out.raw(if bad { "<tr class=\"bad\">" } else { "<tr>" });
        out.text("td", "", &number.to_string());
        out.text("td", "class=\"at\"", &seconds(*at));
        out.text("td", "", text);
        out.raw("</tr>\n");
    }
    out.raw("</tbody></table>\n</section>\n");
}
