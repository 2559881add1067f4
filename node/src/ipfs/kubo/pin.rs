//! Pins: making them with an eye on progress, undoing, finding and listing them.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use ipfs_cluster_protocol::{id::Cid, limits::IPFS_PIN_NAME_BYTES_MAX, pin::PinMode};
use serde::Deserialize;
use tokio::{task::JoinSet, time::Instant};

use super::{
    Kubo,
    call::{Call, Lines},
};
use crate::ipfs::{IpfsError, IpfsStream, PinProgress, PinRequest};

/// Origins of a pin that the node is told to connect to.
const ORIGINS_TRIED: usize = 10;

/// A line of `pin/add`: `{}` every half second while nothing came, then counts, `Pins` at the end.
#[derive(Deserialize)]
struct PinLine {
    #[serde(rename = "Progress")]
    progress: Option<u64>,
    #[serde(rename = "Bytes")]
    bytes: Option<u64>,
    #[serde(rename = "Pins")]
    pins: Option<Vec<String>>,
}

/// A line of `pin/ls`: one pin where the node streams, else all of them.
#[derive(Deserialize)]
struct LsLine {
    #[serde(rename = "Cid")]
    cid: Option<String>,
    #[serde(rename = "Keys", default)]
    keys: BTreeMap<String, serde::de::IgnoredAny>,
}

fn mode_name(mode: PinMode) -> &'static str {
    match mode {
        PinMode::Recursive => "recursive",
        PinMode::Direct => "direct",
    }
}

impl Kubo {
    pub(super) async fn do_pin(
        &self,
        request: PinRequest,
        mut progress: Box<dyn FnMut(PinProgress) + Send>,
    ) -> Result<(), IpfsError> {
        // Ends with the pin, whether the origins answered or not.
        let _connecting = self.connect_origins(&request.origins);
        if request.mode == PinMode::Recursive && self.update_pin(&request).await {
            return Ok(());
        }
        let mut call = Call::new("pin/add")
            .with("arg", request.cid)
            .with("recursive", request.mode == PinMode::Recursive)
            .with("progress", true);
        if !request.name.is_empty() && self.has_names().await {
            let end = request.name.floor_char_boundary(IPFS_PIN_NAME_BYTES_MAX);
            call = call.with("name", &request.name[..end]);
        }
        // A node without progress (js-ipfs) sends its head at the end: then all must fit.
        let limit = Instant::now() + self.timeouts.pin;
        let answer = match self.rpc.start(call, self.timeouts.pin).await {
            Err(_) if Instant::now() >= limit => {
                return Err(IpfsError::Stalled(self.timeouts.pin));
            }
            started => started.map_err(not_about_pins)?,
        };
        let followed = self.follow(answer.lines(), &mut progress).await;
        followed.map_err(not_about_pins)
    }

    /// Follows a pin until it is done, or until its count of blocks stood still for too long.
    async fn follow(
        &self,
        mut lines: Lines,
        progress: &mut (dyn FnMut(PinProgress) + Send),
    ) -> Result<(), IpfsError> {
        let mut seen = PinProgress::default();
        let mut done = false;
        let mut moved = Instant::now();
        loop {
            let limit = moved + self.timeouts.pin;
            let line = match lines.next::<PinLine>(limit).await {
                Err(_) if Instant::now() >= limit => {
                    return Err(IpfsError::Stalled(self.timeouts.pin));
                }
                line => line?,
            };
            let Some(line) = line else { break };
            done |= line.pins.is_some();
            let blocks = line.progress.unwrap_or(seen.blocks);
            let bytes = line.bytes.unwrap_or(seen.bytes);
            if (blocks, bytes) != (seen.blocks, seen.bytes) {
                seen = PinProgress { blocks, bytes };
                moved = Instant::now();
                progress(seen);
            } else if moved.elapsed() >= self.timeouts.pin {
                return Err(IpfsError::Stalled(self.timeouts.pin));
            }
        }
        if done {
            Ok(())
        } else {
            let text = "the IPFS node ended the pin without a result";
            Err(IpfsError::Unreachable(text.into()))
        }
    }

    fn connect_origins(&self, origins: &[String]) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for origin in origins.iter().take(ORIGINS_TRIED) {
            let (rpc, time, origin) = (self.rpc.clone(), self.timeouts.request, origin.clone());
            tasks.spawn(async move {
                if let Err(error) = rpc.connect_swarm(&origin, time).await {
                    tracing::debug!(%origin, %error, "the IPFS node did not reach an origin");
                }
            });
        }
        tasks
    }

    /// Makes the pin of one that shares most of its blocks. False when there is none, or the node
    /// cannot: the ordinary way does it then.
    async fn update_pin(&self, request: &PinRequest) -> bool {
        let Some(from) = request.update_from else {
            return false;
        };
        if !matches!(self.is_pinned(from, PinMode::Recursive).await, Ok(true)) {
            return false;
        }
        let call = Call::new("pin/update")
            .with("arg", from)
            .with("arg", request.cid)
            .with("unpin", false);
        // It tells no progress, hence the bound on the whole.
        let updated = self
            .rpc
            .json::<serde::de::IgnoredAny>(call, self.timeouts.request);
        match updated.await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(cid = %request.cid, %from, %error, "pin/update failed, pinning anew");
                false
            }
        }
    }

    pub(super) async fn do_unpin(&self, cid: Cid) -> Result<(), IpfsError> {
        let call = Call::new("pin/rm").with("arg", cid);
        let time = self.timeouts.unpin;
        let _: serde::de::IgnoredAny = self.rpc.json(call, time).await?;
        Ok(())
    }

    pub(super) async fn find_pin(&self, cid: Cid) -> Result<Option<PinMode>, IpfsError> {
        for mode in [PinMode::Recursive, PinMode::Direct] {
            if self.is_pinned(cid, mode).await? {
                return Ok(Some(mode));
            }
        }
        Ok(None)
    }

    /// Asks for one type: asked for all, the node would walk every DAG to find indirect pins.
    async fn is_pinned(&self, cid: Cid, mode: PinMode) -> Result<bool, IpfsError> {
        let call = Call::new("pin/ls")
            .with("stream", true)
            .with("arg", cid)
            .with("type", mode_name(mode));
        let deadline = Instant::now() + self.timeouts.request;
        let answer = match self.rpc.start(call, self.timeouts.request).await {
            Err(IpfsError::NotPinned) => return Ok(false),
            answer => answer?,
        };
        let mut lines = answer.lines();
        loop {
            match lines.next::<LsLine>(deadline).await {
                Err(IpfsError::NotPinned) | Ok(None) => return Ok(false),
                Ok(Some(line)) if line.cid.is_some() || !line.keys.is_empty() => return Ok(true),
                Ok(Some(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn list_pins(&self) -> Result<IpfsStream<(Cid, PinMode)>, IpfsError> {
        let recursive = self.list_pins_of(PinMode::Recursive).await?;
        let direct = self.list_pins_of(PinMode::Direct).await?;
        Ok(recursive.chain(direct).boxed())
    }

    async fn list_pins_of(&self, mode: PinMode) -> Result<IpfsStream<(Cid, PinMode)>, IpfsError> {
        let time = self.timeouts.request;
        let call = Call::new("pin/ls")
            .with("stream", true)
            .with("type", mode_name(mode));
        let lines = self.rpc.start(call, time).await?.lines();
        // After an error nothing comes any more.
        let pages = stream::unfold(Some(lines), move |lines| async move {
            let mut lines = lines?;
            let page = match lines.next::<LsLine>(Instant::now() + time).await {
                Ok(None) => return None,
                Ok(Some(line)) => parse_line(line, mode),
                Err(error) => Err(error),
            };
            let rest = page.is_ok().then_some(lines);
            Some((page, rest))
        });
        let flat = pages.flat_map(|page| match page {
            Ok(pins) => stream::iter(pins.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        });
        Ok(flat.boxed())
    }
}

fn parse_line(line: LsLine, mode: PinMode) -> Result<Vec<(Cid, PinMode)>, IpfsError> {
    let cids = line.cid.into_iter().chain(line.keys.into_keys());
    let parse = |cid: String| {
        let parsed = cid.parse::<Cid>();
        parsed.map(|cid| (cid, mode)).map_err(|e| {
            let text = format!("the IPFS node lists a pin that is not understood: {e}");
            IpfsError::Refused(text)
        })
    };
    cids.map(parse).collect()
}

/// A failed pin is not "not pinned", whatever the node's words are.
fn not_about_pins(error: IpfsError) -> IpfsError {
    match error {
        IpfsError::NotPinned => IpfsError::Refused("pin: not pinned".into()),
        other => other,
    }
}
