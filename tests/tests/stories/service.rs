//! The service's commands and what the operator's machine is told.

use std::{fs, os::unix::net::UnixDatagram, process::Command};

use ipfs_cluster_tests::{Cluster, Peer, Setup, binary, http, missing, wait::until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{alone, tell};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Runs a command of the service in a peer's folder: exit code, stdout, stderr.
fn service(peer: &Peer, args: &[&str]) -> (Option<i32>, String, String) {
    let output = peer.command(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code();
    (code, text(&output.stdout), text(&output.stderr))
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_is_exported_is_imported_and_a_broken_file_changes_nothing() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(3)).await;
        for n in 1..=3 {
            let path = format!(
                "/pins/{}?name=pin{n}&replication-min={n}&replication-max={n}&meta-k=v",
                missing()
            );
            let pinned = cluster.peers[0].rest("POST", &path).await.unwrap();
            assert_eq!(pinned.status, 200, "{}", pinned.text());
        }
        let (code, exported, err) = service(&cluster.peers[0], &["state", "export"]);
        assert_eq!((code, exported.lines().count()), (Some(0), 3), "{err}");
        for peer in &mut cluster.peers {
            peer.stop().await;
        }
        let first = &cluster.peers[0];
        let file = first.folder.join("pins.json");
        let path = file.to_str().unwrap();

        fs::write(&file, format!("{exported}{{\"cid\": \"nonsense\"}}")).unwrap();
        let (code, _, err) = service(first, &["state", "import", "-f", path]);
        assert_eq!(code, Some(1), "{err}");
        assert!(
            err.starts_with("error importing state: pin 4 of the state file"),
            "{err}"
        );
        let (_, unchanged, _) = service(first, &["state", "export"]);
        assert_eq!(sorted(&unchanged), sorted(&exported));

        fs::write(&file, &exported).unwrap();
        let (code, _, err) = service(first, &["state", "cleanup", "-f"]);
        assert_eq!(code, Some(0), "{err}");
        let (code, out, err) = service(first, &["state", "import", "-f", path]);
        assert_eq!(code, Some(0), "{err}");
        assert!(
            out.starts_with("3 pins imported, for a cluster of 3 peers."),
            "{out}"
        );
        let (_, again, _) = service(first, &["state", "export"]);
        assert_eq!(sorted(&again), sorted(&exported));
        assert!(first.folder.join("state.old.0").exists());

        // The others come back with empty states and take their old places.
        for n in 1..3 {
            let (code, _, err) = service(&cluster.peers[n], &["state", "cleanup", "-f"]);
            assert_eq!(code, Some(0), "{err}");
        }
        for n in 0..3 {
            cluster.restart(n).await;
        }
        cluster.all_see_each_other().await;
        let listed = cluster.peers[2].rest("GET", "/allocations").await.unwrap();
        assert_eq!(sorted(&listed.text()), sorted(&exported));
    });
}

#[test]
fn factors_and_places_of_a_file_can_be_replaced_and_sparse_pins_are_taken() {
    tell(async {
        let mut cluster = Cluster::start(Setup::of(1)).await;
        let id = cluster.peers[0].addresses().id.clone();
        cluster.peers[0].stop().await;
        let peer = &cluster.peers[0];
        let file = peer.folder.join("pins.json");
        let (one, two) = (missing(), missing());
        let text = format!(
            "{{\n \"cid\": \"{one}\",\n \"name\": \"x\"\n}}{{\"cid\":{{\"/\":\"{two}\"}}}}"
        );
        fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap();
        let command = [
            "state",
            "import",
            "-f",
            "--rmin",
            "1",
            "-rmax",
            "1",
            "--allocations",
            &id,
            path,
        ];
        let (code, _, err) = service(peer, &command);
        assert_eq!(code, Some(0), "{err}");
        let (_, out, _) = service(peer, &["state", "export"]);
        for line in out.lines() {
            let pin: Value = serde_json::from_str(line).unwrap();
            assert_eq!(pin["replication_factor_min"], 1, "{line}");
            assert_eq!(pin["allocations"], serde_json::json!([id]), "{line}");
        }
        assert_eq!(out.lines().count(), 2);
        // More copies than there are peers cannot be had.
        let (code, _, err) = service(
            peer,
            &["state", "import", "-f", "--rmin", "2", "--rmax", "2", path],
        );
        assert_eq!(code, Some(1));
        assert!(
            err.contains("pin 1 of the state file") && err.contains("--rmin"),
            "{err}"
        );
        let (_, same, _) = service(peer, &["state", "export"]);
        assert_eq!(same, out);
    });
}

#[test]
fn a_folder_of_a_go_peer_is_refused_with_the_commands_to_run() {
    let temp = tempfile::tempdir().unwrap();
    let peer = alone(temp.path());
    fs::create_dir(temp.path().join("raft")).unwrap();
    fs::write(temp.path().join("raft/raft.db"), "bolt").unwrap();
    fs::create_dir(temp.path().join("pebble")).unwrap();
    let (code, _, err) = service(&peer, &["daemon"]);
    assert_eq!(code, Some(1));
    for said in [
        "of a Go peer (raft)",
        "state export -f",
        "state import",
        "--start-empty",
    ] {
        assert!(err.contains(said), "{said}: {err}");
    }
    assert!(!temp.path().join("state").exists());
    assert_eq!(fs::read(temp.path().join("raft/raft.db")).unwrap(), b"bolt");
}

#[test]
fn systemd_is_told_when_the_peer_is_ready_and_when_it_stops() {
    tell(async {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let setup = Setup::of(1).with("NOTIFY_SOCKET", path.to_str().unwrap());
        let mut cluster = Cluster::start(setup).await;
        let told = || {
            let mut buffer = [0; 256];
            let n = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..n]).into_owned()
        };
        assert_eq!(told(), "READY=1\n");
        cluster.peers[0].stop().await;
        assert_eq!(told(), "STOPPING=1\n");
    });
}

/// Serves one document to whoever asks, as often as asked.
async fn elsewhere(body: String) -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
            let moved = head.starts_with(b"GET /moved");
            let answer = if moved {
                "HTTP/1.1 302 Found\r\nLocation: /service.json\r\nContent-Length: 0\r\n\r\n"
                    .to_owned()
            } else {
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            // A client that has what it wants may go away.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[test]
fn a_configuration_is_fetched_from_the_address_it_lies_at() {
    tell(async {
        let temp = tempfile::tempdir().unwrap();
        let model = alone(&temp.path().join("model"));
        let text = fs::read_to_string(model.folder.join("service.json")).unwrap();
        let port = elsewhere(text).await;
        let folder = temp.path().join("peer");
        let mut peer = alone(&folder);
        let url = format!("http://127.0.0.1:{port}/moved");
        let (code, _, err) = service(&peer, &["init", "-f", &url]);
        assert_eq!(code, Some(0), "{err}");
        let written = fs::read_to_string(folder.join("service.json")).unwrap();
        let written: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(written, serde_json::json!({"source": url}));
        peer.spawn(&[]);
        peer.ready().await;
        let id = peer.rest("GET", "/id").await.unwrap();
        assert_eq!(id.status, 200, "{}", id.text());
        peer.stop().await;
    });
}

#[test]
fn metrics_are_served_where_the_configuration_says() {
    tell(async {
        let setup = Setup::of(1)
            .with("CLUSTER_METRICS_ENABLESTATS", "true")
            .with("CLUSTER_METRICS_PROMETHEUSENDPOINT", "/ip4/127.0.0.1/tcp/0");
        let cluster = Cluster::start(setup).await;
        let peer = &cluster.peers[0];
        let pinned = peer
            .rest("POST", &format!("/pins/{}", missing()))
            .await
            .unwrap();
        assert_eq!(pinned.status, 200, "{}", pinned.text());
        let port = peer.metrics_port();
        let wanted = [
            "ipfscluster_pins 2",
            "ipfscluster_write_steps_total{stage=\"apply\"}",
            "ipfscluster_write_seconds_total{stage=\"sync\"}",
            "ipfscluster_http_request_seconds_count{server=\"rest\",method=\"POST\",code=\"200\"} 2",
            "ipfscluster_raft_term",
            "ipfscluster_blocks_added 1",
            "ipfscluster_blocks_added_size ",
            "ipfscluster_informer_disk ",
            "ipfscluster_gossip_messages_total{outcome=\"published\"}",
            "ipfscluster_pins_pin_add ",
        ];
        crate::add(peer, "", b"counted").await;
        // The pins are counted now and then.
        until("all metrics", PATIENCE, || async {
            let answer = http::request(port, "GET", "/metrics").await;
            let text = answer.map_err(|e| e.to_string())?.text();
            match wanted
                .iter()
                .find(|w| !text.lines().any(|l| l.starts_with(**w)))
            {
                None => Ok(()),
                Some(lacking) => Err(format!("{lacking} in {text}")),
            }
        })
        .await;
    });
}

#[test]
fn commands_that_do_nothing_else_print_and_end() {
    let run = |args: &[&str]| {
        let output = Command::new(binary::service())
            .env_clear()
            .args(args)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert_eq!(run(&["version"]), (Some(0), "1.1.6\n".to_owned()));
    assert_eq!(
        run(&["--version"]).1,
        "ipfs-cluster-service version 1.1.6\n"
    );
    assert_eq!(run(&[]).0, Some(1));
    assert_eq!(run(&["frob"]).0, Some(1));
    assert_eq!(
        run(&["-config", "/nowhere", "state", "crdt", "info"]).0,
        Some(1)
    );
    assert!(
        run(&["completion", "fish"])
            .1
            .contains("ipfs-cluster-service")
    );
    assert!(run(&["man"]).1.contains(".TH ipfs-cluster-service 1"));
}

#[test]
fn requests_of_the_pinning_service_are_exported_and_imported_too() {
    tell(async {
        let folder = tempfile::tempdir().unwrap();
        let mut peer = alone(folder.path());
        peer.spawn(&[]);
        peer.ready().await;
        let cid = missing();
        let mut ids = Vec::new();
        for name in ["one", "two"] {
            let body =
                format!("{{\"cid\":\"{cid}\",\"name\":\"{name}\",\"meta\":{{\"k\":\"{name}\"}}}}");
            let port = peer.pinning_port();
            let asked = http::send(port, "POST", "/pins", "", body.as_bytes()).await;
            let asked: Value = asked.unwrap().json().unwrap();
            ids.push(asked["requestid"].as_str().unwrap().to_owned());
        }
        let (code, running, err) = service(&peer, &["state", "export"]);
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(peer.stop().await, Some(0));
        let (_, stopped, _) = service(&peer, &["state", "export"]);
        assert_eq!(running, stopped);
        // Clients of the API itself see none of it.
        let pin: Value = serde_json::from_str(&running).unwrap();
        assert_eq!(pin["requests"].as_array().unwrap().len(), 2, "{running}");

        let file = peer.folder.join("pins.json");
        fs::write(&file, &running).unwrap();
        let path = file.to_str().unwrap();
        let (code, _, err) = service(&peer, &["state", "import", "-f", path]);
        assert_eq!(code, Some(0), "{err}");
        peer.spawn(&[]);
        peer.ready().await;
        for (id, name) in ids.iter().zip(["one", "two"]) {
            let path = format!("/pins/{id}");
            let found = until("the request", PATIENCE, || async {
                let found = http::request(peer.pinning_port(), "GET", &path).await;
                let found = found.map_err(|e| e.to_string())?;
                (found.status == 200)
                    .then(|| found.json::<Value>().unwrap())
                    .ok_or(found.text())
            })
            .await;
            assert_eq!(found["pin"]["name"], name);
            assert_eq!(found["pin"]["meta"]["k"], name);
        }
        let plain = peer.rest("GET", "/allocations").await.unwrap().text();
        assert!(!plain.contains("requests"), "{plain}");
        // The pin goes with the last of them, as before.
        for id in ids {
            let path = format!("/pins/{id}");
            let gone = http::request(peer.pinning_port(), "DELETE", &path).await;
            let gone = gone.unwrap();
            assert_eq!(gone.status, 202, "{gone:?}");
        }
        let left = peer.rest("GET", "/allocations").await.unwrap();
        assert_eq!(left.status, 204, "{left:?}");
    });
}
