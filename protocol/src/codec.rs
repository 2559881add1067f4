//! Bytes on disk and on the wire: one format byte, then CBOR, nothing after it.

use cbor4ii::core::{dec::Read, utils::SliceReader};
use serde::{Serialize, de::DeserializeOwned};

/// The format written by this version. A reader refuses what is newer.
pub const FORMAT: u8 = 1;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No byte at all.
    #[error("empty")]
    Empty,
    /// Written by a newer version.
    #[error("format {found} is newer than {FORMAT}: upgrade this peer")]
    Newer {
        /// The format byte found.
        found: u8,
    },
    /// The format byte is none that was ever written.
    #[error("not a format of this program")]
    Unknown,
    /// Not CBOR of the expected shape.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Something follows the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// Larger than the bound for its kind.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLarge {
        /// Bytes found.
        len: usize,
        /// The bound.
        max: usize,
    },
}

/// Encodes with the format byte in front.
///
/// # Panics
/// Never for this crate's types: they have string keys and known lengths.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_sized(value, 128)
}

/// The same where the caller knows about how many bytes it will be: what is large is not moved again
/// and again while it grows.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn encode_sized<T: Serialize>(value: &T, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    out.push(FORMAT);
    cbor4ii::serde::to_vec(out, value).expect("own types always encode")
}

/// Decodes what [`encode`] wrote: at most `max` bytes, the whole of them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLarge {
            len: bytes.len(),
            max,
        });
    }
    let (&format, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if format == 0 {
        return Err(DecodeError::Unknown);
    }
    if format > FORMAT {
        return Err(DecodeError::Newer { found: format });
    }
    // The reader refuses nesting deeper than 256.
    let mut reader = cbor4ii::serde::Deserializer::new(Counting {
        inner: SliceReader::new(body),
        left: body.len(),
    });
    let value = T::deserialize(&mut reader).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    match reader.into_inner().left {
        0 => Ok(value),
        left => Err(DecodeError::Trailing(left)),
    }
}

/// The length that [`encode`] would give, without keeping the bytes.
#[must_use]
pub fn encoded_len<T: Serialize>(value: &T) -> usize {
    let mut counter = cbor4ii::serde::Serializer::new(Counter(1));
    value
        .serialize(&mut counter)
        .expect("own types always encode");
    counter.into_inner().0
}

/// Counts what is written.
struct Counter(usize);

impl cbor4ii::core::enc::Write for Counter {
    type Error = std::convert::Infallible;

    fn push(&mut self, input: &[u8]) -> Result<(), Self::Error> {
        self.0 = self.0.saturating_add(input.len());
        Ok(())
    }
}

/// Knows how many bytes are not read yet, which the reader inside does not tell.
struct Counting<'a> {
    inner: SliceReader<'a>,
    left: usize,
}

impl<'de> Read<'de> for Counting<'de> {
    type Error = <SliceReader<'de> as Read<'de>>::Error;

    fn fill<'b>(
        &'b mut self,
        want: usize,
    ) -> Result<cbor4ii::core::dec::Reference<'de, 'b>, Self::Error> {
        self.inner.fill(want)
    }

    fn advance(&mut self, n: usize) {
        self.left = self.left.saturating_sub(n);
        self.inner.advance(n);
    }

    fn step_in(&mut self) -> bool {
        self.inner.step_in()
    }

    fn step_out(&mut self) {
        self.inner.step_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{Cid, PeerId},
        limits::PIN_BYTES_MAX,
        pin::{PinSpec, Replication},
    };

    const CID: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    const PEER: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";

    fn spec() -> PinSpec {
        let mut spec = PinSpec::new(CID.parse().unwrap(), Replication::new(1, 3).unwrap());
        spec.name = "name".into();
        spec.user_allocations = vec![PEER.parse().unwrap()];
        spec.metadata.insert("key".into(), "value".into());
        spec
    }

    #[test]
    fn a_value_comes_back_and_its_length_is_foreseen() {
        let bytes = encode(&spec());
        assert_eq!(encoded_len(&spec()), bytes.len());
        assert_eq!(decode::<PinSpec>(&bytes, PIN_BYTES_MAX), Ok(spec()));
    }

    #[test]
    fn identifiers_are_bytes_in_cbor_and_text_in_json() {
        let cid: Cid = CID.parse().unwrap();
        let peer: PeerId = PEER.parse().unwrap();
        // format byte, byte string of 36 and of 38
        assert_eq!(encode(&cid)[..3], [FORMAT, 0x58, 36]);
        assert_eq!(encode(&peer)[..3], [FORMAT, 0x58, 38]);
        assert_eq!(serde_json::to_string(&cid).unwrap(), format!("{CID:?}"));
        assert_eq!(serde_json::to_string(&peer).unwrap(), format!("\"{PEER}\""));
        assert_eq!(
            serde_json::from_str::<PeerId>(&format!("\"{PEER}\"")).unwrap(),
            peer
        );
    }

    #[test]
    fn what_is_not_exactly_one_value_is_refused() {
        let bytes = encode(&spec());
        for cut in 0..bytes.len() {
            assert!(
                decode::<PinSpec>(&bytes[..cut], PIN_BYTES_MAX).is_err(),
                "cut at {cut}"
            );
        }
        let longer = [&bytes[..], &[0xf6]].concat();
        assert_eq!(
            decode::<PinSpec>(&longer, PIN_BYTES_MAX),
            Err(DecodeError::Trailing(1))
        );
        assert_eq!(
            decode::<PinSpec>(&bytes, 10),
            Err(DecodeError::TooLarge {
                len: bytes.len(),
                max: 10
            })
        );
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut bytes = encode(&spec());
        bytes[0] = FORMAT + 1;
        let error = decode::<PinSpec>(&bytes, PIN_BYTES_MAX).unwrap_err();
        assert_eq!(error, DecodeError::Newer { found: FORMAT + 1 });
        assert!(error.to_string().contains("upgrade"));
        assert_eq!(decode::<u8>(&[0, 1], 10), Err(DecodeError::Unknown));
    }

    #[test]
    fn nesting_and_lengths_that_lie_are_refused() {
        let deep = [&[FORMAT][..], &vec![0x81; 100_000]].concat();
        assert!(decode::<serde_json::Value>(&deep, deep.len()).is_err());
        // an array and a byte string of 2^63 elements
        for head in [0x9b, 0x5b] {
            let liar = [FORMAT, head, 0x80, 0, 0, 0, 0, 0, 0, 0];
            assert!(decode::<Vec<u64>>(&liar, 100).is_err());
            assert!(decode::<serde_bytes::ByteBuf>(&liar, 100).is_err());
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let odd = std::collections::BTreeMap::from([("zz", 1)]);
        assert!(decode::<PinSpec>(&encode(&odd), 100).is_err());
    }

    proptest::proptest! {
        #[test]
        fn garbage_and_flipped_bits_never_panic(
            garbage in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            bit in 0usize..8 * 100,
        ) {
            let _ = decode::<PinSpec>(&garbage, 1000);
            let mut framed = vec![FORMAT];
            framed.extend(&garbage);
            let _ = decode::<crate::command::Entry>(&framed, 1000);
            let mut bytes = encode(&spec());
            let at = bit / 8 % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
            if let Ok(other) = decode::<PinSpec>(&bytes, 1000) {
                proptest::prop_assert_ne!(other, spec());
            }
        }
    }
}
