//! A Kubo on a machine of its own: its RPC, as recordings of Kubo show it, over an IPFS node that
//! really holds, fetches and serves blocks.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ipfs_cluster_node::{
    env::{Addr, ByteStream, Env},
    ipfs::embedded::{self, Embedded},
};

use super::{NodeSlot, answer::Body, foreign, library::config, routes};
use crate::{host::Program, scenario::IpfsTrouble};

/// Port of the RPC.
pub const RPC_PORT: u16 = 5001;
/// What every answer of a slow node takes.
const SLOW: Duration = Duration::from_secs(3);

/// The program.
#[derive(Debug, Clone)]
pub struct Kubo {
    /// Its node, and what is the matter with it.
    pub slot: NodeSlot,
}

impl Kubo {
    async fn run(self, env: Env) -> Result<(), String> {
        let node = embedded::start(config(), &env).await;
        let node = node.map_err(|e| e.to_string())?;
        foreign::pin(&node).await.map_err(|e| e.to_string())?;
        self.slot.put(Some(node.clone()));
        let address = Addr::Tcp("0.0.0.0".to_owned(), RPC_PORT);
        let listening = env.listen.listen(address).await;
        let mut listener = listening.map_err(|e| e.to_string())?;
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, node.clone(), self.slot.clone()));
            }
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn serve(stream: ByteStream, node: Arc<Embedded>, slot: NodeSlot) {
    let service = service_fn(move |request| {
        let (node, slot) = (node.clone(), slot.clone());
        async move { Ok::<_, Infallible>(respond(request, node, &slot).await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // What breaks is the client's to notice.
    let _ = connection.await;
}

async fn respond(
    request: Request<Incoming>,
    node: Arc<Embedded>,
    slot: &NodeSlot,
) -> Response<Body> {
    let trouble = slot.trouble();
    if trouble == IpfsTrouble::Slow {
        tokio::time::sleep(SLOW).await;
    }
    if trouble == IpfsTrouble::Corrupting {
        return super::answer::corrupt();
    }
    routes::respond(request, node, trouble).await
}

impl Program for Kubo {
    fn main(&mut self, env: Env) -> BoxFuture<'static, Result<(), String>> {
        self.clone().run(env).boxed()
    }

    fn forget(&mut self) {
        self.slot.put(None);
    }
}
