//! What one pin lacks, and whom it can let go.

use super::plan::Situation;
use crate::{
    id::PeerId,
    pin::{Holding, Pin},
};

/// How much is at risk, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Of several copies at most one is on a peer that is up.
    LastCopy,
    /// Fewer than `min` of its peers are up.
    BelowMinimum,
    /// A peer is lost or removed; `min` others are up.
    BelowCopies,
    /// A peer that holds it drains.
    Draining,
    /// It is on more peers than wanted.
    Surplus,
}

/// What is to do about a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// How much is at risk.
    pub urgency: Urgency,
    /// Peers to add.
    pub missing: usize,
    /// Copies wanted.
    pub wanted: usize,
    /// The fewest copies that may ever be left.
    pub minimum: usize,
    /// Allocated peers that stay: up, or down for less than the grace.
    pub staying: Vec<PeerId>,
    /// Of them, those that are up: only they can confirm a copy.
    pub up: Vec<PeerId>,
    /// Allocated peers to let go: lost ones and draining ones.
    pub leaving: Vec<PeerId>,
}

/// Looks at one pin; none when it is as it should be, or not held by named peers.
#[must_use]
pub fn assess(pin: &Pin, situation: &Situation<'_>) -> Option<Need> {
    let Holding::Allocated { min, .. } = pin.spec.holding() else {
        return None;
    };
    let wanted = usize::try_from(pin.copies.max(min)).unwrap_or(usize::MAX);
    let minimum = usize::try_from(min).unwrap_or(usize::MAX);
    let mut need = Need {
        urgency: Urgency::Surplus,
        missing: 0,
        wanted,
        minimum,
        staying: Vec::new(),
        up: Vec::new(),
        leaving: Vec::new(),
    };
    let (mut alive, mut lost) = (0, 0);
    for peer in &pin.allocations {
        // A peer that is no member was removed since this pin was read.
        let Some(member) = situation.member(peer) else {
            lost += 1;
            continue;
        };
        let gone = member
            .down_for_ms
            .is_some_and(|ms| ms >= situation.grace_ms);
        alive += usize::from(member.down_for_ms.is_none());
        lost += usize::from(gone);
        if gone || member.draining {
            need.leaving.push(peer.clone());
        } else {
            need.staying.push(peer.clone());
            if member.down_for_ms.is_none() {
                need.up.push(peer.clone());
            }
        }
    }
    need.missing = wanted.saturating_sub(need.staying.len());
    lost += wanted.saturating_sub(pin.allocations.len());
    need.urgency = if lost > 0 && alive <= 1 && wanted > 1 {
        Urgency::LastCopy
    } else if lost > 0 && alive < minimum {
        Urgency::BelowMinimum
    } else if lost > 0 {
        Urgency::BelowCopies
    } else if !need.leaving.is_empty() {
        Urgency::Draining
    } else {
        Urgency::Surplus
    };
    let surplus = need.staying.len() > wanted;
    (need.missing > 0 || surplus || !need.leaving.is_empty()).then_some(need)
}
