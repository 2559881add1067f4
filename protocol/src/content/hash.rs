//! Multihashes: which functions are known, naming of blocks, checking a block against its name.

use multihash::Multihash;
use multihash_codetable::{Code, MultihashDigest};

use crate::id::Cid;

/// Digests shorter than this are refused, as Kubo does: they can be forged.
pub const DIGEST_BYTES_MIN: usize = 20;
/// Multihash code of the identity function: the digest is the data.
pub const IDENTITY: u64 = 0x00;

/// A hash function that blocks may be named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashFunction(Code);

/// Names as Kubo's `--hash` has them.
const FUNCTIONS: [(&str, Code); 9] = [
    ("sha2-256", Code::Sha2_256),
    ("sha2-512", Code::Sha2_512),
    ("sha3-224", Code::Sha3_224),
    ("sha3-256", Code::Sha3_256),
    ("sha3-384", Code::Sha3_384),
    ("sha3-512", Code::Sha3_512),
    ("blake2b-256", Code::Blake2b256),
    ("blake2b-512", Code::Blake2b512),
    ("blake3", Code::Blake3_256),
];

impl HashFunction {
    /// The usual one.
    pub const SHA2_256: Self = Self(Code::Sha2_256);

    /// Finds a function by its multicodec name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let found = FUNCTIONS.iter().find(|(n, _)| *n == name)?;
        Some(Self(found.1))
    }

    /// Finds a function by its multihash code.
    #[must_use]
    pub fn by_code(code: u64) -> Option<Self> {
        let found = FUNCTIONS.iter().find(|(_, c)| u64::from(*c) == code)?;
        Some(Self(found.1))
    }

    /// Its multihash code.
    #[must_use]
    pub fn code(self) -> u64 {
        self.0.into()
    }

    /// Its multicodec name.
    #[must_use]
    pub fn name(self) -> &'static str {
        FUNCTIONS
            .iter()
            .find(|(_, c)| *c == self.0)
            .map_or("", |(n, _)| n)
    }

    /// The multihash of `data`.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Multihash<64> {
        self.0.digest(data)
    }
}

/// Why a block and a name do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The bytes hash to something else.
    #[error("the data of block {0} does not match its hash")]
    Mismatch(Cid),
    /// No such function here.
    #[error("{cid}: hash function {code:#x} is not supported")]
    Unsupported {
        /// The name.
        cid: Cid,
        /// Its multihash code.
        code: u64,
    },
    /// A digest anybody could forge.
    #[error("{cid}: a digest of {bytes} bytes is too short")]
    TooShort {
        /// The name.
        cid: Cid,
        /// Length of its digest.
        bytes: usize,
    },
}

/// Whether blocks of this name can be checked at all.
pub fn supported(cid: &Cid) -> Result<(), VerifyError> {
    let hash = cid.0.hash();
    if hash.code() == IDENTITY {
        return Ok(());
    }
    if HashFunction::by_code(hash.code()).is_none() {
        let code = hash.code();
        return Err(VerifyError::Unsupported { cid: *cid, code });
    }
    let bytes = hash.digest().len();
    if bytes < DIGEST_BYTES_MIN {
        return Err(VerifyError::TooShort { cid: *cid, bytes });
    }
    Ok(())
}

/// Checks that `data` is the block named `cid`. Truncated digests count as Kubo counts them.
pub fn verify(cid: &Cid, data: &[u8]) -> Result<(), VerifyError> {
    supported(cid)?;
    let hash = cid.0.hash();
    let same = match HashFunction::by_code(hash.code()) {
        Some(function) => {
            let whole = function.digest(data);
            whole.digest().get(..hash.digest().len()) == Some(hash.digest())
        }
        None => hash.digest() == data,
    };
    if same {
        Ok(())
    } else {
        Err(VerifyError::Mismatch(*cid))
    }
}

/// The data of a name that carries it (identity hash).
#[must_use]
pub fn inlined(cid: &Cid) -> Option<&[u8]> {
    let hash = cid.0.hash();
    (hash.code() == IDENTITY).then(|| hash.digest())
}

/// The name of `data`, made like another one: version, codec, function and digest length are given
/// (what a bitswap block's prefix and `block/put`'s options say). None where that cannot be.
#[must_use]
pub fn name_like(
    version: u64,
    codec: u64,
    code: u64,
    digest_len: usize,
    data: &[u8],
) -> Option<Cid> {
    let hash = if code == IDENTITY {
        Multihash::wrap(IDENTITY, data).ok()?
    } else {
        let whole = HashFunction::by_code(code)?.digest(data);
        if digest_len < DIGEST_BYTES_MIN {
            return None;
        }
        Multihash::wrap(code, whole.digest().get(..digest_len)?).ok()?
    };
    match version {
        0 if codec == super::DAG_PB => cid::Cid::new_v0(hash).ok().map(Cid),
        1 => Some(Cid(cid::Cid::new_v1(codec, hash))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_names_and_checks() {
        for (name, code) in FUNCTIONS {
            let function = HashFunction::by_name(name).unwrap();
            assert_eq!(HashFunction::by_code(code.into()), Some(function));
            assert_eq!(function.name(), name);
            let cid = Cid(cid::Cid::new_v1(
                super::super::RAW,
                function.digest(b"data"),
            ));
            assert_eq!(verify(&cid, b"data"), Ok(()));
            assert_eq!(verify(&cid, b"date"), Err(VerifyError::Mismatch(cid)));
        }
        assert_eq!(HashFunction::by_name("sha2"), None);
    }

    #[test]
    fn truncated_digests_count_from_20_bytes() {
        let cid = name_like(1, 0x55, 0x12, 20, b"raw block").unwrap();
        assert_eq!(cid.to_string(), "bafkrefapc25bzpn4lnz2cmquulal4cssx4xqlfa");
        assert_eq!(verify(&cid, b"raw block"), Ok(()));
        assert_eq!(verify(&cid, b"raw blocK"), Err(VerifyError::Mismatch(cid)));
        assert_eq!(name_like(1, 0x55, 0x12, 19, b""), None);
        let digest = HashFunction::SHA2_256.digest(b"x");
        let short = Multihash::wrap(0x12, &digest.digest()[..19]).unwrap();
        let short = Cid(cid::Cid::new_v1(0x55, short));
        assert!(matches!(
            verify(&short, b"x"),
            Err(VerifyError::TooShort { bytes: 19, .. })
        ));
    }

    #[test]
    fn an_identity_name_carries_its_data() {
        let cid = name_like(1, 0x55, IDENTITY, 3, b"abc").unwrap();
        assert_eq!(inlined(&cid), Some(&b"abc"[..]));
        assert_eq!(verify(&cid, b"abc"), Ok(()));
        assert!(verify(&cid, b"abd").is_err());
    }

    #[test]
    fn an_unknown_function_is_named() {
        let hash = Multihash::wrap(0x11, &[7; 20]).unwrap();
        let cid = Cid(cid::Cid::new_v1(0x55, hash));
        let error = verify(&cid, b"").unwrap_err().to_string();
        assert!(
            error.ends_with("hash function 0x11 is not supported"),
            "{error}"
        );
    }
}
