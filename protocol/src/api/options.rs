//! What a user asks of a pin, before the cluster's defaults are filled in.

use crate::pin::Replication;

/// Two replication factors that make no sense together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationError {
    /// Both are set, in the wrong order.
    #[error("cluster.replication_factor_min is larger than max")]
    MinAboveMax,
    /// One of them alone is -1.
    #[error("cluster.replication_factor_min and max must be -1 when one of them is")]
    HalfEverywhere,
    /// The minimum is below -1 or too large.
    #[error("cluster.replication_factor_min is wrong")]
    Min,
    /// The maximum is below -1 or too large.
    #[error("cluster.replication_factor_max is wrong")]
    Max,
}

/// Checks two factors as users give them: -1 is everywhere, 0 takes that factor of `default`.
pub fn replication(
    min: i64,
    max: i64,
    default: Replication,
) -> Result<Replication, ReplicationError> {
    let (default_min, default_max) = match default {
        Replication::Everywhere => (-1, -1),
        Replication::Factor { min, max } => (i64::from(min), i64::from(max)),
    };
    let min = if min == 0 { default_min } else { min };
    let max = if max == 0 { default_max } else { max };
    match (min, max) {
        _ if min > max => Err(ReplicationError::MinAboveMax),
        (-1, -1) => Ok(Replication::Everywhere),
        _ if min < -1 => Err(ReplicationError::Min),
        _ if min == -1 || max == -1 => Err(ReplicationError::HalfEverywhere),
        _ => Ok(Replication::Factor {
            min: u32::try_from(min).map_err(|_| ReplicationError::Min)?,
            max: u32::try_from(max).map_err(|_| ReplicationError::Max)?,
        }),
    }
}
