//! What waits to be sent to one peer. Whatever replaces an earlier word about the same block takes its
//! place, so the box is as large as the sets of blocks it speaks of, which are bounded.

use indexmap::IndexMap;
use ipfs_cluster_protocol::{
    id::Cid,
    limits::{BITSWAP_ANSWERS_PER_PEER_MAX, BITSWAP_ASKS_PER_PEER_MAX},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{message::Entry, server::Answer};

/// Answers taken at a time; their blocks are read together.
const ANSWERS_AT_A_TIME: usize = 64;
/// Entries taken at a time.
const ENTRIES_AT_A_TIME: usize = 1024;

#[derive(Debug, Default)]
struct Waiting {
    entries: IndexMap<Cid, Entry>,
    answers: IndexMap<Cid, Answer>,
}

/// The box. One side fills it, one task empties it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    /// Something was put in.
    filled: Notify,
    /// Something was taken out.
    emptied: Notify,
}

/// What is taken out together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    pub(super) answers: Vec<(Cid, Answer)>,
}

impl Outbox {
    pub(super) fn ask(&self, entry: Entry) {
        let (cid, cancels) = match entry {
            Entry::Want { cid, .. } => (cid, false),
            Entry::Cancel(cid) => (cid, true),
        };
        let mut waiting = self.waiting.lock();
        // A peer that takes nothing is spared what only tidies its memory.
        if cancels && waiting.entries.len() >= BITSWAP_ASKS_PER_PEER_MAX {
            waiting.entries.shift_remove(&cid);
            return;
        }
        waiting.entries.insert(cid, entry);
        drop(waiting);
        self.filled.notify_one();
    }

    pub(super) fn answer(&self, cid: Cid, answer: Answer) {
        self.waiting.lock().answers.insert(cid, answer);
        self.filled.notify_one();
    }

    /// Resolves when there is room for more answers.
    pub(super) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.waiting.lock().answers.len() < BITSWAP_ANSWERS_PER_PEER_MAX {
                return;
            }
            emptied.await;
        }
    }

    /// Takes what waits, or waits for something.
    pub(super) async fn take(&self) -> Batch {
        loop {
            let filled = self.filled.notified();
            let batch = self.take_now();
            if !batch.entries.is_empty() || !batch.answers.is_empty() {
                self.emptied.notify_waiters();
                return batch;
            }
            filled.await;
        }
    }

    fn take_now(&self) -> Batch {
        let mut waiting = self.waiting.lock();
        let entries = waiting.entries.len().min(ENTRIES_AT_A_TIME);
        let answers = waiting.answers.len().min(ANSWERS_AT_A_TIME);
        Batch {
            entries: waiting.entries.drain(..entries).map(|(_, e)| e).collect(),
            answers: waiting.answers.drain(..answers).collect(),
        }
    }

    /// Puts back answers that did not fit into a message.
    pub(super) fn put_back(&self, answers: impl DoubleEndedIterator<Item = (Cid, Answer)>) {
        let mut waiting = self.waiting.lock();
        for (cid, answer) in answers.rev() {
            if !waiting.answers.contains_key(&cid) {
                waiting.answers.shift_insert(0, cid, answer);
            }
        }
        drop(waiting);
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::content::{RAW, hash::name_like};

    use super::*;
    use crate::ipfs::embedded::bitswap::message::WantKind;

    fn cid(n: usize) -> Cid {
        name_like(1, RAW, 0x12, 32, &n.to_be_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_later_word_takes_the_place_of_an_earlier_one() {
        let outbox = Outbox::default();
        let want = Entry::Want {
            cid: cid(1),
            kind: WantKind::Have,
            dont_have: true,
        };
        outbox.ask(want);
        outbox.ask(Entry::Cancel(cid(1)));
        outbox.answer(cid(2), Answer::Lacks);
        outbox.answer(cid(2), Answer::Block);
        let batch = outbox.take().await;
        assert_eq!(batch.entries, [Entry::Cancel(cid(1))]);
        assert_eq!(batch.answers, [(cid(2), Answer::Block)]);
    }

    #[tokio::test]
    async fn a_full_box_makes_room_when_something_is_taken() {
        let outbox = Outbox::default();
        for n in 0..BITSWAP_ANSWERS_PER_PEER_MAX {
            outbox.answer(cid(n), Answer::Have);
        }
        let (room, batch) = (outbox.room(), outbox.take());
        tokio::pin!(room);
        assert!(futures::poll!(room.as_mut()).is_pending());
        let batch = batch.await;
        room.await;
        outbox.put_back(batch.answers.into_iter());
        assert_eq!(outbox.take().await.answers[0].0, cid(0), "in the old order");
    }

    #[tokio::test]
    async fn cancels_are_dropped_when_nothing_is_taken() {
        let outbox = Outbox::default();
        for n in 0..BITSWAP_ASKS_PER_PEER_MAX * 2 {
            outbox.ask(Entry::Cancel(cid(n)));
        }
        assert_eq!(
            outbox.waiting.lock().entries.len(),
            BITSWAP_ASKS_PER_PEER_MAX
        );
    }
}
