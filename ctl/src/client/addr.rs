//! Where an API is served.

use std::{fmt, path::PathBuf};

use ipfs_cluster_protocol::id::PeerId;
use multiaddr::{Multiaddr, Protocol};

use super::error::Error;

/// Where an API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Over TCP; a name stands for all its addresses.
    Tcp {
        /// Name or IP address.
        host: String,
        /// Port.
        port: u16,
    },
    /// On a unix socket.
    Unix(PathBuf),
    /// Inside the cluster's swarm.
    Libp2p {
        /// Where the peer is, without `/p2p/`.
        address: Multiaddr,
        /// Who it is.
        peer: PeerId,
    },
    /// A name whose records say where: [`resolve`](super::resolve) replaces it.
    DnsAddr(String),
}

impl Target {
    /// Reads `/ip4|ip6|dns|dns4|dns6/…/tcp/…`, `/unix/…`, `/dnsaddr/…`, or any multiaddr that ends in
    /// `/p2p/…`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Error::Address {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        if let Some(path) = text.strip_prefix("/unix").filter(|p| p.starts_with('/')) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let mut address: Multiaddr = text.parse().map_err(|_| {
            refuse("write a multiaddr such as /ip4/127.0.0.1/tcp/9094 or /unix/run/api.sock")
        })?;
        if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
            let Some(Protocol::P2p(peer)) = address.pop() else {
                return Err(refuse("it does not end in /p2p/PEER"));
            };
            let peer = PeerId::from_bytes(&peer.to_bytes()).map_err(|e| refuse(&e.why))?;
            return Ok(Self::Libp2p { address, peer });
        }
        let mut parts = address.iter();
        if let (Some(Protocol::Dnsaddr(name)), None) = (parts.next(), parts.next()) {
            return Ok(Self::DnsAddr(name.into_owned()));
        }
        let mut parts = address.iter();
        let host = match parts.next() {
            Some(Protocol::Ip4(ip)) => ip.to_string(),
            Some(Protocol::Ip6(ip)) => ip.to_string(),
            Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
                name.into_owned()
            }
            _ => return Err(refuse("it starts with neither /ip4, /ip6, /dns* nor /unix")),
        };
        match parts.next() {
            Some(Protocol::Tcp(port)) => Ok(Self::Tcp { host, port }),
            _ => Err(refuse("it has no /tcp/PORT")),
        }
    }

    /// Reads a comma list.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Error> {
        let texts = text.split(',').map(str::trim).filter(|t| !t.is_empty());
        let targets = texts.map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() {
            return Err(Error::Address {
                text: text.to_owned(),
                why: "write at least one".to_owned(),
            });
        }
        Ok(targets)
    }

    /// What stands in the `Host` header.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
            Self::Libp2p { peer, .. } => peer.to_string(),
            Self::DnsAddr(name) => name.clone(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { .. } => f.write_str(&self.authority()),
            Self::Unix(path) => write!(f, "/unix{}", path.display()),
            Self::Libp2p { address, peer } => write!(f, "{address}/p2p/{peer}"),
            Self::DnsAddr(name) => write!(f, "/dnsaddr/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";

    #[test]
    fn every_kind_of_address_is_read() {
        for (text, host) in [
            ("/ip4/127.0.0.1/tcp/9094", "127.0.0.1:9094"),
            ("/ip6/::1/tcp/9094", "[::1]:9094"),
            ("/dns4/a.example/tcp/80", "a.example:80"),
            ("/dns/a.example/tcp/80/http", "a.example:80"),
            ("/unix/run/api.sock", "localhost"),
            (&format!("/ip4/127.0.0.1/tcp/9096/p2p/{PEER}"), PEER),
            (&format!("/dnsaddr/a.example/p2p/{PEER}"), PEER),
            ("/dnsaddr/a.example", "a.example"),
        ] {
            assert_eq!(Target::parse(text).unwrap().authority(), host, "{text}");
        }
    }

    #[test]
    fn a_list_keeps_its_order_and_names_what_is_wrong() {
        let list = Target::parse_list("/ip4/1.2.3.4/tcp/1, /unix/x").unwrap();
        assert_eq!(list[1], Target::Unix(PathBuf::from("/x")));
        for text in [
            "",
            ",",
            "localhost:9094",
            "/ip4/1.2.3.4",
            "/ip4/1.2.3.4/udp/1",
        ] {
            assert!(Target::parse_list(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(text in "(/[a-z0-9.:]{0,9}|[ -~é]{0,5}){0,6}") {
            if let Ok(list) = Target::parse_list(&text) {
                proptest::prop_assert!(list.iter().all(|t| !t.authority().is_empty()), "{list:?}");
            }
        }
    }
}
