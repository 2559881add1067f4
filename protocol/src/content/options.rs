//! How content is imported. Defaults are Kubo's, so that CIDs are the same.

use std::str::FromStr;

use super::{
    DAG_PB,
    hash::{HashFunction, IDENTITY},
};
use crate::{
    id::{Cid, CidHash, WideCid},
    limits::{
        CHUNK_BYTES_MAX, CID_DIGEST_BYTES_MAX, DIRECTORY_BYTES_MAX, FILE_LINKS_MAX, HAMT_FANOUT_MAX,
    },
};

/// Bytes of a chunk where nothing else is asked for.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Where a file is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkerSpec {
    /// Every so many bytes.
    Size(usize),
    /// By content, with Rabin fingerprints; least, average and most bytes.
    Rabin {
        /// Least bytes of a chunk.
        min: usize,
        /// Aimed at.
        avg: usize,
        /// Most bytes of a chunk.
        max: usize,
    },
    /// By content, with cyclic polynomials.
    Buzhash,
}

/// How the chunks of a file become a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All leaves at the same depth.
    Balanced,
    /// The start of the file near the root.
    Trickle,
}

/// How blocks are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Naming {
    /// 0 or 1; raw blocks and other hashes than sha2-256 are named by version 1 in any case.
    pub version: u64,
    /// The hash function.
    pub hash: HashFunction,
    /// Blocks up to this length are carried inside their names.
    pub inline_max: Option<usize>,
}

impl Naming {
    /// The name of a block of this codec.
    #[must_use]
    pub fn name(&self, codec: u64, data: &[u8]) -> Cid {
        if self.inline_max.is_some_and(|max| data.len() <= max)
            && let Ok(whole) = CidHash::wrap(IDENTITY, data)
        {
            return Cid(WideCid::new_v1(codec, whole));
        }
        let hash = self.hash.digest(data);
        if self.version == 0
            && codec == DAG_PB
            && let Ok(cid) = WideCid::new_v0(hash)
        {
            return Cid(cid);
        }
        Cid(WideCid::new_v1(codec, hash))
    }
}

/// How folders become blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderOptions {
    /// Bytes of names and CIDs that one block holds; a folder with more is sharded.
    pub bytes_max: usize,
    /// Links that one block holds, where that is bounded too.
    pub links_max: Option<usize>,
    /// Links of a block of a sharded folder: a power of two.
    pub fanout: usize,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            bytes_max: DIRECTORY_BYTES_MAX,
            links_max: None,
            fanout: 256,
        }
    }
}

/// How content is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// Where files are cut.
    pub chunker: ChunkerSpec,
    /// How their chunks are joined.
    pub layout: Layout,
    /// How blocks are named.
    pub naming: Naming,
    /// Leaves are plain bytes, without a UnixFS envelope.
    pub raw_leaves: bool,
    /// Links of a node of a file at most.
    pub file_links_max: usize,
    /// How folders become blocks.
    pub folders: FolderOptions,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            chunker: ChunkerSpec::Size(CHUNK_BYTES),
            layout: Layout::Balanced,
            naming: Naming {
                version: 0,
                hash: HashFunction::SHA2_256,
                inline_max: None,
            },
            raw_leaves: false,
            file_links_max: 174,
            folders: FolderOptions::default(),
        }
    }
}

/// Why content cannot be imported as asked. Texts are the Go programs' where they have one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No such chunker.
    #[error("unrecognized chunker option: {0}")]
    Chunker(String),
    /// A chunk of no bytes.
    #[error("chunker size must be greater than 0")]
    ChunkZero,
    /// A chunk larger than a block may be.
    #[error("chunker parameters may not exceed the maximum chunk size of {CHUNK_BYTES_MAX}")]
    ChunkTooLarge,
    /// Rabin's window would not fit.
    #[error("rabin min must be greater than 16")]
    RabinMin,
    /// Rabin's numbers are not in order.
    #[error("incorrect format: rabin-{0} must be smaller than rabin-{1}")]
    RabinOrder(&'static str, &'static str),
    /// Only 0 and 1 exist.
    #[error("bad CID Version: unknown CID version: {0}")]
    CidVersion(u64),
    /// No such hash function, or none that is safe.
    #[error("hash function name not known")]
    Hash,
    /// Nanoseconds of no time.
    #[error("option \"mtime-nsecs\" requires \"mtime\" to be provided as well")]
    NanosAlone,
    /// Version 0 has sha2-256 only.
    #[error("invalid cid: invalid v0 prefix")]
    V0Hash,
    /// A tree needs at least two links a node, and a node must fit into a block.
    #[error("links of a file node must be between 2 and {FILE_LINKS_MAX}, not {0}")]
    FileLinks(usize),
    /// A name holds no more.
    #[error("inline-limit {0} exceeds maximum allowed size of {CID_DIGEST_BYTES_MAX} bytes")]
    Inline(usize),
    /// A shard's width is written in whole bytes and taken from whole bits.
    #[error(
        "HAMT fanout must be a positive power of 2 and a multiple of 8, at most {HAMT_FANOUT_MAX}, not {0}"
    )]
    Fanout(usize),
    /// Two names of one folder whose hashes are the same.
    #[error("sharded directory too deep")]
    TooDeep,
}

impl FromStr for ChunkerSpec {
    type Err = OptionsError;

    /// `size-N`, `rabin`, `rabin-AVG`, `rabin-MIN-AVG-MAX` (also with `min:` and so on before the
    /// numbers), `buzhash`, `default` or nothing.
    fn from_str(text: &str) -> Result<Self, OptionsError> {
        let unknown = || OptionsError::Chunker(text.chars().take(64).collect());
        let mut parts = text.split('-');
        let head = parts.next().unwrap_or_default();
        let labels: &[&str] = match (head, text.matches('-').count()) {
            ("rabin", 3) => &["min:", "avg:", "max:"],
            _ => &[],
        };
        let number = |(at, part): (usize, &str)| {
            let label = labels.get(at).copied().unwrap_or_default();
            let digits = part.strip_prefix(label).unwrap_or(part);
            digits.parse::<usize>().map_err(|_| unknown())
        };
        let numbers = parts
            .enumerate()
            .map(number)
            .collect::<Result<Vec<_>, _>>()?;
        match (head, numbers.as_slice()) {
            ("" | "default", []) => Ok(Self::Size(CHUNK_BYTES)),
            ("size", [size]) => Ok(Self::Size(*size)),
            ("buzhash", []) => Ok(Self::Buzhash),
            ("rabin", []) => Ok(Self::rabin(CHUNK_BYTES)),
            ("rabin", [avg]) => Ok(Self::rabin(*avg)),
            ("rabin", [min, avg, max]) => Ok(Self::Rabin {
                min: *min,
                avg: *avg,
                max: *max,
            }),
            _ => Err(unknown()),
        }
    }
}

impl ChunkerSpec {
    /// Least and most follow from the average.
    fn rabin(avg: usize) -> Self {
        Self::Rabin {
            min: avg / 3,
            avg,
            max: avg.saturating_add(avg / 2),
        }
    }

    /// Checks the numbers.
    pub fn check(self) -> Result<(), OptionsError> {
        match self {
            Self::Size(0) => Err(OptionsError::ChunkZero),
            Self::Size(n) if n > CHUNK_BYTES_MAX => Err(OptionsError::ChunkTooLarge),
            Self::Rabin { max, .. } if max > CHUNK_BYTES_MAX => Err(OptionsError::ChunkTooLarge),
            Self::Rabin { min, .. } if min < 16 => Err(OptionsError::RabinMin),
            Self::Rabin { min, avg, .. } if min >= avg => {
                Err(OptionsError::RabinOrder("min", "avg"))
            }
            Self::Rabin { avg, max, .. } if avg >= max => {
                Err(OptionsError::RabinOrder("avg", "max"))
            }
            Self::Size(_) | Self::Rabin { .. } | Self::Buzhash => Ok(()),
        }
    }
}

impl ImportOptions {
    /// Checks everything that does not depend on the content.
    pub fn check(&self) -> Result<(), OptionsError> {
        self.chunker.check()?;
        match self.naming.version {
            0 if self.naming.hash != HashFunction::SHA2_256 => return Err(OptionsError::V0Hash),
            0 | 1 => {}
            other => return Err(OptionsError::CidVersion(other)),
        }
        if let Some(max) = self.naming.inline_max
            && max > CID_DIGEST_BYTES_MAX
        {
            return Err(OptionsError::Inline(max));
        }
        if !(2..=FILE_LINKS_MAX).contains(&self.file_links_max) {
            return Err(OptionsError::FileLinks(self.file_links_max));
        }
        let fanout = self.folders.fanout;
        if !fanout.is_power_of_two() || !(8..=HAMT_FANOUT_MAX).contains(&fanout) {
            return Err(OptionsError::Fanout(fanout));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunkers_are_read_as_kubo_reads_them() {
        let ok = |t: &str| t.parse::<ChunkerSpec>().unwrap();
        assert_eq!(ok("size-1000"), ChunkerSpec::Size(1000));
        assert_eq!(ok(""), ChunkerSpec::Size(262_144));
        assert_eq!(ok("buzhash"), ChunkerSpec::Buzhash);
        let rabin = ChunkerSpec::Rabin {
            min: 87_381,
            avg: 262_144,
            max: 393_216,
        };
        assert_eq!(ok("rabin"), rabin);
        assert_eq!(ok("rabin-262144"), rabin);
        assert_eq!(ok("rabin-min:87381-avg:262144-max:393216"), rabin);
        assert_eq!(
            "foo".parse::<ChunkerSpec>().unwrap_err().to_string(),
            "unrecognized chunker option: foo"
        );
        for bad in [
            "size",
            "size--1",
            "size-x",
            "rabin-1-2",
            "buzhash-1",
            "size-1-2",
            "rabin-avg:1-2-3",
        ] {
            assert!(bad.parse::<ChunkerSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn impossible_options_are_refused() {
        let mut options = ImportOptions::default();
        assert_eq!(options.check(), Ok(()));
        options.chunker = ChunkerSpec::Size(0);
        assert_eq!(options.check(), Err(OptionsError::ChunkZero));
        options.chunker = ChunkerSpec::Size(CHUNK_BYTES_MAX + 1);
        assert_eq!(options.check(), Err(OptionsError::ChunkTooLarge));
        options = ImportOptions::default();
        options.naming.hash = HashFunction::by_name("sha2-512").unwrap();
        assert_eq!(options.check(), Err(OptionsError::V0Hash));
        options.naming.version = 9;
        assert_eq!(
            options.check().unwrap_err().to_string(),
            "bad CID Version: unknown CID version: 9"
        );
        options = ImportOptions::default();
        options.file_links_max = 1;
        assert_eq!(options.check(), Err(OptionsError::FileLinks(1)));
        options = ImportOptions::default();
        for (text, error) in [
            ("rabin-15-20-30", OptionsError::RabinMin),
            ("rabin-20-20-30", OptionsError::RabinOrder("min", "avg")),
            ("rabin-20-30-30", OptionsError::RabinOrder("avg", "max")),
            ("rabin-2000000", OptionsError::ChunkTooLarge),
        ] {
            options.chunker = text.parse().unwrap();
            assert_eq!(options.check(), Err(error), "{text}");
        }
        options = ImportOptions::default();
        for fanout in [0, 4, 100, 2 * HAMT_FANOUT_MAX] {
            options.folders.fanout = fanout;
            assert_eq!(options.check(), Err(OptionsError::Fanout(fanout)));
        }
    }
}
