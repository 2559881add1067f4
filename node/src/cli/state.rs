//! `state`: the peer's copy of the pinset, on its own.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use ipfs_cluster_node::{
    config::{self, Config},
    consensus::Offline,
    storage::DataFolder,
};
use ipfs_cluster_protocol::{export, id::Seq, limits, state::query};

use super::{Failure, Shell, addresses::Addresses, args::State, fetch};

/// Pins read from the store at once.
const PAGE: usize = 1000;
const EXPORTING: &str = "exporting state";

/// Where an export goes.
type Output = Box<dyn Write + Send>;

impl Shell {
    pub(super) async fn state(&self, command: &State) -> Result<ExitCode, Failure> {
        match command {
            State::Export { file } => self.export(file.as_deref()).await?,
            State::Import(args) => self.import(args).await?,
            State::Cleanup { force } => {
                let question = "The peer's state will be moved aside. Continue?";
                if !self.confirmed(*force, question)? {
                    return Ok(ExitCode::SUCCESS);
                }
                self.cleanup().await?;
            }
            State::Crdt { .. } => {
                let text = "crdt subcommands can only be run on peers initialized with crdt \
                            consensus, which this program does not have";
                return Err(Failure::new("running the command", text));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn export(&self, file: Option<&Path>) -> Result<(), Failure> {
        let failed = |e: io::Error| Failure::new(EXPORTING, e);
        let mut output = output(file).map_err(failed)?;
        match Addresses::read(&self.folder, &*self.env.disk) {
            Ok(addresses) if self.lock().is_err() => {
                self.export_running(&addresses, &mut output).await?;
            }
            _ => self.export_stopped(&mut output).await?,
        }
        output.flush().map_err(failed)
    }

    /// Asks the running peer.
    async fn export_running(
        &self,
        addresses: &Addresses,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let failed = |text: String| Failure::new(EXPORTING, text);
        let config = self.load().await?.config;
        let address = addresses.rest.first().ok_or_else(|| {
            failed("the running peer has no REST API: stop it, then export again".to_owned())
        })?;
        let answer = fetch::get(
            &self.env,
            address,
            "/allocations?requests=true",
            config.rest.as_ref(),
        );
        let mut answer = answer.await.map_err(failed)?;
        while answer.has_body()
            && let Some(piece) = answer.piece().await.map_err(failed)?
        {
            let written = output.write_all(&piece);
            written.map_err(|e| failed(e.to_string()))?;
        }
        Ok(())
    }

    /// Reads the files of a peer that does not run.
    async fn export_stopped(&self, output: &mut Output) -> Result<(), Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::new(EXPORTING, e);
        let _lock = self.lock()?;
        let path = self.folder.join(DataFolder::NAME).join("state.redb");
        if !self.env.disk.exists(&path) {
            let text = format!("{}: the peer has no state yet", path.display());
            return Err(Failure::new(EXPORTING, text));
        }
        let identity = config::load_identity(&self.folder, &*self.env.disk, &self.vars);
        let me = identity.map_err(|e| failed(&e))?.peer;
        let offline = Offline::open(&self.env, &self.folder).await;
        let offline = offline.map_err(|e| failed(&e))?;
        if let Some(left) = offline.settle(&me).await.map_err(|e| failed(&e))? {
            eprintln!(
                "not exported: {} changes in entries {} to {} of this peer's log, of which it is \
                 not known whether a majority of the cluster has them; start the peer and export \
                 again to have them settled",
                left.commands, left.first, left.last
            );
        }
        let store = offline.state();
        let mut from = Some(Seq(0));
        while let Some(seq) = from {
            let page = store.read(move |read| query::exported(read, seq, PAGE));
            let (pins, next) = page.await.map_err(|e| failed(&e))?;
            for (pin, requests) in pins {
                let written = output.write_all(export::line(&pin, requests).as_bytes());
                written.map_err(|e| failed(&e))?;
            }
            from = next;
        }
        offline.close().await.map_err(|e| failed(&e))
    }

    async fn cleanup(&self) -> Result<(), Failure> {
        let folder = self.folder.join(DataFolder::NAME);
        let _lock = self.lock()?;
        if self.env.disk.exists(&folder) {
            let aside = self.move_state_aside().await?;
            self.keep_ledger(&aside)?;
            println!("the state was moved to {}", aside.display());
        } else {
            println!("{} does not exist: nothing to clean up", folder.display());
        }
        Ok(())
    }

    /// What is the cluster's on the IPFS node stays so when the peer joins its cluster again; should
    /// it come to another one, the tracker leaves this ledger behind.
    fn keep_ledger(&self, aside: &Path) -> Result<(), Failure> {
        let disk = &*self.env.disk;
        let ledger = aside.join(DataFolder::LEDGER);
        if !disk.exists(&ledger) {
            return Ok(());
        }
        let folder = self.folder.join(DataFolder::NAME);
        let kept = disk.create_dir_all(&folder).and_then(|()| {
            let bytes = disk.read(&ledger, limits::LEDGER_BYTES_MAX)?;
            disk.write_atomic(&folder.join(DataFolder::LEDGER), &bytes)
        });
        kept.map_err(|e| Failure::new("keeping the ledger of pins", e))
    }

    /// Moves the data folder aside, keeping as many old ones as configured; where it is then.
    pub(super) async fn move_state_aside(&self) -> Result<PathBuf, Failure> {
        let config = self.load().await?.config;
        self.move_aside(&config)
    }

    /// The same with a configuration that is known.
    pub(super) fn move_aside(&self, config: &Config) -> Result<PathBuf, Failure> {
        let disk = &*self.env.disk;
        let folder = self.folder.join(DataFolder::NAME);
        let old = |n: u32| PathBuf::from(format!("{}.old.{n}", folder.display()));
        let rotate = || -> io::Result<()> {
            let last = config.raft.backups_rotate.saturating_sub(1);
            if disk.exists(&old(last)) {
                disk.remove_dir_all(&old(last))?;
            }
            for n in (0..last).rev().filter(|n| disk.exists(&old(*n))) {
                disk.rename(&old(n), &old(n + 1))?;
            }
            disk.rename(&folder, &old(0))?;
            disk.sync_dir(&self.folder)
        };
        rotate().map_err(|e| Failure::new("moving the state aside", e))?;
        Ok(old(0))
    }
}

fn output(file: Option<&Path>) -> io::Result<Output> {
    match file {
        None => Ok(Box::new(io::BufWriter::new(io::stdout()))),
        Some(path) => {
            #[allow(
                clippy::disallowed_methods,
                reason = "the user names a file of their own"
            )]
            let file = std::fs::File::create(path)?;
            Ok(Box::new(io::BufWriter::new(file)))
        }
    }
}
