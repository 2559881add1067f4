//! Which files of a folder are left out: `--ignore` and `--ignore-rules-path` of `ipfs add`.
//!
//! The rules look like those of a `.gitignore`, and mean what Kubo takes them for: each is compared with
//! the name of an entry alone, never with a path. So one with a slash within, or at its end, matches
//! nothing; the user is told. `*` and `[…]` are all the patterns there are; the last rule that matches
//! decides, and one with `!` before it takes back in.

use std::{fs, io, path::Path};

/// Bytes of a file of rules.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Rules in all.
const RULES_MAX: usize = 4096;

/// What is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ignored(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    pattern: Vec<Token>,
    /// Takes back in what an earlier rule leaves out.
    negated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// Ranges of characters, and whether they are those that do not match.
    Class(Vec<(char, char)>, bool),
    /// Any characters, or none.
    Any,
}

impl Ignored {
    /// The rules of a file, if one is named, then those of the command line. Rules that can match
    /// nothing are told of.
    pub(super) fn read(
        file: Option<&Path>,
        rules: &[String],
        mut tell: impl FnMut(&str),
    ) -> io::Result<Self> {
        let mut text = String::new();
        if let Some(path) = file {
            let len = fs::metadata(path)?.len();
            if len > FILE_BYTES_MAX {
                let why = format!("{len} bytes of rules, at most {FILE_BYTES_MAX} are read");
                return Err(io::Error::other(why));
            }
            text = fs::read_to_string(path)?;
        }
        let mut found = Vec::new();
        for line in text.lines().chain(rules.iter().map(String::as_str)) {
            match Rule::read(line) {
                Read::Rule(rule) => found.push(rule),
                Read::Nothing => {}
                Read::Path => tell(&format!(
                    "the rule {line:?} leaves out nothing: names are compared, not paths; write it \
                     without the slash"
                )),
            }
            if found.len() > RULES_MAX {
                return Err(io::Error::other(format!("more than {RULES_MAX} rules")));
            }
        }
        Ok(Self(found))
    }

    /// Whether an entry of this name is left out.
    pub(super) fn has(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let decides = self.0.iter().rev().find(|r| matches(&r.pattern, &name));
        decides.is_some_and(|rule| !rule.negated)
    }
}

enum Read {
    Rule(Rule),
    /// An empty line, or a comment.
    Nothing,
    /// A rule for paths.
    Path,
}

impl Rule {
    fn read(line: &str) -> Read {
        let mut text = line.trim_end();
        if text.is_empty() || text.starts_with('#') {
            return Read::Nothing;
        }
        let negated = text.starts_with('!');
        text = text.strip_prefix('!').unwrap_or(text);
        // Where in the tree it is meant for says nothing about a name.
        text = text.strip_prefix("**/").unwrap_or(text);
        text = text.strip_prefix('/').unwrap_or(text);
        text = text.strip_suffix("/**").unwrap_or(text);
        if text.contains('/') || text.is_empty() {
            return Read::Path;
        }
        Read::Rule(Self {
            pattern: tokens(text),
            negated,
        })
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match (c, chars.get(at)) {
            ('\\', Some(&escaped)) => {
                at += 1;
                found.push(Token::Char(escaped));
            }
            ('*', _) if found.last() == Some(&Token::Any) => {}
            ('*', _) => found.push(Token::Any),
            ('[', _) => match class(chars.get(at..).unwrap_or_default()) {
                Some((token, len)) => {
                    at += len;
                    found.push(token);
                }
                None => found.push(Token::Char('[')),
            },
            _ => found.push(Token::Char(c)),
        }
    }
    found
}

/// What stands between `[` and `]`, and how many characters that is with the latter.
fn class(rest: &[char]) -> Option<(Token, usize)> {
    let negated = rest.first() == Some(&'^');
    let start = usize::from(negated);
    let len = rest.get(start..)?.iter().position(|c| *c == ']')?;
    let inner = rest.get(start..start + len).filter(|i| !i.is_empty())?;
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&from) = inner.get(at) {
        match (inner.get(at + 1), inner.get(at + 2)) {
            (Some('-'), Some(&to)) => {
                ranges.push((from, to));
                at += 3;
            }
            _ => {
                ranges.push((from, from));
                at += 1;
            }
        }
    }
    Some((Token::Class(ranges, negated), start + len + 1))
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::Class(ranges, negated) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
            Self::Any => true,
        }
    }
}

/// Whether a pattern takes the whole name. Where a later part fails, the last `*` takes one character
/// more, so that the time is bounded by the product of both lengths.
fn matches(pattern: &[Token], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&c) = name.get(n) {
        match pattern.get(p) {
            Some(Token::Any) => {
                star = Some((p, n));
                p += 1;
            }
            Some(token) if token.takes(c) => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, n) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|t| *t == Token::Any)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 8] = [
        "a.txt", "b.txt", "ab.txt", "c.md", "sub", "build", "#x", "!bang",
    ];

    fn left_out(rules: &[&str]) -> Vec<&'static str> {
        let rules: Vec<String> = rules.iter().map(|r| (*r).to_owned()).collect();
        let ignored = Ignored::read(None, &rules, |_| ()).unwrap();
        NAMES.into_iter().filter(|n| ignored.has(n)).collect()
    }

    /// What `ipfs add --only-hash -r --ignore` of Kubo 0.44-dev left out of such a folder.
    #[test]
    fn rules_leave_out_what_kubo_leaves_out() {
        for (rules, wanted) in [
            (&["*.txt"][..], &["a.txt", "b.txt", "ab.txt"][..]),
            (&["a.txt"], &["a.txt"]),
            (&["/a.txt"], &["a.txt"]),
            (&["**/a.txt"], &["a.txt"]),
            (&["sub"], &["sub"]),
            (&["**/sub"], &["sub"]),
            (&["sub/**"], &["sub"]),
            (&["sub/"], &[]),
            (&["sub/a.txt"], &[]),
            (&["[ab].txt"], &["a.txt", "b.txt"]),
            (&["[^a].txt"], &["b.txt"]),
            (&["[!a].txt"], &["a.txt"]),
            (&["?.txt"], &[]),
            (&["{a,b}.txt"], &[]),
            (&["#x"], &[]),
            (&["\\#x"], &["#x"]),
            (&["\\!bang"], &["!bang"]),
            (&["*.txt", "!a.txt"], &["b.txt", "ab.txt"]),
            (&["!a.txt", "*.txt"], &["a.txt", "b.txt", "ab.txt"]),
            (&["b*"], &["b.txt", "build"]),
            (&["a*.txt"], &["a.txt", "ab.txt"]),
            (&["a"], &[]),
            (&[".txt"], &[]),
            (&["A.TXT"], &[]),
            (&["a.txt  "], &["a.txt"]),
            (&["**"], &NAMES),
        ] {
            assert_eq!(left_out(rules), wanted, "{rules:?}");
        }
    }

    #[test]
    fn a_file_of_rules_comes_first_and_what_matches_nothing_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("rules");
        fs::write(&path, "*.md\n\n# a comment\n  \n!c.md\nnode_modules/\n").unwrap();
        let mut told = Vec::new();
        let ignored = Ignored::read(Some(&path), &[], |text| told.push(text.to_owned())).unwrap();
        assert!(!ignored.has("c.md") && ignored.has("d.md"));
        assert!(
            told.len() == 1 && told[0].contains("\"node_modules/\""),
            "{told:?}"
        );
        let again = Ignored::read(Some(&path), &["c.md".to_owned()], |_| ()).unwrap();
        assert!(again.has("c.md"));
        assert!(Ignored::read(Some(&temp.path().join("none")), &[], |_| ()).is_err());
    }

    proptest! {
        #[test]
        fn any_rule_is_taken_and_any_name_judged(rule in ".{0,30}", name in ".{0,30}") {
            let ignored = Ignored::read(None, &[rule], |_| ()).unwrap();
            let _ = ignored.has(&name);
        }

        #[test]
        fn a_name_with_its_signs_escaped_is_itself(name in "[a-z*?!#\\[\\].]{1,12}") {
            let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
            let ignored = Ignored::read(None, &[escaped], |_| ()).unwrap();
            prop_assert!(ignored.has(&name));
        }
    }
}
