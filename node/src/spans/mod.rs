//! Spans that leave the program, and the W3C trace context that ties them to those of others.
//!
//! A span of [`TARGET`] costs next to nothing unless an [`Exporter`] takes it: the log never shows
//! one. Where a request crosses to another program or peer, its context goes along as a
//! `traceparent` (<https://www.w3.org/TR/trace-context/>).
//!
//! **Architecture invariant:** OpenTelemetry's types stay in this folder.

mod export;
mod sender;

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{Context, propagation::TextMapPropagator, trace::TraceContextExt};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub use export::{ExportError, Exporter};

/// Target of every span that is exported.
pub const TARGET: &str = "spans";
/// The header, and the key in what peers send each other.
const HEADER: HeaderName = HeaderName::from_static("traceparent");

/// Makes a span go on with the trace that a request's headers name, if they name one. Before the span
/// is entered.
pub(crate) fn follow_headers(span: &Span, headers: &HeaderMap) {
    if !span.is_disabled() {
        follow(
            span,
            TraceContextPropagator::new().extract(&HeaderExtractor(headers)),
        );
    }
}

/// The same with a `traceparent` that another peer sent.
pub(crate) fn follow_text(span: &Span, traceparent: Option<&str>) {
    if let (false, Some(text)) = (span.is_disabled(), traceparent) {
        let carrier = HashMap::from([(HEADER.as_str().to_owned(), text.to_owned())]);
        follow(span, TraceContextPropagator::new().extract(&carrier));
    }
}

fn follow(span: &Span, context: Context) {
    if context.span().span_context().is_valid()
        && let Err(e) = span.set_parent(context)
    {
        tracing::debug!(error = %e, "a span keeps its own trace");
    }
}

/// The context of a span as a `traceparent`; none when it is not exported.
pub(crate) fn traceparent(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(HEADER.as_str())
}

/// Puts the context of a span on a request.
pub(crate) fn put_on(span: &Span, headers: &mut HeaderMap) {
    let value = traceparent(span).and_then(|text| HeaderValue::try_from(text).ok());
    if let Some(value) = value {
        headers.insert(HEADER, value);
    }
}

/// The trace of an exported span, as 32 hex digits.
pub(crate) fn trace_of(span: &Span) -> Option<String> {
    let text = traceparent(span)?;
    text.split('-').nth(1).map(str::to_owned)
}
