//! Answering a pull, page by page, from any copy; and what a page can do to its receiver.

use super::{
    content::{Content, split},
    message::{PullRequest, PullResponse, TableId, Want},
};
use crate::{id::Rev, limits::STATUS_HASHES_MAX};

/// The copy that answers.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) table: &'a TableId,
    pub(super) version: u64,
    pub(super) as_of: Rev,
    pub(super) age_ms: u64,
    /// Only the owner corrects a copy of its own version.
    pub(super) owner: bool,
}

impl Source<'_> {
    pub(super) fn answer(&self, content: &mut Content, request: &PullRequest) -> PullResponse {
        if request.table != *self.table {
            let newer =
                request.table.peer == self.table.peer && self.table.replaces(&request.table);
            return if newer {
                PullResponse::Other {
                    table: self.table.clone(),
                }
            } else {
                PullResponse::Nothing
            };
        }
        let (first, _) = split(request.from);
        let (blocks, below) = match &request.want {
            Want::Since(version) if *version <= self.version => {
                (content.changed_since(*version, first), None)
            }
            Want::Differing {
                version,
                hashes,
                below,
            } if *version <= self.version && self.owner && hashes.len() <= STATUS_HASHES_MAX => {
                (content.differing(hashes, first, *below), *below)
            }
            Want::Since(_) | Want::Differing { .. } => return PullResponse::Nothing,
        };
        let (ranges, next) = content.ranges(&blocks, request.from);
        PullResponse::Page {
            table: self.table.clone(),
            version: self.version,
            as_of: self.as_of,
            age_ms: self.age_ms,
            ranges,
            next: next.or(below.map(|no| super::content::join(no, 0))),
        }
    }
}

/// What a page was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Ask for the next one.
    More,
    /// The copy is now at least of the version that the first page had.
    Complete,
    /// The asked one has nothing newer: ask another.
    Nothing,
}

/// Why a page was refused. The pull starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// No pull is under way.
    #[error("a page that was not asked for")]
    Unasked,
    /// Of another table.
    #[error("a page of another table")]
    OtherTable,
    /// Broken content, or pages that do not move on.
    #[error("a malformed page")]
    Malformed,
}
