//! Writes of this peer's clients on their way to the leader: one stream, many requests in flight,
//! replies in any order.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use ipfs_cluster_protocol::{
    command::Session,
    id::PeerId,
    limits,
    rpc::{Done, ForwardReply, ForwardRequest, Op, Refusal},
};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::Span;

use crate::{
    net::{Net, PeerReceiver, PeerSender, Proto},
    spans,
};

/// The request did not get an answer. Repeating it in its session is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// Whether it had an effect is not known.
    #[error("no answer from the leader: {0}")]
    Sent(String),
    /// It never left this peer, and will not.
    #[error("the leader was not reached: {0}")]
    Unsent(String),
}

/// What became of a request: whoever speaks first, the sender or the one who gives up, decides.
#[derive(Debug, Clone, Default)]
struct Fate(Arc<AtomicU8>);

impl Fate {
    const SENT: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn settle(&self, fate: u8) -> bool {
        let settled = self
            .0
            .compare_exchange(0, fate, Ordering::AcqRel, Ordering::Acquire);
        settled.is_ok()
    }

    /// False when nobody waits for it any more: it must not be sent.
    fn send(&self) -> bool {
        self.settle(Self::SENT)
    }

    /// The error for the one who waited.
    fn give_up(&self, reason: String) -> Lost {
        if self.settle(Self::GIVEN_UP) || self.0.load(Ordering::Acquire) == Self::GIVEN_UP {
            Lost::Unsent(reason)
        } else {
            Lost::Sent(reason)
        }
    }
}

type Answer = Result<Done, Refusal>;
type Waiting = oneshot::Sender<Result<Answer, Lost>>;

/// A request in the queue.
struct Request {
    session: Session,
    op: Op,
    patience: Duration,
    trace: Option<String>,
    fate: Fate,
    reply: Waiting,
}

/// Keeps the stream to the present leader.
#[derive(Debug)]
pub(crate) struct Forwarder {
    net: Net,
    link: Mutex<Option<Link>>,
}

#[derive(Debug, Clone)]
struct Link {
    leader: PeerId,
    requests: mpsc::Sender<Request>,
}

impl Forwarder {
    pub(crate) fn new(net: Net) -> Self {
        Self {
            net,
            link: Mutex::new(None),
        }
    }

    /// Asks the leader, until `deadline`.
    pub(crate) async fn ask(
        &self,
        leader: &PeerId,
        session: Session,
        op: Op,
        deadline: Instant,
    ) -> Result<Answer, Lost> {
        let link = self.link_to(leader);
        let (reply, answer) = oneshot::channel();
        let patience = deadline.saturating_duration_since(Instant::now());
        let fate = Fate::default();
        let request = Request {
            session,
            op,
            patience,
            trace: spans::traceparent(&Span::current()),
            fate: fate.clone(),
            reply,
        };
        let closed = || fate.give_up("the stream to it closed".into());
        let exchange = async {
            let queued = link.requests.send(request).await;
            queued.map_err(|_| closed())?;
            answer.await.map_err(|_| closed())?
        };
        tokio::time::timeout_at(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(fate.give_up(format!("nothing for {patience:?}"))))
    }

    /// The stream to this leader, opened if there is none or it broke.
    fn link_to(&self, leader: &PeerId) -> Link {
        let mut current = self.link.lock();
        if let Some(link) = current.as_ref()
            && link.leader == *leader
            && !link.requests.is_closed()
        {
            return link.clone();
        }
        let (requests, queue) = mpsc::channel(limits::FORWARD_IN_FLIGHT_MAX);
        let link = Link {
            leader: leader.clone(),
            requests,
        };
        // The task ends when the link is replaced (its queue closes) or its stream breaks.
        tokio::spawn(serve_link(self.net.clone(), leader.clone(), queue));
        *current = Some(link.clone());
        link
    }
}

/// Opens the stream and carries requests and replies until either side closes.
async fn serve_link(net: Net, leader: PeerId, mut queue: mpsc::Receiver<Request>) {
    let reason = match net.open(&leader, Proto::Forward).await {
        Err(e) => e.to_string(),
        Ok(stream) => {
            let (writer, reader) = stream.split();
            let mut waiting = BTreeMap::new();
            let reason = carry(&mut queue, reader, writer, &mut waiting).await;
            for tx in waiting.into_values() {
                let _ = tx.send(Err(Lost::Sent(reason.clone())));
            }
            reason
        }
    };
    tracing::debug!(%leader, reason, "forward stream ended");
    queue.close();
    while let Some(request) = queue.recv().await {
        let lost = request.fate.give_up(reason.clone());
        let _ = request.reply.send(Err(lost));
    }
}

/// Returns why it ended.
async fn carry(
    queue: &mut mpsc::Receiver<Request>,
    mut reader: PeerReceiver,
    mut writer: PeerSender,
    waiting: &mut BTreeMap<u64, Waiting>,
) -> String {
    let mut next_id = 0;
    loop {
        tokio::select! {
            biased;
            reply = reader.recv_msg::<ForwardReply>() => match reply {
                Ok(Some(ForwardReply { id, result })) => {
                    if let Some(tx) = waiting.remove(&id) {
                        let _ = tx.send(Ok(result));
                    }
                }
                Ok(None) => return "it closed the stream".into(),
                Err(e) => return e.to_string(),
            },
            request = queue.recv(), if waiting.len() < limits::FORWARD_IN_FLIGHT_MAX => {
                let Some(request) = request else {
                    return "another peer leads".into();
                };
                if !request.fate.send() {
                    continue;
                }
                let Request { session, op, patience, trace, reply, .. } = request;
                waiting.retain(|_, tx| !tx.is_closed());
                next_id += 1;
                waiting.insert(next_id, reply);
                let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                let request = ForwardRequest { id: next_id, session, patience_ms, trace, op };
                if let Err(e) = writer.send_msg(&request).await {
                    return e.to_string();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_not_sent_and_what_was_sent_is_not_called_unsent() {
        let fate = Fate::default();
        assert!(matches!(fate.give_up("late".into()), Lost::Unsent(_)));
        assert!(!fate.send());
        assert!(matches!(fate.give_up("again".into()), Lost::Unsent(_)));
        let fate = Fate::default();
        assert!(fate.send());
        assert!(matches!(fate.give_up("late".into()), Lost::Sent(_)));
    }
}
