//! The little of CBOR that finding links takes. Nothing is trusted: not a length, not a depth.

use crate::id::Cid;

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CborError(pub(super) &'static str);

const END: CborError = CborError("unexpected end of data");

/// The links of a value, in order: walks item by item (a counter stands for the stack) and takes the
/// byte strings of tag 42.
pub(super) fn links(block: &[u8]) -> Result<Vec<Cid>, CborError> {
    let mut rest = block;
    let mut out = vec![];
    let mut todo = 1u64;
    while todo > 0 {
        todo -= 1;
        let (major, n) = head(&mut rest)?;
        let more = match major {
            2 | 3 => {
                let len = usize::try_from(n).map_err(|_| END)?;
                rest = rest.get(len..).ok_or(END)?;
                0
            }
            4 => n,
            5 => n.checked_mul(2).ok_or(END)?,
            6 if n == 42 => {
                out.push(tagged_cid(&mut rest)?);
                0
            }
            6 => return Err(CborError("a tag other than 42")),
            _ => 0,
        };
        // Each item takes a byte at least.
        todo = todo.checked_add(more).ok_or(END)?;
        if todo > rest.len() as u64 {
            return Err(END);
        }
    }
    if rest.is_empty() {
        Ok(out)
    } else {
        Err(CborError("bytes follow the value"))
    }
}

/// Major type and argument of the next item.
pub(super) fn head(rest: &mut &[u8]) -> Result<(u8, u64), CborError> {
    let (&first, tail) = rest.split_first().ok_or(END)?;
    *rest = tail;
    let len = match first & 31 {
        short @ 0..=23 => return Ok((first >> 5, u64::from(short))),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(CborError("a length that is not definite")),
    };
    let (argument, tail) = rest.split_at_checked(len).ok_or(END)?;
    *rest = tail;
    let n = argument.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    Ok((first >> 5, n))
}

/// A text of at most so many bytes.
pub(super) fn text<'a>(rest: &mut &'a [u8], max: usize) -> Result<&'a [u8], CborError> {
    match head(rest)? {
        (3, len) if len <= max as u64 => {
            let (text, tail) = rest.split_at_checked(len as usize).ok_or(END)?;
            *rest = tail;
            Ok(text)
        }
        _ => Err(CborError("a key is not a short text")),
    }
}

/// A link: tag 42 and the CID.
pub(super) fn link(rest: &mut &[u8]) -> Result<Cid, CborError> {
    match head(rest)? {
        (6, 42) => tagged_cid(rest),
        _ => Err(CborError("a link is not a CID")),
    }
}

/// The byte string behind tag 42: a zero byte (multibase identity), then the CID.
fn tagged_cid(rest: &mut &[u8]) -> Result<Cid, CborError> {
    const BAD: CborError = CborError("a link is not a CID");
    let (major, len) = head(rest)?;
    let len = usize::try_from(len).map_err(|_| BAD)?;
    let (bytes, tail) = rest.split_at_checked(len).ok_or(BAD)?;
    *rest = tail;
    match bytes.split_first() {
        Some((0, cid)) if major == 2 => Cid::from_bytes(cid).map_err(|_| BAD),
        _ => Err(BAD),
    }
}

/// Appends the head of an item.
pub(super) fn put_head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend([major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(n.to_be_bytes());
        }
    }
}

/// Appends a link.
pub(super) fn put_link(out: &mut Vec<u8>, cid: &Cid) {
    let bytes = cid.to_bytes();
    out.extend([0xd8, 42]);
    put_head(out, 2, bytes.len() as u64 + 1);
    out.push(0);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn heads_come_back(major in 0u8..8, n in any::<u64>(), shift in 0u32..64) {
            let n = n >> shift;
            let mut out = vec![];
            put_head(&mut out, major, n);
            let mut rest = out.as_slice();
            prop_assert_eq!(head(&mut rest), Ok((major, n)));
            prop_assert_eq!(rest.len(), 0);
        }
    }
}
