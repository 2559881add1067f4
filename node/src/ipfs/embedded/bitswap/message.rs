//! Bitswap messages: from bytes that a stranger sent, and to bytes.
//!
//! Read by hand: what a generic decoder would allocate for a hostile message is a multiple of it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ipfs_cluster_protocol::{
    content::{DAG_PB, hash::name_like},
    id::Cid,
    limits::BITSWAP_WANTS_PER_PEER_MAX,
};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

use super::Version;

/// What is wanted of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WantKind {
    /// The block.
    Block,
    /// Whether it is there.
    Have,
}

/// An entry of a wantlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Want {
        cid: Cid,
        kind: WantKind,
        /// Whether to say so when it is not there.
        dont_have: bool,
    },
    Cancel(Cid),
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) entries: Vec<Entry>,
    /// The entries replace the wantlist.
    pub(super) full: bool,
    /// Blocks, named by hashing them.
    pub(super) blocks: Vec<(Cid, Bytes)>,
    /// What the sender has (true) or has not.
    pub(super) presences: Vec<(Cid, bool)>,
}

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed bitswap message: {0}")]
pub(super) struct MessageError(&'static str);

enum Value {
    Number(u64),
    Bytes(Bytes),
    Skipped,
}

/// The next field of a message.
fn field(buf: &mut Bytes) -> Result<Option<(u32, Value)>, MessageError> {
    if !buf.has_remaining() {
        return Ok(None);
    }
    let (tag, wire) = decode_key(buf).map_err(|_| MessageError("a field's key"))?;
    let number = |buf: &mut Bytes| decode_varint(buf).map_err(|_| MessageError("a number"));
    let skip = |buf: &mut Bytes, n: usize| {
        if buf.len() < n {
            return Err(MessageError("unexpected end"));
        }
        buf.advance(n);
        Ok(Value::Skipped)
    };
    let value = match wire {
        WireType::Varint => Value::Number(number(buf)?),
        WireType::LengthDelimited => {
            let len = usize::try_from(number(buf)?).unwrap_or(usize::MAX);
            if len > buf.len() {
                return Err(MessageError("unexpected end"));
            }
            Value::Bytes(buf.split_to(len))
        }
        WireType::SixtyFourBit => skip(buf, 8)?,
        WireType::ThirtyTwoBit => skip(buf, 4)?,
        WireType::StartGroup | WireType::EndGroup => return Err(MessageError("a group")),
    };
    Ok(Some((tag, value)))
}

impl Message {
    /// Reads a message. Entries beyond the bound, names and blocks that are not understood are left
    /// out: other implementations may know more.
    pub(super) fn decode(mut buf: Bytes) -> Result<Self, MessageError> {
        let mut out = Self::default();
        while let Some((tag, value)) = field(&mut buf)? {
            match (tag, value) {
                (1, Value::Bytes(wantlist)) => out.read_wantlist(wantlist)?,
                // Version 1.0: the bare block of a version 0 name.
                (2, Value::Bytes(data)) => {
                    let cid = name_like(0, DAG_PB, 0x12, 32, &data);
                    out.blocks.extend(cid.map(|c| (c, data)));
                }
                (3, Value::Bytes(payload)) => out.blocks.extend(read_block(payload)?),
                (4, Value::Bytes(presence)) => {
                    let known = out.presences.len() < BITSWAP_WANTS_PER_PEER_MAX;
                    out.presences
                        .extend(read_presence(presence)?.filter(|_| known));
                }
                _ => {}
            }
        }
        Ok(out)
    }

    fn read_wantlist(&mut self, mut buf: Bytes) -> Result<(), MessageError> {
        while let Some((tag, value)) = field(&mut buf)? {
            match (tag, value) {
                (1, Value::Bytes(entry)) => {
                    let known = self.entries.len() < BITSWAP_WANTS_PER_PEER_MAX;
                    self.entries.extend(read_entry(entry)?.filter(|_| known));
                }
                (2, Value::Number(full)) => self.full = full != 0,
                _ => {}
            }
        }
        Ok(())
    }

    /// The bytes, without a length in front.
    pub(super) fn encode(&self, version: Version) -> Bytes {
        let blocks: usize = self.blocks.iter().map(|(_, b)| b.len() + 64).sum();
        let names = self.entries.len() + self.presences.len();
        let mut out = BytesMut::with_capacity(blocks + names * 64 + 16);
        if !self.entries.is_empty() || self.full {
            let mut wantlist = BytesMut::new();
            for entry in &self.entries {
                put_bytes(1, &encode_entry(entry), &mut wantlist);
            }
            if self.full {
                put_number(2, 1, &mut wantlist);
            }
            put_bytes(1, &wantlist, &mut out);
        }
        for (cid, data) in &self.blocks {
            if version == Version::V1_0 {
                put_bytes(2, data, &mut out);
                continue;
            }
            let prefix = prefix(cid);
            let len = 2 + prefix.len() + 1 + varint_len(data.len()) + data.len();
            encode_key(3, WireType::LengthDelimited, &mut out);
            encode_varint(len as u64, &mut out);
            put_bytes(1, &prefix, &mut out);
            put_bytes(2, data, &mut out);
        }
        for (cid, have) in &self.presences {
            let mut presence = BytesMut::new();
            put_bytes(1, &cid.to_bytes(), &mut presence);
            put_number(2, u64::from(!have), &mut presence);
            put_bytes(4, &presence, &mut out);
        }
        out.freeze()
    }
}

fn varint_len(n: usize) -> usize {
    prost::encoding::encoded_len_varint(n as u64)
}

fn put_number(tag: u32, value: u64, out: &mut impl BufMut) {
    encode_key(tag, WireType::Varint, out);
    encode_varint(value, out);
}

fn put_bytes(tag: u32, value: &[u8], out: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.put_slice(value);
}

fn encode_entry(entry: &Entry) -> BytesMut {
    let mut out = BytesMut::with_capacity(64);
    match entry {
        Entry::Want {
            cid,
            kind,
            dont_have,
        } => {
            put_bytes(1, &cid.to_bytes(), &mut out);
            put_number(2, 1, &mut out);
            put_number(4, u64::from(*kind == WantKind::Have), &mut out);
            put_number(5, u64::from(*dont_have), &mut out);
        }
        Entry::Cancel(cid) => {
            put_bytes(1, &cid.to_bytes(), &mut out);
            put_number(3, 1, &mut out);
        }
    }
    out
}

fn read_entry(mut buf: Bytes) -> Result<Option<Entry>, MessageError> {
    let (mut cid, mut cancel, mut kind, mut dont_have) = (None, false, WantKind::Block, false);
    while let Some((tag, value)) = field(&mut buf)? {
        match (tag, value) {
            (1, Value::Bytes(bytes)) => cid = Cid::from_bytes(&bytes).ok(),
            (3, Value::Number(n)) => cancel = n != 0,
            (4, Value::Number(1)) => kind = WantKind::Have,
            (5, Value::Number(n)) => dont_have = n != 0,
            _ => {}
        }
    }
    Ok(cid.map(|cid| match cancel {
        true => Entry::Cancel(cid),
        false => Entry::Want {
            cid,
            kind,
            dont_have,
        },
    }))
}

fn read_presence(mut buf: Bytes) -> Result<Option<(Cid, bool)>, MessageError> {
    let (mut cid, mut have) = (None, true);
    while let Some((tag, value)) = field(&mut buf)? {
        match (tag, value) {
            (1, Value::Bytes(bytes)) => cid = Cid::from_bytes(&bytes).ok(),
            (2, Value::Number(n)) => have = n == 0,
            _ => {}
        }
    }
    Ok(cid.map(|c| (c, have)))
}

fn read_block(mut buf: Bytes) -> Result<Option<(Cid, Bytes)>, MessageError> {
    let (mut prefix, mut data) = (Bytes::new(), Bytes::new());
    while let Some((tag, value)) = field(&mut buf)? {
        match (tag, value) {
            (1, Value::Bytes(bytes)) => prefix = bytes,
            (2, Value::Bytes(bytes)) => data = bytes,
            _ => {}
        }
    }
    Ok(named(prefix, &data).map(|cid| (cid, data)))
}

/// A block's name without its digest: version, codec, hash function, digest length.
fn prefix(cid: &Cid) -> BytesMut {
    let hash = cid.0.hash();
    let version = u64::from(cid.0.version());
    let mut out = BytesMut::with_capacity(16);
    for number in [version, cid.0.codec(), hash.code(), u64::from(hash.size())] {
        encode_varint(number, &mut out);
    }
    out
}

fn named(mut prefix: Bytes, data: &[u8]) -> Option<Cid> {
    let mut next = || decode_varint(&mut prefix).ok();
    let (version, codec, code, len) = (next()?, next()?, next()?, next()?);
    name_like(version, codec, code, usize::try_from(len).ok()?, data)
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::content::RAW;
    use ipfs_cluster_tests::fuzz;
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn block(data: &'static [u8]) -> (Cid, Bytes) {
        let cid = name_like(1, RAW, 0x12, 32, data).unwrap();
        (cid, Bytes::from_static(data))
    }

    fn sample() -> Message {
        let (a, b) = (block(b"a"), block(b"b"));
        let v0 = Bytes::from_static(&[0x0a, 2, 8, 1]);
        let v0 = (name_like(0, DAG_PB, 0x12, 32, &v0).unwrap(), v0);
        let want = |cid, kind| Entry::Want {
            cid,
            kind,
            dont_have: true,
        };
        Message {
            entries: vec![
                want(a.0, WantKind::Block),
                want(b.0, WantKind::Have),
                Entry::Cancel(v0.0),
            ],
            full: true,
            presences: vec![(a.0, true), (b.0, false)],
            blocks: vec![a, b, v0],
        }
    }

    #[test]
    fn messages_come_back() {
        let message = sample();
        for version in [Version::V1_1, Version::V1_2] {
            assert_eq!(
                Message::decode(message.encode(version)),
                Ok(message.clone())
            );
        }
        let old = Message::decode(message.encode(Version::V1_0)).unwrap();
        assert_eq!(old.blocks[2], message.blocks[2]);
    }

    #[test]
    fn a_block_is_named_by_its_bytes_not_by_its_sender() {
        let whole = sample().encode(Version::V1_2);
        let at = whole.windows(3).position(|w| w == [0x12, 1, b'a']).unwrap() + 2;
        let mut bytes = whole.to_vec();
        bytes[at] = b'x';
        let message = Message::decode(bytes.into()).unwrap();
        assert_eq!(message.blocks[0], block(b"x"));
    }

    #[test]
    fn more_entries_than_the_bound_are_left_out() {
        let entry = Entry::Cancel(block(b"a").0);
        let many = Message {
            entries: vec![entry; BITSWAP_WANTS_PER_PEER_MAX + 10],
            ..Message::default()
        };
        let read = Message::decode(many.encode(Version::V1_2)).unwrap();
        assert_eq!(read.entries.len(), BITSWAP_WANTS_PER_PEER_MAX);
    }

    #[test]
    fn changed_messages_never_panic_nor_forge_a_block() {
        let mut seeds = fuzz::recorded();
        seeds.extend(vec![sample().encode(Version::V1_2).to_vec(); 2000]);
        fuzz::feed(&seeds, |bytes, _| {
            if let Ok(message) = Message::decode(bytes.to_vec().into()) {
                for (cid, data) in message.blocks {
                    let verified = ipfs_cluster_protocol::content::hash::verify(&cid, &data);
                    assert!(verified.is_ok(), "{cid}");
                }
            }
        });
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = Message::decode(bytes.into());
        }

        #[test]
        fn a_flipped_bit_never_panics_nor_forges_a_block(at in any::<usize>(), bit in 0u8..8) {
            let mut bytes = sample().encode(Version::V1_2).to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(message) = Message::decode(bytes.into()) {
                for (cid, data) in message.blocks {
                    prop_assert!(ipfs_cluster_protocol::content::hash::verify(&cid, &data).is_ok());
                }
            }
        }
    }
}
