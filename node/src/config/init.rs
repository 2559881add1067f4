//! What `init` writes.

use std::{io, path::Path};

use ipfs_cluster_protocol::limits;
use rand::RngCore;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    document::{Document, Variables},
    error::ConfigError,
    identity::Identity,
    keys::{Key, Preset, SECTIONS, Use},
    source,
};
use crate::env::Disk;

/// File name of the configuration within its folder.
pub const FILE: &str = "service.json";
/// File name of the known peers within the folder.
pub const PEERSTORE: &str = "peerstore";

/// Which IPFS node the peer works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpfsKind {
    /// One beside it, over its RPC.
    Http,
    /// One inside it.
    Embedded,
}

/// Ports and addresses that replace the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Of the swarm.
    pub swarm: String,
    /// Of the REST API.
    pub rest: String,
    /// Of the IPFS proxy.
    pub proxy: String,
    /// Of the Pinning Service API.
    pub pinning: String,
    /// Of an embedded IPFS node's swarm.
    pub ipfs_swarm: String,
}

/// What to write.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Which IPFS node.
    pub ipfs: IpfsKind,
    /// 64 hex digits; none draws them.
    pub secret: Option<String>,
    /// Multiaddrs for the peerstore.
    pub peers: Vec<String>,
    /// Other addresses than the defaults.
    pub listen: Option<Listen>,
    /// Where the configuration lies: `service.json` then holds this alone.
    pub source: Option<String>,
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The identity, new or as found.
    pub identity: Identity,
    /// Whether it is new.
    pub new_identity: bool,
}

/// Writes `service.json` and `peerstore`, and `identity.json` where there is none. What was there
/// is replaced, so the caller asks first. Everything is checked before the first byte is written.
pub fn init(
    folder: &Path,
    disk: &dyn Disk,
    vars: &Variables,
    options: &InitOptions,
) -> Result<Written, ConfigError> {
    disk.create_dir_all(folder)
        .map_err(|source| ConfigError::Write {
            path: folder.to_owned(),
            source,
        })?;
    let new_identity = !disk.exists(&folder.join(super::identity::FILE));
    let identity = if new_identity {
        Identity::generate()
    } else {
        Identity::load(folder, disk, &Variables::new())?
    };
    let content = match &options.source {
        Some(url) => {
            source::check(url)?;
            serde_json::json!({ source::KEY: url })
        }
        None => {
            let host = host_name(disk, vars);
            let mut document = Document::new(defaults(options, host.clone()));
            document.overlay(vars)?;
            super::checked::check(&document, folder, identity.clone(), host)?;
            document.into_json()
        }
    };
    write(disk, &folder.join(FILE), &content)?;
    if new_identity {
        identity.save(folder, disk)?;
    }
    let path = folder.join(PEERSTORE);
    let lines: String = options.peers.iter().map(|p| format!("{p}\n")).collect();
    disk.write_atomic(&path, lines.as_bytes())
        .map_err(|source| ConfigError::Write { path, source })?;
    Ok(Written {
        identity,
        new_identity,
    })
}

fn write(disk: &dyn Disk, path: &Path, value: &Value) -> Result<(), ConfigError> {
    pretty(value)
        .and_then(|mut text| {
            text.push(b'\n');
            disk.write_atomic(path, &text)
        })
        .map_err(|source| ConfigError::Write {
            path: path.to_owned(),
            source,
        })
}

/// JSON with two spaces of indent, as the Go program writes its files.
pub(super) fn pretty(value: &impl Serialize) -> io::Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(io::Error::other)
}

/// The file with every default that `init` writes.
fn defaults(options: &InitOptions, host: Option<String>) -> Map<String, Value> {
    let mut root = Map::new();
    let left_out = match options.ipfs {
        IpfsKind::Http => "ipfs_connector.embedded",
        IpfsKind::Embedded => "ipfs_connector.ipfshttp",
    };
    for section in SECTIONS.iter().filter(|s| s.path != left_out) {
        let written = section.keys.iter().filter(|k| k.r#use == Use::Written);
        let keys: Map<String, Value> = written
            .map(|key| (key.name.to_owned(), default_json(key)))
            .collect();
        if !keys.is_empty() {
            merge(&mut root, section.path, keys);
        }
    }
    let secret = options.secret.clone().unwrap_or_else(random_secret);
    set(&mut root, "cluster.secret", secret);
    if let Some(host) = host {
        set(&mut root, "cluster.peername", host);
    }
    if let Some(listen) = &options.listen {
        set(
            &mut root,
            "cluster.listen_multiaddress",
            listen.swarm.as_str(),
        );
        set(
            &mut root,
            "api.restapi.http_listen_multiaddress",
            listen.rest.as_str(),
        );
        set(
            &mut root,
            "api.ipfsproxy.listen_multiaddress",
            listen.proxy.as_str(),
        );
        set(
            &mut root,
            "api.pinsvcapi.http_listen_multiaddress",
            listen.pinning.as_str(),
        );
        if options.ipfs == IpfsKind::Embedded {
            let at = "ipfs_connector.embedded.swarm_listen_multiaddress";
            set(&mut root, at, listen.ipfs_swarm.as_str());
        }
    }
    root
}

/// Puts the keys of a section at its path.
fn merge(root: &mut Map<String, Value>, path: &str, keys: Map<String, Value>) {
    let map = path.split('.').try_fold(root, |map, name| {
        map.entry(name)
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
    });
    if let Some(map) = map {
        map.extend(keys);
    }
}

fn set(root: &mut Map<String, Value>, path: &str, value: impl Into<Value>) {
    if let Some((section, name)) = path.rsplit_once('.') {
        merge(
            root,
            section,
            Map::from_iter([(name.to_owned(), value.into())]),
        );
    }
}

fn default_json(key: &Key) -> Value {
    match key.default {
        Preset::None => Value::Null,
        Preset::Bool(b) => b.into(),
        Preset::Int(n) => n.into(),
        Preset::Float(n) => n.into(),
        Preset::Text(s) => s.into(),
        // One address is written as a text, as the Go program does for its HTTP servers.
        Preset::List([one]) if is_address(key) => (*one).into(),
        Preset::List(list) => list.to_vec().into(),
        Preset::Map(pairs) => pairs
            .iter()
            .map(|&(k, v)| (k.to_owned(), Value::from(v)))
            .collect(),
    }
}

/// Whether a list of one is written as a text.
fn is_address(key: &Key) -> bool {
    key.name.ends_with("multiaddress") || key.name == "prometheus_endpoint"
}

/// 64 random hex digits.
#[must_use]
pub fn random_secret() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

/// The machine's name, where it can be told.
pub(super) fn host_name(disk: &dyn Disk, vars: &Variables) -> Option<String> {
    let file = disk
        .read(Path::new("/etc/hostname"), limits::CONFIG_BYTES_MAX)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    file.or_else(|| vars.get("HOSTNAME").cloned())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}
