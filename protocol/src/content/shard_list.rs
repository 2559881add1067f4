//! The nodes by which content that no peer could hold alone is listed: a shard lists blocks, the cluster
//! DAG lists shards. Both are dag-cbor maps from numbers, written as texts, to links, as the Go cluster
//! makes them (`adder/sharding/dag.go`).

use super::{
    Block, DAG_CBOR,
    cbor::{put_head, put_link},
    hash::{HashFunction, name_like},
};
use crate::id::Cid;

/// The node that lists these, in their order; None only where a name cannot be made.
#[must_use]
pub fn list(links: &[Cid]) -> Option<Block> {
    let mut numbered: Vec<(String, &Cid)> = links
        .iter()
        .enumerate()
        .map(|(n, cid)| (n.to_string(), cid))
        .collect();
    // Canonical: shorter keys first.
    numbered.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
    let mut data = vec![];
    put_head(&mut data, 5, links.len() as u64);
    for (key, cid) in numbered {
        put_head(&mut data, 3, key.len() as u64);
        data.extend(key.as_bytes());
        put_link(&mut data, cid);
    }
    let code = HashFunction::SHA2_256.code();
    let cid = name_like(1, DAG_CBOR, code, 32, &data)?;
    let data = data.into();
    Some(Block { cid, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{RAW, links::links};

    #[test]
    fn a_list_is_what_kubo_makes_of_the_same_map() {
        let number = |n: u32| name_like(1, RAW, 0x12, 32, n.to_string().as_bytes()).unwrap();
        let numbers: Vec<Cid> = (0..12).map(number).collect();
        let node = list(&numbers).unwrap();
        // `ipfs dag put` of {"0": …, "1": …, …, "11": …}.
        assert_eq!(
            node.cid.to_string(),
            "bafyreifwesv4je5cl2jjgbqajlsz6leojohxy4szhrn4g2jnjj56hionzy"
        );
        assert_eq!(links(&node.cid, &node.data).unwrap(), numbers);
    }
}
