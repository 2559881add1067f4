//! Shapes, codes, headers and trailers of the REST API.

use std::sync::Arc;

use http::Request;

use super::{
    ApiConfig, CID, PATIENCE, Peer,
    double::{Double, P1, P2},
    one_user, peer, start,
};
use crate::{
    api::{Metrics, ServerLimits, serve_metrics},
    env::{Addr, real},
    ipfs::http::{HttpClient, empty},
};

async fn with_pins(n: u8) -> Peer {
    let peer = peer().await;
    for i in 0..n {
        let cid = ipfs_cluster_protocol::content::hash::name_like(1, 0x55, 0x12, 32, &[i]).unwrap();
        assert_eq!(
            peer.call("POST", &format!("/pins/{cid}?name=n{i}"))
                .await
                .status,
            200
        );
    }
    peer
}

#[tokio::test]
async fn a_peer_says_who_it_is() {
    let peer = peer().await;
    let id = peer.call("GET", "/id").await;
    assert_eq!(id.status, 200);
    assert_eq!(id.header("content-type"), "application/json");
    assert_eq!(id.header("vary"), "Origin");
    assert_eq!(id.json()["id"], P1);
    assert_eq!(id.json()["ipfs"]["error"], "down");
    assert!(id.text.ends_with("}\n"));
    assert_eq!(
        peer.call("GET", "/version").await.text,
        "{\"version\":\"1.1.6\"}\n"
    );
}

#[tokio::test]
async fn health_is_no_content() {
    let health = peer().await.call("GET", "/health").await;
    assert_eq!((health.status, health.text.as_str()), (204, ""));
    assert_eq!(health.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_stream_has_a_line_per_item_and_an_empty_trailer() {
    let peers = peer().await.call("GET", "/peers").await;
    assert_eq!(peers.status, 200);
    assert_eq!(peers.header("trailer"), "X-Stream-Error");
    assert_eq!(peers.trailer.as_deref(), Some(""));
    let lines: Vec<serde_json::Value> = peers
        .text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["id"], P2);
    assert_eq!(lines[1]["error"], "failed to dial");
}

#[tokio::test]
async fn an_empty_stream_is_no_content() {
    let peer = peer().await;
    for (method, path) in [
        ("GET", "/allocations"),
        ("GET", "/pins"),
        ("GET", "/pins?local=true"),
        ("GET", "/pins?filter=pinned,foo"),
        ("GET", "/allocations?filter=pin,foo"),
        ("POST", "/pins/recover"),
    ] {
        let answer = peer.call(method, path).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_in_its_trailer_or_before_it_begins() {
    let peer = with_pins(3).await;
    peer.double.state.lock().list_fails_after = Some(2);
    let broken = peer.call("GET", "/allocations").await;
    assert_eq!((broken.status, broken.text.lines().count()), (200, 2));
    assert_eq!(broken.trailer.as_deref(), Some("the disk is gone"));
    peer.double.state.lock().list_fails_after = Some(0);
    let failed = peer.call("GET", "/allocations").await;
    assert_eq!(
        (failed.status, failed.error().as_str()),
        (500, "the disk is gone")
    );
    peer.double.state.lock().recovering = true;
    let early = peer.call("GET", "/pins").await;
    assert_eq!((early.status, early.header("retry-after")), (503, "1"));
}

#[tokio::test]
async fn a_pin_is_written_read_and_removed() {
    let peer = peer().await;
    let path = format!("/pins/{CID}");
    let pinned = peer
        .call(
            "POST",
            &format!("{path}?name=a%3Cb&meta-k=v&user-allocations={P1}"),
        )
        .await;
    assert_eq!(pinned.status, 200);
    assert_eq!(
        (
            pinned.header("x-cluster-index"),
            pinned.header("x-cluster-epoch")
        ),
        ("1", "3")
    );
    assert!(
        pinned.text.contains(r#""name":"a\u003cb""#),
        "{}",
        pinned.text
    );
    assert_eq!(pinned.json()["user_allocations"][0], P1);
    let read = peer
        .call("GET", &format!("/allocations/{CID}"))
        .await
        .json();
    assert_eq!(read["user_allocations"], serde_json::Value::Null);
    assert_eq!(read["timestamp"], "2026-11-22T14:06:05Z");
    let status = peer.call("GET", &path).await.json();
    assert_eq!(status["peer_map"][P1]["status"], "pinned");
    assert_eq!(
        peer.call("GET", &format!("/pins?cids={CID}")).await.json()["cid"],
        CID
    );
    let removed = peer.call("DELETE", &path).await;
    assert_eq!(
        (removed.status, removed.header("x-cluster-index")),
        (200, "2")
    );
    assert_eq!(removed.json()["name"], "a<b");
    let gone = peer.call("DELETE", &path).await;
    assert_eq!(
        (gone.status, gone.error().as_str()),
        (404, "pin is not part of the pinset")
    );
    assert_eq!(
        peer.call("GET", &path).await.json()["peer_map"][P1]["status"],
        "unpinned"
    );
}

#[tokio::test]
async fn a_path_is_pinned_by_what_it_names() {
    let peer = peer().await;
    let pinned = peer
        .call("POST", &format!("/pins/ipfs/{CID}?mode=direct"))
        .await;
    assert_eq!(
        (pinned.status, pinned.json()["mode"].as_str()),
        (200, Some("direct"))
    );
    assert_eq!(pinned.json()["max_depth"], 0);
    assert_eq!(
        peer.call("DELETE", &format!("/pins/ipfs/{CID}"))
            .await
            .status,
        200
    );
    let unresolved = peer.call("POST", &format!("/pins/ipfs/{CID}/x%2Fy")).await;
    assert_eq!(
        (unresolved.status, unresolved.error().as_str()),
        (500, "no link named \"x\"")
    );
}

#[tokio::test]
async fn bad_input_is_refused_in_known_words_and_nothing_is_done() {
    let peer = peer().await;
    let cid = "error decoding Cid: invalid cid: selected encoding not supported";
    let path = r#"error parsing path: invalid path "/ipfs/abc": invalid cid: selected encoding not supported"#;
    let peer_id = "error decoding Peer ID: failed to parse peer ID: invalid cid: selected encoding not supported";
    for (method, uri, message) in [
        ("GET", "/pins/abc", cid),
        ("POST", "/pins/abc", cid),
        ("DELETE", "/pins/abc", cid),
        ("GET", "/allocations/abc", cid),
        ("POST", "/pins/abc/recover", cid),
        ("GET", "/pins/recover", cid),
        ("GET", "/pins?cids=abc", cid),
        ("POST", "/pins/ipfs/abc", path),
        ("DELETE", "/pins/ipfs/abc", path),
        ("DELETE", "/peers/abc", peer_id),
        ("GET", "/allocations?filter=foo", "invalid filter value"),
        ("GET", "/pins?filter=undefined", "invalid filter value"),
        (
            "POST",
            &format!("/pins/{CID}?replication=x"),
            "parameter replication-min invalid",
        ),
        (
            "POST",
            &format!("/pins/ipfs/{CID}?expire-in=1"),
            "expire-in cannot be parsed: time: invalid duration \"1\"",
        ),
        ("GET", "/id?min-index=x", ""),
    ] {
        let answer = peer.call(method, uri).await;
        if message.is_empty() {
            assert_eq!(answer.status, 200, "{uri}");
        } else {
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (400, message),
                "{method} {uri}"
            );
        }
    }
    assert_eq!(peer.double.state.lock().commits, 0);
}

#[tokio::test]
async fn a_peer_is_added_and_removed() {
    let peer = peer().await;
    let post = |body: &'static str| peer.send(Request::post("/peers"), body.as_bytes());
    for (body, message) in [
        ("not json", "error decoding request body"),
        ("", "error decoding request body"),
        (r#"{"peer_id":"abc"}"#, "error decoding peer_id"),
    ] {
        let refused = post(body).await;
        assert_eq!(
            (refused.status, refused.error().as_str()),
            (400, message),
            "{body}"
        );
    }
    let added = peer
        .send(
            Request::post("/peers"),
            format!(r#"{{"peer_id":"{P2}"}}"#).as_bytes(),
        )
        .await;
    assert_eq!((added.status, added.json()["id"].as_str()), (200, Some(P2)));
    assert_eq!(
        peer.call("DELETE", &format!("/peers/{P2}")).await.status,
        204
    );
    assert_eq!(
        peer.call("DELETE", &format!("/peers/{P2}?drain=false"))
            .await
            .status,
        204
    );
    let removed = peer.double.state.lock().removed.clone();
    assert_eq!(
        removed,
        [(P2.parse().unwrap(), true), (P2.parse().unwrap(), false)]
    );
}

#[tokio::test]
async fn a_read_waits_for_the_index_it_asks_for() {
    let peer = with_pins(2).await;
    let read = |query: &'static str| async { peer.call("GET", query).await };
    let seen = read("/allocations?min-index=2&epoch=3").await;
    assert_eq!((seen.status, seen.header("x-cluster-index")), (200, "2"));
    assert_eq!(
        read("/pins?consistency=linearizable")
            .await
            .header("x-cluster-epoch"),
        "3"
    );
    assert_eq!(read("/pins?min-index=2&epoch=2").await.status, 409);
    assert_eq!(read("/pins?min-index=99").await.status, 503);
    assert_eq!(read("/pins?consistency=strong").await.status, 400);
}

#[tokio::test]
async fn lists_that_are_no_streams_are_arrays() {
    let peer = peer().await;
    assert_eq!(peer.call("GET", "/health/alerts").await.text, "[]\n");
    assert_eq!(
        peer.call("GET", "/monitor/metrics").await.text,
        "[\"freespace\"]\n"
    );
    assert_eq!(
        peer.call("GET", "/monitor/metrics/nonexistent").await.text,
        "[]\n"
    );
    let metrics = peer.call("GET", "/monitor/metrics/freespace").await.json();
    assert_eq!(metrics[0]["peer"], P1);
    assert_eq!(
        peer.call("GET", "/health/graph").await.json()["cluster_id"],
        P1
    );
    assert_eq!(peer.call("GET", "/repair").await.json()["paused"], "");
    let gc = peer.call("POST", "/ipfs/gc").await.json();
    assert_eq!(gc["peer_map"][P1]["keys"], serde_json::json!([]));
}

#[tokio::test]
async fn prometheus_is_told_of_the_consensus_and_the_pins() {
    let metrics = with_pins(2).await.call("GET", "/metrics").await;
    assert_eq!(metrics.status, 200);
    for line in [
        "ipfscluster_pins 2",
        "ipfscluster_raft_role{role=\"leader\"} 1",
        "ipfscluster_raft_term 4",
        "ipfscluster_raft_applied_index 7",
        "ipfscluster_queue_length{queue=\"new\"} 5",
        "ipfscluster_write_seconds_total{stage=\"sync\"} 1.5",
        "ipfscluster_write_steps_total{stage=\"sync\"} 3",
        // The two requests that made the pins.
        "ipfscluster_http_request_seconds_count{server=\"rest\",method=\"POST\",code=\"200\"} 2",
        "ipfscluster_http_requests_in_flight{server=\"rest\"} 1",
    ] {
        assert!(
            metrics.text.lines().any(|l| l == line),
            "{line} in {}",
            metrics.text
        );
    }
}

#[tokio::test]
async fn metrics_have_a_server_of_their_own() {
    let env = real::env();
    let metrics = Metrics::of(Arc::new(Double::new()), None, None);
    let listen = [Addr::Tcp("127.0.0.1".to_owned(), 0)];
    let server = serve_metrics(&listen, &env, &metrics).await.unwrap();
    let client = HttpClient::new(env.connect.clone(), server.addresses()[0].clone());
    let status = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(empty()).unwrap();
        let answer = client.request(request, PATIENCE).await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(status("GET", "/metrics").await, 200);
    assert_eq!(status("GET", "/pins").await, 404);
    assert_eq!(status("POST", "/metrics").await, 405);
}

#[tokio::test]
async fn what_no_route_takes_is_answered_as_recorded() {
    let peer = peer().await;
    let not_found = peer.call("GET", "/nonexistent").await;
    assert_eq!(
        (not_found.status, not_found.error().as_str()),
        (404, "not found")
    );
    assert_eq!(peer.call("DELETE", "/pins").await.error(), "not found");
    for (method, path) in [("PUT", "/id"), ("HEAD", "/id"), ("OPTIONS", "/id")] {
        let refused = peer.call(method, path).await;
        assert_eq!(
            (refused.status, refused.text.as_str()),
            (405, ""),
            "{method} {path}"
        );
        assert_eq!(refused.header("content-type"), "");
    }
    let moved = peer.call("POST", "/pins/x/?name=x").await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (307, "/pins/x?name=x")
    );
    assert_eq!(
        peer.call("GET", "/pins/ipfs/").await.header("location"),
        "/pins/ipfs"
    );
}

#[tokio::test]
async fn without_credentials_everything_but_liveness_is_refused() {
    let peer = start(one_user()).await;
    let refused = peer.call("GET", "/nope").await;
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (401, "unauthorized: no auth provided")
    );
    assert_eq!(
        refused.headers.get_all("www-authenticate").iter().count(),
        2
    );
    assert_eq!(refused.headers.get_all("x-custom").iter().count(), 2);
    assert_eq!(refused.header("vary"), "");
    assert_eq!(peer.call("GET", "/health").await.status, 204);
    let basic = |credentials: &'static str| {
        peer.send(
            Request::get("/version").header("authorization", credentials),
            b"",
        )
    };
    let let_in = basic("Basic YWxpY2U6c2VjcmV0cHc=").await;
    assert_eq!(let_in.status, 200);
    assert_eq!(let_in.headers.get_all("x-custom").iter().count(), 2);
    assert_eq!(
        basic("Basic YWxpY2U6eA==").await.error(),
        "unauthorized: access denied"
    );
}

#[tokio::test]
async fn pages_of_other_sites_are_told_what_they_may() {
    let peer = peer().await;
    let origin = ("origin", "http://a.example");
    let get = peer
        .send(Request::get("/id").header(origin.0, origin.1), b"")
        .await;
    assert_eq!(get.header("access-control-allow-origin"), "*");
    let preflight = Request::options("/pins")
        .header(origin.0, origin.1)
        .header("access-control-request-method", "GET");
    let preflight = peer.send(preflight, b"").await;
    assert_eq!(
        (
            preflight.status,
            preflight.header("access-control-allow-methods")
        ),
        (204, "GET")
    );
}

#[tokio::test]
async fn a_handler_that_panics_answers_500_and_the_server_lives() {
    let peer = peer().await;
    let panicked = peer.call("POST", &format!("/pins/{CID}?name=panic")).await;
    assert_eq!(
        (panicked.status, panicked.error().as_str()),
        (500, "internal error")
    );
    assert_eq!(peer.call("GET", "/id").await.status, 200);
}

#[tokio::test]
async fn trailers_come_on_every_request_of_a_connection_asked_for_or_not() {
    let peer = with_pins(1).await;
    let once = "GET /allocations HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /allocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = peer.raw(format!("{once}{once}{last}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
    assert_eq!(
        answer.matches("0\r\nX-Stream-Error: \r\n\r\n").count(),
        3,
        "{answer}"
    );
}

#[tokio::test]
async fn garbage_and_oversized_heads_are_refused_and_the_server_lives() {
    let peer = peer().await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "HTTP/1.1 400"),
        (b"nonsense\r\n\r\n", "HTTP/1.1 400"),
        (long.as_bytes(), "HTTP/1.1 431"),
    ] {
        let answer = peer.raw(bytes).await;
        assert!(answer.starts_with(status), "{answer}");
    }
    assert_eq!(peer.call("GET", "/id").await.status, 200);
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_request_is_cut_off() {
    let limits = ServerLimits {
        head_timeout: std::time::Duration::from_millis(50),
        idle_timeout: std::time::Duration::from_millis(50),
        ..ServerLimits::default()
    };
    let peer = start(ApiConfig {
        limits,
        ..ApiConfig::default()
    })
    .await;
    for bytes in ["GET /id HTTP/1.1\r\nHost: x", ""] {
        // It ends, or `raw` would run into its deadline.
        let answer = peer.raw(bytes.as_bytes()).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn a_server_that_stops_answers_what_has_begun_and_takes_nothing_new() {
    let peer = peer().await;
    assert_eq!(peer.call("GET", "/id").await.status, 200);
    let Peer { server, client, .. } = peer;
    server.shutdown().await;
    let request = Request::get("/id").body(empty()).unwrap();
    assert!(client.request(request, PATIENCE).await.is_err());
}
