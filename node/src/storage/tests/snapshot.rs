//! A state on its way from one store to another.

use ipfs_cluster_protocol::{
    id::{Rev, Seq},
    state::{PinSet, StateRead, Table},
};
use serde_bytes::ByteBuf;

use super::open;
use crate::storage::{Chunk, LogPos, StateStore};

async fn filled(store: &StateStore, rows: u64) {
    let filled = store.apply(move |job| {
        job.step(|tx, position| {
            for i in 0..rows {
                tx.put(Table::Pin, &i.to_be_bytes(), &[i as u8; 700])?;
                tx.set_edit(PinSet::Everywhere, Seq(i * 1000), true)?;
            }
            position.log = Some(LogPos {
                term: 3,
                index: rows,
            });
            position.rev = Rev(rows);
            position.membership = b"who votes".to_vec();
            Ok(())
        })
    });
    filled.await.unwrap();
}

async fn chunks(store: &StateStore) -> Vec<Chunk> {
    store.sync().await.unwrap();
    let mut reader = store.snapshot().1.start().await.unwrap();
    let position = reader.position();
    let mut out = vec![Chunk::Head { position }];
    while let Some(chunk) = reader.next().await.unwrap() {
        out.push(chunk);
    }
    out
}

async fn received(store: &StateStore, chunks: Vec<Chunk>) -> Result<(), String> {
    let mut chunks = chunks.into_iter();
    let Some(Chunk::Head { position }) = chunks.next() else {
        return Err("no head".into());
    };
    let mut receiver = store.receive(position).await.map_err(|e| e.to_string())?;
    for chunk in chunks {
        if let Some(received) = receiver.feed(chunk).await.map_err(|e| e.to_string())? {
            return store
                .install(received)
                .await
                .map(drop)
                .map_err(|e| e.to_string());
        }
    }
    Err("no end".into())
}

#[tokio::test]
async fn a_state_replaces_another_as_a_whole_and_stays() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, target) = (open(&from).await, open(&to).await);
    filled(&source, 2000).await;
    filled(&target, 3).await;
    let sent = chunks(&source).await;
    assert!(sent.len() > 4, "{}", sent.len());
    received(&target, sent).await.unwrap();
    same(&source, &target).await;
    target.close().await.unwrap();
    same(&source, &open(&to).await).await;
}

async fn same(source: &StateStore, store: &StateStore) {
    assert_eq!(store.position(), source.position());
    let all = |s: &dyn StateRead| {
        let blocks = s.set_blocks(PinSet::Everywhere, 0, 100)?;
        let block = s.set_block(PinSet::Everywhere, 7)?;
        Ok((s.range(Table::Pin, &[], None, 5000)?, blocks, block))
    };
    assert_eq!(
        store.read(all).await.unwrap(),
        source.read(all).await.unwrap()
    );
}

#[tokio::test]
async fn a_state_that_was_changed_on_the_way_is_refused_and_ours_stays() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, target) = (open(&from).await, open(&to).await);
    filled(&source, 1000).await;
    filled(&target, 3).await;
    let sent = chunks(&source).await;
    let mut lost = sent.clone();
    lost.remove(2);
    let mut flipped = sent.clone();
    if let Chunk::Rows { rows, .. } = &mut flipped[1] {
        let value = &mut rows[0].1;
        value[10] ^= 1;
    }
    let mut headless = sent.clone();
    headless.remove(0);
    let mut unknown = sent.clone();
    unknown.insert(
        1,
        Chunk::Rows {
            table: 77,
            rows: Vec::new(),
            hash: ByteBuf::from(vec![0; 32]),
        },
    );
    let hash = ByteBuf::from(vec![0; 32]);
    let wrong = vec![sent[0].clone(), Chunk::End { count: 0, hash }];
    for bad in [lost, flipped, headless, unknown, wrong] {
        received(&target, bad).await.unwrap_err();
        assert_eq!(target.position().log.map(|l| l.index), Some(3));
    }
    received(&target, sent).await.unwrap();
}

/// Sends chunks from where the receiver stands, at most so many; how many that were, and whether
/// the state has come as a whole.
async fn send(source: &StateStore, target: &StateStore, most: usize) -> (usize, bool) {
    let mut reader = source.snapshot().1.start().await.unwrap();
    let mut receiver = target.receive(reader.position()).await.unwrap();
    reader.skip_to(receiver.progress());
    for sent in 0..most {
        let chunk = reader.next().await.unwrap().unwrap();
        if let Some(received) = receiver.feed(chunk).await.unwrap() {
            target.install(received).await.unwrap();
            return (sent + 1, true);
        }
    }
    (most, false)
}

#[tokio::test]
async fn a_transfer_that_was_cut_goes_on_with_the_same_state_where_it_stood() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, target) = (open(&from).await, open(&to).await);
    filled(&source, 2000).await;
    let whole = chunks(&source).await.len() - 1;
    assert!(whole > 8, "{whole}");
    let begun = source.synced();
    assert_eq!(send(&source, &target, 3).await, (3, false));
    // The sender's state goes on meanwhile; the rest is of the state that was begun with.
    filled(&source, 2500).await;
    source.sync().await.unwrap();
    assert!(source.is_sending());
    assert_eq!(source.snapshot().0, begun);
    assert_eq!(send(&source, &target, 2).await, (2, false));
    assert_eq!(send(&source, &target, whole).await, (whole - 5, true));
    assert_eq!(target.position(), begun);
    let rows = target.read(|s| Ok(s.range(Table::Pin, &[], None, 5000)?.len()));
    assert_eq!(rows.await.unwrap(), 2000);
    // Nothing is kept once it is over: the next one is of the state as it is.
    assert!(!source.is_sending());
    assert!(send(&source, &target, 1000).await.1);
    same(&source, &target).await;
}

#[tokio::test]
async fn a_part_of_another_state_is_not_gone_on_with() {
    let (from, other, to) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let (source, target) = (open(&from).await, open(&to).await);
    let other = open(&other).await;
    filled(&source, 2000).await;
    filled(&other, 1500).await;
    for store in [&source, &other] {
        store.sync().await.unwrap();
    }
    assert_eq!(send(&source, &target, 3).await, (3, false));
    assert!(send(&other, &target, 1000).await.1);
    same(&other, &target).await;
}
