//! Names of things: peers, incarnations, clusters, positions in the log and in the state.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::CID_DIGEST_BYTES_MAX;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {why}")]
pub struct IdError {
    /// What was expected, e.g. `peer ID`.
    pub what: &'static str,
    /// The offending text, shortened to 128 characters.
    pub text: String,
    /// Why it was refused.
    pub why: String,
}

impl IdError {
    fn new(what: &'static str, text: &str, why: impl fmt::Display) -> Self {
        Self {
            what,
            text: text.chars().take(128).collect(),
            why: why.to_string(),
        }
    }
}

/// A libp2p peer ID: the multihash of a public key, at most 64 bytes of digest.
///
/// Printed in base58btc; read from base58btc or from a CIDv1 with the `libp2p-key` codec.
///
/// Cheap to clone. Its text is worked out once: a list of statuses shows the same few peers in
/// every line. The lint on keys of interior mutability is told so in `clippy.toml`.
#[derive(Clone)]
pub struct PeerId(Arc<Peer>);

struct Peer {
    bytes: Box<[u8]>,
    /// Follows from `bytes`, and counts for nothing else.
    text: OnceLock<String>,
}

/// The multicodec `libp2p-key`.
const LIBP2P_KEY: u64 = 0x72;

impl PeerId {
    /// Checks that `bytes` are one identity or sha2-256 multihash.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let hash = multihash::Multihash::<64>::from_bytes(bytes)
            .map_err(|e| IdError::new("peer ID", &hex::encode(bytes), e))?;
        match hash.code() {
            0x00 if hash.size() <= 42 => Ok(Self::new(bytes)),
            0x12 if hash.size() == 32 => Ok(Self::new(bytes)),
            code => Err(IdError::new(
                "peer ID",
                &hex::encode(bytes),
                format!("hash function {code:#x} with {} bytes", hash.size()),
            )),
        }
    }

    fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(Peer {
            bytes: bytes.into(),
            text: OnceLock::new(),
        }))
    }

    /// The multihash bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// In base58btc.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let print = || bs58::encode(&self.0.bytes).into_string();
        self.0.text.get_or_init(print)
    }
}

impl PartialEq for PeerId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PeerId {}

impl PartialOrd for PeerId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PeerId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for PeerId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > 128 {
            return Err(IdError::new("peer ID", text, "longer than 128 characters"));
        }
        if text.starts_with("12D3") || text.starts_with("Qm") || text.starts_with('1') {
            let bytes = bs58::decode(text)
                .into_vec()
                .map_err(|e| IdError::new("peer ID", text, e))?;
            return Self::from_bytes(&bytes).map_err(|e| IdError::new("peer ID", text, e.why));
        }
        let cid = cid::Cid::try_from(text).map_err(|e| IdError::new("peer ID", text, e))?;
        if cid.codec() != LIBP2P_KEY {
            return Err(IdError::new("peer ID", text, "its codec is not libp2p-key"));
        }
        Self::from_bytes(&cid.hash().to_bytes())
    }
}

/// Serde by text in human-readable formats and by bytes in the others.
macro_rules! text_or_bytes {
    ($ty:ty, $to_bytes:expr, $from_bytes:expr) => {
        impl Serialize for $ty {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.collect_str(self)
                } else {
                    #[allow(clippy::redundant_closure_call, reason = "one macro, several types")]
                    s.serialize_bytes(($to_bytes)(self).as_ref())
                }
            }
        }

        impl<'de> Deserialize<'de> for $ty {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    let text = String::deserialize(d)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    struct Bytes;
                    impl de::Visitor<'_> for Bytes {
                        type Value = $ty;

                        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                            f.write_str(concat!("the bytes of a ", stringify!($ty)))
                        }

                        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$ty, E> {
                            ($from_bytes)(bytes).map_err(E::custom)
                        }
                    }
                    d.deserialize_bytes(Bytes)
                }
            }
        }
    };
}

text_or_bytes!(PeerId, PeerId::as_bytes, PeerId::from_bytes);

/// The hash within a CID. No hash function has more than 64 bytes; blocks that are carried by their
/// names have up to 128, as in Kubo.
pub type CidHash = multihash::Multihash<CID_DIGEST_BYTES_MAX>;
/// A CID of the `cid` crate that is wide enough for every name that Kubo gives.
pub type WideCid = cid::CidGeneric<CID_DIGEST_BYTES_MAX>;

/// A content identifier, printed in its own version (v0: base58btc, v1: base32 lower case).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(pub WideCid);

impl Cid {
    /// Reads the binary form; trailing bytes are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        let mut rest = bytes;
        let cid = WideCid::read_bytes(&mut rest)
            .map_err(|e| IdError::new("CID", &hex::encode(bytes), e))?;
        if rest.is_empty() {
            Ok(Self(cid))
        } else {
            Err(IdError::new("CID", &hex::encode(bytes), "bytes follow it"))
        }
    }

    /// The binary form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Cid {
    type Err = IdError;

    /// Accepts base58 CIDv0 and any multibase CIDv1, of at most 512 characters.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() > 512 {
            return Err(IdError::new("CID", text, "longer than 512 characters"));
        }
        // `cid` would also read "/ipfs/<cid>": a path is not a CID.
        if text.contains('/') {
            return Err(IdError::new("CID", text, "selected encoding not supported"));
        }
        WideCid::try_from(text)
            .map(Self)
            .map_err(|e| IdError::new("CID", text, e))
    }
}

text_or_bytes!(Cid, Cid::to_bytes, Cid::from_bytes);

/// The random name of a cluster, drawn once by its first peer; printed as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ClusterId {
    fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        <[u8; 16]>::try_from(bytes)
            .map(Self)
            .map_err(|_| IdError::new("cluster ID", &hex::encode(bytes), "not 16 bytes"))
    }
}

impl FromStr for ClusterId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = hex::decode(text).map_err(|e| IdError::new("cluster ID", text, e))?;
        Self::from_slice(&bytes)
    }
}

text_or_bytes!(ClusterId, |c: &ClusterId| c.0, ClusterId::from_slice);

/// A counter with a name of its own.
macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl $name {
            /// The next value.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }
    };
}

counter!(
    /// Position of an entry in the Raft log.
    LogIndex(u64)
);
counter!(
    /// Number of an applied command: dense, from 1, the same at every peer.
    Rev(u64)
);
counter!(
    /// Number of a pin, given at its first apply and never given twice: orders pins by creation.
    Seq(u64)
);
counter!(
    /// Raised by `raft recover` and restore, so that what was left behind can be told apart.
    Epoch(u64)
);
counter!(
    /// The log index of the entry that admitted a peer: tells a wiped peer from its former self.
    Incarnation(u64)
);
counter!(
    /// Rises at each start of a peer.
    Boot(u64)
);
counter!(
    /// Dense number of a member in the state's rows and bitmaps, never given twice.
    MemberNo(u32)
);

impl Seq {
    /// The block of 65 536 pins it is in, and its place there.
    #[must_use]
    pub fn split(self) -> (u64, u32) {
        (self.0 >> 16, (self.0 & 0xffff) as u32)
    }

    /// The seq at a place of a block.
    #[must_use]
    pub fn join(block: u64, low: u32) -> Self {
        Self((block << 16) | u64::from(low & 0xffff))
    }
}

impl Boot {
    /// The boot of a peer's `starts`-th start in this life of it: higher than any of its former
    /// lives', whose count of starts may be lost.
    #[must_use]
    pub fn new(incarnation: Incarnation, starts: u32) -> Self {
        Self(
            incarnation
                .0
                .saturating_mul(1 << 24)
                .saturating_add(u64::from(starts)),
        )
    }
}

/// A peer as the consensus sees it: a re-admitted peer is another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId {
    /// Who.
    pub peer: PeerId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.peer, self.incarnation)
    }
}
