use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::content::{
    Block, Root,
    directory::{Directory, symlink},
    hash::name_like,
    options::ImportOptions,
    path::Lookup,
};

type Blocks = BTreeMap<Cid, Bytes>;

fn folder(names: &[String], options: &ImportOptions) -> (Root, Blocks) {
    let mut directory = Directory::default();
    for (n, name) in names.iter().enumerate() {
        let root = Root {
            cid: name_like(1, RAW, 0x12, 32, name.as_bytes()).unwrap(),
            file_size: 0,
            dag_size: n as u64,
        };
        directory.insert(name.clone().into_bytes(), root);
    }
    let mut out: Vec<Block> = vec![];
    let root = directory.build(options, &mut out).unwrap();
    assert_eq!(out.last().unwrap().cid, root.cid);
    (root, out.into_iter().map(|b| (b.cid, b.data)).collect())
}

fn list(root: Cid, blocks: &Blocks) -> Result<Vec<Link>, PathError> {
    let (mut listing, mut out) = (Listing::new(root), vec![]);
    while let Some(cid) = listing.wanted() {
        out.extend(listing.supply(&blocks[&cid])?);
    }
    Ok(out)
}

fn find(root: Cid, name: &str, blocks: &Blocks) -> Result<Cid, PathError> {
    let mut lookup = Lookup::new(root, name);
    loop {
        if let Some(cid) = lookup.supply(&blocks[&lookup.wanted()])? {
            return Ok(cid);
        }
    }
}

fn sharded(fanout: usize) -> ImportOptions {
    let mut options = ImportOptions::default();
    options.folders.fanout = fanout;
    options.folders.bytes_max = 0;
    options
}

proptest! {
    #[test]
    fn every_entry_is_listed_and_found(
        names in proptest::collection::btree_set("[a-zä/]{1,12}", 1..300),
        fanout in 3u32..11,
        simple in any::<bool>(),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        let options = if simple { ImportOptions::default() } else { sharded(1 << fanout) };
        let (root, blocks) = folder(&names, &options);
        let mut listed: Vec<_> = list(root.cid, &blocks).unwrap();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        let found: Vec<_> = listed.iter().map(|l| String::from_utf8(l.name.clone()).unwrap()).collect();
        prop_assert_eq!(&found, &names);
        for link in &listed {
            let name = String::from_utf8(link.name.clone()).unwrap();
            prop_assert_eq!(find(root.cid, &name, &blocks), Ok(link.cid));
        }
        let no = find(root.cid, "no such name", &blocks);
        let is_no = matches!(no, Err(PathError::NoLink { .. }));
        prop_assert!(is_no);
        let description = describe(&root.cid, &blocks[&root.cid]).unwrap();
        prop_assert_eq!(description.kind, EntryKind::Folder);
    }

    #[test]
    fn a_broken_node_is_refused_or_read_but_never_panics(
        at in 0usize..5000,
        bit in 0u8..8,
        fanout in 3u32..11,
    ) {
        let names: Vec<String> = (0..60).map(|n| format!("name {n}")).collect();
        let (root, blocks) = folder(&names, &sharded(1 << fanout));
        let mut broken = blocks[&root.cid].to_vec();
        let at = at % broken.len();
        broken[at] ^= 1 << bit;
        let _ = Listing::new(root.cid).supply(&broken);
        let _ = Lookup::new(root.cid, "name 7").supply(&broken);
        let _ = describe(&root.cid, &broken);
    }

    #[test]
    fn garbage_never_panics(bytes in any::<Vec<u8>>(), fanout in any::<u64>(), name in any::<Vec<u8>>()) {
        let cid = name_like(1, DAG_PB, 0x12, 32, b"").unwrap();
        let _ = Listing::new(cid).supply(&bytes);
        let _ = describe(&cid, &bytes);
        let mut fs = UnixFs::new(Kind::HamtShard);
        fs.hash_type = Some(0x22);
        fs.fanout = Some(fanout);
        fs.data = Some(bytes);
        let link = Link { cid, name, dag_size: 1 };
        let node = Node { links: vec![link], data: Some(fs.encode()) }.encode();
        let _ = Listing::new(cid).supply(&node);
        let _ = Lookup::new(cid, "x").supply(&node);
    }
}

#[test]
fn a_trie_that_is_too_deep_or_links_to_itself_ends() {
    let cid = name_like(1, DAG_PB, 0x12, 32, b"").unwrap();
    let mut fs = UnixFs::new(Kind::HamtShard);
    fs.hash_type = Some(0x22);
    fs.fanout = Some(8);
    let links = (0..8).map(|n| Link {
        cid,
        name: n.to_string().into_bytes(),
        dag_size: 0,
    });
    let node = Node {
        links: links.collect(),
        data: Some(fs.encode()),
    };
    let blocks = Blocks::from([(cid, node.encode().into())]);
    assert_eq!(list(cid, &blocks), Err(PathError::TooDeep(cid)));
    assert_eq!(find(cid, "x", &blocks), Err(PathError::TooDeep(cid)));
}

#[test]
fn entries_are_described_by_their_root_blocks() {
    let raw = name_like(1, RAW, 0x12, 32, b"abc").unwrap();
    let description = describe(&raw, b"abc").unwrap();
    assert_eq!((description.kind, description.size), (EntryKind::File, 3));
    let mut out = vec![];
    let naming = ImportOptions::default().naming;
    symlink(b"there", &naming, Attributes::default(), &mut out);
    let link = describe(&out[0].cid, &out[0].data).unwrap();
    assert_eq!(link.kind, EntryKind::Symlink(b"there".to_vec()));
    let cbor = name_like(1, 0x71, 0x12, 32, b"").unwrap();
    assert_eq!(describe(&cbor, b""), Err(PathError::NotUnixFs(cbor)));
}
