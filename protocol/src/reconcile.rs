//! What one peer does about one pin: what the state wants of it against what its IPFS node has.
//!
//! It is level-triggered: it compares, and remembers nothing, so a crash at any point loses
//! nothing. **Absence from the state is never a reason to unpin**: only an order is, that is a
//! tombstone that names this peer, or a pin whose allocation moved away from it. What the IPFS node
//! has besides belongs to somebody else and is left alone.
//!
//! | state \ IPFS node | not pinned | pinned | pinned before the cluster asked | not known |
//! |---|---|---|---|---|
//! | hold | pin | – (pin, if it must go deeper) | – (same) | – |
//! | unpin | report gone | unpin | report gone | – |
//! | elsewhere, absent | – | – | – | – |

use crate::{
    id::{Cid, Rev},
    pin::{PinMode, PinSpec},
};

/// What the state wants of this peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// Hold it: allocated here, or everywhere.
    Hold {
        /// The last change of the pin.
        rev: Rev,
        /// What to hold and how.
        spec: Box<PinSpec>,
    },
    /// The cluster ordered this peer to let go of it.
    Unpin {
        /// What.
        cid: Cid,
        /// The last change of the pin or its tombstone.
        rev: Rev,
    },
    /// In the pinset, and none of this peer's business.
    Elsewhere,
    /// Not in the state, or this peer has nothing left to do about it.
    Absent,
}

/// What this peer's IPFS node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// No pin of its own (a block that some other pin holds is none).
    Unpinned,
    /// A pin.
    Pinned {
        /// How deep.
        mode: PinMode,
        /// Whose it is, as far as this peer knows.
        owner: Owner,
    },
    /// The IPFS node did not say.
    Unknown,
}

/// Whose pin on the IPFS node it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This peer made it, on the cluster's order.
    Cluster,
    /// It was there before the cluster ordered it.
    Foreign,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Pin it, so deep.
    Pin(PinMode),
    /// Unpin it.
    Unpin,
    /// Tell the cluster (`Command::Gone`) that nothing of its is left here.
    ReportGone,
}

/// The one step that brings the IPFS node closer to what the state wants, if one is needed.
#[must_use]
pub fn plan(desired: &Desired, observed: Observed) -> Option<Action> {
    match (desired, observed) {
        (Desired::Elsewhere | Desired::Absent, _) | (_, Observed::Unknown) => None,
        (Desired::Hold { spec, .. }, Observed::Unpinned) => Some(Action::Pin(spec.mode)),
        (Desired::Hold { spec, .. }, Observed::Pinned { mode, .. }) => {
            // A recursive pin also holds what a direct one would.
            let shallow = spec.mode == PinMode::Recursive && mode == PinMode::Direct;
            shallow.then_some(Action::Pin(spec.mode))
        }
        (Desired::Unpin { .. }, Observed::Pinned { owner, .. }) => Some(match owner {
            Owner::Cluster => Action::Unpin,
            Owner::Foreign => Action::ReportGone,
        }),
        (Desired::Unpin { .. }, Observed::Unpinned) => Some(Action::ReportGone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pin::Replication;

    fn cid() -> Cid {
        "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
            .parse()
            .unwrap()
    }

    fn hold(mode: PinMode) -> Desired {
        let mut spec = PinSpec::new(cid(), Replication::Everywhere);
        spec.mode = mode;
        let (rev, spec) = (Rev(1), Box::new(spec));
        Desired::Hold { rev, spec }
    }

    fn unpin() -> Desired {
        let (cid, rev) = (cid(), Rev(1));
        Desired::Unpin { cid, rev }
    }

    fn pinned(mode: PinMode, owner: Owner) -> Observed {
        Observed::Pinned { mode, owner }
    }

    #[test]
    fn only_an_order_unpins_and_never_a_foreign_pin() {
        let observed = [
            Observed::Unpinned,
            Observed::Unknown,
            pinned(PinMode::Recursive, Owner::Cluster),
            pinned(PinMode::Direct, Owner::Cluster),
            pinned(PinMode::Recursive, Owner::Foreign),
            pinned(PinMode::Direct, Owner::Foreign),
        ];
        for observed in observed {
            assert_eq!(plan(&Desired::Absent, observed), None);
            assert_eq!(plan(&Desired::Elsewhere, observed), None);
            for desired in [hold(PinMode::Direct), hold(PinMode::Recursive), unpin()] {
                let unpins = plan(&desired, observed) == Some(Action::Unpin);
                let ours = matches!(
                    observed,
                    Observed::Pinned {
                        owner: Owner::Cluster,
                        ..
                    }
                );
                assert_eq!(unpins, ours && desired == unpin());
            }
        }
    }

    #[test]
    fn what_is_missing_or_too_shallow_is_pinned() {
        use PinMode::{Direct, Recursive};
        let direct = pinned(Direct, Owner::Cluster);
        let recursive = pinned(Recursive, Owner::Foreign);
        for (want, have, action) in [
            (Recursive, Observed::Unpinned, Some(Action::Pin(Recursive))),
            (Direct, Observed::Unpinned, Some(Action::Pin(Direct))),
            (Recursive, direct, Some(Action::Pin(Recursive))),
            (Direct, direct, None),
            (Direct, recursive, None),
            (Recursive, recursive, None),
            (Recursive, Observed::Unknown, None),
        ] {
            assert_eq!(plan(&hold(want), have), action);
        }
    }

    #[test]
    fn every_step_ends_where_nothing_is_left_to_do() {
        for desired in [hold(PinMode::Direct), hold(PinMode::Recursive)] {
            let mut observed = Observed::Unpinned;
            if let Some(Action::Pin(mode)) = plan(&desired, observed) {
                observed = pinned(mode, Owner::Cluster);
            }
            assert_eq!(plan(&desired, observed), None);
        }
        let have = pinned(PinMode::Recursive, Owner::Cluster);
        assert_eq!(plan(&unpin(), have), Some(Action::Unpin));
        assert_eq!(plan(&unpin(), Observed::Unpinned), Some(Action::ReportGone));
    }
}
