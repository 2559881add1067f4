//! The commands of `ipfs-cluster-service`, one file each.
//!
//! Only this folder prints, asks the terminal and ends the process. Errors go to stderr as
//! `error <doing>: <text>`, with exit code 1.

mod addresses;
mod args;
mod daemon;
mod dev;
mod fetch;
mod import;
mod init;
mod raft;
mod signals;
mod state;
mod systemd;
mod telemetry;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use ipfs_cluster_node::{
    config::{self, ConfigError, Loaded, Variables, source},
    env::{Env, real},
};

use args::{Args, Command};
use telemetry::Log;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    doing: &'static str,
    text: String,
}

impl Failure {
    fn new(doing: &'static str, text: impl fmt::Display) -> Self {
        Self {
            doing,
            text: text.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {}: {}", self.doing, self.text)
    }
}

/// What every command needs.
struct Shell {
    folder: PathBuf,
    vars: Variables,
    env: Env,
    force: bool,
}

/// Runs a command line to its exit code.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match args::parse(args) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let Some(command) = args.command.as_ref() else {
        return args::help();
    };
    match dispatch(&args, command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &Args, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Version => {
            println!("{}", args::VERSION);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Completion { shell } => {
            let name = "ipfs-cluster-service";
            clap_complete::generate(*shell, &mut args::whole(), name, &mut std::io::stdout());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Man { folder } => {
            let written = args::manual(folder.as_deref());
            written.map_err(|e| Failure::new("writing the manual", e))?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    // Three peers in one process would bury what `dev` shows.
    let level = if matches!(command, Command::Dev(_)) {
        "error"
    } else {
        "info"
    };
    let log = Log::new(&args.global, level);
    let log = log.map_err(|e| Failure::new("setting up the log", e))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("starting", e))?;
    runtime.block_on(async {
        let shell = Shell {
            folder: folder(args)?,
            vars: std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
            env: real::env(),
            force: args.global.force,
        };
        // A daemon's configuration says what there is beside its log.
        if let Command::Daemon(daemon) = command {
            return shell.daemon(daemon, log).await;
        }
        log.start(None);
        match command {
            Command::Init(init) => shell.init(init).await,
            Command::Dev(dev) => {
                telemetry::raise_open_files();
                shell.dev(dev).await
            }
            Command::State { command } => shell.state(command).await,
            Command::Raft { command } => shell.raft(command).await,
            Command::Daemon(_)
            | Command::Version
            | Command::Completion { .. }
            | Command::Man { .. } => Ok(ExitCode::SUCCESS),
        }
    })
}

/// The configuration folder: the flag, the variable (clap reads both), or the one of the user.
fn folder(args: &Args) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.global.config {
        return Ok(folder.clone());
    }
    let home = std::env::var_os("HOME").filter(|h| !h.is_empty());
    let home = home.ok_or_else(|| {
        Failure::new(
            "finding the configuration folder",
            "HOME is not set: use --config",
        )
    })?;
    Ok(Path::new(&home).join(".ipfs-cluster"))
}

impl Shell {
    /// The folder's configuration, fetched where the file says so.
    async fn load(&self) -> Result<Loaded, Failure> {
        let failed = |e: ConfigError| Failure::new("loading configurations", e);
        let disk = &*self.env.disk;
        let Some(url) = source::source(&self.folder, disk).map_err(failed)? else {
            return config::load(&self.folder, disk, &self.vars).map_err(failed);
        };
        let fetched = source::fetch(&self.env.connect, &url).await;
        let fetched = fetched.map_err(failed)?;
        let from = (url.as_str(), fetched.as_slice());
        let mut loaded = config::load_fetched(&self.folder, disk, &self.vars, from);
        if let Ok(loaded) = &mut loaded {
            loaded.notes.push(format!("fetched from {url}"));
        }
        loaded.map_err(failed)
    }

    /// Keeps other processes out of the folder while the value lives.
    fn lock(&self) -> Result<Arc<dyn Send + Sync>, Failure> {
        let path = self.folder.join("cluster.lock");
        let locked = self.env.disk.lock(&path);
        locked.map(Arc::from).map_err(|e| {
            let why = match e.kind() {
                std::io::ErrorKind::WouldBlock => "someone else has the lock".to_owned(),
                _ => e.to_string(),
            };
            let path = path.display();
            let text = format!(
                "lock {path}: {why}. If no other ipfs-cluster-service process is running, remove \
                 {path}, or make sure that the config folder is writable for the user running \
                 ipfs-cluster-service."
            );
            Failure::new("obtaining execution lock", text)
        })
    }

    /// Asks, unless forced.
    fn confirmed(&self, force: bool, question: &str) -> Result<bool, Failure> {
        if force || self.force {
            return Ok(true);
        }
        let answer = ask(&format!("{question} [y/n]: "))?;
        Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
    }
}

/// One line of the terminal.
fn ask(question: &str) -> Result<String, Failure> {
    use std::io::Write;
    let doing = "asking";
    print!("{question}");
    std::io::stdout()
        .flush()
        .map_err(|e| Failure::new(doing, e))?;
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|e| Failure::new(doing, e))?;
    Ok(line.trim().to_owned())
}
