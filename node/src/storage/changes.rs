//! Which pins have changed since somebody last looked: the tracker's feed.
//!
//! It is a set, not a queue: a reader that is slow sees less detail, never too much to hold.

use std::sync::Arc;

use ipfs_cluster_protocol::id::{Rev, Seq};
use parking_lot::Mutex;
use roaring::RoaringTreemap;
use tokio::sync::Notify;

/// Collects changes for one reader. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Changes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    changed: Mutex<Changed>,
    news: Notify,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Pins made, changed or removed.
    pub seqs: RoaringTreemap,
    /// Anything may have: the state was opened or replaced as a whole.
    pub all: bool,
    /// Up to this rev.
    pub up_to: Rev,
}

impl Changes {
    /// Everything is news to begin with.
    pub(crate) fn new(up_to: Rev) -> Self {
        let changed = Changed {
            seqs: RoaringTreemap::new(),
            all: true,
            up_to,
        };
        Self(Arc::new(Shared {
            changed: Mutex::new(changed),
            news: Notify::new(),
        }))
    }

    /// These changed, and `up_to` was applied.
    pub(crate) fn note(&self, seqs: impl IntoIterator<Item = Seq>, up_to: Rev) {
        {
            let mut changed = self.0.changed.lock();
            changed.seqs.extend(seqs.into_iter().map(|seq| seq.0));
            changed.up_to = changed.up_to.max(up_to);
        }
        self.0.news.notify_one();
    }

    /// The state was replaced.
    pub(crate) fn note_all(&self, up_to: Rev) {
        {
            let mut changed = self.0.changed.lock();
            changed.seqs.clear();
            changed.all = true;
            changed.up_to = up_to;
        }
        self.0.news.notify_one();
    }

    /// What has changed since the last call; waits for something beyond `seen`. Cancel-safe.
    pub async fn next(&self, seen: Rev) -> Changed {
        loop {
            {
                let mut changed = self.0.changed.lock();
                if changed.all || changed.up_to > seen {
                    let up_to = changed.up_to;
                    let nothing = Changed {
                        seqs: RoaringTreemap::new(),
                        all: false,
                        up_to,
                    };
                    return std::mem::replace(&mut changed, nothing);
                }
            }
            self.0.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_gather_until_somebody_looks() {
        let changes = Changes::new(Rev(3));
        let first = changes.next(Rev(0)).await;
        assert!(first.all && first.up_to == Rev(3));
        changes.note([Seq(5)], Rev(4));
        changes.note([Seq(5), Seq(9)], Rev(6));
        let second = changes.next(first.up_to).await;
        assert_eq!(second.seqs.iter().collect::<Vec<_>>(), [5, 9]);
        assert!(!second.all && second.up_to == Rev(6));
        changes.note_all(Rev(9));
        assert!(changes.next(second.up_to).await.all);
    }
}
