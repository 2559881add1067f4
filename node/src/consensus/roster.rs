//! Keeps what the rest of the peer knows of cluster, epoch and members in step with the state.

use std::sync::Arc;

use ipfs_cluster_protocol::state::{System, query};
use tokio::sync::watch;
use tracing::warn;

use super::core::{Core, Members};

/// Runs as long as the peer; `changed` counts the entries that touched cluster or members.
pub(super) async fn follow(core: Arc<Core>, mut changed: watch::Receiver<u64>) {
    // Entries older than the admission speak of a cluster without this peer: until it has met
    // itself in the state, what was learned at the admission counts.
    let mut seated = false;
    loop {
        changed.borrow_and_update();
        let read = core.state.read(|state| {
            let members = query::members(state)?;
            Ok((System::load(state)?, members))
        });
        match read.await {
            Ok((system, members)) => {
                let members: Members = members
                    .into_iter()
                    .map(|m| (m.peer, m.incarnation))
                    .collect();
                seated |= members.get(core.own.peer()) == Some(&core.own.incarnation());
                take_over(
                    &core,
                    &system,
                    if seated { members } else { Members::new() },
                );
            }
            Err(e) => warn!(error = %e, "the members could not be read"),
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

fn take_over(core: &Core, system: &System, members: Members) {
    let raised = core.identity.send_if_modified(|identity| match identity {
        Some(known) if system.cluster.is_some() && system.epoch > known.epoch => {
            known.epoch = system.epoch;
            true
        }
        _ => false,
    });
    if raised && let Some(identity) = *core.identity.borrow() {
        core.links.introduce(identity);
    }
    if members.is_empty() {
        // Before the first entries arrive, what was learned at the admission counts.
        return;
    }
    core.links.set_members(members.clone());
    core.members.send_if_modified(|known| {
        let changed = *known != members;
        *known = members;
        changed
    });
}
