//! `pin`.

use clap::Subcommand;
use ipfs_cluster_protocol::{
    api::{options::PinOptions, pin::Pin, status::TrackerStatus},
    pin::{PinMode, PinType},
};

use super::{
    Context, cid,
    options::{PinFlags, WaitFlags},
    wait::Goal,
};
use crate::{
    args::help,
    exit::{Code, Failure},
};

/// On pins.
#[derive(Debug, Subcommand)]
pub(crate) enum PinArgs {
    /// Pin a CID or a path
    Add {
        /// CID or path
        target: String,
        /// Copies; sets the least and the most
        #[arg(short, long, default_value_t = 0, allow_negative_numbers = true)]
        replication: i32,
        /// recursive or direct
        #[arg(long, default_value = "recursive")]
        mode: String,
        #[command(flatten)]
        pin: PinFlags,
        #[command(flatten)]
        after: AfterFlags,
    },
    /// Unpin a CID or a path
    Rm {
        /// CID or path
        target: String,
        #[command(flatten)]
        after: AfterFlags,
    },
    /// Pin a CID with the options of another one
    Update {
        /// The pin whose options are taken
        from: String,
        /// What is pinned
        to: String,
        #[command(flatten)]
        pin: PinFlags,
        #[command(flatten)]
        after: AfterFlags,
    },
    /// List pins
    Ls {
        /// One pin alone
        cid: Option<String>,
        /// Comma list of all, pin, meta-pin, clusterdag-pin, shard-pin
        #[arg(long, default_value = "all")]
        filter: String,
    },
}

/// What follows a change.
#[derive(Debug, clap::Args)]
pub(crate) struct AfterFlags {
    /// Print the pin instead of its status
    #[arg(long, visible_alias = "ns")]
    no_status: bool,
    /// Wait until the peers are done
    #[arg(short, long)]
    wait: bool,
    #[command(flatten)]
    how: WaitFlags,
}

impl Context {
    pub(super) async fn pin(&self, command: Option<PinArgs>) -> Result<Code, Failure> {
        match command {
            None => return Ok(help(&["pin"])),
            Some(PinArgs::Add {
                target,
                replication,
                mode,
                pin,
                after,
            }) => {
                let options = PinOptions {
                    mode: match mode.as_str() {
                        "direct" => PinMode::Direct,
                        _ => PinMode::Recursive,
                    },
                    ..pin.options(replication)?
                };
                let pinned = self.client.pin_path(&path(&target)?, &options).await?;
                self.after(&pinned, &after, TrackerStatus::Pinned).await?;
            }
            Some(PinArgs::Rm { target, after }) => {
                let pin = self.client.unpin_path(&path(&target)?).await?;
                self.after(&pin, &after, TrackerStatus::Unpinned).await?;
            }
            Some(PinArgs::Update {
                from,
                to,
                pin,
                after,
            }) => {
                let options = PinOptions {
                    pin_update: Some(cid(&from)?),
                    ..pin.options(0)?
                };
                let pinned = self.client.pin(cid(&to)?, &options).await?;
                self.after(&pinned, &after, TrackerStatus::Pinned).await?;
            }
            Some(PinArgs::Ls { cid: None, filter }) => {
                self.show_all(self.client.allocations(&types(&filter)).await?)
                    .await?;
            }
            Some(PinArgs::Ls { cid: Some(one), .. }) => {
                self.show(self.client.allocation(cid(&one)?).await)?;
            }
        }
        Ok(Code::Done)
    }

    async fn after(
        &self,
        pin: &Pin,
        flags: &AfterFlags,
        status: TrackerStatus,
    ) -> Result<(), Failure> {
        let reached = if flags.wait {
            let limit = match status {
                TrackerStatus::Pinned => flags.how.limit(i64::from(pin.replication_factor_min)),
                _ => flags.how.limit(0),
            };
            let goal = Goal {
                cid: pin.cid,
                status,
                limit,
            };
            Some(self.wait_for(goal, flags.how.timeout()?).await?)
        } else {
            None
        };
        if flags.no_status {
            return self.encoding.print(pin);
        }
        let info = match reached {
            Some(info) => info,
            None => self.settled(pin.cid).await?,
        };
        self.encoding.print(&info)
    }
}

/// A CID becomes a path; a path stays one.
fn path(target: &str) -> Result<String, Failure> {
    if target.starts_with('/') {
        return Ok(target.to_owned());
    }
    match target.split_once('/') {
        // `Qm…/dir/file`
        Some((root, rest)) => Ok(format!("/ipfs/{}/{rest}", cid(root)?)),
        None => Ok(format!("/ipfs/{}", cid(target)?)),
    }
}

/// The known words of a filter: unknown ones are dropped, so a filter of those alone lists all.
fn types(filter: &str) -> String {
    let known = |word: &&str| *word == "all" || PinType::from_name(word).is_some();
    let words: Vec<&str> = filter.split(',').map(str::trim).filter(known).collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "QmazuPJPW7GJSLGnJgVTNFUyEXRVng9tk5SF9AHJdyXWmi";

    #[test]
    fn a_cid_is_a_path_too() {
        assert_eq!(path(CID).unwrap(), format!("/ipfs/{CID}"));
        assert_eq!(
            path(&format!("{CID}/a/b")).unwrap(),
            format!("/ipfs/{CID}/a/b")
        );
        assert_eq!(path("/ipns/x").unwrap(), "/ipns/x");
        assert!(path("abc").is_err());
    }

    #[test]
    fn unknown_words_of_a_filter_are_dropped() {
        assert_eq!(types("pin, frob,shard-pin"), "pin,shard-pin");
        assert_eq!(types("frob"), "");
    }
}
