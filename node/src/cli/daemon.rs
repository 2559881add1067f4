//! `daemon`: runs the peer until it is asked to stop.

use std::process::ExitCode;

use ipfs_cluster_node::{
    config::{self, Config, Loaded, listen},
    env::{Addr, Env, real},
    node::{self, Exit, RunningNode, StartOptions},
    spans::Exporter,
    storage::DataFolder,
};

use super::{
    Failure, Shell,
    addresses::{self, Addresses},
    args::Daemon,
    signals::Signals,
    systemd,
    telemetry::{self, Log},
};

impl Shell {
    pub(super) async fn daemon(&self, args: &Daemon, log: Log) -> Result<ExitCode, Failure> {
        let mut loaded = self.load().await?;
        loaded.config.tracing.enabled |= args.tracing;
        let exporter = self.exporter(&loaded.config)?;
        log.start(exporter.as_ref());
        telemetry::raise_open_files();
        let ended = self.run(args, loaded).await;
        if let Some(exporter) = exporter {
            exporter.shutdown().await;
        }
        ended
    }

    /// What sends spans to a collector, if that is wanted.
    fn exporter(&self, config: &Config) -> Result<Option<Exporter>, Failure> {
        let (peer, connect) = (&config.identity.peer, &self.env.connect);
        let exporter = Exporter::start(&config.tracing, &self.vars, peer, connect);
        exporter.map_err(|e| Failure::new("setting up tracing", e))
    }

    async fn run(&self, args: &Daemon, loaded: Loaded) -> Result<ExitCode, Failure> {
        let _lock = self.lock()?;
        self.check_go_state(args)?;
        addresses::forget(&self.folder, &*self.env.disk);
        let config = with_flags(announce(loaded), args);
        let mut stop = Stop {
            signals: Signals::listen().map_err(|e| Failure::new("starting", e))?,
            stdin: args
                .until_stdin_ends
                .then(|| Box::pin(stdin_ends(&self.env)) as _),
        };
        let who = Who::of(&config);
        let leaves = config.cluster.leave_on_shutdown;
        let options = StartOptions {
            bootstrap: args.bootstrap.clone(),
            process: Some(real::process_usage),
        };
        let started = tokio::select! {
            biased;
            () = stop.asked() => return Ok(ExitCode::SUCCESS),
            started = Box::pin(node::start(config, self.env.clone(), options)) => started,
        };
        let mut running = started.map_err(|e| Failure::new("starting cluster", e))?;
        let published = who
            .told(&running)
            .publish(&self.folder, &self.env.disk)
            .map_err(|e| Failure::new("writing addresses.json", e))?;
        systemd::ready();
        let exit = tokio::select! {
            biased;
            () = stop.asked() => None,
            exit = running.ended() => Some(exit),
        };
        drop(published);
        systemd::stopping();
        let end = tokio::select! {
            biased;
            () = stop.signals.third() => return Ok(ExitCode::FAILURE),
            end = Box::pin(end(running, exit, leaves)) => end,
        };
        self.settle(end).await
    }

    /// A folder with the Go program's state and none of ours is refused: the pins would be missing.
    fn check_go_state(&self, args: &Daemon) -> Result<(), Failure> {
        let disk = &*self.env.disk;
        let found = config::go_state(&self.folder, disk);
        if args.start_empty || found.is_empty() || disk.exists(&self.folder.join(DataFolder::NAME))
        {
            return Ok(());
        }
        let folder = self.folder.display();
        let text = format!(
            "{folder} holds the state of a Go peer ({}) and none of this program. Take its pins \
             along with\n  \
             GO/ipfs-cluster-service --config {folder} state export -f pins.json\n  \
             ipfs-cluster-service --config {folder} state import pins.json\n\
             where GO is the folder of the Go program, or begin without any: daemon --start-empty. \
             The Go program's folders are left as they are.",
            found.join(", ")
        );
        Err(Failure::new("starting cluster", text))
    }

    /// What is left to do once the peer has stopped, and how the process ends.
    async fn settle(&self, end: End) -> Result<ExitCode, Failure> {
        let how = match end {
            End::Member => return Ok(ExitCode::SUCCESS),
            End::Failed(why) => {
                tracing::error!(%why, "the peer cannot go on");
                return Ok(ExitCode::FAILURE);
            }
            End::Removed => "removed from the cluster",
            End::Left => "left the cluster",
        };
        let aside = self.move_state_aside().await?;
        tracing::info!(state = %aside.display(), "{how}; the state was moved aside");
        Ok(ExitCode::SUCCESS)
    }
}

/// What a peer is to its cluster when its process ends.
enum End {
    /// It will be back.
    Member,
    /// It was taken out.
    Removed,
    /// It took itself out.
    Left,
    /// It broke.
    Failed(String),
}

/// Ends a peer; one that was only asked to stop leaves its cluster first, if it `leaves`.
async fn end(running: RunningNode, exit: Option<Exit>, leaves: bool) -> End {
    let end = match exit {
        Some(Exit::Removed) => End::Removed,
        Some(Exit::Failed(why)) => End::Failed(why),
        None if leaves => match running.leave().await {
            Ok(()) => End::Left,
            Err(e) => {
                tracing::warn!("leave_on_shutdown: this peer could not leave the cluster: {e}");
                End::Member
            }
        },
        None => End::Member,
    };
    running.shutdown().await;
    end
}

/// What asks the peer to stop.
struct Stop {
    signals: Signals,
    /// The end of stdin, if that matters.
    stdin: Option<futures::future::BoxFuture<'static, ()>>,
}

impl Stop {
    async fn asked(&mut self) {
        let Some(stdin) = &mut self.stdin else {
            return self.signals.next().await;
        };
        tokio::select! {
            biased;
            () = self.signals.next() => {}
            () = stdin => tracing::info!("asked to stop: stdin ended"),
        }
    }
}

fn stdin_ends(env: &Env) -> impl Future<Output = ()> + use<> {
    let lane = env.lanes.lane("stdin");
    async move {
        // What comes is of no interest, only that nothing more comes.
        let read = || std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // A closed lane or a broken stdin is an end as well.
        let _ = lane.run(read).await;
    }
}

/// Logs what is odd about a configuration.
pub(super) fn announce(loaded: Loaded) -> Config {
    for warning in &loaded.warnings {
        tracing::warn!("configuration: {warning}");
    }
    for note in &loaded.notes {
        tracing::info!("configuration: {note}");
    }
    loaded.config
}

fn with_flags(mut config: Config, args: &Daemon) -> Config {
    config.cluster.leave_on_shutdown |= args.leave;
    config.metrics.enabled |= args.stats;
    config
}

/// Name and ID of a peer, before its configuration is given away.
pub(super) struct Who {
    id: String,
    peername: String,
}

impl Who {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            id: config.identity.peer.to_string(),
            peername: config.cluster.peername.clone(),
        }
    }

    /// Where the peer can be reached: logged, and for `addresses.json`.
    pub(super) fn told(self, running: &RunningNode) -> Addresses {
        let found = running.addresses();
        let texts =
            |addrs: &[Addr]| -> Vec<String> { addrs.iter().map(listen::multiaddr).collect() };
        let addresses = Addresses {
            pid: std::process::id(),
            id: self.id,
            peername: self.peername,
            rest: texts(&found.rest),
            proxy: texts(&found.proxy),
            metrics: texts(&found.metrics),
            pinning: texts(&found.pinning),
            gateway: texts(&found.gateway),
            ipfs_rpc: texts(&found.ipfs_rpc),
            swarm: found.swarm.iter().map(ToString::to_string).collect(),
        };
        tracing::info!(
            id = addresses.id,
            peername = addresses.peername,
            rest = addresses.rest.join(","),
            proxy = addresses.proxy.join(","),
            pinning = addresses.pinning.join(","),
            swarm = addresses.swarm.join(","),
            "** IPFS Cluster is READY **"
        );
        addresses
    }
}
