//! Accepts connections and serves each with one site, until told to stop.

use ipfs_cluster_protocol::limits::{FRAMING_HEAD_BYTES_MAX, FRAMING_HEADERS_MAX};
use std::{
    fmt, future::Future, io, panic::AssertUnwindSafe, path::PathBuf, pin::pin, sync::Arc,
    time::Duration,
};

use ::http::{Request, StatusCode};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    inbound::Inbound,
    reply::{self, Outgoing},
    tls::Tls,
};
use crate::env::{Addr, ByteStream, Env, Listener};

/// Bounds of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// How long a connection may lie between two requests.
    pub idle_timeout: Duration,
    /// Connections at a time; further ones wait to be accepted.
    pub connections_max: usize,
    /// For a whole request, from the first byte of its head; none is without limit.
    pub read_timeout: Option<Duration>,
    /// For a whole answer, from the last byte of the request's head; none is without limit.
    pub write_timeout: Option<Duration>,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// How long requests under way may take after the call to stop.
    pub grace: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(120),
            read_timeout: None,
            write_timeout: None,
            connections_max: 16 * 1024,
            head_bytes_max: FRAMING_HEAD_BYTES_MAX,
            grace: Duration::from_secs(5),
        }
    }
}

/// Answers requests.
pub(crate) trait Site: Send + Sync + 'static {
    /// The answer to one request of a client at `from`.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: Client,
    ) -> BoxFuture<'static, Outgoing>;
}

/// Who sent a request: an address, or a peer's name.
pub(crate) type Client = Arc<str>;

/// Connections that come in, and whence.
pub type Connections = BoxStream<'static, (ByteStream, String)>;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It cannot listen.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Where.
        addr: Addr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its access log cannot be opened.
    #[error("cannot open the access log {path}: {source}", path = path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running server. Dropping it ends it at once, connections included.
pub struct Server {
    addresses: Vec<Addr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    grace: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on `addrs` and serves `site` there, in plain text.
    pub(crate) async fn listen(
        env: &Env,
        addrs: &[Addr],
        site: Arc<dyn Site>,
        limits: ServerLimits,
    ) -> Result<Self, ListenError> {
        Self::listen_secured(env, addrs, None, site, limits).await
    }

    /// The same within TLS, if it is given.
    pub(crate) async fn listen_secured(
        env: &Env,
        addrs: &[Addr],
        tls: Option<Tls>,
        site: Arc<dyn Site>,
        limits: ServerLimits,
    ) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for addr in addrs {
            let listener = env.listen.listen(addr.clone()).await;
            listeners.push(listener.map_err(|source| ListenError::Listen {
                addr: addr.clone(),
                source,
            })?);
        }
        let mut server = Self {
            addresses: listeners.iter().map(|l| l.local_addr()).collect(),
            stop: watch::Sender::new(false),
            tasks: JoinSet::new(),
            grace: limits.grace,
        };
        let slots = Arc::new(Semaphore::new(limits.connections_max));
        for listener in listeners {
            let serving = Serving {
                site: site.clone(),
                tls: tls.clone(),
                limits,
            };
            server.serve_with(accepted(listener), serving, slots.clone());
        }
        Ok(server)
    }

    /// Serves `site` also on connections that come another way.
    pub(crate) fn serve(&mut self, from: Connections, site: Arc<dyn Site>, limits: ServerLimits) {
        let slots = Arc::new(Semaphore::new(limits.connections_max));
        let serving = Serving {
            site,
            tls: None,
            limits,
        };
        self.serve_with(from, serving, slots);
    }

    fn serve_with(&mut self, from: Connections, serving: Serving, slots: Arc<Semaphore>) {
        let stop = self.stop.subscribe();
        self.tasks.spawn(accept(from, serving, slots, stop));
    }

    /// Runs this beside it; it is waited for at the end.
    pub(crate) fn beside(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Where it listens, with the ports it got.
    #[must_use]
    pub fn addresses(&self) -> &[Addr] {
        &self.addresses
    }

    /// Takes no new requests, waits for those under way as long as the limits say.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.grace + Duration::from_secs(1), ended).await;
    }
}

/// The connections of a listener. An error, such as too many open files, is waited out.
fn accepted(listener: Box<dyn Listener>) -> Connections {
    futures::stream::unfold(listener, |mut listener| async move {
        loop {
            match listener.accept().await {
                Ok((pipe, from)) => return Some(((pipe, from.to_string()), listener)),
                Err(e) => {
                    tracing::warn!(target: "restapi", error = %e, addr = %listener.local_addr(), "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
    .boxed()
}

/// What is served on a connection.
#[derive(Clone)]
struct Serving {
    site: Arc<dyn Site>,
    tls: Option<Tls>,
    limits: ServerLimits,
}

async fn accept(
    mut from: Connections,
    serving: Serving,
    slots: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => break,
            Some(_) = connections.join_next() => continue,
            permit = slots.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let next = tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => break,
            next = from.next() => next,
        };
        let Some((pipe, who)) = next else { break };
        connections.spawn(connection(
            pipe,
            who.into(),
            serving.clone(),
            stop.clone(),
            permit,
        ));
    }
    drop(from);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection to its end, or to the end of its last request once told to stop.
async fn connection(
    pipe: ByteStream,
    from: Client,
    serving: Serving,
    mut stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let Serving { site, tls, limits } = serving;
    let pipe = match tls {
        Some(tls) => match tls.accept(pipe, limits.head_timeout).await {
            Some(pipe) => pipe,
            None => return,
        },
        None => pipe,
    };
    let mut builder = auto::Builder::new(TokioExecutor::new())
        .http1_only()
        .title_case_headers(true);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_headers(FRAMING_HEADERS_MAX)
        .max_buf_size(limits.head_bytes_max.max(8192));
    let service = service_fn(move |request| {
        let answer = AssertUnwindSafe(site.clone().answer(request, from.clone()));
        async move {
            let answer = answer.catch_unwind();
            let answered = match limits.write_timeout {
                Some(patience) => tokio::time::timeout(patience, answer).await?,
                None => answer.await,
            };
            Ok::<_, io::Error>(answered.unwrap_or_else(|_| panicked()))
        }
    });
    let io = TokioIo::new(Inbound::new(pipe, limits.into()));
    let mut served = pin!(builder.serve_connection(io, service));
    // How it ended is the client's affair: it went away, or spoke no HTTP and was told so.
    let mut ended = false;
    tokio::select! {
        biased;
        _ = stop.wait_for(|s| *s) => served.as_mut().graceful_shutdown(),
        _ = served.as_mut() => ended = true,
    }
    if !ended {
        let deadline = sleep_until(Instant::now() + limits.grace);
        let _ = first(served, deadline).await;
    }
}

/// Whichever comes first.
async fn first<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> Option<A> {
    let (a, b) = (pin!(a), pin!(b));
    tokio::select! {
        biased;
        a = a => Some(a),
        _ = b => None,
    }
}

/// The answer of a handler that panicked. The panic hook has reported it.
fn panicked() -> Outgoing {
    let reply = reply::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
    reply::into_outgoing(reply)
}
