//! A small HTTP/1.1 client over the connect door: kept-alive connections, bounded in number,
//! streaming bodies both ways, trailers readable.
//!
//! It knows nothing of IPFS: the Kubo client and the proxy's pass-through are both made of it. A
//! request that never reached the server is sent again on a fresh connection; one that may have
//! reached it is not, since the client cannot tell what it did.

use std::{
    error::Error as StdError,
    fmt, io,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use ipfs_cluster_protocol::limits::{HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_IDLE_MAX};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::env::{Addr, ConnectDoor};

/// Any error of a request body.
pub type BoxError = Box<dyn StdError + Send + Sync>;
/// What a request carries.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// How long a connection may lie idle before it is not used again. Below the 5 s after which
/// Node's servers (js-ipfs) close theirs, so that a request does not race with that.
const IDLE_TIME: Duration = Duration::from_secs(4);
/// How long a kept connection may take to become ready.
const SETTLE_TIME: Duration = Duration::from_millis(20);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody listens there, or not within the time allowed.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// Where.
        addr: Addr,
        /// Why.
        source: io::Error,
    },
    /// No head of a response in time.
    #[error("no answer from {addr} within {after:?}")]
    Timeout {
        /// From whom.
        addr: Addr,
        /// The time allowed.
        after: Duration,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("{addr}: {text}")]
    Broken {
        /// The other side.
        addr: Addr,
        /// hyper's words.
        text: String,
    },
}

/// An empty request body.
#[must_use]
pub fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A request body held in memory.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> RequestBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A client of one server. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct HttpClient(Arc<Shared>);

struct Shared {
    connect: Arc<dyn ConnectDoor>,
    addr: Addr,
    /// What is sent as `Host` where the request has none.
    host: HeaderValue,
    /// One permit per connection in use.
    slots: Arc<Semaphore>,
    /// Connections that answered their last request whole, oldest first.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    conn: Conn,
    since: Instant,
}

/// A connection and the task that drives it, which ends with it.
struct Conn {
    sender: SendRequest<RequestBody>,
    _driver: JoinSet<()>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("addr", &self.0.addr)
            .finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client of the server at `addr`. Nothing is opened before the first request.
    pub fn new(connect: Arc<dyn ConnectDoor>, addr: Addr) -> Self {
        Self::with_connections(connect, addr, HTTP_CONNECTIONS_MAX)
    }

    /// The same with another bound on connections in use; further requests wait for one.
    pub fn with_connections(connect: Arc<dyn ConnectDoor>, addr: Addr, max: usize) -> Self {
        let host = match &addr {
            Addr::Tcp(..) => HeaderValue::from_str(&addr.to_string()).ok(),
            Addr::Unix(_) => None,
        };
        Self(Arc::new(Shared {
            connect,
            addr,
            host: host.unwrap_or(HeaderValue::from_static("localhost")),
            slots: Arc::new(Semaphore::new(max)),
            idle: Mutex::new(Vec::new()),
        }))
    }

    /// The server.
    #[must_use]
    pub fn addr(&self) -> &Addr {
        &self.0.addr
    }

    /// Sends a request and waits at most `head_timeout` for the head of its response (waiting for a
    /// connection included). The body has no deadline here: its reader knows what to expect.
    pub async fn request(
        &self,
        mut request: Request<RequestBody>,
        head_timeout: Duration,
    ) -> Result<Response<ResponseBody>, HttpError> {
        let shared = &self.0;
        shared.prepare(&mut request);
        let deadline = Instant::now() + head_timeout;
        let late = |_| HttpError::Timeout {
            addr: shared.addr.clone(),
            after: head_timeout,
        };
        timeout_at(deadline, shared.send(request))
            .await
            .map_err(late)?
    }
}

impl Shared {
    /// Origin form of the target, and a `Host`.
    fn prepare(&self, request: &mut Request<RequestBody>) {
        let target = request
            .uri()
            .path_and_query()
            .cloned()
            .unwrap_or(PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(target);
        if !request.headers().contains_key(header::HOST) {
            request
                .headers_mut()
                .insert(header::HOST, self.host.clone());
        }
    }

    async fn send(
        self: &Arc<Self>,
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, HttpError> {
        let permit = self
            .slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|e| self.broken(&e))?;
        loop {
            let (mut conn, reused) = match self.take_idle().await {
                Some(conn) => (conn, true),
                None => (self.open().await?, false),
            };
            match conn.sender.try_send_request(request).await {
                Ok(response) => {
                    return Ok(response.map(|body| ResponseBody {
                        body,
                        lease: Some(Lease {
                            conn,
                            _permit: permit,
                            home: Arc::downgrade(self),
                        }),
                    }));
                }
                Err(mut e) => match e.take_message() {
                    // The server had closed the kept connection: nothing was sent.
                    Some(unsent) if reused => request = unsent,
                    _ => return Err(self.broken(&e.into_error())),
                },
            }
        }
    }

    /// A kept connection that can take a request: the one used last is the likeliest to be open.
    async fn take_idle(&self) -> Option<Conn> {
        loop {
            let mut conn = {
                let mut idle = self.idle.lock();
                idle.retain(|i| i.since.elapsed() < IDLE_TIME && !i.conn.sender.is_closed());
                idle.pop()?.conn
            };
            // Its driver may need a moment to notice the end of the last response; one that is not
            // ready by then still sends the last request's body and is given up.
            if let Ok(Ok(())) = timeout(SETTLE_TIME, conn.sender.ready()).await {
                return Some(conn);
            }
        }
    }

    async fn open(&self) -> Result<Conn, HttpError> {
        let opened = timeout(CONNECT_TIMEOUT, self.connect.connect(self.addr.clone()));
        let stream = opened
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| HttpError::Connect {
                addr: self.addr.clone(),
                source,
            })?;
        let (sender, driver) = http1::Builder::new()
            .max_header_size(HTTP_HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| self.broken(&e))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Its error reaches whoever waits for the response or reads the body.
            let _ = driver.await;
        });
        Ok(Conn {
            sender,
            _driver: tasks,
        })
    }

    fn broken(&self, error: &dyn StdError) -> HttpError {
        HttpError::Broken {
            addr: self.addr.clone(),
            text: error_chain(error),
        }
    }
}

/// An error with the causes it hides, as Go prints them.
pub(crate) fn error_chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(c) = cause {
        let c_text = c.to_string();
        if !text.ends_with(&c_text) {
            text.push_str(": ");
            text.push_str(&c_text);
        }
        cause = c.source();
    }
    text
}

/// A connection out of the pool, and the right to use one.
struct Lease {
    conn: Conn,
    _permit: OwnedSemaphorePermit,
    home: Weak<Shared>,
}

impl Lease {
    /// Back to the pool: the response was read whole.
    fn give_back(self) {
        let Some(home) = self.home.upgrade() else {
            return;
        };
        if !self.conn.sender.is_closed() {
            let mut idle = home.idle.lock();
            idle.push(Idle {
                conn: self.conn,
                since: Instant::now(),
            });
            if idle.len() > HTTP_IDLE_MAX {
                idle.remove(0);
            }
        }
    }
}

/// The body of a response. Read to its end (trailers included), its connection is used again;
/// dropped before, the connection is closed, which tells the server to stop.
pub struct ResponseBody {
    body: Incoming,
    lease: Option<Lease>,
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => {
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
            }
            Poll::Ready(Some(Err(_))) => self.lease = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    /// An answer without a body is never polled, yet its connection is as good as new.
    fn drop(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

#[cfg(test)]
mod tests;
