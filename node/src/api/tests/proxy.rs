//! The IPFS proxy in front of an IPFS node that is played here, and in front of an embedded one.

use std::{path::Path, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{Answer, CID, Peer, double::Double, multipart};
use crate::{
    api::{
        Metrics, ProxiedNode, ProxyConfig, Server, ServerLimits, Tls,
        http::{
            reply::{self, Outgoing, Reply, into_outgoing},
            server::{Client, Site},
            stream::{OnSuccess, body},
        },
        serve_proxy,
    },
    env::{Addr, Env, real},
    ipfs::{http::HttpClient, secured::Secured},
};

const OTHER: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

/// An IPFS node's RPC: says what it was asked, streams, and ends a stream with an error.
struct Kubo;

impl Site for Kubo {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: Client,
    ) -> BoxFuture<'static, Outgoing> {
        async move {
            let (head, sent) = request.into_parts();
            let path = head.uri.path().to_owned();
            let mut answer = match path.as_str() {
                "/api/v0/echo" => {
                    let sent = sent.collect().await.unwrap().to_bytes();
                    let host = head.headers[header::HOST].to_str().unwrap().to_owned();
                    let te = head.headers.get(header::TE).is_some();
                    let text =
                        format!("{} {} {host} te={te} {}", head.method, head.uri, sent.len());
                    reply::with_body(StatusCode::OK, reply::full_body(text))
                }
                "/api/v0/broken" => {
                    let texts = [Ok(b"begun".to_vec()), Err("it broke".to_owned())];
                    let body = body(stream::iter(texts).boxed(), OnSuccess::Empty);
                    let mut reply = reply::with_body(StatusCode::OK, body);
                    let trailer = HeaderValue::from_static("X-Stream-Error");
                    reply.headers_mut().insert(header::TRAILER, trailer);
                    reply
                }
                "/api/v0/block/put" | "/api/v0/dag/put" if head.method == Method::POST => {
                    let query = head.uri.query().unwrap_or_default().to_owned();
                    sent.collect().await.unwrap();
                    put(&path, &query)
                }
                _ if head.method == Method::OPTIONS => {
                    reply::with_body(StatusCode::NO_CONTENT, reply::empty_body())
                }
                "/api/v0/version" => reply::with_body(StatusCode::OK, reply::empty_body()),
                _ => reply::with_body(
                    StatusCode::NOT_FOUND,
                    reply::full_body("404 page not found\n"),
                ),
            };
            let headers = answer.headers_mut();
            headers.insert(header::SERVER, HeaderValue::from_static("kubo/0"));
            headers.insert(
                "access-control-expose-headers",
                HeaderValue::from_static("X-Stream-Output"),
            );
            if head.method == Method::OPTIONS
                && let Some(origin) = head.headers.get(header::ORIGIN)
            {
                headers.insert("access-control-allow-origin", origin.clone());
            }
            into_outgoing(answer)
        }
        .boxed()
    }
}

/// Two blocks, or two nodes of a DAG; none where the multihash is not known.
fn put(path: &str, query: &str) -> Reply {
    if query.contains("mhtype=foo") {
        let text = r#"{"Message":"unrecognized multihash function: foo","Code":0,"Type":"error"}"#;
        let mut reply = reply::with_body(StatusCode::INTERNAL_SERVER_ERROR, reply::full_body(text));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, reply::JSON);
        return reply;
    }
    assert!(query.contains("pin=false"), "{query}");
    let line = |cid: &str| match path {
        "/api/v0/block/put" => format!("{{\"Key\":\"{cid}\",\"Size\":2}}\n"),
        _ => format!("{{\"Cid\":{{\"/\":\"{cid}\"}}}}\n"),
    };
    let text = format!("{}{}", line(CID), line(OTHER));
    reply::with_body(StatusCode::OK, reply::full_body(text))
}

/// A proxy, its cluster, and the node behind it if that is not embedded.
struct Proxy {
    peer: Peer,
    _kubo: Option<Server>,
}

fn local() -> Vec<Addr> {
    vec![Addr::Tcp("127.0.0.1".to_owned(), 0)]
}

async fn proxy_to(env: &Env, node: ProxiedNode, kubo: Option<Server>) -> Proxy {
    let double = Double::new();
    let config = ProxyConfig {
        listen: local(),
        limits: ServerLimits::default(),
        log_file: None,
        node,
        extract_headers: Vec::new(),
        extract_path: "/api/v0/version".to_owned(),
        extract_ttl: Duration::from_secs(300),
    };
    let backend = Arc::new(double.clone());
    let metrics = Metrics::of(backend.clone(), None, None);
    let server = serve_proxy(config, env, backend, &metrics).await.unwrap();
    let client = HttpClient::new(env.connect.clone(), server.addresses()[0].clone());
    Proxy {
        peer: Peer {
            server,
            double,
            client,
        },
        _kubo: kubo,
    }
}

async fn before_kubo() -> Proxy {
    let env = real::env();
    let kubo = Server::listen(&env, &local(), Arc::new(Kubo), ServerLimits::default())
        .await
        .unwrap();
    let client = HttpClient::new(env.connect.clone(), kubo.addresses()[0].clone());
    proxy_to(&env, ProxiedNode::Http(client), Some(kubo)).await
}

async fn embedded() -> Proxy {
    proxy_to(&real::env(), ProxiedNode::Embedded, None).await
}

impl Proxy {
    async fn post(&self, call: &str) -> Answer {
        self.peer.call("POST", &format!("/api/v0/{call}")).await
    }

    async fn add(&self, query: &str, parts: &[(&str, Option<&[u8]>)]) -> Answer {
        let request = Request::post(format!("/api/v0/add?{query}")).header(
            "content-type",
            format!("multipart/form-data; boundary={}", multipart::BOUNDARY),
        );
        self.peer.send(request, &multipart::body(parts)).await
    }
}

#[tokio::test]
async fn what_is_not_the_cluster_s_passes_both_ways() {
    let proxy = before_kubo().await;
    let upload = vec![7; 3_000_000];
    let request = Request::post("/api/v0/echo?arg=a%2Fb").header("te", "trailers");
    let echoed = proxy.peer.send(request, &upload).await;
    assert_eq!(echoed.header("server"), "kubo/0");
    assert!(
        echoed
            .text
            .starts_with("POST /api/v0/echo?arg=a%2Fb 127.0.0.1:"),
        "{}",
        echoed.text
    );
    let Addr::Tcp(_, port) = &proxy.peer.server.addresses()[0] else {
        panic!()
    };
    assert!(
        !echoed.text.contains(&format!(":{port}")),
        "the node is asked under its own name"
    );
    assert!(echoed.text.ends_with(" 3000000"), "{}", echoed.text);
    let broken = proxy.post("broken").await;
    assert_eq!(
        (broken.text.as_str(), broken.trailer.as_deref()),
        ("begun", Some("it broke"))
    );
    assert_eq!(proxy.post("nope").await.status, 404);
    let unclean = proxy.peer.call("POST", "/api//v0/version").await;
    assert_eq!(
        (unclean.status, unclean.header("location")),
        (301, "/api/v0/version")
    );
}

#[tokio::test]
async fn a_node_is_called_over_https_if_its_certificate_is_trusted() {
    let env = real::env();
    let file = |name: &str| {
        let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tls");
        tls.join(name)
    };
    let tls = Tls::load(&env, &file("node.crt"), &file("node.key"))
        .await
        .unwrap();
    let limits = ServerLimits::default();
    let kubo = Server::listen_secured(&env, &local(), Some(tls), Arc::new(Kubo), limits)
        .await
        .unwrap();
    let to = kubo.addresses()[0].clone();
    let mut authority = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(file("authority.crt")).unwrap();
    authority.add(ca).unwrap();
    let trusted = Secured::trusting(env.connect.clone(), authority).unwrap();
    let node = ProxiedNode::Http(HttpClient::new(Arc::new(trusted), to.clone()));
    let proxy = proxy_to(&env, node, Some(kubo)).await;
    assert_eq!(proxy.post("version").await.header("server"), "kubo/0");
    let put = proxy.post(&format!("pin/add?arg={CID}")).await;
    assert_eq!(put.status, 200);
    // Nobody vouches for the certificate.
    let nobody = Secured::trusting(env.connect.clone(), RootCertStore::empty()).unwrap();
    let node = ProxiedNode::Http(HttpClient::new(Arc::new(nobody), to));
    let doubting = proxy_to(&env, node, None).await;
    assert_eq!(doubting.post("version").await.status, 502);
}

#[tokio::test]
async fn a_node_that_is_down_is_a_bad_gateway_and_pins_go_on() {
    let env = real::env();
    // Nobody listens there any more.
    let gone = Server::listen(&env, &local(), Arc::new(Kubo), ServerLimits::default())
        .await
        .unwrap();
    let addr = gone.addresses()[0].clone();
    gone.shutdown().await;
    let client = HttpClient::new(env.connect.clone(), addr);
    let proxy = proxy_to(&env, ProxiedNode::Http(client), None).await;
    let passed = proxy.post("version").await;
    assert_eq!((passed.status, passed.text.as_str()), (502, ""));
    assert_eq!(proxy.post(&format!("pin/add?arg={CID}")).await.status, 200);
}

#[tokio::test]
async fn pins_are_the_cluster_s() {
    let proxy = before_kubo().await;
    let added = proxy.post(&format!("pin/add?arg={CID}&name=n")).await;
    assert_eq!(added.text, format!(r#"{{"Pins":["{CID}"]}}"#));
    assert_eq!(added.header("server"), "ipfs-cluster/ipfsproxy/1.1.6");
    assert_eq!(added.header("content-type"), "application/json");
    assert_eq!(
        added.header("access-control-expose-headers"),
        "X-Stream-Output"
    );
    let direct = proxy.post(&format!("pin/add/{OTHER}?type=direct")).await;
    assert_eq!(direct.text, format!(r#"{{"Pins":["{OTHER}"]}}"#));

    let all = proxy.peer.call("GET", "/api/v0/pin/ls").await;
    assert_eq!(all.json()["Keys"][CID]["Type"], "recursive");
    assert_eq!(all.json()["Keys"][OTHER]["Type"], "direct");
    assert!(!all.text.ends_with('\n'));
    let one = proxy.post(&format!("pin/ls?arg={CID}")).await;
    assert_eq!(
        one.text,
        format!(r#"{{"Keys":{{"{CID}":{{"Type":"recursive"}}}}}}"#)
    );
    let streamed = proxy.post("pin/ls?stream=true&type=direct").await;
    assert_eq!(
        streamed.text,
        format!("{{\"Cid\":\"{OTHER}\",\"Type\":\"direct\"}}\n")
    );
    let one = proxy.post(&format!("pin/ls/{CID}?s=true")).await;
    assert_eq!(one.text, format!(r#"{{"Cid":"{CID}","Type":"recursive"}}"#));

    let removed = proxy
        .post(&format!("pin/rm?arg={CID}&arg=/ipfs/{OTHER}"))
        .await;
    assert_eq!(removed.text, format!(r#"{{"Pins":["{CID}","{OTHER}"]}}"#));
    assert_eq!(proxy.post("pin/ls").await.text, r#"{"Keys":{}}"#);
    assert_eq!(proxy.post("pin/ls?stream=true").await.text, "");
}

#[tokio::test]
async fn what_the_node_stores_the_cluster_pins() {
    let proxy = before_kubo().await;
    let put = |call: &'static str| {
        let request = Request::post(format!("/api/v0/{call}"));
        proxy.peer.send(request, b"an upload of any kind")
    };
    let blocks = put("block/put?pin=true&cid-codec=raw").await;
    assert_eq!(blocks.status, 200);
    let expected =
        format!("{{\"Key\":\"{CID}\",\"Size\":2}}\n{{\"Key\":\"{OTHER}\",\"Size\":2}}\n");
    assert_eq!((blocks.text, blocks.trailer), (expected, None));
    let all = proxy.post("pin/ls").await;
    assert_eq!(all.json()["Keys"].as_object().unwrap().len(), 2);
    let nodes = put("dag/put?pin=true").await;
    assert_eq!(nodes.text.lines().count(), 2);
    let refused = put("block/put?pin=true&mhtype=foo").await;
    assert_eq!(refused.status, 500);
    assert!(
        refused.text.contains("multihash function: foo"),
        "{}",
        refused.text
    );
    assert_eq!(refused.header("server"), "ipfs-cluster/ipfsproxy/1.1.6");
}

#[tokio::test]
async fn stores_are_counted_and_swept_together() {
    let proxy = before_kubo().await;
    let stat = proxy.post("repo/stat?size-only=true").await;
    assert_eq!(stat.json()["RepoSize"], 15);
    assert_eq!(stat.json()["StorageMax"], 30);
    let gc = proxy.post("repo/gc").await;
    assert_eq!(
        (gc.status, gc.trailer.as_deref()),
        (200, None),
        "{}",
        gc.text
    );
    assert_eq!(proxy.peer.call("GET", "/api/v0/repo/gc").await.status, 200);
}

#[tokio::test]
async fn a_pin_is_replaced_by_another() {
    let proxy = before_kubo().await;
    proxy.post(&format!("pin/add?arg={CID}")).await;
    let updated = proxy
        .post(&format!("pin/update?arg={CID}&arg=/ipfs/{OTHER}"))
        .await;
    assert_eq!(updated.text, format!(r#"{{"Pins":["{CID}","{OTHER}"]}}"#));
    let pins: Vec<String> = proxy
        .peer
        .double
        .state
        .lock()
        .pins
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(pins, [OTHER]);
    for (query, message) in [
        ("", r#"argument "from-path" is required"#),
        ("?arg=a", r#"argument "to-path" is required"#),
    ] {
        let refused = proxy.post(&format!("pin/update{query}")).await;
        assert_eq!(
            (refused.status, refused.json()["Message"].as_str()),
            (400, Some(message))
        );
    }
}

#[tokio::test]
async fn failures_are_told_as_recorded() {
    let proxy = before_kubo().await;
    let not_pinned = format!("Error: path '{CID}' is not pinned");
    for (call, message) in [
        (
            "pin/add?arg=abc",
            r#"Error parsing IPFS Path: invalid path "abc": path does not have enough components"#,
        ),
        (
            "pin/rm",
            r#"Error parsing IPFS Path: invalid path "": path does not have enough components"#,
        ),
        (
            &format!("pin/rm?arg={CID}"),
            "pin is not part of the pinset",
        ),
        (&format!("pin/ls?arg={CID}"), &not_pinned),
        (
            "pin/ls?arg=abc",
            "invalid cid: selected encoding not supported",
        ),
        (
            "add?layout=foo",
            "error parsing options:layout parameter is invalid",
        ),
        (
            "add",
            "error reading request: request Content-Type isn't multipart/form-data",
        ),
        (
            "add?only-hash=true",
            "only-hash is not supported when adding to cluster",
        ),
    ] {
        let failed = proxy.post(call).await;
        assert_eq!(failed.status, 500, "{call}");
        let expected = serde_json::json!({"Message": message, "Code": 0, "Type": "error"});
        assert_eq!(failed.json(), expected, "{call}");
        assert!(!failed.text.ends_with('\n'));
    }
    assert_eq!(proxy.peer.double.state.lock().commits, 0);
}

#[tokio::test]
async fn an_upload_goes_to_the_cluster() {
    let proxy = before_kubo().await;
    let added = proxy
        .add(
            "chunker=size-4&name=x",
            &[("hello.txt", Some(b"hello cluster\n"))],
        )
        .await;
    assert_eq!(added.status, 200);
    let line = added.json();
    assert_eq!(
        (line["Name"].as_str(), line["Size"].as_str()),
        (Some("hello.txt"), Some("228"))
    );
    assert_eq!(
        line["Hash"],
        "QmWwAGj1SF3MDPQvWqcQWSGB3w3D67qCeqtfAqNCh9B2La"
    );
    assert_eq!(proxy.peer.double.state.lock().pins.len(), 1);
    let unpinned = proxy.add("pin=false", &[("a", Some(b"a"))]).await;
    assert_eq!((unpinned.status, unpinned.trailer), (200, None));
    assert_eq!(proxy.peer.double.state.lock().pins.len(), 1);
}

#[tokio::test]
async fn pages_see_the_node_s_cors_headers() {
    let proxy = before_kubo().await;
    let request = Request::post("/api/v0/pin/ls").header("origin", "http://a.example");
    let answer = proxy.peer.send(request, b"").await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "http://a.example"
    );
}

#[tokio::test]
async fn an_embedded_node_answers_the_calls_it_knows() {
    let proxy = embedded().await;
    assert_eq!(proxy.post("version").await.json()["Version"], "0.1.0");
    assert!(proxy.post("id").await.json()["ID"].is_string());
    assert_eq!(proxy.post("repo/stat").await.json()["RepoSize"], 15);
    assert_eq!(
        proxy.post("swarm/peers").await.json()["Peers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let cat = proxy.post(&format!("cat?arg={CID}")).await;
    assert_eq!(
        (cat.text, cat.trailer),
        (format!("content of /ipfs/{CID}"), None)
    );
    assert_eq!(
        proxy.post(&format!("resolve?arg=/ipfs/{CID}")).await.json()["Path"],
        format!("/ipfs/{CID}")
    );
    let missing = proxy.post(&format!("block/get?arg={CID}")).await;
    assert_eq!(
        (missing.status, missing.json()["Message"].as_str()),
        (500, Some("block was not found"))
    );
    assert_eq!(proxy.peer.call("GET", "/api/v0/id").await.status, 405);
    for path in ["/api/v0/dag/import", "/"] {
        assert_eq!(proxy.peer.call("POST", path).await.status, 404, "{path}");
    }
    // The gateway reads only.
    assert_eq!(proxy.peer.call("POST", "/ipfs/x").await.status, 405);
}
