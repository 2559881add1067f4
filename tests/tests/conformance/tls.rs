//! TLS as clients speak it.

use std::{io, path::PathBuf, sync::Arc};

use ipfs_cluster_ctl::client::any_certificate;
use ipfs_cluster_tests::{Cluster, Setup, http};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig,
        crypto::ring,
        pki_types::ServerName,
        version::{TLS12, TLS13},
    },
};

use crate::player::{Door, Player};

/// Which client connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// One that can do whatever the library can.
    Usual,
    /// The Go client over TLS 1.2: RSA suites and NIST groups alone.
    Go12,
    /// The Go client over TLS 1.3: NIST groups alone.
    Go13,
}

/// Connects to a port of this machine.
pub(crate) async fn connect(port: u16, client: Client) -> io::Result<TlsStream<TcpStream>> {
    let mut provider = ring::default_provider();
    if client != Client::Usual {
        let nist = [ring::kx_group::SECP256R1, ring::kx_group::SECP384R1];
        provider.kx_groups = nist.to_vec();
        provider.cipher_suites.retain(|suite| {
            let name = format!("{:?}", suite.suite());
            name.starts_with("TLS13") || name == "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
        });
    }
    let versions = match client {
        Client::Usual => vec![&TLS12, &TLS13],
        Client::Go12 => vec![&TLS12],
        Client::Go13 => vec![&TLS13],
    };
    let provider = Arc::new(provider);
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(any_certificate(provider))
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn secured(kind: &str) -> Setup {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    let file = |end: &str| folder.join(format!("{kind}.{end}")).display().to_string();
    Setup::of(1)
        .closed()
        .with("CLUSTER_RESTAPI_SSLCERTFILE", &file("crt"))
        .with("CLUSTER_RESTAPI_SSLKEYFILE", &file("key"))
}

fn tell(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(story);
}

#[test]
fn an_rsa_certificate_serves_every_client() {
    tell(async {
        let cluster = Cluster::start(secured("rsa")).await;
        let player = Player::new("rest-tls", Door::Tls, &cluster).await;
        player.finish(&cluster).await;
        for client in [Client::Usual, Client::Go12, Client::Go13] {
            let stream = connect(cluster.peers[0].rest_port(), client).await;
            let stream = stream.unwrap_or_else(|e| panic!("{client:?}: {e}"));
            let answer = http::send_over(stream, "GET", "/peers", "", b"").await;
            let answer = answer.unwrap();
            assert_eq!(
                answer.header("x-stream-error"),
                Some(""),
                "{client:?}: {answer:?}"
            );
        }
    });
}

#[test]
fn an_ecdsa_certificate_serves_the_go_client_over_tls_1_3_alone() {
    tell(async {
        let cluster = Cluster::start(secured("ecdsa")).await;
        let port = cluster.peers[0].rest_port();
        for client in [Client::Usual, Client::Go13] {
            let stream = connect(port, client).await.unwrap();
            let answer = http::send_over(stream, "GET", "/version", "", b"").await;
            assert_eq!(answer.unwrap().status, 200, "{client:?}");
        }
        assert!(connect(port, Client::Go12).await.is_err());
    });
}
