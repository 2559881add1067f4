//! From changes of the state to the queue: what the state wants of this peer, pin by pin.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use ipfs_cluster_protocol::{
    id::{Cid, MemberNo, PeerId, Seq},
    limits,
    pin::{PinMode, PinPhase},
    reconcile::Desired,
    state::{StateRead, StoreError, query},
};

use super::tracking::Tracking;
use crate::{
    ipfs::SharedIpfs,
    storage::{Changed, ReadError, StateStore},
};

/// What the IPFS node holds, where that could be listed.
pub(super) type Held = BTreeMap<Cid, PinMode>;

/// This peer's number, once the state knows the peer.
pub(super) async fn own_number(
    state: &StateStore,
    me: &PeerId,
) -> Result<Option<MemberNo>, ReadError> {
    let me = me.clone();
    state
        .read(move |s| Ok(query::member(s, &me)?.map(|member| member.no)))
        .await
}

impl Tracking {
    /// Takes in what has changed; every pin concerned is in the table before the table says so.
    pub(super) async fn take_in(&mut self, changed: Changed) -> Result<(), ReadError> {
        let Some(no) = own_number(&self.parts.state, &self.parts.me).await? else {
            return Ok(());
        };
        if changed.all || self.number != Some(no) {
            self.number = Some(no);
            self.walk_all(no).await?;
        } else {
            let mut seqs = changed.seqs.iter().map(Seq);
            loop {
                let page: Vec<Seq> = seqs.by_ref().take(limits::LIST_PAGE_PINS).collect();
                if page.is_empty() {
                    break;
                }
                let wanted = self
                    .parts
                    .state
                    .read(move |s| desired_of(s, no, &page))
                    .await?;
                for (seq, desired) in wanted {
                    self.want(seq, &desired, None);
                }
            }
        }
        self.parts.tables.advance(changed.up_to);
        Ok(())
    }

    /// Compares everything this peer shall hold or let go with what its IPFS node lists.
    pub(super) async fn walk_all(&mut self, no: MemberNo) -> Result<(), ReadError> {
        let held = list(&self.parts.ipfs).await;
        let (mut hold, mut unpin) = (Some(Seq(0)), Some(Seq(0)));
        while hold.is_some() || unpin.is_some() {
            let wanted = self
                .parts
                .state
                .read(move |s| {
                    let limit = limits::LIST_PAGE_PINS;
                    let mut seqs = Vec::new();
                    let mut next = (None, None);
                    if let Some(from) = hold {
                        let page = query::to_hold(s, no, from, limit)?;
                        seqs.extend(page.items);
                        next.0 = page.next;
                    } else if let Some(from) = unpin {
                        let page = query::to_unpin(s, no, from, limit)?;
                        seqs.extend(page.items);
                        next.1 = page.next;
                    }
                    Ok((desired_of(s, no, &seqs)?, next))
                })
                .await?;
            let (wanted, next) = wanted;
            if hold.is_some() {
                hold = next.0;
            } else {
                unpin = next.1;
            }
            for (seq, desired) in wanted {
                self.want(seq, &desired, held.as_ref());
            }
        }
        Ok(())
    }

    /// One pin: into the table, and into the queue unless it is known to be as wanted.
    fn want(&mut self, seq: Seq, desired: &Desired, held: Option<&Held>) {
        match desired {
            Desired::Hold { spec, .. } => {
                let has = held.map(|held| held.get(&spec.cid).copied());
                let enough = matches!(
                    (has, spec.mode),
                    (Some(Some(PinMode::Recursive)), _) | (Some(Some(_)), PinMode::Direct)
                );
                if enough {
                    // What was pinned before this peer ever ordered it stays foreign: the ledger
                    // has no order of it.
                    self.parts.tables.set(seq, PinPhase::Pinned, None);
                    self.drop_work(seq);
                    return;
                }
                let lost = has == Some(None) && self.is_pinned(seq);
                let phase = if lost {
                    PinPhase::UnexpectedlyUnpinned
                } else {
                    PinPhase::PinQueued
                };
                self.enqueue(seq, phase);
            }
            Desired::Unpin { .. } => self.enqueue(seq, PinPhase::UnpinQueued),
            Desired::Elsewhere | Desired::Absent => {
                self.drop_work(seq);
                self.parts.tables.clear(seq);
                self.parts.ledger.forget(seq);
            }
        }
    }
}

fn desired_of(
    state: &dyn StateRead,
    no: MemberNo,
    seqs: &[Seq],
) -> Result<Vec<(Seq, Desired)>, StoreError> {
    seqs.iter()
        .map(|seq| Ok((*seq, query::desired(state, no, *seq)?)))
        .collect()
}

/// All pins of the IPFS node; none if it does not say, and then each pin is asked for by itself.
async fn list(ipfs: &SharedIpfs) -> Option<Held> {
    let listed = async { ipfs.pin_ls().await?.try_collect::<Held>().await };
    match listed.await {
        Ok(held) => Some(held),
        Err(e) => {
            tracing::info!(error = %e, "the IPFS node does not list its pins");
            None
        }
    }
}
