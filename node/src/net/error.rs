//! What can go wrong, per operation.

use ipfs_cluster_protocol::{codec::DecodeError, hello::Refusal, id::PeerId};
use libp2p::Multiaddr;

use super::{identity::IdentityError, proto::Proto};

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The private key is unusable.
    #[error("the identity's private key is unusable: {0}")]
    Identity(#[from] IdentityError),
    /// The transport could not be made.
    #[error("the transport could not be made: {0}")]
    Transport(String),
    /// An address is taken or not this machine's.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// The system's reason.
        why: String,
    },
    /// Listen addresses are configured and none can be served.
    #[error("none of the listen addresses can be served: {}", list(.0))]
    NothingServable(Vec<Multiaddr>),
    /// A setting is out of range.
    #[error("the network's settings are unusable: {0}")]
    Settings(String),
}

fn list(addresses: &[Multiaddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Why a peer could not be connected to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// Nobody knows where it is.
    #[error("no address of {0} is known, and the other peers know none either")]
    NoAddress(PeerId),
    /// None of its addresses answers.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The other side has another secret.
    #[error("wrong secret: {address} does not have this cluster's secret")]
    WrongSecret {
        /// Where.
        address: String,
    },
    /// Somebody else answers there.
    #[error("{address} is {found}, not the peer it was taken for")]
    OtherPeer {
        /// Where.
        address: String,
        /// Who answers.
        found: String,
    },
    /// The address is this peer's own, or cannot be dialled by this program.
    #[error("{0} cannot be dialled")]
    BadAddress(String),
    /// Nothing came of it in time.
    #[error("connecting took too long")]
    TimedOut,
    /// This peer shuts down.
    #[error("this peer shuts down")]
    Stopped,
}

/// Why a stream was not opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The other side does not speak the protocol.
    #[error("{0} is not spoken there")]
    Unsupported(Proto),
    /// The other side refuses.
    #[error("refused by {peer}: {refusal}")]
    Refused {
        /// Who.
        peer: PeerId,
        /// Why.
        refusal: Refusal,
    },
    /// This peer refuses to talk to the other one.
    #[error("{peer} is not talked to: {refusal}")]
    Unwanted {
        /// Who.
        peer: PeerId,
        /// Why.
        refusal: Refusal,
    },
    /// The stream broke, or what was said is not understood.
    #[error("the stream to {peer} failed: {why}")]
    Failed {
        /// Who.
        peer: PeerId,
        /// Why.
        why: String,
    },
    /// Nothing came of it in time.
    #[error("opening {proto} to {peer} took too long")]
    TimedOut {
        /// Who.
        peer: PeerId,
        /// Which stream.
        proto: Proto,
    },
}

/// Why a frame was not sent or received.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection is gone, or a frame exceeds the bound.
    #[error("the stream failed: {0}")]
    Io(#[from] std::io::Error),
    /// The other side does not take what is sent.
    #[error("the other side took nothing for {0} s")]
    Stalled(u64),
    /// Nothing came in time.
    #[error("nothing arrived in time")]
    TimedOut,
    /// The stream ended where a message was due.
    #[error("the other side ended the stream")]
    Ended,
    /// A message that is not what was expected.
    #[error("the message is not understood: {0}")]
    Decode(#[from] DecodeError),
    /// A message of this peer's that exceeds the bound.
    #[error("a message of {len} bytes exceeds the bound of {max}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// This peer belongs to no cluster yet.
    #[error("this peer belongs to no cluster yet")]
    NoCluster,
    /// No connected peer is subscribed: this one is alone.
    #[error("no other peer listens")]
    Alone,
    /// The message exceeds the bound.
    #[error("a gossip message of {len} bytes exceeds the bound of {max}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// Every connection's queue is full.
    #[error("the queues to the other peers are full")]
    Busy,
    /// This peer shuts down.
    #[error("this peer shuts down")]
    Stopped,
    /// Anything else.
    #[error("publishing failed: {0}")]
    Failed(String),
}
