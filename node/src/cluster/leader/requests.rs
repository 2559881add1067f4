//! Decisions on requests of the Pinning Service API.

use ipfs_cluster_protocol::{
    command::{Command, LEVEL_REQUESTS, Session},
    id::PeerId,
    pin::{Pin, PinSpec, PinType},
    request::{RequestId, RequestKey},
    rpc::{Done, Refusal},
    state::{StateRead, query},
};
use tokio::time::Instant;

use super::Leader;

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
        self.at_level(LEVEL_REQUESTS, deadline).await?;
        let preset = match replaces {
            Some(key) => Some(self.take_after(&mut spec, key, deadline).await?),
            None => None,
        };
        // What was held everywhere is placed anew.
        let preset = preset.filter(|peers| !peers.is_empty());
        spec.check().map_err(|e| Refusal::Invalid(e.to_string()))?;
        let command = |spec, allocations, if_rev| Command::Request {
            id,
            spec,
            allocations,
            if_rev,
            replaces,
        };
        self.decide(session, spec, preset, command, deadline).await
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
        let Some(Pin {
            spec: old,
            allocations,
            ..
        }) = self.found_or_surely_none(find, deadline).await?
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
