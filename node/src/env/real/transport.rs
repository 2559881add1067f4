//! TCP with names resolved, as libp2p wants it.

use std::io;

use libp2p::{
    Transport as _,
    core::transport::Boxed,
    dns::{ResolverConfig, ResolverOpts},
    tcp,
};

use crate::env::{RawPipe, TransportDoor};

/// Serves `/ip4|ip6|dns|dns4|dns6|dnsaddr/…/tcp/…`.
#[derive(Debug)]
pub(super) struct Tcp;

impl TransportDoor for Tcp {
    fn pipes(&self) -> io::Result<Boxed<RawPipe>> {
        // Raft's small frames must not wait for Nagle.
        let config = || tcp::Config::default().nodelay(true);
        let transport = libp2p::dns::tokio::Transport::system(tcp::tokio::Transport::new(config()))
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "no DNS configuration: only names of the hosts file resolve");
                libp2p::dns::tokio::Transport::custom(
                    tcp::tokio::Transport::new(config()),
                    ResolverConfig::default(),
                    ResolverOpts::default(),
                )
            });
        Ok(transport.map(|pipe, _| Box::new(pipe) as RawPipe).boxed())
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, time::Duration};

    use futures::{AsyncReadExt as _, AsyncWriteExt as _, future::poll_fn};
    use libp2p::{
        Multiaddr, Transport as _,
        core::{
            Endpoint,
            transport::{DialOpts, ListenerId, PortUse, TransportEvent},
        },
    };

    use super::*;

    async fn next(
        t: &mut Boxed<RawPipe>,
    ) -> TransportEvent<<Boxed<RawPipe> as libp2p::Transport>::ListenerUpgrade, io::Error> {
        poll_fn(|cx| Pin::new(&mut *t).poll(cx)).await
    }

    #[tokio::test]
    async fn bytes_pass_between_a_dialer_and_a_listener() {
        let mut server = Tcp.pipes().unwrap();
        let any: Multiaddr = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
        server.listen_on(ListenerId::next(), any).unwrap();
        let TransportEvent::NewAddress { listen_addr, .. } = next(&mut server).await else {
            panic!("no address");
        };
        let mut client = Tcp.pipes().unwrap();
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        let dial = client.dial(listen_addr, options).unwrap();
        let accept = async {
            let TransportEvent::Incoming { upgrade, .. } = next(&mut server).await else {
                panic!("no connection");
            };
            upgrade.await
        };
        let both = async { tokio::join!(dial, accept) };
        let (near, far) = tokio::time::timeout(Duration::from_secs(10), both)
            .await
            .unwrap();
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        near.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
    }
}
