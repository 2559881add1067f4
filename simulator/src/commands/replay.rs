//! `replay`: the same seed twice, and the first difference.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;

use super::run::RunArgs;

pub(super) fn execute(args: &RunArgs) -> anyhow::Result<ExitCode> {
    // Removed when it is dropped.
    let folder = tempfile::tempdir().context("no place for two traces")?;
    let kept = args.outputs.trace.clone();
    let base = kept.unwrap_or_else(|| folder.path().join("trace"));
    let (one, two) = (numbered(&base, 1), numbered(&base, 2));
    let first = run(args, &one)?;
    let second = run(args, &two)?;
    print!("{first}");
    match first_difference(&one, &two)? {
        None if first == second => {
            println!("twice the same, event by event");
            Ok(ExitCode::SUCCESS)
        }
        None => {
            println!("the traces are equal, the reports are not:\n{second}");
            Ok(ExitCode::FAILURE)
        }
        Some((line, a, b)) => {
            println!("DIVERGED at event {line}:\n  first  {a}\n  second {b}");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn numbered(base: &Path, n: u32) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// Runs it in a process of its own; returns what it printed.
fn run(args: &RunArgs, trace: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").args(args.seeded.arguments());
    command.arg("--trace").arg(trace);
    let output = command.output().context("cannot run this program again")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn lines(path: &Path) -> anyhow::Result<Lines<BufReader<std::fs::File>>> {
    let file = OpenOptions::new()
        .read(true)
        .open(path)
        .with_context(|| format!("{}: the run wrote no trace", path.display()))?;
    Ok(BufReader::new(file).lines())
}

fn first_difference(one: &Path, two: &Path) -> anyhow::Result<Option<(usize, String, String)>> {
    let (mut one, mut two) = (lines(one)?, lines(two)?);
    let end = || "(the end)".to_owned();
    let mut number = 0;
    loop {
        number += 1;
        match (one.next().transpose()?, two.next().transpose()?) {
            (None, None) => return Ok(None),
            (a, b) if a == b => {}
            (a, b) => {
                return Ok(Some((number, a.unwrap_or_else(end), b.unwrap_or_else(end))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_different_event_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            let mut file = OpenOptions::new();
            let mut file = file.write(true).create_new(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            path
        };
        let one = write("1", "a\nb\nc\n");
        let two = write("2", "a\nx\nc\n");
        let short = write("3", "a\n");
        let found = first_difference(&one, &two).unwrap();
        assert_eq!(found, Some((2, "b".to_owned(), "x".to_owned())));
        let found = first_difference(&one, &short).unwrap();
        assert_eq!(found, Some((2, "b".to_owned(), "(the end)".to_owned())));
        assert_eq!(first_difference(&one, &one).unwrap(), None);
    }
}
