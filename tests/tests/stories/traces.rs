//! A request is followed from its client through the peers that serve it, by a collector of spans.

use std::{collections::BTreeMap, time::Duration};

use ipfs_cluster_tests::{Cluster, Peer, Setup, collector::Collector, http, missing, until};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;

use crate::{alone, tell};

const PATIENCE: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Spans of a trace, each with the peer that sent it.
fn spans(collector: &Collector, trace: &str) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    for export in collector.exports() {
        assert_eq!(export.path, "/v1/traces");
        assert_eq!(export.header("content-type"), "application/x-protobuf");
        let message = ExportTraceServiceRequest::decode(export.body.as_slice()).unwrap();
        for of_peer in message.resource_spans {
            let mut about = BTreeMap::new();
            for attribute in of_peer.resource.unwrap().attributes {
                if let Some(Value::StringValue(text)) = attribute.value.and_then(|v| v.value) {
                    about.insert(attribute.key, text);
                }
            }
            assert_eq!(about["service.name"], "cluster-daemon");
            let spans = of_peer.scope_spans.into_iter().flat_map(|s| s.spans);
            let spans = spans.filter(|s| hex(&s.trace_id) == trace);
            found.extend(spans.map(|s| (about["service.instance.id"].clone(), s)));
        }
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The span of a name that a peer sent.
fn find(all: &[(String, Span)], peer: &Peer, name: &str) -> Result<Span, String> {
    let id = &peer.addresses().id;
    let span = all.iter().find(|(p, s)| p == id && s.name == name);
    let known = || all.iter().map(|(p, s)| format!("{p} {}\n", s.name));
    span.map(|(_, s)| s.clone()).ok_or_else(|| {
        format!(
            "no {name:?} of {id} among:\n{}",
            known().collect::<String>()
        )
    })
}

#[test]
fn one_trace_leads_from_the_client_to_the_log() {
    tell(async {
        let collector = Collector::start().await;
        let setup = Setup::of(3)
            .with("CLUSTER_TRACING_ENABLETRACING", "true")
            .with("CLUSTER_TRACING_SAMPLINGPROB", "0")
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
        let cluster = Cluster::start(setup).await;
        let (mut leader, mut follower) = (None, None);
        for peer in &cluster.peers {
            match peer.role().await.as_deref() {
                Some("leader") => leader = Some(peer),
                _ => follower = Some(peer),
            }
        }
        let (leader, follower) = (leader.unwrap(), follower.unwrap());
        let path = format!("/pins/{}", missing());
        let headers = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n");
        let pinned = http::send(follower.rest_port(), "POST", &path, &headers, b"").await;
        assert_eq!(pinned.unwrap().status, 200);
        until("the whole trace", PATIENCE, || async {
            let all = spans(&collector, TRACE);
            let request = find(&all, follower, "POST rest")?;
            let write = find(&all, follower, "write")?;
            let forward = find(&all, follower, "forward")?;
            let forwarded = find(&all, leader, "forwarded")?;
            let log = find(&all, leader, "log")?;
            assert_eq!(hex(&request.parent_span_id), CALLER);
            let chain = [request, write, forward, forwarded, log];
            for pair in chain.windows(2) {
                let (above, below) = (&pair[0], &pair[1]);
                assert_eq!(below.parent_span_id, above.span_id, "{}", below.name);
                assert!(below.end_time_unix_nano >= below.start_time_unix_nano);
            }
            Ok::<_, String>(())
        })
        .await;
        // A trace that nobody began elsewhere is sampled here: none of them, as configured.
        let others = collector.exports().into_iter().any(|export| {
            let message = ExportTraceServiceRequest::decode(export.body.as_slice()).unwrap();
            let spans = message.resource_spans.into_iter();
            let spans = spans.flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
            spans.into_iter().any(|s| hex(&s.trace_id) != TRACE)
        });
        assert!(!others);
    });
}

#[test]
fn a_collector_that_is_not_there_delays_nobody() {
    tell(async {
        let collector = Collector::start().await;
        let url = collector.url();
        drop(collector);
        let folder = tempfile::tempdir().unwrap();
        let mut peer = alone(folder.path());
        peer.set("CLUSTER_TRACING_ENABLETRACING", "true");
        peer.set("CLUSTER_TRACING_SAMPLINGPROB", "1");
        peer.set("CLUSTER_TRACING_OTLPENDPOINT", &url);
        peer.spawn(&[]);
        peer.ready().await;
        let told = "spans cannot be sent";
        until("the log to say so", PATIENCE, || async {
            let answer = peer.rest("GET", "/id").await.map_err(|e| e.to_string())?;
            assert_eq!(answer.status, 200);
            let told = peer.log().contains(told);
            told.then_some(()).ok_or("not yet".to_owned())
        })
        .await;
        assert_eq!(peer.stop().await, Some(0));
        assert_eq!(peer.log().matches(told).count(), 1, "{}", peer.log());
    });
}
