//! What is added is read back, through whichever peer.

use std::{
    collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, process::Command,
    time::Duration,
};

use ipfs_cluster_tests::{Cluster, Setup, binary, random, until};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::tell;

/// How long what is on its way may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A tree of every kind of entry.
fn plant(root: &Path) {
    fs::create_dir_all(root.join("sub/empty")).unwrap();
    fs::write(root.join("hello.txt"), "hello cluster\n").unwrap();
    fs::write(root.join("large"), random(700_000)).unwrap();
    fs::write(root.join(".hidden"), "hidden").unwrap();
    fs::write(root.join("sub/ä b"), random(3)).unwrap();
    fs::set_permissions(root.join("sub/ä b"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(root.join("sub/none"), "").unwrap();
    std::os::unix::fs::symlink("../hello.txt", root.join("sub/link")).unwrap();
}

/// Paths and what they are: permissions and bytes of files, targets of links.
fn harvest(root: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let (mut found, mut open) = (BTreeMap::new(), vec![root.to_path_buf()]);
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let what = if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            (0, b"folder".to_vec())
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            (0, target.into_os_string().into_encoded_bytes())
        } else {
            (meta.permissions().mode() & 0o777, fs::read(&path).unwrap())
        };
        let name = path.strip_prefix(root).unwrap().display().to_string();
        found.insert(name, what);
    }
    found
}

#[test]
fn a_tree_added_at_one_peer_comes_back_through_another() {
    tell(async {
        let cluster = Cluster::start(Setup::of(2)).await;
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        plant(&tree);
        let path = tree.to_str().unwrap();
        for (n, options) in [
            &["--chunker=rabin-16384-32768-65536", "--trickle"][..],
            &[
                "--hash=blake3",
                "--inline",
                "--preserve-mode",
                "--preserve-mtime",
            ],
            &[
                "--cid-version=1",
                "--max-directory-links=2",
                "--chunker=buzhash",
                "-w",
            ],
        ]
        .into_iter()
        .enumerate()
        {
            let add = [&["add", "-r", "--hidden", "-Q"][..], options].concat();
            let local = Command::new(binary::ctl())
                .args(&add)
                .args(["--only-hash", path])
                .output()
                .unwrap();
            let local = String::from_utf8(local.stdout).unwrap();
            let wait = [&add[..], &["--wait", path]].concat();
            let (code, added, err) = cluster.peers[0].ctl(&wait);
            assert_eq!(code, 0, "{added}{err}");
            assert_eq!(added, local, "{options:?}");
            let root = match options.contains(&"-w") {
                true => format!("/ipfs/{}/tree", added.trim()),
                false => added.trim().to_string(),
            };

            let other = &cluster.peers[1];
            let to = temp.path().join(n.to_string());
            let (code, out, err) = other.ctl(&["get", &root, "-o", to.to_str().unwrap()]);
            assert_eq!(code, 0, "{out}{err}");
            let (mut there, mut back) = (harvest(&tree), harvest(&to));
            if !options.contains(&"--preserve-mode") {
                for what in there.values_mut().chain(back.values_mut()) {
                    what.0 = 0;
                }
            }
            assert!(
                there == back,
                "{options:?}: {:?} {:?}",
                there.keys(),
                back.keys()
            );

            let (_, text, _) = other.ctl(&["cat", &format!("{root}/hello.txt")]);
            assert_eq!(text, "hello cluster\n");
            let (_, listed, _) = other.ctl(&["ls", &root]);
            assert_eq!(listed.lines().count(), 4, "{listed}");
            assert!(listed.contains(" - sub/\n"), "{listed}");
        }
    });
}

#[test]
fn an_archive_and_the_standard_input_are_added() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let peer = &cluster.peers[0];
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        plant(&tree);
        let (code, root, err) = peer.ctl(&["add", "-r", "-Q", "--wait", tree.to_str().unwrap()]);
        assert_eq!(code, 0, "{err}");
        let path = format!("/api/v0/dag/export?arg={}", root.trim());
        let archive = ipfs_cluster_tests::http::request(peer.proxy_port(), "POST", &path);
        let car = temp.path().join("tree.car");
        fs::write(&car, archive.await.unwrap().body).unwrap();
        let (_, out, _) = peer.ctl(&["pin", "rm", "--wait", root.trim()]);
        let again = ["add", "-Q", "--format=car", "--wait", car.to_str().unwrap()];
        let (code, same, err) = peer.ctl(&again);
        assert_eq!((code, &same), (0, &root), "{out}{err}");

        let mut stdin = Command::new(binary::ctl());
        stdin.args(["add", "--only-hash", "-Q", "-"]);
        let file = fs::File::open(tree.join("hello.txt")).unwrap();
        let output = stdin.stdin(file).output().unwrap();
        let cid = String::from_utf8(output.stdout).unwrap();
        assert_eq!(cid, "QmccvEeJ1S95baJ6brLwNCKc6uq89vpVEoUGcEXc5FHhaX\n");
    });
}

/// Bytes that the blocks of all peers take.
async fn stored(peer: &ipfs_cluster_tests::Peer) -> u64 {
    let path = "/api/v0/repo/stat";
    let answer = ipfs_cluster_tests::http::request(peer.proxy_port(), "POST", path);
    let stat: serde_json::Value = answer.await.unwrap().json().unwrap();
    stat["RepoSize"].as_u64().unwrap()
}

#[test]
fn what_is_unpinned_is_collected_on_every_peer() {
    tell(async {
        let cluster = Cluster::start(Setup::of(2)).await;
        let peer = &cluster.peers[0];
        let temp = tempfile::tempdir().unwrap();
        let paths = ["kept", "gone"].map(|name| temp.path().join(name));
        let mut roots = vec![];
        for path in &paths {
            fs::write(path, random(1_000_000)).unwrap();
            let (code, root, err) = peer.ctl(&["add", "-Q", "--wait", path.to_str().unwrap()]);
            assert_eq!(code, 0, "{err}");
            roots.push(root.trim().to_owned());
        }
        let both = stored(peer).await;
        let (code, out, err) = peer.ctl(&["pin", "rm", "--wait", &roots[1]]);
        assert_eq!(code, 0, "{out}{err}");
        let (code, out, err) = cluster.peers[1].ctl(&["ipfs", "gc"]);
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(stored(peer).await * 2, both, "{out}");
        let kept = crate::cat(&cluster.peers[1], &roots[0]).await;
        assert!(kept == fs::read(&paths[0]).unwrap());
    });
}

#[test]
fn what_a_broken_upload_has_left_is_garbage_at_once() {
    tell(async {
        let cluster = Cluster::start(Setup::of(2)).await;
        let peer = &cluster.peers[0];
        let kept = crate::add(peer, "", &random(300_000)).await;
        let before = stored(peer).await;
        let part = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
        let head = "POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\
                    Content-Type: multipart/form-data; boundary=B\r\n\r\n";
        let mut stream = TcpStream::connect(("127.0.0.1", peer.rest_port()))
            .await
            .unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.write_all(&random(5_000_000)).await.unwrap();
        let grown = || async {
            let now = stored(peer).await;
            // More than one of the two can have of it.
            match now > before + 6_000_000 {
                true => Ok(()),
                false => Err(format!("{now}, {before} before")),
            }
        };
        until("blocks of the upload at both peers", LIMIT, grown).await;
        drop(stream);
        let collected = || async {
            let answer = peer
                .rest("POST", "/ipfs/gc")
                .await
                .map_err(|e| e.to_string())?;
            match stored(peer).await == before {
                true => Ok(()),
                false => Err(answer.text()),
            }
        };
        until("nothing of it", LIMIT, collected).await;
        assert_eq!(crate::cat(&cluster.peers[1], &kept).await.len(), 300_000);
    });
}

#[test]
fn nodes_are_put_and_got_and_all_blocks_are_checked() {
    tell(async {
        let cluster = Cluster::start(Setup::of(1)).await;
        let port = cluster.peers[0].proxy_port();
        let call = async |path: &str| {
            let path = format!("/api/v0/{path}");
            ipfs_cluster_tests::http::request(port, "POST", &path)
                .await
                .unwrap()
        };
        let node = r#"{"b":[1,-2,null,true,"ä"],"aaa":{"/":{"bytes":"AAEC"}},"c":1.5}"#;
        let path = "/api/v0/dag/put?pin=true";
        let put = ipfs_cluster_tests::http::upload(port, path, node.as_bytes()).await;
        let put: serde_json::Value = put.unwrap().json().unwrap();
        // What Kubo makes of it.
        let cid = "bafyreifgm32nqv4ioo5q6dytzzz2u6otbxorrcpkhn5gsp2rubybqtojaq";
        assert_eq!(put["Cid"]["/"], cid);
        let got = call(&format!("dag/get?arg={cid}")).await;
        let sorted = r#"{"aaa":{"/":{"bytes":"AAEC"}},"b":[1,-2,null,true,"ä"],"c":1.5}"#;
        assert_eq!(got.text(), sorted);
        assert_eq!(call(&format!("dag/get?arg={cid}/b/1")).await.text(), "-2");
        let missing = call(&format!("dag/get?arg={cid}/nope")).await;
        assert_eq!(missing.status, 500, "{missing:?}");
        cluster.until_status(0, cid, "pinned", 1).await;

        let refs = call("refs/local").await.items().unwrap();
        let checked = call("repo/verify").await;
        let lines = checked.items().unwrap();
        let last = lines.last().unwrap();
        assert_eq!(last["Msg"], "verify complete, all blocks validated.");
        let most = lines.iter().filter_map(|l| l["Progress"].as_u64()).max();
        assert_eq!(most, Some(refs.len() as u64));
        assert!(!refs.is_empty());
    });
}
