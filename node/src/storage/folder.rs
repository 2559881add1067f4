//! The data folder `<config>/state`: whose it is, and that one process at a time uses it.
//!
//! The Go program keeps its own in `raft/`, `badger/` and the like beside it; they are never touched.

use ipfs_cluster_protocol::limits;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipfs_cluster_protocol::id::{ClusterId, Epoch, Incarnation};
use serde::{Deserialize, Serialize};

use crate::env::{Disk, Env};

use super::error::{OpenError, REMEDY};

/// The layout this version writes.
const FORMAT: u32 = 1;
/// Folder name inside the configuration folder.
const NAME: &str = "state";

/// Which cluster the folder belongs to and who its peer is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its epoch when the folder last changed hands.
    pub epoch: Epoch,
    /// This peer's life in it.
    pub incarnation: Incarnation,
}

/// `meta.json`. Readable by people: it is what an operator looks at.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    format: u32,
    #[serde(default)]
    identity: Option<Identity>,
}

/// An open data folder. Dropping the last clone frees its lock.
#[derive(Clone)]
pub struct DataFolder {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    _lock: Arc<dyn Send + Sync>,
}

impl fmt::Debug for DataFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFolder")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl DataFolder {
    /// Its name inside the configuration folder.
    pub const NAME: &'static str = NAME;
    /// The tracker's ledger in it.
    pub const LEDGER: &'static str = "ledger";
    /// The log in it: a folder without one belongs to a peer that is no member yet.
    pub const LOG: &'static str = "raft.redb";

    /// Opens the data folder inside `config_dir`, making it when it is missing, and locks it.
    pub async fn open(env: &Env, config_dir: &Path) -> Result<Self, OpenError> {
        let path = config_dir.join(NAME);
        let disk = env.disk.clone();
        env.lanes
            .lane("folder")
            .run(move || Self::open_blocking(disk, path))
            .await?
    }

    fn open_blocking(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Self, OpenError> {
        disk.create_dir_all(&path).map_err(OpenError::io(&path))?;
        let lock = disk.lock(&path.join("lock")).map_err(|e| {
            if e.kind() == std::io::ErrorKind::WouldBlock {
                OpenError::InUse { path: path.clone() }
            } else {
                OpenError::io(&path)(e)
            }
        })?;
        let folder = Self {
            path,
            disk,
            _lock: Arc::from(lock),
        };
        if folder.read_meta()?.is_none() {
            folder.write_meta(None)?;
        }
        Ok(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Who this peer is, once it formed or joined a cluster.
    pub async fn identity(&self, env: &Env) -> Result<Option<Identity>, OpenError> {
        let folder = self.clone();
        env.lanes
            .lane("folder")
            .run(move || Ok(folder.read_meta()?.and_then(|m| m.identity)))
            .await?
    }

    /// Writes down who this peer is. Refuses to give the folder to another cluster.
    pub async fn set_identity(&self, env: &Env, identity: Identity) -> Result<(), OpenError> {
        let folder = self.clone();
        env.lanes
            .lane("folder")
            .run(move || {
                let found = folder.read_meta()?.and_then(|m| m.identity);
                match found {
                    Some(found) if found.cluster != identity.cluster => {
                        Err(OpenError::OtherCluster {
                            path: folder.path.clone(),
                            found: found.cluster,
                            expected: identity.cluster,
                        })
                    }
                    Some(found) if found == identity => Ok(()),
                    _ => folder.write_meta(Some(identity)),
                }
            })
            .await?
    }

    fn meta_path(&self) -> PathBuf {
        self.file("meta.json")
    }

    fn read_meta(&self) -> Result<Option<Meta>, OpenError> {
        let path = self.meta_path();
        if !self.disk.exists(&path) {
            return Ok(None);
        }
        let bytes = self
            .disk
            .read(&path, limits::FOLDER_META_BYTES_MAX)
            .map_err(OpenError::io(&path))?;
        // The format is read by itself first: a newer one may have other fields.
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let damaged = |e: serde_json::Error| OpenError::Damaged {
            path: path.clone(),
            what: e.to_string(),
            remedy: REMEDY,
        };
        let FormatOnly { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(OpenError::Newer {
                path: self.path.clone(),
                found: format,
                known: FORMAT,
            });
        }
        serde_json::from_slice(&bytes).map_err(damaged).map(Some)
    }

    fn write_meta(&self, identity: Option<Identity>) -> Result<(), OpenError> {
        let path = self.meta_path();
        let meta = Meta {
            format: FORMAT,
            identity,
        };
        let text = serde_json::to_vec_pretty(&meta).expect("own types always encode");
        self.disk
            .write_atomic(&path, &text)
            .map_err(OpenError::io(&path))
    }
}
