//! Multihashes: which functions are known, naming of blocks, checking a block against its name.

use multihash_codetable::{Code, MultihashDigest};
use sha2::{Digest, Sha256};
use sha3::digest::{ExtendableOutput, Update};

use crate::id::{Cid, CidHash, WideCid};

/// Digests shorter than this are refused, as Kubo does: they can be forged.
pub const DIGEST_BYTES_MIN: usize = 20;
/// Multihash code of the identity function: the digest is the data.
pub const IDENTITY: u64 = 0x00;

/// A hash function that blocks may be named by: those that Kubo computes and finds safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashFunction(Algorithm);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Code(Code),
    Sha1,
    DoubleSha2,
    Shake256,
    /// With a digest of so many bytes.
    Blake2b(u8),
}

/// Names as Kubo's `--hash` has them, and multihash codes. `blake2b-160` to `blake2b-512` are apart.
const FUNCTIONS: [(&str, u64, Algorithm); 14] = [
    ("sha1", 0x11, Algorithm::Sha1),
    ("sha2-256", 0x12, Algorithm::Code(Code::Sha2_256)),
    ("sha2-512", 0x13, Algorithm::Code(Code::Sha2_512)),
    ("sha3-512", 0x14, Algorithm::Code(Code::Sha3_512)),
    ("sha3-384", 0x15, Algorithm::Code(Code::Sha3_384)),
    ("sha3-256", 0x16, Algorithm::Code(Code::Sha3_256)),
    ("sha3-224", 0x17, Algorithm::Code(Code::Sha3_224)),
    ("shake-256", 0x19, Algorithm::Shake256),
    ("keccak-256", 0x1b, Algorithm::Code(Code::Keccak256)),
    ("keccak-512", 0x1d, Algorithm::Code(Code::Keccak512)),
    ("blake3", 0x1e, Algorithm::Code(Code::Blake3_256)),
    ("dbl-sha2-256", 0x56, Algorithm::DoubleSha2),
    ("blake2s-256", 0xb260, Algorithm::Code(Code::Blake2s256)),
    // What Kubo takes `sha3` for.
    ("sha3", 0x14, Algorithm::Code(Code::Sha3_512)),
];
/// The multihash code of BLAKE2b with a digest of no bytes.
const BLAKE2B: u64 = 0xb200;
/// Bytes of its digest.
const BLAKE2B_BYTES: std::ops::RangeInclusive<u8> = DIGEST_BYTES_MIN as u8..=64;

impl HashFunction {
    /// The usual one.
    pub const SHA2_256: Self = Self(Algorithm::Code(Code::Sha2_256));

    /// Finds a function by its multicodec name, in any case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if let Some(found) = FUNCTIONS.iter().find(|(n, ..)| *n == name) {
            return Some(Self(found.2));
        }
        let bits: u64 = name.strip_prefix("blake2b-")?.parse().ok()?;
        let bytes = bits.is_multiple_of(8).then_some(bits / 8)?;
        Self::by_code(BLAKE2B + bytes).filter(|found| found.name() == name)
    }

    /// Finds a function by its multihash code.
    #[must_use]
    pub fn by_code(code: u64) -> Option<Self> {
        if let Some(found) = FUNCTIONS.iter().find(|(_, c, _)| *c == code) {
            return Some(Self(found.2));
        }
        let bytes = u8::try_from(code.checked_sub(BLAKE2B)?).ok()?;
        let known = BLAKE2B_BYTES.contains(&bytes);
        known.then_some(Self(Algorithm::Blake2b(bytes)))
    }

    /// Its multihash code.
    #[must_use]
    pub fn code(self) -> u64 {
        match self.0 {
            Algorithm::Code(code) => code.into(),
            Algorithm::Sha1 => 0x11,
            Algorithm::DoubleSha2 => 0x56,
            Algorithm::Shake256 => 0x19,
            Algorithm::Blake2b(bytes) => BLAKE2B + u64::from(bytes),
        }
    }

    /// Its multicodec name.
    #[must_use]
    pub fn name(self) -> String {
        match self.0 {
            Algorithm::Blake2b(bytes) => format!("blake2b-{}", u32::from(bytes) * 8),
            other => {
                let found = FUNCTIONS.iter().find(|(.., a)| *a == other);
                found.map_or_else(String::new, |(n, ..)| (*n).to_string())
            }
        }
    }

    /// The multihash of `data`.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> CidHash {
        let digest = match self.0 {
            Algorithm::Code(code) => code.digest(data).digest().to_vec(),
            Algorithm::Sha1 => sha1::Sha1::digest(data).to_vec(),
            Algorithm::DoubleSha2 => Sha256::digest(Sha256::digest(data)).to_vec(),
            Algorithm::Shake256 => {
                let mut shake = sha3::Shake256::default();
                shake.update(data);
                shake.finalize_boxed(64).to_vec()
            }
            Algorithm::Blake2b(bytes) => {
                let mut params = blake2b_simd::Params::new();
                let hash = params.hash_length(usize::from(bytes)).hash(data);
                hash.as_bytes().to_vec()
            }
        };
        // No function here has more bytes than fit.
        CidHash::wrap(self.code(), &digest).unwrap_or_default()
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
        CidHash::wrap(IDENTITY, data).ok()?
    } else {
        let whole = HashFunction::by_code(code)?.digest(data);
        if digest_len < DIGEST_BYTES_MIN {
            return None;
        }
        CidHash::wrap(code, whole.digest().get(..digest_len)?).ok()?
    };
    match version {
        0 if codec == super::DAG_PB => WideCid::new_v0(hash).ok().map(Cid),
        1 => Some(Cid(WideCid::new_v1(codec, hash))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_names_and_checks() {
        let blake2b: Vec<String> = (20..=64).map(|n| format!("blake2b-{}", n * 8)).collect();
        let names = FUNCTIONS.iter().map(|f| f.0).filter(|n| *n != "sha3");
        for name in names.chain(blake2b.iter().map(String::as_str)) {
            let function = HashFunction::by_name(name).unwrap();
            assert_eq!(HashFunction::by_code(function.code()), Some(function));
            assert_eq!(function.name(), name);
            assert_eq!(function.digest(b"data").code(), function.code());
            let cid = Cid(WideCid::new_v1(super::super::RAW, function.digest(b"data")));
            assert_eq!(verify(&cid, b"data"), Ok(()));
            assert_eq!(verify(&cid, b"date"), Err(VerifyError::Mismatch(cid)));
        }
        for unknown in [
            "sha2",
            "blake2b-152",
            "blake2b-161",
            "blake2b-0256",
            "blake2b-520",
            "md5",
        ] {
            assert_eq!(HashFunction::by_name(unknown), None, "{unknown}");
        }
        assert_eq!(
            HashFunction::by_name("SHA3"),
            HashFunction::by_name("sha3-512")
        );
    }

    #[test]
    fn digests_are_those_of_their_specifications() {
        // FIPS 202 and the Bitcoin wiki's example; BLAKE2b-160 from its reference implementation.
        for (name, data, digest) in [
            (
                "shake-256",
                "",
                "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f\
                 d75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be",
            ),
            (
                "dbl-sha2-256",
                "hello",
                "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50",
            ),
            (
                "blake2b-160",
                "",
                "3345524abf6bbe1809449224b5972c41790b6cf2",
            ),
            (
                "keccak-256",
                "",
                "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
            ),
        ] {
            let made = HashFunction::by_name(name).unwrap().digest(data.as_bytes());
            assert_eq!(hex::encode(made.digest()), digest, "{name}");
        }
    }

    #[test]
    fn truncated_digests_count_from_20_bytes() {
        let cid = name_like(1, 0x55, 0x12, 20, b"raw block").unwrap();
        assert_eq!(cid.to_string(), "bafkrefapc25bzpn4lnz2cmquulal4cssx4xqlfa");
        assert_eq!(verify(&cid, b"raw block"), Ok(()));
        assert_eq!(verify(&cid, b"raw blocK"), Err(VerifyError::Mismatch(cid)));
        assert_eq!(name_like(1, 0x55, 0x12, 19, b""), None);
        let digest = HashFunction::SHA2_256.digest(b"x");
        let short = CidHash::wrap(0x12, &digest.digest()[..19]).unwrap();
        let short = Cid(WideCid::new_v1(0x55, short));
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
        let hash = CidHash::wrap(0xd5, &[7; 20]).unwrap();
        let cid = Cid(WideCid::new_v1(0x55, hash));
        let error = verify(&cid, b"").unwrap_err().to_string();
        assert!(
            error.ends_with("hash function 0xd5 is not supported"),
            "{error}"
        );
    }
}
