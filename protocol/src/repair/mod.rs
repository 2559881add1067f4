//! What the leader does about pins that lack copies, or have peers to let go.
//!
//! ```text
//!  pins of leaving members, unsettled pins ─▶ assess ─▶ Need: what lacks, how urgent
//!                                                │
//!                 guard: too much is down? ──────┤
//!                                                ▼
//!        make: allocate replacements beside the old peers   (Command::Place, nobody let go)
//!             … they pin it …
//!        release: ask them `holds`, then let the old peers go (Command::Place with `confirmed`)
//! ```
//!
//! All of it is computed anew from the state each time, so another leader goes on where the last
//! one stopped, and a peer that comes back ends its repair by being there.
//!
//! Which pins to look at: the `Allocated` sets of members that are down, draining or departed
//! ([`crate::state::query::departed`]), and the `Unsettled` set.

mod guard;
mod need;
mod plan;
#[cfg(test)]
mod tests;

pub use guard::{Guard, Pause, guard};
pub use need::{Need, Urgency, assess};
pub use plan::{Release, RepairPlan, Situation, Step, plan, release};

use crate::id::PeerId;

/// A member, as the repair sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHealth {
    /// Who.
    pub peer: PeerId,
    /// How long it has been down, in milliseconds by a monotonic clock; none while it is up.
    pub down_for_ms: Option<u64>,
    /// Everything is being moved away from it.
    pub draining: bool,
    /// Whether it answers the leader now; the leader answers itself.
    pub answers: bool,
}
