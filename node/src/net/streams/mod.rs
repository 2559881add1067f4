//! Raw streams for several protocols, as one `NetworkBehaviour`.
//!
//! Outbound: a request goes to the peer's newest connection and comes back through a oneshot.
//! Inbound: negotiated streams go into one bounded channel. What does not fit waits at its
//! connection (also bounded), so a burst of streams is served late, not dropped.

mod behaviour;
mod handler;
mod upgrade;

use futures::channel::mpsc;
use libp2p::{PeerId, Stream};
use tokio::sync::oneshot;

pub(super) use behaviour::Behaviour;

use super::proto::Proto;

/// A stream that another peer opened.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) peer: PeerId,
    pub(super) proto: Proto,
    pub(super) stream: Stream,
}

/// Where accepted streams go.
pub(super) type InboundSender = mpsc::Sender<Inbound>;

/// Why a stream could not be opened on a connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum StreamError {
    #[error("there is no connection")]
    NotConnected,
    #[error("the other side does not speak {0}")]
    Unsupported(Proto),
    #[error("negotiation took too long")]
    TimedOut,
    #[error("the connection failed: {0}")]
    Failed(String),
}

/// Where a stream that was asked for goes. Dropped unanswered when its connection ends.
pub(super) type Reply = oneshot::Sender<Result<Stream, StreamError>>;

/// What the behaviour tells a connection's handler.
#[derive(Debug)]
pub(super) enum ToHandler {
    Open(Proto, Reply),
    KeepAlive(bool),
}
