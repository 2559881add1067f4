//! `init`: writes a configuration folder.

use std::process::ExitCode;

use ipfs_cluster_node::{
    config::{
        init::{self, InitOptions, Listen},
        listen,
    },
    env::Addr,
};

use super::{Failure, Shell, args::Init, ask};

impl Shell {
    pub(super) async fn init(&self, args: &Init) -> Result<ExitCode, Failure> {
        if let Some(source) = &args.source {
            let text =
                format!("{source}: a configuration fetched from an address is not supported");
            return Err(Failure::new("initializing", text));
        }
        check_consensus(&args.consensus)?;
        let file = self.folder.join(init::FILE);
        if self.env.disk.exists(&file) {
            let question = format!("{} exists. Overwrite it?", file.display());
            if !self.confirmed(args.force, &question)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let secret = if args.custom_secret {
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
        };
        let written = init::init(&self.folder, &*self.env.disk, &self.vars, &options)
            .map_err(|e| Failure::new("writing the configuration", e))?;
        println!("configuration written to {}.", file.display());
        if written.new_identity {
            let path = self.folder.join("identity.json");
            println!("new identity written to {}", path.display());
        }
        let peerstore = self.folder.join(init::PEERSTORE);
        match options.peers.len() {
            0 => println!("new empty peerstore written to {}.", peerstore.display()),
            n => println!(
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
        for host in ["0.0.0.0", "127.0.0.1", "127.0.0.1", "0.0.0.0"] {
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
            ipfs_swarm: take(),
        })
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
