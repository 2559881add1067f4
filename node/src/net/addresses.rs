//! Which addresses a peer listens on, which it tells others, and which it may dial.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipfs_cluster_protocol::limits;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::env::Addr;

/// A listen address that is not served, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) address: Multiaddr,
    pub(super) why: &'static str,
}

/// Splits the configured listen addresses into those that can be served and the others.
pub(super) fn servable(listen: &[Multiaddr], has_secret: bool) -> (Vec<Multiaddr>, Vec<Skipped>) {
    let (mut served, mut skipped) = (Vec::new(), Vec::new());
    for address in listen {
        match unservable(address, has_secret) {
            None => served.push(without_peer(address)),
            Some(why) => skipped.push(Skipped {
                address: address.clone(),
                why,
            }),
        }
    }
    (served, skipped)
}

fn unservable(address: &Multiaddr, has_secret: bool) -> Option<&'static str> {
    if is_plain_tcp(address) {
        return None;
    }
    let udp = address
        .iter()
        .any(|p| matches!(p, Protocol::Udp(_) | Protocol::Quic | Protocol::QuicV1));
    Some(match (udp, has_secret) {
        (true, true) => "QUIC cannot carry the cluster's secret; only TCP is served",
        (true, false) => "QUIC is not served between cluster peers; only TCP is",
        (false, _) => "only /ip4|ip6|dns*/…/tcp/PORT is served",
    })
}

/// `/ip4|ip6|dns*/…/tcp/PORT`, with or without `/p2p/…` at the end.
fn is_plain_tcp(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = matches!(
        parts.next(),
        Some(
            Protocol::Ip4(_)
                | Protocol::Ip6(_)
                | Protocol::Dns(_)
                | Protocol::Dns4(_)
                | Protocol::Dns6(_)
        )
    );
    host && matches!(parts.next(), Some(Protocol::Tcp(_)))
        && matches!(
            (parts.next(), parts.next()),
            (None, _) | (Some(Protocol::P2p(_)), None)
        )
}

/// Whether an address that was configured or heard of can be dialled at all.
pub(super) fn is_dialable(address: &Multiaddr) -> bool {
    // The transport looks `/dnsaddr/` up: what it stands for is checked there.
    let named = matches!(address.iter().next(), Some(Protocol::Dnsaddr(_)));
    (named || is_plain_tcp(address))
        && !address.iter().any(|p| match p {
            Protocol::Ip4(ip) => ip.is_unspecified(),
            Protocol::Ip6(ip) => ip.is_unspecified(),
            Protocol::Tcp(port) => port == 0,
            _ => false,
        })
}

/// The socket of a listen address with a fixed port.
pub(super) fn socket(address: &Multiaddr) -> Option<Addr> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => ip.to_string(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port @ 1..) => Some(Addr::Tcp(host, port)),
        _ => None,
    }
}

/// The address without `/p2p/…`.
pub(super) fn without_peer(address: &Multiaddr) -> Multiaddr {
    address
        .iter()
        .filter(|p| !matches!(p, Protocol::P2p(_)))
        .collect()
}

/// The address with `/p2p/<peer>` at the end.
pub(super) fn with_peer(address: &Multiaddr, peer: &PeerId) -> Multiaddr {
    without_peer(address).with(Protocol::P2p(*peer))
}

/// The peer an address names.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    address.iter().find_map(|p| match p {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
}

/// What is told to others: the announced addresses alone where there are any, otherwise those the
/// listeners reported; never one that `no_announce` names, exactly or by `/ipcidr/`.
pub(super) fn advertised(
    listening: &[Multiaddr],
    announce: &[Multiaddr],
    no_announce: &[Multiaddr],
) -> Vec<Multiaddr> {
    let source = if announce.is_empty() {
        listening
    } else {
        announce
    };
    let mut out = Vec::new();
    for address in source.iter().map(|a| specific(&without_peer(a))) {
        let hidden = no_announce.iter().any(|rule| matches(rule, &address));
        if !hidden && is_dialable(&address) && !out.contains(&address) {
            out.push(address);
        }
        if out.len() == limits::NET_ADVERTISED_MAX {
            break;
        }
    }
    out
}

/// A listener that reports the unspecified address serves loopback at least.
fn specific(address: &Multiaddr) -> Multiaddr {
    address
        .iter()
        .map(|p| match p {
            Protocol::Ip4(ip) if ip.is_unspecified() => Protocol::Ip4(Ipv4Addr::LOCALHOST),
            Protocol::Ip6(ip) if ip.is_unspecified() => Protocol::Ip6(Ipv6Addr::LOCALHOST),
            other => other,
        })
        .collect()
}

fn matches(rule: &Multiaddr, address: &Multiaddr) -> bool {
    let parts: Vec<_> = rule.iter().collect();
    match (parts.as_slice(), address.iter().next()) {
        ([Protocol::Ip4(net), Protocol::Ipcidr(bits)], Some(Protocol::Ip4(ip))) => {
            same_prefix(u32::from(*net).into(), u32::from(ip).into(), 32, *bits)
        }
        ([Protocol::Ip6(net), Protocol::Ipcidr(bits)], Some(Protocol::Ip6(ip))) => {
            same_prefix(u128::from(*net), u128::from(ip), 128, *bits)
        }
        _ => without_peer(rule) == *address,
    }
}

fn same_prefix(a: u128, b: u128, width: u8, bits: u8) -> bool {
    let rest = u32::from(width.saturating_sub(bits));
    a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn quic_and_websockets_are_skipped_by_name() {
        let listen = list(&[
            "/ip4/0.0.0.0/tcp/9096",
            "/ip4/0.0.0.0/udp/9096/quic-v1",
            "/ip4/0.0.0.0/tcp/9097/ws",
        ]);
        let (served, skipped) = servable(&listen, true);
        assert_eq!(served, list(&["/ip4/0.0.0.0/tcp/9096"]));
        assert_eq!(skipped.len(), 2);
        assert!(skipped[0].why.contains("secret"), "{skipped:?}");
        assert_eq!(skipped[1].address, listen[2]);
    }

    #[test]
    fn only_the_announced_addresses_are_told() {
        let listening = list(&["/ip4/127.0.0.1/tcp/5001", "/ip4/10.0.0.7/tcp/5001"]);
        let announce = list(&["/ip4/127.0.0.1/tcp/7001"]);
        assert_eq!(advertised(&listening, &announce, &[]), announce);
        assert_eq!(advertised(&listening, &[], &[]), listening);
    }

    #[test]
    fn no_announce_hides_exact_addresses_and_networks() {
        let listening = list(&[
            "/ip4/127.0.0.1/tcp/5001",
            "/ip4/10.1.2.3/tcp/5001",
            "/ip4/192.168.0.9/tcp/5001",
            "/ip6/::1/tcp/5001",
        ]);
        let hide = list(&[
            "/ip4/10.0.0.0/ipcidr/8",
            "/ip4/192.168.0.9/tcp/5001",
            "/ip6/::/ipcidr/0",
        ]);
        assert_eq!(
            advertised(&listening, &[], &hide),
            list(&["/ip4/127.0.0.1/tcp/5001"])
        );
    }

    #[test]
    fn an_unspecified_listener_is_told_as_loopback_and_port_zero_is_not_told() {
        let listening = list(&["/ip4/0.0.0.0/tcp/5001", "/ip4/127.0.0.1/tcp/0"]);
        assert_eq!(
            advertised(&listening, &[], &[]),
            list(&["/ip4/127.0.0.1/tcp/5001"])
        );
    }

    #[test]
    fn a_peer_is_added_and_removed() {
        let peer = PeerId::random();
        let plain: Multiaddr = "/dns4/a.example/tcp/9096".parse().unwrap();
        let full = with_peer(&plain, &peer);
        assert_eq!(peer_of(&full), Some(peer));
        assert_eq!(without_peer(&full), plain);
        assert!(is_dialable(&full));
    }
}
