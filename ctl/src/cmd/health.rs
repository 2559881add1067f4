//! `health`.

use std::path::PathBuf;

use clap::Subcommand;

use super::Context;
use crate::{
    args::help,
    exit::{Code, Failure},
    output,
};

/// On the health of the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum HealthArgs {
    /// Draw who is connected to whom, for Graphviz
    Graph {
        /// Write to a file
        #[arg(short, long)]
        file: Option<PathBuf>,
        /// Also IPFS nodes that belong to no peer
        #[arg(long)]
        all_ipfs_peers: bool,
    },
    /// List the metrics there are, or the values of one
    Metrics {
        /// Which
        name: Option<String>,
    },
    /// List metrics that lapsed
    Alerts,
    /// Show the traffic by protocol
    Bandwidth,
}

impl Context {
    pub(super) async fn health(&self, command: Option<HealthArgs>) -> Result<Code, Failure> {
        match command {
            None => return Ok(help(&["health"])),
            Some(HealthArgs::Graph {
                file,
                all_ipfs_peers,
            }) => {
                let text = output::graph(&self.client.graph().await?, all_ipfs_peers);
                match file {
                    None => output::write(&text)?,
                    Some(path) => std::fs::write(path, text)
                        .map_err(|e| Failure::local("writing the graph", e))?,
                }
            }
            Some(HealthArgs::Metrics { name: None }) => {
                self.encoding.print(&self.client.metric_names().await?)?;
            }
            Some(HealthArgs::Metrics { name: Some(name) }) => {
                self.show(self.client.metrics(&name).await)?;
            }
            Some(HealthArgs::Alerts) => self.show(self.client.alerts().await)?,
            Some(HealthArgs::Bandwidth) => self.show(self.client.bandwidth().await)?,
        }
        Ok(Code::Done)
    }
}
