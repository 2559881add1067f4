//! One peer: a folder, a process, a log.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    binary,
    http::{self, Answer},
    wait::until,
};

/// How long a peer that has just started may take to catch up with its log.
const RECOVERY: Duration = Duration::from_secs(10);

/// How long a peer may take to be ready, or to stop. Generous: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);
/// Lines of a log that are shown when a test fails.
const LOG_LINES: usize = 60;

/// Where a peer says that it can be reached.
#[derive(Debug, Clone, Deserialize)]
pub struct Addresses {
    /// Its process.
    pub pid: u32,
    /// Its peer ID.
    pub id: String,
    /// Of the REST API.
    pub rest: Vec<String>,
    /// Of the IPFS proxy.
    pub proxy: Vec<String>,
    /// Of the metrics.
    #[serde(default)]
    pub metrics: Vec<String>,
    /// Of the RPC of its own IPFS node.
    #[serde(default)]
    pub ipfs_rpc: Vec<String>,
    /// Of the Pinning Service API.
    pub pinning: Vec<String>,
    /// Of its swarm, with `/p2p/`.
    pub swarm: Vec<String>,
}

/// A peer, running or not.
#[derive(Debug)]
pub struct Peer {
    /// Shown by the cluster.
    pub name: String,
    /// Its configuration folder.
    pub folder: PathBuf,
    vars: Vec<(String, String)>,
    /// Bytes that one of its files may have.
    file_bytes: Option<u64>,
    child: Option<Child>,
    addresses: Option<Addresses>,
}

impl Peer {
    /// Writes a configuration folder; `vars` count at every start.
    ///
    /// # Panics
    /// When `init` fails.
    #[must_use]
    pub fn init(name: &str, folder: &Path, vars: Vec<(String, String)>) -> Self {
        Self::init_with(name, folder, vars, "embedded")
    }

    /// The same with this kind of IPFS node.
    ///
    /// # Panics
    /// When `init` fails.
    #[must_use]
    pub fn init_with(name: &str, folder: &Path, vars: Vec<(String, String)>, ipfs: &str) -> Self {
        let peer = Self::of(name, folder, vars);
        let output = peer
            .command(&["init", "--ipfs", ipfs])
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "init of {name}: {output:?}");
        peer
    }

    /// Changes its `service.json`, from the next start on.
    ///
    /// # Panics
    /// When there is none, or it is no JSON.
    pub fn edit(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let path = self.folder.join("service.json");
        let text = fs::read(&path).expect("init wrote it");
        let mut config = serde_json::from_slice(&text).expect("it is JSON");
        change(&mut config);
        fs::write(&path, config.to_string()).expect("it can be written");
    }

    /// The peer of a folder that is there already.
    #[must_use]
    pub fn of(name: &str, folder: &Path, vars: Vec<(String, String)>) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            vars,
            file_bytes: None,
            child: None,
            addresses: None,
        }
    }

    /// From the next start on, no file of its process may get longer than this: the next write fails
    /// as on a full disk.
    pub fn limit_files(&mut self, bytes: Option<u64>) {
        self.file_bytes = bytes;
    }

    /// Changes what counts from the next start on.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.vars.retain(|(name, _)| name != variable);
        self.vars.push((variable.to_owned(), value.to_owned()));
    }

    /// A command of the program in this peer's folder.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.file_bytes {
            None => Command::new(binary::service()),
            Some(bytes) => {
                // The shell counts in 512 bytes, and gives way to the program.
                let limited = format!("ulimit -f {} && exec \"$0\" \"$@\"", bytes / 512);
                let mut shell = Command::new("sh");
                shell.args(["-c", &limited]).arg(binary::service());
                shell
            }
        };
        command.env_clear().envs(self.vars.iter().cloned());
        command.arg("--config").arg(&self.folder).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Starts the process, which is then on its own way; its log goes on in the same file.
    ///
    /// # Panics
    /// When it runs already or cannot be started.
    pub fn spawn(&mut self, bootstrap: &[String]) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(self.log_path());
        let log = log.expect("the log can be opened");
        let list = bootstrap.join(",");
        let mut args = vec!["--log-format", "json", "daemon", "--until-stdin-ends"];
        if !bootstrap.is_empty() {
            args.extend(["--bootstrap", &list]);
        }
        let mut command = self.command(&args);
        // Piped and held: when the test is gone, so is the peer.
        command.stdin(Stdio::piped());
        command.stdout(log.try_clone().expect("a file can be shared"));
        command.stderr(log);
        self.child = Some(command.spawn().expect("the program starts"));
        self.addresses = None;
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        let child = self.child.as_ref();
        child
            .unwrap_or_else(|| panic!("{} does not run", self.name))
            .id()
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// When it ends before, or is not ready in time.
    pub async fn ready(&mut self) {
        if let Err(code) = self.ready_or_ended().await {
            panic!("{} ended with {code:?}:\n{}", self.name, self.log_tail());
        }
    }

    fn look(&self) -> Result<Addresses, String> {
        let child = self.child.as_ref().ok_or("it was not started")?;
        let text = fs::read(self.folder.join("addresses.json")).map_err(|e| e.to_string())?;
        let found: Addresses = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        if found.pid == child.id() {
            Ok(found)
        } else {
            Err("an old addresses.json".to_owned())
        }
    }

    /// Waits until it is ready, or has ended: then its exit code.
    ///
    /// # Panics
    /// When neither comes in time.
    pub async fn ready_or_ended(&mut self) -> Result<(), Option<i32>> {
        let what = format!("{} ready or ended", self.name);
        let outcome = until(&what, LIMIT, || {
            let ended = self.child.as_mut().map(Child::try_wait);
            std::future::ready(match ended {
                Some(Ok(Some(status))) => Ok(Err(status.code())),
                _ => self.look().map(Ok),
            })
        });
        match outcome.await {
            Ok(addresses) => {
                self.addresses = Some(addresses);
                Ok(())
            }
            Err(code) => {
                self.child = None;
                Err(code)
            }
        }
    }

    /// Where it can be reached.
    ///
    /// # Panics
    /// When it was never ready since its last start.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        let found = self.addresses.as_ref();
        found.unwrap_or_else(|| panic!("{} is not ready", self.name))
    }

    /// Whether it was ready since its last start.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.addresses.is_some()
    }

    /// What it says it is in the consensus: `leader`, `follower`, …; none if it does not answer.
    pub async fn role(&self) -> Option<String> {
        let text = self.rest("GET", "/metrics").await.ok()?.text();
        let mut roles = text.lines().filter_map(|line| {
            line.strip_prefix("ipfscluster_raft_role{role=\"")?
                .strip_suffix("\"} 1")
        });
        roles.next().map(str::to_owned)
    }

    /// The port of its REST API.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn rest_port(&self) -> u16 {
        port(&self.addresses().rest)
    }

    /// The port of its IPFS proxy.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn proxy_port(&self) -> u16 {
        port(&self.addresses().proxy)
    }

    /// The port of its metrics.
    ///
    /// # Panics
    /// When they have none.
    #[must_use]
    pub fn metrics_port(&self) -> u16 {
        port(&self.addresses().metrics)
    }

    /// The port of its Pinning Service API.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn pinning_port(&self) -> u16 {
        port(&self.addresses().pinning)
    }

    /// The port of the RPC of its own IPFS node.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn ipfs_rpc_port(&self) -> u16 {
        port(&self.addresses().ipfs_rpc)
    }

    /// The port of its swarm.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn swarm_port(&self) -> u16 {
        port(&self.addresses().swarm)
    }

    /// A request to its REST API.
    pub async fn rest(&self, method: &str, path: &str) -> io::Result<Answer> {
        let begun = Instant::now();
        loop {
            let answer = http::request(self.rest_port(), method, path).await?;
            // A peer that has just started asks to be asked again in a moment.
            let recovers = answer.status == 503 && answer.text().contains("recovering its state");
            if !recovers || begun.elapsed() > RECOVERY {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Runs `ipfs-cluster-ctl` against it: exit code, stdout, stderr.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> (i32, String, String) {
        binary::run_ctl(&self.addresses().rest[0], args)
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// Ends the process as a power cut would.
    ///
    /// # Panics
    /// When the process cannot be reaped.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only when it has ended already.
            let _ = child.kill();
            child.wait().expect("a child can be waited for");
        }
    }

    /// Asks it to stop and waits for its exit code.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub async fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        drop(child.stdin.take());
        let what = format!("{} stopped", self.name);
        let code = until(&what, LIMIT, || {
            std::future::ready(match child.try_wait() {
                Ok(Some(status)) => Ok(status.code()),
                Ok(None) => Err("it still runs".to_owned()),
                Err(e) => Err(e.to_string()),
            })
        });
        code.await
    }

    /// Waits until the process ends by itself; its exit code.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn ended(&mut self) -> Option<i32> {
        let what = format!("{} ended", self.name);
        let mut child = self.child.take()?;
        let code = until(&what, LIMIT, || {
            std::future::ready(match child.try_wait() {
                Ok(Some(status)) => Ok(status.code()),
                _ => Err("it still runs"),
            })
        });
        code.await
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("peer.log")
    }

    /// The whole log.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        // Requests of the test itself would fill it.
        let own = |line: &&str| !line.contains("\"restapilog\"");
        let lines: Vec<&str> = log.lines().filter(own).collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.name, self.log_tail());
        }
        self.kill();
    }
}

/// The TCP port of the first of some multiaddrs.
pub(crate) fn port(addresses: &[String]) -> u16 {
    let first = addresses.first().expect("it has such an address");
    let mut parts = first.split('/').skip_while(|p| *p != "tcp").skip(1);
    let port = parts.next().and_then(|p| p.parse().ok());
    port.unwrap_or_else(|| panic!("{first} has no port"))
}
