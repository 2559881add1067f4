//! openraft's log storage over [`RaftLog`].

use std::{fmt::Debug, io, ops::RangeBounds, sync::Arc};

use ipfs_cluster_protocol::{
    limits,
    mutation::{Mutation, planted},
};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;

use super::{
    types::{Entry, LogId, TypeConfig, Vote},
    wire,
};
use crate::storage::{LogPos, LogRecovered, RaftLog, Slot};

/// The log of this peer as openraft sees it.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    log: RaftLog,
    kept: Arc<Mutex<Kept>>,
}

/// What is kept beside the entries. All clones share it: the next run of openraft goes on with
/// what the last one left.
#[derive(Debug)]
struct Kept {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

fn invalid(e: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e.to_string())
}

impl LogStore {
    /// Takes up what was recovered from the file.
    pub(crate) fn new(log: RaftLog, recovered: &LogRecovered) -> io::Result<Self> {
        let id = |bytes: &Option<bytes::Bytes>| {
            bytes
                .as_deref()
                .map(wire::decode_pos)
                .transpose()
                .map_err(invalid)
        };
        let vote = recovered.vote.as_deref().map(wire::decode_vote);
        let kept = Kept {
            vote: vote.transpose().map_err(invalid)?,
            committed: id(&recovered.committed)?,
            purged: id(&recovered.purged)?,
        };
        Ok(Self {
            log,
            kept: Arc::new(Mutex::new(kept)),
        })
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        use std::ops::Bound;
        let from = match range.start_bound() {
            Bound::Included(i) => *i,
            Bound::Excluded(i) => i.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(i) => i.saturating_add(1),
            Bound::Excluded(i) => *i,
            Bound::Unbounded => u64::MAX,
        };
        let mut out = Vec::new();
        let mut next = from;
        while next < to {
            // In pieces: the recent end is in memory, the rest is read from the file.
            let records = self.log.read(next, to, limits::APPEND_BYTES_MAX).await?;
            let Some(last) = records.last() else { break };
            next = last.index + 1;
            for record in records {
                out.push(wire::from_record(record).map_err(invalid)?);
            }
        }
        Ok(out)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.kept.lock().vote.clone())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let records = self.log.read(start, end, limits::APPEND_BYTES_MAX).await?;
        records
            .into_iter()
            .map(|r| wire::from_record(r).map_err(invalid))
            .collect()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let last = self
            .log
            .last()
            .map(|(term, index)| wire::log_id(LogPos { term, index }));
        let purged = self.kept.lock().purged;
        Ok(LogState {
            last_purged_log_id: purged,
            last_log_id: last.or(purged),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        if !planted(Mutation::VoteNotSynced) {
            self.log.set(Slot::Vote, wire::encode_vote(vote)).await?;
        }
        self.kept.lock().vote = Some(vote.clone());
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(id) = &committed {
            self.log.note_committed(wire::encode_pos(id));
        }
        self.kept.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.kept.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(|e| wire::to_record(&e)).collect();
        let done = Box::new(move |result| callback.io_completed(result));
        self.log.append(records, done).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let first = last.map_or(0, |id| id.index + 1);
        self.log.truncate_from(first).await
    }

    async fn purge(&mut self, id: LogId) -> Result<(), io::Error> {
        self.log.purge(id.index, wire::encode_pos(&id)).await?;
        self.kept.lock().purged = Some(id);
        Ok(())
    }
}
