//! What members tell all others: the bodies of gossip messages, one enum per topic.
//!
//! The author of a message is authenticated by the layer below; a body speaks for its author alone.

use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, DecodeError},
    id::PeerId,
    limits::{
        GOSSIP_BYTES_MAX, METRIC_NAME_BYTES_MAX, METRIC_VALUE_BYTES_MAX, METRICS_PER_PEER_MAX,
        WITNESS_STATEMENTS_MAX,
    },
    metrics::Metric,
    status::{Delta, Digest},
    witness::Statement,
};

/// A message of the metrics topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsMessage {
    /// The author's, at most [`METRICS_PER_PEER_MAX`].
    pub metrics: Vec<Metric>,
}

/// A message of the status topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusMessage {
    /// The author's table has a new version.
    Delta(Delta),
    /// What copies of the author's table must be like.
    Digest(Digest),
    /// What the author's state was after some entries of the log; at most
    /// [`WITNESS_STATEMENTS_MAX`].
    State(Vec<Statement>),
}

/// Why a body was dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It speaks for another peer than its author.
    #[error("{author} speaks for {subject}")]
    NotTheAuthor {
        /// Who signed it.
        author: PeerId,
        /// Whose metric or table it claims to carry.
        subject: PeerId,
    },
    /// More or longer values than allowed.
    #[error("it breaks the bound of {what}")]
    Bound {
        /// Which bound.
        what: &'static str,
    },
}

fn from_author(author: &PeerId, subject: &PeerId) -> Result<(), BodyError> {
    if author == subject {
        return Ok(());
    }
    Err(BodyError::NotTheAuthor {
        author: author.clone(),
        subject: subject.clone(),
    })
}

impl MetricsMessage {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a body of `author`.
    pub fn decode(author: &PeerId, body: &[u8]) -> Result<Self, BodyError> {
        let message: Self = codec::decode(body, GOSSIP_BYTES_MAX)?;
        if message.metrics.len() > METRICS_PER_PEER_MAX {
            return Err(BodyError::Bound {
                what: "metrics per message",
            });
        }
        for metric in &message.metrics {
            from_author(author, &metric.peer)?;
            if metric.name.is_empty() || metric.name.len() > METRIC_NAME_BYTES_MAX {
                return Err(BodyError::Bound {
                    what: "a metric's name",
                });
            }
            if metric.value.len() > METRIC_VALUE_BYTES_MAX {
                return Err(BodyError::Bound {
                    what: "a metric's value",
                });
            }
        }
        Ok(message)
    }
}

impl StatusMessage {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a body of `author`. What a delta carries is checked when it is applied.
    pub fn decode(author: &PeerId, body: &[u8]) -> Result<Self, BodyError> {
        let message: Self = codec::decode(body, GOSSIP_BYTES_MAX)?;
        match &message {
            Self::Delta(delta) => from_author(author, &delta.table.peer)?,
            Self::Digest(digest) => from_author(author, &digest.table.peer)?,
            Self::State(statements) if statements.len() > WITNESS_STATEMENTS_MAX => {
                return Err(BodyError::Bound {
                    what: "state hashes per message",
                });
            }
            Self::State(_) => {}
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{state::tests::peer, time::Timestamp};
    use proptest::prelude::*;

    fn metric(name: &str, value: &str) -> Metric {
        Metric {
            name: name.into(),
            peer: peer(1),
            value: value.into(),
            weight: 5,
            partitionable: false,
            valid: true,
            taken_at: Timestamp(1),
            ttl_ms: 30_000,
        }
    }

    fn decoded(metrics: Vec<Metric>) -> Result<MetricsMessage, BodyError> {
        let body = MetricsMessage { metrics }.encode();
        MetricsMessage::decode(&peer(1), &body)
    }

    #[test]
    fn a_body_speaks_for_its_author_alone() {
        let good = vec![metric("ping", "{}")];
        assert_eq!(decoded(good.clone()).unwrap().metrics, good);
        let body = MetricsMessage { metrics: good }.encode();
        let other = MetricsMessage::decode(&peer(2), &body);
        assert!(matches!(other, Err(BodyError::NotTheAuthor { .. })));
    }

    #[test]
    fn bounds_hold() {
        let long = "x".repeat(METRIC_VALUE_BYTES_MAX + 1);
        for bad in [
            vec![metric("ping", &long)],
            vec![metric("", "1")],
            vec![metric(&long[..METRIC_NAME_BYTES_MAX + 1], "1")],
            vec![metric("ping", ""); METRICS_PER_PEER_MAX + 1],
        ] {
            assert!(matches!(decoded(bad), Err(BodyError::Bound { .. })));
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = MetricsMessage::decode(&peer(1), &body);
            let _ = StatusMessage::decode(&peer(1), &body);
        }
    }
}
