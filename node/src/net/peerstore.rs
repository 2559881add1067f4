//! The `peerstore` file, in the Go program's format: one multiaddr with `/p2p/` per line.

use std::{fmt::Write as _, io, path::Path};

use ipfs_cluster_protocol::limits;
use libp2p::{Multiaddr, PeerId};

use super::{addresses, peers::Book};
use crate::env::Disk;

/// A line that is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not used: {why}")]
pub struct PeerstoreWarning {
    /// Its number, from 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// Reads the file; one that does not exist is empty.
pub fn load(disk: &dyn Disk, path: &Path) -> io::Result<(Vec<Multiaddr>, Vec<PeerstoreWarning>)> {
    if !disk.exists(path) {
        return Ok((Vec::new(), Vec::new()));
    }
    let bytes = disk.read(path, limits::PEERSTORE_BYTES_MAX)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// The peers whose addresses the file has, each once, in order.
pub fn peers(disk: &dyn Disk, path: &Path) -> io::Result<Vec<ipfs_cluster_protocol::id::PeerId>> {
    let (lines, _) = load(disk, path)?;
    let mut found = Vec::new();
    for peer in lines.iter().filter_map(addresses::peer_of) {
        let peer = ipfs_cluster_protocol::id::PeerId::from_bytes(&peer.to_bytes());
        let peer = peer.map_err(io::Error::other)?;
        if !found.contains(&peer) {
            found.push(peer);
        }
    }
    Ok(found)
}

/// The addresses of a text, and what is wrong with its other lines. Empty lines and those that
/// start with `#` are skipped.
#[must_use]
pub fn parse(text: &str) -> (Vec<Multiaddr>, Vec<PeerstoreWarning>) {
    let (mut found, mut warnings) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = match line.parse::<Multiaddr>() {
            Err(e) => Err(e.to_string()),
            Ok(a) if addresses::peer_of(&a).is_none() => Err("it does not end in /p2p/PEER".into()),
            Ok(_) if found.len() == limits::PEERSTORE_LINES_MAX => {
                Err(format!("more than {} lines", limits::PEERSTORE_LINES_MAX))
            }
            Ok(a) => Ok(a),
        };
        match parsed {
            Ok(address) => found.push(address),
            Err(why) => warnings.push(PeerstoreWarning { line: at + 1, why }),
        }
    }
    (found, warnings)
}

/// The text for some peers of the book.
pub(super) fn render<'a>(book: &Book, peers: impl Iterator<Item = &'a PeerId>) -> String {
    let mut out = String::new();
    for peer in peers {
        for address in book.addresses(peer) {
            let _ = writeln!(out, "{}", addresses::with_peer(&address, peer));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_named_and_the_others_used() {
        let peer = PeerId::random();
        let text = format!(
            "/ip4/1.2.3.4/tcp/9096/p2p/{peer}\n\n# note\nnonsense\n/ip4/1.2.3.4/tcp/9096\r\n"
        );
        let (found, warnings) = parse(&text);
        assert_eq!(found.len(), 1);
        let lines: Vec<_> = warnings.iter().map(|w| w.line).collect();
        assert_eq!(lines, [4, 5]);
    }

    #[test]
    fn the_old_name_of_the_peer_protocol_is_understood() {
        let peer = PeerId::random();
        let (found, _) = parse(&format!("/ip4/1.2.3.4/tcp/9096/ipfs/{peer}"));
        assert_eq!(addresses::peer_of(&found[0]), Some(peer));
    }

    #[test]
    fn what_is_rendered_is_read_again() {
        let (mut book, peer) = (Book::new(PeerId::random()), PeerId::random());
        book.hint(&peer, &["/dns4/a.example/tcp/9096".parse().unwrap()]);
        let text = render(&book, [peer].iter());
        let (found, warnings) = parse(&text);
        assert!(warnings.is_empty());
        assert_eq!(addresses::peer_of(&found[0]), Some(peer));
    }

    #[test]
    fn of_a_damaged_file_every_line_is_used_or_named() {
        let peers: Vec<PeerId> = (0..3).map(|_| PeerId::random()).collect();
        let lines = peers
            .iter()
            .map(|peer| format!("/ip4/127.0.0.1/tcp/9096/p2p/{peer}\n"));
        let good: String = lines.collect();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone().into_bytes();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (found, warnings) = parse(&String::from_utf8_lossy(&bad));
            let others = found.iter().filter_map(addresses::peer_of);
            assert!(others.filter(|p| peers.contains(p)).count() >= 1, "{bit}");
            // A flipped line end joins two lines, a flipped first byte may make a note of one.
            assert!(found.len() + warnings.len() >= 2, "{bit}");
        }
    }
}
