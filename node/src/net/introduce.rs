//! The exchange of `Hello` at the start of a stream, from either side.

use std::{sync::Arc, time::Duration};

use ipfs_cluster_protocol::{
    codec,
    hello::{Answer, Hello, Refusal},
    id::PeerId,
    limits,
};
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use super::{
    error::{OpenError, StreamError},
    identity::from_libp2p,
    proto::Proto,
    shared::Shared,
    stream::PeerStream,
    streams::Inbound,
};

/// How long the other side may take to say who it is.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// How long an accepted stream may wait for whoever serves it.
const SERVE_DEADLINE: Duration = Duration::from_secs(8);

fn wrap(shared: &Shared, peer: PeerId, proto: Proto, stream: libp2p::Stream) -> PeerStream {
    let counted = shared.meters.stream(proto, Box::new(stream.compat()));
    PeerStream::new(peer, proto, counted)
}

async fn read<T: serde::de::DeserializeOwned>(stream: &mut PeerStream) -> Result<T, StreamError> {
    let frame = stream.recv().await?.ok_or(StreamError::Ended)?;
    Ok(codec::decode(&frame, limits::HELLO_BYTES_MAX)?)
}

/// Introduces this peer on a stream it has opened. The caller sets the deadline.
pub(super) async fn as_opener(
    shared: &Shared,
    peer: &PeerId,
    proto: Proto,
    stream: libp2p::Stream,
) -> Result<PeerStream, OpenError> {
    let mut stream = wrap(shared, peer.clone(), proto, stream);
    if proto == Proto::Http {
        return Ok(stream.introduced(Hello::default()));
    }
    let failed = |e: StreamError| OpenError::Failed {
        peer: peer.clone(),
        why: e.to_string(),
    };
    let ours = codec::encode(&shared.hello());
    stream.send(ours).await.map_err(failed)?;
    let answer: Answer = read(&mut stream).await.map_err(failed)?;
    shared.heard(peer, &answer.hello);
    if let Some(refusal) = answer.refusal {
        shared.refused(peer, &refusal);
        return Err(OpenError::Refused {
            peer: peer.clone(),
            refusal,
        });
    }
    if let Err(refusal) = shared.judge_answer(peer, &answer.hello) {
        shared.log_refusal(peer, &refusal, true);
        return Err(OpenError::Unwanted {
            peer: peer.clone(),
            refusal,
        });
    }
    if proto == Proto::Join {
        shared.asked_to_join(&answer.hello);
    }
    Ok(stream.introduced(answer.hello))
}

/// Takes a stream another peer has opened to whoever serves it, or refuses it.
pub(super) async fn as_acceptor(shared: Arc<Shared>, inbound: Inbound) {
    let proto = inbound.proto;
    let Some(peer) = from_libp2p(&inbound.peer) else {
        return;
    };
    let mut stream = wrap(&shared, peer.clone(), proto, inbound.stream);
    let theirs = if proto == Proto::Http {
        Hello::default()
    } else {
        match timeout(HELLO_DEADLINE, read::<Hello>(&mut stream)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(e)) => {
                tracing::debug!(%peer, %proto, "a stream was dropped: {e}");
                return;
            }
            Err(_) => {
                tracing::debug!(%peer, %proto, "a stream was dropped: no Hello in time");
                return;
            }
        }
    };
    shared.heard(&peer, &theirs);
    if proto != Proto::Http
        && let Err(refusal) = shared.judge(&peer, &theirs, proto)
    {
        shared.log_refusal(&peer, &refusal, true);
        answer(&shared, &mut stream, Some(refusal)).await;
        return;
    }
    serve(&shared, stream, theirs).await;
}

async fn serve(shared: &Shared, mut stream: PeerStream, theirs: Hello) {
    let proto = stream.proto;
    let protocol = || proto.name().to_owned();
    let server = shared.acceptors.lock().get(&proto).cloned();
    let Some(server) = server.filter(|s| !s.is_closed()) else {
        let refusal = Refusal::NotServed {
            protocol: protocol(),
        };
        answer(shared, &mut stream, Some(refusal)).await;
        return;
    };
    let Ok(Ok(room)) = timeout(SERVE_DEADLINE, server.reserve()).await else {
        let refusal = Refusal::Busy {
            protocol: protocol(),
        };
        answer(shared, &mut stream, Some(refusal)).await;
        return;
    };
    if answer(shared, &mut stream, None).await {
        room.send(stream.introduced(theirs));
    }
}

/// Answers a `Hello`; false when that failed. HTTP streams are simply dropped when refused.
async fn answer(shared: &Shared, stream: &mut PeerStream, refusal: Option<Refusal>) -> bool {
    if stream.proto == Proto::Http {
        return refusal.is_none();
    }
    let refused = refusal.is_some();
    let answer = Answer {
        hello: shared.hello(),
        refusal,
    };
    let sent = stream.send(codec::encode(&answer)).await;
    if refused {
        // Ended properly, so that the answer arrives before the end of the stream.
        let _ = stream.finish().await;
    }
    sent.is_ok()
}
