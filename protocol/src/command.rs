//! What the log holds: entries of commands, and what becomes of each when it is applied.
//!
//! The serde names are short because they are in every log entry, and they are fixed because the
//! log is on disk. An unknown field or variant is refused and stops the peer: skipping it would
//! make this peer's state differ from the others'.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Boot, Cid, ClusterId, Epoch, Incarnation, MemberNo, PeerId, Rev, Seq},
    pin::PinSpec,
    time::Timestamp,
};

/// The highest feature level that this version can apply.
pub const FEATURE_LEVEL_MAX: u32 = 1;

/// One log entry: what waited while the previous one was being synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `max(previous entry's time, the leader's wall clock)`.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// In order; at most `ENTRY_COMMANDS_MAX` and `ENTRY_BYTES_MAX`.
    #[serde(rename = "c")]
    pub commands: Vec<Envelope>,
}

/// A command and the place of its request in its origin's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Tells a repeat from a new command.
    #[serde(rename = "s")]
    pub session: Session,
    /// What to do.
    #[serde(rename = "c")]
    pub command: Command,
}

/// Guards against repeats: per peer, not per request.
///
/// A request keeps its `n` through all its repeats, also when its placement is decided again
/// after a conflict: only what was applied uses `n` up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The peer whose client asked.
    #[serde(rename = "o")]
    pub origin: PeerId,
    /// Rises at each start of the origin.
    #[serde(rename = "b")]
    pub boot: Boot,
    /// Counts up per command.
    #[serde(rename = "n")]
    pub n: u64,
    /// The lowest `n` that the origin still waits for.
    #[serde(rename = "f")]
    pub floor: u64,
}

/// The state a command was decided from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfRev {
    /// Whatever is there.
    #[serde(rename = "any")]
    Any,
    /// There is no live pin.
    #[serde(rename = "no")]
    Absent,
    /// The pin's last change is this one.
    #[serde(rename = "is")]
    Is(Rev),
}

/// A change of the state. A variant is only ever added at the end, behind a feature level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are the large one"
)]
pub enum Command {
    /// The first command of a cluster's log.
    Init {
        /// The cluster's name.
        #[serde(rename = "c")]
        cluster: ClusterId,
        /// 1, or higher after a recovery.
        #[serde(rename = "e")]
        epoch: Epoch,
    },
    /// Pin, or change a pin. The spec is taken whatever `if_rev` says; the placement only if it
    /// still fits, else the outcome is `Conflict` and nothing changes.
    ///
    /// A peer that is allocated now and is not in `allocations` stays allocated behind them, until
    /// a `Place` releases it: a pin never gives up a copy before the others are confirmed.
    Pin {
        /// What the user wants.
        #[serde(rename = "s")]
        spec: PinSpec,
        /// Who shall hold it (empty when everywhere), decided from `if_rev`.
        #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
        allocations: Vec<PeerId>,
        /// What the placement was decided from.
        #[serde(rename = "i")]
        if_rev: IfRev,
    },
    /// Remove a pin.
    Unpin {
        /// Which.
        #[serde(rename = "c")]
        cid: Cid,
    },
    /// Change who holds a pin: repair, drain, release.
    Place {
        /// Which.
        #[serde(rename = "q")]
        seq: Seq,
        /// What it was decided from.
        #[serde(rename = "i")]
        if_rev: Rev,
        /// Who shall hold it from now on.
        #[serde(rename = "a")]
        allocations: Vec<PeerId>,
        /// Peers that confirmed (by `holds`) that they have it: a release counts on these alone.
        #[serde(rename = "h", default, skip_serializing_if = "Vec::is_empty")]
        confirmed: Vec<PeerId>,
    },
    /// Remove a pin whose time is over.
    Expire {
        /// Which.
        #[serde(rename = "q")]
        seq: Seq,
        /// What it was decided from.
        #[serde(rename = "i")]
        if_rev: Rev,
    },
    /// What this peer had to unpin is gone from its IPFS node: tombstones and releases.
    Gone {
        /// Who says so.
        #[serde(rename = "p")]
        peer: PeerId,
        /// The rev up to which the peer had seen the state: what changed since is left alone.
        #[serde(rename = "r")]
        as_of: Rev,
        /// Which; at most `GONE_SEQS_MAX`.
        #[serde(rename = "q")]
        seqs: Vec<Seq>,
    },
    /// Admit a peer, or a new life of a member.
    AddMember {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
        /// Its present life.
        #[serde(rename = "i")]
        incarnation: Incarnation,
        /// Shown to users.
        #[serde(rename = "n")]
        name: String,
        /// `tag:` values and other labels.
        #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
    },
    /// Take a peer out of the membership. Without `force`, it must hold no pin.
    RemoveMember {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
        /// Also while pins are allocated to it (the peer is dead, or `drain=false`).
        #[serde(rename = "f")]
        force: bool,
    },
    /// Start or stop moving everything away from a peer.
    Drain {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
        /// Start or stop.
        #[serde(rename = "o")]
        on: bool,
    },
    /// The peer was found dead.
    Down {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
    },
    /// The peer is back.
    Up {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
    },
    /// Permit commands up to this version.
    FeatureLevel {
        /// The new level.
        #[serde(rename = "l")]
        level: u32,
    },
    /// Change what is said of a member; never admits one.
    Describe {
        /// Who.
        #[serde(rename = "p")]
        peer: PeerId,
        /// Shown to users.
        #[serde(rename = "n")]
        name: String,
        /// `tag:` values and other labels.
        #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
    },
    /// Fence off what a recovery or a restore left behind.
    RaiseEpoch {
        /// Higher than the present one.
        #[serde(rename = "e")]
        epoch: Epoch,
    },
    /// Forget what a removed member had still to unpin, `SWEEP_SEQS_MAX` pins at a time, and at
    /// last its row. The leader repeats it while [`crate::state::query::departed`] names it.
    Sweep {
        /// The removed member's number.
        #[serde(rename = "m")]
        member: MemberNo,
    },
}

impl Command {
    /// The feature level from which this command may be proposed.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        match self {
            Self::Init { .. }
            | Self::Pin { .. }
            | Self::Unpin { .. }
            | Self::Place { .. }
            | Self::Expire { .. }
            | Self::Gone { .. }
            | Self::AddMember { .. }
            | Self::RemoveMember { .. }
            | Self::Drain { .. }
            | Self::Down { .. }
            | Self::Up { .. }
            | Self::FeatureLevel { .. }
            | Self::Describe { .. }
            | Self::RaiseEpoch { .. }
            | Self::Sweep { .. } => 1,
        }
    }
}

/// What became of a command. "No" is an outcome, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, as this rev.
    Applied {
        /// The command's number.
        rev: Rev,
    },
    /// A repeat of a command that was done before.
    AlreadyAt {
        /// The number it had then.
        rev: Rev,
    },
    /// The state has changed since the decision: decide again.
    Conflict {
        /// The pin's last change, if there is a live pin.
        current: Option<Rev>,
    },
    /// The command cannot be done.
    Rejected(Rejection),
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// The CID is not pinned.
    #[error("pin is not part of the pinset")]
    NotPinned,
    /// The command names a peer that is no member.
    #[error("peer {0} is not a member of this cluster")]
    NotAMember(PeerId),
    /// Copies would fall below the minimum.
    #[error("only {have} of {min} copies would remain")]
    TooFewCopies {
        /// Confirmed copies that would remain.
        have: u32,
        /// The pin's minimum.
        min: u32,
    },
    /// The member cannot be removed yet.
    #[error("peer {peer} still holds {pins} pins: drain it first")]
    HoldsPins {
        /// Who.
        peer: PeerId,
        /// Pins allocated to it.
        pins: u64,
    },
    /// The last member cannot be removed.
    #[error("cannot remove ourselves from a 1-peer cluster")]
    LastMember,
    /// The admission belongs to an earlier life of the peer.
    #[error("peer {peer} was admitted again since, as incarnation {current}")]
    StaleIncarnation {
        /// Who.
        peer: PeerId,
        /// Its present life.
        current: Incarnation,
    },
    /// The pin's expiry is still to come, or it has none.
    #[error("the pin has not expired")]
    NotExpired,
    /// Pins without allocations of their own (everywhere, meta) cannot be placed.
    #[error("the pin has no allocations to change")]
    NotPlaceable,
    /// From a former start of the origin.
    #[error("the request comes from an earlier start of its peer")]
    StaleBoot,
    /// The repeat window does not reach back that far.
    #[error("the request is older than its session's floor")]
    BelowFloor,
    /// A second `Init`.
    #[error("the cluster is formed already")]
    AlreadyFormed,
    /// Anything before `Init`.
    #[error("the cluster is not formed yet")]
    NotFormed,
    /// The epoch is not higher than the present one.
    #[error("epoch {current} is not below the epoch asked for")]
    StaleEpoch {
        /// The present one.
        current: Epoch,
    },
    /// The feature level may not go down, and gates newer commands.
    #[error("feature level is {current}, not {wanted}")]
    FeatureLevel {
        /// The present one.
        current: u32,
        /// What the command needs or sets.
        wanted: u32,
    },
    /// The number does not belong to a removed member.
    #[error("member number {0} does not belong to a removed peer")]
    NotDeparted(MemberNo),
    /// A pin type that does not match what is pinned (API contract §3).
    #[error(
        "cannot repin CID with different tracking method, clear state with pin rm to proceed. New: {new}. Was: {was}"
    )]
    TypeMismatch {
        /// Asked for.
        new: String,
        /// In the state.
        was: String,
    },
    /// A recursive pin cannot become a direct one (API contract §3).
    #[error(
        "cannot repin a CID which is already pinned in recursive mode (new pin is pinned as direct). Unpin it first."
    )]
    RecursiveToDirect,
    /// The state is full, or the command breaks a bound.
    #[error("{0}")]
    Limit(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec,
        limits::ENTRY_BYTES_MAX,
        state::tests::{cid, peer, peers, spec},
    };

    /// Every variant, with every optional part once there and once not.
    fn all() -> Vec<Command> {
        let (one, name) = (peer(1), || "n".to_owned());
        let labels = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let mut full = spec(1, 2, 3);
        full.name = name();
        full.mode = crate::pin::PinMode::Direct;
        full.pin_type = crate::pin::PinType::Shard;
        full.user_allocations = peers(&[2]);
        full.expire_at = Some(Timestamp(5));
        full.metadata.clone_from(&labels);
        full.pin_update = Some(cid(2));
        full.origins = vec!["/ip4/1.2.3.4".into()];
        full.shard_size = 6;
        full.reference = Some(cid(3));
        let pin = |spec, allocations, if_rev| Command::Pin {
            spec,
            allocations,
            if_rev,
        };
        let place = |confirmed| Command::Place {
            seq: Seq(3),
            if_rev: Rev(4),
            allocations: peers(&[1]),
            confirmed,
        };
        vec![
            Command::Init {
                cluster: ClusterId([9; 16]),
                epoch: Epoch(1),
            },
            pin(full, peers(&[1]), IfRev::Is(Rev(7))),
            pin(spec(1, -1, -1), Vec::new(), IfRev::Any),
            pin(spec(1, 1, 1), peers(&[1]), IfRev::Absent),
            Command::Unpin { cid: cid(1) },
            place(Vec::new()),
            place(peers(&[1])),
            Command::Expire {
                seq: Seq(3),
                if_rev: Rev(4),
            },
            Command::Gone {
                peer: one.clone(),
                as_of: Rev(5),
                seqs: vec![Seq(1), Seq(2)],
            },
            Command::AddMember {
                peer: one.clone(),
                incarnation: Incarnation(8),
                name: name(),
                labels: labels.clone(),
            },
            Command::RemoveMember {
                peer: one.clone(),
                force: true,
            },
            Command::Drain {
                peer: one.clone(),
                on: true,
            },
            Command::Down { peer: one.clone() },
            Command::Up { peer: one.clone() },
            Command::FeatureLevel { level: 1 },
            Command::Describe {
                peer: one,
                name: name(),
                labels: BTreeMap::new(),
            },
            Command::RaiseEpoch { epoch: Epoch(2) },
            Command::Sweep {
                member: MemberNo(3),
            },
        ]
    }

    /// The log is on disk: these bytes may never change. Runs of one identifier byte are shortened.
    #[test]
    fn the_bytes_of_every_command_are_fixed() {
        let forms: Vec<_> = all()
            .iter()
            .map(|command| {
                let text = hex::encode(codec::encode(command));
                (1..=9).fold(text, |text, n: u8| {
                    text.replace(&hex::encode([n; 32]), &format!("<{n}>"))
                })
            })
            .collect();
        assert_eq!(forms, FORMS);
    }

    const FORMS: &[&str] = &[
        "01a164696e6974a261635009090909090909090909090909090909616501",
        "01a16370696ea36173ac6163582401551220<1>616e616e616d6664697265637461746973686172642d70696e616682020361758158221220<2>6165056178a1616b61766170582401551220<2>616f816c2f6970342f312e322e332e346173066172582401551220<3>61618158221220<1>6169a162697307",
        "01a16370696ea26173a26163582401551220<1>6166822020616963616e79",
        "01a16370696ea36173a26163582401551220<1>616682010161618158221220<1>6169626e6f",
        "01a165756e70696ea16163582401551220<1>",
        "01a165706c616365a361710361690461618158221220<1>",
        "01a165706c616365a461710361690461618158221220<1>61688158221220<1>",
        "01a166657870697265a2617103616904",
        "01a164676f6e65a3617058221220<1>6172056171820102",
        "01a16a6164645f6d656d626572a4617058221220<1>616908616e616e616ca1616b6176",
        "01a16d72656d6f76655f6d656d626572a2617058221220<1>6166f5",
        "01a165647261696ea2617058221220<1>616ff5",
        "01a164646f776ea1617058221220<1>",
        "01a1627570a1617058221220<1>",
        "01a16d666561747572655f6c6576656ca1616c01",
        "01a1686465736372696265a2617058221220<1>616e616e",
        "01a16b72616973655f65706f6368a1616502",
        "01a1657377656570a1616d03",
    ];

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let session = |n| Session {
            origin: peer(1),
            boot: Boot(2),
            n,
            floor: 1,
        };
        let commands = all().into_iter().zip(1..);
        let entry = Entry {
            at: Timestamp(77),
            commands: commands
                .map(|(command, n)| Envelope {
                    session: session(n),
                    command,
                })
                .collect(),
        };
        let bytes = codec::encode(&entry);
        assert_eq!(codec::decode(&bytes, ENTRY_BYTES_MAX), Ok(entry));
    }

    #[test]
    fn a_command_of_a_newer_version_is_refused() {
        for newer in [
            serde_json::json!({"teleport": {"p": 1}}),
            serde_json::json!({"sweep": {"m": 1, "fast": true}}),
            serde_json::json!({"down": {}}),
        ] {
            assert!(codec::decode::<Command>(&codec::encode(&newer), 1000).is_err());
        }
    }
}
