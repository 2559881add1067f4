//! What the network is told at start.

use std::{fmt, path::PathBuf, time::Duration};

use libp2p::Multiaddr;

use super::identity::SecretBytes;

/// Settings of a peer's network.
#[derive(Clone)]
pub struct NetConfig {
    /// The peer's key.
    pub private_key: SecretBytes,
    /// The cluster's secret; connections of peers without it are refused.
    pub psk: Option<[u8; 32]>,
    /// Where to listen. What cannot be served is skipped with a warning.
    pub listen: Vec<Multiaddr>,
    /// When there are any, others are told these addresses and no others.
    pub announce: Vec<Multiaddr>,
    /// Never told to others; exact, or a network (`/ip4/10.0.0.0/ipcidr/8`).
    pub no_announce: Vec<Multiaddr>,
    /// Addresses with `/p2p/` to begin with, in order: peerstore, `--bootstrap`, `peer_addresses`.
    pub bootstrap: Vec<Multiaddr>,
    /// Connections of peers that are not members, at most.
    pub high_water: u32,
    /// How long connecting to an address may take, handshake included.
    pub dial_timeout: Duration,
    /// A connection with a peer that answers pings is cut when it brings nothing for so long.
    /// Pings go out three times as often.
    pub silence_max: Duration,
    /// How often members tell each other which messages they have, for those who missed one.
    pub gossip_heartbeat: Duration,
    /// Kept up to date with the members' addresses.
    pub peerstore: Option<PathBuf>,
    /// Whether to look for peers on the same network segment.
    pub mdns: bool,
}

impl NetConfig {
    /// Defaults: no secret, no addresses, the Go program's time-outs and limits.
    #[must_use]
    pub fn new(private_key: SecretBytes) -> Self {
        Self {
            private_key,
            psk: None,
            listen: Vec::new(),
            announce: Vec::new(),
            no_announce: Vec::new(),
            bootstrap: Vec::new(),
            high_water: 400,
            dial_timeout: Duration::from_secs(3),
            silence_max: Duration::from_secs(10),
            gossip_heartbeat: Duration::from_secs(3),
            peerstore: None,
            mdns: false,
        }
    }
}

impl fmt::Debug for NetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetConfig")
            .field("psk", &self.psk.map(|_| "…"))
            .field("listen", &self.listen)
            .field("announce", &self.announce)
            .field("no_announce", &self.no_announce)
            .field("bootstrap", &self.bootstrap)
            .field("high_water", &self.high_water)
            .field("dial_timeout", &self.dial_timeout)
            .field("silence_max", &self.silence_max)
            .field("gossip_heartbeat", &self.gossip_heartbeat)
            .field("peerstore", &self.peerstore)
            .field("mdns", &self.mdns)
            .finish_non_exhaustive()
    }
}
