//! JSON as clients of the API are used to it: `<`, `>`, `&` and the two line separators of Unicode
//! escaped, so that an answer can be put into a page as it is.

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// Compact, with the extra escapes.
struct HtmlSafe;

impl Formatter for HtmlSafe {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut plain = 0;
        for (at, c) in fragment.char_indices() {
            let escape: &[u8] = match c {
                '<' => br"\u003c",
                '>' => br"\u003e",
                '&' => br"\u0026",
                '\u{2028}' => br"\u2028",
                '\u{2029}' => br"\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            writer.write_all(escape)?;
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }

    fn write_char_escape<W>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        match escape {
            CharEscape::Backspace => writer.write_all(br"\b"),
            CharEscape::FormFeed => writer.write_all(br"\f"),
            CharEscape::LineFeed => writer.write_all(br"\n"),
            CharEscape::CarriageReturn => writer.write_all(br"\r"),
            CharEscape::Tab => writer.write_all(br"\t"),
            CharEscape::Quote => writer.write_all(br#"\""#),
            CharEscape::ReverseSolidus => writer.write_all(br"\\"),
            CharEscape::Solidus => writer.write_all(br"\/"),
            CharEscape::AsciiControl(byte) => write!(writer, r"\u{byte:04x}"),
        }
    }
}

/// Appends one value, without a newline.
///
/// Fails only for values that JSON cannot hold, such as maps with keys that are no strings.
pub fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, HtmlSafe))
}

/// One value, without a newline.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(128);
    append(&mut out, value)?;
    Ok(out)
}

/// One value and a newline.
pub fn to_line<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut out = to_vec(value)?;
    out.push(b'\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_html_gives_a_meaning_is_escaped() {
        assert_eq!(
            String::from_utf8(to_vec("a<b>&\u{2028}\"\n\u{1}").unwrap()).unwrap(),
            r#""a\u003cb\u003e\u0026\u2028\"\n\u0001""#
        );
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            let json = to_vec(&text).unwrap();
            prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}
