//! What others ask of the tracker.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ipfs_cluster_protocol::id::Cid;
use ipfs_cluster_protocol::limits;
use tokio::sync::{mpsc, oneshot, watch};

/// Orders from outside.
#[derive(Debug)]
pub(super) enum Order {
    /// Retry this CID now, if it failed; tells whether it was queued.
    Recover(Cid, oneshot::Sender<bool>),
    /// Retry all that failed; tells which were queued.
    RecoverAll(oneshot::Sender<Vec<Cid>>),
}

/// Waiting and running work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Pins that wait for a worker.
    pub queued: usize,
    /// Those of them that would be fetched now if there were a worker.
    pub pressing: usize,
    /// Pins being worked on.
    pub running: usize,
}

/// Orders to pin that the IPFS node was given since the start, and those that failed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) pins: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// A handle on the tracker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracker {
    orders: mpsc::Sender<Order>,
    load: watch::Receiver<Load>,
    counts: Arc<Counts>,
}

/// The tracker's side of a handle.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) load: watch::Sender<Load>,
    pub(super) counts: Arc<Counts>,
}

impl Tracker {
    /// A handle, and what the tracker is started with.
    pub(crate) fn new() -> (Self, Inbox) {
        let (orders, inbox) = mpsc::channel(limits::TRACKER_ORDERS_MAX);
        let (load, seen) = watch::channel(Load::default());
        let counts = Arc::<Counts>::default();
        let handle = Self {
            orders,
            load: seen,
            counts: counts.clone(),
        };
        let inbox = Inbox {
            orders: inbox,
            load,
            counts,
        };
        (handle, inbox)
    }

    /// Retries a CID now if it failed here. False if there is nothing to retry.
    pub async fn recover(&self, cid: Cid) -> bool {
        let (tx, rx) = oneshot::channel();
        let sent = self.orders.send(Order::Recover(cid, tx)).await;
        sent.is_ok() && rx.await.unwrap_or(false)
    }

    /// Retries all that failed here; tells which.
    pub async fn recover_all(&self) -> Vec<Cid> {
        let (tx, rx) = oneshot::channel();
        match self.orders.send(Order::RecoverAll(tx)).await {
            Ok(()) => rx.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Orders to pin that the IPFS node was given since the start, and how many failed.
    #[must_use]
    pub fn pin_orders(&self) -> (u64, u64) {
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (count(&self.counts.pins), count(&self.counts.errors))
    }

    /// How much there is to do.
    #[must_use]
    pub fn load(&self) -> Load {
        *self.load.borrow()
    }
}
