//! Flags that say how files become blocks, under the names that `ipfs add` gives them.

use std::path::{Path, PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use ipfs_cluster_protocol::api::add::{AddLayout, AddParams, Tuning, mode};

use super::{ignore::Ignored, tree::Walk};
use crate::exit::Failure;

/// How files become blocks.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct ImportFlags {
    /// How chunks become a tree
    #[arg(long, default_value = "balanced", value_parser = PossibleValuesParser::new(["balanced", "trickle"]))]
    layout: String,
    /// The same as --layout=trickle
    #[arg(short, long)]
    trickle: bool,
    /// size-BYTES, rabin, rabin-AVG, rabin-MIN-AVG-MAX or buzhash
    #[arg(short = 's', long, default_value = "size-262144")]
    chunker: String,
    /// Leaves without an envelope; by default with CIDs of version 1
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    raw_leaves: Option<bool>,
    /// 0 or 1; by default 0, or 1 where the hash function needs it
    #[arg(long)]
    cid_version: Option<i32>,
    /// The hash function
    #[arg(long, default_value = SHA2_256)]
    hash: String,
    /// Carry small blocks inside their CIDs
    #[arg(long)]
    inline: bool,
    /// Bytes of a block that is small
    #[arg(long, default_value_t = 32)]
    inline_limit: usize,
    /// Most links of a node of a file
    #[arg(long)]
    max_file_links: Option<usize>,
    /// Most links of a folder that is not sharded
    #[arg(long)]
    max_directory_links: Option<usize>,
    /// Most links of a block of a sharded folder: a power of two from 8 to 1024
    #[arg(long)]
    max_hamt_fanout: Option<usize>,
    /// Keep the permissions
    #[arg(long)]
    preserve_mode: bool,
    /// Keep the modification times
    #[arg(long)]
    preserve_mtime: bool,
    /// These permissions for everything, such as 0644
    #[arg(long)]
    mode: Option<String>,
    /// This modification time for everything, in seconds since 1970
    #[arg(long)]
    mtime: Option<i64>,
    /// And nanoseconds
    #[arg(long)]
    mtime_nsecs: Option<u32>,
}

const SHA2_256: &str = "sha2-256";

impl ImportFlags {
    /// Puts the flags into the parameters of an upload.
    pub(super) fn apply(&self, params: AddParams) -> Result<AddParams, Failure> {
        let mode = self.mode.as_deref().map(|text| {
            mode(text).ok_or_else(|| {
                let why = format!("{text:?} is not a number such as 0644");
                Failure::local("parsing mode", why)
            })
        });
        let tuning = Tuning {
            inline: self.inline.then_some(self.inline_limit),
            file_links: self.max_file_links,
            directory_links: self.max_directory_links,
            hamt_fanout: self.max_hamt_fanout,
            mode: mode.transpose()?,
            mtime: self.mtime,
            mtime_nsecs: self.mtime_nsecs,
            preserve_mode: self.preserve_mode,
            preserve_mtime: self.preserve_mtime,
        };
        if self.raw_leaves == Some(true) && tuning.keeps_attributes() {
            let why =
                "raw-leaves can't be used with UnixFS metadata like mode or modification time";
            return Err(Failure::local("adding file", why));
        }
        let trickle = self.trickle || self.layout == "trickle";
        let needed = i32::from(!self.hash.eq_ignore_ascii_case(SHA2_256));
        let cid_version = self.cid_version.unwrap_or(needed);
        Ok(AddParams {
            layout: if trickle {
                AddLayout::Trickle
            } else {
                AddLayout::Balanced
            },
            chunker: self.chunker.clone(),
            hash: self.hash.clone(),
            cid_version,
            raw_leaves: self.raw_leaves.unwrap_or(cid_version > 0),
            tuning,
            ..params
        })
    }
}

/// Which files are taken.
#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct WalkFlags {
    /// Also names that begin with a dot
    #[arg(short = 'H', long)]
    pub(super) hidden: bool,
    /// Leave out entries of folders by name, as a .gitignore does; may be given several times
    #[arg(long, value_name = "RULE")]
    ignore: Vec<String>,
    /// A file of such rules
    #[arg(long, value_name = "FILE")]
    ignore_rules_path: Option<PathBuf>,
    /// Take what the arguments lead to where they are symlinks
    #[arg(long)]
    dereference_args: bool,
    /// Take what symlinks lead to, everywhere
    #[arg(long)]
    dereference_symlinks: bool,
    /// Also folders without entries
    #[arg(short = 'E', long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    empty_dirs: bool,
    /// Name of the file that comes on the standard input
    #[arg(long, default_value = "", hide_default_value = true)]
    stdin_name: String,
}

impl WalkFlags {
    /// With what other flags say of it.
    pub(super) fn walk(
        &self,
        recursive: bool,
        nocopy: bool,
        params: &AddParams,
    ) -> Result<Walk, Failure> {
        let file = self.ignore_rules_path.as_deref();
        let ignored = Ignored::read(file, &self.ignore, |text| eprintln!("{text}"));
        let ignored = ignored.map_err(|e| {
            let path = file.map(Path::display).map(|p| format!("{p}: "));
            Failure::local(
                "reading ignore rules",
                format!("{}{e}", path.unwrap_or_default()),
            )
        })?;
        Ok(Walk {
            recursive,
            ignored,
            hidden: self.hidden,
            absolute: nocopy,
            dereference_args: self.dereference_args || self.dereference_symlinks,
            dereference_symlinks: self.dereference_symlinks,
            empty_dirs: self.empty_dirs,
            attributes: params.tuning.preserve_mode || params.tuning.preserve_mtime,
            stdin_name: self.stdin_name.clone(),
        })
    }
}
