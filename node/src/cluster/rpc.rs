//! Single questions between peers, one per stream (`/ipfs-cluster/rpc/1`).

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use ipfs_cluster_protocol::{
    api,
    id::PeerId,
    limits,
    rpc::{RpcReply, RpcRequest},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use super::Cluster;
use crate::{
    monitor::AskMetrics,
    net::{Net, PeerStream, Proto},
    worker::Stop,
};

/// How long a question may take, answer included.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How long a silent peer may take to say how it is, before there is an alert.
const METRICS_MAX: Duration = Duration::from_secs(3);

/// Asks one peer. The error is for people: the peer is away, or does not answer.
pub(crate) async fn ask(
    net: &Net,
    peer: &PeerId,
    question: &RpcRequest,
) -> Result<RpcReply, String> {
    ask_within(net, peer, question, ANSWER_MAX).await
}

/// The same, with the answer due within another time.
pub(crate) async fn ask_within(
    net: &Net,
    peer: &PeerId,
    question: &RpcRequest,
    patience: Duration,
) -> Result<RpcReply, String> {
    let exchange = async {
        let mut stream = net
            .open(peer, Proto::Rpc)
            .await
            .map_err(|e| e.to_string())?;
        stream.send_msg(question).await.map_err(|e| e.to_string())?;
        let reply = stream.recv_msg_within::<RpcReply>(patience).await;
        match reply.map_err(|e| e.to_string())? {
            RpcReply::Failed(reason) => Err(reason),
            reply => Ok(reply),
        }
    };
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {patience:?}")))
}

/// Answers the other peers until the peer stops.
pub(crate) async fn serve(
    cluster: Cluster,
    mut streams: mpsc::Receiver<PeerStream>,
    mut stop: Stop,
) {
    let room = Arc::new(Semaphore::new(limits::RPC_IN_FLIGHT_MAX));
    let mut running = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.stopped() => return,
            Some(_) = running.join_next() => continue,
            stream = streams.recv() => stream,
        };
        let Some(mut stream) = stream else { return };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            tracing::warn!(peer = %stream.peer, "too many questions at once: one is dropped");
            continue;
        };
        let cluster = cluster.clone();
        running.spawn(async move {
            if let Err(reason) = answer(&cluster, &mut stream).await {
                tracing::debug!(peer = %stream.peer, reason, "question not answered");
            }
            drop(permit);
        });
    }
}

async fn answer(cluster: &Cluster, stream: &mut PeerStream) -> Result<(), String> {
    let question = stream.recv_msg_within::<RpcRequest>(ANSWER_MAX).await;
    let question = question.map_err(|e| e.to_string())?;
    let reply = match question {
        RpcRequest::Id => RpcReply::Id(Box::new(cluster.id().await)),
        RpcRequest::Holds { seq, rev } => match cluster.holds(seq, rev).await {
            Ok(yes) => RpcReply::Yes(yes),
            Err(e) => RpcReply::Failed(e.to_string()),
        },
        RpcRequest::Probe { peer } => RpcReply::Yes(cluster.reaches(&peer).await),
        RpcRequest::Recover { cid } => match cluster.recover_here(cid).await {
            Ok(true) => RpcReply::Recovered(vec![cid]),
            Ok(false) => RpcReply::Recovered(Vec::new()),
            Err(e) => RpcReply::Failed(e.to_string()),
        },
        RpcRequest::RecoverAll => match cluster.recover_all_here().await {
            Ok(cids) => RpcReply::Recovered(cids),
            Err(e) => RpcReply::Failed(e.to_string()),
        },
        RpcRequest::RepoGc => match cluster.gc_here().await {
            Ok(own) => RpcReply::Collected(Box::new(own)),
            Err(e) => RpcReply::Failed(e.to_string()),
        },
        RpcRequest::RepoStat => match cluster.ipfs().repo_stat().await {
            Ok(stat) => RpcReply::RepoStat {
                repo_size: stat.repo_size,
                storage_max: stat.storage_max,
            },
            Err(e) => RpcReply::Failed(e.to_string()),
        },
        RpcRequest::SwarmPeers => match cluster.ipfs().swarm_peers().await {
            Ok(mut peers) => {
                peers.truncate(limits::SWARM_PEERS_MAX);
                RpcReply::Peers(peers)
            }
            Err(e) => RpcReply::Failed(e.to_string()),
        },
        RpcRequest::Repair => RpcReply::Repair(Box::new(cluster.0.repair.report())),
        RpcRequest::Metrics => RpcReply::Metrics(cluster.0.monitor.told()),
    };
    stream.send_msg(&reply).await.map_err(|e| e.to_string())
}

/// How the monitor asks peers that it has not heard of for long.
pub(crate) fn metrics_asker(net: &Net) -> AskMetrics {
    let net = net.clone();
    Arc::new(move |peer| {
        let net = net.clone();
        async move {
            match ask_within(&net, &peer, &RpcRequest::Metrics, METRICS_MAX).await {
                Ok(RpcReply::Metrics(metrics)) => metrics,
                Ok(_) => Vec::new(),
                Err(reason) => {
                    tracing::debug!(%peer, reason, "silent, and does not answer");
                    Vec::new()
                }
            }
        }
        .boxed()
    })
}

/// What a peer says of itself, or that it could not be asked.
pub(crate) async fn ask_id(net: &Net, peer: &PeerId) -> api::id::Id {
    match ask(net, peer, &RpcRequest::Id).await {
        Ok(RpcReply::Id(id)) => *id,
        Ok(_) => api::id::Id::unreachable(peer.clone(), "it answered something else".into()),
        Err(reason) => api::id::Id::unreachable(peer.clone(), reason),
    }
}
