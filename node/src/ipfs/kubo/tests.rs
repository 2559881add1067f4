//! Against what Kubo answered (`tests/fixtures/kubo-rpc.jsonl`), and against what no node should.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::TryStreamExt;
use serde::Deserialize;

use super::*;
use crate::ipfs::scripted::{Door, Got, Scripted, Step, addr, chunk, chunked_head, end, plain};
use ipfs_cluster_protocol::content;

#[derive(Deserialize, Clone)]
struct Exchange {
    name: String,
    status: u16,
    body: String,
    trailers: BTreeMap<String, String>,
    t_head_s: f64,
    t_total_s: f64,
}

/// A recorded answer, at the pace it came: a line every half second at most.
fn recorded(name: &str) -> Vec<Step> {
    let all = include_str!("../../../tests/fixtures/kubo-rpc.jsonl");
    let mut all = all.lines().map(|l| serde_json::from_str(l).unwrap());
    let it: Exchange = all.find(|e: &Exchange| e.name == name).expect(name);
    let mut steps = vec![Step::Wait(Duration::from_secs_f64(it.t_head_s))];
    steps.push(chunked_head(it.status));
    let lines: Vec<_> = it.body.split_inclusive('\n').collect();
    let pause = (it.t_total_s - it.t_head_s) / lines.len().max(1) as f64;
    for line in lines {
        steps.push(chunk(line));
        steps.push(Step::Wait(Duration::from_secs_f64(pause)));
    }
    steps.push(end(it.trailers.get("X-Stream-Error").map(String::as_str)));
    steps
}

/// A node that answers each command as recorded under a name.
fn replay(script: &'static [(&'static str, &'static str)]) -> Arc<Scripted> {
    Scripted::new(move |got| {
        let target = got.target.replace("/api/v0/", "");
        let found = script.iter().find(|(start, _)| target.starts_with(start));
        recorded(found.unwrap_or(&("", "unknown-command")).1)
    })
}

fn kubo(server: &Arc<Scripted>) -> Kubo {
    let http = HttpClient::new(Arc::new(Door(server.clone())), addr());
    Kubo::over(http, KuboTimeouts::default())
}

fn answering(steps: impl Fn(&Got) -> Vec<Step> + Send + Sync + 'static) -> Kubo {
    kubo(&Scripted::new(steps))
}

const ROOT: &str = "bafybeicne2gcifarvdv5xrwynke37bhiuf6zdtbcd6xodfuifbeldhth4u";
const OTHER: &str = "QmSXmLP8Dce3zs6GeGnhykKq6nBXuEm7kXr7wLszhBGkH1";

fn cid(text: &str) -> Cid {
    text.parse().unwrap()
}

fn request(mode: PinMode) -> PinRequest {
    PinRequest::new(cid(ROOT), mode, "")
}

/// Pins and says which counts were told.
async fn pin(kubo: &Kubo, request: PinRequest) -> (Result<(), IpfsError>, Vec<PinProgress>) {
    let told = Arc::new(Mutex::new(vec![]));
    let tell = told.clone();
    let result = kubo
        .pin(request, Box::new(move |p| tell.lock().unwrap().push(p)))
        .await;
    let told = told.lock().unwrap().clone();
    (result, told)
}

#[tokio::test]
async fn a_garbage_collection_says_what_it_removed_and_what_not() {
    let kubo = kubo(&replay(&[("repo/gc?stream-errors=true", "repo-gc")]));
    let said: Vec<Collected> = kubo.repo_gc().await.unwrap().try_collect().await.unwrap();
    let removed = |c: &&Collected| matches!(c, Collected::Removed(_));
    assert_eq!(said.iter().filter(removed).count(), 5);
    let failed = Collected::Failed("could not remove it".to_owned());
    assert_eq!(said.last(), Some(&failed));
}

#[tokio::test]
async fn the_node_says_who_it_is_and_how_full() {
    let server = replay(&[
        ("id", "id"),
        ("version", "version"),
        ("repo/stat", "repo-stat-size-only"),
        ("swarm/peers", "swarm-peers"),
        ("swarm/connect", "swarm-connect"),
    ]);
    let kubo = kubo(&server);
    let id = kubo.id().await.unwrap();
    assert_eq!(
        id.addresses,
        [format!("/ip4/127.0.0.1/tcp/24001/p2p/{}", id.id)]
    );
    assert_eq!(kubo.version().await.unwrap(), "0.44.0-dev");
    let stat = kubo.repo_stat().await.unwrap();
    assert_eq!(
        (stat.repo_size, stat.storage_max),
        (12_068_502, 10_000_000_000)
    );
    let peers = kubo.swarm_peers().await.unwrap();
    assert_eq!(
        peers[0].to_string(),
        "12D3KooWSUUJekCC7xMZG1gey3GUJt1rN7xTQw5sLP3t9CgvNtQM"
    );
    kubo.swarm_connect("/ip4/127.0.0.1/tcp/1".into())
        .await
        .unwrap();
    assert_eq!(
        server.targets().last().unwrap(),
        "swarm/connect?arg=%2Fip4%2F127.0.0.1%2Ftcp%2F1"
    );
    assert!(server.got().iter().all(|g| g.method == "POST"));
}

#[tokio::test]
async fn numbers_may_be_strings_and_lists_null() {
    let js = answering(|got| match got.target.contains("repo/stat") {
        true => plain(200, r#"{"RepoSize":"123","StorageMax":"10000000000"}"#),
        false => plain(200, r#"{"Peers":null}"#),
    });
    let stat = js.repo_stat().await.unwrap();
    assert_eq!((stat.repo_size, stat.storage_max), (123, 10_000_000_000));
    assert_eq!(js.swarm_peers().await.unwrap(), []);
    let huge = answering(|_| plain(200, r#"{"RepoSize":1,"StorageMax":1e30}"#));
    assert_eq!(huge.repo_stat().await.unwrap().storage_max, u64::MAX);
}

#[tokio::test]
async fn what_is_pinned_is_found_with_one_question() {
    let server = replay(&[("pin/ls", "pin-ls-arg-stream")]);
    let found = kubo(&server).pin_mode(cid(ROOT)).await.unwrap();
    assert_eq!(found, Some(PinMode::Recursive));
    assert_eq!(
        server.targets(),
        [format!("pin/ls?stream=true&arg={ROOT}&type=recursive")]
    );
}

#[tokio::test]
async fn a_pin_tells_its_progress() {
    let server = replay(&[("pin/add", "pin-add-progress-with-provider")]);
    let (result, told) = pin(&kubo(&server), request(PinMode::Recursive)).await;
    result.unwrap();
    assert_eq!(
        told,
        [PinProgress {
            blocks: 81,
            bytes: 20_975_530
        }]
    );
    let add = format!("pin/add?arg={ROOT}&recursive=true&progress=true");
    assert_eq!(server.targets(), [add]);
}

#[tokio::test]
async fn a_pins_name_goes_along_where_the_node_has_names() {
    for (version, expected) in [("0.44.0", "&name=my%20n"), ("0.18.1", "")] {
        let server = Scripted::new(move |got| match &got.target[8..] {
            "version" => plain(200, &format!(r#"{{"Version":"{version}"}}"#)),
            t if t.starts_with("pin/ls") => recorded("pin-ls-stream-arg-not-pinned"),
            _ => recorded("pin-add-progress-local"),
        });
        let kubo = kubo(&server);
        for _ in 0..2 {
            let mut request = request(PinMode::Direct);
            request.name = "my n".into();
            pin(&kubo, request).await.0.unwrap();
        }
        let add = format!("pin/add?arg={ROOT}&recursive=false&progress=true{expected}");
        let targets = server.targets();
        assert_eq!(
            targets.iter().filter(|t| **t == add).count(),
            2,
            "{targets:?}"
        );
        assert_eq!(targets.iter().filter(|t| *t == "version").count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_after_a_200_is_in_the_trailer() {
    for (name, text, progress) in [
        (
            "pin-add-noprovider-progress-timeout",
            "pin: context deadline exceeded",
            0,
        ),
        (
            "pin-add-partial-progress-timeout",
            "context deadline exceeded",
            1,
        ),
    ] {
        let kubo = answering(move |got| match got.target.contains("pin/ls") {
            true => recorded("pin-ls-stream-arg-not-pinned"),
            false => recorded(name),
        });
        let (result, told) = pin(&kubo, request(PinMode::Recursive)).await;
        assert!(
            matches!(&result, Err(IpfsError::Refused(t)) if t == text),
            "{result:?}"
        );
        assert_eq!(told.len(), progress);
    }
}

/// An endless pin whose lines come every half second and say `line(n)`.
fn endless(line: impl Fn(u64) -> String + Send + Sync + 'static) -> Kubo {
    answering(move |got| {
        if got.target.contains("pin/ls") {
            return recorded("pin-ls-stream-arg-not-pinned");
        }
        let mut steps = vec![chunked_head(200)];
        for n in 0..2000 {
            steps.push(Step::Wait(Duration::from_millis(500)));
            steps.push(chunk(line(n)));
        }
        steps
    })
}

#[tokio::test(start_paused = true)]
async fn a_pin_stalls_when_its_count_stands_still_though_lines_come() {
    let start = tokio::time::Instant::now();
    let kubo = endless(|_| "{}\n".into());
    let (result, told) = pin(&kubo, request(PinMode::Recursive)).await;
    assert!(matches!(result, Err(IpfsError::Stalled(_))), "{result:?}");
    assert_eq!(told, []);
    assert_eq!(start.elapsed().as_secs(), 120);

    let start = tokio::time::Instant::now();
    let kubo = endless(|n| format!("{{\"Progress\":{}}}\n", (n / 200).min(3)));
    let (result, told) = pin(&kubo, request(PinMode::Recursive)).await;
    assert!(matches!(result, Err(IpfsError::Stalled(_))), "{result:?}");
    assert_eq!(told.iter().map(|p| p.blocks).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(start.elapsed().as_secs(), 300 + 120);
}

#[tokio::test(start_paused = true)]
async fn a_silent_pin_stalls_before_and_after_its_head() {
    for head in [false, true] {
        let kubo = answering(move |got| match (got.target.contains("pin/ls"), head) {
            (true, _) => recorded("pin-ls-stream-arg-not-pinned"),
            (_, true) => vec![chunked_head(200), Step::Wait(Duration::from_secs(9999))],
            (_, false) => vec![Step::Wait(Duration::from_secs(9999))],
        });
        let (result, _) = pin(&kubo, request(PinMode::Recursive)).await;
        assert!(matches!(result, Err(IpfsError::Stalled(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_pin_that_ends_without_a_result_or_in_garbage_failed() {
    let endings: [fn() -> Vec<Step>; 4] = [
        || vec![chunked_head(200), chunk("{\"Progress\":4}\n"), end(None)],
        || vec![chunked_head(200), chunk("{\"Progress\":4}\n"), Step::Close],
        || vec![chunked_head(200), chunk("<html>\n"), end(None)],
        || {
            vec![
                chunked_head(200),
                chunk("{\"Pins\":[\"x\"]}\n"),
                Step::Close,
            ]
        },
    ];
    for ending in endings {
        let kubo = answering(move |got| match got.target.contains("pin/ls") {
            true => recorded("pin-ls-stream-arg-not-pinned"),
            false => ending(),
        });
        let (result, _) = pin(&kubo, request(PinMode::Recursive)).await;
        assert!(
            matches!(result, Err(IpfsError::Unreachable(_))),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn an_update_is_used_when_its_source_is_pinned() {
    let mut wanted = request(PinMode::Recursive);
    wanted.update_from = Some(cid(OTHER));
    let serve = |update: &'static str| {
        Scripted::new(move |got| match &got.target {
            t if t.contains(&format!("arg={OTHER}&type=recursive")) => {
                recorded("pin-ls-arg-stream")
            }
            t if t.contains("pin/ls") => recorded("pin-ls-stream-arg-not-pinned"),
            t if t.contains("pin/update") => recorded(update),
            _ => recorded("pin-add-progress-local"),
        })
    };
    let server = serve("pin-update");
    pin(&kubo(&server), wanted.clone()).await.0.unwrap();
    let update = format!("pin/update?arg={OTHER}&arg={ROOT}&unpin=false");
    assert_eq!(server.targets().last(), Some(&update));

    let server = serve("unknown-command");
    pin(&kubo(&server), wanted).await.0.unwrap();
    let targets = server.targets();
    assert_eq!(targets[1], update);
    assert!(targets[2].starts_with("pin/add"), "{targets:?}");
}

#[tokio::test]
async fn origins_are_connected_to() {
    let server = Scripted::new(|got| match &got.target {
        t if t.contains("pin/ls") => recorded("pin-ls-stream-arg-not-pinned"),
        t if t.contains("swarm/connect") => recorded("swarm-connect-refused"),
        _ => recorded("pin-add-progress-with-provider"),
    });
    let mut wanted = request(PinMode::Recursive);
    wanted.origins = (0..12)
        .map(|n| format!("/ip4/10.0.0.{n}/tcp/4001"))
        .collect();
    pin(&kubo(&server), wanted).await.0.unwrap();
    let connects = server.targets();
    let connects = connects.iter().filter(|t| t.starts_with("swarm/connect"));
    assert_eq!(connects.count(), 10);
}

#[tokio::test]
async fn refusals_carry_the_texts_users_know() {
    let server = replay(&[
        ("pin/ls", "pin-ls-stream-arg-not-pinned"),
        ("pin/add", "pin-add-direct-over-recursive"),
        ("resolve", "cat-missing-link"),
    ]);
    let node = kubo(&server);
    let error = pin(&node, request(PinMode::Direct)).await.0.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "IPFS error (pin/add?arg={ROOT}&recursive=false&progress=true). Code: 500. Message: \
             pin: QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o already pinned recursively"
        )
    );
    let error = node
        .resolve(format!("/ipfs/{ROOT}/nope"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "IPFS error (resolve?arg=%2Fipfs%2F{ROOT}%2Fnope). Code: 500. Message: \
             no link named \"nope\" under {ROOT}"
        )
    );
    let error = kubo(&Scripted::refusing()).id().await.unwrap_err();
    assert!(matches!(error, IpfsError::Unreachable(_)));
    assert_eq!(
        error.to_string(),
        "Post \"http://ipfs.test:5001/api/v0/id\": dial tcp ipfs.test:5001: connect: connection refused"
    );
    let error = replay_one("unknown-command").id().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "IPFS request failed (is it running?) (id). Code 404: 404 page not found"
    );
}

fn replay_one(name: &'static str) -> Kubo {
    answering(move |_| recorded(name))
}

#[tokio::test]
async fn unpinning_what_is_not_pinned_is_told_apart() {
    replay_one("pin-rm").unpin(cid(ROOT)).await.unwrap();
    for name in ["pin-rm-unpinned", "pin-rm-indirect"] {
        let error = replay_one(name).unpin(cid(ROOT)).await.unwrap_err();
        assert!(matches!(error, IpfsError::NotPinned), "{error:?}");
    }
    for text in ["X is not pinned", "X is pinned indirectly under Y"] {
        let body = format!(r#"{{"Message":"{text}","Code":0,"Type":"error"}}"#);
        let error = answering(move |_| plain(500, &body)).unpin(cid(ROOT)).await;
        assert!(matches!(error, Err(IpfsError::NotPinned)), "{error:?}");
    }
    let error = replay_one("pin-add-bad-cid").unpin(cid(ROOT)).await;
    assert!(matches!(error, Err(IpfsError::Refused(_))), "{error:?}");
}

#[tokio::test]
async fn a_pins_mode_is_found() {
    let direct = Scripted::new(|got| match got.target.contains("type=direct") {
        true => plain(
            200,
            &format!(r#"{{"Keys":{{"{ROOT}":{{"Type":"direct","Name":""}}}}}}"#),
        ),
        false => recorded("pin-ls-stream-arg-not-pinned"),
    });
    assert_eq!(
        kubo(&direct).pin_mode(cid(ROOT)).await.unwrap(),
        Some(PinMode::Direct)
    );
    let none = replay_one("pin-ls-stream-arg-not-pinned");
    assert_eq!(none.pin_mode(cid(ROOT)).await.unwrap(), None);
    let recursive = replay_one("pin-ls-arg-stream");
    assert_eq!(
        recursive.pin_mode(cid(ROOT)).await.unwrap(),
        Some(PinMode::Recursive)
    );
    let down = kubo(&Scripted::refusing());
    assert!(down.pin_mode(cid(ROOT)).await.is_err());
}

#[tokio::test]
async fn pins_are_listed_streamed_or_not() {
    for recursive in ["pin-ls-recursive-stream", "pin-ls-recursive"] {
        let kubo = answering(move |got| match got.target.contains("type=direct") {
            true => recorded("pin-ls-direct-stream"),
            false => recorded(recursive),
        });
        let pins: Vec<_> = kubo.pin_ls().await.unwrap().try_collect().await.unwrap();
        assert_eq!(pins.len(), 8, "{pins:?}");
        assert!(pins.contains(&(cid(ROOT), PinMode::Recursive)));
    }
}

#[tokio::test]
async fn a_list_that_breaks_off_ends_in_an_error() {
    let line = format!("{{\"Cid\":\"{ROOT}\",\"Type\":\"recursive\"}}\n");
    let kubo = answering(move |got| match got.target.contains("type=direct") {
        true => recorded("pin-ls-direct-stream"),
        false => vec![chunked_head(200), chunk(&line), end(Some("disk on fire"))],
    });
    let pins: Vec<_> = futures::StreamExt::collect(kubo.pin_ls().await.unwrap()).await;
    assert_eq!(pins.len(), 2);
    assert!(
        matches!(&pins[1], Err(IpfsError::Refused(t)) if t == "disk on fire"),
        "{pins:?}"
    );
}

#[tokio::test]
async fn blocks_are_put_and_their_names_checked() {
    let blocks: Vec<_> = [
        (
            "bafkreidwslb22nkaxoadyaqlhlxgntmiq4jdenhkbrxhcq6avxlt75br5u",
            "one",
        ),
        (
            "bafkreib7ytgp45cyodrmbwm7ohzq74dfnsg63va4yhl5hu3wwdn6nbpc6m",
            "two",
        ),
    ]
    .map(|(c, data)| (cid(c), Bytes::from(data)))
    .into();
    let server = replay(&[("block/put", "block-put-two")]);
    kubo(&server).block_put(blocks.clone()).await.unwrap();
    let got = server.got();
    assert_eq!(got.len(), 1);
    assert_eq!(
        got[0].target,
        "/api/v0/block/put?cid-codec=raw&mhtype=sha2-256&pin=false"
    );
    let body = String::from_utf8(got[0].body.clone()).unwrap();
    let boundary = got[0].headers["content-type"].strip_prefix("multipart/form-data; boundary=");
    let parts: Vec<_> = body.split(&format!("--{}", boundary.unwrap())).collect();
    assert_eq!(parts.len(), 4);
    assert!(
        parts[1].ends_with("\r\n\r\none\r\n") && parts[2].ends_with("\r\n\r\ntwo\r\n"),
        "{body}"
    );

    let error = replay_one("block-put-raw")
        .block_put(blocks.clone())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("stored block"), "{error}");
    let error = replay_one("block-put-over-2MiB")
        .block_put(blocks)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("produced block is over 2MiB"),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_that_takes_one_block_at_a_time_gets_all() {
    let name = |data: &[u8]| content::hash::name_like(1, 0x55, 0x12, 32, data).unwrap();
    let blocks = ["a", "b", "c"].map(|d| (name(d.as_bytes()), Bytes::from(d)));
    let serve = |refuse_several: bool| {
        Scripted::new(move |got| {
            let body = String::from_utf8_lossy(&got.body);
            if refuse_several && body.matches("Content-Disposition").count() > 1 {
                let error = r#"{"Message":"Payload too large","Code":1,"Type":"error"}"#;
                return plain(413, error);
            }
            let data = body.split("\r\n\r\n").nth(1).unwrap();
            let data = &data[..data.find("\r\n--").unwrap()];
            plain(
                200,
                &format!("{{\"Key\":\"{}\",\"Size\":1}}", name(data.as_bytes())),
            )
        })
    };
    for (refuse_several, requests) in [(false, 3), (true, 4)] {
        let server = serve(refuse_several);
        let kubo = kubo(&server);
        kubo.block_put(blocks.to_vec()).await.unwrap();
        assert_eq!(server.got().len(), requests);
        kubo.block_put(blocks.to_vec()).await.unwrap();
        assert_eq!(server.got().len(), requests + 3, "it is remembered");
    }
}

#[tokio::test]
async fn a_block_is_got_and_checked() {
    let right = cid("bafkreiapc25bzpn4lnz2cmquulal4cssx4xqlfe4iajfz4pqrpjnnin2rq");
    let node = replay_one("block-get");
    assert_eq!(node.block_get(right).await.unwrap(), "raw block");
    let wrong = cid("bafkreidwslb22nkaxoadyaqlhlxgntmiq4jdenhkbrxhcq6avxlt75br5u");
    let error = node.block_get(wrong).await.unwrap_err();
    assert!(
        error.to_string().contains("does not match its hash"),
        "{error}"
    );
    let error = replay_one("block-get-noprovider-timeout")
        .block_get(right)
        .await;
    assert!(matches!(error, Err(IpfsError::Refused(_))), "{error:?}");
}

#[tokio::test]
async fn files_are_read_and_paths_resolved() {
    let node = replay_one("cat");
    let pieces: Vec<Bytes> = node
        .cat(OTHER.into())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(pieces.concat(), b"hello world\n");
    let error = replay_one("cat-dir-error")
        .cat(ROOT.into())
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().ends_with("this dag node is a directory"),
        "{error}"
    );

    let server = replay(&[("resolve", "resolve")]);
    let found = kubo(&server)
        .resolve(format!("/ipfs/{ROOT}/sub"))
        .await
        .unwrap();
    assert_eq!(
        found,
        cid("bafybeidc4fah2ftcatmth7zog2ftx2jj2v55h6j6xkqzbxk5unehtwnjvu")
    );
    assert_eq!(
        kubo(&server)
            .resolve(format!("/ipfs/{ROOT}"))
            .await
            .unwrap(),
        cid(ROOT)
    );
    assert_eq!(server.got().len(), 1, "a bare CID needs no asking");
}
