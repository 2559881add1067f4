//! Content of one file: what programs see, what the platter holds, and the writes in between.

use std::collections::VecDeque;

use crate::world::{Micros, Rng};

/// The unit a disk writes whole or not at all.
const SECTOR: u64 = 512;

#[derive(Debug, Clone)]
enum Op {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

/// A file. `at` of an operation is the virtual time at which it takes place; a lane runs its jobs
/// ahead of that time, so a crash may come before it.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What programs see.
    live: Vec<u8>,
    /// What survives for certain.
    platter: Vec<u8>,
    /// From the platter's content to the live one.
    journal: VecDeque<(Micros, Op)>,
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn put(content: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = index(offset);
    let end = start.saturating_add(data.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(data);
}

fn apply(content: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { offset, data } => put(content, *offset, data),
        Op::SetLen(len) => content.resize(index(*len), 0),
        Op::Sync => {}
    }
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.live.len() as u64
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let rest = self.live.get(index(offset)..).unwrap_or_default();
        let n = out.len().min(rest.len());
        out[..n].copy_from_slice(&rest[..n]);
        n
    }

    pub(super) fn write(&mut self, at: Micros, offset: u64, data: &[u8]) {
        put(&mut self.live, offset, data);
        let data = data.to_vec();
        self.journal.push_back((at, Op::Write { offset, data }));
    }

    pub(super) fn set_len(&mut self, at: Micros, len: u64) {
        self.live.resize(index(len), 0);
        self.journal.push_back((at, Op::SetLen(len)));
    }

    /// Bytes the next sync has to write.
    pub(super) fn unsynced(&self) -> u64 {
        let since = self.journal.iter().rev();
        since
            .take_while(|(_, op)| !matches!(op, Op::Sync))
            .map(|(_, op)| match op {
                Op::Write { data, .. } => data.len() as u64,
                _ => 0,
            })
            .sum()
    }

    /// Everything written so far is durable from `at` on.
    pub(super) fn sync(&mut self, at: Micros, now: Micros) {
        self.settle(now);
        self.journal.push_back((at, Op::Sync));
    }

    /// A sync failed: the kernel forgets which pages were dirty, so some of what was written never
    /// reaches the platter, whatever is synced later.
    pub(super) fn fail_sync(&mut self, now: Micros, rng: &mut Rng) {
        self.settle(now);
        for (_, op) in std::mem::take(&mut self.journal) {
            if rng.chance(500_000) {
                apply(&mut self.platter, &op);
            }
        }
    }

    /// Moves to the platter what syncs that have taken place by now cover.
    fn settle(&mut self, now: Micros) {
        let done = self
            .journal
            .iter()
            .rposition(|(at, op)| *at <= now && matches!(op, Op::Sync));
        if let Some(last) = done {
            for (_, op) in self.journal.drain(..=last) {
                apply(&mut self.platter, &op);
            }
        }
    }

    /// The process dies, the kernel lives: what was written stays, what was not yet is gone.
    pub(super) fn kill(&mut self, now: Micros) {
        self.settle(now);
        self.journal.retain(|(at, _)| *at <= now);
        self.live = self.platter.clone();
        for (_, op) in &self.journal {
            apply(&mut self.live, op);
        }
    }

    /// Power is lost: of what was not synced, a random part is there. Returns how many bytes that
    /// had been written are gone.
    pub(super) fn power_loss(&mut self, now: Micros, rng: &mut Rng) -> u64 {
        self.settle(now);
        let mut lost = 0;
        for (at, op) in std::mem::take(&mut self.journal) {
            let written = at <= now;
            match op {
                Op::Write { offset, data } => {
                    lost += self.tear(offset, &data, written, rng);
                }
                other if written && rng.chance(500_000) => apply(&mut self.platter, &other),
                _ => {}
            }
        }
        self.live = self.platter.clone();
        lost
    }

    /// Half of the writes are kept; a quarter of those only in some sectors.
    fn tear(&mut self, offset: u64, data: &[u8], written: bool, rng: &mut Rng) -> u64 {
        if !written || rng.chance(500_000) {
            return data.len() as u64;
        }
        if !rng.chance(250_000) {
            put(&mut self.platter, offset, data);
            return 0;
        }
        let (mut done, mut lost) = (0, 0);
        while done < data.len() {
            let at = offset + done as u64;
            let to_boundary = index(SECTOR - at % SECTOR);
            let end = data.len().min(done + to_boundary);
            if rng.chance(500_000) {
                put(&mut self.platter, at, &data[done..end]);
            } else {
                lost += (end - done) as u64;
            }
            done = end;
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(inode: &Inode) -> Vec<u8> {
        let mut out = vec![0; index(inode.len())];
        inode.read(0, &mut out);
        out
    }

    #[test]
    fn what_was_synced_survives_every_power_loss() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed, "test");
            let mut file = Inode::default();
            file.write(1, 0, &[1; 4096]);
            file.sync(2, 1);
            file.write(3, 0, &[2; 4096]);
            file.power_loss(10, &mut rng);
            let got = content(&file);
            assert_eq!(got.len(), 4096);
            for sector in got.chunks(512) {
                assert!(
                    sector.iter().all(|b| *b == sector[0]),
                    "torn within a sector"
                );
                assert!(sector[0] == 1 || sector[0] == 2);
            }
        }
    }

    #[test]
    fn unsynced_writes_are_kept_lost_and_torn() {
        let outcome = |seed| {
            let mut file = Inode::default();
            file.write(1, 0, &[7; 2048]);
            let lost = file.power_loss(10, &mut Rng::new(seed, "test"));
            (lost, content(&file).len())
        };
        let all: Vec<_> = (0..100).map(outcome).collect();
        assert!(all.contains(&(0, 2048)) && all.contains(&(2048, 0)));
        assert!(all.iter().any(|(lost, _)| *lost > 0 && *lost < 2048));
    }

    #[test]
    fn a_sync_that_the_crash_comes_before_has_not_happened() {
        let lost_once = (0..20).any(|seed| {
            let mut file = Inode::default();
            file.write(1, 0, b"abc");
            file.sync(9, 1);
            file.power_loss(5, &mut Rng::new(seed, "test"));
            content(&file).is_empty()
        });
        assert!(lost_once);
        let mut killed = Inode::default();
        killed.write(1, 0, b"abc");
        killed.write(9, 3, b"def");
        killed.kill(5);
        assert_eq!(content(&killed), b"abc");
    }
}
