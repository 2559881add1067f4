//! Requests of the Pinning Service API: who asked for a pin, under an id of its own.
//!
//! Several requests may ask for one CID: they share its pin, which goes when the last of them goes.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    api::time::Time,
    id::{Cid, MemberNo, Seq},
    time::Timestamp,
};

/// Bits of an id that tell the peer that accepted it.
const PEER_BITS: u32 = 16;
/// Nanoseconds for each of the peer's values, so that all of them fit into a millisecond.
const PEER_NANOS: u32 = 15;

/// The id of a request: when it was accepted, in milliseconds since 1970, and by whom. So ids are
/// in the order of their times, and two are never the same: a peer gives no millisecond away twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// A text that is no request's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 16 hex digits")]
pub struct RequestIdError;

impl RequestId {
    /// The id that a member gives at this time.
    #[must_use]
    pub fn new(at: Timestamp, by: MemberNo) -> Self {
        let peer = u64::from(by.0) & ((1 << PEER_BITS) - 1);
        Self((at.0 << PEER_BITS) | peer)
    }

    /// When it was accepted. Different ids have different times: the peer shows below the
    /// millisecond.
    #[must_use]
    pub fn created(self) -> Time {
        let peer = u32::from(u16::try_from(self.0 & 0xffff).unwrap_or(u16::MAX));
        Time::from(Timestamp(self.0 >> PEER_BITS)).plus_nanos(peer * PEER_NANOS)
    }

    /// The id after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 16 || !text.bytes().all(digits) {
            return Err(RequestIdError);
        }
        let id = u64::from_str_radix(text, 16).map_err(|_| RequestIdError)?;
        Ok(Self(id))
    }
}

/// What a request is known by: its id, or, to older clients, the CID. A CID stands for all
/// requests of its pin, and for a pin that nobody requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestKey {
    /// One request.
    #[serde(rename = "r")]
    Id(RequestId),
    /// All of a pin.
    #[serde(rename = "c")]
    Cid(Cid),
}

/// A request that was accepted and not withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// The pin it asked for.
    pub seq: Seq,
    /// Free text, as it was asked for then; the pin has the latest request's.
    pub name: String,
    /// Multiaddrs of nodes that have the content.
    pub origins: Vec<String>,
    /// Free key/value pairs.
    pub metadata: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_are_read_back_and_times_are_in_their_order(
            a in 0u64..1 << 47, b in 0u64..1 << 47, x in any::<u16>(), y in any::<u16>()
        ) {
            // Years have four digits.
            let at = |ms: u64| Timestamp(ms % 253_402_300_799_000);
            let a = RequestId::new(at(a), MemberNo(x.into()));
            let b = RequestId::new(at(b), MemberNo(y.into()));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.created().cmp(&b.created()));
        }

        #[test]
        fn garbage_is_no_id(text in ".{0,20}") {
            if let Ok(id) = text.parse::<RequestId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
