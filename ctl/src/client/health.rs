//! Metrics, alerts, connections, and the IPFS nodes.

use std::collections::BTreeMap;

use http::Method;
use ipfs_cluster_protocol::api::{
    gc::RepoGc,
    graph::ConnectGraph,
    metrics::{Alert, Metric},
    query::escape,
};
use serde::{Deserialize, Serialize, Serializer};

use super::{
    error::Error,
    http::{Client, empty},
};

/// Bytes of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Received.
    pub total_in: i64,
    /// Sent.
    pub total_out: i64,
    /// Received per second.
    #[serde(serialize_with = "short")]
    pub rate_in: f64,
    /// Sent per second.
    #[serde(serialize_with = "short")]
    pub rate_out: f64,
}

/// Whole numbers without a fraction, as Go prints them.
#[allow(
    clippy::trivially_copy_pass_by_ref,
    clippy::cast_possible_truncation,
    reason = "serde hands over a reference; the number is whole and small"
)]
fn short<S: Serializer>(rate: &f64, to: S) -> Result<S::Ok, S::Error> {
    if rate.fract() == 0.0 && rate.abs() < 1e15 {
        to.serialize_i64(*rate as i64)
    } else {
        to.serialize_f64(*rate)
    }
}

impl Client {
    /// Whether the peer is alive.
    pub async fn health(&self) -> Result<(), Error> {
        self.send(Method::GET, "/health", empty())
            .await?
            .nothing()
            .await
    }

    /// Who is connected to whom.
    pub async fn graph(&self) -> Result<ConnectGraph, Error> {
        self.object(Method::GET, "/health/graph").await
    }

    /// Metrics that lapsed, the newest first.
    pub async fn alerts(&self) -> Result<Vec<Alert>, Error> {
        self.object(Method::GET, "/health/alerts").await
    }

    /// Traffic by protocol.
    pub async fn bandwidth(&self) -> Result<BTreeMap<String, Bandwidth>, Error> {
        self.object(Method::GET, "/health/bandwidth").await
    }

    /// Names of the metrics there are.
    pub async fn metric_names(&self) -> Result<Vec<String>, Error> {
        self.object(Method::GET, "/monitor/metrics").await
    }

    /// The values of a metric.
    pub async fn metrics(&self, name: &str) -> Result<Vec<Metric>, Error> {
        let path = format!("/monitor/metrics/{}", escape(name));
        self.object(Method::GET, &path).await
    }

    /// Collects garbage, at every IPFS node or (`local`) at that of the peer asked.
    pub async fn gc(&self, local: bool) -> Result<RepoGc, Error> {
        let path = format!("/ipfs/gc?local={local}");
        self.object(Method::POST, &path).await
    }
}
