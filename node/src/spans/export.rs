//! Sends spans to a collector, in the OpenTelemetry protocol over HTTP (OTLP, protobuf).

use std::sync::Arc;

use futures::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Limited};
use ipfs_cluster_protocol::{id::PeerId, limits};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{Bytes, HttpError, Response};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tokio::time::timeout;
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use super::{
    TARGET,
    sender::{ANSWER_MAX, Sender},
};
use crate::{
    config::{Tracing, Variables, source::Place},
    env::ConnectDoor,
    ipfs::http::{HttpClient, full},
};

/// The standard variables, which go before `service.json`.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// What follows the endpoint that is common to traces, metrics and logs.
const TRACES_PATH: &str = "/v1/traces";

/// Spans cannot be exported as configured.
#[derive(Debug, thiserror::Error)]
#[error("observations.tracing.otlp_endpoint: {url:?}: {why}")]
pub struct ExportError {
    url: String,
    why: String,
}

/// Takes the spans of [`TARGET`] and sends them. Stop it with [`Exporter::shutdown`].
#[derive(Debug)]
pub struct Exporter {
    provider: SdkTracerProvider,
    sender: Sender,
}

impl Exporter {
    /// Starts to send, as configured; `None` when tracing is off. Within a runtime.
    pub fn start(
        config: &Tracing,
        vars: &Variables,
        peer: &PeerId,
        connect: &Arc<dyn ConnectDoor>,
    ) -> Result<Option<Self>, ExportError> {
        if !config.enabled {
            return Ok(None);
        }
        let url = endpoint(config, vars);
        let failed = |why: String| ExportError {
            url: url.clone(),
            why,
        };
        let place = Place::parse(&url).map_err(failed)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector(place.client(connect).map_err(failed)?))
            .with_endpoint(&url)
            .with_timeout(ANSWER_MAX)
            // What a collector does not take is given up: the next spans are as good.
            .with_retry_policy(RetryPolicy::default().with_max_retries(0))
            .build()
            .map_err(|e| failed(e.to_string()))?;
        let resource = resource(config, vars, peer);
        let (sender, queue) = Sender::start(exporter, &resource, url);
        let sampler = Sampler::TraceIdRatioBased(config.sampling);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(resource)
            .with_span_processor(queue)
            .build();
        Ok(Some(Self { provider, sender }))
    }

    /// What to put beside the log: it takes exported spans, and warnings within them.
    pub fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let filter = Targets::new()
            .with_target(TARGET, Level::INFO)
            .with_target("ipfs_cluster_node", Level::WARN);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("ipfs-cluster-service"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter)
            .boxed()
    }

    /// Sends what is left, within a second or two.
    pub async fn shutdown(self) {
        self.sender.finish().await;
    }
}

/// Where traces go.
fn endpoint(config: &Tracing, vars: &Variables) -> String {
    let set = |name: &str| vars.get(name).filter(|v| !v.is_empty());
    if let Some(url) = set(TRACES_ENDPOINT) {
        return url.clone();
    }
    let base = set(ENDPOINT).unwrap_or(&config.endpoint);
    format!("{}{TRACES_PATH}", base.trim_end_matches('/'))
}

/// Who the spans are of.
fn resource(config: &Tracing, vars: &Variables, peer: &PeerId) -> Resource {
    let builder = Resource::builder().with_attributes([
        KeyValue::new("service.instance.id", peer.to_string()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ]);
    match vars.contains_key(SERVICE_NAME) {
        true => builder.build(),
        false => builder.with_service_name(config.service.clone()).build(),
    }
}

/// The way to the collector: the same client that speaks to IPFS nodes.
#[derive(Debug)]
struct Collector(HttpClient);

impl opentelemetry_http::HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> futures::future::BoxFuture<'b, Result<Response<Bytes>, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        async move {
            let answer = self.0.request(request.map(full), ANSWER_MAX).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, limits::COLLECTOR_ANSWER_BYTES_MAX);
            let body = timeout(ANSWER_MAX, body.collect()).await??;
            Ok(Response::from_parts(head, body.to_bytes()))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_variables_go_first_and_the_path_is_added_to_the_common_ones() {
        let config = Tracing {
            enabled: true,
            endpoint: "http://a:4318/".to_owned(),
            sampling: 1.0,
            service: "s".to_owned(),
        };
        let with = |pairs: &[(&str, &str)]| {
            let vars = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            endpoint(&config, &vars.collect())
        };
        assert_eq!(with(&[]), "http://a:4318/v1/traces");
        assert_eq!(with(&[(ENDPOINT, "https://b")]), "https://b/v1/traces");
        let both = [(ENDPOINT, "https://b"), (TRACES_ENDPOINT, "http://c/x")];
        assert_eq!(with(&both), "http://c/x");
    }
}
