//! HTTP/1.1 over byte streams: targets in order, kept connections, deadlines.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use super::{
    addr::Target,
    answer::{Answer, Items},
    connect::{Connector, Sockets},
    error::Error,
};

/// A request's body.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Idle connections kept per client.
const IDLE_CONNECTIONS: usize = 4;
/// The log index that a write's answer names.
const INDEX_HEADER: &str = "X-Cluster-Index";

/// A user of a protected API.
#[derive(Clone)]
pub struct Credentials {
    /// Name.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What a client tells of its work: the request's method and path, then the answer's status and the
/// pieces of its body.
pub type Exchange = Arc<dyn Fn(&str) + Send + Sync>;

/// How a client works.
#[derive(Clone, Default)]
pub struct Options {
    /// For protected APIs.
    pub credentials: Option<Credentials>,
    /// For the head of an answer, and again for each piece of its body; none waits for ever.
    pub timeout: Option<Duration>,
    /// Told of requests and answers.
    pub watch: Option<Exchange>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("credentials", &self.credentials)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Speaks to the first of its targets that can be reached. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    connector: Arc<dyn Connector>,
    targets: Vec<Target>,
    options: Options,
    /// Connections whose last answer was read to its end.
    idle: Mutex<Vec<Connection>>,
    /// The largest log index a write was answered with.
    index: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("targets", &self.0.targets)
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

/// One HTTP connection, for one request at a time.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Body>,
    target: Arc<Target>,
}

impl Client {
    /// A client over this machine's sockets, for APIs outside the swarm or without a secret.
    pub fn new(targets: Vec<Target>) -> Result<Self, Error> {
        Self::with(Arc::new(Sockets::default()), targets, Options::default())
    }

    /// A client over any connector.
    pub fn with(
        connector: Arc<dyn Connector>,
        targets: Vec<Target>,
        options: Options,
    ) -> Result<Self, Error> {
        if targets.is_empty() {
            return Err(Error::Address {
                text: String::new(),
                why: "write at least one".to_owned(),
            });
        }
        Ok(Self(Arc::new(Inner {
            connector,
            targets,
            options,
            idle: Mutex::default(),
            index: AtomicU64::new(0),
        })))
    }

    /// The largest log index that this client's writes were answered with; a read with it as
    /// `min-index` sees them all, at any peer.
    #[must_use]
    pub fn seen_index(&self) -> u64 {
        self.0.index.load(Ordering::Relaxed)
    }

    /// A connection of its own to the first target that can be reached.
    pub async fn connection(&self) -> Result<Connection, Error> {
        let mut last = None;
        for target in &self.0.targets {
            match self.connect(target).await {
                Ok(connection) => return Ok(connection),
                Err(e) => last = Some(e),
            }
        }
        Err(last.expect("a client has at least one target"))
    }

    async fn connect(&self, target: &Target) -> Result<Connection, Error> {
        let failed = |why: String| Error::Connect {
            target: target.to_string(),
            why,
        };
        let connected = self.0.connector.connect(target).await;
        let stream = connected.map_err(|e| failed(e.to_string()))?;
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|e| failed(e.to_string()))?;
        // Ends when the sender is dropped and the last answer is read or dropped.
        tokio::spawn(async move {
            // What breaks here is told to whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            target: Arc::new(target.clone()),
        })
    }

    /// A connection that is open and has nothing to do.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// An idle connection, or a new one; and which.
    async fn lease(&self) -> Result<(Connection, bool), Error> {
        match self.idle() {
            Some(connection) => Ok((connection, true)),
            None => Ok((self.connection().await?, false)),
        }
    }

    /// Takes a connection back.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS && !connection.sender.is_closed() {
            idle.push(connection);
        }
    }

    /// How long the next piece of an answer may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.0.options.timeout
    }

    /// Tells the watcher.
    pub(super) fn tell(&self, text: &str) {
        if let Some(watch) = &self.0.options.watch {
            watch(text);
        }
    }

    /// Tells the watcher what came.
    pub(super) fn tell_bytes(&self, bytes: &[u8]) {
        if self.0.options.watch.is_some() {
            self.tell(String::from_utf8_lossy(bytes).trim_end());
        }
    }

    /// Sends a request without body and reads an object.
    pub(super) async fn object<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, Error> {
        self.send(method, path, empty()).await?.object().await
    }

    /// Sends a request without body and reads objects as they come.
    pub(super) async fn stream<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Items<T>, Error> {
        let answer = self.send(method, path, empty()).await?;
        Ok(Items::new(answer))
    }

    /// Sends a request and waits for the head of its answer. An error of the server is an error.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Answer, Error> {
        self.send_as(method, path, None, body).await
    }

    /// The same with a content type.
    pub(super) async fn send_as(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> Result<Answer, Error> {
        self.tell(&format!("{method} {path}"));
        let mut request = self.request(method, path, content_type, body)?;
        loop {
            let (mut connection, reused) = self.lease().await?;
            let authority = connection.target.authority();
            let host = HeaderValue::from_str(&authority).map_err(|e| Error::Exchange {
                target: authority,
                why: e.to_string(),
            })?;
            request.headers_mut().insert(header::HOST, host);
            match connection.exchange(request, self.timeout()).await {
                Ok(response) => {
                    self.note_index(&response);
                    return Answer::new(self.clone(), connection, response).await;
                }
                // The server closed an idle connection before the request was on its way.
                Err((_, Some(unsent))) if reused => request = unsent,
                Err((e, _)) => return Err(e),
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> Result<Request<Body>, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::USER_AGENT, "ipfs-cluster-ctl");
        if let Some(kind) = content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(Credentials { user, password }) = &self.0.options.credentials {
            let token = STANDARD.encode(format!("{user}:{password}"));
            request = request.header(header::AUTHORIZATION, format!("Basic {token}"));
        }
        request.body(body).map_err(|e| Error::Exchange {
            target: path.to_owned(),
            why: e.to_string(),
        })
    }

    fn note_index(&self, response: &Response<Incoming>) {
        let index = response.headers().get(INDEX_HEADER);
        if let Some(n) = index.and_then(|v| v.to_str().ok()?.parse().ok()) {
            self.0.index.fetch_max(n, Ordering::Relaxed);
        }
    }
}

impl Connection {
    /// With whom.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// One request and the head of its answer. A request that was not sent comes back.
    async fn exchange(
        &mut self,
        request: Request<Body>,
        timeout: Option<Duration>,
    ) -> Result<Response<Incoming>, (Error, Option<Request<Body>>)> {
        let sent = self.sender.try_send_request(request);
        let answered = match timeout {
            None => sent.await,
            Some(limit) => match tokio::time::timeout(limit, sent).await {
                Ok(answered) => answered,
                Err(_) => return Err((Error::Timeout(limit), None)),
            },
        };
        answered.map_err(|mut e| {
            let unsent = e.take_message();
            let why = because(&e.into_error());
            let target = self.target.to_string();
            (Error::Exchange { target, why }, unsent)
        })
    }

    /// Sends one request without body over this connection and reads the whole answer: status and
    /// body. For load generators.
    pub async fn post(&mut self, path: &str) -> Result<(u16, Bytes), Error> {
        let target = self.target.to_string();
        let broken = |why: String| Error::Exchange {
            target: target.clone(),
            why,
        };
        let request = Request::post(path)
            .header(header::HOST, self.target.authority())
            .body(empty())
            .map_err(|e| broken(e.to_string()))?;
        self.sender.ready().await.map_err(|e| broken(because(&e)))?;
        let response = self.exchange(request, None).await.map_err(|(e, _)| e)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await;
        let body = body.map_err(|e| broken(because(&e)))?;
        Ok((status, body.to_bytes()))
    }
}

/// An error and what caused it.
pub(super) fn because(e: &hyper::Error) -> String {
    match std::error::Error::source(e) {
        Some(cause) => format!("{e}: {cause}"),
        None => e.to_string(),
    }
}

/// No body.
pub(super) fn empty() -> Body {
    Full::default()
        .map_err(|never| match never {})
        .boxed_unsync()
}
