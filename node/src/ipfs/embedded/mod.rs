//! An IPFS node in the same process: durable blocks, pins, bitswap, files.
//!
//! ```text
//!   node (IpfsNode) ── pins   what is to be kept
//!        │          ── files  bytes ⇄ blocks (protocol::content)
//!        │          ── dag    whole DAGs
//!        ▼
//!   bitswap (client, server) ── store  blocks on disk
//!        ▲
//!   net (own swarm, own key)
//! ```
//! It has its own swarm: IPFS is open, the cluster's swarm is behind the secret. Members tell each
//! other its addresses; [`Embedded::connect_to`] keeps them connected.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipfs_cluster_protocol::id::PeerId;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::env::{Disk, Env, LaneClosed};

mod bitswap;
mod check;
mod dag;
mod files;
mod gc;
mod net;
mod node;
mod pins;
mod store;
#[cfg(test)]
mod tests;
mod touched;
mod whole;

pub use net::NetError;
pub(crate) use node::NamedPin;
pub use pins::PinsError;
pub use store::StoreError;
pub use whole::{BadBlock, CheckedPin};

use bitswap::Bitswap;
use net::Net;
use pins::Pins;
use store::Store;

/// How long one block may take where the caller gave no time.
const CALL_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The number in the folder's `format` file.
const FORMAT: &str = "2";
/// Of a store without packs, which is one with none yet.
const FORMAT_BEFORE: &str = "1";
/// Bytes of the small files in the folder.
const SMALL_FILE: u64 = 64 * 1024;

/// What the node needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Where its key, blocks and pins lie. Made on the first start.
    pub folder: PathBuf,
    /// Multiaddrs to listen on (TCP).
    pub listen: Vec<String>,
    /// Bytes of blocks it may hold.
    pub storage_max: u64,
    /// A pin without a new block for so long has failed.
    pub pin_timeout: Duration,
}

impl EmbeddedConfig {
    /// Of a node that this machine alone reaches, at any free port: 1 GiB, and a minute for a block.
    #[must_use]
    pub fn on_loopback(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            storage_max: 1 << 30,
            pin_timeout: Duration::from_secs(60),
        }
    }
}

/// Why the node did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The folder cannot be used.
    #[error("{}: {text}", path.display())]
    Folder {
        /// Which file.
        path: PathBuf,
        /// The disk's words.
        text: String,
    },
    /// Another process uses it.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Written by a newer version.
    #[error(
        "{} has format {found:?}, this version knows {FORMAT:?}: upgrade, or choose another folder",
        path.display()
    )]
    Format {
        /// The folder.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// Its key is none.
    #[error(
        "{}: {why}; restore the file from a backup, or remove it to give the node another peer ID",
        path.display()
    )]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: NetError,
    },
    /// The swarm.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The blocks.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pins.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The process shuts down.
    #[error("the lanes are closed")]
    Closed,
}

impl From<LaneClosed> for EmbeddedError {
    fn from(_: LaneClosed) -> Self {
        Self::Closed
    }
}

/// The node. It stops when it is dropped, or by [`Embedded::shutdown`].
#[derive(Debug)]
pub struct Embedded {
    net: Net,
    bitswap: Bitswap,
    store: Store,
    pins: Pins,
    pin_timeout: Duration,
    /// Held by the one who collects garbage.
    collector: Arc<tokio::sync::Mutex<()>>,
    /// The swarm and what else runs in the background.
    tasks: Mutex<JoinSet<()>>,
    _lock: FolderLock,
}

/// Keeps other processes out of the folder.
struct FolderLock(#[expect(dead_code, reason = "held, not read")] Box<dyn Send + Sync>);

impl std::fmt::Debug for FolderLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FolderLock")
    }
}

/// Starts a node.
pub async fn start(config: EmbeddedConfig, env: &Env) -> Result<Arc<Embedded>, EmbeddedError> {
    let disk = env.disk.clone();
    let folder = config.folder.clone();
    let lane = env.lanes.lane("ipfs-folder");
    let (key, lock) = lane.run(move || open_folder(&*disk, folder)).await??;
    let store = Store::open(config.folder.clone(), config.storage_max, env).await?;
    let pins = Pins::open(config.folder.join("pins"), env).await?;
    let started = net::start(&key, &config.listen, env).await;
    let (net, swarm) = started.map_err(|e| match e {
        why @ NetError::Key(_) => EmbeddedError::Key {
            path: config.folder.join("key"),
            why,
        },
        e => e.into(),
    })?;
    let bitswap = Bitswap::new(store.clone(), Arc::new(net.clone()));
    let mut tasks = JoinSet::new();
    swarm.run(Arc::new(bitswap.clone()), &mut tasks);
    net.listening().await?;
    let counted = store.clone();
    tasks.spawn(async move { counted.settle_at_last().await });
    tracing::info!(peer = %net.peer(), folder = %config.folder.display(), "the embedded IPFS node runs");
    let node = Arc::new(Embedded {
        net,
        bitswap,
        store,
        pins,
        pin_timeout: config.pin_timeout,
        collector: Arc::default(),
        tasks: Mutex::new(tasks),
        _lock: lock,
    });
    let tended = Arc::downgrade(&node);
    node.tasks.lock().spawn(gc::tend(tended));
    Ok(node)
}

fn folder_error(path: &Path, error: &std::io::Error) -> EmbeddedError {
    EmbeddedError::Folder {
        path: path.to_path_buf(),
        text: error.to_string(),
    }
}

/// Takes the folder, checks its format, and reads its key; makes what is missing.
fn open_folder(disk: &dyn Disk, folder: PathBuf) -> Result<(Vec<u8>, FolderLock), EmbeddedError> {
    let made = disk.create_dir_all(&folder);
    made.map_err(|e| folder_error(&folder, &e))?;
    let lock = disk
        .lock(&folder.join("lock"))
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::WouldBlock => EmbeddedError::InUse(folder.clone()),
            _ => folder_error(&folder, &e),
        })?;
    claim_format(disk, &folder)?;
    let path = folder.join("key");
    let failed = |e| folder_error(&path, &e);
    let key = if disk.exists(&path) {
        disk.read(&path, SMALL_FILE).map_err(failed)?
    } else {
        let key = net::new_key()?;
        disk.write_atomic(&path, &key).map_err(failed)?;
        key
    };
    Ok((key, FolderLock(lock)))
}

/// Makes the folder one of this version's format, unless a newer version has written it.
fn claim_format(disk: &dyn Disk, folder: &Path) -> Result<(), EmbeddedError> {
    let path = folder.join("format");
    let failed = |e| folder_error(&path, &e);
    if disk.exists(&path) {
        let found = disk.read(&path, SMALL_FILE).map_err(failed)?;
        let found = String::from_utf8_lossy(&found).trim().to_string();
        if found == FORMAT {
            return Ok(());
        }
        if found != FORMAT_BEFORE {
            let path = folder.to_path_buf();
            return Err(EmbeddedError::Format { path, found });
        }
    }
    disk.write_atomic(&path, FORMAT.as_bytes()).map_err(failed)
}

impl Embedded {
    /// Who it is in IPFS.
    pub fn peer_id(&self) -> &PeerId {
        self.net.peer()
    }

    /// Where it can be reached, with `/p2p/`.
    pub fn addresses(&self) -> Vec<String> {
        self.net.addresses()
    }

    /// Keeps connected to these multiaddrs (with `/p2p/`), the members', instead of those given
    /// before.
    pub fn connect_to(&self, addresses: &[String]) {
        self.net.keep_connected(addresses);
    }

    /// Stops: closes the swarm, fails what is being fetched, and waits for what runs. What was
    /// acknowledged is on disk already.
    pub async fn shutdown(&self) {
        self.bitswap.close();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        self.store.drain().await;
        self.pins.drain().await;
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.bitswap.close();
    }
}
