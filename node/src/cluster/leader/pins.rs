//! Decisions on pins.

use ipfs_cluster_protocol::{
    command::{Command, IfRev, Session},
    id::{Cid, PeerId},
    limits,
    pin::{Holding, Pin, PinSpec, PinType},
    rpc::{Done, Refusal},
    state::{StateRead, StoreError, query},
    time::Timestamp,
};
use tokio::time::Instant;

use super::{Landed, Leader, Miss};
use crate::cluster::wall_clock;

impl Leader {
    /// Pins: places, proposes, and places again as long as others change the same pin meanwhile.
    pub(super) async fn pin(
        &self,
        session: Session,
        spec: PinSpec,
        preset: Option<Vec<PeerId>>,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        spec.check().map_err(|e| Refusal::Invalid(e.to_string()))?;
        if spec.expire_at.is_some_and(|at| at <= wall_clock()) {
            return Err(Refusal::Invalid(
                "pin.ExpireAt set before current time".into(),
            ));
        }
        let command = |spec, allocations, if_rev| Command::Pin {
            spec,
            allocations,
            if_rev,
        };
        self.decide(session, spec, preset, command, deadline).await
    }

    /// Places a pin, unless told where it goes, and proposes what the command makes of that; again
    /// as long as others change the same pin meanwhile.
    pub(super) async fn decide(
        &self,
        session: Session,
        mut spec: PinSpec,
        preset: Option<Vec<PeerId>>,
        command: impl Fn(PinSpec, Vec<PeerId>, IfRev) -> Command,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        for _ in 0..limits::DECISIONS_MAX {
            let cid = spec.cid;
            let look = self.read(move |state| query::pin_by_cid(state, &cid));
            let current = look.await?;
            // What an add has learnt of the content stays true of it.
            if let Some(known) = current.as_ref().filter(|_| spec.size == 0) {
                spec.size = known.spec.size;
            }
            let allocations = match (spec.holding(), &preset) {
                (Holding::Nobody | Holding::Everywhere, _) => Vec::new(),
                (Holding::Allocated { .. }, Some(peers)) => {
                    // They have it, and their metrics do not know yet.
                    self.reserve(peers, spec.size);
                    peers.clone()
                }
                (Holding::Allocated { .. }, None) => {
                    let holders = current.as_ref().map_or(&[][..], |pin| &pin.allocations);
                    self.place(&spec, holders, spec.size).await?
                }
            };
            let if_rev = current
                .as_ref()
                .map_or(IfRev::Absent, |pin| IfRev::Is(pin.rev));
            let command = command(spec.clone(), allocations.clone(), if_rev);
            match self.propose(session.clone(), command, deadline).await {
                Ok(landed) => return Ok(done(landed, spec, allocations, current)),
                Err(Miss::Conflict) => {}
                Err(Miss::Refused(refusal)) => return Err(refusal),
            }
        }
        Err(Refusal::Unavailable(
            "the pin is being changed by others all the time".into(),
        ))
    }

    /// Pins `to` as `from` is pinned.
    pub(super) async fn update(
        &self,
        session: Session,
        from: Cid,
        to: Cid,
        name: String,
        expire_at: Option<Timestamp>,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        let find = move |state: &dyn StateRead| query::pin_by_cid(state, &from);
        let Some(source) = self.found_or_surely_none(find, deadline).await? else {
            return Err(Refusal::NotPinned);
        };
        if source.spec.pin_type != PinType::Data {
            return Err(Refusal::Invalid("this pin type cannot be updated".into()));
        }
        let mut spec = PinSpec {
            cid: to,
            pin_update: Some(from),
            size: 0,
            ..source.spec
        };
        if !name.is_empty() {
            spec.name = name;
        }
        if let Some(at) = expire_at.filter(|at| *at > wall_clock()) {
            spec.expire_at = Some(at);
        }
        self.pin(session, spec, Some(source.allocations), deadline)
            .await
    }

    /// Unpins; the answer carries the pin as it was.
    pub(super) async fn unpin(
        &self,
        session: Session,
        cid: Cid,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        let find = move |state: &dyn StateRead| query::pin_by_cid(state, &cid);
        let before = self.found_or_surely_none(find, deadline).await?;
        match before.as_ref().map(|pin| pin.spec.pin_type) {
            Some(PinType::Shard) => {
                return Err(Refusal::Invalid(
                    "cannot unpin a shard directly. Unpin content root CID instead".into(),
                ));
            }
            Some(PinType::ClusterDag) => {
                return Err(Refusal::Invalid(
                    "cannot unpin a Cluster DAG directly. Unpin content root CID instead".into(),
                ));
            }
            // Boxed: a write is a deep future already.
            Some(PinType::Meta) => {
                Box::pin(self.unpin_shards(before.as_ref(), deadline)).await?;
            }
            Some(PinType::Data) | None => {}
        }
        let done = self
            .plain(session, Command::Unpin { cid }, deadline)
            .await?;
        Ok(Done {
            pin: before,
            ..done
        })
    }

    /// A pin of the state. That there is none is said only of a state that holds all that was
    /// acknowledged before: one that leads no more, or does not yet know all that it leads, could
    /// lack the pin.
    pub(super) async fn found_or_surely_none<F>(
        &self,
        find: F,
        deadline: Instant,
    ) -> Result<Option<Pin>, Refusal>
    where
        F: FnOnce(&dyn StateRead) -> Result<Option<Pin>, StoreError> + Copy + Send + 'static,
    {
        if let Some(pin) = self.read(find).await? {
            return Ok(Some(pin));
        }
        let barrier = self.0.consensus.read_barrier(deadline).await;
        barrier.map_err(|e| Refusal::Unavailable(e.to_string()))?;
        self.read(find).await
    }
}

/// The pin as the client is told of it.
fn done(landed: Landed, spec: PinSpec, allocations: Vec<PeerId>, before: Option<Pin>) -> Done {
    let pin = Pin {
        seq: before.map(|pin| pin.seq).unwrap_or_default(),
        rev: landed.rev,
        copies: u32::try_from(allocations.len()).unwrap_or(u32::MAX),
        spec,
        allocations,
        timestamp: landed.at,
    };
    Done {
        index: landed.index,
        pin: Some(pin),
    }
}
