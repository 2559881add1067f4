//! Real clients of the APIs, from their registries, on a live peer. Skipped, visibly, where they
//! are not installed; `.ci/run` installs them and requires them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{path::Path, process::Command};

use ipfs_cluster_tests::{
    Cluster, Peer, Setup,
    foreign::{installed, python},
};

/// What is said of a pin that is not there, by the cluster and by an IPFS node.
const CLUSTER_S: &str = "not part of the pinset";
const NODE_S: &str = "not pinned or pinned indirectly";

fn run(mut command: Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(" passed, 0 failed"),
        "{command:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn node(script: &str, args: &[String]) -> Option<Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/http-clients");
    let how = "run `npm ci` in tests/peers/http-clients";
    if !installed(&folder.join("node_modules"), how) {
        return None;
    }
    let mut command = Command::new("node");
    command.arg(folder.join(script)).args(args);
    Some(command)
}

fn py(script: &str, args: &[String]) -> Option<Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/python-clients");
    let how = "make it as .ci/run does, with tests/peers/python-clients/requirements.txt";
    if !installed(&python(), how) {
        return None;
    }
    let mut command = Command::new(python());
    command.arg(folder.join(script)).args(args);
    Some(command)
}

/// Runs a client on a peer of its own.
fn on_a_peer(client: impl FnOnce(&Peer) -> Option<Command>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let cluster = Cluster::start(Setup::of(1).with_ipfs_rpc()).await;
        if let Some(command) = client(&cluster.peers[0]) {
            run(command);
        }
    });
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

#[test]
fn the_javascript_client_of_the_rest_api_works() {
    on_a_peer(|peer| node("rest.mjs", &[url(peer.rest_port())]));
}

#[test]
fn the_javascript_client_of_kubo_works_on_the_proxy() {
    on_a_peer(|peer| node("proxy.mjs", &[url(peer.proxy_port()), CLUSTER_S.to_owned()]));
}

#[test]
fn the_javascript_client_of_kubo_works_on_the_embedded_node() {
    on_a_peer(|peer| node("proxy.mjs", &[url(peer.ipfs_rpc_port()), NODE_S.to_owned()]));
}

#[test]
fn a_client_generated_from_the_pinning_service_s_specification_works() {
    on_a_peer(|peer| node("pinning.mjs", &[url(peer.pinning_port())]));
}

#[test]
fn the_python_client_of_the_rest_api_works() {
    on_a_peer(|peer| py("rest.py", &[url(peer.rest_port())]));
}

#[test]
fn python_clients_of_kubo_work_on_the_proxy() {
    on_a_peer(|peer| {
        let port = peer.proxy_port().to_string();
        py(
            "proxy.py",
            &["127.0.0.1".to_owned(), port, CLUSTER_S.to_owned()],
        )
    });
}

#[test]
fn python_clients_of_kubo_work_on_the_embedded_node() {
    on_a_peer(|peer| {
        let port = peer.ipfs_rpc_port().to_string();
        py(
            "proxy.py",
            &["127.0.0.1".to_owned(), port, NODE_S.to_owned()],
        )
    });
}

/// Requests made up from the description, good and bad: every answer must be as it says.
#[test]
fn schemathesis_finds_nothing() {
    on_a_peer(|peer| py("describe.py", &[url(peer.rest_port())]));
}
