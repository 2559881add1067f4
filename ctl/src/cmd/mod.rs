//! The commands: arguments to requests to output.

pub(crate) mod add;
pub(crate) mod bench;
pub(crate) mod health;
mod options;
mod peers;
pub(crate) mod pin;
mod process;
mod status;
mod tree;
mod wait;

use std::{sync::Arc, time::Duration};

use clap::CommandFactory;
use futures::{Stream, StreamExt, TryStreamExt};
use ipfs_cluster_ctl::client::{Client, Credentials, Error, Options, Sockets, Target};
use ipfs_cluster_protocol::{
    api::error::{parse_cid, parse_peer},
    id::{Cid, PeerId},
};
use serde::Serialize;

use crate::{
    args::{Args, Command, Global, Ipfs, help},
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
            client: client(&args.global)?,
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

fn client(global: &Global) -> Result<Client, Failure> {
    let doing = "creating client";
    let targets = Target::parse_list(&global.host).map_err(|e| Failure::local(doing, e))?;
    let over_tcp = targets.iter().any(|t| matches!(t, Target::Tcp { .. }));
    let wants_https = global.https || (!global.basic_auth.is_empty() && !global.force_http);
    if over_tcp && wants_https {
        return Err(Failure::local(
            doing,
            "https is not available in this build: leave --https out, add --force-http to send \
             credentials over plain http, or reach the API over libp2p or a unix socket",
        ));
    }
    let secret = secret(&global.secret).map_err(|text| Failure::local(doing, text))?;
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
    Ok(Client::with(
        Arc::new(Sockets::new(secret)),
        targets,
        options,
    )?)
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
            Command::Add(args) => self.add(args).await?,
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
                clap_complete::generate(shell, &mut Args::command(), name, &mut std::io::stdout());
            }
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
        while let Some(item) = items.try_next().await? {
            self.encoding.print(&item)?;
        }
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

fn list_commands() -> Result<(), Failure> {
    let mut text = String::new();
    let root = Args::command();
    for command in root.get_subcommands().filter(|c| !c.is_hide_set()) {
        let mut names: Vec<String> = command
            .get_subcommands()
            .map(|sub| format!("{} {}", command.get_name(), sub.get_name()))
            .collect();
        if names.is_empty() {
            names.push(command.get_name().to_owned());
        }
        for name in names {
            text.push_str(&format!("ipfs-cluster-ctl {name}\n"));
        }
    }
    output::write(&text).map_err(|e| Failure::local("printing", e))
}

/// Reads a CID of the command line.
pub(crate) fn cid(text: &str) -> Result<Cid, Failure> {
    parse_cid(text).map_err(|e| Failure::local("parsing cid", e))
}

/// Reads a peer ID of the command line.
pub(crate) fn peer(text: &str) -> Result<PeerId, Failure> {
    parse_peer(text).map_err(|e| Failure::local("parsing peer id", e))
}
