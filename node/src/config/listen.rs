//! Multiaddrs of HTTP servers, as the `Env` doors take them.

use std::path::PathBuf;

use multiaddr::{Multiaddr, Protocol};

use crate::env::Addr;

/// Reads `/ip4|ip6|dns|dns4|dns6/…/tcp/…` or `/unix/…`. The error says what to write instead.
pub fn parse(text: &str) -> Result<Addr, String> {
    let remedy = || {
        format!(
            "{text:?} is not an address to serve or call: \
             write /ip4/127.0.0.1/tcp/PORT, /ip6/…, /dns4/… or /unix/PATH"
        )
    };
    // The rest of the text is the path, slashes and all; the crate would take one name alone.
    if let Some(path) = text
        .strip_prefix("/unix")
        .filter(|p| p.len() > 1 && p.starts_with('/'))
    {
        return Ok(Addr::Unix(PathBuf::from(path)));
    }
    let addr: Multiaddr = text.parse().map_err(|_| remedy())?;
    let mut parts = addr.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.to_string(),
        Some(Protocol::Ip6(ip)) => ip.to_string(),
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
            name.into_owned()
        }
        _ => return Err(remedy()),
    };
    match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None | Some(Protocol::Http | Protocol::Https)) => {
            Ok(Addr::Tcp(host, port))
        }
        _ => Err(remedy()),
    }
}

/// The multiaddr of an address, as `init` writes it.
#[must_use]
pub fn multiaddr(addr: &Addr) -> String {
    match addr {
        Addr::Unix(path) => format!("/unix{}", path.display()),
        Addr::Tcp(host, port) => match host.parse() {
            Ok(std::net::IpAddr::V4(ip)) => format!("/ip4/{ip}/tcp/{port}"),
            Ok(std::net::IpAddr::V6(ip)) => format!("/ip6/{ip}/tcp/{port}"),
            Err(_) => format!("/dns4/{host}/tcp/{port}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        for (text, addr) in [
            (
                "/ip4/127.0.0.1/tcp/9094",
                Addr::Tcp("127.0.0.1".into(), 9094),
            ),
            ("/ip6/::1/tcp/0", Addr::Tcp("::1".into(), 0)),
            ("/dns4/localhost/tcp/80", Addr::Tcp("localhost".into(), 80)),
            ("/unix/run/api.sock", Addr::Unix("/run/api.sock".into())),
        ] {
            assert_eq!(parse(text), Ok(addr.clone()), "{text}");
            assert_eq!(multiaddr(&addr), text);
        }
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        for text in [
            "",
            "9094",
            "/ip4/1.2.3.4/udp/1/quic-v1",
            "/ip4/1.2.3.4",
            "/tcp/1",
        ] {
            assert!(
                parse(text).is_err_and(|e| e.contains("write /ip4/")),
                "{text}"
            );
        }
    }
}
