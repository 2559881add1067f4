//! `add`.

use std::{io::IsTerminal, path::PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use futures::TryStreamExt;
use ipfs_cluster_protocol::{
    api::{
        add::{AddFormat, AddLayout, AddParams, AddedOutput},
        status::TrackerStatus,
    },
    id::Cid,
};

use super::{
    Context,
    options::{PinFlags, WaitFlags},
    tree::{Tree, Walk},
    wait::{Goal, progress_bar},
};
use crate::{
    exit::Failure,
    output::{self, Encoding},
};

/// Files to add, and how.
#[derive(Debug, Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct AddArgs {
    /// Files and folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Into folders
    #[arg(short, long)]
    recursive: bool,
    /// Print CIDs alone
    #[arg(short, long)]
    quiet: bool,
    /// Print the last CID alone
    #[arg(short = 'Q', long)]
    quieter: bool,
    /// Print at the end
    #[arg(long)]
    no_stream: bool,
    /// Blocks go to the contacted peer's IPFS node only
    #[arg(long)]
    local: bool,
    /// Copies; sets the least and the most
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    replication: i32,
    #[command(flatten)]
    pin: PinFlags,
    /// Add without pinning
    #[arg(long)]
    no_pin: bool,
    /// Wait until the peers are done
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    how: WaitFlags,
    /// Put everything into one more folder
    #[arg(short, long)]
    wrap_with_directory: bool,
    /// What the files are
    #[arg(long, default_value = "unixfs", value_parser = PossibleValuesParser::new(["unixfs", "car"]))]
    format: String,
    /// How chunks become a tree
    #[arg(long, default_value = "balanced", value_parser = PossibleValuesParser::new(["balanced", "trickle"]))]
    layout: String,
    /// Also names that begin with a dot
    #[arg(short = 'H', long)]
    hidden: bool,
    /// size-BYTES, rabin or rabin-MIN-AVG-MAX
    #[arg(short = 's', long, default_value = "size-262144")]
    chunker: String,
    /// Leaves without an envelope
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    raw_leaves: Option<bool>,
    /// 0 or 1
    #[arg(long, default_value_t = 0)]
    cid_version: i32,
    /// The hash function
    #[arg(long, default_value = "sha2-256")]
    hash: String,
    /// Refer to the files instead of copying them
    #[arg(long)]
    nocopy: bool,
}

impl AddArgs {
    fn params(&self) -> Result<AddParams, Failure> {
        Ok(AddParams {
            options: self.pin.options(self.replication)?,
            layout: if self.layout == "trickle" {
                AddLayout::Trickle
            } else {
                AddLayout::Balanced
            },
            chunker: self.chunker.clone(),
            hash: self.hash.clone(),
            format: if self.format == "car" {
                AddFormat::Car
            } else {
                AddFormat::UnixFs
            },
            cid_version: self.cid_version,
            raw_leaves: self.raw_leaves.unwrap_or(self.cid_version > 0),
            local: self.local,
            recursive: self.recursive,
            hidden: self.hidden,
            // Several things need a folder to have one root.
            wrap: self.wrap_with_directory || self.paths.len() > 1,
            progress: std::io::stderr().is_terminal(),
            nocopy: self.nocopy,
            no_pin: self.no_pin,
            ..AddParams::default()
        })
    }
}

impl Context {
    pub(super) async fn add(&self, args: AddArgs) -> Result<(), Failure> {
        let params = args.params()?;
        let walk = Walk {
            recursive: args.recursive,
            hidden: args.hidden,
            absolute: args.nocopy,
        };
        let mut tree = Tree::default();
        for path in &args.paths {
            let taken = walk.take(path, &mut tree);
            taken.map_err(|e| Failure::local("adding file", format!("{}: {e}", path.display())))?;
        }
        let root = self.upload(&args, &params, tree).await?;
        let (true, false, Some(cid)) = (args.wait, args.no_pin, root) else {
            return Ok(());
        };
        let factor = i64::from(params.options.replication_factor_min);
        let goal = Goal {
            cid,
            status: TrackerStatus::Pinned,
            limit: args.how.limit(factor),
        };
        let info = self.wait_for(goal, args.how.timeout()?).await?;
        if args.quiet || args.quieter {
            return Ok(());
        }
        self.encoding.print(&info)
    }

    /// Sends a tree and prints what comes back; the last root.
    async fn upload(
        &self,
        args: &AddArgs,
        params: &AddParams,
        tree: Tree,
    ) -> Result<Option<Cid>, Failure> {
        let bar = progress_bar("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        bar.set_length(tree.bytes);
        let mut lines = self.client.add(tree.uploads, params).await?;
        let mut last: Option<AddedOutput> = None;
        let mut held = Vec::new();
        while let Some(line) = lines.try_next().await? {
            if line.cid.is_none() {
                bar.set_position(line.bytes);
                continue;
            }
            if args.no_stream {
                held.push(line.clone());
            } else if !args.quieter {
                bar.suspend(|| self.print_added(args, &line))?;
            }
            last = Some(line);
        }
        bar.finish_and_clear();
        if args.quieter {
            if let Some(line) = &last {
                self.print_added(args, line)?;
            }
        } else {
            held.iter()
                .try_for_each(|line| self.print_added(args, line))?;
        }
        Ok(last.and_then(|line| line.cid))
    }

    fn print_added(&self, args: &AddArgs, line: &AddedOutput) -> Result<(), Failure> {
        match (self.encoding, line.cid) {
            (Encoding::Text, Some(cid)) if args.quiet || args.quieter => {
                output::write(&format!("{cid}\n")).map_err(|e| Failure::local("printing", e))
            }
            _ => self.encoding.print(line),
        }
    }
}
