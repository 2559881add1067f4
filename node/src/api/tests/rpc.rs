//! The embedded node's own RPC and gateway over real sockets.

use std::sync::Arc;

use http::Request;
use ipfs_cluster_protocol::{
    content::{car, hash},
    id::Cid,
    limits::PINS_ARGUMENTS_MAX,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Peer, double::Double, multipart};
use crate::{
    api::{GatewayConfig, Metrics, serve_gateway, serve_ipfs_rpc},
    env::{Addr, real},
    ipfs::{SharedIpfs, embedded::Embedded, http::HttpClient},
    testing::embedded_node,
};

/// An embedded node and one of its servers.
struct Own {
    peer: Peer,
    node: Arc<Embedded>,
    _dir: TempDir,
}

fn local() -> Vec<Addr> {
    vec![Addr::Tcp("127.0.0.1".to_owned(), 0)]
}

async fn start(gateway: bool) -> Own {
    let (dir, env, double) = (tempfile::tempdir().unwrap(), real::env(), Double::new());
    let node = embedded_node(dir.path()).await;
    let metrics = Metrics::of(Arc::new(double.clone()), None, None);
    let server = if gateway {
        let config = GatewayConfig {
            listen: local(),
            hosts: vec!["localhost".to_owned()],
        };
        let shared: SharedIpfs = node.clone();
        serve_gateway(config, &env, shared, &metrics).await
    } else {
        serve_ipfs_rpc(&local(), &env, node.clone(), &metrics).await
    };
    let server = server.unwrap();
    let client = HttpClient::new(env.connect.clone(), server.addresses()[0].clone());
    Own {
        peer: Peer {
            server,
            double,
            client,
        },
        node,
        _dir: dir,
    }
}

impl Own {
    async fn post(&self, call: &str) -> Answer {
        self.peer.call("POST", &format!("/api/v0/{call}")).await
    }

    async fn upload(&self, call: &str, parts: &[(&str, Option<&[u8]>)]) -> Answer {
        let kind = format!("multipart/form-data; boundary={}", multipart::BOUNDARY);
        let request = Request::post(format!("/api/v0/{call}")).header("content-type", kind);
        self.peer.send(request, &multipart::body(parts)).await
    }
}

fn lines(answer: &Answer) -> Vec<Value> {
    let lines = answer.text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_added_is_pinned_here_and_not_by_the_cluster() {
    let own = start(false).await;
    let files: &[(&str, Option<&[u8]>)] =
        &[("d", None), ("d/a", Some(b"one")), ("d/b", Some(b"two"))];
    let hashed = lines(&own.upload("add?only-hash=true", files).await);
    let nothing = own.post("pin/ls").await.json();
    assert_eq!(nothing, json!({"Keys": {}}));
    let added = lines(&own.upload("add?pin-name=mine", files).await);
    assert_eq!(hashed, added);
    let root = added.last().unwrap()["Hash"].as_str().unwrap().to_owned();
    let leaf = added[0]["Hash"].as_str().unwrap().to_owned();
    let pinned = own.post("pin/ls?names=true").await.json();
    let wanted = json!({"Type": "recursive", "Name": "mine"});
    assert_eq!(pinned["Keys"][&root], wanted);
    assert_eq!(pinned["Keys"][&leaf], json!({"Type": "indirect"}));
    assert_eq!(pinned["Keys"].as_object().unwrap().len(), 3);
    let through = own.post(&format!("pin/ls?arg={leaf}")).await.json();
    let wanted = format!("indirect through {root}");
    assert_eq!(through["Keys"][&leaf]["Type"], wanted.as_str());
    let roots = lines(&own.post("pin/ls?stream=true&type=recursive").await);
    assert_eq!(roots, [json!({"Cid": root, "Type": "recursive"})]);
    assert_eq!(
        own.post("pin/ls?name=nobody").await.json(),
        json!({"Keys": {}})
    );
    assert_eq!(own.post("pin/ls?type=other").await.status, 500);
    let unpinned = own.upload("add?pin=false", &[("c", Some(b"three"))]).await;
    let other = lines(&unpinned)[0]["Hash"].as_str().unwrap().to_owned();
    let refused = own.post(&format!("pin/ls?arg={other}")).await;
    assert_eq!(refused.status, 500);
    assert_eq!(
        refused.json()["Message"],
        format!("path '{other}' is not pinned")
    );
    assert_eq!(own.upload("add?to-files=/x", files).await.status, 500);
    let cluster = own.peer.double.state.lock();
    assert!(cluster.pins.is_empty(), "the cluster knows of nothing");
}

#[tokio::test]
async fn pins_that_lack_blocks_are_told_with_what_they_lack() {
    let own = start(false).await;
    let files: &[(&str, Option<&[u8]>)] = &[("d/a", Some(b"one")), ("d/b", Some(b"two"))];
    let added = lines(&own.upload("add", files).await);
    let [leaf, root] = [0, 2].map(|n| added[n]["Hash"].as_str().unwrap().to_owned());
    let other = lines(&own.upload("add", &[("c", Some(b"three"))]).await);
    let other = other[0]["Hash"].as_str().unwrap().to_owned();
    assert_eq!(own.post("pin/verify").await.text, "");
    let mut all = lines(&own.post("pin/verify?verbose=true").await);
    all.sort_by_key(|line| line["Cid"] != root.as_str());
    let whole = |cid: &str| json!({"Cid": cid, "Ok": true});
    assert_eq!(all, [whole(&root), whole(&other)]);

    own.node.lose(&leaf.parse().unwrap());
    let why = format!("block {leaf} is missing");
    let lacks = json!({"Cid": root, "BadNodes": [{"Cid": leaf, "Err": why}]});
    assert_eq!(lines(&own.post("pin/verify").await), [lacks]);
    let quiet = lines(&own.post("pin/verify?quiet=true").await);
    assert_eq!(quiet, [json!({"Cid": root})]);
    let both = own.post("pin/verify?quiet=true&verbose=true").await;
    assert_eq!(both.status, 500);
}

#[tokio::test]
async fn pins_are_made_moved_and_taken_away() {
    let own = start(false).await;
    let put = own.upload("block/put", &[("a", Some(b"a block"))]).await;
    let a = lines(&put)[0]["Key"].as_str().unwrap().to_owned();
    let put = own
        .upload("block/put?pin=true", &[("b", Some(b"another"))])
        .await;
    let b = lines(&put)[0]["Key"].as_str().unwrap().to_owned();
    let modes = async || own.post("pin/ls").await.json()["Keys"].clone();
    assert_eq!(modes().await, json!({&b: {"Type": "recursive"}}));
    let direct = own.post(&format!("pin/add?arg={a}&type=direct")).await;
    assert_eq!(direct.json(), json!({"Pins": [&a]}));
    assert_eq!(modes().await[&a]["Type"], "direct");
    let progress = own
        .post(&format!("pin/add?arg=/ipfs/{a}&progress=true&name=n"))
        .await;
    assert_eq!(lines(&progress).last().unwrap(), &json!({"Pins": [&a]}));
    let named = own.post("pin/ls?names=true&type=recursive").await.json();
    assert_eq!(named["Keys"][&a]["Name"], "n");
    let moved = own.post(&format!("pin/update?arg={a}&arg={b}")).await;
    assert_eq!(moved.json(), json!({"Pins": [&a, &b]}));
    assert_eq!(modes().await, json!({&b: {"Type": "recursive"}}));
    let refused = own.post(&format!("pin/update?arg={a}&arg={b}")).await;
    assert!(
        refused.text.contains("not recursively pinned"),
        "{}",
        refused.text
    );
    assert_eq!(
        own.post(&format!("pin/rm?arg={b}")).await.json(),
        json!({"Pins": [&b]})
    );
    let refused = own.post(&format!("pin/rm?arg={b}")).await;
    assert_eq!(refused.status, 500);
    assert_eq!(refused.json()["Message"], "not pinned or pinned indirectly");
    for call in [
        "pin/add",
        "pin/rm",
        "pin/update",
        "swarm/connect",
        "dag/stat",
    ] {
        assert_eq!(own.post(call).await.status, 500, "{call}");
    }
    let missing = own.post(
        "pin/add?progress=true&arg=bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am",
    );
    assert!(
        missing
            .await
            .trailer
            .unwrap()
            .contains("no progress for 5s")
    );
}

#[tokio::test]
async fn the_store_is_measured_and_cleaned() {
    let own = start(false).await;
    let big = vec![7; 600_000];
    let added = own
        .upload("add?cid-version=1", &[("a", Some(&big)), ("b", Some(b"b"))])
        .await;
    let added = lines(&added);
    let cid = |at: usize| added[at]["Hash"].as_str().unwrap().to_owned();
    let stat = own
        .post(&format!("dag/stat?arg={}&arg={}", cid(0), cid(1)))
        .await;
    let stat = &lines(&stat)[0];
    // Two leaves that are the same, a shorter one, the root; and the file of one byte.
    assert_eq!(stat["UniqueBlocks"], 4);
    assert_eq!(stat["DagStats"][0]["NumBlocks"], 3);
    assert_eq!(
        stat["DagStats"][1],
        json!({"Cid": cid(1), "Size": 1, "NumBlocks": 1})
    );
    let full = own.post("repo/stat").await.json();
    assert!(full["RepoSize"].as_u64().unwrap() > 300_000 && full["NumObjects"].is_u64());
    // The last of the upload alone is pinned.
    let unpinned = own.post(&format!("pin/rm?arg={}", cid(1))).await;
    assert_eq!(unpinned.status, 200);
    assert_eq!(own.post("repo/gc").await.status, 200);
    let me = own.post("id").await.json();
    assert_eq!(me["ID"], own.node.peer_id().to_string());
    let dir = tempfile::tempdir().unwrap();
    let other = embedded_node(dir.path()).await;
    let to = other.addresses()[0].clone();
    let connected = own.post(&format!("swarm/connect?arg={to}")).await.json();
    let wanted = format!("connect {} success", other.peer_id());
    assert_eq!(connected, json!({"Strings": [wanted]}));
    let peers = own.post("swarm/peers").await.json();
    assert_eq!(peers["Peers"][0]["Peer"], other.peer_id().to_string());
}

#[tokio::test]
async fn arguments_beyond_the_bound_are_refused_and_not_dropped() {
    let own = start(false).await;
    let put = own.upload("block/put", &[("a", Some(b"a block"))]).await;
    let cid = lines(&put)[0]["Key"].as_str().unwrap().to_owned();
    let many = vec!["arg=a"; PINS_ARGUMENTS_MAX].join("&");
    for call in ["pin/add", "pin/rm", "dag/stat", "swarm/connect"] {
        let refused = own.post(&format!("{call}?arg={cid}&{many}")).await;
        assert_eq!(refused.status, 500, "{call}");
        let message = refused.json()["Message"].clone();
        assert_eq!(
            message, "more than 1024 arguments: ask for fewer at a time",
            "{call}"
        );
    }
    assert_eq!(own.post("pin/ls").await.json(), json!({"Keys": {}}));
}

/// A raw block, and an archive of some.
fn raw(data: &'static [u8]) -> (Cid, &'static [u8]) {
    (hash::name_like(1, 0x55, 0x12, 32, data).unwrap(), data)
}

fn archive(roots: &[Cid], blocks: &[(Cid, &[u8])]) -> Vec<u8> {
    let sections = blocks.iter().map(|(cid, data)| car::section(cid, data));
    [car::header(roots)]
        .into_iter()
        .chain(sections)
        .collect::<Vec<_>>()
        .concat()
}

#[tokio::test]
async fn archives_are_imported_and_their_roots_pinned() {
    let own = start(false).await;
    let (a, b, absent) = (raw(b"a"), raw(b"bb"), raw(b"absent"));
    let first = archive(&[a.0, absent.0], &[a, b]);
    let second = archive(&[a.0, b.0], &[b]);
    let parts: &[(&str, Option<&[u8]>)] = &[("1.car", Some(&first)), ("2.car", Some(&second))];
    let answer = lines(&own.upload("dag/import?stats=true", parts).await);
    let root = |cid: Cid, error: &str| json!({"Root": {"Cid": {"/": cid}, "PinErrorMsg": error}});
    let missing = format!("ipld: could not find {}", absent.0);
    let stats = json!({"Stats": {"BlockCount": 3, "BlockBytesCount": 5}});
    let wanted = [
        root(a.0, ""),
        root(absent.0, &missing),
        root(b.0, ""),
        stats,
    ];
    assert_eq!(answer, wanted);
    let keys = own.post("pin/ls").await.json()["Keys"].clone();
    assert_eq!(keys.as_object().unwrap().len(), 2);
    assert_eq!(keys[a.0.to_string()]["Type"], "recursive");

    let c = raw(b"ccc");
    let third = archive(&[c.0], &[c]);
    let parts: &[(&str, Option<&[u8]>)] = &[("3.car", Some(&third))];
    let silent = own.upload("dag/import?pin-roots=false", parts).await;
    assert_eq!((silent.status, silent.text.as_str()), (200, ""));
    let kept = own.post(&format!("cat?arg={}", c.0)).await;
    assert_eq!(kept.text, "ccc");
    let refused = own.upload("dag/import?local-only=true&pin-roots=true", parts);
    assert_eq!(refused.await.status, 500);
}

#[tokio::test]
async fn a_broken_archive_pins_nothing_and_leaves_nothing() {
    let own = start(false).await;
    let (a, b) = (raw(b"a"), raw(b"bb"));
    let whole = archive(&[a.0], &[a, b]);
    let lie = archive(&[a.0], &[a, (b.0, b"other")]);
    let cut = &whole[..whole.len() - 1];
    for (broken, why) in [
        (
            cut,
            format!("import failed after block \"{}\": unexpected EOF", a.0),
        ),
        (&lie[..], format!("import failed at block \"{}\": ", b.0)),
        (&b"no archive"[..], "import failed: ".to_owned()),
    ] {
        let parts: &[(&str, Option<&[u8]>)] = &[("1", Some(&whole)), ("2", Some(broken))];
        let refused = own.upload("dag/import", parts).await;
        assert_eq!(refused.status, 500);
        let message = refused.json()["Message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&why), "{message}, not {why}");
        assert_eq!(own.post("pin/ls").await.json(), json!({"Keys": {}}));
    }
    assert_eq!(own.post("repo/gc").await.status, 200);
    assert_eq!(own.post("repo/stat").await.json()["NumObjects"], 0);
    assert_eq!(own.upload("dag/import", &[]).await.status, 500);
}

#[tokio::test]
async fn pages_of_elsewhere_and_other_methods_are_refused() {
    let own = start(false).await;
    assert_eq!(own.peer.call("GET", "/api/v0/pin/ls").await.status, 405);
    assert_eq!(own.post("config/show").await.status, 404);
    let ask = |origin: &str| Request::post("/api/v0/pin/ls").header("origin", origin);
    let there = own.peer.send(ask("http://evil.example"), b"").await;
    assert_eq!(there.status, 403);
    let here = own.peer.send(ask("http://localhost:3000"), b"").await;
    let allowed = here.header("access-control-allow-origin");
    assert_eq!((here.status, allowed), (200, "http://localhost:3000"));
}

#[tokio::test]
async fn a_gateway_of_its_own_gives_every_root_a_host() {
    let own = start(true).await;
    let shared: SharedIpfs = own.node.clone();
    let data = bytes::Bytes::from_static(b"hello");
    let cid = hash::name_like(1, 0x55, 0x12, 32, &data).unwrap();
    shared.block_put(vec![(cid, data)]).await.unwrap();
    let get = async |host: &str, path: &str| {
        let request = Request::get(path).header("host", host);
        own.peer.send(request, b"").await
    };
    let by_path = get("127.0.0.1", &format!("/ipfs/{cid}")).await;
    assert_eq!((by_path.status, by_path.text.as_str()), (200, "hello"));
    let moved = get("localhost:8080", &format!("/ipfs/{cid}")).await;
    assert_eq!(moved.status, 301);
    assert_eq!(
        moved.header("location"),
        format!("http://{cid}.ipfs.localhost:8080/")
    );
    let own_host = get(&format!("{cid}.ipfs.localhost:8080"), "/").await;
    assert_eq!((own_host.status, own_host.text.as_str()), (200, "hello"));
    assert_eq!(get("127.0.0.1", "/").await.status, 404);
    assert_eq!(get("127.0.0.1", "/ipns/example.org").await.status, 501);
    assert_eq!(get("127.0.0.1", "/api/v0/id").await.status, 404);
}
