//! Lengths and forms.

use super::{
    Breach,
    source::{Source, has_word},
};

/// Lines of a file, tests not counted.
const FILE_LINES: usize = 600;
/// Lines of code of a function's body.
const FUNCTION_LINES: usize = 70;

pub(super) fn check(source: &Source) -> Vec<Breach> {
    let mut found = Vec::new();
    let mut add = |line: usize, text: String| {
        found.push(Breach {
            path: source.path.clone(),
            line,
            text,
        });
    };
    let own = if source.tests_from == 0 {
        source.raw.len()
    } else {
        source.tests_from
    };
    if own > FILE_LINES {
        add(
            1,
            format!("{own} lines: split the file by reason to change, {FILE_LINES} is the most"),
        );
    }
    if !source.path.ends_with("tests.rs") && !source.raw.iter().any(|l| l.starts_with("//!")) {
        add(
            1,
            "no module documentation: say what it is with `//!` at the top".to_owned(),
        );
    }
    for (line, name, length) in functions(source) {
        if length > FUNCTION_LINES {
            add(
                line,
                format!("`{name}` has {length} lines: split it, {FUNCTION_LINES} is the most"),
            );
        }
    }
    for line in unfair_selects(source) {
        add(
            line,
            "`select!` without `biased;` first: its random order cannot be replayed".to_owned(),
        );
    }
    for line in silent_allows(source) {
        add(
            line,
            "a lint is allowed without `reason = \"…\"`".to_owned(),
        );
    }
    found
}

/// Functions of the file: line, name, lines of code in the body. Counts on rustfmt's indents.
fn functions(source: &Source) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for (line, text) in source.numbered() {
        let trimmed = text.trim_start();
        let Some(at) = trimmed.find("fn ") else {
            continue;
        };
        let opens = trimmed[..at].split_whitespace().all(|w| {
            w.starts_with("pub") || w.ends_with(')') || ["async", "const", "extern"].contains(&w)
        });
        if !opens || trimmed.starts_with('"') {
            continue;
        }
        let name = trimmed[at + 3..]
            .split(['(', '<'])
            .next()
            .unwrap_or_default();
        let indent = text.len() - trimmed.len();
        let close = format!("{}}}", " ".repeat(indent));
        let rest = source.code.iter().skip(line - 1);
        let one_line = trimmed.ends_with('}') || trimmed.ends_with(';');
        if one_line || name.is_empty() {
            continue;
        }
        let body = rest.take_while(|l| **l != close && **l != format!("{};", " ".repeat(indent)));
        let length = body.skip(1).filter(|l| !l.trim().is_empty()).count();
        found.push((line, name, length));
    }
    found
}

/// Lines of `select!` whose next code is not `biased;`.
fn unfair_selects(source: &Source) -> Vec<usize> {
    source
        .numbered()
        .filter(|(_, text)| has_word(&text.replace("tokio::", ""), "select!"))
        .filter(|(line, text)| {
            let after = text.split_once('{').map_or("", |(_, rest)| rest).trim();
            let following = source.code.iter().skip(*line).map(|l| l.trim());
            let first = std::iter::once(after)
                .chain(following)
                .find(|l| !l.is_empty());
            !first.is_some_and(|l| l.starts_with("biased;"))
        })
        .map(|(line, _)| line)
        .collect()
}

/// Lines of `#[allow(…)]` or `#[expect(…)]` without a reason.
fn silent_allows(source: &Source) -> Vec<usize> {
    source
        .numbered()
        .filter(|(_, text)| {
            let text = text.trim_start();
            ["#[allow(", "#![allow(", "#[expect(", "#![expect("]
                .iter()
                .any(|start| text.starts_with(start))
        })
        .filter(|(line, _)| {
            let rest = source.code.iter().skip(line - 1);
            let mut open = true;
            let attribute = rest.take_while(|l| {
                let take = open;
                open = !l.trim_end().ends_with(']');
                take
            });
            !attribute.into_iter().any(|l| l.contains("reason ="))
        })
        .map(|(line, _)| line)
        .collect()
}
