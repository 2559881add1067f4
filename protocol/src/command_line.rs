//! Command lines as the Go programs read them, rewritten for a reader that is stricter.
//!
//! Go's flag reader takes one dash or two before any name, a value after `=` or as the next word
//! whatever that begins with, and a truth value after `=` for a switch. What comes out has two
//! dashes before long names and one before letters, values behind `=`, and switches alone. Words
//! that are no known flag are left as they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
};

/// The flags of a command, and the commands below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// Names that stand alone.
    pub switches: BTreeSet<String>,
    /// Names that need a value.
    pub values: BTreeSet<String>,
    /// Names that stand alone or have a value behind `=`.
    pub optional: BTreeSet<String>,
    /// By name.
    pub below: BTreeMap<String, Self>,
}

/// Rewrites a command line, the program's name first.
#[must_use]
pub fn rewrite(words: impl IntoIterator<Item = OsString>, flags: &Flags) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut out: Vec<OsString> = words.next().into_iter().collect();
    let mut at = flags;
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            out.push(word);
            continue;
        };
        if text == "--" {
            out.push(word);
            out.extend(words);
            break;
        }
        let Some((name, value)) = flag(text) else {
            at = at.below.get(text).unwrap_or(at);
            out.push(word);
            continue;
        };
        let dashed = dashed(name);
        if at.values.contains(name) {
            let next = match value {
                Some(value) => Some(OsString::from(value)),
                None => words.next(),
            };
            out.push(match next {
                Some(next) => with_value(dashed, &next),
                None => dashed.into(),
            });
        } else if at.switches.contains(name) {
            match value.map(truth) {
                None | Some(Some(true)) => out.push(dashed.into()),
                Some(Some(false)) => {}
                Some(None) => out.push(word),
            }
        } else if at.optional.contains(name) {
            out.push(match value {
                Some(value) => with_value(dashed, &OsString::from(value)),
                None => dashed.into(),
            });
        } else {
            out.push(word);
        }
    }
    out
}

/// Name and value of `-name`, `--name`, `-name=value` or `--name=value`.
fn flag(text: &str) -> Option<(&str, Option<&str>)> {
    let rest = text.strip_prefix('-')?;
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    // A number is a value, one dash alone stands for stdin.
    if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    Some(match rest.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (rest, None),
    })
}

fn dashed(name: &str) -> String {
    if name.len() == 1 {
        format!("-{name}")
    } else {
        format!("--{name}")
    }
}

fn with_value(dashed: String, value: &OsString) -> OsString {
    let mut word = OsString::from(dashed);
    word.push("=");
    word.push(value);
    word
}

/// What Go reads as a truth value.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|&n| n.to_owned()).collect()
    }

    fn tree() -> Flags {
        let add = Flags {
            switches: names(&["wait", "w"]),
            values: names(&["rmin", "name", "n"]),
            optional: names(&["raw-leaves"]),
            below: BTreeMap::new(),
        };
        Flags {
            switches: names(&["debug", "d"]),
            values: names(&["host", "l"]),
            optional: BTreeSet::new(),
            below: [("add".to_owned(), add)].into(),
        }
    }

    fn rewritten(line: &str) -> String {
        let words = std::iter::once("x").chain(line.split(' ').filter(|w| !w.is_empty()));
        let out = rewrite(words.map(OsString::from), &tree());
        let texts = out[1..].iter().map(|w| w.to_str().unwrap());
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_dash_or_two_values_apart_or_not_and_switches_with_a_truth_value() {
        for (line, expected) in [
            ("-debug --l /unix/x add", "--debug -l=/unix/x add"),
            ("add -rmin -1 -name=a f", "add --rmin=-1 --name=a f"),
            ("add --wait=true -w=0 f", "add --wait f"),
            ("add -n -odd f", "add -n=-odd f"),
            ("add -raw-leaves=false", "add --raw-leaves=false"),
            ("add --raw-leaves f", "add --raw-leaves f"),
            ("add -- -rmin -1", "add -- -rmin -1"),
            ("add --rmin", "add --rmin"),
            ("add - -5", "add - -5"),
        ] {
            assert_eq!(rewritten(line), expected, "{line}");
        }
    }

    #[test]
    fn unknown_flags_and_those_of_other_commands_are_left_alone() {
        for line in ["-rmin 2", "add -wait=maybe", "add --host x", "add -wn"] {
            assert_eq!(rewritten(line), line);
        }
    }

    proptest! {
        #[test]
        fn no_line_panics_and_none_grows(words in proptest::collection::vec("[-=a-z0-9é ]{0,12}", 0..8)) {
            let count = words.len();
            let out = rewrite(words.into_iter().map(OsString::from), &tree());
            prop_assert!(out.len() <= count);
        }
    }
}
