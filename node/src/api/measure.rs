//! What this peer measures of itself, as Prometheus collects it.
//!
//! Names without a prefix of their own are those that dashboards of the Go cluster know.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::backend::Backend;
use crate::stage::Spent;

/// A moment's values. What a peer does not measure is none and left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measurements {
    /// The consensus, once there is one.
    pub raft: Option<RaftMeasurements>,
    /// Pins in the state.
    pub pins: u64,
    /// Of those allocated here, waiting.
    pub pin_queued: u64,
    /// Being fetched.
    pub pinning: u64,
    /// Failed.
    pub pin_error: u64,
    /// Held.
    pub pinned: u64,
    /// Pin orders given to the IPFS node since the start, and how many of them failed.
    pub pin_adds: Option<(u64, u64)>,
    /// Blocks of uploads since the start.
    pub blocks: Option<BlockCounts>,
    /// The weight that the disk informer gave out last.
    pub informer_disk: Option<i64>,
    /// Gossip since the start: `published`, `delivered`, `dropped`.
    pub gossip: Vec<(&'static str, u64)>,
    /// Lengths of queues, by name.
    pub queues: Vec<(&'static str, u64)>,
    /// Members, and how many of them are connected.
    pub members: Option<(u64, u64)>,
    /// What the stages of a write took since the start, by name.
    pub stages: Vec<(&'static str, Spent)>,
    /// Of the planner of repair.
    pub repair: Vec<(&'static str, u64)>,
}

/// Blocks that uploads brought to the peer's IPFS node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockCounts {
    /// Given to the IPFS node.
    pub put: u64,
    /// Of them, those that it did not take.
    pub errors: u64,
    /// Of them, those that it took.
    pub added: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// The consensus at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftMeasurements {
    /// `leader`, `follower`, `candidate`, `learner` or `reader`.
    pub role: &'static str,
    /// The timing: `local` or `wan`.
    pub profile: &'static str,
    /// Present term.
    pub term: u64,
    /// Last entry in the log.
    pub last_index: u64,
    /// Last entry known to be in a quorum's logs.
    pub committed_index: u64,
    /// Last entry applied to the state.
    pub applied_index: u64,
    /// Peers that vote.
    pub voters: u64,
}

/// Asks the backend at each collection.
struct BackendCollector(Arc<dyn Backend>);

impl fmt::Debug for BackendCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackendCollector")
    }
}

/// Makes a registry expose what the backend measures.
pub(crate) fn register(registry: &mut Registry, backend: Arc<dyn Backend>) {
    registry.register_collector(Box::new(BackendCollector(backend)));
}

impl Collector for BackendCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = self.0.measure();
        let mut gauges = pin_gauges(&now);
        gauges.extend(now.raft.iter().flat_map(raft_gauges));
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(signed(value));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        if let Some(raft) = &now.raft {
            let name = "ipfscluster_raft_role";
            let help = "1 for the present role";
            labelled(&mut encoder, name, help, "role", &[(raft.role, 1)])?;
            let name = "ipfscluster_raft_profile";
            let help = "1 for the present timing";
            labelled(&mut encoder, name, help, "profile", &[(raft.profile, 1)])?;
        }
        let name = "ipfscluster_queue_length";
        let help = "What waits, by queue";
        labelled(&mut encoder, name, help, "queue", &now.queues)?;
        let name = "ipfscluster_repair_pins";
        let help = "Pins that lack copies, by urgency";
        labelled(&mut encoder, name, help, "urgency", &now.repair)?;
        stages(&mut encoder, &now.stages)?;
        if let Some(weight) = now.informer_disk {
            let name = "ipfscluster_informer_disk";
            let help = "The weight that the disk informer gave out last";
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(weight).encode(metric)?;
        }
        counters(
            &mut encoder,
            "ipfscluster_gossip_messages",
            "Gossip messages, by what became of them",
            ("outcome", &now.gossip),
        )
    }
}

/// Name, help and value.
type Gauge = (&'static str, &'static str, u64);

fn pin_gauges(now: &Measurements) -> Vec<Gauge> {
    let mut gauges = vec![
        ("ipfscluster_pins", "Pins in the state", now.pins),
        (
            "ipfscluster_pins_pin_queued",
            "Pins that wait for a worker",
            now.pin_queued,
        ),
        (
            "ipfscluster_pins_pinning",
            "Pins being fetched",
            now.pinning,
        ),
        (
            "ipfscluster_pins_pin_error",
            "Pins that failed",
            now.pin_error,
        ),
        (
            "ipfscluster_pins_ipfs_pins",
            "Pins held by this peer's IPFS node",
            now.pinned,
        ),
    ];
    if let Some((adds, errors)) = now.pin_adds {
        gauges.push((
            "ipfscluster_pins_pin_add",
            "Pin orders to the IPFS node",
            adds,
        ));
        gauges.push((
            "ipfscluster_pins_pin_add_errors",
            "Pin orders that failed",
            errors,
        ));
    }
    if let Some(blocks) = now.blocks {
        gauges.extend([
            (
                "ipfscluster_blocks_put",
                "Blocks of uploads given to the IPFS node",
                blocks.put,
            ),
            (
                "ipfscluster_blocks_put_errors",
                "Blocks of uploads that it did not take",
                blocks.errors,
            ),
            (
                "ipfscluster_blocks_added",
                "Blocks of uploads that it took",
                blocks.added,
            ),
            (
                "ipfscluster_blocks_added_size",
                "Bytes of blocks of uploads",
                blocks.bytes,
            ),
        ]);
    }
    if let Some((members, connected)) = now.members {
        gauges.push(("ipfscluster_members", "Members of the cluster", members));
        gauges.push((
            "ipfscluster_members_connected",
            "Members connected to",
            connected,
        ));
    }
    gauges
}

fn raft_gauges(raft: &RaftMeasurements) -> [Gauge; 5] {
    [
        ("ipfscluster_raft_term", "Term", raft.term),
        (
            "ipfscluster_raft_last_index",
            "Last entry of the log",
            raft.last_index,
        ),
        (
            "ipfscluster_raft_committed_index",
            "Last committed entry",
            raft.committed_index,
        ),
        (
            "ipfscluster_raft_applied_index",
            "Last applied entry",
            raft.applied_index,
        ),
        ("ipfscluster_raft_voters", "Peers that vote", raft.voters),
    ]
}

/// A counter per value of a label.
fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    (label, values): (&'static str, &[(&'static str, u64)]),
) -> Result<(), fmt::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (of, value) in values {
        let labels = [(label, *of)];
        ConstCounter::new(*value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Two counters per stage of a write.
fn stages(
    encoder: &mut DescriptorEncoder<'_>,
    stages: &[(&'static str, Spent)],
) -> Result<(), fmt::Error> {
    if stages.is_empty() {
        return Ok(());
    }
    let name = "ipfscluster_write_seconds";
    let help = "Time in the stages of a write";
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (stage, spent) in stages {
        let labels = [("stage", *stage)];
        // Exact to a microsecond for as long as a peer runs.
        let seconds = Duration::from_nanos(spent.nanos).as_secs_f64();
        ConstCounter::new(seconds).encode(metric.encode_family(&labels)?)?;
    }
    let steps: Vec<_> = stages.iter().map(|(s, spent)| (*s, spent.times)).collect();
    let name = "ipfscluster_write_steps";
    let help = "How often the stages of a write ran";
    counters(encoder, name, help, ("stage", &steps))
}

fn labelled(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    values: &[(&'static str, u64)],
) -> Result<(), fmt::Error> {
    if values.is_empty() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (of, value) in values {
        let labels = [(label, *of)];
        ConstGauge::new(signed(*value)).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
