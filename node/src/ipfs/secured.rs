//! TLS around what the connect door opens: rustls on ring, HTTP/1.1 alone.

use std::{io, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use crate::env::{Addr, ByteStream, ConnectDoor};

/// Connects, then secures: the authorities that it trusts sign the certificate.
pub(crate) struct Secured {
    connect: Arc<dyn ConnectDoor>,
    connector: TlsConnector,
}

impl Secured {
    /// Trusts those that this machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    pub(crate) fn trusting_system(connect: Arc<dyn ConnectDoor>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(
                "this machine knows no certificate authority: install ca-certificates or name a \
                 file of them in SSL_CERT_FILE"
                    .to_owned(),
            );
        }
        Self::trusting(connect, roots)
    }

    /// Trusts these.
    pub(crate) fn trusting(
        connect: Arc<dyn ConnectDoor>,
        roots: RootCertStore,
    ) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            connect,
            connector: TlsConnector::from(Arc::new(config)),
        })
    }
}

impl ConnectDoor for Secured {
    fn connect(&self, addr: Addr) -> BoxFuture<'static, io::Result<ByteStream>> {
        let (opening, connector) = (self.connect.connect(addr.clone()), self.connector.clone());
        async move {
            let Addr::Tcp(host, _) = addr else {
                return Err(io::Error::other("https goes over TCP"));
            };
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let secured = connector.connect(name, opening.await?).await?;
            Ok(Box::new(secured) as ByteStream)
        }
        .boxed()
    }
}
