//! A peer with an embedded node dies while it adds, fetches a pin, or collects garbage: what it had
//! pinned is whole on its disk, what it did not finish is pinned later or garbage, and once everything
//! is unpinned and collected its store is as small as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::Rng;

use crate::{
    blocks,
    cluster::{Cluster, Setup, until_status},
    http::{self, Answer},
    values::random,
    wait::until,
};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of what is added or fetched: some 200 blocks.
const BYTES: usize = 3_000_000;
/// The peer that dies, and the one that does not.
const DIES: usize = 1;
const LIVES: usize = 0;

/// What the peer was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum During {
    /// A client's upload.
    Add,
    /// A pin whose blocks another peer has.
    Pin,
    /// Garbage, some of it on blocks that were pinned.
    Gc,
}

/// Two peers, one of which is killed again and again.
#[derive(Debug)]
pub struct Ground {
    cluster: Cluster,
    /// What the peer that dies holds.
    held: BTreeSet<String>,
    /// What it holds to the end, and the bytes of its blocks.
    base: String,
    base_bytes: u64,
    /// How long each work takes when nobody disturbs it.
    takes: BTreeMap<During, Duration>,
}

/// What an upload was pinned as, if its answer says that it was, and at this peer: one that has just
/// started has told nobody yet how much room it has, and others are chosen.
fn acknowledged(answer: &Answer, at: &str) -> Option<String> {
    if answer.status != 200
        || answer
            .header("x-stream-error")
            .is_some_and(|e| !e.is_empty())
    {
        return None;
    }
    let lines = answer.items().ok()?;
    let last = lines.last()?;
    let there = last["allocations"]
        .as_array()?
        .iter()
        .any(|peer| peer == at);
    let root = last["cid"].as_str()?;
    there.then(|| root.to_owned())
}

impl Ground {
    /// Two peers, and some content on the one that is to die.
    ///
    /// # Panics
    /// When the cluster does not start.
    pub async fn prepare() -> Self {
        // However long it is down on a busy machine, its pins are not to move to the other peer.
        let setup = Setup::of(2).with_ipfs_rpc().edited(|_, config| {
            config["cluster"]["disable_repinning"] = true.into();
        });
        let mut ground = Self {
            cluster: Cluster::start(setup).await,
            held: BTreeSet::new(),
            base: String::new(),
            base_bytes: 0,
            takes: BTreeMap::new(),
        };
        ground.base = ground.add(DIES).await;
        ground.base_bytes = ground.stored(DIES).await;
        ground.held.insert(ground.base.clone());
        ground
    }

    fn ipfs(&self) -> PathBuf {
        blocks::folder(&self.cluster.peers[DIES].folder)
    }

    /// Bytes of the blocks that a peer's node counts as stored.
    async fn stored(&self, peer: usize) -> u64 {
        let port = self.cluster.peers[peer].ipfs_rpc_port();
        let stat = http::request(port, "POST", "/api/v0/repo/stat").await;
        let stat: serde_json::Value = stat.expect("it answers").json().expect("it is JSON");
        stat["RepoSize"].as_u64().expect("a size")
    }

    /// The query of an upload that only one peer is to hold.
    fn query(&self, peer: usize) -> String {
        let id = &self.cluster.peers[peer].addresses().id;
        format!("/add?chunker=size-16384&replication=1&user-allocations={id}")
    }

    /// Adds at a peer, for that peer alone; the root.
    async fn add(&self, peer: usize) -> String {
        let port = self.cluster.peers[peer].rest_port();
        let query = self.query(peer);
        let id = &self.cluster.peers[peer].addresses().id;
        let root = until("an upload", LIMIT, || async {
            // Something else each time: what was pinned elsewhere stays there.
            let answer = http::upload(port, &query, &random(BYTES)).await;
            let answer = answer.map_err(|e| e.to_string())?;
            acknowledged(&answer, id).ok_or_else(|| format!("{answer:?}"))
        })
        .await;
        until(&root, LIMIT, || local_status(port, &root, "pinned")).await;
        root
    }

    /// Kills the peer once, at a random moment of its work, and looks at what it holds then and after
    /// it has come back.
    ///
    /// # Panics
    /// When something that was pinned is not whole, or the peer does not come back.
    pub async fn kill(&mut self, during: During) -> Duration {
        let after = match self.takes.get(&during) {
            // A little longer, so that some die just after.
            Some(takes) => takes.mul_f64(rand::rng().random_range(0.0..1.3)),
            None => Duration::MAX,
        };
        match during {
            During::Add => self.kill_an_add(after).await,
            During::Pin => self.kill_a_pin(after).await,
            During::Gc => self.kill_a_collection(after).await,
        }
        self.check();
        after
    }

    /// Waits for the work or kills the peer before, whichever comes first; the work's result.
    async fn during<T>(
        &mut self,
        what: During,
        after: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let begun = Instant::now();
        if after == Duration::MAX {
            let done = work.await;
            self.takes.insert(what, begun.elapsed());
            return Some(done);
        }
        let mut work = std::pin::pin!(work);
        let early = tokio::time::timeout(after, &mut work).await;
        self.cluster.peers[DIES].kill();
        // What it had promised is there at once, not only when it has tidied up.
        self.check();
        match early {
            Ok(done) => Some(done),
            // What it had answered before may still be on its way.
            Err(_) => tokio::time::timeout(LIMIT, work).await.ok(),
        }
    }

    async fn revive(&mut self) {
        if !self.cluster.peers[DIES].is_running() {
            self.cluster.restart(DIES).await;
        }
        let port = self.cluster.peers[DIES].rest_port();
        for cid in &self.held {
            let what = format!("{cid} pinned at the peer that died");
            until(&what, LIMIT, || local_status(port, cid, "pinned")).await;
        }
        let half_written = blocks::files_in(&self.ipfs(), "tmp");
        assert_eq!(half_written, 0, "half-written blocks are left");
    }

    async fn kill_an_add(&mut self, after: Duration) {
        let warm = self.add(DIES).await;
        self.held.insert(warm);
        let port = self.cluster.peers[DIES].rest_port();
        let (query, bytes) = (self.query(DIES), random(BYTES));
        let upload = http::upload(port, &query, &bytes);
        let answer = self.during(During::Add, after, upload).await;
        let id = self.cluster.peers[DIES].addresses().id.clone();
        let answer = answer.and_then(Result::ok);
        if let Some(root) = answer.and_then(|answer| acknowledged(&answer, &id)) {
            self.held.insert(root);
            self.check();
        }
        self.revive().await;
        // A pin whose acknowledgement was lost counts as well.
        for cid in self.pins().await {
            if self.held.insert(cid.clone()) {
                until(&cid, LIMIT, || local_status(self.rest(), &cid, "pinned")).await;
            }
        }
    }

    async fn kill_a_pin(&mut self, after: Duration) {
        let root = self.add(LIVES).await;
        let port = self.cluster.peers[LIVES].rest_port();
        let both = format!("/pins/{root}?replication=2");
        let pin = async {
            order(port, &both).await;
            until_status(port, &root, "pinned", 2).await;
        };
        if after == Duration::MAX {
            self.during(During::Pin, after, pin).await;
        } else {
            let _ = tokio::time::timeout(after, pin).await;
            self.cluster.peers[DIES].kill();
            self.check();
        }
        self.revive().await;
        // The order may not have been given.
        order(port, &both).await;
        until_status(port, &root, "pinned", 2).await;
        self.held.insert(root);
    }

    async fn kill_a_collection(&mut self, after: Duration) {
        let mut garbage: Vec<String> = self.held.iter().cloned().collect();
        garbage.retain(|cid| *cid != self.base);
        garbage.truncate(4);
        if garbage.is_empty() {
            garbage.push(self.add(DIES).await);
        }
        self.unpin(&garbage).await;
        let port = self.rest();
        let collection = http::request(port, "POST", "/ipfs/gc?local=true");
        self.during(During::Gc, after, collection).await;
        self.revive().await;
    }

    fn rest(&self) -> u16 {
        self.cluster.peers[DIES].rest_port()
    }

    /// The CIDs of the cluster that the peer that dies is to hold.
    async fn pins(&self) -> Vec<String> {
        let id = &self.cluster.peers[DIES].addresses().id;
        let path = "/allocations?consistency=linearizable";
        let pins = until("the pins", LIMIT, || async {
            let answer = http::request(self.rest(), "GET", path).await;
            let answer = answer.map_err(|e| e.to_string())?;
            match answer.status {
                200 => answer.items().map_err(|e| e.to_string()),
                _ => Err(answer.text()),
            }
        });
        let pins = pins.await.into_iter();
        let here = pins.filter(|pin| {
            let allocated = pin["allocations"].as_array();
            allocated.is_some_and(|peers| peers.iter().any(|peer| peer == id.as_str()))
        });
        here.filter_map(|pin| pin["cid"].as_str().map(str::to_owned))
            .collect()
    }

    async fn unpin(&mut self, cids: &[String]) {
        let (living, dying) = (self.cluster.peers[LIVES].rest_port(), self.rest());
        for cid in cids {
            let path = format!("/pins/{cid}");
            let answer = http::request(living, "DELETE", &path).await;
            assert_eq!(answer.expect("the other peer answers").status, 200);
            let what = format!("{cid} unpinned");
            until(&what, LIMIT, || local_status(dying, cid, "unpinned")).await;
            self.held.remove(cid);
        }
    }

    /// Every pin is whole on the disk.
    fn check(&self) {
        let ipfs = self.ipfs();
        for root in &self.held {
            if let Err(why) = blocks::whole(&ipfs, root) {
                panic!("{why}");
            }
        }
        assert_eq!(blocks::files_in(&ipfs, "corrupt"), 0, "blocks were corrupt");
    }

    /// Unpins all but what was there first, collects, and looks whether anything is left.
    ///
    /// # Panics
    /// When the store has not come back to its size.
    pub async fn conclude(mut self) {
        let mut rest: Vec<String> = self.held.iter().cloned().collect();
        rest.retain(|cid| *cid != self.base);
        self.unpin(&rest).await;
        let answer = http::request(self.rest(), "POST", "/ipfs/gc?local=true").await;
        let answer = answer.expect("the peer answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        self.check();
        let left = self.stored(DIES).await;
        assert_eq!(left, self.base_bytes, "bytes of blocks that nobody holds");
        // What the node believes is what is there.
        let on_disk = blocks::bytes(&self.ipfs()).expect("it has blocks");
        assert!(
            (left..left + left / 2).contains(&on_disk),
            "{on_disk} bytes are on disk for blocks of {left}"
        );
    }
}

/// Orders a pin as soon as the metrics of both peers are there again.
async fn order(port: u16, path: &str) {
    until("a pin on both peers", LIMIT, || async {
        let answer = http::request(port, "POST", path).await;
        let answer = answer.map_err(|e| e.to_string())?;
        match answer.status {
            200 => Ok(()),
            _ => Err(answer.text()),
        }
    })
    .await;
}

/// Whether a peer says this of a CID on its own node.
async fn local_status(port: u16, cid: &str, wanted: &str) -> Result<(), String> {
    let path = format!("/pins/{cid}?local=true");
    let answer = http::request(port, "GET", &path).await;
    let answer = answer.map_err(|e| e.to_string())?;
    let info: serde_json::Value = answer.json().map_err(|e| e.to_string())?;
    let peers = info["peer_map"].as_object().ok_or("no peer_map")?;
    match peers.values().next() {
        Some(peer) if peer["status"] == wanted => Ok(()),
        _ => Err(answer.text()),
    }
}
