//! Blocks that no pin holds yet and that garbage collection must leave alone: those of adds under way
//! and of pins being fetched.
//!
//! A block that is put is kept until a pin that holds it is there, or until an hour has passed and
//! nobody has put anything for ten minutes (it was not to be pinned). Those of an upload belong to it
//! while it lasts: should it break off, nothing keeps them any more. Since two
//! adds may share blocks, those of a pin that is there stay as long as any other block waits for its
//! pin. A pin being fetched touches a block *before* it looks whether it is here, and the collector
//! looks here and removes under the same lock: so a block is either kept, or seen to be missing and
//! fetched.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ipfs_cluster_protocol::{id::Cid, limits::GC_TOUCHED_MAX};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a block that was put is kept without a pin.
const KEPT: Duration = Duration::from_secs(3600);
/// Without a put for so long, no add is under way.
const QUIET: Duration = Duration::from_secs(600);

/// The end of a block's multihash: long enough that no two blocks share it.
pub(super) type Key = [u8; 16];

/// The key of a multihash; None where it is too short to be stored at all.
pub(super) fn key(multihash: &[u8]) -> Option<Key> {
    multihash.last_chunk().copied()
}

pub(super) fn key_of(cid: &Cid) -> Option<Key> {
    key(&cid.0.hash().to_bytes())
}

/// The blocks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Blocks that wait for a pin, and when they were put last.
    puts: HashMap<Key, Instant>,
    last_put: Option<Instant>,
    /// Blocks whose pin is there, of which another add may need some too.
    shared: HashSet<Key>,
    /// Blocks of pins being fetched, by run.
    runs: BTreeMap<u64, HashSet<Key>>,
    /// Blocks of uploads under way.
    uploads: BTreeMap<u64, HashSet<Key>>,
    next_run: u64,
    /// More blocks were put than are remembered: nothing may be removed before this.
    blind_until: Option<Instant>,
    /// Pins that complete do not let go of their blocks: the collector did not see them.
    collecting: bool,
}

impl Inner {
    /// Forgets what has waited too long.
    fn expire(&mut self, now: Instant) {
        let quiet = self.last_put.is_none_or(|last| now - last >= QUIET);
        self.puts.retain(|_, put| now - *put < KEPT || !quiet);
        self.settle();
    }

    /// With the last add its shared blocks are nobody's.
    fn settle(&mut self) {
        if self.puts.is_empty() && self.uploads.is_empty() {
            self.shared.clear();
        }
    }

    /// Whether one more block can be remembered. If not, nothing is removed for as long as it would
    /// have been kept.
    fn has_room(&mut self, now: Instant) -> bool {
        let uploaded: usize = self.uploads.values().map(HashSet::len).sum();
        if self.puts.len() + uploaded < GC_TOUCHED_MAX {
            return true;
        }
        self.expire(now);
        if self.puts.len() + uploaded < GC_TOUCHED_MAX {
            return true;
        }
        self.blind_until = Some(now + KEPT);
        false
    }

    fn is_kept(&self, key: &Key) -> bool {
        self.puts.contains_key(key)
            || self.shared.contains(key)
            || self.uploads.values().any(|upload| upload.contains(key))
            || self.runs.values().any(|run| run.contains(key))
    }
}

impl Touched {
    /// These blocks are about to be put.
    pub(super) fn put<'a>(&self, cids: impl Iterator<Item = &'a Cid>) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        inner.last_put = Some(now);
        for key in cids.filter_map(key_of) {
            if !inner.puts.contains_key(&key) && !inner.has_room(now) {
                return;
            }
            inner.puts.insert(key, now);
        }
    }

    /// An upload begins; its number.
    pub(super) fn upload(&self) -> u64 {
        let mut inner = self.0.lock();
        let id = inner.next_run;
        inner.next_run += 1;
        inner.uploads.insert(id, HashSet::new());
        id
    }

    /// These blocks of an upload are about to be put.
    pub(super) fn put_for<'a>(&self, upload: u64, cids: impl Iterator<Item = &'a Cid>) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        inner.last_put = Some(now);
        for key in cids.filter_map(key_of) {
            if !inner.has_room(now) {
                return;
            }
            if let Some(keys) = inner.uploads.get_mut(&upload) {
                keys.insert(key);
            }
        }
    }

    /// An upload has ended: what of it is not pinned yet waits for that if it is `complete`, and is
    /// kept by nothing if it broke off.
    pub(super) fn end(&self, upload: u64, complete: bool) {
        let now = Instant::now();
        let mut inner = self.0.lock();
        let keys = inner.uploads.remove(&upload).unwrap_or_default();
        if complete {
            inner.puts.extend(keys.into_iter().map(|key| (key, now)));
        }
        inner.settle();
    }

    /// A pin begins to be fetched.
    pub(super) fn run(&self) -> Run {
        let mut inner = self.0.lock();
        let id = inner.next_run;
        inner.next_run += 1;
        inner.runs.insert(id, HashSet::new());
        Run {
            touched: self.clone(),
            id,
        }
    }

    /// Nothing that is pinned from now on lets go of its blocks, until the value is dropped.
    pub(super) fn collecting(&self) -> Collecting {
        let mut inner = self.0.lock();
        inner.expire(Instant::now());
        inner.collecting = true;
        Collecting(self.clone())
    }

    /// Whether the block was put and waits for a pin.
    pub(super) fn waits(&self, cid: &Cid) -> bool {
        let inner = self.0.lock();
        let mut uploads = inner.uploads.values();
        key_of(cid).is_some_and(|key| {
            inner.puts.contains_key(&key) || uploads.any(|upload| upload.contains(&key))
        })
    }

    /// Why nothing may be removed now.
    pub(super) fn blind(&self) -> Option<Duration> {
        let inner = self.0.lock();
        let left = inner.blind_until?.checked_duration_since(Instant::now())?;
        Some(left).filter(|left| !left.is_zero())
    }

    /// Calls `remove` unless the block is kept; nobody can touch it meanwhile.
    pub(super) fn unless_kept<T>(&self, key: &Key, remove: impl FnOnce() -> T) -> Option<T> {
        let inner = self.0.lock();
        (!inner.is_kept(key)).then(remove)
    }
}

/// A pin being fetched. Dropped without [`Run::pinned`], it leaves things as they were.
#[derive(Debug)]
pub(super) struct Run {
    touched: Touched,
    id: u64,
}

impl Run {
    /// The pin needs this block. To be called before looking whether it is here.
    pub(super) fn touch(&self, cid: &Cid) {
        if let Some(key) = key_of(cid)
            && let Some(run) = self.touched.0.lock().runs.get_mut(&self.id)
        {
            run.insert(key);
        }
    }

    /// The pin is there: what was put for it need not be kept any more.
    pub(super) fn pinned(self) {
        let mut inner = self.touched.0.lock();
        let Some(run) = inner.runs.remove(&self.id) else {
            return;
        };
        if inner.collecting {
            // The collector began before the pin was there.
            let now = Instant::now();
            inner.puts.extend(run.into_iter().map(|key| (key, now)));
            return;
        }
        for key in run {
            let put = inner.puts.remove(&key).is_some();
            // The pin may be there before the end of the upload that it stands for was noticed.
            let uploads = inner.uploads.values_mut();
            let uploaded = uploads.fold(false, |any, upload| upload.remove(&key) | any);
            if put || uploaded {
                inner.shared.insert(key);
            }
        }
        inner.settle();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.touched.0.lock().runs.remove(&self.id);
    }
}

/// A collection under way.
#[derive(Debug)]
pub(super) struct Collecting(Touched);

impl Drop for Collecting {
    fn drop(&mut self) {
        self.0.0.lock().collecting = false;
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::content::hash::name_like;
    use tokio::time::advance;

    use super::*;

    fn cid(n: u8) -> Cid {
        name_like(1, 0x55, 0x12, 32, &[n]).unwrap()
    }

    /// Whether a collection that begins now would leave it.
    fn kept(touched: &Touched, n: u8) -> bool {
        let _collecting = touched.collecting();
        touched
            .unless_kept(&key_of(&cid(n)).unwrap(), || ())
            .is_none()
    }

    fn pinned(touched: &Touched, blocks: &[u8]) {
        let run = touched.run();
        for n in blocks {
            run.touch(&cid(*n));
        }
        run.pinned();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_is_kept_until_it_is_pinned() {
        let touched = Touched::default();
        assert!(!kept(&touched, 1));
        touched.put([cid(1), cid(2), cid(1)].iter());
        let run = touched.run();
        run.touch(&cid(1));
        run.touch(&cid(3));
        assert!(kept(&touched, 1) && kept(&touched, 2) && kept(&touched, 3));
        run.pinned();
        // Another add is under way, which may have put block 1 as well.
        assert!(kept(&touched, 1) && kept(&touched, 2) && !kept(&touched, 3));
        pinned(&touched, &[2]);
        assert!(!kept(&touched, 1) && !kept(&touched, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_add_that_was_broken_off_is_forgotten() {
        let touched = Touched::default();
        touched.put([cid(1), cid(2)].iter());
        pinned(&touched, &[1]);
        advance(KEPT - QUIET).await;
        assert!(kept(&touched, 1) && kept(&touched, 2));
        advance(QUIET).await;
        assert!(!kept(&touched, 1) && !kept(&touched, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_breaks_off_leaves_garbage_at_once() {
        let touched = Touched::default();
        let (whole, broken) = (touched.upload(), touched.upload());
        touched.put_for(whole, [cid(1), cid(2)].iter());
        touched.put_for(broken, [cid(2), cid(3)].iter());
        assert!(kept(&touched, 1) && kept(&touched, 2) && kept(&touched, 3));
        touched.end(broken, false);
        assert!(kept(&touched, 1) && kept(&touched, 2) && !kept(&touched, 3));
        touched.end(whole, true);
        assert!(kept(&touched, 1) && kept(&touched, 2));
        pinned(&touched, &[1, 2]);
        assert!(!kept(&touched, 1) && !kept(&touched, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pin_that_comes_before_the_end_of_its_upload_takes_the_blocks_over() {
        let touched = Touched::default();
        let (upload, other) = (touched.upload(), touched.upload());
        touched.put_for(upload, [cid(1), cid(2)].iter());
        pinned(&touched, &[1, 2]);
        // The other upload may need them as well.
        assert!(kept(&touched, 1));
        touched.end(upload, true);
        assert!(kept(&touched, 1));
        touched.end(other, false);
        assert!(!kept(&touched, 1) && !kept(&touched, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_add_that_takes_long_keeps_its_first_blocks() {
        let touched = Touched::default();
        touched.put([cid(1)].iter());
        for _ in 0..20 {
            advance(QUIET / 2).await;
            touched.put([cid(2)].iter());
        }
        assert!(kept(&touched, 1));
        advance(QUIET).await;
        assert!(!kept(&touched, 1) && kept(&touched, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pin_that_completes_during_a_collection_keeps_its_blocks() {
        let touched = Touched::default();
        let run = touched.run();
        run.touch(&cid(1));
        let collecting = touched.collecting();
        run.pinned();
        let left = touched.unless_kept(&key_of(&cid(1)).unwrap(), || ());
        assert_eq!(left, None);
        drop(collecting);
        let run = touched.run();
        run.touch(&cid(2));
        drop(run);
        assert!(!kept(&touched, 2));
    }
}
