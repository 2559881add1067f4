//! The HTTP layer over real sockets, on a cluster in memory.

mod add;
mod double;
mod multipart;
mod proxy;
mod rest;
mod rpc;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use self::double::Double;
use super::{ApiConfig, Credentials, Metrics, Server, serve_rest};
use crate::{
    env::{Addr, real},
    ipfs::http::{HttpClient, empty, full},
};

const PATIENCE: Duration = Duration::from_secs(20);
const CID: &str = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";

/// A peer's REST API.
struct Peer {
    server: Server,
    double: Double,
    client: HttpClient,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    /// `X-Stream-Error`, if there was such a trailer.
    trailer: Option<String>,
}

async fn start(config: ApiConfig) -> Peer {
    let env = real::env();
    let double = Double::new();
    let config = ApiConfig {
        listen: vec![Addr::Tcp("127.0.0.1".to_owned(), 0)],
        ..config
    };
    let backend = Arc::new(double.clone());
    let metrics = Metrics::of(backend.clone(), None, None);
    let server = serve_rest(config, &env, backend, &metrics, None)
        .await
        .unwrap();
    let client = HttpClient::new(env.connect.clone(), server.addresses()[0].clone());
    Peer {
        server,
        double,
        client,
    }
}

async fn peer() -> Peer {
    start(ApiConfig::default()).await
}

fn one_user() -> ApiConfig {
    let users = BTreeMap::from([("alice".to_owned(), "secretpw".to_owned())]);
    ApiConfig {
        credentials: Credentials::new(users),
        headers: vec![
            ("x-custom".parse().unwrap(), "one".parse().unwrap()),
            ("x-custom".parse().unwrap(), "two".parse().unwrap()),
        ],
        ..ApiConfig::default()
    }
}

impl Peer {
    async fn send(&self, request: http::request::Builder, body: &[u8]) -> Answer {
        let body = if body.is_empty() {
            empty()
        } else {
            full(body.to_vec())
        };
        let request = request.body(body).unwrap();
        let response = self.client.request(request, PATIENCE).await.unwrap();
        let (head, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
        let trailer = body.trailers().and_then(|t| t.get("x-stream-error"));
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            trailer: trailer.map(|v| v.to_str().unwrap().to_owned()),
            text: String::from_utf8(body.to_bytes().to_vec()).unwrap(),
        }
    }

    async fn call(&self, method: &str, path: &str) -> Answer {
        self.send(Request::builder().method(method).uri(path), b"")
            .await
    }

    /// Sends these bytes and returns all that comes back until the server closes.
    async fn raw(&self, bytes: &[u8]) -> String {
        let Addr::Tcp(host, port) = &self.server.addresses()[0] else {
            panic!("not TCP");
        };
        #[allow(clippy::disallowed_methods, reason = "a client beside the program")]
        let mut stream = TcpStream::connect((host.as_str(), *port)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The error object's message; checks that the object says the same status.
    fn error(&self) -> String {
        let object = self.json();
        assert_eq!(object["code"], self.status);
        assert_eq!(self.header("content-type"), "application/json");
        object["message"].as_str().unwrap().to_owned()
    }
}
