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
    tell(async {
        // Each has an IPFS node with an RPC and a gateway of its own.
        let peer = &dev.peers[0];
        let added = http::upload(peer.ipfs_rpc_port(), "/api/v0/add?cid-version=1", b"mine").await;
        let added = added.unwrap().json::<serde_json::Value>().unwrap();
        let path = format!("/ipfs/{}", added["Hash"].as_str().unwrap());
        let shown = http::request(peer.gateway_port(), "GET", &path).await;
        assert_eq!(shown.unwrap().text(), "mine");
        let listed = http::request(peer.rest_port(), "GET", "/allocations").await;
        assert_eq!(
            listed.unwrap().status,
            204,
            "the cluster pins nothing of it"
        );
    });
    assert!(dev.interrupt().success());
    assert!(!dev.folder().join("peer1/addresses.json").exists());
}
