//! Uploads: what becomes of parts, and how that is told.

use http::Request;

use super::{
    Answer, Peer,
    double::P1,
    multipart::{BOUNDARY, body as multipart},
    peer,
};

async fn post(peer: &Peer, query: &str, body: &[u8]) -> Answer {
    let request = Request::post(format!("/add?{query}")).header(
        "content-type",
        format!("multipart/form-data; boundary={BOUNDARY}"),
    );
    peer.send(request, body).await
}

fn lines(answer: &Answer) -> Vec<serde_json::Value> {
    let lines = answer.text.lines();
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[tokio::test]
async fn a_file_gets_the_cid_that_kubo_gives_it_and_is_pinned() {
    let peer = peer().await;
    let body = multipart(&[("hello.txt", Some(b"hello cluster\n"))]);
    let added = post(&peer, "name=greeting&meta-a=b", &body).await;
    assert_eq!(added.status, 200);
    for (name, value) in [
        ("cache-control", "no-cache"),
        ("connection", "close"),
        ("content-type", "application/json"),
        ("trailer", "X-Stream-Error"),
        ("x-chunked-output", "1"),
    ] {
        assert_eq!(added.header(name), value);
    }
    assert_eq!(added.trailer, None);
    let lines = lines(&added);
    assert_eq!(lines.len(), 1);
    // The CID is Kubo's for this content.
    assert_eq!(lines[0]["name"], "hello.txt");
    assert_eq!(
        lines[0]["cid"],
        "QmccvEeJ1S95baJ6brLwNCKc6uq89vpVEoUGcEXc5FHhaX"
    );
    assert_eq!(lines[0]["size"], 22);
    assert_eq!(lines[0]["allocations"], serde_json::json!([P1]));
    let cid = lines[0]["cid"].as_str().unwrap().parse().unwrap();
    let pin = peer.double.state.lock().pins.get(&cid).cloned().unwrap();
    assert_eq!(
        (pin.spec.name.as_str(), pin.spec.metadata["a"].as_str()),
        ("greeting", "b")
    );
}

#[tokio::test]
async fn a_buffered_answer_is_an_array() {
    let peer = peer().await;
    let body = multipart(&[("a.txt", Some(b"a"))]);
    let added = post(&peer, "stream-channels=false", &body).await;
    assert_eq!(added.status, 200);
    assert_eq!(added.json().as_array().unwrap().len(), 1);
    assert_eq!(added.header("x-cluster-index"), "1");
    let failed = post(&peer, "stream-channels=false&replication=2", &body).await;
    assert_eq!(
        (failed.status, failed.error().as_str()),
        (500, "not enough peers")
    );
}

#[tokio::test]
async fn folders_come_after_what_is_in_them_and_the_root_last() {
    let peer = peer().await;
    let body = multipart(&[
        ("d", None),
        ("d%2Fa.txt", Some(b"aaa\n")),
        ("d%2Fsub%2Fb.txt", Some(b"bbb\n")),
    ]);
    let told = |answer: &Answer| -> Vec<(String, String, u64)> {
        let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
        let line = |l: &serde_json::Value| {
            (
                text(&l["name"]),
                text(&l["cid"]),
                l["size"].as_u64().unwrap(),
            )
        };
        lines(answer).iter().map(line).collect()
    };
    // CIDs and sizes are the Go cluster's and Kubo's.
    let mut expected = vec![
        (
            "d/a.txt",
            "QmUzA3j2VBbmajMVJwCL5JYim86WaJuAj5B4HVWpFyQZLV",
            12,
        ),
        (
            "d/sub/b.txt",
            "Qma3n3uXiPmRk1hEYUJHafEKzgCUzjPi12YCT3HNGyXuVz",
            12,
        ),
        (
            "d/sub",
            "QmWrHnzVdDyKNuUyo7kge3n2daTVcTPiefgXzu2EPc7JVo",
            63,
        ),
        ("d", "QmNoZRdguN3tmuJ6fKuJbD6dumvsvgNiJSBpmXsuqxgjk2", 171),
    ];
    let own = |lines: &[(&str, &str, u64)]| -> Vec<_> {
        lines
            .iter()
            .map(|(n, c, s)| ((*n).to_owned(), (*c).to_owned(), *s))
            .collect()
    };
    let added = post(&peer, "", &body).await;
    assert_eq!(told(&added), own(&expected));
    let pinned: Vec<String> = peer
        .double
        .state
        .lock()
        .pins
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(pinned, [expected[3].1]);

    expected.push(("", "QmV7nxXcuEoGeANpLs4srM7z4aLJziv9MpsV63zoq1oZ7k", 219));
    let wrapped = post(&peer, "wrap-with-directory=true", &body).await;
    assert_eq!(told(&wrapped), own(&expected));
}

#[tokio::test]
async fn of_several_files_without_a_folder_the_last_is_pinned() {
    let peer = peer().await;
    let body = multipart(&[("a", Some(b"a")), ("b", Some(b"b"))]);
    let added = lines(&post(&peer, "", &body).await);
    assert_eq!(added.len(), 2);
    let pinned: Vec<String> = peer
        .double
        .state
        .lock()
        .pins
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(pinned, [added[1]["cid"].as_str().unwrap()]);
}

#[tokio::test]
async fn progress_counts_the_bytes_read() {
    let peer = peer().await;
    let content: Vec<u8> = (0..700_000u32)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect();
    let body = multipart(&[("big.bin", Some(&content))]);
    let added = post(&peer, "progress=true&no-pin=true", &body).await;
    let expected = "{\"name\":\"\",\"cid\":null,\"bytes\":262144}\n{\"name\":\"\",\"cid\":null,\"bytes\":524288}\n{\"name\":\"\",\"cid\":null,\"bytes\":700000}\n";
    assert!(added.text.starts_with(expected), "{}", added.text);
    assert_eq!(lines(&added).len(), 4);
    let state = peer.double.state.lock();
    assert!(state.pins.is_empty());
    assert_eq!(state.blocks.len(), 4);
}

#[tokio::test]
async fn what_goes_wrong_is_told_before_or_after_the_head_as_recorded() {
    let peer = peer().await;
    let body = multipart(&[("a.txt", Some(b"a"))]);
    for (query, message) in [
        ("layout=foo", "layout parameter is invalid"),
        ("format=foo", "format parameter is invalid"),
        (
            "wrap-with-directory=foo",
            "parameter wrap-with-directory invalid",
        ),
        ("cid-version=foo", "parameter cid-version invalid"),
    ] {
        let refused = post(&peer, query, &body).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, message));
    }
    for (query, message) in [
        ("hash=blake2b-256", "invalid cid: invalid v0 prefix"),
        ("hash=nope", "hash function name not known"),
        ("chunker=foo", "unrecognized chunker option: foo"),
        ("cid-version=9", "bad CID Version: unknown CID version: 9"),
        ("replication=2", "not enough peers"),
    ] {
        let failed = post(&peer, query, &body).await;
        assert_eq!((failed.status, failed.text.as_str()), (200, ""), "{query}");
        assert_eq!(failed.trailer.as_deref(), Some(message), "{query}");
    }
    let plain = peer.send(Request::post("/add"), b"x").await;
    assert_eq!(
        plain.error(),
        "request Content-Type isn't multipart/form-data"
    );
    let nothing = post(&peer, "", &multipart(&[])).await;
    assert_eq!(
        (nothing.status, nothing.error().as_str()),
        (400, "the upload has no parts")
    );
    assert!(peer.double.state.lock().pins.is_empty());
}

#[tokio::test]
async fn a_truncated_upload_pins_nothing() {
    let peer = peer().await;
    let mut body = multipart(&[("a.txt", Some(b"a")), ("b.txt", Some(b"b"))]);
    body.truncate(body.len() - 30);
    let added = post(&peer, "", &body).await;
    assert_eq!((added.status, lines(&added).len()), (200, 1));
    assert_eq!(added.trailer.as_deref(), Some("multipart: NextPart: EOF"));
    assert!(peer.double.state.lock().pins.is_empty());
}

/// 700 000 bytes, as they were uploaded to the Go cluster.
fn recorded_bytes() -> Vec<u8> {
    (0..700_000u32).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn every_way_to_import_gives_the_recorded_cid() {
    let peer = peer().await;
    let (big, hello) = (recorded_bytes(), b"hello cluster\n".to_vec());
    for (query, content, cid, size) in [
        (
            "layout=trickle",
            &big,
            "QmcEE8oMuFZDGibmaCks2AZKrwYTTfQc46f9NAbuYeqCRb",
            700_194,
        ),
        (
            "chunker=rabin",
            &big,
            "QmUv5YnH3MpnKkySkV6cjdBYc2AooAWBuGGNVJtVgYJHFC",
            700_132,
        ),
        (
            "chunker=size-4",
            &hello,
            "QmWwAGj1SF3MDPQvWqcQWSGB3w3D67qCeqtfAqNCh9B2La",
            228,
        ),
    ] {
        let body = multipart(&[("big.bin", Some(content))]);
        let added = lines(&post(&peer, query, &body).await);
        assert_eq!(
            (&added[0]["cid"], &added[0]["size"]),
            (&cid.into(), &size.into()),
            "{query}"
        );
    }
    let link = b"--BOUNDARY\r\nContent-Disposition: form-data; filename=\"l\"\r\n\
        Content-Type: application/symlink\r\n\r\ntarget\r\n--BOUNDARY--\r\n";
    let link = String::from_utf8_lossy(link).replace("BOUNDARY", BOUNDARY);
    let added = lines(&post(&peer, "", link.as_bytes()).await);
    assert_eq!(
        added[0]["cid"],
        "QmbqcXVc1m3ptTWpceoVYfkn1gD6MRvjEFbVeMsBjSKQgT"
    );
    assert_eq!(added[0]["size"], 12);
}

#[tokio::test]
async fn an_archive_keeps_its_blocks_and_its_root_is_pinned() {
    use ipfs_cluster_protocol::content::{car, hash::name_like};
    let peer = peer().await;
    let block = [
        8, 2, 18, 9, b'c', b'a', b'r', b' ', b'b', b'l', b'o', b'c', b'k', 24, 9,
    ];
    let node = [&[10, block.len() as u8], &block[..]].concat();
    let root = name_like(0, 0x70, 0x12, 32, &node).unwrap();
    let archive = [car::header(&[root]), car::section(&root, &node)].concat();
    let body = multipart(&[("x.car", Some(&archive))]);
    let added = post(&peer, "format=car&name=carpin", &body).await;
    let expected = serde_json::json!([{
        "name": "x.car", "cid": root.to_string(), "bytes": 17, "size": 9, "allocations": [P1],
    }]);
    assert_eq!(serde_json::Value::from(lines(&added)), expected);
    assert!(peer.double.state.lock().pins.contains_key(&root));

    let two = [car::header(&[root, root]), car::section(&root, &node)].concat();
    let mut broken = archive.clone();
    *broken.last_mut().unwrap() ^= 1;
    for (query, archive, message) in [
        ("", &archive[..archive.len() - 1], "unexpected EOF"),
        ("", b"hello cluster\n", "unexpected EOF"),
        ("", &two, "only CAR files with a single root are supported"),
        (
            "&wrap-with-directory=true",
            &archive,
            "cannot wrap a CAR file upload",
        ),
        (
            "",
            &broken,
            &format!("the data of block {root} does not match its hash"),
        ),
    ] {
        let body = multipart(&[("x.car", Some(archive))]);
        let failed = post(&peer, &format!("format=car{query}"), &body).await;
        assert_eq!(failed.trailer.as_deref(), Some(message));
    }
    assert_eq!(peer.double.state.lock().pins.len(), 1);
}
