//! A TCP relay in front of a peer, which can swallow everything.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::{AbortHandle, JoinSet},
};

/// Passes connections on to one target while it exists.
pub(super) struct Relay {
    pub(super) address: Multiaddr,
    pub(super) passed: Arc<AtomicUsize>,
    swallow: Arc<AtomicBool>,
    target: Arc<std::sync::Mutex<Option<u16>>>,
    task: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The TCP port of an address.
pub(super) fn port(address: &Multiaddr) -> u16 {
    address
        .iter()
        .find_map(|p| match p {
            Protocol::Tcp(port) => Some(port),
            _ => None,
        })
        .unwrap()
}

impl Relay {
    #[allow(clippy::disallowed_methods, reason = "a test's own sockets")]
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let target = Arc::new(std::sync::Mutex::new(None));
        let (swallow, passed) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (to, dark, count) = (target.clone(), swallow.clone(), passed.clone());
        let task = tokio::spawn(async move {
            let mut pipes = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Some(port) = *to.lock().unwrap() else {
                    continue;
                };
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                count.fetch_add(1, Ordering::SeqCst);
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                pipes.spawn(pump(near_read, far_write, dark.clone()));
                pipes.spawn(pump(far_read, near_write, dark.clone()));
            }
        });
        Self {
            address: format!("/ip4/127.0.0.1/tcp/{here}").parse().unwrap(),
            passed,
            swallow,
            target,
            task: task.abort_handle(),
        }
    }

    pub(super) fn lead_to(&self, port: u16) {
        *self.target.lock().unwrap() = Some(port);
    }

    pub(super) fn swallow(&self, everything: bool) {
        self.swallow.store(everything, Ordering::SeqCst);
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, dark: Arc<AtomicBool>) {
    let mut buf = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buf).await {
        if !dark.load(Ordering::SeqCst) && to.write_all(&buf[..n]).await.is_err() {
            return;
        }
    }
    if dark.load(Ordering::SeqCst) {
        // Swallow the end of the connection as well.
        std::future::pending::<()>().await;
    }
}
