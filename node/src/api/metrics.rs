//! The registry of what is measured, and the server that shows it to Prometheus.

use std::{fmt, sync::Arc, time::Instant};

use ::http::{Method, Request, StatusCode};
use futures::{FutureExt, future::BoxFuture};
use hyper::body::Incoming;
use ipfs_cluster_protocol::limits;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tracing::{Instrument, Span};

use super::{
    backend::Backend,
    http::{
        reply::{self, Outgoing},
        server::{Client, ListenError, Server, ServerLimits, Site},
    },
    measure,
    process::{self, ProcessMeter},
    rest::metrics::exposition,
    trace::trace_id,
};
use crate::{
    env::{Addr, Env},
    ipfs::kubo::Calls,
    spans,
};

/// What a peer measures. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    http: Http,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Of the HTTP servers.
#[derive(Clone)]
struct Http {
    seconds: Family<Answered, Histogram, fn() -> Histogram>,
    in_flight: Family<Served, Gauge>,
}

/// Labels of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    server: &'static str,
    method: &'static str,
    code: u16,
}

/// Labels of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Served {
    server: &'static str,
}

/// From half a millisecond to 16 s.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl Metrics {
    /// Of a peer, of the calls of the IPFS node beside it, if there is one, and of the process, if
    /// it is known.
    #[must_use]
    pub fn of(
        backend: Arc<dyn Backend>,
        calls: Option<&Calls>,
        process: Option<ProcessMeter>,
    ) -> Self {
        let mut registry = Registry::default();
        measure::register(&mut registry, backend);
        if let Some(calls) = calls {
            calls.register(&mut registry);
        }
        if let Some(meter) = process {
            process::register(&mut registry, meter);
        }
        let http = Http {
            seconds: Family::new_with_constructor(latency as fn() -> Histogram),
            in_flight: Family::default(),
        };
        registry.register(
            "ipfscluster_http_request_seconds",
            "Time to the head of the answer",
            http.seconds.clone(),
        );
        registry.register(
            "ipfscluster_http_requests_in_flight",
            "Requests without an answer yet",
            http.in_flight.clone(),
        );
        Self {
            registry: Arc::new(registry),
            http,
        }
    }

    /// What Prometheus reads.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.clone()
    }

    /// The same site, its answers timed under this name.
    pub(crate) fn time(&self, server: &'static str, site: Arc<dyn Site>) -> Arc<dyn Site> {
        Arc::new(Timed {
            site,
            server,
            http: self.http.clone(),
        })
    }
}

/// A site whose answers are timed.
struct Timed {
    site: Arc<dyn Site>,
    server: &'static str,
    http: Http,
}

impl Site for Timed {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: Client,
    ) -> BoxFuture<'static, Outgoing> {
        let begun = Instant::now();
        let method = known(request.method());
        let server = self.server;
        let waiting = Waiting::new(
            self.http
                .in_flight
                .get_or_create(&Served { server })
                .clone(),
        );
        let span = exported(server, method, &request);
        // Lines of the log that this request writes then name its trace.
        let trace = match spans::trace_of(&span) {
            None => trace_id(request.headers()).map(str::to_owned),
            exported => exported,
        };
        let logged = trace.map_or_else(
            Span::none,
            |trace| tracing::info_span!(parent: &span, "request", trace),
        );
        let answering = self.site.clone().answer(request, from);
        let answering = answering.instrument(logged).instrument(span.clone());
        async move {
            let outgoing = answering.await;
            drop(waiting);
            span.record("http.response.status_code", outgoing.status().as_u16());
            if outgoing.status().is_server_error() {
                span.record("otel.status_code", "ERROR");
            }
            let labels = Answered {
                server,
                method,
                code: outgoing.status().as_u16(),
            };
            let seconds = begun.elapsed().as_secs_f64();
            self.http.seconds.get_or_create(&labels).observe(seconds);
            outgoing
        }
        .boxed()
    }
}

/// The span of a request, in the trace that its client names. It ends with the head of the answer.
fn exported(server: &'static str, method: &str, request: &Request<Incoming>) -> Span {
    let span = tracing::info_span!(
        target: spans::TARGET,
        "request",
        otel.name = format!("{method} {server}"),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        http.request.method = method,
        http.response.status_code = tracing::field::Empty,
        url.path = shortened(request.uri().path()),
    );
    spans::follow_headers(&span, request.headers());
    span
}

/// The beginning of a text that may be long.
fn shortened(text: &str) -> &str {
    let end = text.floor_char_boundary(limits::SPAN_PATH_BYTES_MAX);
    text.get(..end).unwrap_or(text)
}

/// A request under way: also one whose client went away counts down.
struct Waiting(Gauge);

impl Waiting {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The methods there are: a client's inventions make no labels.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

/// `/metrics` and nothing else.
struct MetricsSite(Arc<Registry>);

impl Site for MetricsSite {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        _: Client,
    ) -> BoxFuture<'static, Outgoing> {
        let reply = match (request.method().as_str(), request.uri().path()) {
            ("GET", "/metrics") => exposition(&self.0),
            ("GET", _) => reply::error(StatusCode::NOT_FOUND, "not found: see /metrics"),
            _ => reply::error(StatusCode::METHOD_NOT_ALLOWED, "use GET"),
        };
        async move { reply::into_outgoing(reply) }.boxed()
    }
}

/// Serves the metrics on listeners of their own.
pub async fn serve_metrics(
    listen: &[Addr],
    env: &Env,
    metrics: &Metrics,
) -> Result<Server, ListenError> {
    let site = Arc::new(MetricsSite(metrics.registry()));
    Server::listen(env, listen, site, ServerLimits::default()).await
}
