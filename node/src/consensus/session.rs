//! Numbers this peer's commands, so that a repeat of one is told from a new one.

use std::{collections::BTreeSet, sync::Arc};

use ipfs_cluster_protocol::{
    command::Session,
    id::{Boot, PeerId},
};
use parking_lot::Mutex;

/// The peer's session of this start: one for all its clients and for its own commands.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Inner>);

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
    pub(super) fn new(origin: PeerId, boot: Boot) -> Self {
        Self(Arc::new(Inner {
            origin,
            boot,
            numbers: Mutex::default(),
        }))
    }

    /// The start of the peer that the session is of.
    #[must_use]
    pub fn boot(&self) -> Boot {
        self.0.boot
    }

    /// The number of a new command; it stays open until dropped.
    #[must_use]
    pub fn begin(&self) -> Ticket {
        let mut numbers = self.0.numbers.lock();
        numbers.last += 1;
        let n = numbers.last;
        numbers.open.insert(n);
        Ticket {
            sessions: self.clone(),
            n,
        }
    }
}

/// One command's number.
#[derive(Debug)]
pub struct Ticket {
    sessions: Sessions,
    n: u64,
}

impl Ticket {
    /// What travels with the command; the floor is that of the moment.
    #[must_use]
    pub fn session(&self) -> Session {
        let inner = &self.sessions.0;
        let floor = inner.numbers.lock().open.first().copied().unwrap_or(self.n);
        Session {
            origin: inner.origin.clone(),
            boot: inner.boot,
            n: self.n,
            floor,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.sessions.0.numbers.lock().open.remove(&self.n);
    }
}

#[cfg(test)]
mod tests {
    use super::{Boot, Sessions};

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
