//! The real swarms over simulated pipes: secret, noise, yamux, gossip, partitions, crashes.
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_node::{
    env::Env,
    net::{Identity, Net, NetConfig, Topic},
};
use ipfs_cluster_protocol::{
    hello::Hello,
    id::{ClusterId, Epoch, Incarnation, PeerId},
};
use ipfs_cluster_sim::{
    disk::Crash,
    host::Program,
    interpose,
    network::ip,
    simulation::Simulation,
    world::{HostId, Trace},
};

/// A peer that gossips its host number every second and keeps what it hears.
#[derive(Clone)]
struct Gossiper {
    host: HostId,
    keys: Arc<Vec<Identity>>,
    heard: Arc<Mutex<BTreeMap<PeerId, u64>>>,
    held: Arc<Mutex<Option<Net>>>,
}

impl Gossiper {
    fn members(&self) -> BTreeMap<PeerId, Incarnation> {
        let number = (1..).map(Incarnation);
        self.keys
            .iter()
            .map(Identity::peer_id)
            .zip(number)
            .collect()
    }

    fn config(&self) -> NetConfig {
        let key = self.keys[self.host - 1].to_secret().unwrap();
        let first = self.keys[0].peer_id();
        NetConfig {
            psk: Some([7; 32]),
            listen: vec!["/ip4/0.0.0.0/tcp/9096".parse().unwrap()],
            bootstrap: vec![
                format!("/ip4/{}/tcp/9096/p2p/{first}", ip(1))
                    .parse()
                    .unwrap(),
            ],
            ..NetConfig::new(key)
        }
    }

    async fn run(self, env: Env) -> Result<(), String> {
        let net = ipfs_cluster_node::net::start(self.config(), &env)
            .await
            .map_err(|e| e.to_string())?;
        net.set_hello(Hello {
            cluster: Some(ClusterId([1; 16])),
            epoch: Epoch(1),
            incarnation: Some(Incarnation(self.host as u64)),
            ..Hello::default()
        });
        net.set_members(self.members());
        *self.held.lock().unwrap() = Some(net.clone());
        let mut messages = net.subscribe(Topic::Metrics);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut said = 0;
        loop {
            tokio::select! {
                biased;
                Some(message) = messages.recv() => {
                    *self.heard.lock().unwrap().entry(message.from).or_default() += 1;
                }
                _ = tick.tick() => {
                    said += 1;
                    let _ = net.publish(Topic::Metrics, vec![self.host as u8, said]).await;
                }
            }
        }
    }

    fn heard_of(&self, host: HostId) -> u64 {
        let peer = self.keys[host - 1].peer_id();
        *self.heard.lock().unwrap().get(&peer).unwrap_or(&0)
    }
}

impl Program for Gossiper {
    fn main(&mut self, env: Env) -> BoxFuture<'static, Result<(), String>> {
        self.clone().run(env).boxed()
    }

    fn forget(&mut self) {
        *self.held.lock().unwrap() = None;
    }
}

fn start(seed: u64, peers: usize) -> (Simulation, Vec<Gossiper>) {
    let mut sim = Simulation::new(seed, Trace::new(None));
    assert!(interpose::answers(), "libc is not shadowed in this binary");
    let keys = Arc::new((0..peers).map(|_| Identity::generate()).collect());
    let mut programs = Vec::new();
    for host in 1..=peers {
        let program = Gossiper {
            host,
            keys: Arc::clone(&keys),
            heard: Arc::default(),
            held: Arc::default(),
        };
        let id = sim.add(format!("peer{host}"), program.clone());
        sim.boot(id).unwrap();
        programs.push(program);
    }
    (sim, programs)
}

fn all_hear(programs: &[Gossiper], at_least: u64) -> bool {
    programs.iter().all(|p| {
        let mut others = (1..=programs.len()).filter(|host| *host != p.host);
        others.all(|host| p.heard_of(host) >= at_least)
    })
}

#[test]
fn peers_that_know_one_of_them_all_hear_each_other() {
    let (mut sim, programs) = start(1, 4);
    let heard = sim.run_until(Duration::from_secs(30), |_| all_hear(&programs, 2));
    assert!(heard, "{:?}", sim.take_exits());
}

#[test]
fn a_partition_separates_and_its_end_unites() {
    let (mut sim, programs) = start(2, 3);
    assert!(sim.run_until(Duration::from_secs(30), |_| all_hear(&programs, 1)));
    for other in [1, 2] {
        let mut world = sim.world().lock();
        world.network.links().cut(3, other);
        world.network.links().cut(other, 3);
    }
    sim.run_for(Duration::from_secs(2));
    let before = programs[2].heard_of(1);
    sim.run_for(Duration::from_secs(20));
    assert_eq!(programs[2].heard_of(1), before);
    sim.world().lock().network.mend();
    let back = sim.run_until(Duration::from_secs(60), |_| {
        programs[2].heard_of(1) > before + 2 && programs[0].heard_of(3) > before + 2
    });
    assert!(back, "{before} {}", programs[2].heard_of(1));
}

#[test]
fn a_crashed_peer_comes_back() {
    for silent in [false, true] {
        let (mut sim, programs) = start(3, 3);
        assert!(sim.run_until(Duration::from_secs(30), |_| all_hear(&programs, 1)));
        sim.crash(2, Crash::PowerLoss, silent);
        let before = programs[0].heard_of(2);
        sim.run_for(Duration::from_secs(5));
        assert!(programs[0].heard_of(2) <= before + 1);
        sim.boot(2).unwrap();
        let back = sim.run_until(Duration::from_secs(60), |_| {
            programs[0].heard_of(2) > before + 3
        });
        assert!(back, "silent {silent}");
    }
}
