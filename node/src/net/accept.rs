//! Introduces inbound streams, many at a time, away from the swarm's loop.

use std::sync::Arc;

use futures::{StreamExt as _, channel::mpsc};
use tokio::task::JoinSet;

use super::{introduce, shared::Shared, streams::Inbound};

/// Streams being introduced at a time; the others wait in their connections.
const INTRODUCTIONS_MAX: usize = 1024;

/// Runs until the swarm is gone.
pub(super) async fn run(mut inbound: mpsc::Receiver<Inbound>, shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = tasks.join_next() => {}
            next = inbound.next(), if tasks.len() < INTRODUCTIONS_MAX => match next {
                Some(stream) => {
                    tasks.spawn(introduce::as_acceptor(shared.clone(), stream));
                }
                None => return,
            },
        }
    }
}
