//! The first command of the README.

use std::time::Duration;

use ipfs_cluster_tests::{Dev, http, until};

use crate::tell;

#[test]
fn dev_is_ready_by_itself_and_stops_at_a_signal() {
    let mut dev = Dev::start(&["--peers", "3"]);
    assert_eq!(dev.peers.len(), 3, "{dev:?}");
    tell(async {
        for peer in &dev.peers {
            let port = peer.rest_port();
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
    assert!(dev.interrupt().success());
    assert!(!dev.folder().join("peer1/addresses.json").exists());
}
