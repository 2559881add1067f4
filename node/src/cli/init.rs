//! `init`: writes a configuration folder.

use std::process::ExitCode;

use ipfs_cluster_node::{
    config::{
        self,
        init::{self, InitOptions, Listen},
        listen,
    },
    env::Addr,
};

use super::{Failure, Shell, args::Init, ask};

impl Shell {
    pub(super) async fn init(&self, args: &Init) -> Result<ExitCode, Failure> {
        check_consensus(&args.consensus)?;
        check_datastore(&args.datastore)?;
        let disk = &*self.env.disk;
        let file = self.folder.join(init::FILE);
        let exists = disk.exists(&file);
        // Its peer might be running.
        let _lock = if exists || disk.exists(&self.folder.join(config::identity::FILE)) {
            Some(self.lock()?)
        } else {
            None
        };
        if exists {
            let question = "The configuration file will be overwritten. Continue?";
            if !self.confirmed(args.force, question)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let secret = if args.custom_secret && args.source.is_none() {
            Some(ask("Enter the cluster's secret (64 hex digits): ")?)
        } else {
            None
        };
        let options = InitOptions {
            ipfs: args.ipfs.into(),
            secret,
            peers: args.peers.iter().map(ToString::to_string).collect(),
            listen: if args.randomports {
                Some(self.free_addresses().await?)
            } else {
                None
            },
            source: args.source.clone(),
        };
        let written = init::init(&self.folder, &*self.env.disk, &self.vars, &options)
            .map_err(|e| Failure::new("writing the configuration", e))?;
        eprintln!("configuration written to {}.", file.display());
        if written.new_identity {
            let path = self.folder.join("identity.json");
            eprintln!("new identity written to {}", path.display());
        }
        let peerstore = self.folder.join(init::PEERSTORE);
        match options.peers.len() {
            0 => eprintln!("new empty peerstore written to {}.", peerstore.display()),
            n => eprintln!(
                "peerstore written to {} with {n} entries.",
                peerstore.display()
            ),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Loopback addresses with ports that are free now.
    async fn free_addresses(&self) -> Result<Listen, Failure> {
        let mut held = Vec::new();
        let mut texts = Vec::new();
        for host in ["0.0.0.0", "127.0.0.1", "127.0.0.1", "127.0.0.1", "0.0.0.0"] {
            let listener = self.env.listen.listen(Addr::Tcp(host.to_owned(), 0)).await;
            let listener = listener.map_err(|e| Failure::new("taking free ports", e))?;
            texts.push(listen::multiaddr(&listener.local_addr()));
            // Held until all are known, or the same port could come twice.
            held.push(listener);
        }
        let mut next = texts.into_iter();
        let mut take = || next.next().unwrap_or_default();
        Ok(Listen {
            swarm: take(),
            rest: take(),
            proxy: take(),
            pinning: take(),
            ipfs_swarm: take(),
        })
    }
}

fn check_datastore(name: &str) -> Result<(), Failure> {
    match name {
        "leveldb" | "badger" | "badger3" | "pebble" => Ok(()),
        _ => Err(Failure::new(
            "choosing datastore",
            "flag value must be set to 'leveldb', 'badger', 'badger3' or 'pebble'",
        )),
    }
}

fn check_consensus(name: &str) -> Result<(), Failure> {
    let doing = "choosing consensus";
    match name {
        "raft" => Ok(()),
        "crdt" => Err(Failure::new(
            doing,
            "this program runs Raft only, the CRDT mode is not supported: leave --consensus out",
        )),
        _ => Err(Failure::new(
            doing,
            "flag value must be set to 'raft' or 'crdt'",
        )),
    }
}
