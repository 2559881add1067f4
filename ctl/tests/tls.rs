//! https: a certificate that is trusted, one that is not, and a server that does not speak it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::{net::TcpListener, sync::Arc};

use common::{Routes, Server, answer, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

fn routes() -> Routes {
    vec![(
        "GET /version ",
        "200 OK",
        "{\"version\":\"1.1.6\"}\n".to_owned(),
    )]
}

/// Serves over TLS until the test ends: the port, and the certificate in a file.
fn secured() -> (u16, tempfile::NamedTempFile) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let own = rcgen::generate_simple_self_signed(names).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file.as_file(), own.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::Pkcs8(own.key_pair.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    #[allow(clippy::disallowed_methods, reason = "a server beside the program")]
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    #[allow(clippy::disallowed_methods, reason = "a server beside the program")]
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve(listener, TlsAcceptor::from(Arc::new(config))));
    });
    (port, file)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust the certificate goes away here.
        let Ok(mut stream) = acceptor.accept(stream).await else {
            continue;
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                break;
            }
        }
        let answer = answer(&routes(), &String::from_utf8(head).unwrap());
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.shutdown().await;
    }
}

#[test]
fn a_certificate_must_be_trusted_unless_it_is_not_checked() {
    let (port, certificate) = secured();
    let authority = certificate.path().to_str().unwrap();
    for host in [
        format!("/ip4/127.0.0.1/tcp/{port}"),
        format!("/dns4/localhost/tcp/{port}"),
    ] {
        let https = |more: &[&str], vars: &[(&str, &str)]| {
            run(
                &[&["--host", &host, "--https"], more, &["version"]].concat(),
                vars,
            )
        };
        let unchecked = https(&["--no-check-certificate"], &[]);
        assert_eq!(
            (unchecked.code, unchecked.out.as_str()),
            (0, "1.1.6\n"),
            "{unchecked:?}"
        );
        let trusted = https(&[], &[("SSL_CERT_FILE", authority)]);
        assert_eq!(
            (trusted.code, trusted.out.as_str()),
            (0, "1.1.6\n"),
            "{trusted:?}"
        );
    }
    let (_, other) = secured();
    let vars = [("SSL_CERT_FILE", other.path().to_str().unwrap())];
    let host = format!("/ip4/127.0.0.1/tcp/{port}");
    let refused = run(&["--host", &host, "-s", "version"], &vars);
    assert_eq!(refused.code, 1);
    assert!(
        refused.out.contains("certificate is not trusted"),
        "{refused:?}"
    );
}

#[test]
fn credentials_alone_mean_https() {
    let (port, _certificate) = secured();
    let host = format!("/ip4/127.0.0.1/tcp/{port}");
    let args = [
        "--host",
        &host,
        "--no-check-certificate",
        "--basic-auth",
        "u:p",
        "version",
    ];
    let run = run(&args, &[]);
    assert_eq!((run.code, run.out.as_str()), (0, "1.1.6\n"), "{run:?}");
    assert!(run.err.contains("--force-http"), "{}", run.err);
}

#[test]
fn a_server_that_speaks_plain_http_is_named() {
    let server = Server::start(routes());
    let run = server.run(&["--https", "--no-check-certificate", "version"]);
    assert_eq!(run.code, 1);
    assert!(
        run.out.contains("the server does not speak https"),
        "{run:?}"
    );
}
