//! What `POST /add` takes and answers.

mod tuning;

use serde::{Deserialize, Serialize};

use super::{
    lenient,
    options::{OptionsError, PinOptions},
    query::Query,
};
use crate::{
    content::{
        hash::HashFunction,
        options::{ImportOptions, Layout, Naming, OptionsError as ImportError},
    },
    id::{Cid, PeerId},
    pin::PinMode,
    time::Timestamp,
};
pub use tuning::{Tuning, mode, stated};

/// What is uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AddFormat {
    /// Files and folders, to be made into blocks.
    #[default]
    UnixFs,
    /// Blocks, in a CAR archive.
    Car,
}

/// How the chunks of a file become a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum AddLayout {
    /// All leaves at the same depth.
    #[default]
    Balanced,
    /// The start of the file near the root.
    Trickle,
}

/// Parameters of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddParams {
    /// Of the pin that the root gets; always recursive, never an update.
    pub options: PinOptions,
    /// Shape of a file's tree.
    pub layout: AddLayout,
    /// Where files are cut: `size-N`, `rabin`, `rabin-MIN-AVG-MAX`, `buzhash`.
    pub chunker: String,
    /// Name of the hash function.
    pub hash: String,
    /// Files or a CAR archive.
    pub format: AddFormat,
    /// Version of the CIDs, checked when the upload starts.
    pub cid_version: i32,
    /// Leaves without a UnixFS envelope.
    pub raw_leaves: bool,
    /// Blocks go to the contacted peer's IPFS node only.
    pub local: bool,
    /// Accepted for the client's sake: what is uploaded is added.
    pub recursive: bool,
    /// Accepted for the client's sake: what is uploaded is added.
    pub hidden: bool,
    /// Puts everything into one more folder.
    pub wrap: bool,
    /// Spreads the blocks of one upload over several pins.
    pub shard: bool,
    /// Adds lines that count the bytes read.
    pub progress: bool,
    /// One line per result as it comes; else an array at the end.
    pub stream_channels: bool,
    /// Blocks refer to files instead of holding their bytes.
    pub nocopy: bool,
    /// Stores the blocks and pins nothing.
    pub no_pin: bool,
    /// What only `ipfs add` has, not the Go cluster.
    pub tuning: Tuning,
}

impl Default for AddParams {
    fn default() -> Self {
        Self {
            options: PinOptions::default(),
            layout: AddLayout::Balanced,
            chunker: "size-262144".to_owned(),
            hash: "sha2-256".to_owned(),
            format: AddFormat::UnixFs,
            cid_version: 0,
            raw_leaves: false,
            local: false,
            recursive: false,
            hidden: false,
            wrap: false,
            shard: false,
            progress: false,
            stream_channels: true,
            nocopy: false,
            no_pin: false,
            tuning: Tuning::default(),
        }
    }
}

impl AddParams {
    /// Reads the parameters of a query. `now` is what `expire-in` counts from.
    pub fn from_query(query: &Query, now: Timestamp) -> Result<Self, OptionsError> {
        let default = Self::default();
        let options = PinOptions {
            mode: PinMode::Recursive,
            pin_update: None,
            ..PinOptions::from_query(query, now)?
        };
        let layout = match query.get("layout") {
            "" | "balanced" => AddLayout::Balanced,
            "trickle" => AddLayout::Trickle,
            _ => return Err(OptionsError::Choice("layout")),
        };
        let format = match query.get("format") {
            "" | "unixfs" => AddFormat::UnixFs,
            "car" => AddFormat::Car,
            _ => return Err(OptionsError::Choice("format")),
        };
        let text = |key, default: String| match query.get(key) {
            "" => default,
            text => text.to_owned(),
        };
        let cid_version = query.int("cid-version", default.cid_version)?;
        Ok(Self {
            options,
            layout,
            chunker: text("chunker", default.chunker),
            hash: text("hash", default.hash),
            format,
            cid_version,
            raw_leaves: query.bool("raw-leaves", cid_version > 0)?,
            local: query.bool("local", default.local)?,
            recursive: query.bool("recursive", default.recursive)?,
            hidden: query.bool("hidden", default.hidden)?,
            wrap: query.bool("wrap-with-directory", default.wrap)?,
            shard: query.bool("shard", default.shard)?,
            progress: query.bool("progress", default.progress)?,
            stream_channels: query.bool("stream-channels", default.stream_channels)?,
            nocopy: query.bool("nocopy", default.nocopy)?,
            no_pin: query.bool("no-pin", default.no_pin)?,
            tuning: Tuning::from_query(query)?,
        })
    }

    /// How files become blocks, if that is possible.
    pub fn import(&self) -> Result<ImportOptions, ImportError> {
        let mut options = ImportOptions {
            chunker: self.chunker.parse()?,
            layout: match self.layout {
                AddLayout::Balanced => Layout::Balanced,
                AddLayout::Trickle => Layout::Trickle,
            },
            naming: Naming {
                version: u64::try_from(self.cid_version)
                    .map_err(|_| ImportError::CidVersion(u64::MAX))?,
                hash: HashFunction::by_name(&self.hash).ok_or(ImportError::Hash)?,
                inline_max: None,
            },
            raw_leaves: self.raw_leaves,
            ..ImportOptions::default()
        };
        self.tuning.apply(&mut options)?;
        options.check()?;
        Ok(options)
    }

    /// The query that [`Self::from_query`] reads these parameters from.
    #[must_use]
    pub fn to_query(&self) -> Query {
        let mut query = Query::default();
        self.options.to_query(&mut query);
        query.push("shard", self.shard);
        query.push("local", self.local);
        query.push("recursive", self.recursive);
        query.push(
            "layout",
            match self.layout {
                AddLayout::Balanced => "",
                AddLayout::Trickle => "trickle",
            },
        );
        query.push("chunker", &self.chunker);
        query.push("raw-leaves", self.raw_leaves);
        query.push("hidden", self.hidden);
        query.push("wrap-with-directory", self.wrap);
        query.push("progress", self.progress);
        query.push("cid-version", self.cid_version);
        query.push("hash", &self.hash);
        query.push("stream-channels", self.stream_channels);
        query.push("nocopy", self.nocopy);
        query.push(
            "format",
            match self.format {
                AddFormat::UnixFs => "",
                AddFormat::Car => "car",
            },
        );
        query.push("no-pin", self.no_pin);
        self.tuning.to_query(&mut query);
        query
    }
}

/// One line of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedOutput {
    /// Path within the upload; empty for a wrapping folder and in progress lines.
    #[serde(default)]
    pub name: String,
    /// Root of the file or folder; `null` in progress lines.
    #[serde(default, deserialize_with = "lenient::cid")]
    pub cid: Option<Cid>,
    /// Bytes read so far; left out when 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Bytes of all blocks of it; left out when 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Who got the blocks; left out when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<PeerId>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it by reference"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(query: &str) -> Result<AddParams, OptionsError> {
        AddParams::from_query(&Query::parse(query), Timestamp(0))
    }

    #[test]
    fn no_parameters_are_the_defaults() {
        assert_eq!(read(""), Ok(AddParams::default()));
    }

    #[test]
    fn newer_cids_have_raw_leaves_unless_told_otherwise() {
        assert!(read("cid-version=1").unwrap().raw_leaves);
        assert!(!read("cid-version=1&raw-leaves=false").unwrap().raw_leaves);
    }

    #[test]
    fn bad_values_are_told_in_known_words() {
        for (query, text) in [
            ("layout=foo", "layout parameter is invalid"),
            ("format=foo", "format parameter is invalid"),
            (
                "wrap-with-directory=foo",
                "parameter wrap-with-directory invalid",
            ),
            ("cid-version=foo", "parameter cid-version invalid"),
        ] {
            assert_eq!(read(query).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn a_progress_line_prints_as_recorded() {
        let line = AddedOutput {
            bytes: 262_144,
            ..AddedOutput::default()
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"name":"","cid":null,"bytes":262144}"#
        );
    }

    proptest! {
        #[test]
        fn a_client_and_a_server_agree(bits: [bool; 12], cid_version in -1i32..3, chunker in ".{1,9}", hash in ".{1,9}", name in ".{0,9}") {
            let [trickle, car, raw_leaves, local, recursive, hidden, wrap, shard, progress, stream_channels, nocopy, no_pin] = bits;
            let params = AddParams {
                options: PinOptions { name, ..PinOptions::default() },
                layout: if trickle { AddLayout::Trickle } else { AddLayout::Balanced },
                format: if car { AddFormat::Car } else { AddFormat::UnixFs },
                chunker, hash, cid_version, raw_leaves, local, recursive, hidden, wrap, shard, progress,
                stream_channels, nocopy, no_pin, tuning: Tuning::default(),
            };
            prop_assert_eq!(read(&params.to_query().to_string()), Ok(params));
        }

        #[test]
        fn garbage_never_panics(text in ".{0,80}") {
            let _ = read(&text);
        }
    }
}
