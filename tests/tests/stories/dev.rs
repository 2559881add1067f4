//! The first command of the README.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use ipfs_cluster_tests::{binary, http, until};
use serde_json::Value;

use crate::tell;

#[test]
fn dev_is_ready_by_itself_and_stops_at_a_signal() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("dev");
    let mut dev = Command::new(binary::service());
    dev.args(["dev", "--peers", "3", "--json", "--folder"])
        .arg(&folder);
    let mut dev = dev
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(dev.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let peers = ready["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 3, "{ready}");
    tell(async {
        for peer in peers {
            let rest = peer["rest"][0].as_str().unwrap();
            let port = rest.rsplit('/').next().unwrap().parse().unwrap();
            until("all peers listed", Duration::from_secs(30), || async {
                let answer = http::request(port, "GET", "/peers")
                    .await
                    .map_err(|e| e.to_string())?;
                let ids = answer.items().map_err(|e| e.to_string())?;
                if ids.len() == 3 {
                    Ok(())
                } else {
                    Err(answer.text())
                }
            })
            .await;
        }
    });
    let stopped = Command::new("kill")
        .args(["-INT", &dev.id().to_string()])
        .status()
        .unwrap();
    assert!(stopped.success());
    assert!(dev.wait().unwrap().success());
    assert!(!folder.join("peer1/addresses.json").exists());
}
