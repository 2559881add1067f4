//! Pulling what gossip did not bring, from the owner or from any other holder; and being asked.

use ipfs_cluster_protocol::limits;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ipfs_cluster_protocol::{
    id::PeerId,
    status::{Progress, PullRequest, PullResponse},
};
use rand::{Rng as _, seq::SliceRandom as _};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{gossip::Timing, tables::StatusTables};
use crate::net::{Net, PeerStream, Proto};

/// A page must come within this.
const PAGE_MAX: Duration = Duration::from_secs(10);
/// A puller that asks nothing for so long is let go.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// Pulls, for as long as the peer runs.
pub(super) async fn run(tables: StatusTables, net: Arc<Net>, timing: Timing) {
    let mut pulls: JoinSet<()> = JoinSet::new();
    loop {
        let silence = timing.silence(tables.others_len());
        let (due, next) = tables.due_pulls(limits::PULLS_MAX, silence);
        for peer in due {
            pulls.spawn(pull(tables.clone(), net.clone(), peer, silence));
        }
        let look = Instant::now() + silence / 2;
        let next = next.map_or(look, |due| due.min(look));
        tokio::select! {
            biased;
            Some(_) = pulls.join_next() => {}
            () = tables.missing() => {}
            () = sleep_until(next) => {}
        }
    }
}

/// Pulls one table from the first peer that can give it.
async fn pull(tables: StatusTables, net: Arc<Net>, owner: PeerId, silence: Duration) {
    for server in servers(&net.connected(), &owner) {
        if let Err(reason) = pull_from(&tables, &net, &owner, &server).await {
            tracing::debug!(%owner, %server, reason, "status not pulled");
        }
        if tables.is_settled(&owner, silence) {
            break;
        }
    }
    tables.pulled(&owner, silence, rand::rng().random());
}

/// The owner, if it is connected, and some of the others.
fn servers(connected: &BTreeSet<PeerId>, owner: &PeerId) -> Vec<PeerId> {
    let mut others: Vec<_> = connected.iter().filter(|p| *p != owner).cloned().collect();
    others.shuffle(&mut rand::rng());
    let owner = connected.get(owner).cloned();
    owner
        .into_iter()
        .chain(others)
        .take(limits::PULL_SERVERS_MAX)
        .collect()
}

async fn pull_from(
    tables: &StatusTables,
    net: &Net,
    owner: &PeerId,
    server: &PeerId,
) -> Result<(), String> {
    let opened = net.open(server, Proto::StatusPull).await;
    let mut stream = opened.map_err(|e| e.to_string())?;
    loop {
        let Some((request, owner_only)) = tables.next_request(owner) else {
            return Ok(());
        };
        if owner_only && server != owner {
            return Ok(());
        }
        let sent = stream.send_msg(&request).await;
        sent.map_err(|e| e.to_string())?;
        let page = stream.recv_msg_within::<PullResponse>(PAGE_MAX).await;
        let page = page.map_err(|e| e.to_string())?;
        // Another start of the owner than the one asked for: ask for that one.
        let other = matches!(page, PullResponse::Other { .. });
        match tables.apply_page(owner, page) {
            None => return Ok(()), // no member any more
            Some(Ok(Progress::More)) => {}
            Some(Ok(Progress::Nothing)) if other => {}
            Some(Ok(_)) => return Ok(()),
            Some(Err(e)) => return Err(e.to_string()),
        }
    }
}

/// Answers pullers, until the network ends.
pub(super) async fn serve(tables: StatusTables, mut asked: mpsc::Receiver<PeerStream>) {
    let mut serving: JoinSet<()> = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = serving.join_next() => {}
            stream = asked.recv(), if serving.len() < limits::PULL_SERVED_MAX => match stream {
                Some(stream) => {
                    serving.spawn(answer(tables.clone(), stream));
                }
                None => return,
            },
        }
    }
}

async fn answer(tables: StatusTables, mut stream: PeerStream) {
    loop {
        let request = match timeout(IDLE_MAX, stream.recv_msg::<PullRequest>()).await {
            Ok(Ok(Some(request))) => request,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(e)) => {
                tracing::debug!(peer = %stream.peer, error = %e, "bad status pull");
                return;
            }
        };
        let response = tables.answer(&request);
        if let Err(e) = stream.send_msg(&response).await {
            tracing::debug!(peer = %stream.peer, error = %e, "status page not sent");
            return;
        }
    }
}
