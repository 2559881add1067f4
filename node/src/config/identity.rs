//! Who this peer is: `identity.json`.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use ipfs_cluster_protocol::{id::PeerId, limits};
use serde::{Deserialize, Serialize};

use super::{Variables, error::ConfigError, secret::SecretBytes};
use crate::{env::Disk, net::keys};

/// File name within the configuration folder.
pub const FILE: &str = "identity.json";
const ID_VARIABLE: &str = "CLUSTER_ID";
const KEY_VARIABLE: &str = "CLUSTER_PRIVATEKEY";

/// A peer's name and the key that proves it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The public name.
    pub peer: PeerId,
    /// The libp2p protobuf of the private key.
    pub private_key: SecretBytes,
}

#[derive(Serialize, Deserialize)]
struct IdentityJson {
    id: String,
    private_key: String,
}

impl Identity {
    /// A new random one.
    #[must_use]
    pub fn generate() -> Self {
        let (peer, key) = keys::generate();
        Self {
            peer,
            private_key: SecretBytes::new(key),
        }
    }

    /// Checks that a name and a key (both as text) belong together.
    pub(super) fn check(id: &str, private_key: &str, origin: &str) -> Result<Self, ConfigError> {
        let error = |why: String| ConfigError::Identity {
            origin: origin.to_owned(),
            why,
        };
        let peer: PeerId = id
            .parse()
            .map_err(|e| error(format!("id: {e}; restore the file from a backup")))?;
        let bytes = STANDARD.decode(private_key.trim()).map_err(|_| {
            error("private_key: it is not base64; restore the file from a backup".to_owned())
        })?;
        let of_key = keys::peer_id(&bytes).map_err(|why| {
            error(format!(
                "private_key: it is no libp2p private key ({why}); restore the file from a backup"
            ))
        })?;
        if of_key != peer {
            return Err(error(format!(
                "id {peer} does not belong to the private key, which is that of {of_key}; \
                 correct the one that was changed"
            )));
        }
        Ok(Self {
            peer,
            private_key: SecretBytes::new(bytes),
        })
    }

    /// Reads the folder's identity; `CLUSTER_ID` and `CLUSTER_PRIVATEKEY` go before the file.
    pub fn load(folder: &Path, disk: &dyn Disk, vars: &Variables) -> Result<Self, ConfigError> {
        if let (Some(id), Some(key)) = (vars.get(ID_VARIABLE), vars.get(KEY_VARIABLE)) {
            return Self::check(id, key, &format!("{ID_VARIABLE} and {KEY_VARIABLE}"));
        }
        let path = folder.join(FILE);
        let bytes = disk
            .read(&path, limits::CONFIG_BYTES_MAX)
            .map_err(|source| ConfigError::Open {
                path: path.clone(),
                source,
            })?;
        // The error of serde_json quotes no values of wrong type, but could quote an unknown one.
        let mut file: IdentityJson =
            serde_json::from_slice(&bytes).map_err(|e| ConfigError::Json {
                path: path.clone(),
                why: format!(
                    "not an object with id and private_key (line {}); restore it from a backup",
                    e.line()
                ),
            })?;
        if let Some(id) = vars.get(ID_VARIABLE) {
            file.id.clone_from(id);
        }
        if let Some(key) = vars.get(KEY_VARIABLE) {
            file.private_key.clone_from(key);
        }
        Self::check(&file.id, &file.private_key, &path.display().to_string())
    }

    /// Writes it into the folder.
    pub fn save(&self, folder: &Path, disk: &dyn Disk) -> Result<(), ConfigError> {
        let path = folder.join(FILE);
        let file = IdentityJson {
            id: self.peer.to_string(),
            private_key: STANDARD.encode(self.private_key.expose()),
        };
        let mut text = super::init::pretty(&file).map_err(|source| ConfigError::Write {
            path: path.clone(),
            source,
        })?;
        text.push(b'\n');
        disk.write_atomic(&path, &text)
            .map_err(|source| ConfigError::Write { path, source })
    }
}
