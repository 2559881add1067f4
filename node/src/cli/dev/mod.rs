//! `dev`: a whole cluster on this machine, in one process or with a process for each peer.
//!
//! `plan` decides folders, ports and configuration, `inside` and `processes` run the peers, `show`
//! tells the user.

mod inside;
mod plan;
mod processes;
mod show;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use ipfs_cluster_node::env::Disk;

use super::{Failure, Shell, addresses::Addresses, args::Dev, signals::Signals};
use inside::Inside;
use processes::Processes;

/// Between two looks at the cluster.
const INTERVAL: Duration = Duration::from_secs(1);

/// The peers, wherever they run.
enum Peers {
    Inside(Inside),
    Processes(Processes),
}

impl Peers {
    /// What has happened to peers since the last look.
    fn news(&mut self) -> Vec<String> {
        match self {
            Self::Inside(peers) => peers.news(),
            Self::Processes(peers) => peers.news(),
        }
    }

    async fn stop(self) {
        match self {
            Self::Inside(peers) => peers.stop().await,
            Self::Processes(peers) => peers.stop().await,
        }
    }
}

impl Shell {
    pub(super) async fn dev(&self, args: &Dev) -> Result<ExitCode, Failure> {
        let mut signals = Signals::listen().map_err(|e| Failure::new("starting", e))?;
        let folder = Folder::of(args);
        let result = tokio::select! {
            biased;
            () = signals.next() => Ok(None),
            started = Box::pin(self.start_peers(args, &folder.path)) => started.map(Some),
        };
        if let Some((mut peers, addresses)) = result? {
            self.watch(args, &mut peers, &addresses, &mut signals).await;
            tokio::select! {
                biased;
                () = signals.third() => {}
                () = peers.stop() => {}
            }
        }
        folder.clean(&*self.env.disk);
        Ok(ExitCode::SUCCESS)
    }

    /// Starts all peers and waits until they are ready.
    async fn start_peers(
        &self,
        args: &Dev,
        folder: &Path,
    ) -> Result<(Peers, Vec<Addresses>), Failure> {
        let planned = self.plan(args, folder).await?;
        if args.processes {
            let mut peers = Processes::start(planned)?;
            let addresses = peers.ready(&*self.env.disk).await?;
            return Ok((Peers::Processes(peers), addresses));
        }
        let (peers, addresses) = Inside::start(&self.env, planned).await?;
        Ok((Peers::Inside(peers), addresses))
    }

    /// Shows the cluster until a signal comes.
    async fn watch(
        &self,
        args: &Dev,
        peers: &mut Peers,
        addresses: &[Addresses],
        signals: &mut Signals,
    ) {
        let folder = Folder::of(args).path;
        if args.json {
            show::json(addresses, args.processes, &folder);
            return signals.next().await;
        }
        show::welcome(addresses, args.processes, &folder);
        let mut line = show::Line::default();
        loop {
            for news in peers.news() {
                line.say(&news);
            }
            line.show(&show::state(&self.env, addresses).await);
            tokio::select! {
                biased;
                () = signals.next() => break,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
        line.say("stopping");
    }
}

/// Where everything is kept.
struct Folder {
    path: PathBuf,
    /// Removed at the end.
    temporary: bool,
}

impl Folder {
    fn of(args: &Dev) -> Self {
        match &args.folder {
            Some(path) => Self {
                path: path.clone(),
                temporary: false,
            },
            None => Self {
                path: std::env::temp_dir().join(format!("ipfs-cluster-dev-{}", std::process::id())),
                temporary: true,
            },
        }
    }

    fn clean(&self, disk: &dyn Disk) {
        if self.temporary
            && disk.exists(&self.path)
            && let Err(e) = disk.remove_dir_all(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), error = %e, "the folder stays behind");
        }
    }
}
