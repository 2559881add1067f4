//! How long a file of 50 MB takes from one IPFS node and from three that have it, each behind a relay
//! that passes so many megabytes per second.
//!
//! ```sh
//! cargo run --release -p ipfs-cluster-tests --example sources -- 10
//! ```

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration, time::Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use futures::{StreamExt, stream};
use ipfs_cluster_node::{
    env::real,
    ipfs::{
        IpfsNode, PinRequest,
        embedded::{self, Embedded, EmbeddedConfig},
    },
};
use ipfs_cluster_protocol::{content::options::ImportOptions, id::Cid, pin::PinMode};
use ipfs_cluster_tests::{Relay, Sky, Weather, by_hand, random};
use tokio::sync::watch;

/// Bytes of the file.
const FILE: usize = 50_000_000;

async fn node(folder: &Path) -> anyhow::Result<Arc<Embedded>> {
    let config = EmbeddedConfig::on_loopback(folder);
    embedded::start(config, &real::env())
        .await
        .context("the node starts")
}

fn request(cid: Cid) -> PinRequest {
    PinRequest::new(cid, PinMode::Recursive, "")
}

/// Fetches from so many sources; the time.
async fn fetch(sources: usize, rate: u64) -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let data = Bytes::from(random(FILE));
    let sky = watch::Sender::new(Sky::default());
    let (mut running, mut relays, mut addresses, mut root) = (vec![], vec![], vec![], None);
    for n in 0..sources {
        let source = node(&folder.path().join(n.to_string())).await?;
        let pieces = stream::iter([Ok(data.clone())]).boxed();
        let options = ImportOptions::default();
        let added = source.add_file(&options, pieces).await?;
        root = Some(added.cid);
        sky.send_modify(|sky| sky.set(n, Weather::Throttle(rate)));
        let relay = Relay::start(n, &sky).await?;
        let listens = source.addresses().into_iter().next();
        let listens = listens.context("it listens")?;
        let mut parts = listens.split('/').skip_while(|part| *part != "tcp");
        let port = parts.nth(1).and_then(|port| port.parse().ok());
        relay.lead_to(port.with_context(|| format!("{listens} has a port"))?);
        let peer = source.peer_id();
        addresses.push(format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", relay.port()));
        relays.push(relay);
        running.push(source);
    }
    let reader = node(&folder.path().join("reader")).await?;
    reader.connect_to(&addresses);
    while reader.swarm_peers().await?.len() < sources {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let root = root.ok_or_else(|| anyhow!("there is no source"))?;
    let begun = Instant::now();
    reader.pin(request(root), Box::new(|_| {})).await?;
    let took = begun.elapsed();
    reader.shutdown().await;
    for source in running {
        source.shutdown().await;
    }
    Ok(took)
}

async fn measure(megabytes: u64) -> anyhow::Result<()> {
    for sources in [1, 3] {
        let took = fetch(sources, megabytes * 1_000_000).await?;
        println!(
            "{sources} source(s) of {megabytes} MB/s each: 50 MB in {:.2} s",
            took.as_secs_f64()
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    let asked = by_hand::number("how many megabytes per second?", 10, 1..=1000);
    let Some((rate, runtime)) = asked else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(measure(rate)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
