//! What acts on the state: it waits until the state is at least what it was before the last stop,
//! or it would act on a state that went back.

use std::time::Duration;

use ipfs_cluster_protocol::id::Incarnation;
use tokio::sync::{mpsc, watch};

use crate::{
    cluster::{
        Cluster,
        leader::{Leader, expiry},
    },
    config::Config,
    consensus::{Consensus, RaftStatus},
    env::Env,
    informer,
    ipfs::SharedIpfs,
    monitor::{self, Monitor},
    net::Net,
    repair::{self, Repair, RepairParts, RepairSettings},
    status::{self, StatusTables},
    storage::Identity,
    tracker::{self, Inbox, TrackerParts, TrackerSettings},
    worker::Workers,
};

/// How long the tasks may take to end.
const TASKS_MAX: Duration = Duration::from_secs(2);
/// Reports of what is gone that wait.
const GONE_MAX: usize = 1024;

/// The parts.
pub(super) struct Serving<'a> {
    pub(super) config: &'a Config,
    pub(super) env: &'a Env,
    pub(super) net: &'a Net,
    pub(super) consensus: &'a Consensus,
    pub(super) cluster: &'a Cluster,
    pub(super) leader: &'a Leader,
    pub(super) monitor: &'a Monitor,
    pub(super) tables: &'a StatusTables,
    pub(super) ipfs: &'a SharedIpfs,
    pub(super) repair: Repair,
    pub(super) inbox: Inbox,
    pub(super) identity: Identity,
    /// Told when one of these tasks ends on its own.
    pub(super) failed: mpsc::Sender<String>,
}

/// Starts everything, each at its time.
pub(super) fn spawn(parts: Serving<'_>, workers: &mut Workers) {
    let (config, consensus) = (parts.config, parts.consensus);
    monitor::start(
        parts.monitor,
        parts.net,
        config.monitor_check_interval,
        workers,
    );
    workers.spawn(
        "members",
        follow_members(
            consensus.clone(),
            parts.monitor.clone(),
            parts.tables.clone(),
        ),
    );
    let counting = parts.cluster.clone();
    workers.spawn("pin count", counting.count_pins());

    let mut later = Workers::new();
    let informer = informer::Settings {
        peer_name: config.cluster.peername.clone(),
        ping_ttl: 2 * config.cluster.ping_interval,
        disk: config.informers.disk.clone(),
        tags: config.informers.tags.clone(),
        pinqueue: config.informers.pinqueue,
    };
    let (gone, reports) = mpsc::channel(GONE_MAX);
    let tracking = TrackerParts {
        me: parts.net.local_peer().clone(),
        cluster: parts.identity.cluster,
        ledger: consensus.folder().path().join("ledger"),
        state: consensus.state().clone(),
        changes: consensus.state().changes().clone(),
        ipfs: parts.ipfs.clone(),
        tables: parts.tables.clone(),
        gone,
        settings: TrackerSettings {
            concurrent: config.tracker.concurrent_pins,
            queue_max: config.tracker.max_pin_queue_size,
            recover_interval: config.cluster.pin_recover_interval,
            unpin_disable: config.ipfs.unpin_disable(),
        },
    };
    let repairing = RepairParts {
        leader: parts.leader.clone(),
        consensus: consensus.clone(),
        monitor: parts.monitor.clone(),
        net: parts.net.clone(),
        settings: RepairSettings {
            enabled: !config.cluster.disable_repinning,
            grace: config.repair.grace,
            pins_per_second: config.repair.pins_per_second,
        },
        report: parts.repair,
    };
    let sweep = config.cluster.state_sync_interval;
    let (net, ipfs, tables, monitor, leader, cluster, env, inbox) = (
        parts.net.clone(),
        parts.ipfs.clone(),
        parts.tables.clone(),
        parts.monitor.clone(),
        parts.leader.clone(),
        parts.cluster.clone(),
        parts.env.clone(),
        parts.inbox,
    );
    let (recovered, failed) = (consensus.status(), parts.failed);
    workers.spawn_until("after recovery", |mut stop| async move {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            recovered = until_recovered(recovered) => if !recovered { return },
        }
        status::start(&tables, &net, status::Timing::default(), &mut later);
        informer::start(informer, &net, &ipfs, &tables, &monitor, &mut later);
        later.spawn_until("tracker", |stop| tracker::run(tracking, inbox, env, stop));
        later.spawn("gone reports", tracker::report(cluster, reports));
        later.spawn_until("repair", |stop| repair::run(repairing, stop));
        later.spawn_until("expiry", |stop| expiry::run(leader, sweep, stop));
        tokio::select! {
            biased;
            () = stop.stopped() => later.shutdown(TASKS_MAX).await,
            ended = later.ended() => {
                let _ = failed.send(ended.to_string()).await;
            }
        }
    });
}

/// False when the consensus is gone before.
async fn until_recovered(mut status: watch::Receiver<RaftStatus>) -> bool {
    let recovered = status.wait_for(|status| !status.recovering).await.is_ok();
    if recovered {
        tracing::info!("state recovered, the peer serves");
    }
    recovered
}

/// Keeps what depends on the membership in step with it.
async fn follow_members(consensus: Consensus, monitor: Monitor, tables: StatusTables) {
    let mut members = consensus.members();
    loop {
        let present = members.borrow_and_update().keys().cloned().collect();
        monitor.set_members(&present);
        tables.set_members(&present);
        if members.changed().await.is_err() {
            return;
        }
    }
}

/// Resolves when the state says that this life of the peer is over.
pub(super) async fn removed(consensus: Consensus, net: Net, own: Incarnation) {
    let mut members = consensus.members();
    let me = net.local_peer().clone();
    // Before the first entries arrive the peer may not know itself.
    let known = members
        .wait_for(|m| m.get(&me) == Some(&own))
        .await
        .map(drop);
    if known.is_err()
        || members
            .wait_for(|m| m.get(&me) != Some(&own))
            .await
            .is_err()
    {
        std::future::pending::<()>().await;
    }
}
