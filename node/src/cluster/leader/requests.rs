//! Decisions on requests of the Pinning Service API.

use ipfs_cluster_protocol::{
    command::{Command, IfRev, Session},
    id::PeerId,
    limits,
    pin::{Holding, Pin, PinSpec, PinType},
    request::{RequestId, RequestKey},
    rpc::{Done, Refusal},
    state::{StateRead, query},
};
use tokio::time::Instant;

use super::{Leader, Miss, pins::done};

impl Leader {
    /// Accepts a request: places its pin and proposes both as one command. A request that takes
    /// the place of another leaves the copies where they are and keeps the factors of the old pin.
    pub(super) async fn request(
        &self,
        session: Session,
        id: RequestId,
        mut spec: PinSpec,
        replaces: Option<RequestKey>,
        deadline: Instant,
    ) -> Result<Done, Refusal> {
        self.at_level_2(deadline).await?;
        let preset = match replaces {
            Some(key) => Some(self.take_after(&mut spec, key, deadline).await?),
            None => None,
        };
        spec.check().map_err(|e| Refusal::Invalid(e.to_string()))?;
        for _ in 0..limits::DECISIONS_MAX {
            let cid = spec.cid;
            let look = self.read(move |state| {
                let pin = query::pin_by_cid(state, &cid)?;
                Ok((pin, query::members(state)?))
            });
            let (current, members) = look.await?;
            let allocations = match &preset {
                Some(peers) if spec.holding() != Holding::Everywhere && !peers.is_empty() => {
                    peers.clone()
                }
                _ => self.place(&spec, current.as_ref(), members)?,
            };
            let command = Command::Request {
                id,
                spec: spec.clone(),
                allocations: allocations.clone(),
                if_rev: current
                    .as_ref()
                    .map_or(IfRev::Absent, |pin| IfRev::Is(pin.rev)),
                replaces,
            };
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

    /// Gives a pin what it has of the one whose place it takes; tells who holds that.
    async fn take_after(
        &self,
        spec: &mut PinSpec,
        replaced: RequestKey,
        deadline: Instant,
    ) -> Result<Vec<PeerId>, Refusal> {
        let find = move |state: &dyn StateRead| {
            let seq = match replaced {
                RequestKey::Cid(cid) => return query::pin_by_cid(state, &cid),
                RequestKey::Id(id) => query::request(state, id)?.map(|request| request.seq),
            };
            match seq {
                Some(seq) => Ok(query::stored(state, seq)?.and_then(query::Stored::live)),
                None => Ok(None),
            }
        };
        let mut found = self.read(find).await?;
        if found.is_none() {
            // That there is none is said only of a state that holds all that was acknowledged.
            let barrier = self.0.consensus.read_barrier(deadline).await;
            barrier.map_err(|e| Refusal::Unavailable(e.to_string()))?;
            found = self.read(find).await?;
        }
        let Some(Pin {
            spec: old,
            allocations,
            ..
        }) = found
        else {
            return Err(Refusal::NotPinned);
        };
        if old.pin_type != PinType::Data {
            return Err(Refusal::Invalid("this pin type cannot be updated".into()));
        }
        spec.replication = old.replication;
        spec.user_allocations = old.user_allocations;
        if old.cid != spec.cid {
            spec.pin_update = Some(old.cid);
        }
        Ok(allocations)
    }
}
