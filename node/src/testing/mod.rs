//! Values for unit tests.

pub(crate) mod bad_disk;

use std::{path::Path, sync::Arc, time::Duration};

use ipfs_cluster_protocol::id::PeerId;

use crate::{
    env::real,
    ipfs::embedded::{self, Embedded, EmbeddedConfig},
};

/// A peer that is another one for each number.
pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from_bytes(&[&[0x12, 32], [n; 32].as_slice()].concat()).unwrap()
}

/// An embedded IPFS node on loopback that waits 5 s for what nobody has.
pub(crate) async fn embedded_node(folder: &Path) -> Arc<Embedded> {
    let config = EmbeddedConfig {
        pin_timeout: Duration::from_secs(5),
        ..EmbeddedConfig::on_loopback(folder)
    };
    embedded::start(config, &real::env()).await.unwrap()
}
