//! A log entry becomes outcomes. Total and deterministic: the same entries on the same state give
//! the same outcomes and the same bytes, at every peer and in every version of this program.

use super::{
    hash::Hashed,
    members::{Directory, Said},
    pins::{Answer, Scope, Verdict},
    sessions::{Admission, Sessions},
    system::System,
    tx::{StateTx, StoreError},
};
use crate::{
    codec,
    command::{Command, Entry, Envelope, Outcome, Rejection},
    id::{LogIndex, Rev, Seq},
    mutation::{Mutation, planted},
    time::Timestamp,
};

/// What an entry came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The entry.
    pub index: LogIndex,
    /// Log time from here on.
    pub at: Timestamp,
    /// The rev before the entry: its commands got the following ones.
    pub rev_before: Rev,
    /// The rev after the entry.
    pub rev: Rev,
    /// One per command, in order.
    pub outcomes: Vec<Outcome>,
    /// The pins that were changed, in order.
    pub changes: Vec<PinChange>,
    /// Whether anything about the members changed.
    pub members_changed: bool,
    /// The rolling hash of all that was written up to `rev`: equal at every peer.
    pub hash: u64,
}

/// A pin was made, changed or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinChange {
    /// Which.
    pub seq: Seq,
    /// As this rev.
    pub rev: Rev,
}

/// Applies the entry at `index` within the caller's transaction.
///
/// An error is the store's (or a feature level that this version does not know): the peer stops on
/// it, and the transaction must not be committed.
pub fn apply(tx: &mut dyn StateTx, index: LogIndex, entry: &Entry) -> Result<Applied, StoreError> {
    let mut system = System::load(tx)?;
    if index <= system.index {
        return Err(StoreError(format!(
            "entry {index} comes after entry {} was applied",
            system.index
        )));
    }
    system.index = index;
    system.at = if planted(Mutation::LogTimeMayFall) {
        entry.at
    } else {
        system.at.max(entry.at)
    };
    let rev_before = system.rev;
    let mut run = Run {
        members: Directory::load(tx)?,
        tx: Hashed::new(tx, system.hash),
        system,
        sessions: Sessions::default(),
        changes: Vec::new(),
        members_changed: false,
    };
    let mut outcomes = Vec::with_capacity(entry.commands.len());
    for envelope in &entry.commands {
        outcomes.push(run.envelope(envelope)?);
    }
    let members = &run.members;
    run.sessions
        .save(&mut run.tx, |peer| members.number(peer).is_some())?;
    let (hash, tx) = run.tx.finish();
    run.system.hash = hash;
    run.system.save(tx)?;
    Ok(Applied {
        index,
        at: run.system.at,
        rev_before,
        rev: run.system.rev,
        outcomes,
        changes: run.changes,
        members_changed: run.members_changed,
        hash,
    })
}

/// The entry being applied.
struct Run<'a> {
    tx: Hashed<'a>,
    system: System,
    members: Directory,
    sessions: Sessions,
    changes: Vec<PinChange>,
    members_changed: bool,
}

impl Run<'_> {
    fn envelope(&mut self, envelope: &Envelope) -> Result<Outcome, StoreError> {
        let outcome = self.outcome(envelope)?;
        self.tx.note(&codec::encode(&outcome));
        Ok(outcome)
    }

    fn outcome(&mut self, envelope: &Envelope) -> Result<Outcome, StoreError> {
        let Envelope { session, command } = envelope;
        if let Err(rejection) = self.permitted(envelope) {
            return Ok(Outcome::Rejected(rejection));
        }
        match self.sessions.admit(&self.tx, session)? {
            Admission::New => {}
            Admission::Repeat(rev) => return Ok(Outcome::AlreadyAt { rev }),
            Admission::Refused(rejection) => return Ok(Outcome::Rejected(rejection)),
        }
        let rev = self.system.rev.next();
        let changed = match self.command(command, rev)? {
            Verdict::Done(changed) => changed,
            Verdict::Conflict(current) => return Ok(Outcome::Conflict { current }),
            Verdict::No(rejection) => return Ok(Outcome::Rejected(rejection)),
        };
        self.system.rev = rev;
        self.sessions.record(session, rev);
        self.changes
            .extend(changed.into_iter().map(|seq| PinChange { seq, rev }));
        self.after(command)?;
        Ok(Outcome::Applied { rev })
    }

    /// Whether this origin may say this now.
    fn permitted(&self, envelope: &Envelope) -> Result<(), Rejection> {
        let Envelope { session, command } = envelope;
        let (current, wanted) = (self.system.feature_level, command.feature_level());
        if wanted > current {
            return Err(Rejection::FeatureLevel { current, wanted });
        }
        match command {
            Command::Init { .. } => return Ok(()),
            _ if self.system.cluster.is_none() => return Err(Rejection::NotFormed),
            // The first peer admits itself. Whoever else asks it before that must wait, or the first
            // would not be a member and nothing it says would be permitted ever after.
            Command::AddMember { peer, .. }
                if self.members.len() == 0 && *peer == session.origin =>
            {
                return Ok(());
            }
            _ => {}
        }
        match self.members.number(&session.origin) {
            Some(_) => Ok(()),
            None => Err(Rejection::NotAMember(session.origin.clone())),
        }
    }

    fn command(&mut self, command: &Command, rev: Rev) -> Answer {
        let at = self.system.at;
        let mut scope = Scope {
            tx: &mut self.tx,
            system: &mut self.system,
            members: &mut self.members,
            rev,
            at,
        };
        match command {
            Command::Pin {
                spec,
                allocations,
                if_rev,
            } => scope.pin(spec, allocations, *if_rev),
            Command::Unpin { cid } => scope.unpin(cid),
            Command::Place {
                seq,
                if_rev,
                allocations,
                confirmed,
            } => scope.place(*seq, *if_rev, allocations, confirmed),
            Command::Expire { seq, if_rev } => scope.expire(*seq, *if_rev),
            Command::Gone { peer, as_of, seqs } => scope.gone(peer, *as_of, seqs),
            Command::Sweep { member } => scope.sweep(*member),
            Command::Request {
                id,
                spec,
                allocations,
                if_rev,
                replaces,
            } => scope.request(*id, spec, allocations, *if_rev, *replaces),
            Command::Withdraw { id } => scope.withdraw(*id),
            Command::Sized { sizes } => scope.sized(sizes),
            Command::Init { .. } | Command::FeatureLevel { .. } | Command::RaiseEpoch { .. } => {
                self.on_system(command)
            }
            Command::AddMember { .. }
            | Command::Describe { .. }
            | Command::RemoveMember { .. }
            | Command::Drain { .. }
            | Command::Down { .. }
            | Command::Up { .. } => self.on_members(command),
        }
    }

    fn on_system(&mut self, command: &Command) -> Answer {
        let answer = match command {
            Command::Init { cluster, epoch } => self.system.init(*cluster, *epoch),
            Command::RaiseEpoch { epoch } => self.system.raise_epoch(*epoch),
            Command::FeatureLevel { level } => self.system.raise_level(*level)?,
            _ => Ok(()),
        };
        Ok(verdict(answer))
    }

    fn on_members(&mut self, command: &Command) -> Answer {
        let (tx, at) = (&mut self.tx, self.system.at);
        let answer = match command {
            Command::AddMember {
                peer,
                incarnation,
                name,
                labels,
            } => {
                let said = Said { name, labels };
                self.members
                    .add(tx, &mut self.system, peer, *incarnation, said)?
            }
            Command::Describe { peer, name, labels } => {
                self.members.describe(tx, peer, Said { name, labels })?
            }
            Command::RemoveMember { peer, force } => self.members.remove(tx, peer, *force, at)?,
            Command::Drain { peer, on } => self.members.edit(tx, peer, |row| row.draining = *on)?,
            Command::Down { peer } => self.members.edit(tx, peer, |row| {
                row.down_since.get_or_insert(at);
            })?,
            Command::Up { peer } => self.members.edit(tx, peer, |row| row.down_since = None)?,
            _ => Ok(()),
        };
        self.members_changed |= answer.is_ok();
        Ok(verdict(answer))
    }

    /// A peer that left starts a new session if it comes back.
    fn after(&mut self, command: &Command) -> Result<(), StoreError> {
        match command {
            Command::RemoveMember { peer, .. } => self.sessions.forget(&mut self.tx, peer),
            _ => Ok(()),
        }
    }
}

fn verdict(answer: Result<(), Rejection>) -> Verdict {
    match answer {
        Ok(()) => Verdict::Done(Vec::new()),
        Err(rejection) => Verdict::No(rejection),
    }
}
