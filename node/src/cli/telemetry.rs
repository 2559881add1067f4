//! The log: to stderr, as text or JSON, with a level per component.

use std::io::{self, IsTerminal};

use ipfs_cluster_node::{
    env::real::{self, OpenFiles},
    spans::Exporter,
    storage,
};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use super::args::{Global, LogFormat};

/// Names of components, those of the Go program included, and where their events come from.
const COMPONENTS: &[(&str, &str)] = &[
    ("cluster", "ipfs_cluster_node::cluster"),
    ("raft", "ipfs_cluster_node::consensus"),
    ("consensus", "ipfs_cluster_node::consensus"),
    ("openraft", "openraft"),
    ("p2p", "ipfs_cluster_node::net"),
    ("net", "ipfs_cluster_node::net"),
    ("restapi", "ipfs_cluster_node::api"),
    ("restapilog", "restapilog"),
    ("ipfsproxy", "ipfs_cluster_node::api"),
    ("ipfsproxylog", "ipfsproxylog"),
    ("gateway", "ipfs_cluster_node::api"),
    ("gatewaylog", "gatewaylog"),
    ("ipfsrpclog", "ipfsrpclog"),
    ("ipfshttp", "ipfs_cluster_node::ipfs"),
    ("ipfs", "ipfs_cluster_node::ipfs"),
    ("pintracker", "ipfs_cluster_node::tracker"),
    ("tracker", "ipfs_cluster_node::tracker"),
    ("monitor", "ipfs_cluster_node::monitor"),
    ("allocator", "ipfs_cluster_node::cluster"),
    ("diskinfo", "ipfs_cluster_node::informer"),
    ("informer", "ipfs_cluster_node::informer"),
    ("repair", "ipfs_cluster_node::repair"),
    ("status", "ipfs_cluster_node::status"),
    ("storage", "ipfs_cluster_node::storage"),
    ("config", "ipfs_cluster_node::config"),
    ("service", "ipfs_cluster_service"),
    // Others of the Go program: the part of this one that does the same work.
    ("pinsvcapi", "ipfs_cluster_node::api"),
    ("pinsvcapilog", "pinsvcapilog"),
    ("apitypes", "ipfs_cluster_node::api"),
    ("adder", "ipfs_cluster_node::cluster"),
    ("singledags", "ipfs_cluster_node::cluster"),
    ("shardingdags", "ipfs_cluster_node::cluster"),
    ("optracker", "ipfs_cluster_node::tracker"),
    ("pstoremgr", "ipfs_cluster_node::net"),
    ("p2p-gorpc", "ipfs_cluster_node::net"),
    ("swarm2", "libp2p_swarm"),
    ("raftlib", "openraft"),
    ("libp2p-raft", "openraft"),
    ("crdt", "ipfs_cluster_node::consensus"),
    ("dsstate", "ipfs_cluster_node::storage"),
    ("badger", "ipfs_cluster_node::storage"),
    ("badger3", "ipfs_cluster_node::storage"),
    ("pebble", "ipfs_cluster_node::storage"),
    ("tags", "ipfs_cluster_node::informer"),
    ("pinqueue", "ipfs_cluster_node::informer"),
    ("observations", "ipfs_cluster_node::api"),
];
/// Libraries that say too much below this, and the spans that are exported.
const QUIET: &str = "openraft=error,libp2p=warn,hyper=warn,h2=warn,netlink_proto=error,spans=off";

/// Fewer open files than this are told of: ten thousand clients that do nothing are no attack.
const OPEN_FILES_ENOUGH: u64 = 12_000;

/// A log level that is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--loglevel: {0:?} is not understood: write error, warn, info, debug or COMPONENT:LEVEL, \
     such as info,raft:debug"
)]
pub(super) struct LevelError(String);

/// A log whose levels are understood.
pub(super) struct Log {
    filter: EnvFilter,
    format: LogFormat,
}

impl Log {
    /// At `usual` unless the user says otherwise.
    pub(super) fn new(global: &Global, usual: &str) -> Result<Self, LevelError> {
        let level = match &global.loglevel {
            _ if global.debug => "debug",
            Some(level) => level,
            None => usual,
        };
        let parsed = EnvFilter::builder().parse(directives(level)?);
        Ok(Self {
            filter: parsed.map_err(|e| LevelError(e.to_string()))?,
            format: global.log_format,
        })
    }

    /// Starts it, with what takes spans beside it.
    pub(super) fn start(self, exporter: Option<&Exporter>) {
        let layer = fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        let layer = match self.format {
            LogFormat::Text => layer.with_target(true).boxed(),
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry()
            .with(exporter.map(Exporter::layer))
            .with(layer.with_filter(self.filter))
            .init();
        silence_guarded_panics();
    }
}

/// Takes as many open files as the system gives, and tells when they are few.
pub(super) fn raise_open_files() {
    match real::raise_open_files() {
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
        Ok(OpenFiles { now: Some(now), .. }) if now < OPEN_FILES_ENOUGH => tracing::warn!(
            limit = now,
            "only so many files and connections can be open: raise the hard limit (LimitNOFILE= \
             of systemd, ulimit -Hn) to {OPEN_FILES_ENOUGH} or more"
        ),
        Ok(OpenFiles { before, now }) if before != now => {
            tracing::info!(?before, ?now, "limit of open files raised");
        }
        Ok(_) => {}
    }
}

/// What a damaged file makes its library stumble over becomes an error that names the file, and is
/// told as that.
fn silence_guarded_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if storage::is_guarded() {
            tracing::debug!("in a damaged file: {info}");
        } else {
            print(info);
        }
    }));
}

/// `info,raft:debug` as the directives of tracing.
fn directives(text: &str) -> Result<String, LevelError> {
    let mut out = QUIET.to_owned();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let error = || LevelError(part.to_owned());
        let (component, level) = match part.split_once(':') {
            Some((component, level)) => (Some(component), level),
            None => (None, part),
        };
        let level = match level.to_lowercase().as_str() {
            "critical" | "error" | "dpanic" | "panic" | "fatal" => "error",
            "warn" | "warning" => "warn",
            "info" | "notice" => "info",
            "debug" => "debug",
            "trace" => "trace",
            _ => return Err(error()),
        };
        out.push(',');
        if let Some(name) = component.filter(|c| *c != "*") {
            let known = COMPONENTS.iter().find(|(n, _)| *n == name);
            let (_, target) = known.ok_or_else(error)?;
            out.push_str(&format!("{target}="));
        }
        out.push_str(level);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_go_program() {
        let read = directives("warning,raft:debug,*:info").unwrap();
        assert_eq!(
            read,
            format!("{QUIET},warn,ipfs_cluster_node::consensus=debug,info")
        );
        assert_eq!(directives("loud"), Err(LevelError("loud".to_owned())));
        assert!(directives("frob:info").is_err());
    }

    #[test]
    fn every_component_of_the_go_program_is_known() {
        for name in [
            "cluster",
            "restapi",
            "restapilog",
            "pinsvcapi",
            "pinsvcapilog",
            "ipfsproxy",
            "ipfsproxylog",
            "ipfshttp",
            "monitor",
            "dsstate",
            "raft",
            "crdt",
            "pintracker",
            "diskinfo",
            "tags",
            "apitypes",
            "config",
            "shardingdags",
            "singledags",
            "adder",
            "optracker",
            "pstoremgr",
            "allocator",
            "p2p-gorpc",
            "swarm2",
            "raftlib",
            "libp2p-raft",
            "badger",
            "badger3",
            "pebble",
        ] {
            assert!(directives(&format!("{name}:debug")).is_ok(), "{name}");
        }
    }
}
