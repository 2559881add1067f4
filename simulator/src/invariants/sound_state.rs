//! Every peer's state passes the core's own check: rows, indexes and bitmaps agree.

use super::Invariant;
use crate::observe::Seen;

#[derive(Debug)]
pub(super) struct SoundState;

impl Invariant for SoundState {
    fn name(&self) -> &'static str {
        "sound-state"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        match seen {
            Seen::State {
                peer,
                system,
                fault: Some(fault),
                ..
            } => Err(format!("peer {peer} at rev {}: {fault}", system.rev)),
            _ => Ok(()),
        }
    }
}
