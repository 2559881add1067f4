//! Taking the metrics of this peer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use ipfs_cluster_protocol::{
    health::PING,
    id::{PeerId, Seq},
    limits,
    metrics::Metric,
    pin::PinPhase,
    state::query::{self, Stored},
    status::PhaseSet,
};

use tokio::time::timeout;

use crate::{
    config::{Disk, DiskMetric},
    ipfs::{IpfsError, SharedIpfs},
    monitor::{Ping, wall_clock},
    status::StatusTables,
    storage::StateStore,
};

/// What is told, and how long it counts.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Shown to users.
    pub peer_name: String,
    /// How long a ping counts.
    pub ping_ttl: Duration,
    /// Room, unless off.
    pub disk: Option<Disk>,
    /// How long the tags count, and the tags, unless off.
    pub tags: Option<(Duration, BTreeMap<String, String>)>,
    /// How long the queue's length counts, and pins per unit of weight, unless off.
    pub pinqueue: Option<(Duration, u64)>,
}

/// A kind of metric that is taken and told at its own pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Ping,
    Disk,
    PinQueue,
    Tags,
}

impl Settings {
    /// What is on, and how long each counts.
    pub(super) fn kinds(&self) -> BTreeMap<Kind, Duration> {
        let disk = self.disk.as_ref().map(|d| (Kind::Disk, d.ttl));
        let queue = self.pinqueue.map(|(ttl, _)| (Kind::PinQueue, ttl));
        let tags = self.tags.as_ref().map(|(ttl, _)| (Kind::Tags, *ttl));
        let ping = (Kind::Ping, self.ping_ttl);
        [Some(ping), disk, queue, tags]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// What pins take together, in bytes, as far as that is known.
pub type Sizes = Arc<dyn Fn(Vec<Seq>) -> BoxFuture<'static, u64> + Send + Sync>;

/// The sizes that the state knows.
#[must_use]
pub fn sizes(state: &StateStore) -> Sizes {
    let state = state.clone();
    Arc::new(move |seqs| {
        let state = state.clone();
        Box::pin(async move {
            let read = state.read(move |s| {
                let stored = query::stored_many(s, &seqs)?;
                let pins = stored.into_iter().filter_map(Stored::live);
                Ok(pins.fold(0u64, |all, pin| all.saturating_add(pin.spec.size)))
            });
            // What cannot be read now is counted the next time.
            read.await.unwrap_or_default()
        })
    })
}

/// Takes metrics.
pub(super) struct Sampler {
    pub(super) settings: Settings,
    pub(super) local: PeerId,
    pub(super) ipfs: SharedIpfs,
    pub(super) tables: StatusTables,
    pub(super) sizes: Sizes,
}

impl Sampler {
    fn metric(&self, name: &str, value: String, weight: i64, ttl: Duration) -> Metric {
        Metric {
            name: name.to_owned(),
            peer: self.local.clone(),
            value,
            weight,
            partitionable: false,
            valid: true,
            taken_at: wall_clock(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The metrics of a kind as they are now. An invalid one means that taking it failed.
    pub(super) async fn take(&self, kind: Kind) -> Vec<Metric> {
        match kind {
            Kind::Ping => vec![self.ping().await],
            Kind::Disk => self.disk().await.into_iter().collect(),
            Kind::PinQueue => self.pin_queue().into_iter().collect(),
            Kind::Tags => self.tags(),
        }
    }

    async fn ping(&self) -> Metric {
        let mut ping = Ping {
            peer_name: self.settings.peer_name.clone(),
            ..Ping::default()
        };
        // Without its IPFS node the peer lives all the same, and says so in time.
        let patience = self.settings.ping_ttl / 4;
        match timeout(patience, self.ipfs.id()).await {
            Ok(Ok(id)) => {
                ping.ipfs_id = Some(id.id);
                ping.ipfs_addresses = id.addresses;
            }
            Ok(Err(e)) => ping.ipfs_error = Some(e.to_string()),
            Err(_) => ping.ipfs_error = Some(format!("no answer within {patience:?}")),
        }
        self.metric(PING, ping.to_value(), 0, self.settings.ping_ttl)
    }

    async fn disk(&self) -> Option<Metric> {
        let disk = self.settings.disk.as_ref()?;
        let name = match disk.metric {
            DiskMetric::FreeSpace => "freespace",
            DiskMetric::RepoSize => "reposize",
        };
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let measured: Result<(u64, i64), IpfsError> = match disk.metric {
            DiskMetric::FreeSpace => match self.ipfs.free().await {
                Ok(free) => Ok((
                    free,
                    signed(free).saturating_sub(signed(self.committed().await)),
                )),
                Err(e) => Err(e),
            },
            DiskMetric::RepoSize => {
                let stat = self.ipfs.repo_stat().await;
                stat.map(|stat| (stat.repo_size, -signed(stat.repo_size)))
            }
        };
        Some(match measured {
            Ok((size, weight)) => {
                let full = disk.metric == DiskMetric::FreeSpace && size == 0;
                Metric {
                    valid: !full,
                    ..self.metric(name, size.to_string(), weight, disk.ttl)
                }
            }
            Err(e) => {
                tracing::debug!(error = %e, "the IPFS node does not tell its size");
                Metric {
                    valid: false,
                    ..self.metric(name, String::new(), 0, disk.ttl)
                }
            }
        })
    }

    /// What the pins that this peer is still to fetch will take: however long they wait, the room is
    /// theirs. Those that failed are not counted: they may never come.
    async fn committed(&self) -> u64 {
        let waiting = PhaseSet::from([PinPhase::PinQueued, PinPhase::Pinning]);
        let seqs = self.tables.read_own(|own| {
            let content = own.content();
            content.page(&waiting, Seq::default(), limits::COMMITTED_PINS_MAX)
        });
        if seqs.is_empty() {
            return 0;
        }
        (self.sizes)(seqs).await
    }

    fn pin_queue(&self) -> Option<Metric> {
        let (ttl, bucket) = self.settings.pinqueue?;
        let counts = self.tables.read_own(|own| own.content().counts());
        let queued = counts.get(PinPhase::PinQueued);
        let weight = -i64::try_from(queued / bucket.max(1)).unwrap_or(i64::MAX);
        Some(self.metric("pinqueue", queued.to_string(), weight, ttl))
    }

    fn tags(&self) -> Vec<Metric> {
        let Some((ttl, tags)) = &self.settings.tags else {
            return Vec::new();
        };
        tags.iter()
            .take(limits::SAMPLE_TAGS_MAX)
            .map(|(key, value)| Metric {
                partitionable: true,
                ..self.metric(&format!("tag:{key}"), value.clone(), 0, *ttl)
            })
            .collect()
    }
}
