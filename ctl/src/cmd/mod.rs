//! The commands: arguments to requests to output.

pub(crate) mod add;
pub(crate) mod bench;
pub(crate) mod content;
pub(crate) mod health;
pub(crate) mod ignore;
mod import;
mod only_hash;
mod options;
mod peers;
pub(crate) mod pin;
mod process;
mod status;
mod tree;
mod wait;

use std::{io::IsTerminal, path::Path, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use ipfs_cluster_ctl::client::{
    Client, Credentials, Error, Options, Sockets, Target, Tls, resolve,
};
use ipfs_cluster_protocol::{
    api::error::{parse_cid, parse_peer},
    id::{Cid, PeerId},
};
use serde::Serialize;

use crate::{
    args::{Args, Command, Global, Ipfs, help, whole},
    exit::{Code, Failure},
    output::{self, Encoding, Text},
};

/// What every command needs.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) encoding: Encoding,
}

/// Runs a command line to its exit code.
pub(crate) async fn run(args: Args) -> Code {
    let encoding = match Encoding::parse(&args.global.encoding) {
        Ok(encoding) => encoding,
        Err(e) => return output::failed(&e, Encoding::Text),
    };
    let Some(command) = args.command else {
        return help(&[]);
    };
    let work = async {
        let context = Context {
            client: client(&args.global).await?,
            encoding,
        };
        context.dispatch(command).await
    };
    tokio::select! {
        biased;
        // Without a handler ctrl-c ends the process by itself.
        Ok(()) = tokio::signal::ctrl_c() => Code::Cancelled,
        done = Box::pin(work) => done.unwrap_or_else(|e| output::failed(&e, encoding)),
    }
}

async fn client(global: &Global) -> Result<Client, Failure> {
    let targets = Target::parse_list(&global.host);
    let targets = targets.map_err(|e| Failure::local("parsing host multiaddress", e))?;
    let targets = resolve(targets).await;
    let targets = targets.map_err(|e| Failure::local("resolving host multiaddress", e))?;
    let secret = secret(&global.secret).map_err(|text| Failure::local("parsing secret", text))?;
    let credentials = (!global.basic_auth.is_empty()).then(|| {
        let (user, password) = global
            .basic_auth
            .split_once(':')
            .unwrap_or((&global.basic_auth, ""));
        Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    });
    let options = Options {
        credentials,
        timeout: (global.timeout > 0).then(|| Duration::from_secs(global.timeout)),
        watch: global
            .debug
            .then(|| Arc::new(|text: &str| eprintln!("{text}")) as _),
    };
    let sockets = match tls(global, &targets) {
        Some(tls) => Sockets::new(secret).with_tls(tls),
        None => Sockets::new(secret),
    };
    Ok(Client::with(Arc::new(sockets), targets, options)?)
}

/// Whether targets over TCP are reached over TLS: if asked for, and with credentials unless they may
/// be sent in the open.
fn tls(global: &Global, targets: &[Target]) -> Option<Tls> {
    let over_tcp = targets.iter().any(|t| matches!(t, Target::Tcp { .. }));
    let implied = !global.basic_auth.is_empty() && !global.force_http;
    if !over_tcp || !(global.https || implied) {
        return None;
    }
    if !global.https {
        eprintln!(
            "https is used because there are credentials; --force-http sends them over plain http"
        );
    }
    Some(if global.no_check_certificate {
        Tls::AnyCertificate
    } else {
        Tls::Trusted
    })
}

/// Counts what went to a file or a pipe, for those who wait in front of a terminal.
fn counter() -> ProgressBar {
    if std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    wait::progress_bar("{spinner} {pos} {elapsed}")
}

fn secret(text: &str) -> Result<Option<[u8; 32]>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = hex::decode(text).map_err(|_| "--secret: it is not hex")?;
    let bytes = bytes
        .try_into()
        .map_err(|_| "--secret: it is not 64 hex digits")?;
    Ok(Some(bytes))
}

impl Context {
    async fn dispatch(&self, command: Command) -> Result<Code, Failure> {
        match command {
            Command::Id => self.show(self.client.id().await)?,
            Command::Version => self.show(self.client.version().await)?,
            Command::Peers { command } => return self.peers(command).await,
            Command::Add(args) => self.add(*args).await?,
            Command::Cat { paths } => self.cat(&paths).await?,
            Command::Ls { paths } => self.ls(&paths).await?,
            Command::Get(args) => self.get(args).await?,
            Command::Pin { command } => return self.pin(command).await,
            Command::Status {
                cids,
                local,
                filter,
            } => self.status(&cids, local, &filter).await?,
            Command::Recover { cid, local } => self.recover(cid.as_deref(), local).await?,
            Command::Health { command } => return self.health(command).await,
            Command::Ipfs { command: None } => return Ok(help(&["ipfs"])),
            Command::Ipfs {
                command: Some(Ipfs::Gc { local }),
            } => self.show(self.client.gc(local).await)?,
            Command::Bench(args) => self.bench(args).await?,
            Command::Completion { shell } => {
                let name = "ipfs-cluster-ctl";
                clap_complete::generate(shell, &mut whole(), name, &mut std::io::stdout());
            }
            Command::Man { folder } => manual(folder.as_deref())?,
            Command::Commands => list_commands()?,
        }
        Ok(Code::Done)
    }

    /// Prints one answer.
    pub(crate) fn show<T: Serialize + Text>(
        &self,
        answer: Result<T, Error>,
    ) -> Result<(), Failure> {
        self.encoding.print(&answer?)
    }

    /// Prints answers as they come.
    pub(crate) async fn show_all<T: Serialize + Text>(
        &self,
        mut items: impl Stream<Item = Result<T, Error>> + Unpin,
    ) -> Result<(), Failure> {
        let bar = counter();
        while let Some(item) = items.try_next().await? {
            self.encoding.print(&item)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Prints answers once all are there.
    pub(crate) async fn show_sorted<T: Serialize + Text, K: Ord>(
        &self,
        items: impl Stream<Item = Result<T, Error>>,
        key: impl FnMut(&T) -> K,
    ) -> Result<(), Failure> {
        let mut all: Vec<T> = items
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect::<Result<_, _>>()?;
        all.sort_by_key(key);
        all.iter().try_for_each(|item| self.encoding.print(item))
    }
}

/// One command a line, with those it is made of.
fn list_commands() -> Result<(), Failure> {
    let mut text = String::new();
    let root = whole();
    for command in root.get_subcommands() {
        let name = format!("{} {}", root.get_name(), command.get_name());
        text.push_str(&format!("{name}\n"));
        if command.get_name() != "help" {
            for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
                text.push_str(&format!("{name} {}\n", below.get_name()));
            }
        }
    }
    output::write(&text)
}

/// The manual page of the program, or those of all commands into a folder.
fn manual(folder: Option<&Path>) -> Result<(), Failure> {
    let written = match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(whole(), folder))
        }
        None => clap_mangen::Man::new(whole()).render(&mut std::io::stdout()),
    };
    written.map_err(|e| Failure::local("writing the manual", e))
}

/// Reads a CID of the command line.
pub(crate) fn cid(text: &str) -> Result<Cid, Failure> {
    parse_cid(text).map_err(|e| Failure::local("parsing cid", e))
}

/// Reads a peer ID of the command line.
pub(crate) fn peer(text: &str) -> Result<PeerId, Failure> {
    parse_peer(text).map_err(|e| Failure::local("parsing peer ID", e))
}
