//! Words that may stand in some places only.

use super::{
    Breach,
    source::{Source, has_word},
};

/// Where a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Code that ships.
    Shipped,
    /// All code, tests included.
    Code,
    /// Everything, comments included.
    Text,
}

#[derive(Debug)]
struct Rule {
    words: &'static [&'static str],
    look: Look,
    /// Paths (or their starts) that the rule is about; empty for all.
    within: &'static [&'static str],
    /// Paths (or their starts) where the words may stand.
    except: &'static [&'static str],
    remedy: &'static str,
}

const NODE_AND_CORE: &[&str] = &["protocol/src", "node/src"];

/// The table. Words that would be found in this file are written in two parts.
const RULES: &[Rule] = &[
    Rule {
        words: &["libp2p::"],
        look: Look::Shipped,
        within: &[],
        except: &[
            "node/src/net",
            "node/src/ipfs/embedded/net",
            "node/src/env/",
            "ctl/src/client/libp2p",
            "simulator/src/network",
        ],
        remedy: "libp2p's types stay behind the net: use protocol's PeerId and the multiaddr crate",
    },
    Rule {
        words: &["openraft::", "openraft_rt::"],
        look: Look::Shipped,
        within: &[],
        except: &["node/src/consensus"],
        remedy: "openraft's types stay in node/src/consensus: give the Consensus handle a method",
    },
    Rule {
        words: &["warp::"],
        look: Look::Shipped,
        within: &[],
        except: &["node/src/api", "node/src/ipfs/embedded/http"],
        remedy: "warp stays in the HTTP servers: pass plain values",
    },
    Rule {
        words: &["redb::"],
        look: Look::Shipped,
        within: &[],
        except: &["node/src/storage"],
        remedy: "redb stays in node/src/storage: give the store a method",
    },
    Rule {
        words: &[
            "opentelemetry::",
            "opentelemetry_sdk::",
            "opentelemetry_otlp::",
            "opentelemetry_http::",
            "tracing_opentelemetry::",
        ],
        look: Look::Shipped,
        within: &[],
        except: &["node/src/spans"],
        remedy: "OpenTelemetry stays in node/src/spans: open a span of its target",
    },
    Rule {
        words: &["tokio::", "tracing::", "rand::", "futures::"],
        look: Look::Shipped,
        within: &["protocol/src"],
        except: &[],
        remedy: "the core is pure: take it as an argument, return effects as data",
    },
    Rule {
        words: &["Instant::now", "SystemTime::now", "OffsetDateTime::now_utc"],
        look: Look::Shipped,
        within: &["protocol/src"],
        except: &[],
        remedy: "the core knows no clock: take the time as an argument",
    },
    Rule {
        words: &["std::fs", "tokio::fs", "fs::File"],
        look: Look::Shipped,
        within: NODE_AND_CORE,
        // The commands run on a machine only, never in a simulation.
        except: &["node/src/env/", "node/src/cli/"],
        remedy: "files belong to env: use env.disk",
    },
    Rule {
        words: &[
            "tokio::net",
            "net::TcpStream",
            "net::TcpListener",
            "net::UdpSocket",
        ],
        look: Look::Shipped,
        within: NODE_AND_CORE,
        except: &["node/src/env/"],
        remedy: "sockets belong to env: use env.listen, env.connect or env.transport",
    },
    Rule {
        words: &[
            "std::thread",
            "thread::spawn",
            "thread::sleep",
            "spawn_blocking",
            "block_in_place",
        ],
        look: Look::Shipped,
        within: NODE_AND_CORE,
        except: &["node/src/env/"],
        remedy: "threads belong to env: use a lane",
    },
    Rule {
        words: &[
            "unbounded_channel",
            "UnboundedSender",
            "UnboundedReceiver",
            "mpsc::unbounded",
        ],
        look: Look::Shipped,
        within: &[],
        // A lane is as long as its callers are many: each waits for its own job.
        except: &["node/src/env/real/lanes.rs"],
        remedy: "every channel has a bound: use mpsc::channel",
    },
    Rule {
        words: &[concat!("unsa", "fe")],
        look: Look::Code,
        within: &[],
        except: &["simulator/src/interpose.rs"],
        remedy: "it is allowed in simulator/src/interpose.rs alone",
    },
    Rule {
        words: &[
            concat!("to", "do!"),
            concat!("unimple", "mented!"),
            concat!("db", "g!"),
        ],
        look: Look::Code,
        within: &[],
        except: &[],
        remedy: "write the code, or leave the feature out",
    },
    Rule {
        words: &[concat!("#[ig", "nore")],
        look: Look::Code,
        within: &[],
        except: &[],
        remedy: "a test runs or does not exist",
    },
    Rule {
        words: &[
            concat!("FIX", "ME"),
            concat!("XX", "X"),
            concat!("TO", "DO"),
        ],
        look: Look::Text,
        within: &[],
        except: &[],
        remedy: "do it now, or file it where work is planned",
    },
    Rule {
        words: &[concat!("/wo", "rk/"), concat!("/ho", "me/")],
        look: Look::Text,
        within: &[],
        except: &[],
        remedy: "paths of one machine do not belong into the repository",
    },
];

fn starts(path: &str, any: &[&str]) -> bool {
    any.iter().any(|start| path.starts_with(start))
}

/// Every word that stands where it may not.
pub(super) fn check(source: &Source) -> Vec<Breach> {
    let mut found = Vec::new();
    for rule in RULES {
        let applies = rule.within.is_empty() || starts(&source.path, rule.within);
        if !applies || starts(&source.path, rule.except) {
            continue;
        }
        let mut look = |line: usize, text: &str| {
            for word in rule.words.iter().filter(|w| has_word(text, w)) {
                found.push(Breach {
                    path: source.path.clone(),
                    line,
                    text: format!("`{word}`: {}", rule.remedy),
                });
            }
        };
        match rule.look {
            Look::Shipped => source.shipped().for_each(|(n, text)| look(n, text)),
            Look::Code => source.numbered().for_each(|(n, text)| look(n, text)),
            Look::Text => {
                let lines = source.raw.iter().enumerate();
                lines.for_each(|(n, text)| look(n + 1, text));
            }
        }
    }
    found.extend(limits(source));
    found
}

/// Names that look like bounds and are highest known versions.
const VERSIONS: &[&str] = &["FEATURE_LEVEL_MAX", "WIRE_MAX"];

/// Bounds of the core and the node stand together in `limits.rs`.
fn limits(source: &Source) -> Vec<Breach> {
    if !starts(&source.path, NODE_AND_CORE) || source.path == "protocol/src/limits.rs" {
        return Vec::new();
    }
    let is_limit = |name: &str| {
        (name.ends_with("_MAX") || name.starts_with("MAX_")) && !VERSIONS.contains(&name)
    };
    source
        .shipped()
        .filter_map(|(line, text)| {
            let (_, rest) = text.split_once("const ")?;
            let (name, of) = rest.split_once(':')?;
            let name = name.trim();
            // A deadline belongs beside what it bounds: it says nothing about another one.
            let deadline = of.trim_start().starts_with("Duration");
            (is_limit(name) && !deadline).then(|| Breach {
                path: source.path.clone(),
                line,
                text: format!("`{name}`: bounds belong into protocol/src/limits.rs"),
            })
        })
        .collect()
}
