//! Query strings: read as browsers write them, written the same way.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is written as it is, besides letters and digits.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

/// The pairs of a query, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

/// A value that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {0} invalid")]
pub struct ParameterError(pub &'static str);

impl Query {
    /// Reads the part of a URL after `?`. Pairs with broken escapes or with `;` are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text
            .split('&')
            .filter(|p| !p.is_empty() && !p.contains(';'));
        Self(
            pairs
                .filter_map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Some((decode(key)?, decode(value)?))
                })
                .collect(),
        )
    }

    /// The first value of a key, empty if there is none.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(k, _)| k == key);
        found.map_or("", |(_, v)| v.as_str())
    }

    /// All values of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let matching = self.0.iter().filter(move |(k, _)| k == key);
        matching.map(|(_, v)| v.as_str())
    }

    /// All pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Adds a pair.
    pub fn push(&mut self, key: impl Into<String>, value: impl ToString) {
        self.0.push((key.into(), value.to_string()));
    }

    /// A number; `default` if the key is missing or empty.
    pub fn int(&self, key: &'static str, default: i32) -> Result<i32, ParameterError> {
        match self.get(key) {
            "" => Ok(default),
            text => text.parse().map_err(|_| ParameterError(key)),
        }
    }

    /// A truth value; `default` if the key is missing or empty.
    pub fn bool(&self, key: &'static str, default: bool) -> Result<bool, ParameterError> {
        match self.get(key) {
            "" => Ok(default),
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ => Err(ParameterError(key)),
        }
    }
}

fn decode(text: &str) -> Option<String> {
    if has_broken_escape(text) {
        return None;
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(|t| t.into_owned())
}

/// Whether a `%` is not followed by two hex digits.
#[must_use]
pub fn has_broken_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    (0..bytes.len()).any(|at| bytes[at] == b'%' && !(hex(at + 1) && hex(at + 2)))
}

/// One key or value, escaped.
#[must_use]
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED)
        .to_string()
        .replace(' ', "+")
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (key, value)) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "&" };
            write!(f, "{separator}{}={}", escape(key), escape(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_value_counts_and_broken_pairs_do_not() {
        let query = Query::parse("a=1&a=2&b=%zz&c=x+y%2B&d;e=1&&f");
        assert_eq!(query.get("a"), "1");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), "");
        assert_eq!(query.get("c"), "x y+");
        assert_eq!(query.pairs().count(), 4);
    }

    #[test]
    fn truth_has_many_names() {
        let query = Query::parse("a=T&b=0&c=yes&d=");
        assert_eq!(query.bool("a", false), Ok(true));
        assert_eq!(query.bool("b", true), Ok(false));
        assert_eq!(query.bool("d", true), Ok(true));
        let error = query.bool("c", false).unwrap_err();
        assert_eq!(error.to_string(), "parameter c invalid");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::vec((".{1,8}", ".{0,8}"), 0..6)) {
            let mut query = Query::default();
            for (key, value) in pairs {
                query.push(key, value);
            }
            prop_assert_eq!(Query::parse(&query.to_string()), query);
        }

        #[test]
        fn garbage_never_panics(text in ".{0,80}") {
            let _ = Query::parse(&text).to_string();
        }
    }
}
