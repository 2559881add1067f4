//! A process for each peer: they can be killed one by one.

use std::{
    fs::OpenOptions,
    io,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ipfs_cluster_node::env::Disk;
use tokio::time::{Instant, sleep};

use super::{Failure, plan::Planned};
use crate::cli::addresses::Addresses;

/// How long the peers may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long a peer may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(15);
/// Between two looks at a process.
const INTERVAL: Duration = Duration::from_millis(50);
const STARTING: &str = "starting a peer";

/// Peers in processes of their own. They stop when this process is gone: it holds their stdin.
pub(super) struct Processes {
    peers: Vec<Peer>,
}

struct Peer {
    planned: Planned,
    child: Child,
    /// Its end was told.
    ended: bool,
}

impl Processes {
    pub(super) fn start(planned: Vec<Planned>) -> Result<Self, Failure> {
        let mut peers = Self { peers: Vec::new() };
        for planned in planned {
            let child = spawn(&planned).map_err(|e| Failure::new(STARTING, e))?;
            peers.peers.push(Peer {
                planned,
                child,
                ended: false,
            });
        }
        Ok(peers)
    }

    /// Waits until all are ready.
    pub(super) async fn ready(&mut self, disk: &dyn Disk) -> Result<Vec<Addresses>, Failure> {
        let deadline = Instant::now() + READY;
        let mut found = Vec::new();
        for peer in &mut self.peers {
            let addresses = loop {
                match Addresses::read(&peer.planned.folder, disk) {
                    Ok(addresses) if addresses.pid == peer.child.id() => break addresses,
                    _ => peer.must_run(deadline)?,
                }
                sleep(INTERVAL).await;
            };
            found.push(addresses);
        }
        Ok(found)
    }

    pub(super) fn news(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        for peer in self.peers.iter_mut().filter(|p| !p.ended) {
            if let Ok(Some(status)) = peer.child.try_wait() {
                peer.ended = true;
                let name = &peer.planned.config.cluster.peername;
                news.push(format!(
                    "{name} (process {}) ended: {status}",
                    peer.child.id()
                ));
            }
        }
        news
    }

    /// Lets all go, then waits for each.
    pub(super) async fn stop(mut self) {
        for peer in &mut self.peers {
            drop(peer.child.stdin.take());
        }
        let deadline = Instant::now() + STOP;
        for peer in &mut self.peers {
            while matches!(peer.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                sleep(INTERVAL).await;
            }
        }
    }
}

impl Peer {
    fn must_run(&mut self, deadline: Instant) -> Result<(), Failure> {
        let log = self.log();
        let why = match self.child.try_wait() {
            Ok(None) if Instant::now() < deadline => return Ok(()),
            Ok(None) => format!("it is not ready after {READY:?}, see {log}"),
            Ok(Some(status)) => format!("it ended with {status}, see {log}"),
            Err(e) => e.to_string(),
        };
        let name = &self.planned.config.cluster.peername;
        Err(Failure::new(STARTING, format!("{name}: {why}")))
    }

    fn log(&self) -> String {
        self.planned.folder.join("peer.log").display().to_string()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(planned: &Planned) -> io::Result<Child> {
    let log = planned.folder.join("peer.log");
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--config").arg(&planned.folder);
    command.args(["--log-format", "json", "daemon", "--until-stdin-ends"]);
    if !planned.bootstrap.is_empty() {
        let list: Vec<String> = planned.bootstrap.iter().map(ToString::to_string).collect();
        command.arg("--bootstrap").arg(list.join(","));
    }
    // A group of its own: ctrl-c is for this process, which then lets them go in order.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
        .envs(&planned.vars)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}
