//! Bytes on disk and on the wire: one format byte, then CBOR, nothing after it.

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
    let mut out = Vec::with_capacity(128);
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
    if format > FORMAT || format == 0 {
        return Err(DecodeError::Newer { found: format });
    }
    let mut reader = cbor4ii::core::utils::SliceReader::new(body);
    let value = T::deserialize(&mut cbor4ii::serde::Deserializer::new(&mut reader))
        .map_err(|e| DecodeError::Malformed(e.to_string()))?;
    Ok(value)
}
