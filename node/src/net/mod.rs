//! The network between cluster peers: connections, streams, gossip, and who may do what.
//!
//! [`start`] gives a [`Net`]; one event loop owns the swarm. A stream between peers opens with a
//! `Hello` from both sides, and `policy` says who may open which. Everything on the way is bounded.
//!
//! **Architecture invariant:** nothing here knows what travels in a stream or a gossip message.

mod accept;
mod addresses;
mod bandwidth;
mod behaviour;
mod config;
mod dht;
mod dialer;
mod envelope;
mod error;
mod event_loop;
mod events;
mod gossip;
mod greeting;
mod handle;
mod http_host;
mod identity;
mod introduce;
pub mod keys;
mod liveness;
mod peers;
pub mod peerstore;
mod peerstore_writer;
mod policy;
mod proto;
mod reconnect;
mod shared;
mod start;
mod stream;
mod streams;
mod transport;

#[cfg(test)]
mod tests;

pub use config::NetConfig;
pub use error::{DialError, NetError, OpenError, PublishError, StreamError};
pub use gossip::GossipMessage;
pub use handle::{Net, PeerEvent};
pub use http_host::{HttpHost, HttpStreams, serve_http};
pub use identity::{Identity, IdentityError, SecretBytes};
pub use proto::{Proto, Topic};
pub use start::start;
pub use stream::{PeerReceiver, PeerSender, PeerStream};
