//! The Rust client of a cluster's REST API.
//!
//! A [`Client`](client::Client) speaks to one or several peers, over TCP, a unix socket or libp2p:
//!
//! ```no_run
//! use futures::TryStreamExt;
//! use ipfs_cluster_ctl::client::{Client, Target};
//!
//! # async fn example() -> Result<(), ipfs_cluster_ctl::client::Error> {
//! let client = Client::new(vec![Target::parse("/ip4/127.0.0.1/tcp/9094")?])?;
//! println!("{}", client.id().await?.peername);
//! let mut pins = client.allocations("").await?;
//! while let Some(pin) = pins.try_next().await? {
//!     println!("{} {}", pin.cid, pin.name);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The types of requests and answers are those of [`ipfs_cluster_protocol::api`]. A whole program
//! is in `examples/pin_and_wait.rs`.

pub mod client;
