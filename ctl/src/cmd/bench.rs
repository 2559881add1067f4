//! `bench`: a load generator. Each connection posts pins of fresh CIDs, one after the other.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cid::{Cid, multihash::Multihash};
use clap::Args;
use ipfs_cluster_ctl::client::{Client, Connection, Error};
use ipfs_cluster_protocol::api::duration;
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};

use super::{Context, process};
use crate::{exit::Failure, output::Text};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Comma list of numbers of connections, one run each
    #[arg(short, long, default_value = "1,16,256", value_delimiter = ',')]
    connections: Vec<usize>,
    /// How long each run takes
    #[arg(long, default_value = "10s")]
    duration: String,
    /// Copies of each pin
    #[arg(short, long, default_value_t = 1)]
    replication: u32,
    /// Comma list of processes whose processor time and memory are told
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

/// Most connections of a run.
const CONNECTIONS_MOST: usize = 4096;
/// The codes of CIDs of raw blocks and of sha2-256.
const RAW: u64 = 0x55;
const SHA2_256: u64 = 0x12;

/// What one run came to.
#[derive(Debug, Serialize)]
struct Run {
    connections: usize,
    seconds: f64,
    pins: u64,
    errors: u64,
    pins_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// The first error, if there was one.
    first_error: Option<String>,
    processes: Vec<Process>,
}

/// One process during a run.
#[derive(Debug, Serialize)]
struct Process {
    pid: u32,
    rss_bytes: u64,
    cpu_us_per_pin: f64,
    /// The same by what the threads are for.
    cpu_us_per_pin_by_stage: BTreeMap<&'static str, f64>,
}

impl Text for Run {
    fn text(&self) -> String {
        let mut out = format!(
            "{:>4} connections | {:>8.0} pins/s | p50 {:.2} ms | p99 {:.2} ms | max {:.1} ms | {} pins | {} errors\n",
            self.connections,
            self.pins_per_second,
            self.p50_ms,
            self.p99_ms,
            self.max_ms,
            self.pins,
            self.errors
        );
        if let Some(error) = &self.first_error {
            out.push_str(&format!("     first error: {error}\n"));
        }
        for p in &self.processes {
            let mb = p.rss_bytes / 1_000_000;
            out.push_str(&format!(
                "     process {}: RSS {mb} MB | {:.0} us of CPU per pin\n",
                p.pid, p.cpu_us_per_pin
            ));
            for (stage, us) in &p.cpu_us_per_pin_by_stage {
                out.push_str(&format!("       {us:>6.1} us {stage}\n"));
            }
        }
        out
    }
}

/// What one connection saw.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: u64,
    first_error: Option<String>,
}

/// CIDs that nobody else has.
#[derive(Debug)]
struct Fresh {
    start: [u8; 24],
    next: AtomicU64,
}

impl Fresh {
    fn new() -> Self {
        let mut start = [0; 24];
        for piece in start.chunks_mut(8) {
            piece.copy_from_slice(&RandomState::new().hash_one(0).to_be_bytes());
        }
        Self {
            start,
            next: AtomicU64::new(0),
        }
    }

    fn path(&self, replication: u32) -> Result<String, Failure> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mut digest = [0; 32];
        digest[..24].copy_from_slice(&self.start);
        digest[24..].copy_from_slice(&n.to_be_bytes());
        let hash =
            Multihash::wrap(SHA2_256, &digest).map_err(|e| Failure::local("making a CID", e))?;
        let cid = Cid::new_v1(RAW, hash);
        Ok(format!("/pins/{cid}?replication={replication}&name=bench"))
    }
}

impl Context {
    pub(super) async fn bench(&self, args: BenchArgs) -> Result<(), Failure> {
        let duration = duration::parse(&args.duration);
        let duration = duration.map_err(|e| Failure::local("parsing duration", e))?;
        let fresh = Arc::new(Fresh::new());
        for connections in args.connections {
            if connections == 0 || connections > CONNECTIONS_MOST {
                let text = format!("write numbers from 1 to {CONNECTIONS_MOST}");
                return Err(Failure::local("parsing connections", text));
            }
            let run = Plan {
                connections,
                duration,
                replication: args.replication,
                pids: &args.pids,
            };
            self.encoding
                .print(&run.measure(&self.client, &fresh).await?)?;
        }
        Ok(())
    }
}

struct Plan<'a> {
    connections: usize,
    duration: Duration,
    replication: u32,
    pids: &'a [u32],
}

impl Plan<'_> {
    async fn measure(&self, client: &Client, fresh: &Arc<Fresh>) -> Result<Run, Failure> {
        let mut open = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            open.push(client.connection().await?);
        }
        let before: Vec<_> = self.pids.iter().map(|pid| process::usage(*pid)).collect();
        let start = Instant::now();
        let until = start + self.duration;
        let mut tasks = JoinSet::new();
        for connection in open {
            tasks.spawn(post(connection, fresh.clone(), self.replication, until));
        }
        let mut all = Seen::default();
        while let Some(done) = tasks.join_next().await {
            let seen = done.map_err(|e| Failure::local("posting pins", e))??;
            all.latencies.extend(seen.latencies);
            all.errors += seen.errors;
            all.first_error = all.first_error.or(seen.first_error);
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(self.summary(all, seconds, &before))
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "counts of a benchmark are far below 2^52"
    )]
    fn summary(&self, mut all: Seen, seconds: f64, before: &[Option<process::Usage>]) -> Run {
        all.latencies.sort_unstable();
        let pins = all.latencies.len();
        let at = |percent: usize| {
            let index = (pins * percent / 100).min(pins.saturating_sub(1));
            all.latencies
                .get(index)
                .map_or(0.0, |d| d.as_secs_f64() * 1000.0)
        };
        let processes = self.pids.iter().zip(before).filter_map(|(pid, before)| {
            let (before, after) = (before.as_ref()?, process::usage(*pid)?);
            let per_pin = |before: Duration, after: Duration| {
                after.saturating_sub(before).as_secs_f64() * 1e6 / pins.max(1) as f64
            };
            let stages = after.by_stage.iter().map(|(stage, after)| {
                let before = before.by_stage.get(stage).copied();
                (*stage, per_pin(before.unwrap_or_default(), *after))
            });
            Some(Process {
                pid: *pid,
                rss_bytes: after.rss,
                cpu_us_per_pin: per_pin(before.cpu, after.cpu),
                cpu_us_per_pin_by_stage: stages.collect(),
            })
        });
        Run {
            connections: self.connections,
            seconds,
            pins: pins as u64,
            errors: all.errors,
            pins_per_second: pins as f64 / seconds,
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
            first_error: all.first_error.clone(),
            processes: processes.collect(),
        }
    }
}

/// One connection until the time is over; a broken connection ends it early.
async fn post(
    mut connection: Connection,
    fresh: Arc<Fresh>,
    replication: u32,
    until: Instant,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    while Instant::now() < until {
        let path = fresh.path(replication)?;
        let start = Instant::now();
        let error = match connection.post(&path).await {
            Ok((200, _)) => {
                seen.latencies.push(start.elapsed());
                continue;
            }
            Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(&body).trim()),
            Err(e @ (Error::Exchange { .. } | Error::Connect { .. })) => {
                seen.errors += 1;
                seen.first_error.get_or_insert(e.to_string());
                return Ok(seen);
            }
            Err(e) => e.to_string(),
        };
        seen.errors += 1;
        seen.first_error.get_or_insert(error);
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_rates_are_of_what_succeeded() {
        let plan = Plan {
            connections: 2,
            duration: Duration::from_secs(1),
            replication: 1,
            pids: &[],
        };
        let seen = Seen {
            latencies: (1..=100).rev().map(Duration::from_millis).collect(),
            errors: 3,
            first_error: None,
        };
        let run = plan.summary(seen, 2.0, &[]);
        assert_eq!((run.pins, run.errors), (100, 3));
        assert!((run.pins_per_second - 50.0).abs() < 1e-9);
        assert!((run.p50_ms - 51.0).abs() < 1e-9);
        assert!((run.p99_ms - 100.0).abs() < 1e-9);
    }

    #[test]
    fn every_path_is_another_cid() {
        let fresh = Fresh::new();
        let (a, b) = (fresh.path(2).unwrap(), fresh.path(2).unwrap());
        assert_ne!(a, b);
        assert!(
            a.starts_with("/pins/bafkrei") && a.ends_with("?replication=2&name=bench"),
            "{a}"
        );
    }
}
