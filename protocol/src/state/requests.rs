//! Commands on requests of the Pinning Service API.

use super::{
    pins::{Answer, Scope, Verdict},
    rows::{self, PinRow, RequestRow},
    tx::{StateRead, StateTx, StoreError, Table},
};
use crate::{
    codec,
    command::{IfRev, Rejection},
    id::{Cid, PeerId, Seq},
    limits::REQUESTS_PER_PIN_MAX,
    pin::PinSpec,
    request::{Request, RequestId, RequestKey},
};

/// The requests of a pin, in the order of their ids; more than this many there never are.
pub(super) fn of_pin(read: &dyn StateRead, seq: Seq) -> Result<Vec<RequestId>, StoreError> {
    let from = rows::requested_key(seq, RequestId(0));
    let below = rows::seq_key(seq.next());
    let page = read.range(Table::Requested, &from, Some(&below), REQUESTS_PER_PIN_MAX)?;
    page.iter()
        .map(|(key, _)| rows::request_of_key(Table::Requested, key))
        .collect()
}

/// Forgets all requests of a pin that goes.
pub(super) fn forget_all(tx: &mut dyn StateTx, seq: Seq) -> Result<(), StoreError> {
    for id in of_pin(tx, seq)? {
        forget(tx, seq, id)?;
    }
    Ok(())
}

fn forget(tx: &mut dyn StateTx, seq: Seq, id: RequestId) -> Result<(), StoreError> {
    tx.delete(Table::Request, &rows::request_key(id))?;
    tx.delete(Table::Requested, &rows::requested_key(seq, id))
}

/// What a request takes the place of: a pin, and one of its requests or all of them.
struct Replaced {
    seq: Seq,
    id: Option<RequestId>,
}

impl Scope<'_> {
    /// Accepts a request, in the place of another if it says so.
    pub(crate) fn request(
        &mut self,
        id: RequestId,
        spec: &PinSpec,
        allocations: &[PeerId],
        if_rev: IfRev,
        replaces: Option<RequestKey>,
    ) -> Answer {
        if self.request_row(id)?.is_some() {
            let text = format!("request id {id} was given before");
            return Ok(Verdict::No(Rejection::Limit(text)));
        }
        let replaced = match replaces.map(|key| self.find(key)).transpose()? {
            None => None,
            Some(Some(replaced)) => Some(replaced),
            Some(None) => return Ok(Verdict::No(Rejection::NotPinned)),
        };
        if let Some(seq) = rows::seq_of_cid(self.tx, &spec.cid)?
            && of_pin(self.tx, seq)?.len() >= REQUESTS_PER_PIN_MAX
        {
            let text = format!("more than {REQUESTS_PER_PIN_MAX} requests for one CID");
            return Ok(Verdict::No(Rejection::Limit(text)));
        }
        let changed = match self.pin(spec, allocations, if_rev)? {
            Verdict::Done(changed) => changed,
            refused => return Ok(refused),
        };
        let Some(seq) = changed.first().copied() else {
            return Ok(Verdict::Done(changed));
        };
        let row = RequestRow {
            seq,
            name: spec.name.clone(),
            origins: spec.origins.clone(),
            metadata: spec.metadata.clone(),
        };
        self.keep(id, &row)?;
        let mut changed = changed;
        if let Some(replaced) = replaced {
            changed.extend(self.give_way(&replaced, seq, id)?);
        }
        Ok(Verdict::Done(changed))
    }

    /// Puts back the requests for a pin that was exported with them.
    pub(super) fn restore_requests(&mut self, cid: &Cid, requests: &[Request]) -> Answer {
        let Some(seq) = rows::seq_of_cid(self.tx, cid)? else {
            return Ok(Verdict::No(Rejection::NotPinned));
        };
        for request in requests {
            let row = RequestRow {
                seq,
                name: request.name.clone(),
                origins: request.origins.clone(),
                metadata: request.metadata.clone(),
            };
            if let Some(no) = self.no_room_for(request.id, seq)? {
                return Ok(Verdict::No(no));
            }
            self.keep(request.id, &row)?;
        }
        Ok(Verdict::Done(Vec::new()))
    }

    /// Why there cannot be a request of this id for this pin.
    fn no_room_for(&self, id: RequestId, seq: Seq) -> Result<Option<Rejection>, StoreError> {
        if self.request_row(id)?.is_some() {
            let text = format!("request id {id} was given before");
            return Ok(Some(Rejection::Limit(text)));
        }
        if of_pin(self.tx, seq)?.len() >= REQUESTS_PER_PIN_MAX {
            let text = format!("more than {REQUESTS_PER_PIN_MAX} requests for one CID");
            return Ok(Some(Rejection::Limit(text)));
        }
        Ok(None)
    }

    fn keep(&mut self, id: RequestId, row: &RequestRow) -> Result<(), StoreError> {
        let key = rows::request_key(id);
        self.tx.put(Table::Request, &key, &codec::encode(row))?;
        let key = rows::requested_key(row.seq, id);
        self.tx.put(Table::Requested, &key, &[])
    }

    /// Withdraws what a request replaces. A pin that nobody asks for any more goes.
    fn give_way(
        &mut self,
        old: &Replaced,
        new_seq: Seq,
        new: RequestId,
    ) -> Result<Vec<Seq>, StoreError> {
        for id in of_pin(self.tx, old.seq)? {
            if id != new && old.id.is_none_or(|only| only == id) {
                forget(self.tx, old.seq, id)?;
            }
        }
        if old.seq == new_seq || !of_pin(self.tx, old.seq)?.is_empty() {
            return Ok(Vec::new());
        }
        self.remove(old.seq)
    }

    /// Withdraws a request.
    pub(crate) fn withdraw(&mut self, id: RequestId) -> Answer {
        let Some(row) = self.request_row(id)? else {
            return Ok(Verdict::No(Rejection::NotPinned));
        };
        forget(self.tx, row.seq, id)?;
        if of_pin(self.tx, row.seq)?.is_empty() {
            return Ok(Verdict::Done(self.remove(row.seq)?));
        }
        Ok(Verdict::Done(Vec::new()))
    }

    fn request_row(&self, id: RequestId) -> Result<Option<RequestRow>, StoreError> {
        rows::load(self.tx, Table::Request, &rows::request_key(id))
    }

    fn find(&self, key: RequestKey) -> Result<Option<Replaced>, StoreError> {
        Ok(match key {
            RequestKey::Id(id) => self.request_row(id)?.map(|row| Replaced {
                seq: row.seq,
                id: Some(id),
            }),
            RequestKey::Cid(cid) => match rows::pin_row_of_cid(self.tx, &cid)? {
                Some((seq, PinRow::Live(_))) => Some(Replaced { seq, id: None }),
                _ => None,
            },
        })
    }

    /// Removes a live pin.
    fn remove(&mut self, seq: Seq) -> Result<Vec<Seq>, StoreError> {
        match rows::pin_row(self.tx, seq)? {
            Some(PinRow::Live(row)) => match self.bury(seq, row)? {
                Verdict::Done(changed) => Ok(changed),
                Verdict::Conflict(_) | Verdict::No(_) => Ok(Vec::new()),
            },
            _ => Ok(Vec::new()),
        }
    }
}
