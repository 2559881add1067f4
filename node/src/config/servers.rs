//! The HTTP servers' sections.

use std::{collections::BTreeMap, path::Path};

use super::{
    checked::served,
    error::ConfigError,
    identity::Identity,
    secret::Secret,
    section::Section,
    types::{ApiHost, Cors, HttpServer, Proxy, Tls},
};
use crate::env::Addr;

/// Smallest room for the head of a request.
const HEADER_BYTES_MIN: i64 = 4096;

/// The REST API or the Pinning Service API.
pub(super) fn http(
    s: &Section<'_>,
    folder: &Path,
    warnings: &mut Vec<String>,
) -> Result<HttpServer, ConfigError> {
    Ok(HttpServer {
        listen: s.addrs("http_listen_multiaddress")?,
        tls: tls(s, folder)?,
        host: host(s, warnings)?,
        read_timeout: s.duration("read_timeout")?,
        read_header_timeout: s.interval("read_header_timeout")?,
        write_timeout: s.duration("write_timeout")?,
        idle_timeout: s.interval("idle_timeout")?,
        max_header_bytes: s.int("max_header_bytes", HEADER_BYTES_MIN)?,
        basic_auth: s.map("basic_auth_credentials")?.map(|users| {
            let hidden = users.into_iter().map(|(u, p)| (u, Secret::new(p)));
            hidden.collect::<BTreeMap<_, _>>()
        }),
        log_file: s.path("http_log_file", folder)?,
        headers: s.lists("headers")?,
        cors: Cors {
            allowed_origins: s.texts("cors_allowed_origins")?,
            allowed_methods: s.texts("cors_allowed_methods")?,
            allowed_headers: s.texts("cors_allowed_headers")?,
            exposed_headers: s.texts("cors_exposed_headers")?,
            allow_credentials: s.bool("cors_allow_credentials")?,
            max_age: s.duration("cors_max_age")?,
        },
    })
}

/// The API's own libp2p host, if it has one: all three keys or none.
fn host(s: &Section<'_>, warnings: &mut Vec<String>) -> Result<Option<ApiHost>, ConfigError> {
    const LISTEN: &str = "libp2p_listen_multiaddress";
    let (id, key) = (s.text("id")?, s.secret("private_key")?);
    let listens = !s.texts(LISTEN)?.is_empty();
    let missing = match (listens, &id, &key) {
        (false, id, None) if id.is_empty() => return Ok(None),
        (false, ..) => LISTEN,
        (true, id, _) if id.is_empty() => "id",
        (true, _, None) => "private_key",
        (true, _, Some(key)) => {
            let origin = s.path_of("id");
            let identity = Identity::check(&id, key.expose(), &origin)?;
            let listen = served(s, LISTEN, warnings)?;
            return Ok(Some(ApiHost { listen, identity }));
        }
    };
    Err(s.refuse(
        missing,
        "a libp2p host of the API's own needs libp2p_listen_multiaddress, id and private_key (as \
         an identity.json has them), or none of the three",
    ))
}

/// Certificate and key, if there are any.
fn tls(s: &Section<'_>, folder: &Path) -> Result<Option<Tls>, ConfigError> {
    let files = (
        s.path("ssl_cert_file", folder)?,
        s.path("ssl_key_file", folder)?,
    );
    match files {
        (Some(certificates), Some(key)) => Ok(Some(Tls { certificates, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(s.refuse(
            "ssl_key_file",
            "TLS needs both ssl_cert_file and ssl_key_file: name the key too, or neither",
        )),
        (None, Some(_)) => Err(s.refuse(
            "ssl_cert_file",
            "TLS needs both ssl_cert_file and ssl_key_file: name the certificate too, or neither",
        )),
    }
}

/// The IPFS proxy.
pub(super) fn proxy(s: &Section<'_>, folder: &Path) -> Result<Proxy, ConfigError> {
    let (node, node_https) = (s.addr("node_multiaddress")?, s.bool("node_https")?);
    if node_https && matches!(node, Addr::Unix(_)) {
        return Err(s.refuse(
            "node_https",
            "write false: a node behind a unix socket is called over plain HTTP",
        ));
    }
    Ok(Proxy {
        listen: s.addrs("listen_multiaddress")?,
        node,
        node_https,
        read_timeout: s.duration("read_timeout")?,
        read_header_timeout: s.interval("read_header_timeout")?,
        write_timeout: s.duration("write_timeout")?,
        idle_timeout: s.interval("idle_timeout")?,
        max_header_bytes: s.int("max_header_bytes", HEADER_BYTES_MIN)?,
        log_file: s.path("log_file", folder)?,
        extract_headers: s.texts("extract_headers_extra")?,
        extract_headers_path: s.text("extract_headers_path")?,
        extract_headers_ttl: s.duration("extract_headers_ttl")?,
    })
}
