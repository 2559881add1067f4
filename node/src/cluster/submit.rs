//! A write on its way into the log: decided here when this peer leads, forwarded when it does not,
//! repeated in its session until it has an answer or the client's time is over.

use std::time::Duration;

use ipfs_cluster_protocol::{
    id::PeerId,
    mutation::{Mutation, planted},
    rpc::{Done, Op, Refusal},
};
use tokio::time::Instant;
use tracing::Instrument;

use super::{Cluster, error::ClusterError, forward::Lost};
use crate::spans;

/// Between two tries while an election is under way.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

impl Cluster {
    /// Brings a write into the log of a quorum. At the deadline it is *unknown* if it was sent to
    /// somebody, and not done if it was not.
    pub(crate) async fn submit(&self, op: Op) -> Result<Done, ClusterError> {
        // What a peer says of its own node is no write of a client.
        let own = matches!(op, Op::Gone { .. } | Op::Sized { .. });
        if self.0.settings.follower_mode && !own {
            return Err(ClusterError::Invalid(
                "this peer is configured to be in follower mode. Write operations are disabled"
                    .into(),
            ));
        }
        self.may_write()?;
        let deadline = Instant::now() + self.0.settings.write_timeout;
        self.submit_until(op, deadline).await
    }

    /// The same with a deadline, whatever the configuration says of writes.
    pub(super) async fn submit_until(
        &self,
        op: Op,
        deadline: Instant,
    ) -> Result<Done, ClusterError> {
        let span = tracing::info_span!(target: spans::TARGET, "write", op = op.name());
        // On the heap: what awaits it would otherwise hold all of it.
        let repeated = Box::pin(self.repeat_until(op, deadline));
        repeated.instrument(span).await
    }

    async fn repeat_until(&self, op: Op, deadline: Instant) -> Result<Done, ClusterError> {
        let ticket = self.0.consensus.sessions().begin();
        let mut sent = None;
        loop {
            let Some(leader) = self.leader_by(deadline).await else {
                return Err(overdue(sent));
            };
            let answer = if leader == self.0.me {
                let session = ticket.session();
                Ok(self.0.leader.execute(session, op.clone(), deadline).await)
            } else {
                let session = ticket.session();
                let forwarder = &self.0.forwarder;
                let asked = forwarder.ask(&leader, session, op.clone(), deadline);
                let span = tracing::info_span!(
                    target: spans::TARGET, "forward", otel.kind = "client", %leader
                );
                asked.instrument(span).await
            };
            if let Err(Lost::Unsent(reason)) = &answer {
                tracing::debug!(%leader, reason, "not reached");
            }
            if let Some(end) = end(answer, &mut sent) {
                return end;
            }
            self.may_write().map_err(|why| refused(why, &sent))?;
            if Instant::now() + RETRY_PAUSE >= deadline {
                return Err(overdue(sent));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// An error when the cluster goes on without this peer.
    pub(super) fn may_write(&self) -> Result<(), ClusterError> {
        let left_behind = self.0.consensus.left_behind();
        left_behind.map_or(Ok(()), |why| Err(ClusterError::LeftBehind(why.to_string())))
    }

    /// Who leads, as soon as somebody does.
    async fn leader_by(&self, deadline: Instant) -> Option<PeerId> {
        let mut status = self.0.consensus.status();
        let found = tokio::time::timeout_at(deadline, status.wait_for(|s| s.leader.is_some()));
        found.await.ok()?.ok()?.leader.clone()
    }
}

/// What an answer means for the write: its end, or none when it is to be repeated. `sent` says why the
/// answer to an earlier try is missing.
fn end(
    answer: Result<Result<Done, Refusal>, Lost>,
    sent: &mut Option<String>,
) -> Option<Result<Done, ClusterError>> {
    match answer {
        Ok(Ok(done)) => Some(Ok(done)),
        // The leader has stepped down, or does not know yet that it leads.
        Ok(Err(Refusal::NotLeader { .. } | Refusal::Unavailable(_))) | Err(Lost::Unsent(_)) => None,
        Ok(Err(Refusal::Unknown(reason))) | Err(Lost::Sent(reason)) => {
            *sent = Some(reason);
            None
        }
        Ok(Err(refusal)) => Some(Err(refused(refusal.into(), sent))),
    }
}

/// A write that was sent before may be done all the same, now or later, whatever its repetition is
/// told.
fn refused(why: ClusterError, sent: &Option<String>) -> ClusterError {
    match sent {
        Some(reason) if !planted(Mutation::UnknownToldAsRefused) => ClusterError::Unknown(format!(
            "the answer did not arrive ({reason}), and the repeated request was refused: {why}"
        )),
        _ => why,
    }
}

fn overdue(sent: Option<String>) -> ClusterError {
    let sent = sent.filter(|_| !planted(Mutation::UnknownToldAsRefused));
    sent.map_or(ClusterError::NoLeader, |reason| {
        ClusterError::Unknown(format!("timed out waiting for the outcome: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_final_only_where_nothing_was_sent_before() {
        let refusal = || Refusal::Invalid("not enough peers".into());
        let mut sent = None;
        assert!(end(Err(Lost::Unsent("away".into())), &mut sent).is_none());
        let told = end(Ok(Err(refusal())), &mut sent);
        assert!(matches!(told, Some(Err(ClusterError::Invalid(_)))));

        let lost = "it closed the stream".to_owned();
        for lost in [
            Err(Lost::Sent(lost.clone())),
            Ok(Err(Refusal::Unknown(lost))),
        ] {
            let mut sent = None;
            assert!(end(lost, &mut sent).is_none());
            for refusal in [refusal(), Refusal::NotPinned] {
                let told = end(Ok(Err(refusal)), &mut sent);
                assert!(matches!(told, Some(Err(ClusterError::Unknown(_)))));
            }
        }
    }
}
