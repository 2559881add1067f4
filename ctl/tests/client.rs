//! The client against servers that say exactly what a test tells them to.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, future::BoxFuture};
use ipfs_cluster_ctl::client::{
    ByteStream, Client, Connector, Credentials, Error, Options, Target, Upload,
};
use ipfs_cluster_protocol::api::{add::AddParams, options::PinOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CID: &str = "QmazuPJPW7GJSLGnJgVTNFUyEXRVng9tk5SF9AHJdyXWmi";
const PEER: &str = "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA";

/// Answers of one connection, each sent after a request's head has arrived.
type Script = Vec<String>;

/// Connects to scripts: one per connection, in order. Keeps the heads of requests.
#[derive(Default)]
struct Scripts {
    connections: Mutex<VecDeque<Option<Script>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Connector for Scripts {
    fn connect(&self, _: &Target) -> BoxFuture<'static, io::Result<ByteStream>> {
        let next = self.connections.lock().unwrap().pop_front();
        let heard = self.heard.clone();
        Box::pin(async move {
            let Some(script) = next.expect("no more connections are expected") else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let (near, far) = tokio::io::duplex(1 << 20);
            tokio::spawn(serve(far, script, heard));
            Ok(Box::new(near) as ByteStream)
        })
    }
}

async fn serve(
    mut stream: tokio::io::DuplexStream,
    script: Script,
    heard: Arc<Mutex<Vec<String>>>,
) {
    let mut buffer = Vec::new();
    for answer in script {
        let request = loop {
            let text = String::from_utf8_lossy(&buffer).into_owned();
            let whole = text.contains("\r\n\r\n")
                && (!text.contains("chunked") || text.ends_with("0\r\n\r\n"));
            if whole {
                break text;
            }
            if stream.read_buf(&mut buffer).await.unwrap() == 0 {
                return;
            }
        };
        buffer.clear();
        heard.lock().unwrap().push(request);
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn client(scripts: Vec<Option<Script>>, options: Options) -> (Client, Arc<Mutex<Vec<String>>>) {
    let connector = Scripts {
        connections: Mutex::new(scripts.into()),
        heard: Arc::default(),
    };
    let heard = connector.heard.clone();
    let targets = Target::parse_list("/ip4/1.1.1.1/tcp/1,/ip4/2.2.2.2/tcp/2").unwrap();
    (
        Client::with(Arc::new(connector), targets, options).unwrap(),
        heard,
    )
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn chunked(items: &[&str], trailer: &str) -> String {
    let mut out =
        "HTTP/1.1 200 OK\r\nTrailer: X-Stream-Error\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_owned();
    for item in items {
        out.push_str(&format!("{:x}\r\n{item}\r\n", item.len()));
    }
    out + "0\r\n" + trailer + "\r\n"
}

fn version() -> String {
    answer("200 OK", "", "{\"version\":\"1.1.6\"}\n")
}

#[tokio::test]
async fn requests_share_a_connection() {
    let (client, heard) = client(vec![Some(vec![version(), version()])], Options::default());
    assert_eq!(client.version().await.unwrap().version, "1.1.6");
    assert_eq!(client.version().await.unwrap().version, "1.1.6");
    let heard = heard.lock().unwrap();
    assert!(
        heard[1].starts_with("GET /version HTTP/1.1\r\n"),
        "{}",
        heard[1]
    );
    assert!(heard[1].contains("host: 1.1.1.1:1\r\n"), "{}", heard[1]);
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_replaced() {
    let scripts = vec![Some(vec![version()]), Some(vec![version()])];
    let (client, _) = client(scripts, Options::default());
    client.version().await.unwrap();
    client.version().await.unwrap();
}

#[tokio::test]
async fn the_next_target_is_tried_when_one_is_down_and_only_then() {
    let (up, heard) = client(vec![None, Some(vec![version()])], Options::default());
    up.version().await.unwrap();
    assert!(heard.lock().unwrap()[0].contains("host: 2.2.2.2:2"));

    let refused = answer(
        "500 Internal Server Error",
        "",
        "{\"code\":500,\"message\":\"no\"}",
    );
    let (down, _) = client(vec![Some(vec![refused])], Options::default());
    let error = down.version().await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (500, "no"));

    let (none, _) = client(vec![None, None], Options::default());
    let error = none.version().await.unwrap_err();
    assert!(
        matches!(&error, Error::Connect { target, .. } if target == "2.2.2.2:2"),
        "{error}"
    );
    assert_eq!(error.code(), 0);
}

#[tokio::test]
async fn a_stream_yields_its_items_and_then_the_trailers_error() {
    let pin = format!("{{\"cid\":\"{CID}\",\"name\":\"a\"}}\n");
    let (first, rest) = pin.split_at(20);
    let good = chunked(&[first, rest, &pin], "X-Stream-Error: \r\n");
    let bad = chunked(&[&pin], "X-Stream-Error: it broke\r\n");
    let cut = chunked(&[&pin, first], "");
    let (client, _) = client(vec![Some(vec![good, bad, cut])], Options::default());
    let names: Vec<_> = client
        .allocations("")
        .await
        .unwrap()
        .map_ok(|p| p.name)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names, ["a", "a"]);
    let items: Vec<_> = client.allocations("").await.unwrap().collect().await;
    assert!(items[0].is_ok());
    assert_eq!(items[1].as_ref().unwrap_err().to_string(), "it broke");
    assert_eq!(items[1].as_ref().unwrap_err().code(), 500);
    let items: Vec<_> = client.allocations("").await.unwrap().collect().await;
    assert!(matches!(items[1], Err(Error::Decode(_))));
}

#[tokio::test]
async fn no_content_is_an_empty_stream() {
    let empty = "HTTP/1.1 204 No Content\r\nTrailer: X-Stream-Error\r\n\r\n".to_owned();
    let (client, _) = client(vec![Some(vec![empty])], Options::default());
    assert_eq!(client.statuses("", false).await.unwrap().count().await, 0);
}

#[tokio::test]
async fn an_error_without_json_is_told_as_it_is() {
    let (client, _) = client(
        vec![Some(vec![answer("400 Bad Request", "", "what?\n")])],
        Options::default(),
    );
    let error = client.id().await.unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (400, "what?"));
}

#[tokio::test]
async fn a_write_raises_the_index_that_reads_ask_for() {
    let pin = answer(
        "200 OK",
        "X-Cluster-Index: 42\r\n",
        &format!("{{\"cid\":\"{CID}\"}}"),
    );
    let status = answer(
        "200 OK",
        "",
        &format!("{{\"cid\":\"{CID}\",\"peer_map\":{{}}}}"),
    );
    let (client, heard) = client(vec![Some(vec![pin, status])], Options::default());
    client
        .pin(CID.parse().unwrap(), &PinOptions::default())
        .await
        .unwrap();
    client
        .status_after_write(CID.parse().unwrap())
        .await
        .unwrap();
    let heard = heard.lock().unwrap();
    assert!(
        heard[0].starts_with(&format!("POST /pins/ipfs/{CID}?replication-min=0&")),
        "{}",
        heard[0]
    );
    assert!(heard[1].contains("min-index=42"), "{}", heard[1]);
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let credentials = Credentials {
        user: "user".to_owned(),
        password: "swordfish".to_owned(),
    };
    let options = Options {
        credentials: Some(credentials),
        ..Options::default()
    };
    let (client, heard) = client(vec![Some(vec![version()])], options);
    client.version().await.unwrap();
    assert!(heard.lock().unwrap()[0].contains("authorization: Basic dXNlcjpzd29yZGZpc2g="));
    assert!(!format!("{client:?}").contains("swordfish"));
}

#[tokio::test]
async fn a_silent_server_runs_into_the_timeout() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned();
    let options = Options {
        timeout: Some(Duration::from_millis(50)),
        ..Options::default()
    };
    let (client, _) = client(vec![Some(vec![half, String::new()])], options);
    assert!(matches!(client.version().await, Err(Error::Timeout(_))));
}

#[tokio::test]
async fn an_upload_is_streamed_and_its_answer_too() {
    let lines = [
        "{\"name\":\"\",\"cid\":null,\"bytes\":5}\n".to_owned(),
        format!("{{\"name\":\"a\",\"cid\":\"{CID}\",\"size\":13,\"allocations\":[\"{PEER}\"]}}\n"),
    ];
    let added = chunked(&[&lines[0], &lines[1]], "");
    let (client, heard) = client(vec![Some(vec![added])], Options::default());
    let uploads = vec![Upload::bytes("a", "hello")];
    let out: Vec<_> = client
        .add(uploads, &AddParams::default())
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(out[1].cid.unwrap().to_string(), CID);
    let heard = heard.lock().unwrap();
    assert!(heard[0].starts_with("POST /add?"), "{}", heard[0]);
    assert!(
        heard[0].contains("content-type: multipart/form-data; boundary="),
        "{}",
        heard[0]
    );
    assert!(
        heard[0].contains("filename=\"a\"") && heard[0].contains("hello"),
        "{}",
        heard[0]
    );
}
