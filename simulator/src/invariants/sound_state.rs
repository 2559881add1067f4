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
        let Seen::State { peer, view, .. } = seen else {
            return Ok(());
        };
        match &view.fault {
            None => Ok(()),
            Some(fault) => Err(format!("peer {peer} at rev {}: {fault}", view.system.rev)),
        }
    }
}
