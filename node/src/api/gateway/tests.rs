use ipfs_cluster_protocol::content::{
    DAG_CBOR, DAG_JSON,
    car::{CarReader, Item},
    hash::name_like,
    import::FileImport,
    ipld::{self, Ipld},
    options::{ChunkerSpec, ImportOptions},
    tree::Tree,
};
use tempfile::TempDir;

use super::*;
use crate::{api::http::reply::into_outgoing, testing::embedded_node};

struct Site {
    node: SharedIpfs,
    root: Cid,
    _dir: TempDir,
}

fn bytes() -> Vec<u8> {
    (0..5000u32).map(|n| (n * 7 / 3) as u8).collect()
}

/// A folder with a file of many blocks, a page of its own in a sub-folder, and a sharded one.
async fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    let node: SharedIpfs = embedded_node(dir.path()).await;
    let mut options = ImportOptions {
        chunker: ChunkerSpec::Size(100),
        file_links_max: 10,
        raw_leaves: true,
        ..ImportOptions::default()
    };
    options.naming.version = 1;
    options.folders.links_max = Some(20);
    let (mut tree, mut out) = (Tree::default(), vec![]);
    let mut add = |path: &str, content: &[u8]| {
        let mut file = FileImport::new(&options).unwrap();
        file.write(Bytes::copy_from_slice(content), &mut out);
        tree.insert(path, file.finish(&mut out)).unwrap();
    };
    add("r/large.txt", &bytes());
    add("r/page/index.html", b"<p>own</p>");
    add("r/twice/a", b"the same");
    add("r/twice/b", b"the same");
    for n in 0..40 {
        add(&format!("r/many/{n} &"), &[n]);
    }
    let root = tree
        .finish(&options, &mut out)
        .unwrap()
        .last()
        .unwrap()
        .root
        .cid;
    let blocks = out.into_iter().map(|b| (b.cid, b.data)).collect();
    node.block_put(blocks).await.unwrap();
    Site {
        node,
        root,
        _dir: dir,
    }
}

impl Site {
    async fn get(&self, rest: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, Bytes) {
        self.ask(Method::GET, rest, headers).await
    }

    async fn ask(
        &self,
        method: Method,
        rest: &str,
        headers: &[(&str, &str)],
    ) -> (u16, HeaderMap, Bytes) {
        self.asked(method, &format!("/ipfs/{}{rest}", self.root), headers)
            .await
    }

    async fn asked(
        &self,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> (u16, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = answer(&self.node, &request.body(()).unwrap()).await;
        let (head, body) = into_outgoing(reply).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, body)
    }

    /// The CIDs in an archive, whose blocks were checked.
    async fn car(&self, rest: &str) -> Vec<Cid> {
        let (status, headers, body) = self.get(rest, &[]).await;
        assert_eq!(status, 200, "{body:?}");
        assert!(
            headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with("application/vnd.ipld.car")
        );
        let (mut reader, mut cids) = (CarReader::default(), vec![]);
        reader.push(&body);
        while let Some(item) = reader.take().unwrap() {
            if let Item::Block(block) = item {
                ipfs_cluster_protocol::content::hash::verify(&block.cid, &block.data).unwrap();
                cids.push(block.cid);
            }
        }
        reader.finish().unwrap();
        cids
    }
}

#[tokio::test]
async fn files_come_whole_in_part_and_not_twice() {
    let site = site().await;
    let (status, headers, body) = site.get("/large.txt", &[]).await;
    assert_eq!((status, &body[..]), (200, &bytes()[..]));
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(headers["content-length"], "5000");
    assert_eq!(
        headers["cache-control"],
        "public, max-age=29030400, immutable"
    );
    let roots = headers["x-ipfs-roots"].to_str().unwrap().to_owned();
    assert!(roots.starts_with(&format!("{},", site.root)) && roots.matches(',').count() == 1);
    let etag = headers["etag"].to_str().unwrap().to_owned();
    let (status, _, body) = site.get("/large.txt", &[("if-none-match", &etag)]).await;
    assert_eq!((status, body.len()), (304, 0));

    let (status, headers, body) = site.get("/large.txt", &[("range", "bytes=150-449")]).await;
    assert_eq!((status, &body[..]), (206, &bytes()[150..450]));
    assert_eq!(headers["content-range"], "bytes 150-449/5000");
    let (status, headers, _) = site.get("/large.txt", &[("range", "bytes=5000-")]).await;
    assert_eq!(status, 416);
    assert_eq!(headers["content-range"], "bytes */5000");
    let (status, headers, body) = site.ask(Method::HEAD, "/large.txt", &[]).await;
    assert_eq!((status, body.len()), (200, 0));
    assert_eq!(headers["content-length"], "5000");
    let (status, headers, _) = site
        .get("/large.txt?download=true&filename=%C3%A4.bin", &[])
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"_.bin\"; filename*=UTF-8''%C3%A4.bin"
    );
    let (_, headers, _) = site.get("/large.txt?filename=b.txt", &[]).await;
    let disposition = headers["content-disposition"].to_str().unwrap();
    assert!(
        disposition.starts_with("inline; filename=\"b.txt\""),
        "{disposition}"
    );
    assert_eq!(site.ask(Method::POST, "/", &[]).await.0, 405);
}

#[tokio::test]
async fn pages_of_other_sites_may_read_what_anybody_may() {
    let site = site().await;
    for method in [Method::GET, Method::OPTIONS] {
        let (status, headers, _) = site.ask(method.clone(), "/large.txt", &[]).await;
        assert_eq!(status, if method == Method::GET { 200 } else { 204 });
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(
            headers["access-control-allow-methods"],
            "GET, HEAD, OPTIONS"
        );
        for (name, wanted) in [
            ("access-control-allow-headers", "Range"),
            ("access-control-expose-headers", "X-Ipfs-Roots"),
        ] {
            assert!(headers[name].to_str().unwrap().contains(wanted), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_only_wanted_if_it_is_here_is_not_fetched() {
    let site = site().await;
    let cached = [("cache-control", "only-if-cached")];
    for method in [Method::GET, Method::HEAD] {
        let (status, ..) = site.ask(method.clone(), "/large.txt", &cached).await;
        assert_eq!(status, 200);
        let elsewhere = site.asked(
            method,
            "/ipfs/QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN",
            &cached,
        );
        assert_eq!(elsewhere.await.0, 412);
    }
}

/// A block of data of its own, and its name.
fn coded(codec: u64, data: Vec<u8>) -> (Cid, Bytes) {
    let cid = name_like(1, codec, 0x12, 32, &data).unwrap();
    (cid, Bytes::from(data))
}

/// Data with a link to a folder of the site: as CBOR, as JSON, and the folder.
async fn linked(site: &Site) -> ((Cid, Bytes), (Cid, Bytes), Cid) {
    let (_, headers, _) = site.get("/page?format=raw", &[]).await;
    let roots = headers["x-ipfs-roots"].to_str().unwrap();
    let folder: Cid = roots.rsplit(',').next().unwrap().parse().unwrap();
    let value = Ipld::Map(vec![
        ("n".to_owned(), Ipld::Integer(1)),
        ("page".to_owned(), Ipld::Link(folder)),
    ]);
    let of = |codec| coded(codec, ipld::encode(codec, &value).unwrap());
    let (cbor, json) = (of(DAG_CBOR), of(DAG_JSON));
    let blocks = vec![cbor.clone(), json.clone()];
    site.node.block_put(blocks).await.unwrap();
    (cbor, json, folder)
}

#[tokio::test]
async fn data_comes_as_it_is() {
    let site = site().await;
    let (cbor, json, folder) = linked(&site).await;
    let plain = coded(0x0200, b"{\"a\":1}".to_vec());
    site.node.block_put(vec![plain.clone()]).await.unwrap();
    let get = |cid: &Cid, rest: &str, accept: &'static str| {
        let target = format!("/ipfs/{cid}{rest}");
        let site = &site;
        async move {
            site.asked(Method::GET, &target, &[("accept", accept)])
                .await
        }
    };
    for (block, kind, shown, name) in [
        (&cbor, "application/vnd.ipld.dag-cbor", "attachment", "cbor"),
        (&json, "application/vnd.ipld.dag-json", "inline", "json"),
        (&plain, "application/json", "inline", "json"),
    ] {
        for accept in ["*/*", kind] {
            let (status, answered, body) = get(&block.0, "", accept).await;
            assert_eq!((status, &body), (200, &block.1));
            assert_eq!(answered["content-type"], kind);
            let wanted = format!("{shown}; filename=\"{}.{name}\"", block.0);
            let disposition = answered["content-disposition"].to_str().unwrap();
            assert!(disposition.starts_with(&wanted), "{disposition}");
        }
    }
    let (target, range) = (format!("/ipfs/{}", plain.0), [("range", "bytes=1-3")]);
    let (status, _, part) = site.asked(Method::GET, &target, &range).await;
    assert_eq!((status, &part[..]), (206, &b"\"a\""[..]));
    // None is made into another, but what has links is data without them too.
    assert_eq!(get(&cbor.0, "?format=dag-json", "*/*").await.0, 406);
    assert_eq!(
        get(&json.0, "", "application/vnd.ipld.dag-cbor").await.0,
        406
    );
    assert_eq!(get(&folder, "?format=dag-json", "*/*").await.0, 406);
    let (status, answered, _) = get(&json.0, "?format=json", "*/*").await;
    assert_eq!(
        (status, answered["content-type"].to_str().unwrap()),
        (200, "application/json")
    );
    // A file of JSON is what it is called.
    let (status, answered, _) = site
        .get("/large.txt", &[("accept", "application/json")])
        .await;
    assert_eq!(
        (status, answered["content-type"].to_str().unwrap()),
        (200, "application/json")
    );
}

#[tokio::test]
async fn links_in_data_lead_on() {
    let site = site().await;
    let (cbor, json, folder) = linked(&site).await;
    for node in [cbor.0, json.0] {
        let get = |rest: &str| {
            let target = format!("/ipfs/{node}{rest}");
            let site = &site;
            async move { site.asked(Method::GET, &target, &[]).await }
        };
        let (status, answered, body) = get("/page/index.html").await;
        assert_eq!((status, &body[..]), (200, &b"<p>own</p>"[..]));
        let roots = answered["x-ipfs-roots"].to_str().unwrap();
        assert!(roots.starts_with(&format!("{node},{folder},")), "{roots}");
        assert_eq!(get("/n").await.0, 501);
        assert_eq!(get("/nothing").await.0, 404);
    }
}

#[tokio::test]
async fn folders_are_listed_unless_they_have_a_page() {
    let site = site().await;
    let (status, headers, _) = site.get("/many?x=y", &[]).await;
    assert_eq!(status, 301);
    assert_eq!(
        headers["location"],
        format!("/ipfs/{}/many/?x=y", site.root)
    );
    let (status, headers, body) = site.get("/many/", &[]).await;
    let page = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!((status, page.matches("<tr>").count()), (200, 41));
    assert!(page.contains("<a href=\"./7%20%26\">7 &amp;</a>"), "{page}");
    let etag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(site.get("/many/", &[("if-none-match", &etag)]).await.0, 304);
    let (status, headers, body) = site.get("/page/", &[]).await;
    assert_eq!((status, &body[..]), (200, &b"<p>own</p>"[..]));
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    // A page goes by its folder's name, here and when it is asked for again.
    let roots = headers["x-ipfs-roots"].to_str().unwrap();
    let folder = format!("\"{}\"", roots.rsplit(',').next().unwrap());
    assert_eq!(headers["etag"], folder);
    assert_eq!(
        site.get("/page/", &[("if-none-match", &folder)]).await.0,
        304
    );
    let (status, _, body) = site.get("/none", &[]).await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        status == 404 && text.starts_with("no link named \"none\""),
        "{text}"
    );
    assert_eq!(site.get("?format=x", &[]).await.0, 400);
}

#[tokio::test]
async fn blocks_come_as_they_are() {
    let site = site().await;
    let accept = [("accept", "application/vnd.ipld.raw")];
    let (status, headers, body) = site.get("", &accept).await;
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "application/vnd.ipld.raw");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    ipfs_cluster_protocol::content::hash::verify(&site.root, &body).unwrap();
    let (status, _, part) = site.get("?format=raw", &[("range", "bytes=1-3")]).await;
    assert_eq!((status, &part[..]), (206, &body[1..4]));

    let path = site.car("/large.txt?format=car&dag-scope=block").await;
    assert_eq!((path.len(), path[0]), (2, site.root));
    // 50 leaves, 5 nodes over ten each, the root; and the folder on the way.
    assert_eq!(site.car("/large.txt?format=car").await.len(), 57);
    // One leaf of it, the nodes above it, and the folder.
    let part = site
        .car("/large.txt?format=car&entity-bytes=1000:1050")
        .await;
    assert_eq!(part.len(), 4);
    // The same bytes, counted from the end.
    let same = "/large.txt?format=car&entity-bytes=-4000:-3950";
    assert_eq!(site.car(same).await, part);
    // A sharded folder takes more than its root, and nothing of its files.
    let listed = site.car("/many/?format=car&dag-scope=entity").await;
    let all = site.car("/many?format=car").await;
    assert!(
        listed.len() > 2 && listed.len() + 40 == all.len(),
        "{} {}",
        listed.len(),
        all.len()
    );
    // The same leaf twice: as often as it is met, or once.
    let twice = site.car("/twice?format=car&car-dups=y").await;
    let once = site.car("/twice?format=car").await;
    assert_eq!((twice.len(), once.len()), (4, 3));
    let (_, headers, _) = site.get("/twice?format=car&car-dups=y", &[]).await;
    let kind = headers["content-type"].to_str().unwrap();
    assert!(kind.ends_with("order=dfs; dups=y"), "{kind}");
    // A name that carries its bytes is no block of an archive.
    let inlined = "/ipfs/bafkqaf3imvwgy3zaneqgc3janfxgy2lomvscay3jmqfa?format=car";
    let (status, _, body) = site.asked(Method::GET, inlined, &[]).await;
    let mut reader = CarReader::default();
    reader.push(&body);
    while let Some(item) = reader.take().unwrap() {
        assert!(!matches!(item, Item::Block(_)));
    }
    assert_eq!(status, 200);
    let (status, headers, body) = site.get("/page?format=tar", &[]).await;
    assert_eq!((status, body.len() % 512), (200, 0));
    assert_eq!(headers["content-type"], "application/x-tar");
}
