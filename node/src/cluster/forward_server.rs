//! The leader's side of forwarded writes.

use std::{sync::Arc, time::Duration};

use ipfs_cluster_protocol::{
    limits,
    rpc::{ForwardReply, ForwardRequest, Refusal},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};
use tracing::Instrument;

use super::leader::Leader;
use crate::{
    net::{PeerReceiver, PeerSender, PeerStream},
    spans,
    worker::Stop,
};

/// The longest a forwarded write may wait here, whatever its origin says.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// Serves the streams of all followers until the peer stops.
pub(crate) async fn serve(leader: Leader, mut streams: mpsc::Receiver<PeerStream>, mut stop: Stop) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            Some(_) = sessions.join_next() => {}
            stream = streams.recv() => match stream {
                Some(stream) => { sessions.spawn(session(leader.clone(), stream)); }
                None => return,
            },
        }
    }
}

/// One follower: requests run side by side, replies leave as they come.
async fn session(leader: Leader, stream: PeerStream) {
    let peer = stream.peer.clone();
    let (sender, receiver) = stream.split();
    let (replies, queue) = mpsc::channel(limits::FORWARD_IN_FLIGHT_MAX);
    let outcome = tokio::select! {
        biased;
        read = read_requests(leader, receiver, replies, &peer) => read,
        sent = send_replies(sender, queue) => sent,
    };
    if let Err(reason) = outcome {
        tracing::debug!(%peer, reason, "forward session ended");
    }
}

async fn read_requests(
    leader: Leader,
    mut receiver: PeerReceiver,
    replies: mpsc::Sender<ForwardReply>,
    peer: &ipfs_cluster_protocol::id::PeerId,
) -> Result<(), String> {
    let mut running = JoinSet::new();
    let room = Arc::new(Semaphore::new(limits::FORWARD_IN_FLIGHT_MAX));
    loop {
        let request = receiver.recv_msg::<ForwardRequest>().await;
        let Some(request) = request.map_err(|e| e.to_string())? else {
            // The follower says no more; what runs is still answered.
            while running.join_next().await.is_some() {}
            return Ok(());
        };
        if request.session.origin != *peer {
            return Err(format!(
                "it speaks in the name of {}",
                request.session.origin
            ));
        }
        while running.try_join_next().is_some() {}
        let permit = room
            .clone()
            .acquire_owned()
            .await
            .map_err(|e| e.to_string())?;
        let (leader, replies) = (leader.clone(), replies.clone());
        running.spawn(async move {
            let reply = answer(&leader, request).await;
            let _ = replies.send(reply).await;
            drop(permit);
        });
    }
}

async fn answer(leader: &Leader, request: ForwardRequest) -> ForwardReply {
    let patience = Duration::from_millis(request.patience_ms).min(PATIENCE_MAX);
    let deadline = Instant::now() + patience;
    let span = tracing::info_span!(
        target: spans::TARGET, "forwarded", otel.kind = "server", op = request.op.name(),
    );
    let trace = request.trace.as_deref();
    spans::follow_text(
        &span,
        trace.filter(|t| t.len() <= limits::TRACEPARENT_BYTES_MAX),
    );
    let work = leader.execute(request.session, request.op, deadline);
    let work = work.instrument(span);
    let result = tokio::time::timeout_at(deadline, work)
        .await
        .unwrap_or_else(|_| Err(Refusal::Unknown("the leader did not finish in time".into())));
    ForwardReply {
        id: request.id,
        result,
    }
}

async fn send_replies(
    mut sender: PeerSender,
    mut queue: mpsc::Receiver<ForwardReply>,
) -> Result<(), String> {
    while let Some(reply) = queue.recv().await {
        let mut next = Some(reply);
        while let Some(reply) = next {
            let frame = ipfs_cluster_protocol::codec::encode(&reply);
            sender.feed(frame).await.map_err(|e| e.to_string())?;
            next = queue.try_recv().ok();
        }
        sender.flush().await.map_err(|e| e.to_string())?;
    }
    Ok(())
}
