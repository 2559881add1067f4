//! Adds a file, waits until it is pinned, and says where.
//!
//! ```text
//! cargo run --example pin_and_wait -- /ip4/127.0.0.1/tcp/9094 'some text'
//! ```

use std::time::Duration;

use futures::TryStreamExt;
use ipfs_cluster_ctl::client::{Client, Error, Target, Upload};
use ipfs_cluster_protocol::api::{
    add::AddParams,
    options::PinOptions,
    status::TrackerStatus::{Pinned, Remote},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let address = args.next();
    let address = address.as_deref().unwrap_or("/ip4/127.0.0.1/tcp/9094");
    let text = args.next().unwrap_or_else(|| "hello cluster".to_owned());

    let client = Client::new(Target::parse_list(address)?)?;
    let params = AddParams {
        options: PinOptions {
            name: "example".to_owned(),
            ..PinOptions::default()
        },
        ..AddParams::default()
    };
    let upload = Upload::bytes("hello.txt", text);
    let added: Vec<_> = client
        .add(vec![upload], &params)
        .await?
        .try_collect()
        .await?;
    let Some(cid) = added.last().and_then(|line| line.cid) else {
        return Err(Error::Decode("nothing was added".to_owned()));
    };

    loop {
        let info = client.status_after_write(cid).await?;
        let done = |status| status == Pinned || status == Remote;
        if !info.peer_map.is_empty() && info.peer_map.values().all(|p| done(p.status)) {
            for (id, peer) in &info.peer_map {
                println!("{cid} {} at {} ({id})", peer.status, peer.peername);
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
