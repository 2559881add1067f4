//! From the file's values to the checked [`Config`].

use std::path::Path;

use ipfs_cluster_protocol::{limits, pin::Replication};
use multiaddr::{Multiaddr, Protocol};

use super::{
    document::{Document, Variables},
    error::ConfigError,
    identity::Identity,
    init,
    secret::{Psk, Secret},
    section::Section,
    servers, source,
    types::{
        Cluster, Config, Disk as DiskInformer, DiskMetric, EmbeddedIpfs, HttpIpfs, Informers, Ipfs,
        Metrics, Profile, Raft, Repair, Tracing, Tracker,
    },
};
use crate::env::Disk;

/// A configuration, and what the log should say about it once.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Odd things the operator should know: unknown keys, addresses that cannot be served.
    pub warnings: Vec<String>,
    /// Keys of the Go program that have no effect here, with the reason.
    pub notes: Vec<String>,
}

/// Reads the folder's identity alone.
pub fn load_identity(
    folder: &Path,
    disk: &dyn Disk,
    vars: &Variables,
) -> Result<Identity, ConfigError> {
    Identity::load(folder, disk, vars)
}

/// Reads and checks a configuration folder. Blocks: for the start-up.
pub fn load(folder: &Path, disk: &dyn Disk, vars: &Variables) -> Result<Loaded, ConfigError> {
    let path = folder.join(init::FILE);
    let bytes = disk
        .read(&path, limits::CONFIG_BYTES_MAX)
        .map_err(|source| ConfigError::Open {
            path: path.clone(),
            source,
        })?;
    let document = Document::parse(&path, &bytes)?;
    if document.has(source::KEY) {
        return Err(ConfigError::Section {
            section: source::KEY,
            remedy: "the configuration is at an address, which is asked at the start of a daemon",
        });
    }
    overlaid(document, folder, disk, vars)
}

/// The same with a `service.json` that was fetched from `url`.
pub fn load_fetched(
    folder: &Path,
    disk: &dyn Disk,
    vars: &Variables,
    (url, bytes): (&str, &[u8]),
) -> Result<Loaded, ConfigError> {
    let document = Document::parse(Path::new(url), bytes)?;
    if document.has(source::KEY) {
        return Err(ConfigError::Source {
            url: url.to_owned(),
            why: "a sourced configuration cannot point to another source".to_owned(),
        });
    }
    overlaid(document, folder, disk, vars)
}

fn overlaid(
    mut document: Document,
    folder: &Path,
    disk: &dyn Disk,
    vars: &Variables,
) -> Result<Loaded, ConfigError> {
    document.overlay(vars)?;
    let identity = Identity::load(folder, disk, vars)?;
    let host = init::host_name(disk, vars);
    check(&document, folder, identity, host)
}

/// Checks a file's values.
pub(super) fn check(
    document: &Document,
    folder: &Path,
    identity: Identity,
    host: Option<String>,
) -> Result<Loaded, ConfigError> {
    let mut warnings: Vec<String> = document
        .unknown()
        .into_iter()
        .map(|path| format!("{path}: no such key, ignored"))
        .collect();
    let notes = document
        .without_effect()
        .into_iter()
        .map(|(why, paths)| format!("without effect, {why}: {}", paths.join(", ")))
        .collect();
    let peername = host.unwrap_or_else(|| short_name(&identity));
    let reader = Reader { document, folder };
    let config = reader.config(identity, peername, &mut warnings)?;
    if config.cluster.disable_repinning {
        warnings.push(
            "cluster.disable_repinning is true: pins of peers that are down for good are not \
             copied elsewhere; remove the key or write false to have them repaired"
                .to_owned(),
        );
    }
    Ok(Loaded {
        config,
        warnings,
        notes,
    })
}

/// For a machine that does not tell its name.
fn short_name(identity: &Identity) -> String {
    let id = identity.peer.to_string();
    let start = id.len().saturating_sub(6);
    format!("peer-{}", id.get(start..).unwrap_or(&id))
}

struct Reader<'a> {
    document: &'a Document,
    folder: &'a Path,
}

type Read<T> = Result<T, ConfigError>;

impl<'a> Reader<'a> {
    fn config(
        &self,
        identity: Identity,
        peername: String,
        warnings: &mut Vec<String>,
    ) -> Read<Config> {
        Ok(Config {
            folder: self.folder.to_owned(),
            identity,
            cluster: self.cluster(peername, warnings)?,
            raft: self.raft()?,
            rest: self.optional("api.restapi", |s| servers::http(s, self.folder, warnings))?,
            pinning: self.optional("api.pinsvcapi", |s| servers::http(s, self.folder, warnings))?,
            proxy: self.optional("api.ipfsproxy", |s| servers::proxy(s, self.folder))?,
            ipfs: self.ipfs(warnings)?,
            tracker: tracker(&self.required("pin_tracker.stateless")?)?,
            monitor_check_interval: self
                .required("monitor.pubsubmon")?
                .interval("check_interval")?,
            allocate_by: self
                .optional("allocator.balanced", |s| s.texts("allocate_by"))?
                .unwrap_or_else(|| vec!["freespace".to_owned()]),
            informers: self.informers()?,
            metrics: self.metrics()?,
            tracing: self.tracing()?,
            repair: self.repair()?,
        })
    }

    fn required(&self, path: &'static str) -> Read<Section<'a>> {
        self.document.section(path)?.ok_or(ConfigError::Section {
            section: path,
            remedy: "the section is missing: `ipfs-cluster-service init` writes a complete file",
        })
    }

    fn optional<T>(
        &self,
        path: &'static str,
        read: impl FnOnce(&Section<'a>) -> Read<T>,
    ) -> Read<Option<T>> {
        self.document.section(path)?.as_ref().map(read).transpose()
    }

    fn cluster(&self, fallback_name: String, warnings: &mut Vec<String>) -> Read<Cluster> {
        let s = self.required("cluster")?;
        let peername = s.text("peername")?;
        let secret = s.secret("secret")?;
        let peerstore = s.path("peerstore_file", self.folder)?;
        Ok(Cluster {
            peername: if peername.is_empty() {
                fallback_name
            } else {
                peername
            },
            secret: secret.map(|text| psk(&s, &text)).transpose()?,
            leave_on_shutdown: s.bool("leave_on_shutdown")?,
            listen: served(&s, "listen_multiaddress", warnings)?,
            announce: s.multiaddrs("announce_multiaddress")?,
            no_announce: s.multiaddrs("no_announce_multiaddress")?,
            high_water: self
                .required("cluster.connection_manager")?
                .int("high_water", 1)?,
            dial_peer_timeout: s.interval("dial_peer_timeout")?,
            state_sync_interval: s.interval("state_sync_interval")?,
            pin_recover_interval: s.interval("pin_recover_interval")?,
            replication: factors(&s)?,
            ping_interval: s.interval("monitor_ping_interval")?,
            mdns: !s.duration("mdns_interval")?.is_zero(),
            disable_repinning: s.bool("disable_repinning")?,
            follower_mode: s.bool("follower_mode")?,
            peerstore: peerstore.unwrap_or_else(|| self.folder.join(init::PEERSTORE)),
            peer_addresses: with_peers(&s, "peer_addresses")?,
        })
    }

    fn raft(&self) -> Read<Raft> {
        let crdt = self.document.has("consensus.crdt");
        let s = match self.document.section("consensus.raft")? {
            Some(s) => s,
            // Raft stands in for it; what the section says has no meaning here and is noted.
            None if crdt => self.document.preset("consensus.raft"),
            None => {
                return Err(ConfigError::Section {
                    section: "consensus",
                    remedy: "the section needs a `raft` object; it may be empty",
                });
            }
        };
        if crdt && self.document.has("consensus.raft") {
            return Err(ConfigError::Section {
                section: "consensus",
                remedy: "there must be exactly one consensus section: remove `crdt`",
            });
        }
        let profile = match s.text("profile")?.as_str() {
            "auto" => Profile::Auto,
            "local" => Profile::Local,
            "wan" => Profile::Wan,
            _ => return Err(s.refuse("profile", "write \"auto\", \"local\" or \"wan\"")),
        };
        Ok(Raft {
            profile,
            wait_for_leader_timeout: s.interval("wait_for_leader_timeout")?,
            backups_rotate: s.int("backups_rotate", 1)?,
            log_bytes_min: crate::consensus::LOG_BYTES_MIN,
        })
    }

    fn ipfs(&self, warnings: &mut Vec<String>) -> Read<Ipfs> {
        let embedded = self.document.section("ipfs_connector.embedded")?;
        let http = self.document.section("ipfs_connector.ipfshttp")?;
        match (http, embedded) {
            (Some(s), None) => Ok(Ipfs::Http(HttpIpfs {
                node: s.addr("node_multiaddress")?,
                connect_swarms_delay: s.duration("connect_swarms_delay")?,
                request_timeout: s.interval("ipfs_request_timeout")?,
                pin_timeout: s.interval("pin_timeout")?,
                unpin_timeout: s.interval("unpin_timeout")?,
                repogc_timeout: s.interval("repogc_timeout")?,
                unpin_disable: s.bool("unpin_disable")?,
            })),
            (None, Some(s)) => Ok(Ipfs::Embedded(EmbeddedIpfs {
                swarm_listen: served(&s, "swarm_listen_multiaddress", warnings)?,
                rpc_listen: s.addrs("rpc_listen_multiaddress")?,
                gateway_listen: s.addrs("gateway_listen_multiaddress")?,
                gateway_hosts: gateway_hosts(&s)?,
                repo: self.folder.join(s.text("repo_folder")?),
                storage_max: s.int("storage_max_bytes", 1)?,
                check_interval: s.duration("check_interval")?,
                pin_timeout: s.interval("pin_timeout")?,
                unpin_disable: s.bool("unpin_disable")?,
            })),
            _ => Err(ConfigError::Section {
                section: "ipfs_connector",
                remedy: "there must be exactly one of `ipfshttp` (an IPFS node of its own) and \
                         `embedded` (one inside this program); it may be empty",
            }),
        }
    }

    fn informers(&self) -> Read<Informers> {
        Ok(Informers {
            disk: self.optional("informer.disk", |s| {
                Ok(DiskInformer {
                    ttl: s.interval("metric_ttl")?,
                    metric: match s.text("metric_type")?.as_str() {
                        "freespace" => DiskMetric::FreeSpace,
                        "reposize" => DiskMetric::RepoSize,
                        _ => {
                            let remedy = "write \"freespace\" or \"reposize\"";
                            return Err(s.refuse("metric_type", remedy));
                        }
                    },
                })
            })?,
            tags: self.optional("informer.tags", |s| {
                Ok((
                    s.interval("metric_ttl")?,
                    s.map("tags")?.unwrap_or_default(),
                ))
            })?,
            pinqueue: self.optional("informer.pinqueue", |s| {
                Ok((s.interval("metric_ttl")?, s.int("weight_bucket_size", 1)?))
            })?,
        })
    }

    fn metrics(&self) -> Read<Metrics> {
        let s = self.required("observations.metrics")?;
        Ok(Metrics {
            enabled: s.bool("enable_stats")?,
            listen: s.addrs("prometheus_endpoint")?,
        })
    }

    fn tracing(&self) -> Read<Tracing> {
        let s = self.required("observations.tracing")?;
        let endpoint = s.text("otlp_endpoint")?;
        if let Err(why) = source::Place::parse(&endpoint) {
            return Err(s.refuse("otlp_endpoint", why));
        }
        Ok(Tracing {
            enabled: s.bool("enable_tracing")?,
            endpoint,
            sampling: s.share("sampling_prob")?,
            service: s.text("service_name")?,
        })
    }

    fn repair(&self) -> Read<Repair> {
        let s = self.required("repair")?;
        Ok(Repair {
            grace: s.duration("grace")?,
            pins_per_second: s.rate("pins_per_second")?,
        })
    }
}

/// Host names as requests have them.
fn gateway_hosts(s: &Section<'_>) -> Read<Vec<String>> {
    const HOSTS: &str = "gateway_hosts";
    let hosts = s.texts(HOSTS)?;
    let plain = |host: &String| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        !host.is_empty() && host.bytes().all(allowed)
    };
    if let Some(host) = hosts.iter().find(|host| !plain(host)) {
        let remedy =
            format!("{host:?} is no host name: write it without a port, as in \"localhost\"");
        return Err(s.refuse(HOSTS, remedy));
    }
    Ok(hosts.iter().map(|host| host.to_ascii_lowercase()).collect())
}

fn tracker(s: &Section<'_>) -> Read<Tracker> {
    Ok(Tracker {
        concurrent_pins: s.int("concurrent_pins", 1)?,
        priority_pin_max_age: s.duration("priority_pin_max_age")?,
        priority_pin_max_retries: s.int("priority_pin_max_retries", 0)?,
        max_pin_queue_size: s.int("max_pin_queue_size", 1)?,
    })
}

/// 32 bytes in hex.
fn psk(s: &Section<'_>, text: &Secret<String>) -> Read<Psk> {
    hex::decode(text.expose())
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .map(Psk::new)
        .ok_or_else(|| s.refuse("secret", "write 64 hex digits, the same at every peer"))
}

/// The default factors; 0 counts as the default of -1, as in the Go program.
fn factors(s: &Section<'_>) -> Read<Replication> {
    let read = |name| {
        Ok(Some(s.int::<i64>(name, -1)?)
            .filter(|n| *n != 0)
            .unwrap_or(-1))
    };
    let (min, max) = (
        read("replication_factor_min")?,
        read("replication_factor_max")?,
    );
    match (u32::try_from(min), u32::try_from(max)) {
        (Ok(min), Ok(max)) if min <= max => Ok(Replication::Factor { min, max }),
        (Err(_), Err(_)) if min == -1 && max == -1 => Ok(Replication::Everywhere),
        _ => Err(s.refuse(
            "replication_factor_min",
            "write two numbers from 1 with min at most max, or -1 for both",
        )),
    }
}

/// Addresses that must end in `/p2p/`.
fn with_peers(s: &Section<'_>, name: &str) -> Read<Vec<Multiaddr>> {
    let addrs = s.multiaddrs(name)?;
    match addrs
        .iter()
        .find(|a| !matches!(a.iter().last(), Some(Protocol::P2p(_))))
    {
        None => Ok(addrs),
        Some(a) => Err(s.refuse(name, format!("{a} must end in /p2p/PEER"))),
    }
}

/// Listen addresses of a swarm: those over TCP. The others are skipped with a warning.
pub(super) fn served(
    s: &Section<'_>,
    name: &str,
    warnings: &mut Vec<String>,
) -> Read<Vec<Multiaddr>> {
    let (served, skipped): (Vec<_>, Vec<_>) = s.multiaddrs(name)?.into_iter().partition(|addr| {
        let mut parts = addr.iter();
        parts.next().is_some()
            && matches!(parts.next(), Some(Protocol::Tcp(_)))
            && parts.next().is_none()
    });
    for addr in skipped {
        warnings.push(format!("{name}: {addr} is skipped, only TCP is served"));
    }
    if served.is_empty() {
        return Err(s.refuse(
            name,
            "write at least one /ip4/…/tcp/PORT or /ip6/…/tcp/PORT",
        ));
    }
    Ok(served)
}
