//! `add`.

use std::{io::IsTerminal, path::PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use futures::TryStreamExt;
use indicatif::ProgressBar;
use ipfs_cluster_protocol::{
    api::{
        add::{AddFormat, AddParams, AddedOutput},
        status::TrackerStatus,
    },
    id::Cid,
};

use super::{
    Context,
    import::{ImportFlags, WalkFlags},
    only_hash::hash_tree,
    options::{PinFlags, WaitFlags},
    tree::Tree,
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
    /// Files and folders; - or nothing for what comes on the standard input
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
    #[command(flatten)]
    import: ImportFlags,
    #[command(flatten)]
    walk: WalkFlags,
    /// Compute the CIDs on this machine, as `ipfs add` would, and send nothing
    #[arg(long)]
    only_hash: bool,
    /// Refer to the files instead of copying them
    #[arg(long)]
    nocopy: bool,
}

impl AddArgs {
    fn params(&self) -> Result<AddParams, Failure> {
        let params = AddParams {
            options: self.pin.options(self.replication)?,
            format: if self.format == "car" {
                AddFormat::Car
            } else {
                AddFormat::UnixFs
            },
            local: self.local,
            recursive: self.recursive,
            hidden: self.walk.hidden,
            // Several things need a folder to have one root, if they are to be pinned.
            wrap: self.wrap_with_directory || (!self.only_hash && self.paths.len() > 1),
            progress: std::io::stderr().is_terminal(),
            nocopy: self.nocopy,
            no_pin: self.no_pin,
            ..AddParams::default()
        };
        self.import.apply(params)
    }

    fn trees(&self, params: &AddParams) -> Result<Vec<Tree>, Failure> {
        let walk = self.walk.walk(self.recursive, self.nocopy, params)?;
        let mut trees = vec![Tree::default()];
        for path in &self.paths {
            // Without a folder around them each has a root of its own.
            if self.only_hash && !params.wrap {
                trees.push(Tree::default());
            }
            let Some(tree) = trees.last_mut() else { break };
            let taken = if path.as_os_str() == "-" {
                walk.take_stdin(tree);
                Ok(())
            } else {
                walk.take(path, tree)
            };
            taken.map_err(|e| Failure::local("adding file", format!("{}: {e}", path.display())))?;
        }
        if self.paths.is_empty() {
            walk.take_stdin(&mut trees[0]);
        }
        trees.retain(|tree| !tree.uploads.is_empty());
        Ok(trees)
    }
}

impl Context {
    pub(super) async fn add(&self, args: AddArgs) -> Result<(), Failure> {
        let params = args.params()?;
        let trees = args.trees(&params)?;
        if args.only_hash {
            return self.only_hash(&args, &params, trees).await;
        }
        let mut root = None;
        for tree in trees {
            root = self.upload(&args, &params, tree).await?;
        }
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
        let mut printer = Printer::new(self.encoding, args, tree.bytes);
        let mut lines = self.client.add(tree.uploads, params).await?;
        while let Some(line) = lines.try_next().await? {
            printer.take(line)?;
        }
        printer.finish()
    }

    /// Imports trees into nowhere and prints what they are called.
    async fn only_hash(
        &self,
        args: &AddArgs,
        params: &AddParams,
        trees: Vec<Tree>,
    ) -> Result<(), Failure> {
        if params.format == AddFormat::Car || params.nocopy {
            let why = "--only-hash needs files, not an archive, and copies nothing anyway: leave out \
                       --format=car and --nocopy";
            return Err(Failure::local("hashing", why));
        }
        let bytes = trees.iter().map(|tree| tree.bytes).sum();
        let mut printer = Printer::new(self.encoding, args, bytes);
        for tree in trees {
            hash_tree(params, tree, &mut |line| printer.take(line)).await?;
        }
        printer.finish().map(|_| ())
    }
}

/// Prints what was added, in the form that the flags ask for, beside a progress bar.
struct Printer {
    encoding: Encoding,
    quiet: bool,
    quieter: bool,
    no_stream: bool,
    bar: ProgressBar,
    held: Vec<AddedOutput>,
    last: Option<AddedOutput>,
}

impl Printer {
    fn new(encoding: Encoding, args: &AddArgs, bytes: u64) -> Self {
        let bar = progress_bar("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        bar.set_length(bytes);
        Self {
            encoding,
            quiet: args.quiet,
            quieter: args.quieter,
            no_stream: args.no_stream,
            bar,
            held: Vec::new(),
            last: None,
        }
    }

    fn take(&mut self, line: AddedOutput) -> Result<(), Failure> {
        if line.cid.is_none() {
            self.bar.set_position(line.bytes);
            return Ok(());
        }
        if self.no_stream {
            self.held.push(line.clone());
        } else if !self.quieter {
            self.bar.suspend(|| self.print(&line))?;
        }
        self.last = Some(line);
        Ok(())
    }

    /// The root is what came last.
    fn finish(self) -> Result<Option<Cid>, Failure> {
        self.bar.finish_and_clear();
        if self.quieter {
            self.last.iter().try_for_each(|line| self.print(line))?;
        } else {
            self.held.iter().try_for_each(|line| self.print(line))?;
        }
        Ok(self.last.and_then(|line| line.cid))
    }

    fn print(&self, line: &AddedOutput) -> Result<(), Failure> {
        match (self.encoding, line.cid) {
            (Encoding::Text, Some(cid)) if self.quiet || self.quieter => {
                output::write(&format!("{cid}\n"))
            }
            _ => self.encoding.print(line),
        }
    }
}
