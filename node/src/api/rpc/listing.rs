//! `pin/ls` of the node's own pins: direct and recursive ones, and what is below the latter.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use ipfs_cluster_protocol::{
    api::query::Query,
    id::Cid,
    limits::{DAG_SEEN_MAX, PIN_LIST_MAX},
    pin::PinMode,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::pins::named;
use crate::{
    api::{
        http::reply::Reply,
        proxy::{reading::lines_of, reply::object, uploaded::refused},
    },
    ipfs::{
        IpfsError, IpfsStream, SharedIpfs,
        embedded::{Embedded, NamedPin},
        walk,
    },
};

/// One line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    cid: Cid,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    r#type: String,
}

/// Which pins are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    All,
    Direct,
    Recursive,
    Indirect,
}

impl Kind {
    fn read(text: &str) -> Result<Self, IpfsError> {
        Ok(match text {
            "" | "all" => Self::All,
            "direct" => Self::Direct,
            "recursive" => Self::Recursive,
            "indirect" => Self::Indirect,
            other => {
                return Err(refused(format_args!(
                    "invalid type '{other}', must be one of {{direct, indirect, recursive, all}}"
                )));
            }
        })
    }

    fn takes(self, mode: PinMode) -> bool {
        match self {
            Self::All => true,
            Self::Direct => mode == PinMode::Direct,
            Self::Recursive => mode == PinMode::Recursive,
            Self::Indirect => false,
        }
    }
}

/// What a pin is called here.
fn word(mode: PinMode) -> &'static str {
    match mode {
        PinMode::Direct => "direct",
        PinMode::Recursive => "recursive",
    }
}

/// The names are shown where they are asked for, by `names` or as a part of them by `name`.
#[derive(Debug, Clone)]
struct Names {
    shown: bool,
    part: String,
}

impl Names {
    fn listed(&self, pin: NamedPin) -> Option<Listed> {
        pin.name.contains(&self.part).then(|| Listed {
            cid: pin.cid,
            r#type: word(pin.mode).to_owned(),
            name: if self.shown { pin.name } else { String::new() },
        })
    }
}

pub(super) async fn ls(node: &Arc<Embedded>, query: &Query) -> Result<Reply, IpfsError> {
    let kind = Kind::read(query.get("type"))?;
    let shared: SharedIpfs = node.clone();
    let part = query.get("name").to_owned();
    let names = Names {
        shown: query.get("names") == "true" || !part.is_empty(),
        part,
    };
    let asked = named(&shared, query).await?;
    let listed = if asked.is_empty() {
        all(node, kind, &names)
    } else {
        let mut found = Vec::new();
        for cid in asked {
            found.push(Ok(one(node, cid, kind, &names).await?));
        }
        stream::iter(found).boxed()
    };
    if ["stream", "s"].iter().any(|key| query.get(key) == "true") {
        return Ok(lines_of(listed));
    }
    as_object(listed).await
}

/// All of them in one object, which is held in memory.
async fn as_object(mut listed: IpfsStream<Listed>) -> Result<Reply, IpfsError> {
    let mut keys = Map::new();
    while let Some(pin) = listed.try_next().await? {
        if keys.len() == PIN_LIST_MAX {
            return Err(refused(format_args!(
                "more than {PIN_LIST_MAX} pins: ask with stream=true"
            )));
        }
        let mut value = json!({"Type": pin.r#type});
        if !pin.name.is_empty() {
            value["Name"] = Value::from(pin.name);
        }
        keys.insert(pin.cid.to_string(), value);
    }
    Ok(object(StatusCode::OK, &json!({"Keys": keys})))
}

fn all(node: &Arc<Embedded>, kind: Kind, names: &Names) -> IpfsStream<Listed> {
    let mine = names.clone();
    let pinned = node.named_pins();
    let pinned = pinned.filter(move |pin| std::future::ready(kind.takes(pin.mode)));
    let pinned = pinned.filter_map(move |pin| std::future::ready(mine.listed(pin).map(Ok)));
    if !matches!(kind, Kind::All | Kind::Indirect) || !names.part.is_empty() {
        return pinned.boxed();
    }
    pinned.chain(indirect(node)).boxed()
}

/// What is below the recursive pins and not pinned itself, each block once.
fn indirect(node: &Arc<Embedded>) -> IpfsStream<Listed> {
    let (shared, own): (SharedIpfs, _) = (node.clone(), node.clone());
    let roots = node.named_pins();
    let roots = roots.filter(|pin| std::future::ready(pin.mode == PinMode::Recursive));
    let mut seen = BTreeSet::new();
    let below = roots.flat_map(move |pin| walk::refs(&shared, pin.cid, usize::MAX, true));
    let new = below.try_filter_map(move |cid| {
        let met = match seen.len() < DAG_SEEN_MAX {
            true => Ok(!seen.insert(cid)),
            false => Err(refused(format_args!(
                "more than {DAG_SEEN_MAX} blocks are pinned: ask with type=recursive or type=direct"
            ))),
        };
        let listed = met.map(|met| {
            let shown = !met && own.pinned_as(&cid).is_none();
            shown.then(|| Listed {
                cid,
                name: String::new(),
                r#type: "indirect".to_owned(),
            })
        });
        std::future::ready(listed)
    });
    new.boxed()
}

/// How one CID is pinned.
async fn one(
    node: &Arc<Embedded>,
    cid: Cid,
    kind: Kind,
    names: &Names,
) -> Result<Listed, IpfsError> {
    let own = node.pinned_as(&cid).filter(|pin| kind.takes(pin.mode));
    if let Some(listed) = own.and_then(|pin| names.listed(pin)) {
        return Ok(listed);
    }
    if matches!(kind, Kind::All | Kind::Indirect)
        && let Some(root) = above(node, cid).await?
    {
        return Ok(Listed {
            cid,
            name: String::new(),
            r#type: format!("indirect through {root}"),
        });
    }
    Err(refused(format_args!("path '{cid}' is not pinned")))
}

/// A recursive pin that holds a block which is not its root.
async fn above(node: &Arc<Embedded>, cid: Cid) -> Result<Option<Cid>, IpfsError> {
    let shared: SharedIpfs = node.clone();
    let mut roots = node.named_pins();
    while let Some(pin) = roots.next().await {
        if pin.mode != PinMode::Recursive {
            continue;
        }
        let mut below = walk::refs(&shared, pin.cid, usize::MAX, true);
        while let Some(found) = below.try_next().await? {
            if found == cid {
                return Ok(Some(pin.cid));
            }
        }
    }
    Ok(None)
}
