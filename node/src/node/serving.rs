//! What acts on the state: it waits until the state is at least what it was before the last stop,
//! or it would act on a state that went back.

use ipfs_cluster_protocol::limits;
use std::time::Duration;

use ipfs_cluster_protocol::id::Incarnation;
use tokio::sync::{mpsc, watch};

use crate::{
    cluster::{
        Cluster,
        leader::{Leader, expiry},
        rpc,
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
    storage::{DataFolder, Identity},
    tracker::{self, Counted, GoneReport, Inbox, Sizes, TrackerParts, TrackerSettings},
    worker::{Stop, Workers},
};

/// How long the tasks may take to end.
const TASKS_MAX: Duration = Duration::from_secs(2);

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
        rpc::metrics_asker(parts.net),
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
    let recovered = consensus.status();
    let acting = Acting::of(parts);
    workers.spawn_until("after recovery", |mut stop| async move {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            recovered = until_recovered(recovered) => if !recovered { return },
        }
        acting.run(stop).await;
    });
}

/// What starts after the recovery.
struct Acting {
    informer: informer::Settings,
    sizes: informer::Sizes,
    tracking: TrackerParts,
    inbox: Inbox,
    reports: mpsc::Receiver<GoneReport>,
    counted: mpsc::Receiver<Counted>,
    repairing: RepairParts,
    sweep: Duration,
    net: Net,
    ipfs: SharedIpfs,
    tables: StatusTables,
    cluster: Cluster,
    env: Env,
    failed: mpsc::Sender<String>,
}

impl Acting {
    fn of(parts: Serving<'_>) -> Self {
        let (config, consensus) = (parts.config, parts.consensus);
        let (gone, reports) = mpsc::channel(limits::SERVING_GONE_MAX);
        let (sizes, counted) = mpsc::channel(limits::SERVING_SIZES_MAX);
        Self {
            informer: informer_settings(config),
            sizes: informer::sizes(consensus.state()),
            tracking: TrackerParts {
                me: parts.net.local_peer().clone(),
                cluster: parts.identity.cluster,
                ledger: consensus.folder().path().join(DataFolder::LEDGER),
                state: consensus.state().clone(),
                changes: consensus.state().changes().clone(),
                ipfs: parts.ipfs.clone(),
                tables: parts.tables.clone(),
                gone,
                sizes,
                settings: tracker_settings(config),
            },
            inbox: parts.inbox,
            reports,
            counted,
            repairing: RepairParts {
                leader: parts.leader.clone(),
                consensus: consensus.clone(),
                monitor: parts.monitor.clone(),
                net: parts.net.clone(),
                settings: repair_settings(config),
                report: parts.repair,
            },
            sweep: config.cluster.state_sync_interval,
            net: parts.net.clone(),
            ipfs: parts.ipfs.clone(),
            tables: parts.tables.clone(),
            cluster: parts.cluster.clone(),
            env: parts.env.clone(),
            failed: parts.failed,
        }
    }

    /// Runs until the peer stops, or a part of it does.
    async fn run(self, mut stop: Stop) {
        let mut workers = Workers::new();
        let (monitor, leader) = (
            self.repairing.monitor.clone(),
            self.repairing.leader.clone(),
        );
        let (net, tables) = (&self.net, &self.tables);
        let agreement = self.repairing.consensus.agreement().clone();
        let timing = status::Timing::default();
        status::start(tables, net, agreement, timing, &mut workers);
        informer::start(
            self.informer,
            net,
            &self.ipfs,
            (tables, self.sizes),
            &monitor,
            &mut workers,
        );
        let (tracking, inbox, env) = (self.tracking, self.inbox, self.env);
        let me = tracking.me.clone();
        let sizes = Sizes::new(self.cluster.clone(), tracking.state.clone(), me);
        workers.spawn("sizes", sizes.tell(self.counted));
        workers.spawn_until("tracker", |stop| tracker::run(tracking, inbox, env, stop));
        workers.spawn("gone reports", tracker::report(self.cluster, self.reports));
        let repairing = self.repairing;
        workers.spawn_until("repair", |stop| repair::run(repairing, stop));
        let sweep = self.sweep;
        workers.spawn_until("expiry", |stop| expiry::run(leader, sweep, stop));
        tokio::select! {
            biased;
            () = stop.stopped() => workers.shutdown(TASKS_MAX).await,
            ended = workers.ended() => {
                let _ = self.failed.send(ended.to_string()).await;
            }
        }
    }
}

fn informer_settings(config: &Config) -> informer::Settings {
    informer::Settings {
        peer_name: config.cluster.peername.clone(),
        ping_ttl: 2 * config.cluster.ping_interval,
        disk: config.informers.disk.clone(),
        tags: config.informers.tags.clone(),
        pinqueue: config.informers.pinqueue,
    }
}

fn tracker_settings(config: &Config) -> TrackerSettings {
    TrackerSettings {
        concurrent: config.tracker.concurrent_pins,
        queue_max: config.tracker.max_pin_queue_size,
        recover_interval: config.cluster.pin_recover_interval,
        priority_max_age: config.tracker.priority_pin_max_age,
        unpin_disable: config.ipfs.unpin_disable(),
    }
}

fn repair_settings(config: &Config) -> RepairSettings {
    RepairSettings {
        enabled: !config.cluster.disable_repinning,
        grace: config.repair.grace,
        pins_per_second: config.repair.pins_per_second,
    }
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
