//! What a pack looks like.
//!
//! A pack is records one after the other, and, once it takes no more, a footer:
//!
//! | part | bytes |
//! |---|---|
//! | record | `BLCK`, length of the name (1), length of the data (4), name (a multihash), data |
//! | footer | entries, their length (4), first 8 bytes of their SHA-256, `PACKEND1` |
//! | entry | length of the name (1), offset of the data (4), length of the data (4), name |
//!
//! Numbers are big-endian. A record needs no checksum: its name is the hash of its data. A footer is
//! written after everything before it is durable; it names what is in the pack, so a record that it
//! does not name is gone. Without a footer, every record whose data match its name is there.

use std::io;

use ipfs_cluster_protocol::{
    content::{RAW, hash::verify},
    id::{Cid, CidHash, WideCid},
    limits::{PACK_FILE_BYTES_MAX, PACK_FOOTER_BYTES_MAX, PACKED_BLOCK_BYTES_MAX},
};
use sha2::{Digest as _, Sha256};

use crate::env::DiskFile;

const RECORD: &[u8; 4] = b"BLCK";
const END: &[u8; 8] = b"PACKEND1";
/// Bytes of a record before its name.
const HEAD_BYTES: usize = 4 + 1 + 4;
const TRAILER_BYTES: usize = 4 + 8 + 8;

/// A block in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: CidHash,
    /// Where its data begin.
    pub(super) at: u32,
    pub(super) len: u32,
}

impl Entry {
    /// Bytes of its record.
    pub(super) fn record_bytes(&self) -> u64 {
        (HEAD_BYTES + self.name.to_bytes().len()) as u64 + u64::from(self.len)
    }

    /// The block's name as one of plain bytes: a pack does not say what else it is.
    pub(super) fn cid(&self) -> Cid {
        Cid(WideCid::new_v1(RAW, self.name))
    }
}

/// What a pack was found to hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) entries: Vec<Entry>,
    /// Where its records end.
    pub(super) end: u32,
    /// It has a footer.
    pub(super) sealed: bool,
    /// Records whose data are not what their names say, and bytes that are no record.
    pub(super) damaged: u64,
}

fn short(len: usize) -> Option<u32> {
    u32::try_from(len).ok()
}

/// What comes before a block's data. None where a length does not fit.
pub(super) fn record_head(name: &CidHash, data: &[u8]) -> Option<Vec<u8>> {
    let name = name.to_bytes();
    let (name_len, data_len) = (u8::try_from(name.len()).ok()?, short(data.len())?);
    let mut head = Vec::with_capacity(HEAD_BYTES + name.len());
    head.extend_from_slice(RECORD);
    head.push(name_len);
    head.extend_from_slice(&data_len.to_be_bytes());
    head.extend_from_slice(&name);
    Some(head)
}

/// The footer of a pack. None where it would be too long.
pub(super) fn footer(entries: &[Entry]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(entries.len() * 48 + TRAILER_BYTES);
    for entry in entries {
        let name = entry.name.to_bytes();
        out.push(u8::try_from(name.len()).ok()?);
        out.extend_from_slice(&entry.at.to_be_bytes());
        out.extend_from_slice(&entry.len.to_be_bytes());
        out.extend_from_slice(&name);
    }
    let (len, sum) = (short(out.len())?, Sha256::digest(&out));
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(sum.first_chunk::<8>()?);
    out.extend_from_slice(END);
    (out.len() <= PACK_FOOTER_BYTES_MAX).then_some(out)
}

/// Takes bytes off the front.
fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(n)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*take(rest, 4)?.first_chunk()?))
}

fn entry(rest: &mut &[u8]) -> Option<Entry> {
    let name_len = usize::from(*take(rest, 1)?.first()?);
    let (at, len) = (number(rest)?, number(rest)?);
    let name = CidHash::from_bytes(take(rest, name_len)?).ok()?;
    Some(Entry { name, at, len })
}

fn read(file: &dyn DiskFile, at: u64, len: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = vec![0; len];
    let n = file.read_at(at, &mut out)?;
    Ok((n == len).then_some(out))
}

/// What a pack holds, by its footer or, without one, record by record.
pub(super) fn contents(file: &dyn DiskFile) -> io::Result<Contents> {
    let len = file.len()?;
    match read_footer(file, len)? {
        Some(contents) => Ok(contents),
        None => scan(file, len),
    }
}

/// By its footer; None where there is none, or not all of it.
fn read_footer(file: &dyn DiskFile, len: u64) -> io::Result<Option<Contents>> {
    let Some(at) = len.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(None);
    };
    let Some(trailer) = read(file, at, TRAILER_BYTES)? else {
        return Ok(None);
    };
    let mut rest = trailer.as_slice();
    let bytes = number(&mut rest).unwrap_or(u32::MAX);
    let (Some(sum), true) = (take(&mut rest, 8), rest == END) else {
        return Ok(None);
    };
    let (Some(end), true) = (
        at.checked_sub(u64::from(bytes)),
        bytes as usize <= PACK_FOOTER_BYTES_MAX,
    ) else {
        return Ok(None);
    };
    let Some(bytes) = read(file, end, bytes as usize)? else {
        return Ok(None);
    };
    if Sha256::digest(&bytes).get(..8) != Some(sum) {
        return Ok(None);
    }
    let (mut entries, mut rest) = (vec![], bytes.as_slice());
    while !rest.is_empty() {
        let Some(entry) = entry(&mut rest) else {
            return Ok(None);
        };
        entries.push(entry);
    }
    let Ok(end) = u32::try_from(end) else {
        return Ok(None);
    };
    Ok(Some(Contents {
        entries,
        end,
        sealed: true,
        damaged: 0,
    }))
}

/// Record by record, as far as they can be told apart.
fn scan(file: &dyn DiskFile, len: u64) -> io::Result<Contents> {
    let mut found = Contents::default();
    let mut data = Vec::new();
    while u64::from(found.end) < PACK_FILE_BYTES_MAX
        && let Some(entry) = record(file, found.end)?
    {
        data.resize(entry.len as usize, 0);
        if file.read_at(u64::from(entry.at), &mut data)? < data.len() {
            break;
        }
        let Some(end) = entry.at.checked_add(entry.len) else {
            break;
        };
        found.end = end;
        if verify(&entry.cid(), &data).is_ok() {
            found.entries.push(entry);
        } else {
            found.damaged += 1;
        }
    }
    found.damaged += len.saturating_sub(u64::from(found.end));
    Ok(found)
}

/// The head of the record at an offset; None where there is no such thing.
fn record(file: &dyn DiskFile, at: u32) -> io::Result<Option<Entry>> {
    let mut head = [0; HEAD_BYTES + u8::MAX as usize];
    let n = file.read_at(u64::from(at), &mut head)?;
    let mut rest = head.get(..n).unwrap_or_default();
    let parsed = |rest: &mut &[u8]| {
        if take(rest, RECORD.len())? != RECORD {
            return None;
        }
        let name_len = usize::from(*take(rest, 1)?.first()?);
        let len = number(rest)?;
        let name = CidHash::from_bytes(take(rest, name_len)?).ok()?;
        let before = short(HEAD_BYTES + name_len)?;
        Some(Entry {
            name,
            at: at.checked_add(before)?,
            len: (len as usize <= PACKED_BLOCK_BYTES_MAX).then_some(len)?,
        })
    };
    Ok(parsed(&mut rest))
}
