//! How long the IPFS node takes to answer, by command: for Prometheus.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Measured calls. Cheap to clone; clones share what they measure.
#[derive(Debug, Clone)]
pub struct Calls(Family<Call, Histogram, fn() -> Histogram>);

/// Labels of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    /// As behind `/api/v0/`; one of those that this program sends.
    command: String,
    outcome: &'static str,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The head of an answer that is not an error. What follows it is not measured.
    Answered,
    /// The node answered with an error.
    Refused,
    /// No answer.
    Unreachable,
}

/// From a millisecond to a quarter of an hour.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 11))
}

impl Default for Calls {
    fn default() -> Self {
        Self(Family::new_with_constructor(seconds as fn() -> Histogram))
    }
}

impl Calls {
    pub(super) fn took(&self, command: &str, outcome: Outcome, time: Duration) {
        let call = Call {
            command: command.to_owned(),
            outcome: match outcome {
                Outcome::Answered => "answered",
                Outcome::Refused => "refused",
                Outcome::Unreachable => "unreachable",
            },
        };
        self.0.get_or_create(&call).observe(time.as_secs_f64());
    }

    /// Makes a registry expose them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ipfscluster_ipfs_request_seconds",
            "Time to the head of the IPFS node's answer",
            self.0.clone(),
        );
    }
}
