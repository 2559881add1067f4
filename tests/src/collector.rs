//! A collector of spans: takes OpenTelemetry's protocol over HTTP, as collectors do.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::server::{Request, Server};

/// A collector on loopback. It is gone when dropped.
#[derive(Debug)]
pub struct Collector {
    server: Server,
    exports: Arc<Mutex<Vec<Request>>>,
}

impl Collector {
    /// Starts one.
    pub async fn start() -> Self {
        let exports = Arc::new(Mutex::new(Vec::new()));
        let taken = exports.clone();
        let server = Server::start(move |request| {
            taken.lock().push(request);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n";
            format!("{head}Content-Length: 0\r\n\r\n").into_bytes()
        });
        Self {
            server: server.await,
            exports,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port())
    }

    /// All that came.
    #[must_use]
    pub fn exports(&self) -> Vec<Request> {
        self.exports.lock().clone()
    }
}
