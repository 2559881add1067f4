//! What has other names here than in the recordings: peers, whose parts others play, and a shard.

use std::collections::BTreeMap;

use ipfs_cluster_tests::{Cluster, http};

/// Peer IDs of the recordings, of peer1 to peer3, and of their IPFS nodes.
const RECORDED: [(&str, &str); 3] = [
    (
        "12D3KooWMeLtjJkrx2SsM5wmWPkJ9acpT6VeG6rti56XnQDrSgdp",
        "12D3KooWL9Xa3TccSQj1wCiij97WgRjDvJGePtwJoKza8V4b7iDB",
    ),
    (
        "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA",
        "12D3KooWJy6xibEz4Br4suKYGWeC5KLGbK8v986qZ8vRfuRrDJu8",
    ),
    (
        "12D3KooWNbtPafxVgPgSK3BX9r55v53kf4PPpg3g3aX36HqEMrK3",
        "12D3KooWF9h5jTS9yoijgcsotd2y7BaCDvnXQWPhtpj8XohpSfB5",
    ),
];

/// What the Go program adds to the last shard of a file (an empty folder, and one around the file,
/// neither of which anything links to) is not in ours: other names and sizes of that shard and of the
/// list of shards.
const OF_SHARDS: [(&str, &str); 4] = [
    (
        "bafyreid6qutoyfdbpsiemqtu3hgloalrmiglvbzjv5gjw2yabm3lj7ui5a",
        "bafyreidno4et4nr6pyf7qi6rcacv6np4vkw3cfznmm7b4u675og5ivndim",
    ),
    (
        "bafyreidhmgrlhx6onxdbvqshgi5jdzkm2t3bkytr2eihjsh7etibotnbuq",
        "bafyreibkoaucybmuai2cvcvnwnzsivgjtkzimzvauaga7iqmxd6dqgj4dq",
    ),
    ("903588", "903489"),
    ("3000852", "3000753"),
];

/// The user of the recordings, as a header.
pub(crate) const ALICE: &str = "Authorization: Basic YWxpY2U6c2VjcmV0cHc=\r\n";
/// Hers, which also signs her tokens.
pub(crate) const ALICE_PASSWORD: &str = "secretpw";

/// Recorded names and ours for them.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    /// Of a cluster whose peers play those of the recordings, in their order.
    pub(crate) async fn of(cluster: &Cluster) -> Self {
        let own = OF_SHARDS.map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned()));
        let mut names = BTreeMap::from(own);
        for (peer, (id, ipfs)) in cluster.peers.iter().zip(RECORDED) {
            // A peer that wants to know who asks is told; others do not look.
            let port = peer.rest_port();
            let asked = http::send(port, "GET", "/id", ALICE, b"").await;
            let answer = asked.unwrap();
            let own: serde_json::Value = answer.json().unwrap();
            names.insert(id.to_owned(), own["id"].as_str().unwrap().to_owned());
            if let Some(node) = own["ipfs"]["id"].as_str() {
                names.insert(ipfs.to_owned(), node.to_owned());
            }
        }
        Self(names)
    }

    /// A recorded text with our names.
    pub(crate) fn ours(&self, text: &str) -> String {
        let mut text: String = text.split_inclusive('\n').map(pinned_directly).collect();
        for (recorded, ours) in &self.0 {
            text = text.replace(recorded, ours);
        }
        text
    }
}

/// A line about the root of a sharded DAG or its list of shards: the Go program's log gives it the
/// depth of an earlier pin.
fn pinned_directly(line: &str) -> String {
    let kinds = ["\"type\":\"meta-pin\"", "\"type\":\"clusterdag-pin\""];
    if !kinds.iter().any(|kind| line.contains(kind)) {
        return line.to_owned();
    }
    line.replace("\"mode\":\"recursive\"", "\"mode\":\"direct\"")
        .replace("\"max_depth\":1", "\"max_depth\":0")
}
