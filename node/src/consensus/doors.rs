//! Streams that other peers open, from the first moment of this peer to its last: they are taken
//! whether or not the consensus runs, and handed to the run there is.
//!
//! What belongs to a member waits for the consensus to start, for a moment: the leader's first
//! entries may arrive before the newly admitted peer has written down who it is. Who wants to join
//! is answered at once.

use std::{io, sync::Arc};

use futures::{StreamExt, stream::BoxStream};
use ipfs_cluster_protocol::limits;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::debug;

use super::{core::Core, handle::Accepted, join, links::Incoming, server::Server};

/// The run there is, if there is one.
pub(super) type Present = watch::Receiver<Option<Arc<Core>>>;

/// Opens all of them. Dropping the set closes them.
pub(super) fn open(accepted: Accepted, present: &Present) -> JoinSet<()> {
    let mut doors = JoinSet::new();
    doors.spawn(serve(accepted.append, present.clone(), Server::append));
    doors.spawn(serve(accepted.ask, present.clone(), Server::ask));
    doors.spawn(serve(accepted.snapshot, present.clone(), Server::snapshot));
    doors.spawn(join::serve(accepted.join, present.clone()));
    doors
}

/// Serves the streams of one kind until the channel ends, or the peer.
async fn serve<F>(
    mut incoming: BoxStream<'static, Incoming>,
    mut present: Present,
    serve: impl Fn(Server, Incoming) -> F,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits::SERVER_STREAMS_MAX));
    let mut streams = JoinSet::new();
    while let Some(stream) = incoming.next().await {
        while streams.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            debug!(peer = %stream.peer, "too many streams: one is dropped");
            continue;
        };
        let server = match present.wait_for(Option::is_some).await {
            Ok(core) => core.as_deref().map(Server::of),
            Err(_) => return,
        };
        let Some(server) = server else { continue };
        let peer = stream.peer.clone();
        let served = serve(server, stream);
        streams.spawn(async move {
            let _slot = slot;
            if let Err(e) = served.await {
                debug!(%peer, error = %e, "a consensus stream ended");
            }
        });
    }
}
