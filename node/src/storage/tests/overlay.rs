//! The state file under its overlay answers like ordered maps do, whenever it is flushed.

use ipfs_cluster_protocol::{
    id::{MemberNo, Rev, Seq},
    state::{Model, PinSet, StateRead, StateTx, Table},
};
use proptest::{collection::vec, prelude::*};

use super::open;
use crate::storage::{LogPos, StateStore};

#[derive(Debug, Clone)]
enum Step {
    Put(Table, Vec<u8>, Vec<u8>),
    Delete(Table, Vec<u8>),
    Edit(PinSet, Seq, bool),
    Sync,
    Reopen,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(0u8..4, 1..3)
}

fn table() -> impl Strategy<Value = Table> {
    prop_oneof![Just(Table::Pin), Just(Table::Name), Just(Table::System)]
}

fn set() -> impl Strategy<Value = PinSet> {
    prop_oneof![
        (1u32..3).prop_map(|m| PinSet::Allocated(MemberNo(m))),
        Just(PinSet::Everywhere),
        (1u32..3).prop_map(|m| PinSet::Tombstones(MemberNo(m))),
    ]
}

fn seq() -> impl Strategy<Value = Seq> {
    (0u64..3, 0u64..3).prop_map(|(block, low)| Seq(block * 65_536 + low))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (table(), key(), vec(any::<u8>(), 0..40)).prop_map(|(t, k, v)| Step::Put(t, k, v)),
        4 => (table(), key()).prop_map(|(t, k)| Step::Delete(t, k)),
        8 => (set(), seq(), any::<bool>()).prop_map(|(s, q, on)| Step::Edit(s, q, on)),
        2 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ]
}

fn change(tx: &mut dyn StateTx, step: &Step) {
    match step {
        Step::Put(t, k, v) => tx.put(*t, k, v),
        Step::Delete(t, k) => tx.delete(*t, k),
        Step::Edit(s, q, on) => tx.set_edit(*s, *q, *on),
        Step::Sync | Step::Reopen => Ok(()),
    }
    .unwrap();
}

/// Everything a reader can see, and some of it in pieces.
fn all(read: &dyn StateRead) -> Vec<String> {
    let mut out = Vec::new();
    for table in Table::ALL {
        out.push(format!("{:?}", read.range(table, &[], None, 1000).unwrap()));
        let some = read.range(table, &[1], Some(&[3, 1]), 3).unwrap();
        out.push(format!("{some:?} {:?}", read.get(table, &[2]).unwrap()));
    }
    for m in 1..3 {
        let sets = [
            PinSet::Allocated(MemberNo(m)),
            PinSet::Everywhere,
            PinSet::Tombstones(MemberNo(m)),
        ];
        for set in sets {
            out.push(format!("{:?}", read.set_blocks(set, 0, 10).unwrap()));
            out.push(format!("{:?}", read.set_blocks(set, 1, 1).unwrap()));
            for block in 0..3 {
                out.push(format!("{:?}", read.set_block(set, block).unwrap()));
            }
        }
    }
    out
}

async fn apply(store: &StateStore, index: u64, step: Step) {
    let applied = store.apply(move |job| {
        job.step(|tx, position| {
            change(tx, &step);
            position.log = Some(LogPos { term: 1, index });
            position.rev = Rev(index);
            Ok(())
        })
    });
    applied.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn reads_are_those_of_the_model(steps in vec(step(), 1..60)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut store = open(&dir).await;
            let mut model = Model::default();
            for (i, step) in steps.into_iter().enumerate() {
                let index = i as u64 + 1;
                change(&mut model, &step);
                let reopen = matches!(step, Step::Reopen);
                let sync = reopen || matches!(step, Step::Sync);
                apply(&store, index, step).await;
                if sync {
                    let synced = store.sync().await.unwrap();
                    assert_eq!(synced.log.map(|l| l.index), Some(index));
                }
                if reopen {
                    store.close().await.unwrap();
                    store = open(&dir).await;
                    assert_eq!(store.applied().borrow().index.0, index);
                }
                let seen = store.read(|s| Ok(all(s))).await.unwrap();
                prop_assert_eq!(seen, all(&model));
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn applying_waits_for_the_file_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir).await;
    // Many times what the overlay may hold.
    for i in 1..400u64 {
        let (key, value) = (i.to_be_bytes().to_vec(), vec![7; 1024]);
        apply(&store, i, Step::Put(Table::Pin, key, value)).await;
    }
    let rows = store.read(|s| s.range(Table::Pin, &[], None, 1000)).await;
    assert_eq!(rows.unwrap().len(), 399);
    // What was not asked for is synced all the same, by bytes.
    assert!(store.synced().log.is_some());
}
