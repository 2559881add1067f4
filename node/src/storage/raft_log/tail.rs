//! The recent end of the log in memory, and what is known of the rest.

use ipfs_cluster_protocol::limits;
use std::collections::VecDeque;

use super::LogRecord;

/// Entries `kept[0].index ..` are here; older ones are in the file.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: VecDeque<LogRecord>,
    kept_bytes: usize,
    /// The first entry that was not purged.
    first: u64,
    /// One past the last entry.
    next: u64,
    /// Term of the last entry.
    last_term: u64,
    /// The file holds the entries up to this one.
    synced: u64,
    /// Length of every entry from `first` on: 4 bytes each, for purging by bytes.
    lengths: VecDeque<u32>,
    log_bytes: u64,
}

impl Tail {
    /// Of a file: lengths of its entries from `first` on, and the term of the last.
    pub(super) fn recovered(first: u64, lengths: VecDeque<u32>, last_term: u64) -> Self {
        let next = first + lengths.len() as u64;
        Self {
            kept: VecDeque::new(),
            kept_bytes: 0,
            first,
            next,
            last_term,
            synced: next.saturating_sub(1),
            log_bytes: lengths.iter().map(|l| u64::from(*l)).sum(),
            lengths,
        }
    }

    /// First entry, one past the last.
    pub(super) fn bounds(&self) -> (u64, u64) {
        (self.first, self.next)
    }

    /// The first entry in memory, or one past the last.
    pub(super) fn kept_from(&self) -> u64 {
        self.kept.front().map_or(self.next, |r| r.index)
    }

    /// Term and index of the last entry.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        (self.next > self.first).then_some((self.last_term, self.next.saturating_sub(1)))
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    pub(super) fn keep_after(&self, bytes: u64) -> Option<u64> {
        let mut left = self.log_bytes;
        for (i, len) in self.lengths.iter().enumerate() {
            if left <= bytes {
                return (self.first + i as u64).checked_sub(1);
            }
            left -= u64::from(*len);
        }
        self.next.checked_sub(1)
    }

    pub(super) fn append(&mut self, records: &[LogRecord]) {
        for record in records {
            if self.lengths.is_empty() {
                // An empty log goes on wherever its first entry is.
                (self.first, self.next) = (record.index, record.index);
            }
            self.next = record.index + 1;
            self.last_term = record.term;
            let len = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
            self.lengths.push_back(len);
            self.log_bytes += u64::from(len);
            self.kept_bytes += record.body.len();
            self.kept.push_back(record.clone());
        }
        self.shrink();
    }

    /// Forgets the oldest entries that the file holds.
    fn shrink(&mut self) {
        while self.kept_bytes > limits::RAFT_LOG_TAIL_BYTES_MAX {
            match self.kept.pop_front_if(|r| r.index <= self.synced) {
                Some(old) => self.kept_bytes -= old.body.len(),
                None => return,
            }
        }
    }

    pub(super) fn synced(&mut self, index: u64) {
        // A truncation may have come in between.
        self.synced = index.min(self.next.saturating_sub(1));
        self.shrink();
    }

    pub(super) fn truncate_from(&mut self, first: u64) {
        while let Some(cut) = self.kept.pop_back_if(|r| r.index >= first) {
            self.kept_bytes -= cut.body.len();
        }
        while self.next > first.max(self.first) {
            self.next -= 1;
            let len = self.lengths.pop_back().unwrap_or(0);
            self.log_bytes -= u64::from(len);
        }
        self.synced = self.synced.min(self.next.saturating_sub(1));
    }

    /// The term of the new last entry, when it is not in memory.
    pub(super) fn set_last_term(&mut self, term: u64) {
        self.last_term = term;
    }

    /// The last entry, if it is in memory.
    pub(super) fn newest(&self) -> Option<&LogRecord> {
        self.kept.back()
    }

    pub(super) fn purge(&mut self, last: u64) {
        while let Some(old) = self.kept.pop_front_if(|r| r.index <= last) {
            self.kept_bytes -= old.body.len();
        }
        while self.first <= last {
            match self.lengths.pop_front() {
                Some(len) => {
                    self.log_bytes -= u64::from(len);
                    self.first += 1;
                }
                None => {
                    (self.first, self.next) = (last + 1, last + 1);
                }
            }
        }
        self.next = self.next.max(self.first);
    }

    /// The range, if all of its beginning is in memory.
    pub(super) fn read(&self, from: u64, to: u64, bytes_max: usize) -> Option<Vec<LogRecord>> {
        let skip = usize::try_from(from.checked_sub(self.kept.front()?.index)?).ok()?;
        let mut bytes = 0;
        let mut out = Vec::new();
        for record in self.kept.iter().skip(skip).take_while(|r| r.index < to) {
            bytes += record.body.len();
            if !out.is_empty() && bytes > bytes_max {
                break;
            }
            out.push(record.clone());
        }
        (!out.is_empty()).then_some(out)
    }
}
