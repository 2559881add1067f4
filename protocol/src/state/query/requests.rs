//! Requests of the Pinning Service API.

use super::{bounded, pins};
use crate::{
    id::Seq,
    pin::Pin,
    request::{Request, RequestId},
    state::{
        requests,
        rows::{self, RequestRow},
        tx::{StateRead, StoreError, Table},
    },
};

/// Pins with the requests for them, and where the next page starts.
pub type ExportedPage = (Vec<(Pin, Vec<Request>)>, Option<Seq>);

fn named(id: RequestId, row: RequestRow) -> Request {
    Request {
        id,
        seq: row.seq,
        name: row.name,
        origins: row.origins,
        metadata: row.metadata,
    }
}

/// The request of this id.
pub fn request(read: &dyn StateRead, id: RequestId) -> Result<Option<Request>, StoreError> {
    let row = rows::load(read, Table::Request, &rows::request_key(id))?;
    Ok(row.map(|row| named(id, row)))
}

/// The requests from an id on, in the order in which they were accepted, and where to go on.
pub fn requests(
    read: &dyn StateRead,
    from: RequestId,
    limit: usize,
) -> Result<(Vec<Request>, Option<RequestId>), StoreError> {
    let limit = bounded(limit);
    let page = read.range(Table::Request, &rows::request_key(from), None, limit)?;
    let full = page.len() == limit;
    let mut found = Vec::with_capacity(page.len());
    for (key, value) in page {
        let id = rows::request_of_key(Table::Request, &key)?;
        found.push(named(id, rows::decode(Table::Request, &key, &value)?));
    }
    let next = found.last().filter(|_| full).map(|last| last.id.next());
    Ok((found, next))
}

/// The requests for a pin with all that they say.
fn requests_whole(read: &dyn StateRead, seq: Seq) -> Result<Vec<Request>, StoreError> {
    let ids = requests::of_pin(read, seq)?;
    let found = ids
        .into_iter()
        .map(|id| request(read, id))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Pins from a seq on, each with the requests for it, and where to go on.
pub fn exported(read: &dyn StateRead, from: Seq, limit: usize) -> Result<ExportedPage, StoreError> {
    let page = pins(read, from, limit, &|_| true)?;
    let mut found = Vec::with_capacity(page.items.len());
    for pin in page.items {
        let requests = requests_whole(read, pin.seq)?;
        found.push((pin, requests));
    }
    Ok((found, page.next))
}

/// The requests for a pin, in the order in which they were accepted.
pub fn requests_of(read: &dyn StateRead, seq: Seq) -> Result<Vec<RequestId>, StoreError> {
    requests::of_pin(read, seq)
}
