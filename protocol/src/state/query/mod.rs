//! Reads of the state, each bounded by a limit, over anything that implements `StateRead`.
//!
//! Lists come in pages: a page may hold fewer items than asked for and still not be the last one;
//! `next` says where to go on.

pub(crate) mod members;
pub(crate) mod pins;
pub(crate) mod requests;
pub(crate) mod sets;

pub(crate) use members::each_member_row;
pub use members::{Departed, departed, member, members};
pub use pins::{
    Stored, desired, expired, pin_by_cid, pins, pins_of, seqs_by_meta, seqs_by_name, stored,
    stored_by_cid, stored_many, stored_page,
};
pub use requests::{ExportedPage, exported, request, requests, requests_of};
pub use sets::{seqs, seqs_in_any, seqs_without, set_contains, set_len, to_hold, to_unpin};

use crate::{id::Seq, limits::PAGE_MAX};

/// Part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In order of their seqs.
    pub items: Vec<T>,
    /// Where the next page starts; none after the last one.
    pub next: Option<Seq>,
}

/// A limit that a caller asked for, within what a page may hold.
fn bounded(limit: usize) -> usize {
    limit.clamp(1, PAGE_MAX)
}
