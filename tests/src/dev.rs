//! A cluster that `ipfs-cluster-service dev` runs.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tempfile::TempDir;

use crate::{binary, peer::port};

/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(20);

/// The command, and the peers it told of when they were ready.
#[derive(Debug)]
pub struct Dev {
    child: Child,
    /// In the order it told them.
    pub peers: Vec<DevPeer>,
    folder: TempDir,
}

/// One of its peers, as `--json` tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct DevPeer {
    /// Its peer ID.
    pub id: String,
    /// Its process: with `--processes` one of its own.
    pub pid: u32,
    /// Where everything of it is.
    pub folder: PathBuf,
    rest: Vec<String>,
    proxy: Vec<String>,
    gateway: Vec<String>,
    ipfs_rpc: Vec<String>,
}

#[derive(Deserialize)]
struct Told {
    peers: Vec<DevPeer>,
}

impl Dev {
    /// Starts it with `--json`, these arguments and a folder of its own, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut child = Command::new(binary::service())
            .args(["dev", "--json", "--folder"])
            .arg(folder.path().join("dev"))
            .args(args)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its output can be read");
        let told: Told = serde_json::from_str(&line)
            .unwrap_or_else(|e| panic!("dev did not say that it is ready: {e}: {line:?}"));
        Self {
            child,
            peers: told.peers,
            folder,
        }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("dev")
    }

    /// Sends it what ctrl-c sends, and waits for its end.
    ///
    /// # Panics
    /// When it cannot be told.
    pub fn interrupt(&mut self) -> ExitStatus {
        signal("-INT", self.child.id());
        self.child.wait().expect("a child can be waited for")
    }

    /// Ends one of its peers as a power cut would.
    ///
    /// # Panics
    /// When it is in the command's own process, or cannot be told.
    pub fn kill_peer(&self, number: usize) {
        let pid = self.peers[number].pid;
        assert_ne!(pid, self.child.id(), "start it with --processes");
        signal("-9", pid);
    }
}

fn signal(which: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([which, &pid.to_string()])
        .status();
    assert!(sent.expect("kill runs").success(), "kill {which} {pid}");
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its peers must be gone before their folders are.
        if matches!(self.child.try_wait(), Ok(None)) {
            let pid = self.child.id().to_string();
            let _ = Command::new("kill").args(["-INT", &pid]).status();
        }
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < STOP {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DevPeer {
    /// The port of its REST API.
    #[must_use]
    pub fn rest_port(&self) -> u16 {
        port(&self.rest)
    }

    /// The port of its IPFS proxy.
    #[must_use]
    pub fn proxy_port(&self) -> u16 {
        port(&self.proxy)
    }

    /// The port of its IPFS node's gateway.
    #[must_use]
    pub fn gateway_port(&self) -> u16 {
        port(&self.gateway)
    }

    /// The port of its IPFS node's RPC.
    #[must_use]
    pub fn ipfs_rpc_port(&self) -> u16 {
        port(&self.ipfs_rpc)
    }

    /// Runs `ipfs-cluster-ctl` against it: exit code, stdout, stderr.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> (i32, String, String) {
        binary::run_ctl(self.rest.first().map_or("", String::as_str), args)
    }
}
