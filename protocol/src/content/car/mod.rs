//! CAR archives: blocks one after another. Version 1 both ways, version 2 reading (the payload of a
//! version 2 is a version 1; its index is not needed to read it from start to end).
//!
//! A section is a varint of its length, a CID and the block's bytes. The first section of version 1
//! is a header in dag-cbor: `{roots, version}`. Version 2 begins with `{version: 2}`, then come 40
//! bytes that say where the payload lies. Source: the CARv1 and CARv2 specifications of IPLD.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Block,
    cbor::{self, CborError},
    wire::put_number,
};
use crate::{
    id::{Cid, WideCid},
    limits::{BLOCK_BYTES_MAX, CAR_HEADER_BYTES_MAX, CAR_ROOTS_MAX, CID_BYTES_MAX},
};

/// Bytes of version 2's fixed header, behind the pragma.
const V2_HEADER: usize = 40;
/// Bytes of the pragma: one of length, ten of `{version: 2}`.
const V2_PRAGMA: u64 = 11;

/// Why bytes are not an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// It ends within something. Go's words.
    #[error("unexpected EOF")]
    Eof,
    /// The header is no header.
    #[error("invalid CAR header: {0}")]
    Header(CborError),
    /// A version that does not exist yet.
    #[error("invalid CAR version: {0}")]
    Version(u64),
    /// More than anybody needs.
    #[error("CAR header: more than {CAR_ROOTS_MAX} roots")]
    Roots,
    /// A length that cannot be.
    #[error("CAR: a section of {0} bytes is not possible")]
    Section(u64),
    /// No CID where one must be.
    #[error("CAR: a block has no valid CID: {0}")]
    Cid(String),
    /// The payload of version 2 lies before its own header.
    #[error("CAR: the payload cannot start at {0}")]
    Offset(u64),
}

/// What an archive holds, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// What the archive is about; comes first.
    Roots(Vec<Cid>),
    /// A block. Whether its bytes belong to its name is not checked.
    Block(Block),
}

/// Reads an archive that comes in pieces; holds one section at most, and the piece.
#[derive(Debug)]
pub struct CarReader {
    held: BytesMut,
    state: State,
    /// Bytes of the payload to come, where the archive says so.
    left: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The pragma or the header.
    Start,
    /// Version 2's fixed header.
    V2,
    /// So many bytes before the payload.
    Skip(u64),
    /// Version 1's header.
    Header,
    Blocks,
    /// What follows is no block.
    End,
}

impl Default for CarReader {
    fn default() -> Self {
        Self {
            held: BytesMut::new(),
            state: State::Start,
            left: None,
        }
    }
}

impl CarReader {
    /// Adds bytes. Take all items before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.held.extend_from_slice(bytes);
        }
    }

    /// The next item; None once more bytes are needed.
    pub fn take(&mut self) -> Result<Option<Item>, CarError> {
        loop {
            match self.state {
                State::Start => {
                    let Some(header) = self.section(CAR_HEADER_BYTES_MAX)? else {
                        return Ok(None);
                    };
                    match header_of(&header)? {
                        (1, roots) => return Ok(Some(self.roots(roots))),
                        (2, _) => self.state = State::V2,
                        (other, _) => return Err(CarError::Version(other)),
                    }
                }
                State::V2 => {
                    if self.held.len() < V2_HEADER {
                        return Ok(None);
                    }
                    let mut header = self.held.split_to(V2_HEADER);
                    header.advance(16);
                    let (offset, size) = (header.get_u64_le(), header.get_u64_le());
                    let before = offset.checked_sub(V2_PRAGMA + V2_HEADER as u64);
                    self.state = State::Skip(before.ok_or(CarError::Offset(offset))?);
                    self.left = Some(size);
                }
                State::Skip(0) => self.state = State::Header,
                State::Skip(n) => {
                    let skipped = n.min(self.held.len() as u64);
                    if skipped == 0 {
                        return Ok(None);
                    }
                    self.held.advance(skipped as usize);
                    self.state = State::Skip(n - skipped);
                }
                State::Header => {
                    let Some(header) = self.section(CAR_HEADER_BYTES_MAX)? else {
                        return Ok(None);
                    };
                    return match header_of(&header)? {
                        (1, roots) => Ok(Some(self.roots(roots))),
                        (other, _) => Err(CarError::Version(other)),
                    };
                }
                State::Blocks if self.left == Some(0) => {
                    self.state = State::End;
                    self.held.clear();
                }
                State::Blocks => {
                    let section = self.section(BLOCK_BYTES_MAX + CID_BYTES_MAX)?;
                    return section.map(block).transpose();
                }
                State::End => return Ok(None),
            }
        }
    }

    /// Says that no more bytes come; an archive must not end within something.
    pub fn finish(self) -> Result<(), CarError> {
        match self.state {
            State::End => Ok(()),
            State::Blocks if self.held.is_empty() && self.left.is_none_or(|l| l == 0) => Ok(()),
            _ => Err(CarError::Eof),
        }
    }

    fn roots(&mut self, roots: Vec<Cid>) -> Item {
        self.state = State::Blocks;
        Item::Roots(roots)
    }

    /// The next section, once all of it is here.
    fn section(&mut self, max: usize) -> Result<Option<Bytes>, CarError> {
        let Some((len, prefix)) = varint(&self.held)? else {
            return Ok(None);
        };
        let whole = len.saturating_add(prefix as u64);
        if len == 0 || len > max as u64 || self.left.is_some_and(|left| whole > left) {
            return Err(CarError::Section(len));
        }
        if (self.held.len() as u64) < whole {
            return Ok(None);
        }
        self.left = self.left.map(|left| left - whole);
        self.held.advance(prefix);
        Ok(Some(self.held.split_to(len as usize).freeze()))
    }
}

/// A varint and how many bytes it takes; None while it is not complete.
fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, CarError> {
    match unsigned_varint::decode::u64(bytes) {
        Ok((value, rest)) => Ok(Some((value, bytes.len() - rest.len()))),
        Err(unsigned_varint::decode::Error::Insufficient) => Ok(None),
        Err(_) => Err(CarError::Section(u64::MAX)),
    }
}

/// Version and roots.
fn header_of(bytes: &[u8]) -> Result<(u64, Vec<Cid>), CarError> {
    let bad = |e| CarError::Header(e);
    let mut rest = bytes;
    let (major, pairs) = cbor::head(&mut rest).map_err(bad)?;
    if major != 5 || pairs > 2 {
        return Err(bad(CborError("not a map of version and roots")));
    }
    let (mut version, mut roots) = (None, vec![]);
    for _ in 0..pairs {
        match cbor::text(&mut rest, 16).map_err(bad)? {
            b"version" => match cbor::head(&mut rest).map_err(bad)? {
                (0, n) => version = Some(n),
                _ => return Err(bad(CborError("the version is not a number"))),
            },
            b"roots" => {
                let (major, n) = cbor::head(&mut rest).map_err(bad)?;
                if major != 4 {
                    return Err(bad(CborError("the roots are not a list")));
                }
                if n > CAR_ROOTS_MAX as u64 {
                    return Err(CarError::Roots);
                }
                for _ in 0..n {
                    roots.push(cbor::link(&mut rest).map_err(bad)?);
                }
            }
            _ => return Err(bad(CborError("an unknown key"))),
        }
    }
    let version = version.ok_or(bad(CborError("no version")))?;
    Ok((version, roots))
}

/// A CID and what follows it.
fn block(section: Bytes) -> Result<Item, CarError> {
    let mut rest = io::Cursor::new(&section);
    let cid = WideCid::read_bytes(&mut rest).map_err(|e| CarError::Cid(e.to_string()))?;
    let at = usize::try_from(rest.position()).map_err(|_| CarError::Eof)?;
    let data = section.slice(at.min(section.len())..);
    let cid = Cid(cid);
    Ok(Item::Block(Block { cid, data }))
}

/// The first bytes of an archive of version 1.
#[must_use]
pub fn header(roots: &[Cid]) -> Vec<u8> {
    let mut inner = vec![];
    cbor::put_head(&mut inner, 5, 2);
    cbor::put_head(&mut inner, 3, 5);
    inner.extend(b"roots");
    cbor::put_head(&mut inner, 4, roots.len() as u64);
    for root in roots {
        cbor::put_link(&mut inner, root);
    }
    cbor::put_head(&mut inner, 3, 7);
    inner.extend(b"version");
    cbor::put_head(&mut inner, 0, 1);
    let mut out = Vec::with_capacity(inner.len() + 4);
    put_number(&mut out, inner.len() as u64);
    out.extend(inner);
    out
}

/// A block's section.
#[must_use]
pub fn section(cid: &Cid, data: &[u8]) -> Vec<u8> {
    let name = cid.to_bytes();
    let len = name.len() + data.len();
    let mut out = Vec::with_capacity(len + 10);
    put_number(&mut out, len as u64);
    out.extend(name);
    out.extend_from_slice(data);
    out
}

#[cfg(test)]
mod tests;
