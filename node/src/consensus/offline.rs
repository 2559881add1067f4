//! A peer that does not run: how far its log leads, and its state brought that far.

use std::{fmt, path::Path};

use ipfs_cluster_protocol::{
    codec::{self, DecodeError},
    command::{Entry as Commands, Envelope},
    id::{LogIndex, PeerId},
    limits,
};
use openraft::EntryPayload;

use super::{
    files::Files,
    state_machine::apply_batch,
    types::{Entry, EntryBytes, LogId},
    wire,
};
use crate::{
    env::Env,
    storage::{DataFolder, LogPos, OpenError, StateStore},
};

/// The files of a peer that does not run. The caller keeps others out of its folder.
pub struct Offline {
    pub(super) files: Files,
}

impl fmt::Debug for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Offline")
            .field(&self.files.folder.path())
            .finish()
    }
}

/// The end of a log, of which it is not known whether a majority of the voters has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsettled {
    /// The first such entry.
    pub first: LogIndex,
    /// The last one.
    pub last: LogIndex,
    /// The changes in them.
    pub commands: usize,
}

impl Offline {
    /// Opens the files of the peer whose configuration folder this is.
    pub async fn open(env: &Env, config_dir: &Path) -> Result<Self, OpenError> {
        let files = Files::open(env, config_dir).await?;
        Ok(Self { files })
    }

    /// The state, as far as it has come.
    #[must_use]
    pub fn state(&self) -> &StateStore {
        &self.files.state
    }

    /// Applies what is known to be committed, and says what is left.
    pub async fn settle(&self, me: &PeerId) -> Result<Option<Unsettled>, OpenError> {
        let last = self.last_index();
        self.replay(self.known_committed()?.unwrap_or(0)).await?;
        let mut left = Unsettled {
            first: LogIndex(self.applied().map_or(0, |p| p.index + 1)),
            last: LogIndex(last),
            commands: 0,
        };
        if left.first > left.last {
            return Ok(None);
        }
        let mut membership_changes = false;
        let count = |entry: &Entry| {
            membership_changes |= matches!(entry.payload, EntryPayload::Membership(_));
            left.commands += commands_of(entry)?.len();
            Ok(())
        };
        self.each(left.first.0, last, count).await?;
        if !membership_changes && self.votes_alone(me)? {
            // What is in the log of the only voter is in the log of a majority.
            self.replay(last).await?;
            return Ok(None);
        }
        Ok(Some(left))
    }

    /// Writes everything down and closes the files.
    pub async fn close(self) -> Result<(), OpenError> {
        let path = self.files.folder.path().to_path_buf();
        let closed = self.files.state.close().await;
        closed.map_err(|e| OpenError::io(&path)(std::io::Error::other(e)))?;
        self.files.log.close().await.map_err(OpenError::io(&path))
    }

    /// The last entry that the state holds.
    pub(super) fn applied(&self) -> Option<LogPos> {
        self.files.state.position().log
    }

    /// The last entry of the log, or of the state where that is ahead.
    pub(super) fn last(&self) -> Option<LogPos> {
        let last = self.files.log.last();
        let last = last.map(|(term, index)| LogPos { term, index });
        last.into_iter()
            .chain(self.applied())
            .max_by_key(|p| p.index)
    }

    pub(super) fn last_index(&self) -> u64 {
        self.last().map_or(0, |p| p.index)
    }

    /// The last entry that is known to be committed.
    pub(super) fn known_committed(&self) -> Result<Option<u64>, OpenError> {
        let committed = self.files.recovered.committed.as_deref();
        let committed = committed.map(wire::decode_pos).transpose();
        let committed: Option<LogId> = committed.map_err(|e| self.damaged(&e))?;
        let applied = self.applied().map(|p| p.index);
        Ok(committed.map(|id| id.index).max(applied))
    }

    /// Applies the entries up to this one.
    pub(super) async fn replay(&self, upto: u64) -> Result<(), OpenError> {
        let upto = upto.min(self.last_index());
        let path = self.files.folder.file("state.redb");
        loop {
            let next = self.applied().map_or(0, |p| p.index + 1);
            let entries = self.read(next, upto).await?;
            if entries.is_empty() {
                return Ok(());
            }
            let applied = apply_batch(&self.files.state, entries).await;
            applied.map_err(|e| OpenError::io(&path)(std::io::Error::other(e)))?;
        }
    }

    /// Looks at the entries from `from` up to `to`, both included.
    pub(super) async fn each(
        &self,
        from: u64,
        to: u64,
        mut look: impl FnMut(&Entry) -> Result<(), DecodeError>,
    ) -> Result<(), OpenError> {
        let mut next = from;
        loop {
            let entries = self.read(next, to).await?;
            let Some(last) = entries.last() else {
                return Ok(());
            };
            next = last.log_id.index + 1;
            let looked = entries.iter().try_for_each(&mut look);
            looked.map_err(|e| self.damaged(&e))?;
        }
    }

    /// Some entries from `from` up to `to`, both included; none when there are none.
    async fn read(&self, from: u64, to: u64) -> Result<Vec<Entry>, OpenError> {
        let path = self.files.folder.file(DataFolder::LOG);
        let (log, bytes) = (&self.files.log, limits::APPEND_BYTES_MAX);
        let records = log.read(from, to.saturating_add(1), bytes).await;
        let records = records.map_err(OpenError::io(&path))?;
        let entries = records.into_iter().map(wire::from_record);
        entries
            .collect::<Result<_, _>>()
            .map_err(|e| self.damaged(&e))
    }

    /// Whether the state's membership knows this voter only.
    fn votes_alone(&self, me: &PeerId) -> Result<bool, OpenError> {
        let position = self.files.state.position();
        let stored = wire::decode_membership(&position.membership);
        let stored = stored.map_err(|e| self.damaged(&e))?;
        let mut voters = stored.membership().voter_ids();
        Ok(voters.next().is_some_and(|v| v.peer() == me) && voters.next().is_none())
    }

    pub(super) fn damaged(&self, what: &dyn fmt::Display) -> OpenError {
        OpenError::damaged(&self.files.folder.file(DataFolder::LOG), what)
    }
}

/// The commands in an entry.
pub(super) fn commands_of(entry: &Entry) -> Result<Vec<Envelope>, DecodeError> {
    match &entry.payload {
        EntryPayload::Normal(EntryBytes(bytes)) => {
            let commands: Commands = codec::decode(bytes, limits::ENTRY_BYTES_MAX)?;
            Ok(commands.commands)
        }
        EntryPayload::Blank | EntryPayload::Membership(_) => Ok(Vec::new()),
    }
}
