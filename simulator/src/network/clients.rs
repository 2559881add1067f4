//! The client library's connector over simulated pipes: HTTP over byte streams, and over libp2p.

use std::{io, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use ipfs_cluster_ctl::client::{ByteStream, Connector, Dialer, Target};
use ipfs_cluster_node::env::{Addr, ConnectDoor as _, TransportDoor as _};
use tokio::sync::OnceCell;

use super::{Pipes, Sockets};
use crate::world::{HostId, World};

/// Sockets of a client's machine.
#[derive(Debug, Clone)]
pub struct ClientSockets {
    sockets: Sockets,
    pipes: Pipes,
    secret: [u8; 32],
    /// Made at the first libp2p target, on the machine's own runtime.
    dialer: Arc<OnceCell<Dialer>>,
}

impl ClientSockets {
    /// Of a machine; the secret is the cluster's.
    #[must_use]
    pub fn new(world: World, host: HostId, secret: [u8; 32]) -> Self {
        Self {
            sockets: Sockets {
                world: world.clone(),
                host,
            },
            pipes: Pipes { world, host },
            secret,
            dialer: Arc::default(),
        }
    }

    async fn open(self, target: Target) -> io::Result<ByteStream> {
        let address = match target {
            Target::Tcp { host, port } => Addr::Tcp(host, port),
            Target::Unix(path) => Addr::Unix(path),
            Target::DnsAddr(name) => {
                let text = format!("{name}: there are no DNS records in here");
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
            Target::Libp2p { address, peer } => {
                let dialer = self.dialer.get_or_try_init(|| async {
                    Dialer::over(self.pipes.pipes()?, Some(self.secret))
                });
                return dialer.await?.open(address, &peer).await;
            }
        };
        let stream = self.sockets.connect(address).await?;
        Ok(Box::new(stream))
    }
}

impl Connector for ClientSockets {
    fn connect(&self, target: &Target) -> BoxFuture<'static, io::Result<ByteStream>> {
        self.clone().open(target.clone()).boxed()
    }
}
