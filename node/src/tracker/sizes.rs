//! Tells the cluster how much pins take that its IPFS node has just fetched and whose size nobody
//! knew: from then on placement, repair and the room that is promised count it.
//!
//! The count is the node's own, made on the way (the embedded node's, or Kubo's from the last line of
//! `pin/add`): a `dag/stat` would read every block again. One holder tells at a time, the first of the
//! allocations at once; the others wait for their turn and find it known by then.

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_protocol::{
    command::{LEVEL_SIZES, LearntSize},
    id::{PeerId, Seq},
    limits,
    pin::Pin,
    rpc::Op,
    state::{
        System,
        query::{self, Stored},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    cluster::Cluster,
    storage::{ReadError, StateStore},
};

/// What the node counted of a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(super) seq: Seq,
    pub(super) bytes: u64,
}

/// Between two reports.
const GATHER: Duration = Duration::from_secs(1);
/// How much later each further holder tells.
const TURN: Duration = Duration::from_secs(10);
/// After a report: by then the state shows it, or the pin has changed meanwhile.
const AGAIN: Duration = Duration::from_secs(10);

/// A size that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    bytes: u64,
    due: Instant,
    /// It has waited for its turn.
    in_turn: bool,
    told: u32,
}

/// Sizes that wait to be told.
pub(crate) struct Sizes {
    cluster: Cluster,
    state: StateStore,
    me: PeerId,
    waiting: BTreeMap<Seq, Waiting>,
}

/// What the state says of the pins that are due.
struct Look {
    level: u32,
    members: Vec<PeerId>,
    pins: BTreeMap<Seq, Pin>,
}

impl Sizes {
    pub(crate) fn new(cluster: Cluster, state: StateStore, me: PeerId) -> Self {
        Self {
            cluster,
            state,
            me,
            waiting: BTreeMap::new(),
        }
    }

    /// Runs as long as the tracker.
    pub(crate) async fn tell(mut self, mut counted: mpsc::Receiver<Counted>) {
        let mut look = interval(GATHER);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = look.tick(), if !self.waiting.is_empty() => self.tell_due().await,
                next = counted.recv() => match next {
                    Some(counted) => self.take(counted),
                    None => return,
                },
            }
        }
    }

    fn take(&mut self, Counted { seq, bytes }: Counted) {
        if self.waiting.len() < limits::SIZES_WAITING_MAX {
            let waiting = Waiting {
                bytes,
                due: Instant::now(),
                in_turn: false,
                told: 0,
            };
            self.waiting.insert(seq, waiting);
        }
    }

    async fn tell_due(&mut self) {
        let now = Instant::now();
        let due = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.due <= now);
        let due = due.map(|(seq, _)| *seq);
        let due: Vec<Seq> = due.take(limits::SIZES_PER_REPORT_MAX).collect();
        if due.is_empty() {
            return;
        }
        let look = match self.look(due.clone()).await {
            Ok(look) => look,
            Err(e) => {
                tracing::debug!(error = %e, "the state is not read for sizes");
                return;
            }
        };
        // Before that level only the leader's own report raises it.
        let understood = look.level >= LEVEL_SIZES || self.cluster.leads();
        let mut sizes = Vec::new();
        for seq in due {
            let pin = look.pins.get(&seq).filter(|_| understood);
            sizes.extend(self.of(seq, pin, &look.members, now));
        }
        if sizes.is_empty() {
            return;
        }
        if let Err(e) = self.cluster.submit(Op::Sized { sizes }).await {
            tracing::debug!(error = %e, "learnt sizes not told");
        }
    }

    async fn look(&self, seqs: Vec<Seq>) -> Result<Look, ReadError> {
        let read = self.state.read(move |s| {
            let members = query::members(s)?.into_iter();
            let stored = query::stored_many(s, &seqs)?.into_iter();
            let live = stored.filter_map(Stored::live);
            Ok(Look {
                level: System::load(s)?.feature_level,
                members: members.map(|member| member.peer).collect(),
                pins: live.map(|pin| (pin.seq, pin)).collect(),
            })
        });
        read.await
    }

    /// What is to be told of a pin now. What there is nothing (more) to say of is forgotten.
    fn of(
        &mut self,
        seq: Seq,
        pin: Option<&Pin>,
        members: &[PeerId],
        now: Instant,
    ) -> Option<LearntSize> {
        let Some(pin) = pin.filter(|pin| pin.spec.learns_size()) else {
            self.waiting.remove(&seq);
            return None;
        };
        let waiting = self.waiting.get_mut(&seq)?;
        let turn = turn(pin, &self.me, members);
        if turn > 0 && !waiting.in_turn {
            waiting.in_turn = true;
            waiting.due = now + TURN * turn;
            return None;
        }
        if waiting.told >= limits::SIZE_TELLS_MAX {
            self.waiting.remove(&seq);
            return None;
        }
        waiting.told += 1;
        waiting.due = now + AGAIN;
        Some(LearntSize {
            seq,
            rev: pin.rev,
            bytes: waiting.bytes,
        })
    }
}

/// How many holders tell of a pin before this peer does.
fn turn(pin: &Pin, me: &PeerId, members: &[PeerId]) -> u32 {
    let before = |peers: &[PeerId]| peers.iter().position(|peer| peer == me);
    let turn = if pin.allocations.is_empty() {
        // Held by all: another one begins for each pin.
        let all = members.len().max(1);
        let first = usize::try_from(pin.seq.0 % all as u64).unwrap_or(0);
        before(members).map(|at| (at + all - first) % all)
    } else {
        before(&pin.allocations)
    };
    let most = pin.allocations.len().max(members.len());
    u32::try_from(turn.unwrap_or(most))
        .unwrap_or(u32::MAX)
        .min(limits::SIZE_TURNS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;
    use ipfs_cluster_protocol::{
        id::Rev,
        pin::{PinSpec, Replication},
        time::Timestamp,
    };

    fn pin(seq: u64, on: &[u8]) -> Pin {
        let cid = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
        Pin {
            seq: Seq(seq),
            rev: Rev(1),
            spec: PinSpec::new(cid.parse().unwrap(), Replication::Everywhere),
            allocations: on.iter().map(|n| peer(*n)).collect(),
            copies: 0,
            timestamp: Timestamp(0),
        }
    }

    #[test]
    fn each_holder_has_a_turn_of_its_own() {
        let members = [peer(1), peer(2), peer(3)];
        let turns = |pin: &Pin| [1, 2, 3].map(|n| turn(pin, &peer(n), &members));
        assert_eq!(turns(&pin(0, &[3, 1])), [1, 3, 0]);
        assert_eq!(turns(&pin(0, &[])), [0, 1, 2]);
        assert_eq!(turns(&pin(1, &[])), [2, 0, 1], "another begins");
        assert_eq!(turn(&pin(1, &[1]), &peer(9), &[]), 1, "no holder: last");
    }
}
