//! `state import`: replaces the peer's state by the pins of a file. All of it, or nothing: the new
//! state is built beside the old one, which is moved aside only once the file was read to its end.

use std::{
    io::{self, BufReader, IsTerminal, Read},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use indicatif::{ProgressBar, ProgressStyle};
use ipfs_cluster_node::{
    config::Config,
    consensus::{Founders, Import, ImportError, Imported},
    net::peerstore,
    storage::DataFolder,
};
use ipfs_cluster_protocol::{
    api::error::parse_peer,
    export::{self, Exported},
    id::{PeerId, Seq},
    state::restore::RestoredPin,
    time::Timestamp,
};

use super::{Failure, Shell, args::ImportArgs};

/// Pins written at once.
const PAGE: usize = 1000;
const IMPORTING: &str = "importing state";
/// Folder of the new state while it is built.
const STAGING: &str = "state.importing";

/// What replaces values of the file.
struct Overrides {
    min: i32,
    max: i32,
    allocations: Vec<PeerId>,
    /// For pins without factors.
    default: (i32, i32),
    now: Timestamp,
}

impl Overrides {
    fn of(args: &ImportArgs, config: &Config) -> Result<Self, Failure> {
        let words = args.allocations.split(',').map(str::trim);
        let peers = words.filter(|w| !w.is_empty()).map(|word| {
            parse_peer(word).map_err(|e| {
                let text = format!("--allocations: {word:?} cannot be used: {e}");
                Failure::new(IMPORTING, text)
            })
        });
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0));
        let replication = config.cluster.replication;
        Ok(Self {
            min: args.replication_min,
            max: args.replication_max,
            allocations: peers.collect::<Result<_, _>>()?,
            default: (replication.min(), replication.max()),
            now: Timestamp(now),
        })
    }

    fn applied(&self, exported: Exported, number: u64) -> Result<RestoredPin, String> {
        let Exported {
            mut pin,
            size,
            requests,
        } = exported;
        if self.min > 0 {
            pin.replication_factor_min = self.min;
        }
        if self.max > 0 {
            pin.replication_factor_max = self.max;
        }
        let mut spec = pin.spec(self.default).map_err(|e| {
            format!(
                "pin {number} of the state file, {}: {e}; --rmin and --rmax set others",
                pin.cid
            )
        })?;
        spec.size = size;
        // The seq is given when the pin is restored.
        let requests = requests.into_iter().map(|request| request.of_pin(Seq(0)));
        let requests = requests
            .collect::<Result<_, _>>()
            .map_err(|e| format!("pin {number} of the state file, {}: requests: {e}", pin.cid))?;
        Ok(RestoredPin {
            requests,
            spec,
            at: pin.timestamp.timestamp().unwrap_or(self.now),
            allocations: if self.allocations.is_empty() {
                pin.allocations
            } else {
                self.allocations.clone()
            },
        })
    }
}

impl Shell {
    pub(super) async fn import(&self, args: &ImportArgs) -> Result<(), Failure> {
        let config = self.load().await?.config;
        let _lock = self.lock()?;
        let question = "The pinset (state) of this peer will be replaced. Continue?";
        if !self.confirmed(args.force, question)? {
            return Ok(());
        }
        let overrides = Overrides::of(args, &config)?;
        let file = input(args.path.as_deref())?;
        let staging = self.folder.join(STAGING);
        self.forget(&staging)?;
        let built = self.build(&staging, &config, file, &overrides).await;
        let imported = match built {
            Ok(imported) => imported,
            Err(text) => {
                self.forget(&staging)?;
                return Err(Failure::new(IMPORTING, text));
            }
        };
        self.put_in_place(&staging, &config)?;
        println!(
            "{} pins imported, for a cluster of {} peers. Start this peer first, the others with \
             an empty state and --bootstrap to it.",
            imported.pins, imported.members
        );
        Ok(())
    }

    /// Reads the file into a new data folder.
    async fn build(
        &self,
        staging: &Path,
        config: &Config,
        file: Box<dyn Read>,
        overrides: &Overrides,
    ) -> Result<Imported, String> {
        let known = peerstore::peers(&*self.env.disk, &config.cluster.peerstore);
        let founders = Founders {
            own: (
                config.identity.peer.clone(),
                config.cluster.peername.clone(),
            ),
            others: known.map_err(|e| e.to_string())?,
        };
        let import = Import::begin(&self.env, staging, founders).await;
        let import = import.map_err(|e| e.to_string())?;
        let bar = bar();
        let mut pins = export::read_from(BufReader::new(file));
        let mut number = 0;
        loop {
            let mut page = Vec::with_capacity(PAGE);
            for pin in pins.by_ref().take(PAGE) {
                let pin = pin.map_err(|e| e.to_string())?;
                page.push(overrides.applied(pin, number + 1)?);
                number += 1;
            }
            let count = u64::try_from(page.len()).unwrap_or(0);
            if count == 0 {
                break;
            }
            let added = import.add(page, overrides.now).await;
            added.map_err(|e| refused(&e, number - count))?;
            bar.inc(count);
        }
        bar.finish_and_clear();
        import.finish().await.map_err(|e| e.to_string())
    }

    fn put_in_place(&self, staging: &Path, config: &Config) -> Result<(), Failure> {
        let failed = |e: io::Error| Failure::new(IMPORTING, e);
        let disk = &*self.env.disk;
        let place = self.folder.join(DataFolder::NAME);
        if disk.exists(&place) {
            self.move_aside(config)?;
        }
        disk.rename(&staging.join(DataFolder::NAME), &place)
            .and_then(|()| disk.sync_dir(&self.folder))
            .map_err(failed)?;
        self.forget(staging)
    }

    /// Removes what an import left unfinished.
    fn forget(&self, staging: &Path) -> Result<(), Failure> {
        if !self.env.disk.exists(staging) {
            return Ok(());
        }
        let removed = self.env.disk.remove_dir_all(staging);
        removed.map_err(|e| Failure::new(IMPORTING, format!("{}: {e}", staging.display())))
    }
}

fn refused(error: &ImportError, before: u64) -> String {
    match error {
        ImportError::Refused(refused) => {
            let number = before + u64::try_from(refused.done).unwrap_or(0) + 1;
            format!(
                "pin {number} of the state file: {refused}; list more peers in the peerstore or \
                 lower the factors with --rmin and --rmax"
            )
        }
        other => other.to_string(),
    }
}

fn input(path: Option<&Path>) -> Result<Box<dyn Read>, Failure> {
    let Some(path) = path else {
        eprintln!("reading from stdin, Ctrl-D to finish");
        return Ok(Box::new(io::stdin()));
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "the user names a file of their own"
    )]
    let file = std::fs::File::open(path);
    let file = file.map_err(|e| {
        let text = format!("open {}: {e}", path.display());
        Failure::new("reading import file", text)
    })?;
    Ok(Box::new(file))
}

/// Counts pins, on a terminal.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} pins {elapsed}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}
