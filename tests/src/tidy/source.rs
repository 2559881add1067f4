//! Source files: which bytes are code, which lines are tests.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// From the root of the repository, with slashes.
    pub path: String,
    /// Lines as they are.
    pub raw: Vec<String>,
    /// The same lines with comments and the insides of texts blanked.
    pub code: Vec<String>,
    /// The first line (from 0) of the tests at the file's end.
    pub tests_from: usize,
}

impl Source {
    /// Takes a file apart.
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        let raw: Vec<String> = text.lines().map(str::to_owned).collect();
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let is_test_file = path.starts_with("tests/")
            || path.contains("/tests/")
            || path.contains("/examples/")
            || path.contains("/benches/")
            || path.ends_with("tests.rs");
        let tests_from = if is_test_file { 0 } else { tests_start(&code) };
        Self {
            path: path.to_owned(),
            raw,
            code,
            tests_from,
        }
    }

    /// Lines of code with their numbers from 1, without those of tests.
    pub fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().take(self.tests_from)
    }

    /// Lines of code with their numbers from 1.
    pub fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(i, line)| (i + 1, line.as_str()))
    }
}

/// Where `#[cfg(test)] mod name {` opens; the end of the file if it does not.
fn tests_start(code: &[String]) -> usize {
    let opens = |line: &String| line.starts_with("mod ") && line.ends_with('{');
    code.iter()
        .enumerate()
        .position(|(i, line)| line == "#[cfg(test)]" && code.get(i + 1).is_some_and(opens))
        .unwrap_or(code.len())
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_owned)
}

/// Every Rust file of the repository.
pub fn repository() -> io::Result<Vec<Source>> {
    let root = root();
    let mut files = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    open.push(path);
                }
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path)?;
            let relative = path.strip_prefix(&root).unwrap_or(path);
            Ok(Source::new(&relative.to_string_lossy(), &text))
        })
        .collect()
}

/// Replaces comments and the insides of texts by spaces; lines stay where they are.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match skipped(&chars, i) {
            Some((keep, end)) => {
                out.extend(chars[i..i + keep].iter());
                let inner = &chars[i + keep..end];
                out.extend(inner.iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
                end
            }
            None => {
                out.push(chars[i]);
                i + 1
            }
        };
        i = end;
    }
    out
}

/// What opens at `i`: how many characters of it stay, and where it ends.
fn skipped(chars: &[char], i: usize) -> Option<(usize, usize)> {
    let at = |n: usize| chars.get(i + n).copied().unwrap_or('\0');
    let until = |from: usize, end: &[char]| {
        (from..chars.len())
            .find(|&n| chars[n..].starts_with(end))
            .unwrap_or(chars.len())
    };
    match (at(0), at(1)) {
        ('/', '/') => Some((0, until(i, &['\n']))),
        ('/', '*') => Some((0, (until(i + 2, &['*', '/']) + 2).min(chars.len()))),
        ('"', _) => Some((1, text_end(chars, i + 1))),
        ('r', '"' | '#') if i == 0 || !is_name(chars[i - 1]) || chars[i - 1] == 'b' => {
            let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
            if at(1 + hashes) != '"' {
                return None;
            }
            let mut close = vec!['"'];
            close.extend(std::iter::repeat_n('#', hashes));
            Some((2 + hashes, until(i + 2 + hashes, &close)))
        }
        ('\'', '\\') => Some((1, until(i + 3, &['\'']) + 1)),
        ('\'', _) if at(2) == '\'' => Some((1, i + 3)),
        _ => None,
    }
    .map(|(keep, end)| (keep, end.min(chars.len())))
}

/// Where the text that starts at `from` ends: after its closing quote.
fn text_end(chars: &[char], from: usize) -> usize {
    let mut i = from;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `line`, not as part of a longer name. A word that ends in `::` is the
/// root of a path.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_root = word.ends_with("::");
    let starts_name = word.starts_with(is_name);
    let ends_name = word.ends_with(is_name);
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part_of_name = (starts_name && before.is_some_and(is_name))
            || (ends_name && after.is_some_and(is_name));
        let inside_path = is_root && before == Some(':');
        !part_of_name && !inside_path
    })
}
