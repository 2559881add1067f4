//! Introduces inbound streams, many at a time, away from the swarm's loop.

use std::sync::Arc;

use futures::{StreamExt as _, channel::mpsc};
use ipfs_cluster_protocol::limits;
use tokio::task::JoinSet;

use super::{introduce, shared::Shared, streams::Inbound};

/// Runs until the swarm is gone.
pub(super) async fn run(mut inbound: mpsc::Receiver<Inbound>, shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = tasks.join_next() => {}
            next = inbound.next(), if tasks.len() < limits::NET_INTRODUCTIONS_MAX => match next {
                Some(stream) => {
                    tasks.spawn(introduce::as_acceptor(shared.clone(), stream));
                }
                None => return,
            },
        }
    }
}
