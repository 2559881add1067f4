//! A walk over everything the state wants of this peer, a page at a time, so that orders and jobs
//! go on meanwhile.

use ipfs_cluster_protocol::{
    id::{MemberNo, PeerId, Rev, Seq},
    limits,
    reconcile::Desired,
    state::{
        StateRead, StoreError,
        query::{self, Stored},
    },
    time::Timestamp,
};
use roaring::RoaringTreemap;

use super::{
    held::Held,
    tracking::{Found, Tracking},
};
use crate::storage::{ReadError, StateStore};

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

/// How far a walk has come.
#[derive(Debug)]
pub(super) struct Walk {
    /// The table speaks for the whole state only when it is over.
    pub(super) full: bool,
    /// What the IPFS node listed: known once it has answered.
    pub(super) held: Option<Option<Held>>,
    /// Pins seen to since the listing began: it may be wrong about them.
    pub(super) touched: RoaringTreemap,
    hold: Option<Seq>,
    unpin: Option<Seq>,
}

impl Walk {
    /// One that waits for the listing.
    pub(super) fn new(full: bool) -> Self {
        Self {
            full,
            held: None,
            touched: RoaringTreemap::new(),
            hold: Some(Seq(0)),
            unpin: Some(Seq(0)),
        }
    }

    /// Whether it has been everywhere.
    pub(super) fn is_over(&self) -> bool {
        self.hold.is_none() && self.unpin.is_none()
    }

    /// The next page.
    pub(super) async fn step(
        &mut self,
        tracking: &mut Tracking,
        no: MemberNo,
    ) -> Result<(), ReadError> {
        let (hold, unpin) = (self.hold, self.unpin);
        let read = tracking.parts.state.read(move |s| {
            let limit = limits::LIST_PAGE_PINS;
            let page = match (hold, unpin) {
                (Some(from), _) => query::to_hold(s, no, from, limit)?,
                (None, Some(from)) => query::to_unpin(s, no, from, limit)?,
                (None, None) => return Ok((Vec::new(), None)),
            };
            Ok((wanted(s, no, &page.items)?, page.next))
        });
        let (wanted, next) = read.await?;
        if hold.is_some() {
            self.hold = next;
        } else {
            self.unpin = next;
        }
        for want in wanted {
            let touched = self.touched.contains(want.seq.0);
            let held = self.held.as_ref().and_then(Option::as_ref);
            match held {
                Some(held) if !touched => tracking.want(&want, Found::Listed(held)),
                // It was just seen to, or there is nothing new to say about it.
                _ if !self.full && (touched || tracking.is_pinned(want.seq)) => {}
                _ => tracking.want(&want, Found::Unlisted),
            }
        }
        Ok(())
    }
}

/// What the state wants of this peer about one pin.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) seq: Seq,
    pub(super) desired: Desired,
    /// When a pin to be held was submitted.
    pub(super) at: Option<Timestamp>,
}

/// What the state wants about some pins.
pub(super) fn wanted(
    state: &dyn StateRead,
    no: MemberNo,
    seqs: &[Seq],
) -> Result<Vec<Wanted>, StoreError> {
    let wanted = |seq: &Seq| {
        let desired = query::desired(state, no, *seq)?;
        let at = match &desired {
            Desired::Hold { .. } => match query::stored(state, *seq)? {
                Some(Stored::Live(pin)) => Some(pin.timestamp),
                _ => None,
            },
            _ => None,
        };
        Ok(Wanted {
            seq: *seq,
            desired,
            at,
        })
    };
    seqs.iter().map(wanted).collect()
}

impl Tracking {
    /// Sees to pins that have changed; every one of them is in the table before it says so.
    pub(super) async fn look_at(
        &mut self,
        no: MemberNo,
        seqs: &RoaringTreemap,
    ) -> Result<(), ReadError> {
        let mut seqs = seqs.iter().map(Seq);
        loop {
            let page: Vec<Seq> = seqs.by_ref().take(limits::LIST_PAGE_PINS).collect();
            if page.is_empty() {
                return Ok(());
            }
            let read = self.parts.state.read(move |s| wanted(s, no, &page));
            for want in read.await? {
                self.want(&want, Found::Changed);
            }
        }
    }

    /// Every change up to `rev` is in the table.
    pub(super) fn advance(&self, rev: Rev) {
        self.parts.tables.advance(rev);
    }
}
