//! Numbers this peer's writes, so that a repeat of one is told from a new one.

use std::{collections::BTreeSet, sync::Arc};

use ipfs_cluster_protocol::{
    command::Session,
    id::{Boot, PeerId},
};
use parking_lot::Mutex;

/// The peer's session: one for all its clients.
#[derive(Debug, Clone)]
pub(crate) struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    origin: PeerId,
    boot: Boot,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    /// The last number given.
    last: u64,
    /// Numbers whose outcome is still waited for.
    open: BTreeSet<u64>,
}

impl Sessions {
    /// A session of this start of the peer.
    pub(crate) fn new(origin: PeerId, boot: Boot) -> Self {
        Self(Arc::new(Inner { origin, boot, numbers: Mutex::default() }))
    }

    /// The number of a new write; it stays open until dropped.
    pub(crate) fn begin(&self) -> Ticket {
        let mut numbers = self.0.numbers.lock();
        numbers.last += 1;
        let n = numbers.last;
        numbers.open.insert(n);
        Ticket { sessions: self.clone(), n }
    }
}

/// One write's number.
#[derive(Debug)]
pub(crate) struct Ticket {
    sessions: Sessions,
    n: u64,
}

impl Ticket {
    /// What travels with the write; the floor is that of the moment.
    pub(crate) fn session(&self) -> Session {
        let inner = &self.sessions.0;
        let floor = inner.numbers.lock().open.first().copied().unwrap_or(self.n);
        Session { origin: inner.origin.clone(), boot: inner.boot, n: self.n, floor }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.sessions.0.numbers.lock().open.remove(&self.n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_lowest_number_still_open() {
        let peer = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
        let sessions = Sessions::new(peer.parse().unwrap(), Boot(3));
        let (a, b) = (sessions.begin(), sessions.begin());
        assert_eq!((b.session().n, b.session().floor), (2, 1));
        drop(a);
        assert_eq!(b.session().floor, 2);
        let c = sessions.begin();
        drop(b);
        assert_eq!((c.session().n, c.session().floor), (3, 3));
    }
}
