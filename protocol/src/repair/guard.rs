//! The guard: when much is down at once, the fault is more likely the network's than the peers',
//! and moving their data would make it worse.

use super::MemberHealth;
use crate::{
    id::PeerId,
    mutation::{Mutation, planted},
};

/// Whether the repair may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// It may.
    Proceed,
    /// Only pins with one live copy left are repaired, until these peers return, are removed, or
    /// an operator resumes it.
    Paused {
        /// Why.
        reason: Pause,
        /// Who is missing.
        peers: Vec<PeerId>,
    },
}

/// Why the repair is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Pause {
    /// More than max(1, ⌊members / 3⌋) are down at once.
    #[error("{down} members are down at once, more than {allowed}")]
    TooManyDown {
        /// Members that are down.
        down: usize,
        /// Members that may be.
        allowed: usize,
    },
    /// Fewer than two thirds of the members answer the leader.
    #[error("only {answering} of {members} members answer the leader")]
    TooFewAnswer {
        /// Members that answer.
        answering: usize,
        /// All of them.
        members: usize,
    },
}

/// Judges the membership as a whole; `resumed` is an operator's word to go on regardless.
#[must_use]
pub fn guard(members: &[MemberHealth], resumed: bool) -> Guard {
    if resumed || planted(Mutation::RepairWithoutGuard) {
        return Guard::Proceed;
    }
    let those = |missing: &dyn Fn(&MemberHealth) -> bool| -> Vec<PeerId> {
        let found = members.iter().filter(|member| missing(member));
        found.map(|member| member.peer.clone()).collect()
    };
    let down = those(&|member| member.down_for_ms.is_some());
    let allowed = (members.len() / 3).max(1);
    if down.len() > allowed {
        let reason = Pause::TooManyDown {
            down: down.len(),
            allowed,
        };
        let peers = down;
        return Guard::Paused { reason, peers };
    }
    let silent = those(&|member| !member.answers);
    let answering = members.len() - silent.len();
    if answering * 3 < members.len() * 2 {
        let reason = Pause::TooFewAnswer {
            answering,
            members: members.len(),
        };
        let peers = silent;
        return Guard::Paused { reason, peers };
    }
    Guard::Proceed
}
