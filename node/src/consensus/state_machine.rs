//! openraft's state machine over [`StateStore`] and `protocol::state::apply`.

use std::io;

use futures::{Stream, StreamExt};
use ipfs_cluster_protocol::{
    codec,
    command::{Command, Entry as Commands},
    id::{LogIndex, Rev, Seq},
    limits,
    mutation::{Mutation, planted},
    state::{self, tx::StoreError},
    witness::Statement,
};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot,
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
};

use tokio::sync::watch;

use super::{
    agreement::Agreement,
    types::{Entry, EntryBytes, LogId, Outcomes, SnapshotMeta, StoredMembership, TypeConfig},
    wire,
};
use crate::{
    cluster::wall_clock,
    storage::{ApplyJob, Position, ReadError, Received, SnapshotSource, StateStore},
};

/// The state of this peer as openraft sees it.
#[derive(Debug, Clone)]
pub(crate) struct StateMachine {
    store: StateStore,
    /// Counts the entries that touched cluster or members.
    changed: watch::Sender<u64>,
    agreement: Agreement,
}

/// A snapshot: one's own, still to be read, or another peer's, already on disk.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// Read when it is sent.
    Own(SnapshotSource),
    /// Checked, in a file beside the state.
    Received(Box<Received>),
}

type OurSnapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

fn io_error(e: ReadError) -> io::Error {
    io::Error::other(e)
}

impl StateMachine {
    pub(crate) fn new(
        store: StateStore,
        changed: watch::Sender<u64>,
        agreement: Agreement,
    ) -> Self {
        Self {
            store,
            changed,
            agreement,
        }
    }

    fn snapshot(&self) -> io::Result<OurSnapshot> {
        let (position, source) = self.store.snapshot();
        Ok(Snapshot {
            meta: meta_of(&position)?,
            snapshot: SnapshotData::Own(source),
        })
    }
}

/// Where a state is, in openraft's words.
pub(super) fn meta_of(position: &Position) -> io::Result<SnapshotMeta> {
    Ok(SnapshotMeta {
        last_log_id: position.log.map(wire::log_id),
        last_membership: membership_of(position)?,
    })
}

fn membership_of(position: &Position) -> io::Result<StoredMembership> {
    wire::decode_membership(&position.membership).map_err(io::Error::other)
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let position = self.store.position();
        Ok((position.log.map(wire::log_id), membership_of(&position)?))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batches = entries.ready_chunks(limits::STATE_MACHINE_BATCH_MAX);
        while let Some(batch) = batches.next().await {
            let mut entries = Vec::with_capacity(batch.len());
            let mut responders = Vec::with_capacity(batch.len());
            for item in batch {
                let (entry, responder) = item?;
                entries.push(entry);
                responders.push(responder);
            }
            let (outcomes, touched) = apply_batch(&self.store, entries).await.map_err(io_error)?;
            self.store.changes().note(touched.seqs, touched.rev);
            self.agreement.applied(touched.hashes);
            if touched.members {
                self.changed.send_modify(|n| *n += 1);
            }
            for (responder, outcomes) in responders.into_iter().zip(outcomes) {
                if let Some(responder) = responder {
                    responder.send(outcomes);
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let received = match snapshot {
            SnapshotData::Received(received) => *received,
            // One's own state is where it is.
            SnapshotData::Own(source) if source.is_of(&self.store) => return Ok(()),
            SnapshotData::Own(source) => self.store.copy(source).await.map_err(io_error)?,
        };
        if meta_of(&received.position)? != *meta {
            return Err(io::Error::other("the snapshot is not what was announced"));
        }
        self.store.install(received).await.map_err(io_error)?;
        self.agreement.begin(&self.store).await.map_err(io_error)?;
        self.store.changes().note_all(self.store.position().rev);
        self.changed.send_modify(|n| *n += 1);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<OurSnapshot>, io::Error> {
        if self.store.synced().log.is_none() {
            return Ok(None);
        }
        self.snapshot().map(Some)
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    /// The file is the snapshot: it only needs to be synced.
    async fn build_snapshot(&mut self) -> Result<OurSnapshot, io::Error> {
        let position = self.store.sync().await.map_err(io_error)?;
        Ok(Snapshot {
            meta: meta_of(&position)?,
            snapshot: SnapshotData::Own(self.store.snapshot_at(&position)),
        })
    }
}

/// What a batch of entries touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    seqs: Vec<Seq>,
    rev: Rev,
    members: bool,
    /// The state's hash after each entry of commands.
    hashes: Vec<Statement>,
}

/// Applies entries that follow what the state holds.
pub(super) async fn apply_batch(
    store: &StateStore,
    entries: Vec<Entry>,
) -> Result<(Vec<Outcomes>, Touched), ReadError> {
    let done = store.apply(move |job| {
        let mut touched = Touched::default();
        let outcomes: Result<Vec<_>, _> = entries
            .iter()
            .map(|e| apply_one(job, e, &mut touched))
            .collect();
        Ok((outcomes?, touched))
    });
    done.await
}

fn apply_one(
    job: &mut ApplyJob<'_>,
    entry: &Entry,
    touched: &mut Touched,
) -> Result<Outcomes, StoreError> {
    let id = entry.log_id();
    job.step(|tx, position| {
        position.log = Some(wire::pos(&id));
        match &entry.payload {
            EntryPayload::Blank => Ok(Outcomes::default()),
            EntryPayload::Membership(membership) => {
                let stored = StoredMembership::new(Some(id), membership.clone());
                position.membership = wire::encode_membership(&stored);
                Ok(Outcomes::default())
            }
            EntryPayload::Normal(EntryBytes(bytes)) => {
                let mut commands: Commands = codec::decode(bytes, limits::ENTRY_BYTES_MAX)
                    .map_err(|e| StoreError(format!("log entry {}: {e}", id.index)))?;
                if planted(Mutation::ApplyByLocalClock) {
                    commands.at = wall_clock();
                }
                let applied = state::apply(tx, LogIndex(id.index), &commands)?;
                position.rev = applied.rev;
                position.at = applied.at;
                touched.members |= applied.members_changed || names_cluster(&commands);
                touched
                    .seqs
                    .extend(applied.changes.iter().map(|change| change.seq));
                touched.rev = applied.rev;
                touched.hashes.push(Statement {
                    index: applied.index,
                    hash: applied.hash,
                });
                Ok(Outcomes {
                    at: applied.at,
                    outcomes: applied.outcomes,
                })
            }
        }
    })
}

/// Whether an entry says which cluster and epoch this is.
fn names_cluster(entry: &Commands) -> bool {
    entry.commands.iter().any(|envelope| {
        matches!(
            envelope.command,
            Command::Init { .. } | Command::RaiseEpoch { .. }
        )
    })
}
