//! Flags that describe a pin, and flags that wait for one.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use ipfs_cluster_protocol::{
    api::{duration, options::PinOptions},
    time::Timestamp,
};

use super::peer;
use crate::exit::Failure;

/// Flags of everything that makes a pin.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct PinFlags {
    /// A name for the pin
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(super) name: String,
    /// Fewest copies; -1 everywhere, 0 as configured
    #[arg(long, visible_alias = "rmin", default_value_t = 0)]
    replication_min: i32,
    /// Most copies; -1 everywhere, 0 as configured
    #[arg(long, visible_alias = "rmax", default_value_t = 0)]
    replication_max: i32,
    /// Comma list of peers that shall hold it
    #[arg(
        long,
        visible_alias = "allocs",
        default_value = "",
        hide_default_value = true
    )]
    allocations: String,
    /// Unpin after this time, such as 24h
    #[arg(long, default_value = "", hide_default_value = true)]
    expire_in: String,
    /// KEY=VALUE, as often as needed
    #[arg(long)]
    metadata: Vec<String>,
}

impl PinFlags {
    /// As options; `replication` sets both factors.
    pub(super) fn options(&self, replication: i32) -> Result<PinOptions, Failure> {
        let allocations = self.allocations.split(',').filter(|t| !t.is_empty());
        let (min, max) = match replication {
            0 => (self.replication_min, self.replication_max),
            n => (n, n),
        };
        Ok(PinOptions {
            replication_factor_min: min,
            replication_factor_max: max,
            name: self.name.clone(),
            user_allocations: allocations.map(peer).collect::<Result<_, _>>()?,
            expire_at: expiry(&self.expire_in)?,
            metadata: metadata(&self.metadata)?,
            ..PinOptions::default()
        })
    }
}

fn expiry(text: &str) -> Result<Option<Timestamp>, Failure> {
    let Some(after) = parse_duration("parsing expire-in", text)? else {
        return Ok(None);
    };
    let at = SystemTime::now() + after;
    let ms = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    Ok(Some(Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))))
}

/// Reads a duration; none for nothing and for zero.
fn parse_duration(doing: &'static str, text: &str) -> Result<Option<Duration>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = duration::parse(text).map_err(|e| Failure::local(doing, e))?;
    Ok(Some(parsed).filter(|d| !d.is_zero()))
}

fn metadata(pairs: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    let pairs = pairs.iter().map(split).collect::<Option<_>>();
    pairs.ok_or_else(|| {
        Failure::local(
            "parsing metadata",
            "metadata is not in the format key=value",
        )
    })
}

/// Flags of waiting.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct WaitFlags {
    /// How many peers must be done; 0 for all that are concerned
    #[arg(long, visible_alias = "wl")]
    wait_limit: Option<i32>,
    /// Wait no longer than this, such as 5m
    #[arg(
        long,
        visible_alias = "wt",
        default_value = "",
        hide_default_value = true
    )]
    wait_timeout: String,
}

impl WaitFlags {
    /// How many peers must be done; `default` is the pin's smallest factor.
    pub(super) fn limit(&self, default: i64) -> usize {
        let limit = self.wait_limit.map_or(default, i64::from);
        usize::try_from(limit).unwrap_or(0)
    }

    /// How long to wait.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, Failure> {
        parse_duration("parsing wait-timeout", &self.wait_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_pairs() {
        let read = metadata(&["a=b=c".to_owned(), "d=".to_owned()]).unwrap();
        assert_eq!(read["a"], "b=c");
        assert_eq!(read["d"], "");
        assert!(metadata(&["x".to_owned()]).is_err());
    }

    #[test]
    fn zero_is_no_duration() {
        assert_eq!(parse_duration("x", "").unwrap(), None);
        assert_eq!(parse_duration("x", "0s").unwrap(), None);
        assert_eq!(
            parse_duration("x", "2m").unwrap(),
            Some(Duration::from_secs(120))
        );
        assert!(parse_duration("x", "2").is_err());
    }
}
