//! Requests of the Pinning Service API.

use super::bounded;
use crate::{
    id::Seq,
    request::{Request, RequestId},
    state::{
        requests,
        rows::{self, RequestRow},
        tx::{StateRead, StoreError, Table},
    },
};

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

/// The requests for a pin, in the order in which they were accepted.
pub fn requests_of(read: &dyn StateRead, seq: Seq) -> Result<Vec<RequestId>, StoreError> {
    requests::of_pin(read, seq)
}
