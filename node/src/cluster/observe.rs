//! Use cases that only look: metrics, alerts, repair.

use std::{sync::atomic::Ordering, time::Duration};

use ipfs_cluster_protocol::{
    api::{
        bandwidth::Bandwidth,
        metrics::{Alert, Metric},
        repair::Repair,
        stage,
        time::Time,
    },
    health::{self, Received},
    id::PeerId,
    pin::PinPhase,
    rpc::{RpcReply, RpcRequest},
    state::System,
    time::Timestamp,
};

use super::{Cluster, error::ClusterError, rpc};
use crate::{
    api::{Measurements, RaftMeasurements},
    consensus::Role,
};

/// How often the pins are counted at most.
const COUNT_EVERY: Duration = Duration::from_secs(1);

impl Cluster {
    /// The latest valid values of a metric, by peer.
    #[must_use]
    pub fn metrics(&self, name: &str) -> Vec<Metric> {
        let metrics = self.0.monitor.metrics(name);
        metrics.iter().map(api_metric).collect()
    }

    /// Which metrics there are.
    #[must_use]
    pub fn metric_names(&self) -> Vec<String> {
        self.0.monitor.names().into_iter().collect()
    }

    /// What is wrong now, newest first: lapsed metrics, a clock that is off.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        let alert = |alert: &health::Alert| Alert {
            metric: api_metric(&alert.metric),
            triggered_at: Time::from(alert.triggered_at),
        };
        self.0.monitor.alerts().iter().map(alert).collect()
    }

    /// What went over the swarm, by protocol.
    #[must_use]
    pub fn bandwidth(&self) -> Bandwidth {
        self.0.net.bandwidth()
    }

    /// What this peer measures of itself.
    #[must_use]
    pub fn measure(&self) -> Measurements {
        let status = self.0.consensus.status();
        let raft = status.borrow().clone();
        let own = self.0.tables.read_own(|own| own.content().counts());
        let members = self.0.consensus.members();
        let members: Vec<PeerId> = members.borrow().keys().cloned().collect();
        let connected = self.0.net.connected();
        let here = |peer: &&PeerId| **peer == self.0.me || connected.contains(*peer);
        let load = self.0.tracker.load();
        let (append, sync) = self.0.consensus.log_spent();
        let repair = self.0.repair.report();
        let disk = ["freespace", "reposize"].into_iter();
        let disk = disk
            .filter_map(|name| self.0.monitor.fresh(name, &self.0.me))
            .next();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Measurements {
            raft: Some(RaftMeasurements {
                role: match raft.role {
                    Role::Stopped => "stopped",
                    Role::Leader => "leader",
                    Role::Follower => "follower",
                    Role::Candidate => "candidate",
                    Role::StandIn => "learner",
                },
                profile: raft.profile.name(),
                term: raft.term,
                last_index: raft.last_index.0,
                committed_index: raft.committed.0,
                applied_index: raft.applied.0,
                voters: count(raft.voters.len()),
            }),
            pins: self.0.pins.load(Ordering::Relaxed),
            pin_queued: own.get(PinPhase::PinQueued),
            pinning: own.get(PinPhase::Pinning),
            pin_error: own.get(PinPhase::PinError),
            pinned: own.get(PinPhase::Pinned),
            pin_adds: Some(self.0.tracker.pin_orders()),
            blocks: Some(self.0.uploads.read()),
            informer_disk: disk.map(|metric| metric.weight),
            gossip: self.0.net.gossip_counts().to_vec(),
            queues: vec![
                ("tracker", count(load.queued)),
                ("tracker_pressing", count(load.pressing)),
                ("tracker_running", count(load.running)),
            ],
            members: Some((
                count(members.len()),
                count(members.iter().filter(here).count()),
            )),
            stages: vec![
                (stage::DECIDE, self.0.leader.spent()),
                (stage::APPEND, append),
                (stage::SYNC, sync),
                (stage::APPLY, self.0.consensus.state().spent()),
            ],
            repair: vec![
                ("urgent", repair.urgent),
                ("lacking", repair.lacking),
                ("moved", repair.moved),
            ],
        }
    }

    /// Keeps the number of pins known, as long as the peer runs.
    pub(crate) async fn count_pins(self) {
        let mut applied = self.0.consensus.state().applied();
        loop {
            let counted = self.0.consensus.state().read(System::load).await;
            if let Ok(system) = counted {
                self.0.pins.store(system.live_pins, Ordering::Relaxed);
            }
            tokio::time::sleep(COUNT_EVERY).await;
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    /// What is done about pins that lack copies: the leader knows.
    pub async fn repair(&self) -> Result<Repair, ClusterError> {
        let leader = self.0.consensus.status().borrow().leader.clone();
        match leader {
            Some(leader) if leader != self.0.me => {
                let asked = rpc::ask(&self.0.net, &leader, &RpcRequest::Repair).await;
                match asked.map_err(ClusterError::Unavailable)? {
                    RpcReply::Repair(report) => Ok(*report),
                    _ => Err(ClusterError::Unavailable(
                        "the leader answered something else".into(),
                    )),
                }
            }
            Some(_) => Ok(self.0.repair.report()),
            None => Err(ClusterError::NoLeader),
        }
    }
}

/// As the API shows it.
fn api_metric(received: &Received) -> Metric {
    let nanos = |at: Timestamp| {
        i64::try_from(at.0)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000)
    };
    Metric {
        name: received.metric.name.clone(),
        peer: received.metric.peer.clone(),
        value: received.metric.value.clone(),
        expire: nanos(received.expire()),
        valid: received.metric.valid,
        weight: received.metric.weight,
        partitionable: received.metric.partitionable,
        received_at: nanos(received.received_at),
    }
}
