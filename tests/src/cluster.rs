//! Several peers with relays between them.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::{
    http,
    peer::Peer,
    relay::{Relay, Sky, Weather},
    wait::until,
};

/// How long the cluster may take to agree. Generous: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);
/// A secret for all peers of a test.
pub const SECRET: &str = "5c1d1fd5ee5a1d3a9e1a3f1b0c2d4e6f8091a2b3c4d5e6f708192a3b4c5d6e7f";

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many peers.
    pub peers: usize,
    /// Variables for all of them, over the harness's own.
    pub vars: Vec<(String, String)>,
    /// Changes the `service.json` of the peer of a number, from 0, before its first start.
    pub edit: Option<fn(usize, &mut Value)>,
    /// Peers that have an IPFS node of their own, at an address, instead of the embedded one.
    pub nodes: Vec<(usize, String)>,
    /// Whether the peers cannot be asked what they see, because they want to know who asks.
    pub closed: bool,
    /// Whether they advertise themselves, with no relay in between. Then the first keeps its port,
    /// as a peer does that others are told to start from; the others get new ones at each start.
    pub direct: bool,
}

impl Setup {
    /// So many peers with quick metrics.
    #[must_use]
    pub fn of(peers: usize) -> Self {
        Self {
            peers,
            vars: Vec::new(),
            edit: None,
            nodes: Vec::new(),
            closed: false,
            direct: false,
        }
    }

    /// The same with changed configurations.
    #[must_use]
    pub fn edited(mut self, edit: fn(usize, &mut Value)) -> Self {
        self.edit = Some(edit);
        self
    }

    /// The same with the IPFS node of a peer at a multiaddr.
    #[must_use]
    pub fn with_node(mut self, number: usize, address: &str) -> Self {
        self.nodes.push((number, address.to_owned()));
        self
    }

    /// The same, of a single peer whose API is closed to strangers.
    #[must_use]
    pub fn closed(mut self) -> Self {
        self.closed = true;
        self
    }

    /// The same with an RPC of their own for the embedded IPFS nodes.
    #[must_use]
    pub fn with_ipfs_rpc(self) -> Self {
        self.with(
            "CLUSTER_EMBEDDED_RPCLISTENMULTIADDRESS",
            "/ip4/127.0.0.1/tcp/0",
        )
    }

    /// The same without relays.
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// The same with a variable.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.vars.push((variable.to_owned(), value.to_owned()));
        self
    }
}

/// Peers of one cluster, and the relay in front of each.
#[derive(Debug)]
pub struct Cluster {
    /// By number, from 0.
    pub peers: Vec<Peer>,
    relays: Vec<Relay>,
    /// Of the first peer's swarm, where there are no relays.
    first_port: Option<u16>,
    sky: watch::Sender<Sky>,
    setup: Setup,
    folder: TempDir,
    _turn: SemaphorePermit<'static>,
}

/// Clusters at once: more of them starve each other on a small machine.
static TURNS: Semaphore = Semaphore::const_new(1);

impl Cluster {
    /// Starts a cluster: the first peer forms it, the others join through the first.
    ///
    /// # Panics
    /// When a peer does not get ready, or they do not see each other.
    pub async fn start(setup: Setup) -> Self {
        let mut cluster = Self {
            peers: Vec::new(),
            relays: Vec::new(),
            first_port: None,
            sky: watch::Sender::default(),
            _turn: TURNS
                .acquire()
                .await
                .expect("the semaphore is never closed"),
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            setup,
        };
        for _ in 0..cluster.setup.peers {
            cluster.add().await;
        }
        if !cluster.setup.closed {
            cluster.all_see_each_other().await;
            cluster.enough_voters().await;
        }
        cluster
    }

    /// One more peer, which joins through those that run.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn add(&mut self) -> usize {
        let number = self.init().await;
        self.restart(number).await;
        number
    }

    /// One more peer, which has a folder and does not run yet.
    ///
    /// # Panics
    /// When its folder or its relay cannot be made.
    pub async fn init(&mut self) -> usize {
        let number = self.peers.len();
        let relay = Relay::start(number, &self.sky)
            .await
            .expect("a relay can listen");
        let name = format!("peer{}", number + 1);
        let mut vars = self.vars(&name, relay.port());
        let node = self.setup.nodes.iter().find(|(n, _)| *n == number);
        if let Some((_, address)) = node {
            vars.push(("CLUSTER_IPFSHTTP_NODEMULTIADDRESS".into(), address.clone()));
            vars.push(("CLUSTER_IPFSPROXY_NODEMULTIADDRESS".into(), address.clone()));
        }
        let kind = node.map_or("embedded", |_| "http");
        let peer = Peer::init_with(&name, &self.folder.path().join(&name), vars, kind);
        if let Some(edit) = self.setup.edit {
            peer.edit(|config| edit(number, config));
        }
        self.peers.push(peer);
        self.relays.push(relay);
        number
    }

    /// Variables of a peer: the common ones, its relay as its address, quick metrics.
    fn vars(&self, name: &str, relay: u16) -> Vec<(String, String)> {
        let mut vars = loopback(name);
        let mut set = |variable: &str, value: &str| {
            vars.retain(|(n, _)| n != variable);
            vars.push((variable.to_owned(), value.to_owned()));
        };
        if !self.setup.direct {
            let relay = format!("/ip4/127.0.0.1/tcp/{relay}");
            set("CLUSTER_ANNOUNCEMULTIADDRESS", &relay);
        }
        for (name, value) in &self.setup.vars {
            set(name, value);
        }
        vars
    }

    /// Addresses of the other peers that run.
    fn way_in(&mut self, number: usize) -> Vec<String> {
        let running = self.running();
        let others = running.into_iter().filter(|n| *n != number);
        others.map(|n| self.address(n)).collect()
    }

    /// Where others reach a peer that is ready.
    ///
    /// # Panics
    /// When it was never ready since its last start.
    #[must_use]
    pub fn address(&self, number: usize) -> String {
        let addresses = self.peers[number].addresses();
        if self.setup.direct {
            return addresses.swarm[0].clone();
        }
        let port = self.relays[number].port();
        format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", addresses.id)
    }

    /// Starts the process on a swarm port of its own, and leads its relay there.
    fn spawn(&mut self, number: usize, bootstrap: &[String]) {
        let port = if self.setup.direct && number == 0 {
            *self.first_port.get_or_insert_with(free_port)
        } else {
            free_port()
        };
        let listen = format!("/ip4/127.0.0.1/tcp/{port}");
        self.peers[number].set("CLUSTER_LISTENMULTIADDRESS", &listen);
        self.relays[number].lead_to(port);
        self.peers[number].spawn(bootstrap);
        let pid = self.peers[number].pid();
        self.sky.send_modify(|sky| sky.moved(number, pid));
    }

    async fn launch(&mut self, number: usize, bootstrap: &[String]) {
        self.spawn(number, bootstrap);
        self.peers[number].ready().await;
    }

    /// Starts a peer again, on new ports, with the addresses of those that run.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn restart(&mut self, number: usize) {
        let bootstrap = self.way_in(number);
        self.launch(number, &bootstrap).await;
    }

    /// Starts a peer again that is to end by itself; its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn starts_and_ends(&mut self, number: usize) -> Option<i32> {
        let bootstrap = self.way_in(number);
        self.spawn(number, &bootstrap);
        match self.peers[number].ready_or_ended().await {
            Ok(()) => self.peers[number].ended().await,
            Err(code) => code,
        }
    }

    /// Starts all peers at once, with the first one's address as at their first start: none can be
    /// ready before a majority runs.
    ///
    /// # Panics
    /// When one does not get ready.
    pub async fn restart_all(&mut self) {
        let first = self.address(0);
        for number in 0..self.peers.len() {
            let bootstrap = if number == 0 {
                vec![]
            } else {
                vec![first.clone()]
            };
            self.spawn(number, &bootstrap);
        }
        for peer in &mut self.peers {
            peer.ready().await;
        }
    }

    /// Changes the weather of a peer, for connections to it and from it.
    pub fn weather(&self, number: usize, weather: Weather) {
        self.sky.send_modify(|sky| sky.set(number, weather));
    }

    /// Waits until every running peer lists every running peer without an error.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn all_see_each_other(&mut self) {
        let running: Vec<usize> = self.running();
        for number in &running {
            let peer = &self.peers[*number];
            let what = format!("{} sees {} peers", peer.name, running.len());
            until(&what, LIMIT, || async {
                let answer = peer
                    .rest("GET", "/peers")
                    .await
                    .map_err(|e| e.to_string())?;
                let ids = answer.items().map_err(|e| e.to_string())?;
                let well = ids.iter().filter(|id| id["error"] == "").count();
                if well >= running.len() {
                    Ok(())
                } else {
                    Err(format!(
                        "it sees {well}: {} {}",
                        answer.status,
                        answer.text()
                    ))
                }
            })
            .await;
        }
    }

    /// Waits until as many peers vote as should: before that, a single loss may cost the majority.
    async fn enough_voters(&self) {
        let most = self.peers.len().min(7);
        let wanted = if most.is_multiple_of(2) {
            most - 1
        } else {
            most
        };
        for peer in &self.peers {
            let what = format!("{} knows {wanted} voters", peer.name);
            until(&what, LIMIT, || async {
                let answer = peer.rest("GET", "/metrics").await;
                let text = answer.map_err(|e| e.to_string())?.text();
                let line = text
                    .lines()
                    .find(|l| l.starts_with("ipfscluster_raft_voters "));
                let voters = line.and_then(|l| l.rsplit(' ').next()).unwrap_or("unknown");
                if voters == wanted.to_string() {
                    Ok(())
                } else {
                    Err(voters.to_owned())
                }
            })
            .await;
        }
    }

    /// Numbers of the peers that run.
    pub fn running(&mut self) -> Vec<usize> {
        let peers = self.peers.iter_mut().enumerate();
        peers
            .filter_map(|(n, peer)| peer.is_running().then_some(n))
            .collect()
    }

    /// The number of the peer that says it leads.
    ///
    /// # Panics
    /// When none does in time.
    pub async fn leader(&self) -> usize {
        until("a leader", LIMIT, || async {
            for (number, peer) in self.peers.iter().enumerate() {
                if peer.is_ready() && peer.role().await == Some("leader".to_owned()) {
                    return Ok(number);
                }
            }
            Err("nobody leads")
        })
        .await
    }

    /// Waits until a peer shows so many peers in this status for a CID.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn until_status(
        &self,
        number: usize,
        cid: &str,
        status: &str,
        count: usize,
    ) -> Value {
        until_status(self.peers[number].rest_port(), cid, status, count).await
    }
}

/// Waits until the peer of a REST port shows so many peers in this status for a CID; what it shows.
///
/// # Panics
/// When that takes too long.
pub async fn until_status(rest: u16, cid: &str, status: &str, count: usize) -> Value {
    let what = format!("{cid} {status} on {count}, as the peer at port {rest} sees it");
    until(&what, LIMIT, || async {
        let answer = http::request(rest, "GET", &format!("/pins/{cid}"))
            .await
            .map_err(|e| e.to_string())?;
        let info: Value = answer.json().map_err(|e| e.to_string())?;
        let peers = info["peer_map"].as_object().ok_or("no peer_map")?;
        let found = peers.values().filter(|p| p["status"] == status).count();
        if found == count {
            Ok(info)
        } else {
            Err(answer.text())
        }
    })
    .await
}

/// Variables of a peer called `name`: everything on loopback and on ports that the kernel gives,
/// the common secret, quick metrics.
#[must_use]
pub fn loopback(name: &str) -> Vec<(String, String)> {
    let zero = "/ip4/127.0.0.1/tcp/0";
    let own = [
        ("PATH", "/usr/bin:/bin"),
        ("CLUSTER_PEERNAME", name),
        ("CLUSTER_SECRET", SECRET),
        ("CLUSTER_LISTENMULTIADDRESS", zero),
        ("CLUSTER_MDNSINTERVAL", "0s"),
        ("CLUSTER_MONITORPINGINTERVAL", "1s"),
        ("CLUSTER_PUBSUBMON_CHECKINTERVAL", "1s"),
        ("CLUSTER_DISK_METRICTTL", "5s"),
        ("CLUSTER_TAGS_METRICTTL", "5s"),
        ("CLUSTER_PINQUEUE_METRICTTL", "5s"),
        ("CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS", zero),
        ("CLUSTER_IPFSPROXY_LISTENMULTIADDRESS", zero),
        ("CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS", zero),
        ("CLUSTER_EMBEDDED_SWARMLISTENMULTIADDRESS", zero),
    ];
    own.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

/// A port that nobody has now.
///
/// # Panics
/// When none is left.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("a listener has a port").port()
}
