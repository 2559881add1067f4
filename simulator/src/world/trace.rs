//! What happened, line by line: the SHA-256 of all lines is the run's trace hash.

use std::{fmt, io::Write, path::Path};

use sha2::{Digest as _, Sha256};

use super::Micros;

/// The record of a run. The hash is that of the bytes a trace file would hold.
pub struct Trace {
    hash: Sha256,
    events: u64,
    out: Option<Box<dyn Write + Send>>,
    /// The last lines, kept for the report of a failure.
    recent: std::collections::VecDeque<String>,
}

/// Lines kept for the report of a failure.
const RECENT_MAX: usize = 64;

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Trace {
    /// A record that is only hashed, or also written to `out`.
    #[must_use]
    pub fn new(out: Option<Box<dyn Write + Send>>) -> Self {
        Self {
            hash: Sha256::new(),
            events: 0,
            out,
            recent: std::collections::VecDeque::new(),
        }
    }

    /// A record that is also written to a file.
    pub fn to_file(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Self::new(Some(Box::new(std::io::BufWriter::new(file)))))
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, now: Micros, text: fmt::Arguments<'_>) {
        let line = format!("{:>5}.{:06} {text}\n", now / 1_000_000, now % 1_000_000);
        self.events += 1;
        self.hash.update(line.as_bytes());
        if let Some(out) = &mut self.out
            && let Err(error) = out.write_all(line.as_bytes())
        {
            tracing::error!(%error, "the trace file ends here");
            self.out = None;
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(line);
    }

    /// Lines so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last lines.
    pub fn recent(&self) -> impl Iterator<Item = &str> {
        self.recent.iter().map(String::as_str)
    }

    /// Hash of all lines so far, in hex.
    #[must_use]
    pub fn hash(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }

    /// Writes out what is buffered.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}
