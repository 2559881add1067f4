//! Every command: what it asks for, what it prints, how it ends.

mod common;

use common::{Routes, Server, run, run_to};

const CID: &str = "QmazuPJPW7GJSLGnJgVTNFUyEXRVng9tk5SF9AHJdyXWmi";
const OTHER: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
const P1: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";
const P2: &str = "12D3KooWMeLtjJkrx2SsM5wmWPkJ9acpT6VeG6rti56XnQDrSgdp";
const OK: &str = "200 OK";

fn pin(cid: &str) -> String {
    format!(
        r#"{{"replication_factor_min":1,"replication_factor_max":2,"name":"n","mode":"recursive","shard_size":0,"user_allocations":null,"expire_at":"0001-01-01T00:00:00Z","metadata":null,"pin_update":null,"origins":[],"cid":"{cid}","type":"pin","allocations":["{P2}","{P1}"],"max_depth":-1,"reference":null,"timestamp":"2026-11-22T13:57:18Z"}}
"#
    )
}

fn pin_line(cid: &str) -> String {
    format!(
        "{cid} | n | PIN | Repl. Factor: 1--2 | Allocations: [{P1} {P2}] | Recursive | Metadata: no | Exp: ∞ | Added: 2026-11-22 13:57:18\n"
    )
}

fn status(cid: &str, word: &str) -> String {
    format!(
        r#"{{"cid":"{cid}","name":"n","allocations":["{P1}"],"origins":[],"created":"2026-11-22T13:57:18Z","metadata":null,"peer_map":{{"{P1}":{{"peername":"peer1","ipfs_peer_id":"{P2}","status":"{word}","timestamp":"2026-11-22T13:57:16Z","error":"","attempt_count":0,"priority_pin":false}},"{P2}":{{"peername":"","status":"remote","timestamp":"2026-11-22T13:57:16Z","error":"","attempt_count":0,"priority_pin":false}}}}}}
"#
    )
}

fn status_text(cid: &str, word: &str) -> String {
    format!(
        "{cid} | n:\n    > peer1                : {word} | 2026-11-22T13:57:16Z | Attempts: 0 | Priority: false\n    > {P2} : REMOTE | 2026-11-22T13:57:16Z | Attempts: 0 | Priority: false\n"
    )
}

fn id() -> String {
    format!(
        r#"{{"id":"{P1}","addresses":["/ip4/127.0.0.1/tcp/9196/p2p/{P1}"],"cluster_peers":["{P1}","{P2}"],"cluster_peers_addresses":[],"version":"1.1.6","commit":"","rpc_protocol_version":"/ipfscluster/1.0/rpc","error":"","ipfs":{{"id":"{P2}","addresses":["/b","/a"],"error":""}},"peername":"peer1"}}
"#
    )
}

fn routes() -> Routes {
    let unknown = "{\"code\":404,\"message\":\"pin is not part of the pinset\"}\n";
    let gc = format!(
        r#"{{"peer_map":{{"{P1}":{{"peer":"{P1}","peername":"peer1","keys":[{{"key":"{CID}","error":""}}],"error":""}}}}}}"#
    );
    let traffic = r#"{"/ipfs/id/1.0.0":{"total_in":1250000,"total_out":12,"rate_in":1.5,"rate_out":0},"":{"total_in":1,"total_out":2,"rate_in":0,"rate_out":0}}"#;
    vec![
        ("GET /id ", OK, id()),
        ("GET /version ", OK, "{\"version\":\"1.1.6\"}\n".to_owned()),
        ("GET /peers ", OK, id()),
        ("DELETE /peers/", "204 No Content", String::new()),
        ("POST /pins/ipfs/QmazuP", OK, pin(CID)),
        ("POST /pins/ipfs/QmUNLL", OK, pin(OTHER)),
        ("DELETE /pins/ipfs/QmazuP", OK, pin(CID)),
        ("DELETE /pins/ipfs/", "404 Not Found", unknown.to_owned()),
        ("GET /allocations/QmazuP", OK, pin(CID)),
        ("GET /allocations/", "404 Not Found", unknown.to_owned()),
        ("GET /allocations?", OK, pin(CID) + &pin(OTHER)),
        ("POST /pins/recover", "204 No Content", String::new()),
        ("GET /pins/QmazuP", OK, status(CID, "pinned")),
        ("GET /pins/QmUNLL", OK, status(OTHER, "pinning")),
        (
            "GET /pins?",
            OK,
            status(CID, "pinned") + &status(OTHER, "pinning"),
        ),
        ("POST /pins/QmazuP", OK, status(CID, "pinned")),
        (
            "GET /monitor/metrics ",
            OK,
            "[\"ping\",\"freespace\"]\n".to_owned(),
        ),
        ("GET /health/alerts ", OK, "[]\n".to_owned()),
        ("GET /health/bandwidth ", OK, traffic.to_owned()),
        ("POST /ipfs/gc", OK, gc),
    ]
}

type Row = (String, String, String);

/// Arguments, the request line they make, what is printed.
fn row(args: &str, request: &str, out: &str) -> Row {
    (args.to_owned(), request.to_owned(), out.to_owned())
}

/// On peers and pins.
fn commands_on_pins() -> Vec<Row> {
    let id_text = format!(
        "{P1} | peer1 | Sees 1 other peers\n  > Addresses:\n    - /ip4/127.0.0.1/tcp/9196/p2p/{P1}\n  > IPFS: {P2}\n    - /a\n    - /b\n"
    );
    let pins = pin_line(CID) + &pin_line(OTHER);
    vec![
        row("id", "GET /id", &id_text),
        row("peers ls", "GET /peers", &id_text),
        row("version", "GET /version", "1.1.6\n"),
        row(
            &format!("peers rm {P2}"),
            &format!("DELETE /peers/{P2}"),
            "",
        ),
        row("pin ls", "GET /allocations?filter=all", &pins),
        row("pin ls -filter frob", "GET /allocations?filter=", &pins),
        row(
            &format!("pin ls {CID}"),
            &format!("GET /allocations/{CID}"),
            &pin_line(CID),
        ),
        row(
            &format!("pin add --ns -rmin 2 --rmax=3 -n x --metadata a=b {CID}"),
            &format!(
                "POST /pins/ipfs/{CID}?replication-min=2&replication-max=3&name=x&mode=recursive&shard-size=0&user-allocations=&meta-a=b"
            ),
            &pin_line(CID),
        ),
        row(
            &format!("pin add --no-status -r -1 --mode direct -allocs {P1} {CID}"),
            &format!(
                "POST /pins/ipfs/{CID}?replication-min=-1&replication-max=-1&name=&mode=direct&shard-size=0&user-allocations={P1}"
            ),
            &pin_line(CID),
        ),
        row(
            &format!("pin update --ns {OTHER} {CID}"),
            &format!(
                "POST /pins/ipfs/{CID}?replication-min=0&replication-max=0&name=&mode=recursive&shard-size=0&user-allocations=&pin-update={OTHER}"
            ),
            &pin_line(CID),
        ),
        row(
            &format!("pin rm --ns {CID}"),
            &format!("DELETE /pins/ipfs/{CID}"),
            &pin_line(CID),
        ),
    ]
}

/// On the rest.
fn commands_on_status() -> Vec<Row> {
    let both = status_text(CID, "PINNED") + &status_text(OTHER, "PINNING");
    vec![
        row("status", "GET /pins?local=false&filter=", &both),
        row(
            "status --local --filter pinned,error",
            "GET /pins?local=true&filter=",
            &both,
        ),
        row(
            &format!("status {CID}"),
            &format!("GET /pins/{CID}?local=false"),
            &status_text(CID, "PINNED"),
        ),
        row(
            &format!("status {CID} {OTHER}"),
            &format!("GET /pins?local=false&cids={CID},{OTHER}"),
            &both,
        ),
        row("recover --local", "POST /pins/recover?local=true", ""),
        row(
            &format!("recover {CID}"),
            &format!("POST /pins/{CID}/recover?local=false"),
            &status_text(CID, "PINNED"),
        ),
        row(
            "health metrics",
            "GET /monitor/metrics",
            "ping\nfreespace\n",
        ),
        row("health alerts", "GET /health/alerts", ""),
        row(
            "health bandwidth",
            "GET /health/bandwidth",
            "                         : In:     1 B. Out:     2 B. RateIn: 0.00B/s. RateOut: 0.00B/s\n           /ipfs/id/1.0.0: In:  1.3 MB. Out:    12 B. RateIn: 1.50B/s. RateOut: 0.00B/s\n",
        ),
        row(
            "ipfs gc --local",
            "POST /ipfs/gc?local=true",
            &format!("peer1          \n  > CIDs:\n    - {CID}\n"),
        ),
    ]
}

#[test]
fn each_command_makes_its_request_and_prints_its_text() {
    for (args, request, out) in commands_on_pins().into_iter().chain(commands_on_status()) {
        let server = Server::start(routes());
        let words: Vec<&str> = args.split(' ').collect();
        let run = server.run(&words);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{args}: {}", run.out);
        assert_eq!(run.out, out, "{args}");
        let made = server.requests();
        assert!(made[0].starts_with(&request), "{args}: {made:?}");
    }
}

#[test]
fn json_has_an_indent_of_four_and_one_object_per_item() {
    let server = Server::start(routes());
    let version = server.run(&["--enc", "json", "version"]);
    assert_eq!(version.out, "{\n    \"version\": \"1.1.6\"\n}\n");
    let pins = server.run(&["--encoding=json", "pin", "ls"]);
    assert_eq!(pins.out.matches("\n}\n").count(), 2, "{}", pins.out);
    let traffic = server.run(&["-enc=json", "health", "bandwidth"]);
    assert!(
        traffic
            .out
            .contains("\"rate_in\": 1.5,\n        \"rate_out\": 0\n"),
        "{}",
        traffic.out
    );
    let names = server.run(&["-enc=json", "health", "metrics"]);
    assert_eq!(names.out, "[\n    \"ping\",\n    \"freespace\"\n]\n");
}

#[test]
fn an_error_of_the_server_goes_to_stdout_with_code_2() {
    let server = Server::start(routes());
    let text = server.run(&["pin", "rm", OTHER]);
    assert_eq!(
        (text.code, text.out.as_str()),
        (
            2,
            "An error occurred:\n  Code: 404\n  Message: pin is not part of the pinset\n"
        )
    );
    let json = server.run(&["--enc", "json", "pin", "ls", OTHER]);
    assert_eq!(
        (json.code, json.out.as_str()),
        (
            2,
            "{\n    \"code\": 404,\n    \"message\": \"pin is not part of the pinset\"\n}\n"
        )
    );
}

#[test]
fn no_server_is_code_0_of_an_error_and_exit_1() {
    // A port that was free a moment ago, and that nobody listens on.
    let none = run(&["--host", "/ip4/127.0.0.1/tcp/1", "id"], &[]);
    assert_eq!(none.code, 1);
    assert!(
        none.out
            .starts_with("An error occurred:\n  Code: 0\n  Message: "),
        "{none:?}"
    );
}

#[test]
fn wrong_usage_is_1_and_no_such_command_3() {
    let server = Server::start(routes());
    for (args, code, said) in [
        (&["frob"][..], 3, "No help topic for 'frob'\n"),
        (&["pin", "frob"], 3, "No help topic for 'frob'\n"),
        (
            &["status", "--filter", "frob"],
            1,
            "error parsing filter flag: invalid filter",
        ),
        (&["status", "abc"], 1, "error parsing cid: "),
        (&["peers", "rm", "abc"], 1, "error parsing peer ID: "),
        (&["--enc", "xml", "id"], 1, "unsupported encoding"),
        (&["--secret", "xy", "id"], 1, "error parsing secret: "),
        (
            &["pin", "add", "--expire-in", "soon", CID],
            1,
            "error parsing expire-in: ",
        ),
        (
            &["pin", "add", "--metadata", "x", CID],
            1,
            "error parsing metadata: ",
        ),
        (&["id", "--frob"], 1, "--frob"),
    ] {
        let run = server.run(args);
        assert_eq!(
            (run.code, run.out.as_str()),
            (code, ""),
            "{args:?}: {}",
            run.err
        );
        assert!(run.err.contains(said), "{args:?}: {}", run.err);
    }
    let none = run(&[], &[]);
    assert_eq!(none.code, 0);
    assert!(none.out.contains("Usage: ipfs-cluster-ctl"), "{}", none.out);
    let version = run(&["--version"], &[]);
    assert_eq!(version.out, "ipfs-cluster-ctl version 1.1.6\n");
}

#[test]
fn waiting_ends_with_the_goal_or_with_62() {
    let server = Server::start(routes());
    let reached = server.run(&["pin", "add", "--wait", CID]);
    assert_eq!((reached.code, reached.out), (0, status_text(CID, "PINNED")));
    let quiet = server.run(&["pin", "add", "--wait", "--ns", CID]);
    assert_eq!((quiet.code, quiet.out), (0, pin_line(CID)));
    let late = server.run(&["pin", "add", "-w", "-wt", "1s", OTHER]);
    assert_eq!(
        (late.code, late.err.as_str()),
        (
            62,
            "error waiting for pin status: context deadline exceeded\n"
        )
    );
}

#[test]
fn credentials_are_sent_and_mean_https_unless_http_is_forced() {
    let server = Server::start(routes());
    let forced = server.run(&["--basic-auth", "user:pass", "--force-http", "version"]);
    assert_eq!(forced.code, 0, "{forced:?}");
    assert!(server.heads()[0].contains("authorization: Basic dXNlcjpwYXNz\r\n"));
    let host = format!("/ip4/127.0.0.1/tcp/{}", server.port);
    let vars = [("CLUSTER_CREDENTIALS", "user")];
    let from_environment = run(&["--host", &host, "-f", "version"], &vars);
    assert_eq!(from_environment.code, 0, "{from_environment:?}");
    assert!(server.heads()[1].contains("authorization: Basic dXNlcjo=\r\n"));
}

#[test]
fn debug_shows_requests_and_bodies_on_stderr() {
    let server = Server::start(routes());
    let run = server.run(&["--debug", "version"]);
    assert_eq!(run.out, "1.1.6\n");
    assert!(
        run.err.contains("GET /version") && run.err.contains("{\"version\":\"1.1.6\"}"),
        "{}",
        run.err
    );
}

#[test]
fn the_next_host_is_tried_when_one_is_down() {
    let server = Server::start(routes());
    let hosts = format!("/ip4/127.0.0.1/tcp/1,/dns4/localhost/tcp/{}", server.port);
    let run = run(&["-l", &hosts, "version"], &[]);
    assert_eq!((run.code, run.out.as_str()), (0, "1.1.6\n"), "{}", run.err);
}

#[test]
fn completions_manual_and_list_of_commands_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completion", shell], &[]);
        assert_eq!(script.code, 0);
        assert!(
            script.out.contains("ipfs-cluster-ctl") && script.out.contains("recover"),
            "{shell}"
        );
    }
    let manual = run(&["man"], &[]);
    assert!(
        manual.out.contains(".TH ipfs-cluster-ctl 1"),
        "{}",
        manual.out
    );
    let folder = tempfile::tempdir().unwrap();
    let pages = run(&["man", folder.path().to_str().unwrap()], &[]);
    assert_eq!(pages.code, 0, "{pages:?}");
    assert!(folder.path().join("ipfs-cluster-ctl-pin-add.1").exists());
    let list = run(&["commands"], &[]);
    for line in [
        "ipfs-cluster-ctl id",
        "ipfs-cluster-ctl pin",
        "ipfs-cluster-ctl pin add",
        "ipfs-cluster-ctl commands",
    ] {
        assert!(
            list.out.lines().any(|l| l == line),
            "{line} in {}",
            list.out
        );
    }
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let listed = run_to(writer, &["commands"], &[]);
    assert_eq!((listed.code, listed.err.as_str()), (141, ""));
}
