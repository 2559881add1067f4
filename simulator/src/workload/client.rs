//! One request of a client, through the client library, and what it makes of the answer.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt as _;
use ipfs_cluster_ctl::client::{Client, Connector, Error, Freshness, Options, Target, Upload};
use ipfs_cluster_protocol::{
    api::{add::AddParams, error::NOT_PINNED, options::PinOptions, pin::Pin},
    id::{Cid, LogIndex},
};

use super::content;
use crate::{
    history::{Answer, Ask, Fresh, History, Tag},
    world::{World, now},
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// How the text of a write of unknown outcome can be told.
const UNKNOWN: &str = "may or may not have happened";
/// What a cluster that has no leader, or too few peers for a pin, says. Nothing was done.
const REFUSALS: [&str; 3] = [
    "timed out waiting for leader",
    "not enough peers to allocate",
    "recovering",
];

/// A request on its way.
pub(super) struct Call {
    /// Its number in the history.
    pub(super) number: usize,
    pub(super) ask: Ask,
    /// The CID's number.
    pub(super) cid: u64,
    pub(super) options: PinOptions,
    pub(super) target: Target,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) history: History,
    /// The highest entry that any client was told of.
    pub(super) told: Arc<AtomicU64>,
    /// CIDs by what they are, for lists.
    pub(super) numbers: Arc<BTreeMap<Cid, u64>>,
    pub(super) world: World,
}

impl Call {
    /// Asks, and writes down the answer.
    pub(super) async fn run(self) {
        let answer = tokio::time::timeout(PATIENCE, self.exchange());
        let answer = answer.await.unwrap_or(None);
        let (n, ask, cid) = (self.number, self.ask, self.cid);
        let text = answer.as_ref().map_or("unknown".to_owned(), short);
        self.world
            .note(format_args!("client {n} {ask:?} {cid}: {text}"));
        if let Some(answer) = answer {
            self.history.end(n, now(), answer);
        }
    }

    /// None when it is not known what became of it.
    async fn exchange(&self) -> Option<Answer> {
        let options = Options {
            timeout: Some(PATIENCE),
            ..Options::default()
        };
        let target = vec![self.target.clone()];
        let client = Client::with(self.connector.clone(), target, options).ok()?;
        let cid = content::cid(self.cid)?;
        let result = match self.ask {
            Ask::Pin | Ask::Update { .. } => client.pin(cid, &self.options).await.map(drop),
            Ask::Unpin => client.unpin(cid).await.map(drop),
            Ask::Add => self.add(&client).await,
            Ask::Status => client.status(cid, false).await.map(drop),
            Ask::Read(fresh) => {
                let pin = client.allocation_as_of(cid, freshness(fresh)).await;
                return self.read(&client, pin.map(|pin| vec![pin]));
            }
            Ask::List(fresh) => {
                let pins = match client.allocations_as_of("", freshness(fresh)).await {
                    Ok(pins) => pins.try_collect().await,
                    Err(e) => Err(e),
                };
                return self.read(&client, pins);
            }
        };
        let index = self.seen(&client);
        match result {
            Ok(()) if !self.ask.writes() => Some(Answer::Shown),
            Ok(()) => Some(Answer::Done { index }),
            Err(e) => failed(&e, self.ask),
        }
    }

    async fn add(&self, client: &Client) -> Result<(), Error> {
        let params = AddParams {
            options: self.options.clone(),
            cid_version: 1,
            raw_leaves: true,
            ..AddParams::default()
        };
        let file = Upload::bytes("file", content::bytes(self.cid));
        let added = client.add(vec![file], &params).await?;
        added.try_for_each(|_| std::future::ready(Ok(()))).await
    }

    /// The entry that the answer names.
    fn seen(&self, client: &Client) -> Option<LogIndex> {
        let index = client.seen_index();
        self.told.fetch_max(index, Ordering::Relaxed);
        (index > 0).then_some(LogIndex(index))
    }

    fn read(&self, client: &Client, pins: Result<Vec<Pin>, Error>) -> Option<Answer> {
        let pins = match pins {
            Ok(pins) => pins,
            Err(Error::Api { message, .. }) if message == NOT_PINNED => Vec::new(),
            Err(_) => return Some(Answer::Refused),
        };
        // What no client wrote stands as a write that nobody asked for.
        let known = |pin: &Pin| {
            let number = self.numbers.get(&pin.cid).copied();
            (
                number.unwrap_or(0),
                Tag::of_name(&pin.name).unwrap_or(Tag(usize::MAX)),
            )
        };
        Some(Answer::Seen {
            index: self.seen(client),
            pins: pins.iter().map(known).collect(),
        })
    }
}

fn freshness(fresh: Fresh) -> Freshness {
    match fresh {
        Fresh::Local => Freshness::Local,
        Fresh::Index(LogIndex(index)) => Freshness::Index(index),
        Fresh::Latest => Freshness::Linearizable,
    }
}

/// What is known after a failure. Only what the server says was not done was not done.
fn failed(error: &Error, ask: Ask) -> Option<Answer> {
    match error {
        _ if !ask.writes() => Some(Answer::Refused),
        Error::Connect { .. } => Some(Answer::Refused),
        // An upload has been under way for long.
        Error::Api { .. } if ask == Ask::Add => None,
        Error::Api { message, .. } if message == NOT_PINNED => Some(Answer::NotPinned),
        Error::Api { message, .. } if message.contains(UNKNOWN) => None,
        Error::Api { code: 503, .. } => Some(Answer::Refused),
        Error::Api { message, .. } if REFUSALS.iter().any(|text| message.contains(text)) => {
            Some(Answer::Refused)
        }
        _ => None,
    }
}

fn short(answer: &Answer) -> String {
    match answer {
        Answer::Seen { index, pins } if pins.len() > 1 => {
            format!("{} pins as of {index:?}", pins.len())
        }
        other => format!("{other:?}"),
    }
}
