//! Stories told to real peers over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod client;
mod dev;
mod divergence;
mod failover;
mod leaving;
mod membership;
mod partition;
mod pins;
mod recover;
mod refusals;
mod restart;
mod service;
mod timing;

/// The root that the proxy's or the API's answer to an upload names.
fn root(answer: &ipfs_cluster_tests::Answer) -> String {
    let lines = answer.items().unwrap();
    let last = lines
        .last()
        .unwrap_or_else(|| panic!("nothing was added: {answer:?}"));
    last["cid"].as_str().unwrap().to_owned()
}

/// Adds bytes at a peer; the root.
async fn add(peer: &ipfs_cluster_tests::Peer, query: &str, bytes: &[u8]) -> String {
    let head = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\
                Content-Type: application/octet-stream\r\n\r\n";
    let body = [head.as_bytes(), bytes, b"\r\n--B--\r\n"].concat();
    let headers = "Content-Type: multipart/form-data; boundary=B\r\n";
    let path = format!("/add?{query}");
    let answer = ipfs_cluster_tests::http::send(peer.rest_port(), "POST", &path, headers, &body);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    root(&answer)
}

/// The bytes of a CID as a peer's IPFS node has them.
async fn cat(peer: &ipfs_cluster_tests::Peer, cid: &str) -> Vec<u8> {
    let path = format!("/api/v0/cat?arg={cid}");
    let answer = ipfs_cluster_tests::http::request(peer.proxy_port(), "POST", &path);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.body
}

/// Bytes that nothing else has.
fn random(len: usize) -> Vec<u8> {
    use rand::RngCore;
    let mut bytes = vec![0; len];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A CID of content that exists nowhere.
fn missing() -> String {
    let hash = cid::multihash::Multihash::wrap(0x12, &random(32)).unwrap();
    cid::Cid::new_v1(0x55, hash).to_string()
}

/// Runs a story.
fn tell(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(story);
}
