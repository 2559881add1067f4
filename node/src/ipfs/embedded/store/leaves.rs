//! Blocks stored lately that link to nothing, although their codec could: what files consist of
//! unless their leaves are raw. The walk that pins what was just added need not read them again.

use std::collections::HashSet;

use bytes::Bytes;
use ipfs_cluster_protocol::{
    content::{RAW, links::links},
    id::Cid,
    limits::LEAVES_KNOWN_MAX,
};
use parking_lot::Mutex;

use super::{Key, key_of};

/// The blocks, in two generations: the older goes when the newer is full.
#[derive(Debug, Default)]
pub(super) struct Leaves(Mutex<[HashSet<Key>; 2]>);

impl Leaves {
    /// These are about to be stored.
    pub(super) fn look_at(&self, blocks: &[(Cid, Bytes)]) {
        let leaves = blocks.iter().filter(|(cid, data)| {
            cid.0.codec() != RAW && links(cid, data).is_ok_and(|links| links.is_empty())
        });
        let keys: Vec<Key> = leaves.filter_map(|(cid, _)| key_of(cid)).collect();
        let mut known = self.0.lock();
        for key in keys {
            if known[0].len() >= LEAVES_KNOWN_MAX / 2 {
                known.swap(0, 1);
                known[0].clear();
            }
            known[0].insert(key);
        }
    }

    /// Whether this block is known to link to nothing.
    pub(super) fn know(&self, cid: &Cid) -> bool {
        let known = self.0.lock();
        key_of(cid).is_some_and(|key| known.iter().any(|keys| keys.contains(&key)))
    }
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::content::{
        DAG_PB,
        dag_pb::{Link, Node},
        hash::name_like,
    };

    use super::*;

    fn named(node: &Node) -> (Cid, Bytes) {
        let data = Bytes::from(node.encode());
        (name_like(1, DAG_PB, 0x12, 32, &data).unwrap(), data)
    }

    fn leaf(n: u32) -> (Cid, Bytes) {
        named(&Node {
            links: vec![],
            data: Some(n.to_be_bytes().to_vec()),
        })
    }

    #[test]
    fn leaves_are_known_and_nodes_with_links_are_not() {
        let leaves = Leaves::default();
        let below = leaf(1);
        let node = named(&Node {
            links: vec![Link {
                cid: below.0,
                name: vec![],
                dag_size: 9,
            }],
            data: None,
        });
        leaves.look_at(&[below.clone(), node.clone()]);
        assert!(leaves.know(&below.0) && !leaves.know(&node.0));
        assert!(!leaves.know(&leaf(2).0));
    }

    #[test]
    fn of_too_many_the_older_ones_are_forgotten() {
        let leaves = Leaves::default();
        let n = u32::try_from(LEAVES_KNOWN_MAX + LEAVES_KNOWN_MAX / 2).unwrap();
        let all: Vec<_> = (0..n).map(leaf).collect();
        leaves.look_at(&all);
        let known = all.iter().filter(|(cid, _)| leaves.know(cid)).count();
        assert!((LEAVES_KNOWN_MAX / 2..=LEAVES_KNOWN_MAX).contains(&known));
        assert!(leaves.know(&all[n as usize - 1].0) && !leaves.know(&all[0].0));
    }
}
