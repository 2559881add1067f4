//! What holds of every state that `apply` made, whatever it was given.
//!
//! It reads everything: for tests, for the simulator, and for an offline check of a state file.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    index, query,
    rows::{self, PinRow, RequestRow},
    system::System,
    tx::{PinSet, StateRead, StoreError, Table},
};
use crate::{
    id::{MemberNo, PeerId, Seq},
    limits::{PAGE_MAX, REQUESTS_PER_PIN_MAX},
    pin::Holding,
    request::RequestId,
};

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A pin's row contradicts itself or the membership.
    #[error("pin {seq}: {what}")]
    Pin {
        /// Which.
        seq: Seq,
        /// What is wrong.
        what: String,
    },
    /// An index or a set differs from what the rows say.
    #[error("{what}: the rows give {expected}, found {found}")]
    Index {
        /// Which.
        what: String,
        /// From the rows.
        expected: String,
        /// In the index.
        found: String,
    },
    /// A member row, session or counter is wrong.
    #[error("{0}")]
    System(String),
}

/// What the rows say the rest must be.
#[derive(Debug, Default)]
struct Expected {
    cids: BTreeMap<Vec<u8>, Vec<u8>>,
    names: BTreeSet<Vec<u8>>,
    metas: BTreeSet<Vec<u8>>,
    expiries: BTreeSet<Vec<u8>>,
    sets: BTreeMap<PinSet, BTreeSet<Seq>>,
    live: u64,
    tombstones: u64,
}

/// Checks all of a state.
pub fn check_invariants(read: &dyn StateRead) -> Result<(), Violation> {
    let system = System::load(read)?;
    let members = check_members(read, &system)?;
    let expected = check_pins(read, &system, &members)?;
    check_tables(read, &expected)?;
    check_sets(read, &expected, &members)?;
    check_requests(read)?;
    for (what, row, counted) in [
        ("pins", expected.live, system.live_pins),
        ("tombstones", expected.tombstones, system.tombstones),
    ] {
        if row != counted {
            let text = format!("{row} {what} are stored, {counted} are counted");
            return Err(Violation::System(text));
        }
    }
    Ok(())
}

/// All rows of a table, a page at a time.
fn each_row(
    read: &dyn StateRead,
    table: Table,
    mut visit: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let mut from = Vec::new();
    loop {
        let page = read.range(table, &from, None, PAGE_MAX)?;
        let full = page.len() == PAGE_MAX;
        for (key, value) in page {
            from.clone_from(&key);
            visit(key, value)?;
        }
        if !full {
            return Ok(());
        }
        from.push(0);
    }
}

/// Numbers of all member rows, and whether each is present.
type Members = BTreeMap<MemberNo, bool>;

fn check_members(read: &dyn StateRead, system: &System) -> Result<Members, Violation> {
    let wrong = Violation::System;
    let mut numbers = Members::new();
    let mut present: BTreeMap<PeerId, MemberNo> = BTreeMap::new();
    let mut twice = None;
    query::each_member_row(read, |no, row| {
        numbers.insert(no, row.departed_at.is_none());
        if row.departed_at.is_none()
            && let Some(other) = present.insert(row.peer, no)
        {
            twice = Some((other, no));
        }
    })?;
    if let Some((a, b)) = twice {
        return Err(wrong(format!("members {a} and {b} are the same peer")));
    }
    if let Some((last, _)) = numbers.last_key_value()
        && *last >= system.next_member
    {
        return Err(wrong(format!("member {last} has a number not given yet")));
    }
    let mut by_peer = BTreeMap::new();
    each_row(read, Table::Peer, |key, value| {
        by_peer.insert(key, value);
        Ok(())
    })?;
    let expected: BTreeMap<_, _> = present
        .iter()
        .map(|(peer, no)| (peer.as_bytes().to_vec(), rows::member_key(*no).to_vec()))
        .collect();
    if by_peer != expected {
        return Err(wrong("the peer index differs from the member rows".into()));
    }
    each_row(read, Table::Session, |key, _| {
        if expected.contains_key(&key) {
            Ok(())
        } else {
            let text = format!("a session of {}, no member", hex::encode(key));
            Err(wrong(text))
        }
    })?;
    Ok(numbers)
}

fn check_pins(
    read: &dyn StateRead,
    system: &System,
    members: &Members,
) -> Result<Expected, Violation> {
    let mut expected = Expected::default();
    each_row(read, Table::Pin, |key, value| {
        let seq = rows::seq_of_key(Table::Pin, &key)?;
        let row: PinRow = rows::decode(Table::Pin, &key, &value)?;
        check_pin(&row, seq, system, members).map_err(|what| Violation::Pin { seq, what })?;
        if expected.cids.insert(row.cid().to_bytes(), key).is_some() {
            let what = "another pin has the same CID".to_owned();
            return Err(Violation::Pin { seq, what });
        }
        for set in row.sets() {
            expected.sets.entry(set).or_default().insert(seq);
        }
        let Some(live) = row.live() else {
            expected.tombstones += 1;
            return Ok(());
        };
        expected.live += 1;
        let spec = &live.spec;
        if !spec.name.is_empty() {
            expected
                .names
                .insert(index::key(index::name_prefix(&spec.name), seq));
        }
        for (key, value) in &spec.metadata {
            expected
                .metas
                .insert(index::key(index::meta_prefix(key, value), seq));
        }
        if let Some(at) = spec.expire_at {
            expected
                .expiries
                .insert(index::key(index::expiry_prefix(at), seq));
        }
        Ok(())
    })?;
    Ok(expected)
}

/// Each request is one of a live pin's, and none has too many.
fn check_requests(read: &dyn StateRead) -> Result<(), Violation> {
    let mut expected: BTreeMap<Seq, BTreeSet<RequestId>> = BTreeMap::new();
    each_row(read, Table::Request, |key, value| {
        let id = rows::request_of_key(Table::Request, &key)?;
        let row: RequestRow = rows::decode(Table::Request, &key, &value)?;
        expected.entry(row.seq).or_default().insert(id);
        Ok(())
    })?;
    let mut found: BTreeMap<Seq, BTreeSet<RequestId>> = BTreeMap::new();
    each_row(read, Table::Requested, |key, _| {
        let id = rows::request_of_key(Table::Requested, &key)?;
        let seq = rows::seq_of_key(Table::Requested, key.get(..8).unwrap_or_default())?;
        found.entry(seq).or_default().insert(id);
        Ok(())
    })?;
    if expected != found {
        return Err(Violation::Index {
            what: "requests".to_owned(),
            expected: format!("{expected:?}"),
            found: format!("{found:?}"),
        });
    }
    for (seq, ids) in expected {
        let live = rows::pin_row(read, seq)?.is_some_and(|row| row.live().is_some());
        if !live || ids.len() > REQUESTS_PER_PIN_MAX {
            let what = format!("{} requests for a pin that is not live", ids.len());
            return Err(Violation::Pin { seq, what });
        }
    }
    Ok(())
}

fn check_pin(row: &PinRow, seq: Seq, system: &System, members: &Members) -> Result<(), String> {
    if seq >= system.next_seq {
        return Err("its number was not given yet".into());
    }
    let (rev, named) = match row {
        PinRow::Tombstone(row) if row.holders.is_empty() => {
            return Err("a tombstone that nobody holds".into());
        }
        PinRow::Tombstone(row) => (row.rev, row.holders.clone()),
        PinRow::Live(row) => {
            let named = [&row.allocations[..], &row.released[..]].concat();
            let copies = match row.spec.holding() {
                Holding::Allocated { min, max } => min..=max,
                Holding::Nobody | Holding::Everywhere if row.allocations.is_empty() => 0..=0,
                Holding::Nobody | Holding::Everywhere => {
                    return Err("it has allocations that mean nothing".into());
                }
            };
            if !copies.contains(&row.copies) {
                return Err(format!("{} copies, {copies:?} asked for", row.copies));
            }
            row.spec.check().map_err(|e| e.to_string())?;
            (row.rev, named)
        }
    };
    if rev > system.rev {
        return Err(format!("rev {rev} is after the last one"));
    }
    let mut seen = BTreeSet::new();
    for no in named {
        if !members.contains_key(&no) {
            return Err(format!("member {no} is unknown"));
        }
        if !seen.insert(no) {
            return Err(format!("member {no} is named twice"));
        }
    }
    Ok(())
}

fn check_tables(read: &dyn StateRead, expected: &Expected) -> Result<(), Violation> {
    let mut cids = BTreeMap::new();
    each_row(read, Table::Cid, |key, value| {
        cids.insert(key, value);
        Ok(())
    })?;
    if cids != expected.cids {
        return Err(Violation::Index {
            what: "CIDs".into(),
            expected: expected.cids.len().to_string(),
            found: cids.len().to_string(),
        });
    }
    for (table, expected) in [
        (Table::Name, &expected.names),
        (Table::Meta, &expected.metas),
        (Table::Expiry, &expected.expiries),
    ] {
        let mut found = BTreeSet::new();
        each_row(read, table, |key, _| {
            found.insert(key);
            Ok(())
        })?;
        if found != *expected {
            return Err(Violation::Index {
                what: format!("{table:?}"),
                expected: expected.len().to_string(),
                found: found.len().to_string(),
            });
        }
    }
    Ok(())
}

fn check_sets(
    read: &dyn StateRead,
    expected: &Expected,
    members: &Members,
) -> Result<(), Violation> {
    let nobody = BTreeSet::new();
    let of_members = members.keys().flat_map(|no| {
        [
            PinSet::Allocated(*no),
            PinSet::Tombstones(*no),
            PinSet::Released(*no),
        ]
    });
    for set in of_members.chain([PinSet::Everywhere, PinSet::Unsettled]) {
        let want = expected.sets.get(&set).unwrap_or(&nobody);
        let mut found = BTreeSet::new();
        let mut from = Some(Seq(0));
        while let Some(at) = from {
            let page = query::seqs(read, set, at, PAGE_MAX)?;
            found.extend(page.items);
            from = page.next;
        }
        if found != *want {
            return Err(Violation::Index {
                what: format!("{set:?}"),
                expected: format!("{want:?}"),
                found: format!("{found:?}"),
            });
        }
    }
    Ok(())
}
