//! The membership as the state knows it: who is in, how they are called, who drains or is down.
//!
//! A removed member's row stays, marked as departed, until nothing refers to its number any more.
//! So a removal costs the same however many pins the peer held: what it held is found through its
//! sets and made up for by the repair planner; readers no longer see it at once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    query,
    rows::{self, MemberRow},
    system::System,
    tx::{PinSet, StateRead, StateTx, StoreError, Table},
};
use crate::{
    codec,
    command::Rejection,
    id::{Incarnation, MemberNo, PeerId},
    limits::{LABEL_BYTES_MAX, LABELS_MAX, MEMBERS_MAX},
    time::Timestamp,
};

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number in rows and bitmaps.
    pub no: MemberNo,
    /// Who.
    pub peer: PeerId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Shown to users.
    pub name: String,
    /// `tag:` values and other labels.
    pub labels: BTreeMap<String, String>,
    /// Everything is being moved away from it.
    pub draining: bool,
    /// Found dead at, if it is.
    pub down_since: Option<Timestamp>,
}

impl Member {
    pub(crate) fn from_row(no: MemberNo, row: MemberRow) -> Self {
        Self {
            no,
            peer: row.peer,
            incarnation: row.incarnation,
            name: row.name,
            labels: row.labels,
            draining: row.draining,
            down_since: row.down_since,
        }
    }
}

/// The member rows in memory for the time of one entry.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    rows: BTreeMap<MemberNo, MemberRow>,
    by_peer: BTreeMap<PeerId, MemberNo>,
}

/// What a command on members answers.
type Answer = Result<Result<(), Rejection>, StoreError>;

impl Directory {
    pub(crate) fn load(read: &dyn StateRead) -> Result<Self, StoreError> {
        let mut directory = Self::default();
        query::each_member_row(read, |no, row| {
            if row.departed_at.is_none() {
                directory.by_peer.insert(row.peer.clone(), no);
            }
            directory.rows.insert(no, row);
        })?;
        Ok(directory)
    }

    /// The number of a present member.
    pub(crate) fn number(&self, peer: &PeerId) -> Option<MemberNo> {
        self.by_peer.get(peer).copied()
    }

    /// Whether this number belongs to a present member.
    pub(crate) fn is_present(&self, no: MemberNo) -> bool {
        self.rows
            .get(&no)
            .is_some_and(|row| row.departed_at.is_none())
    }

    /// Whether this number belongs to a removed member.
    pub(crate) fn is_departed(&self, no: MemberNo) -> bool {
        self.rows
            .get(&no)
            .is_some_and(|row| row.departed_at.is_some())
    }

    /// The numbers of all present members, ascending.
    pub(crate) fn numbers(&self) -> Vec<MemberNo> {
        let present = self
            .rows
            .iter()
            .filter(|(_, row)| row.departed_at.is_none());
        present.map(|(no, _)| *no).collect()
    }

    /// All present members, in the order of their numbers.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        let present = self.rows.values().filter(|row| row.departed_at.is_none());
        present.map(|row| &row.peer)
    }

    /// How many members are present.
    pub(crate) fn len(&self) -> usize {
        self.by_peer.len()
    }

    /// Maps peers to numbers, each once, in order.
    pub(crate) fn resolve(&self, peers: &[PeerId]) -> Result<Vec<MemberNo>, Rejection> {
        let mut seen = BTreeSet::new();
        let mut numbers = Vec::with_capacity(peers.len());
        for peer in peers {
            let no = self.number(peer);
            let no = no.ok_or_else(|| Rejection::NotAMember(peer.clone()))?;
            if seen.insert(no) {
                numbers.push(no);
            }
        }
        Ok(numbers)
    }

    /// Admits a peer, or the next life of a member.
    pub(crate) fn add(
        &mut self,
        tx: &mut dyn StateTx,
        system: &mut System,
        peer: &PeerId,
        incarnation: Incarnation,
        said: Said<'_>,
    ) -> Answer {
        if let Err(limit) = said.check() {
            return Ok(Err(limit));
        }
        let Some(no) = self.number(peer) else {
            return self.admit(tx, system, peer, incarnation, said);
        };
        let current = self
            .rows
            .get(&no)
            .map_or(Incarnation(0), |row| row.incarnation);
        if incarnation < current {
            let peer = peer.clone();
            return Ok(Err(Rejection::StaleIncarnation { peer, current }));
        }
        self.edit(tx, peer, |row| {
            said.put(row);
            if incarnation > row.incarnation {
                // It just spoke to us, whatever its former life was found to be.
                row.down_since = None;
                row.incarnation = incarnation;
            }
        })
    }

    fn admit(
        &mut self,
        tx: &mut dyn StateTx,
        system: &mut System,
        peer: &PeerId,
        incarnation: Incarnation,
        said: Said<'_>,
    ) -> Answer {
        if self.len() >= MEMBERS_MAX || system.next_member.0 == u32::MAX {
            let text = format!("a cluster has at most {MEMBERS_MAX} members");
            return Ok(Err(Rejection::Limit(text)));
        }
        let no = system.next_member;
        system.next_member = no.next();
        let row = MemberRow {
            peer: peer.clone(),
            incarnation,
            name: said.name.to_owned(),
            labels: said.labels.clone(),
            draining: false,
            down_since: None,
            departed_at: None,
        };
        tx.put(Table::Peer, peer.as_bytes(), &rows::member_key(no))?;
        tx.put(Table::Member, &rows::member_key(no), &codec::encode(&row))?;
        self.by_peer.insert(peer.clone(), no);
        self.rows.insert(no, row);
        Ok(Ok(()))
    }

    /// Changes the row of a present member.
    pub(crate) fn edit(
        &mut self,
        tx: &mut dyn StateTx,
        peer: &PeerId,
        change: impl FnOnce(&mut MemberRow),
    ) -> Answer {
        let found = self.by_peer.get(peer).copied();
        let Some((no, row)) = found.and_then(|no| Some((no, self.rows.get_mut(&no)?))) else {
            return Ok(Err(Rejection::NotAMember(peer.clone())));
        };
        let before = row.clone();
        change(row);
        if *row != before {
            tx.put(Table::Member, &rows::member_key(no), &codec::encode(&*row))?;
        }
        Ok(Ok(()))
    }

    /// Changes what is said of a member.
    pub(crate) fn describe(
        &mut self,
        tx: &mut dyn StateTx,
        peer: &PeerId,
        said: Said<'_>,
    ) -> Answer {
        match said.check() {
            Ok(()) => self.edit(tx, peer, |row| said.put(row)),
            Err(limit) => Ok(Err(limit)),
        }
    }

    /// Takes a peer out. Without `force` it must hold no pin of its own.
    pub(crate) fn remove(
        &mut self,
        tx: &mut dyn StateTx,
        peer: &PeerId,
        force: bool,
        at: Timestamp,
    ) -> Answer {
        let Some(no) = self.number(peer) else {
            return Ok(Err(Rejection::NotAMember(peer.clone())));
        };
        if self.len() == 1 {
            return Ok(Err(Rejection::LastMember));
        }
        let pins = query::set_len(tx, PinSet::Allocated(no))?;
        if pins > 0 && !force {
            let peer = peer.clone();
            return Ok(Err(Rejection::HoldsPins { peer, pins }));
        }
        self.by_peer.remove(peer);
        tx.delete(Table::Peer, peer.as_bytes())?;
        if let Some(row) = self.rows.get_mut(&no) {
            row.departed_at = Some(at);
            row.draining = false;
            tx.put(Table::Member, &rows::member_key(no), &codec::encode(&*row))?;
        }
        self.forget_if_done(tx, no)?;
        Ok(Ok(()))
    }

    /// Drops a departed member's row once nothing refers to its number.
    pub(crate) fn forget_if_done(
        &mut self,
        tx: &mut dyn StateTx,
        no: MemberNo,
    ) -> Result<(), StoreError> {
        if !self.is_departed(no) {
            return Ok(());
        }
        for set in [
            PinSet::Allocated(no),
            PinSet::Tombstones(no),
            PinSet::Released(no),
        ] {
            if !tx.set_blocks(set, 0, 1)?.is_empty() {
                return Ok(());
            }
        }
        self.rows.remove(&no);
        tx.delete(Table::Member, &rows::member_key(no))
    }
}

/// What is said of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

impl Said<'_> {
    fn check(&self) -> Result<(), Rejection> {
        let texts = self.labels.iter().flat_map(|(key, value)| [key, value]);
        let longest = texts.map(String::len).chain([self.name.len()]).max();
        if longest.is_some_and(|len| len > LABEL_BYTES_MAX) {
            let text = format!("a peer's name or label is over {LABEL_BYTES_MAX} bytes");
            return Err(Rejection::Limit(text));
        }
        if self.labels.len() > LABELS_MAX {
            let text = format!("a peer has at most {LABELS_MAX} labels");
            return Err(Rejection::Limit(text));
        }
        Ok(())
    }

    fn put(&self, row: &mut MemberRow) {
        self.name.clone_into(&mut row.name);
        row.labels.clone_from(self.labels);
    }
}
