//! The client: requests go through a connector to the first target that can be reached.
//!
//! `addr` reads addresses (`dnsaddr` those that stand in DNS records), `connect` opens byte streams to them (`libp2p` those inside the
//! cluster's swarm, `tls` secured ones), `http` speaks HTTP/1.1 over a byte stream, `answer` reads bodies, `multipart`
//! writes uploads; `pins`, `peers`, `health`, `add` and `content` are the calls.

mod add;
mod addr;
mod answer;
mod connect;
mod content;
mod dnsaddr;
mod error;
mod health;
mod http;
mod libp2p;
mod multipart;
mod peers;
mod pins;
mod tls;

pub use self::libp2p::{Dialer, RawPipe};
pub use add::AddedStream;
pub use addr::Target;
pub use answer::Items;
pub use connect::{ByteStream, Connector, Duplex, Sockets};
pub use dnsaddr::resolve;
pub use error::Error;
pub use health::Bandwidth;
pub use http::{Client, Connection, Credentials, Exchange, Options};
pub use multipart::{Content, Upload};
pub use pins::Freshness;
pub use tls::{Tls, any_certificate};
