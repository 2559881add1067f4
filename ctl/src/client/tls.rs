//! TLS to APIs over TCP.

use std::{io, sync::Arc};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::connect::{ByteStream, Duplex};

/// How a server's certificate is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// An authority that this machine trusts must have signed it. `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name others than the system's.
    Trusted,
    /// Any will do.
    AnyCertificate,
}

/// What makes TLS connections.
pub(super) fn connector(tls: Tls) -> io::Result<TlsConnector> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = match tls {
        Tls::Trusted => builder
            .with_root_certificates(authorities()?)
            .with_no_client_auth(),
        Tls::AnyCertificate => builder
            .dangerous()
            .with_custom_certificate_verifier(any_certificate(provider))
            .with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn authorities() -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "this machine knows no certificate authority: install ca-certificates or name a file \
             of them in SSL_CERT_FILE",
        ));
    }
    Ok(roots)
}

/// Secures a connection to a server of this name or IP address.
pub(super) async fn secure(
    connector: &TlsConnector,
    host: &str,
    stream: impl Duplex,
) -> io::Result<ByteStream> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    match connector.connect(name, stream).await {
        Ok(secured) => Ok(Box::new(secured)),
        Err(e) => Err(io::Error::new(e.kind(), why(&e.to_string()))),
    }
}

/// The error in words that say what to do, where it can be told.
fn why(text: &str) -> String {
    if text.contains("InvalidContentType") {
        return format!("the server does not speak https ({text})");
    }
    if text.contains("invalid peer certificate") {
        return format!("the server's certificate is not trusted ({text})");
    }
    text.to_owned()
}

/// Takes every certificate; that it is the server's own is still checked, by this provider.
#[must_use]
pub fn any_certificate(provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Any(provider))
}

/// See [`any_certificate`].
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, tokio_rustls::rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
