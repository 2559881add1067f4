//! The graph of connections in the language of Graphviz.

use std::{collections::BTreeMap, fmt::Write as _};

use ipfs_cluster_protocol::{api::graph::ConnectGraph, id::PeerId};

/// Draws peers, their IPFS nodes and their links. Foreign IPFS nodes only if `all`.
pub(crate) fn graph(graph: &ConnectGraph, all: bool) -> String {
    let mut out = String::from("digraph cluster {\n");
    let peers = numbered('C', graph.cluster_links.keys());
    let own = graph.cluster_to_ipfs.values();
    let foreign = graph.ipfs_links.values().flatten().filter(|_| all);
    let nodes = numbered('I', own.chain(graph.ipfs_links.keys()).chain(foreign));
    out.push_str("/* The cluster peers */\n");
    for (peer, label) in &peers {
        let name = graph.id_to_peername.get(*peer).map_or("", String::as_str);
        let answering = if **peer == graph.cluster_id {
            " penwidth=2"
        } else {
            ""
        };
        let name = name.replace(['"', '\\', '\n'], "");
        let _ = writeln!(
            out,
            "{label} [label=\"{name}\\n{peer}\" shape=box3d{answering}]"
        );
    }
    out.push_str("/* The IPFS nodes */\n");
    for (node, label) in &nodes {
        let _ = writeln!(out, "{label} [label=\"IPFS\\n{node}\" shape=cylinder]");
    }
    out.push_str("/* Peers and their IPFS nodes */\n");
    for (peer, node) in &graph.cluster_to_ipfs {
        edge(&mut out, peers.get(peer), nodes.get(node), "dir=none");
    }
    out.push_str("/* Links between peers */\n");
    for (from, tos) in &graph.cluster_links {
        for to in tos {
            edge(&mut out, peers.get(from), peers.get(to), "");
        }
    }
    out.push_str("/* Links between IPFS nodes */\n");
    for (from, tos) in &graph.ipfs_links {
        for to in tos {
            edge(&mut out, nodes.get(from), nodes.get(to), "style=dashed");
        }
    }
    out.push_str("}\n");
    out
}

/// Short names in the order of the IDs.
fn numbered<'a>(
    letter: char,
    ids: impl Iterator<Item = &'a PeerId>,
) -> BTreeMap<&'a PeerId, String> {
    let mut names: BTreeMap<&PeerId, String> = ids.map(|id| (id, String::new())).collect();
    for (n, name) in names.values_mut().enumerate() {
        *name = format!("{letter}{n}");
    }
    names
}

fn edge(out: &mut String, from: Option<&String>, to: Option<&String>, style: &str) {
    if let (Some(from), Some(to)) = (from, to) {
        let style = if style.is_empty() {
            String::new()
        } else {
            format!(" [{style}]")
        };
        let _ = writeln!(out, "{from} -> {to}{style}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_nodes_and_links_are_drawn() {
        let id = |n: u8| {
            let bytes = [&[0, 36, 8, 1, 18, 32][..], &[n; 32][..]].concat();
            PeerId::from_bytes(&bytes).unwrap()
        };
        let (a, b, i, foreign) = (id(1), id(2), id(3), id(4));
        let drawn = ConnectGraph {
            cluster_id: a.clone(),
            id_to_peername: [(a.clone(), "pe\"er".to_owned())].into(),
            ipfs_links: [(i.clone(), vec![foreign])].into(),
            cluster_links: [(a.clone(), vec![b.clone()]), (b, Vec::new())].into(),
            cluster_trust_links: BTreeMap::new(),
            cluster_to_ipfs: [(a, i)].into(),
        };
        let text = graph(&drawn, false);
        assert!(text.contains("C0 -> C1\n"), "{text}");
        assert!(text.contains("C0 -> I0 [dir=none]\n"), "{text}");
        assert!(text.contains("label=\"peer\\n"), "{text}");
        assert!(!text.contains("I1"), "{text}");
        assert!(graph(&drawn, true).contains("I0 -> I1 [style=dashed]"));
    }
}
