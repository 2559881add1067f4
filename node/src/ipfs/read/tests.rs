//! Trees in every form, read back through an embedded node.

use std::io::Read;

use super::*;
use crate::{
    ipfs::{tar, walk},
    testing::embedded_node,
};
use futures::TryStreamExt;
use ipfs_cluster_protocol::{
    api::content::ContentKind,
    content::{
        car::{CarReader, Item},
        directory::symlink,
        import::FileImport,
        options::{ChunkerSpec, ImportOptions, Layout},
        tree::Tree,
        unixfs::{Attributes, Mtime},
    },
};

const LONG: &str = "a name that is longer than the hundred bytes which the header of an archive of the \
                    oldest kind has room for, so that it must stand before";

fn bytes(n: usize) -> Vec<u8> {
    (0..n * 97).map(|i| (i * 31 / 7) as u8).collect()
}

/// Stores a folder `root` of many files, a folder and a symlink; its CID.
async fn store(node: &Node, options: &ImportOptions) -> Cid {
    let (mut tree, mut out) = (Tree::default(), vec![]);
    let attributes = Attributes {
        mode: Some(0o640),
        mtime: Some(Mtime {
            seconds: 1_000_000,
            nanos: Some(5),
        }),
    };
    for n in 0..60 {
        let mut file = FileImport::new(options)
            .unwrap()
            .with_attributes(attributes);
        file.write(bytes(n).into(), &mut out);
        let root = file.finish(&mut out);
        tree.insert(&format!("root/file {n}"), root).unwrap();
        if n == 59 {
            tree.insert(&format!("root/sub/{LONG}"), root).unwrap();
        }
    }
    let link = symlink(
        b"../file 3",
        &options.naming,
        Attributes::default(),
        &mut out,
    );
    tree.insert("root/sub/link", link).unwrap();
    let folders = tree.finish(options, &mut out).unwrap();
    let blocks = out.into_iter().map(|b| (b.cid, b.data)).collect();
    node.block_put(blocks).await.unwrap();
    folders.last().unwrap().root.cid
}

fn forms() -> [ImportOptions; 2] {
    let simple = ImportOptions {
        chunker: ChunkerSpec::Size(500),
        ..ImportOptions::default()
    };
    let mut sharded = ImportOptions {
        layout: Layout::Trickle,
        file_links_max: 2,
        ..simple.clone()
    };
    sharded.folders.bytes_max = 100;
    sharded.folders.fanout = 8;
    [simple, sharded]
}

#[tokio::test]
async fn entries_and_files_are_found_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let node: Node = embedded_node(dir.path()).await;
    for options in forms() {
        let root = store(&node, &options).await;
        let listed = entries(&node, &format!("/ipfs/{root}")).await.unwrap();
        let mut listed: Vec<_> = listed.try_collect().await.unwrap();
        listed.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        assert_eq!(listed.len(), 61);
        assert_eq!(listed[60].1.kind, EntryKind::Folder);
        assert_eq!(listed[1].1.size, 97);
        assert_eq!(listed[1].1.attributes.mode, Some(0o640));

        let path = format!("/ipfs/{root}/file 59");
        let found = stat(&node, &path).await.unwrap();
        assert_eq!((found.name.as_str(), found.size), ("file 59", 59 * 97));
        let link = stat(&node, &format!("/ipfs/{root}/sub/link"))
            .await
            .unwrap();
        assert_eq!(link.target.as_deref(), Some("../file 3"));
        let whole = node.cat(path).await.unwrap();
        let whole: Vec<Bytes> = whole.try_collect().await.unwrap();
        assert_eq!(whole.concat(), bytes(59));
        let part = range(&node, found.cid.unwrap(), (1234, 2000))
            .await
            .unwrap();
        let part: Vec<Bytes> = part.try_collect().await.unwrap();
        assert_eq!(part.concat(), bytes(59)[1234..3234]);

        let error = range(&node, root, (0, 9)).await.err().unwrap();
        assert_eq!(error.to_string(), "this dag node is a directory");
        let error = stat(&node, &format!("/ipfs/{root}/none"))
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with("no link named"), "{error}");
    }
}

#[tokio::test]
async fn an_archive_holds_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let node: Node = embedded_node(dir.path()).await;
    for options in forms() {
        let root = store(&node, &options).await;
        let archive = tar::archive(&node, &format!("/ipfs/{root}")).await.unwrap();
        let archive: Vec<Bytes> = archive.try_collect().await.unwrap();
        let archive = archive.concat();
        assert_eq!(archive.len() % 512, 0);
        let mut archive = ::tar::Archive::new(archive.as_slice());
        let mut found = vec![];
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = vec![];
            entry.read_to_end(&mut content).unwrap();
            let path = entry.path().unwrap().display().to_string();
            let target = entry.link_name().unwrap().map(|t| t.display().to_string());
            found.push((path, entry.header().mode().unwrap(), content, target));
        }
        assert_eq!(found.len(), 1 + 60 + 1 + 2);
        assert_eq!((found[0].0.clone(), found[0].1), (root.to_string(), 0o755));
        let file = found
            .iter()
            .find(|f| f.0 == format!("{root}/file 42"))
            .unwrap();
        assert_eq!((file.1, &file.2), (0o640, &bytes(42)));
        let long = format!("{root}/sub/{LONG}");
        assert!(found.iter().any(|f| f.0 == long && f.2 == bytes(59)));
        assert_eq!(found.last().unwrap().3.as_deref(), Some("../file 3"));
    }
}

#[tokio::test]
async fn a_dag_is_walked_root_first_and_each_block_once() {
    let dir = tempfile::tempdir().unwrap();
    let node: Node = embedded_node(dir.path()).await;
    let [simple, _] = forms();
    let root = store(&node, &simple).await;
    let below: Vec<Cid> = walk::refs(&node, root, 1, false)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(below.len(), 61);
    let all: Vec<Cid> = walk::refs(&node, root, usize::MAX, true)
        .try_collect()
        .await
        .unwrap();
    let blocks: Vec<_> = walk::blocks(&node, root, true).try_collect().await.unwrap();
    assert_eq!(blocks[0].0, root);
    assert_eq!(blocks.len(), all.len() + 1);
    // As an archive they are enough to read the tree from.
    let mut reader = CarReader::default();
    reader.push(&ipfs_cluster_protocol::content::car::header(&[root]));
    for (cid, block) in &blocks {
        reader.push(&ipfs_cluster_protocol::content::car::section(cid, block));
    }
    let mut items = 0;
    while let Some(item) = reader.take().unwrap() {
        items += 1;
        if let Item::Block(block) = item {
            ipfs_cluster_protocol::content::hash::verify(&block.cid, &block.data).unwrap();
        }
    }
    assert_eq!(items, blocks.len() + 1);
    let kind = stat(&node, &format!("/ipfs/{root}")).await.unwrap().kind;
    assert_eq!(kind, ContentKind::Directory);
}
