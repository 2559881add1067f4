//! Writes of this peer's clients on their way to the leader: one stream, many requests in flight,
//! replies in any order.

use std::{collections::BTreeMap, time::Duration};

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

use crate::net::{Net, PeerReceiver, PeerSender, Proto};

/// The request did not get an answer; whether it had an effect is not known. Repeating it in its
/// session is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the leader: {0}")]
pub(crate) struct Lost(pub(crate) String);

type Answer = Result<Done, Refusal>;
type Waiting = oneshot::Sender<Result<Answer, Lost>>;
type Request = (Session, Op, Duration, Waiting);

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
        let (tx, rx) = oneshot::channel();
        let patience = deadline.saturating_duration_since(Instant::now());
        let exchange = async {
            link.requests
                .send((session, op, patience, tx))
                .await
                .map_err(|_| Lost("the stream to it closed".into()))?;
            rx.await
                .map_err(|_| Lost("the stream to it closed".into()))?
        };
        tokio::time::timeout_at(deadline, exchange)
            .await
            .unwrap_or_else(|_| Err(Lost(format!("nothing for {patience:?}"))))
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
                let _ = tx.send(Err(Lost(reason.clone())));
            }
            reason
        }
    };
    tracing::debug!(%leader, reason, "forward stream ended");
    queue.close();
    while let Some((.., tx)) = queue.recv().await {
        let _ = tx.send(Err(Lost(reason.clone())));
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
                let Some((session, op, patience, tx)) = request else {
                    return "another peer leads".into();
                };
                waiting.retain(|_, tx| !tx.is_closed());
                next_id += 1;
                waiting.insert(next_id, tx);
                let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                let request = ForwardRequest { id: next_id, session, patience_ms, op };
                if let Err(e) = writer.send_msg(&request).await {
                    return e.to_string();
                }
            }
        }
    }
}
