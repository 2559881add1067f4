//! A new beginning for a cluster whose majority is lost for good: offline, on one survivor.
//!
//! What the survivor has in its log becomes, by decree, what the cluster has agreed on. Behind it go
//! an entry that makes this peer the only voter, and one that raises the epoch and takes out the
//! members that are lost; vote, identity and committed id change in the same commit of the log, so a
//! crash leaves the old log or the new one. The other survivors join anew and are given the state:
//! two logs are never merged.
//!
//! The epoch rises by a random number. Should somebody recover two survivors apart, they come to
//! different epochs, and the lower one is left behind when they meet; with equal ones, each would
//! take the other for a follower of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use ipfs_cluster_protocol::{
    codec,
    command::{Command, Entry as Commands, Envelope, Session},
    id::{Boot, Epoch, Incarnation, LogIndex, PeerId},
    limits,
    state::{System, query},
    time::Timestamp,
};
use openraft::{EmptyNode, EntryPayload, Membership};
use rand::Rng;

use super::{
    fence::LeftBehind,
    files::{boot_after, stored_number},
    offline::{Offline, commands_of},
    types::{Entry, EntryBytes, RaftId, Vote},
    wire,
};
use crate::{
    env::Env,
    storage::{Identity, LogPos, OpenError, ReadError, Slot},
};

/// Why a cluster is not recovered from this peer.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The files.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to recover.
    #[error("{0} holds no log of a cluster: recover a peer that was a member")]
    NoLog(String),
    /// It was admitted and never came to know it.
    #[error(
        "this peer is not among the members that its log knows of (it was removed, or it never \
         caught up after it joined): recover another survivor"
    )]
    NotAMember,
    /// A survivor that nobody knows.
    #[error("{peer} is not a member; members are {}", list(.members))]
    Unknown {
        /// As it was named.
        peer: PeerId,
        /// Who is.
        members: Vec<Survivor>,
    },
    /// There are no epochs left.
    #[error("no epoch is left above {0}")]
    LastEpoch(Epoch),
    /// The new log does not do what it should.
    #[error("the recovered log was not applied as it should be: {0}")]
    Failed(String),
}

fn list(members: &[Survivor]) -> String {
    let texts: Vec<String> = members.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// A member, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Who.
    pub peer: PeerId,
    /// Its name; empty where only its admission is known.
    pub name: String,
}

impl std::fmt::Display for Survivor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.peer)?;
        if self.name.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.name)
    }
}

/// What a recovery from this peer would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Which cluster, in which epoch, and which life of this peer.
    pub identity: Identity,
    /// The epoch that would follow.
    pub epoch: Epoch,
    /// The cluster goes on in a later epoch already: that one would be fenced off.
    pub left_behind: Option<LeftBehind>,
    /// The end of this peer's log.
    pub last: LogPos,
    /// The last entry that is known to be in the logs of a majority.
    pub committed: LogIndex,
    /// The last entry that the state held when it was opened.
    pub applied: LogIndex,
    /// Members that stay, without this peer: they join anew.
    pub stay: Vec<Survivor>,
    /// Members that are taken out.
    pub leave: Vec<Survivor>,
}

/// A recovery that waits to be carried out.
#[derive(Debug)]
pub struct Recovery {
    offline: Offline,
    me: RaftId,
    survey: Survey,
}

impl Recovery {
    /// Looks at the files of the peer `me`, whose configuration folder this is; changes nothing but
    /// what its next start would change as well. `keep` are the members that survived, too.
    pub async fn survey(
        env: &Env,
        config_dir: &Path,
        me: &PeerId,
        keep: &[PeerId],
    ) -> Result<Self, RecoverError> {
        let offline = Offline::open(env, config_dir).await?;
        let folder = || offline.files.folder.path().display().to_string();
        let (Some(identity), Some(last)) = (offline.files.identity, offline.last()) else {
            return Err(RecoverError::NoLog(folder()));
        };
        let applied = LogIndex(offline.applied().map_or(0, |p| p.index));
        let committed = offline.known_committed()?.unwrap_or(0).min(last.index);
        offline.replay(committed).await?;
        let members = members(&offline, committed, last.index).await?;
        if members.get(me).map(|(life, _)| *life) != Some(identity.incarnation) {
            return Err(RecoverError::NotAMember);
        }
        let known = |(peer, (_, name)): (&PeerId, &(Incarnation, String))| Survivor {
            peer: peer.clone(),
            name: name.clone(),
        };
        if let Some(peer) = keep.iter().find(|p| !members.contains_key(*p)) {
            return Err(RecoverError::Unknown {
                peer: peer.clone(),
                members: members.iter().map(known).collect(),
            });
        }
        let others = members.iter().filter(|(peer, _)| *peer != me).map(known);
        let (stay, leave) = others.partition(|m| keep.contains(&m.peer));
        let former = epoch_of(&offline, identity).await?;
        let survey = Survey {
            epoch: later_epoch(former)?,
            left_behind: LeftBehind::judge(Some(identity), offline.files.heard),
            identity,
            last,
            committed: LogIndex(committed),
            applied,
            stay,
            leave,
        };
        Ok(Self {
            me: RaftId::new(me.clone(), identity.incarnation),
            offline,
            survey,
        })
    }

    /// What it would come to.
    #[must_use]
    pub fn of(&self) -> &Survey {
        &self.survey
    }

    /// Carries it out; the peer may be started after it.
    pub async fn carry_out(self, env: &Env) -> Result<(), RecoverError> {
        let (offline, survey) = (&self.offline, &self.survey);
        let (files, path) = (&offline.files, offline.files.folder.path().to_path_buf());
        let identity = Identity {
            epoch: survey.epoch,
            ..survey.identity
        };
        let entries = self.entries()?;
        let Some(end) = entries.last().map(|e| e.log_id) else {
            return Err(RecoverError::Failed("nothing was to be written".into()));
        };
        let vote = Vote::new(end.leader_id.term, self.me.clone());
        let slots = vec![
            (Slot::Vote, wire::encode_vote(&vote)),
            (Slot::Identity, codec::encode(&identity).into()),
            (Slot::Committed, wire::encode_pos(&end)),
            (Slot::Boot, stored_number(self.boot().0)),
        ];
        let in_log = files.log.last().map(|(_, index)| index);
        // A crash may leave the state ahead of the log: the log then goes on after the state.
        let purge = (in_log < Some(survey.last.index)).then(|| {
            let id = wire::log_id(survey.last);
            (id.index, wire::encode_pos(&id))
        });
        let records = entries.iter().map(wire::to_record).collect();
        let written = files.log.rewrite(purge, records, slots).await;
        written.map_err(OpenError::io(&path))?;
        files.folder.set_identity(env, identity).await?;
        offline.replay(end.index).await?;
        self.check().await?;
        Ok(self.offline.close().await?)
    }

    fn boot(&self) -> Boot {
        boot_after(self.offline.files.recovered.boot.as_deref())
    }

    /// The entries that make the new cluster of the old one.
    fn entries(&self) -> Result<Vec<Entry>, RecoverError> {
        let survey = &self.survey;
        let voted = self.offline.files.recovered.vote.as_deref();
        let voted = voted.map(wire::decode_vote).transpose();
        let voted = voted.map_err(|e| self.offline.damaged(&e))?;
        let voted = voted.map_or(0, |v| v.leader_id.term);
        let term = voted.max(survey.last.term) + 1;
        let mut index = survey.last.index;
        let mut entry = |payload| {
            index += 1;
            Entry {
                log_id: wire::log_id(LogPos { term, index }),
                payload,
            }
        };
        let alone = Membership::new(
            vec![BTreeSet::from([self.me.clone()])],
            BTreeMap::from([(self.me.clone(), EmptyNode::new())]),
        );
        let alone = alone.map_err(|e| RecoverError::Failed(e.to_string()))?;
        let mut entries = vec![entry(EntryPayload::Membership(alone))];
        let epoch = survey.epoch;
        let leave = survey.leave.iter().map(|m| Command::RemoveMember {
            peer: m.peer.clone(),
            force: true,
        });
        let boot = self.boot();
        let commands = std::iter::once(Command::RaiseEpoch { epoch }).chain(leave);
        let envelopes = commands.zip(1..).map(|(command, n)| Envelope {
            session: Session {
                origin: self.me.peer().clone(),
                boot,
                n,
                floor: 1,
            },
            command,
        });
        let envelopes: Vec<Envelope> = envelopes.collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0));
        let at = Timestamp(now).max(self.offline.state().position().at);
        entries.extend(envelopes.chunks(limits::ENTRY_COMMANDS_MAX).map(|some| {
            let commands = some.to_vec();
            let bytes = codec::encode(&Commands { at, commands });
            entry(EntryPayload::Normal(EntryBytes(bytes.into())))
        }));
        Ok(entries)
    }

    /// Whether the state is now what was said.
    async fn check(&self) -> Result<(), RecoverError> {
        let state = self.offline.state();
        let found = state.read(|s| Ok((System::load(s)?.epoch, query::members(s)?)));
        let (epoch, members) = found.await?;
        let mut expected: BTreeSet<&PeerId> = self.survey.stay.iter().map(|m| &m.peer).collect();
        expected.insert(self.me.peer());
        let members: BTreeSet<&PeerId> = members.iter().map(|m| &m.peer).collect();
        if epoch == self.survey.epoch && members == expected {
            return Ok(());
        }
        Err(RecoverError::Failed(format!(
            "the state is in epoch {epoch} with {} members, not in epoch {} with {}",
            members.len(),
            self.survey.epoch,
            expected.len()
        )))
    }
}

type Known = BTreeMap<PeerId, (Incarnation, String)>;

/// The members at the end of the log: those of the state, and what later entries say of them.
async fn members(offline: &Offline, settled: u64, last: u64) -> Result<Known, RecoverError> {
    let found = offline.state().read(|s| query::members(s)).await?;
    let mut members: Known = found
        .into_iter()
        .map(|m| (m.peer, (m.incarnation, m.name)))
        .collect();
    let take = |entry: &Entry| {
        for Envelope { command, .. } in commands_of(entry)? {
            match command {
                Command::AddMember {
                    peer,
                    incarnation,
                    name,
                    ..
                } => drop(members.insert(peer, (incarnation, name))),
                Command::RemoveMember { peer, .. } => drop(members.remove(&peer)),
                _ => {}
            }
        }
        Ok(())
    };
    offline.each(settled + 1, last, take).await?;
    Ok(members)
}

/// The highest epoch this peer knows of.
async fn epoch_of(offline: &Offline, identity: Identity) -> Result<Epoch, RecoverError> {
    let system = offline.state().read(|s| System::load(s)).await?;
    let own = identity.epoch.max(system.epoch);
    Ok(own.max(offline.files.heard))
}

fn later_epoch(former: Epoch) -> Result<Epoch, RecoverError> {
    let step = rand::rng().random_range(1..=limits::EPOCH_STEP_MAX);
    let epoch = Epoch(former.0.saturating_add(step));
    if epoch > limits::EPOCH_MAX {
        return Err(RecoverError::LastEpoch(former));
    }
    Ok(epoch)
}
