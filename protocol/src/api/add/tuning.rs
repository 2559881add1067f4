//! Options of an import that `ipfs add` has and the Go cluster does not, under Kubo's names.

use serde::{Deserialize, Serialize};

use crate::{
    api::query::{ParameterError, Query},
    content::{
        options::{ImportOptions, OptionsError},
        unixfs::{Attributes, Mtime},
    },
};

/// The permissions' name: `mode`, which Kubo has, is the mode of the pin here; numbers are taken for
/// permissions there, too.
const MODE: &str = "unixfs-mode";
/// Blocks of up to so many bytes are inlined where no limit is given.
const INLINE_BYTES: usize = 32;

/// The options; what is not given is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tuning {
    /// Blocks up to so many bytes are carried inside their names.
    pub inline: Option<usize>,
    /// Links of a node of a file.
    pub file_links: Option<usize>,
    /// Links of a folder that is not sharded.
    pub directory_links: Option<usize>,
    /// Links of a block of a sharded folder.
    pub hamt_fanout: Option<usize>,
    /// Unix permissions of everything.
    pub mode: Option<u32>,
    /// Modification time of everything, in seconds since the Unix epoch.
    pub mtime: Option<i64>,
    /// And nanoseconds.
    pub mtime_nsecs: Option<u32>,
    /// Permissions of each entry as the upload states them, where none are given for everything.
    pub preserve_mode: bool,
    /// The same for times.
    pub preserve_mtime: bool,
}

impl Tuning {
    /// Reads them from a query.
    pub(super) fn from_query(query: &Query) -> Result<Self, ParameterError> {
        let inline = query.bool("inline", false)?;
        let limit = number(query, "inline-limit")?.unwrap_or(INLINE_BYTES);
        Ok(Self {
            inline: inline.then_some(limit),
            file_links: number(query, "max-file-links")?,
            directory_links: number(query, "max-directory-links")?,
            hamt_fanout: number(query, "max-hamt-fanout")?,
            mode: match query.get(MODE) {
                "" => mode(query.get("mode")),
                text => Some(mode(text).ok_or(ParameterError(MODE))?),
            },
            mtime: number(query, "mtime")?,
            mtime_nsecs: number(query, "mtime-nsecs")?,
            preserve_mode: query.bool("preserve-mode", false)?,
            preserve_mtime: query.bool("preserve-mtime", false)?,
        })
    }

    /// Adds those that are given to a query.
    pub(super) fn to_query(self, query: &mut Query) {
        if let Some(limit) = self.inline {
            query.push("inline", true);
            query.push("inline-limit", limit);
        }
        let numbers = [
            ("max-file-links", self.file_links),
            ("max-directory-links", self.directory_links),
            ("max-hamt-fanout", self.hamt_fanout),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                query.push(key, number);
            }
        }
        if let Some(mode) = self.mode {
            query.push(MODE, format!("0{mode:o}"));
        }
        if let Some(seconds) = self.mtime {
            query.push("mtime", seconds);
        }
        if let Some(nanos) = self.mtime_nsecs {
            query.push("mtime-nsecs", nanos);
        }
        let preserved = [
            ("preserve-mode", self.preserve_mode),
            ("preserve-mtime", self.preserve_mtime),
        ];
        for (key, preserve) in preserved {
            if preserve {
                query.push(key, true);
            }
        }
    }

    /// Changes what is given. Attributes need a node that can hold them, so they do away with raw
    /// leaves, as in Kubo.
    pub(super) fn apply(&self, options: &mut ImportOptions) -> Result<(), OptionsError> {
        if self.mtime_nsecs.is_some() && self.mtime.is_none() {
            return Err(OptionsError::NanosAlone);
        }
        options.naming.inline_max = self.inline;
        if let Some(links) = self.file_links {
            options.file_links_max = links;
        }
        // Kubo takes 0 for "no bound".
        options.folders.links_max = self.directory_links.filter(|n| *n > 0);
        if let Some(fanout) = self.hamt_fanout {
            options.folders.fanout = fanout;
        }
        if self.keeps_attributes() {
            options.raw_leaves = false;
        }
        Ok(())
    }

    /// Whether permissions or times are to be kept.
    #[must_use]
    pub fn keeps_attributes(&self) -> bool {
        let given = self.attributes(Attributes::default()) != Attributes::default();
        given || self.preserve_mode || self.preserve_mtime
    }

    /// What an entry is to carry, of which the upload states `own`. 0 means nothing, as in Kubo.
    #[must_use]
    pub fn attributes(&self, own: Attributes) -> Attributes {
        let own_mode = own.mode.filter(|_| self.preserve_mode);
        // Of a mode that is given, Kubo takes the permissions alone; of a file's own, all.
        let given = self.mode.map(|mode| mode & 0o777);
        let mode = given.filter(|mode| *mode != 0).or(own_mode);
        let mtime = self.mtime.filter(|seconds| *seconds != 0);
        let mtime = mtime.map(|seconds| Mtime {
            seconds,
            nanos: self.mtime_nsecs.filter(|nanos| *nanos > 0),
        });
        Attributes {
            mode: mode.map(|mode| mode & 0xfff).filter(|mode| *mode != 0),
            mtime: mtime.or(own.mtime.filter(|_| self.preserve_mtime)),
        }
    }
}

fn number<T: std::str::FromStr>(
    query: &Query,
    key: &'static str,
) -> Result<Option<T>, ParameterError> {
    match query.get(key) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| ParameterError(key)),
    }
}

/// What an upload states of an entry, in the query behind the name of its part.
#[must_use]
pub fn stated(query: &Query) -> Attributes {
    let number = |key| query.get(key).parse::<u32>().ok();
    let seconds = query.get("mtime").parse().ok();
    Attributes {
        mode: mode(query.get("mode")),
        mtime: seconds.map(|seconds| Mtime {
            seconds,
            nanos: number("mtime-nsecs").filter(|nanos| *nanos > 0),
        }),
    }
}

/// Permissions as Go reads a number: octal after a 0, else decimal.
#[must_use]
pub fn mode(text: &str) -> Option<u32> {
    match text.strip_prefix('0') {
        Some("") => Some(0),
        Some(octal) => u32::from_str_radix(octal.strip_prefix('o').unwrap_or(octal), 8).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(query: &str) -> Result<Tuning, ParameterError> {
        Tuning::from_query(&Query::parse(query))
    }

    #[test]
    fn inlining_has_a_default_limit() {
        assert_eq!(read("inline=true").unwrap().inline, Some(32));
        assert_eq!(read("inline=true&inline-limit=9").unwrap().inline, Some(9));
        assert_eq!(read("inline-limit=9").unwrap().inline, None);
        assert_eq!(read("unixfs-mode=0x1"), Err(ParameterError("unixfs-mode")));
        assert_eq!(read("mode=recursive").unwrap().mode, None);
        assert_eq!(read("mtime=x"), Err(ParameterError("mtime")));
    }

    #[test]
    fn attributes_do_away_with_raw_leaves() {
        let mut options = ImportOptions {
            raw_leaves: true,
            ..ImportOptions::default()
        };
        read("mode=0").unwrap().apply(&mut options).unwrap();
        assert!(options.raw_leaves);
        let tuning = read("mode=0755&mtime=-5&mtime-nsecs=0").unwrap();
        tuning.apply(&mut options).unwrap();
        assert!(!options.raw_leaves);
        let own = Attributes {
            mode: Some(0o100_644),
            mtime: None,
        };
        let attributes = tuning.attributes(own);
        assert_eq!(attributes.mode, Some(0o755));
        let mtime = attributes.mtime.unwrap();
        assert_eq!((mtime.seconds, mtime.nanos), (-5, None));
        options.raw_leaves = true;
        let preserving = read("preserve-mode=true").unwrap();
        preserving.apply(&mut options).unwrap();
        assert!(!options.raw_leaves);
        assert_eq!(preserving.attributes(own).mode, Some(0o644));
        assert_eq!(Tuning::default().attributes(own), Attributes::default());
        let alone = read("mtime-nsecs=5").unwrap().apply(&mut options);
        assert_eq!(alone, Err(OptionsError::NanosAlone));
    }

    proptest! {
        #[test]
        fn a_client_and_a_server_agree(
            numbers: [Option<u16>; 4], mode in proptest::option::of(0u32..0o7777),
            mtime: Option<i64>, mtime_nsecs: Option<u32>, preserve_mode: bool, preserve_mtime: bool,
        ) {
            let [inline, file_links, directory_links, hamt_fanout] =
                numbers.map(|n| n.map(usize::from));
            let tuning = Tuning {
                inline, file_links, directory_links, hamt_fanout, mode, mtime, mtime_nsecs,
                preserve_mode, preserve_mtime,
            };
            let mut query = Query::default();
            tuning.to_query(&mut query);
            prop_assert_eq!(read(&query.to_string()), Ok(tuning));
        }
    }
}
