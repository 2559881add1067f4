//! The IPFS nodes of a simulation: the embedded one of the peers runs as it ships; here are the
//! library, a node outside the cluster that has all content, and a Kubo as its RPC shows it.

mod answer;
mod foreign;
mod kubo;
mod library;
mod pinning;
mod routes;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipfs_cluster_node::ipfs::embedded::Embedded;

pub use foreign::foreign_pins;
pub use kubo::{Kubo, RPC_PORT};
pub use library::Library;

use crate::scenario::IpfsTrouble;

/// A node of a machine, while it runs, and what is the matter with it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct NodeSlot(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    node: Option<Arc<Embedded>>,
    trouble: IpfsTrouble,
}

impl NodeSlot {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node of the present life.
    #[must_use]
    pub fn node(&self) -> Option<Arc<Embedded>> {
        self.lock().node.clone()
    }

    fn put(&self, node: Option<Arc<Embedded>>) {
        let old = std::mem::replace(&mut self.lock().node, node);
        // Dropped after the lock: its drop may reach doors.
        drop(old);
    }

    /// What is the matter with it.
    #[must_use]
    pub fn trouble(&self) -> IpfsTrouble {
        self.lock().trouble
    }

    /// Changes what is the matter with it.
    pub fn set_trouble(&self, trouble: IpfsTrouble) {
        self.lock().trouble = trouble;
    }
}
