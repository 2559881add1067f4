//! A configuration that lies at an HTTP address: `service.json` holds `{"source": "https://…"}`,
//! and the address is asked at every start.

use std::{path::Path, sync::Arc, time::Duration};

use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use ipfs_cluster_protocol::limits;
use serde_json::{Map, Value};

use super::{error::ConfigError, init};
use crate::{
    env::{Addr, ConnectDoor, Disk},
    ipfs::{
        http::{HttpClient, empty},
        secured::Secured,
    },
};

/// Key of the address.
pub(super) const KEY: &str = "source";
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The address that the folder's configuration refers to, if it does.
pub fn source(folder: &Path, disk: &dyn Disk) -> Result<Option<String>, ConfigError> {
    let path = folder.join(init::FILE);
    let bytes = disk.read(&path, limits::CONFIG_BYTES_MAX);
    let bytes = bytes.map_err(|source| ConfigError::Open {
        path: path.clone(),
        source,
    })?;
    // What is no JSON object is refused with its place when it is read in full.
    let root: Map<String, Value> = serde_json::from_slice(&bytes).unwrap_or_default();
    match root.get(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(url)) if url.is_empty() => Ok(None),
        Some(Value::String(url)) => Ok(Some(url.clone())),
        Some(other) => Err(ConfigError::Value {
            key: KEY.to_owned(),
            value: other.to_string(),
            remedy: "write the address as a text, such as \"https://example.org/service.json\""
                .to_owned(),
        }),
    }
}

/// Whether a configuration could be fetched from there, as far as the text tells.
pub(super) fn check(url: &str) -> Result<(), ConfigError> {
    let place = Place::parse(url).map_err(|why| ConfigError::Source {
        url: url.to_owned(),
        why,
    });
    place.map(drop)
}

/// Fetches a configuration. Redirects are followed.
pub async fn fetch(connect: &Arc<dyn ConnectDoor>, url: &str) -> Result<Vec<u8>, ConfigError> {
    let failed = |why: String| ConfigError::Source {
        url: url.to_owned(),
        why,
    };
    let mut place = Place::parse(url).map_err(failed)?;
    for _ in 0..limits::CONFIG_REDIRECTS_MAX {
        match place.get(connect).await.map_err(failed)? {
            Fetched::Whole(bytes) => return Ok(bytes),
            Fetched::Elsewhere(next) => place = place.follow(&next).map_err(failed)?,
        }
    }
    Err(failed("it leads from address to address".to_owned()))
}

/// Where a document lies, or a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    secure: bool,
    host: String,
    port: Option<u16>,
    path: String,
}

/// What an address answered.
enum Fetched {
    Whole(Vec<u8>),
    Elsewhere(String),
}

impl Place {
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let remedy = "write an address that begins with http:// or https://";
        let uri: Uri = url.parse().map_err(|e| format!("{e}: {remedy}"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(remedy.to_owned()),
        };
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(format!("it names no host: {remedy}"));
        }
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16(),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }

    /// Where a redirect leads: an address, or a path on the same host.
    fn follow(&self, next: &str) -> Result<Self, String> {
        let next_place = match next.strip_prefix('/') {
            Some(_) => Self {
                path: next.to_owned(),
                ..self.clone()
            },
            None => Self::parse(next).map_err(|e| format!("redirected to {next:?}: {e}"))?,
        };
        if self.secure && !next_place.secure {
            return Err(format!("redirected from https to {next:?}"));
        }
        Ok(next_place)
    }

    fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// A client of the server there.
    pub(crate) fn client(&self, connect: &Arc<dyn ConnectDoor>) -> Result<HttpClient, String> {
        let port = self.port.unwrap_or(if self.secure { 443 } else { 80 });
        let connect = if self.secure {
            Arc::new(Secured::trusting_system(connect.clone())?)
        } else {
            connect.clone()
        };
        Ok(HttpClient::new(connect, Addr::Tcp(self.host.clone(), port)))
    }

    async fn get(&self, connect: &Arc<dyn ConnectDoor>) -> Result<Fetched, String> {
        let client = self.client(connect)?;
        let host = HeaderValue::from_str(&self.authority()).map_err(|e| e.to_string())?;
        let request = Request::get(&self.path)
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json")
            .body(empty())
            .map_err(|e| e.to_string())?;
        let answer = client.request(request, ANSWER_MAX).await;
        let answer = answer.map_err(|e| e.to_string())?;
        let status = answer.status();
        if status.is_redirection() {
            let place = answer.headers().get(header::LOCATION);
            let place = place.and_then(|v| v.to_str().ok());
            let place = place.ok_or_else(|| format!("it answered {status} without a place"))?;
            return Ok(Fetched::Elsewhere(place.to_owned()));
        }
        if status != StatusCode::OK {
            return Err(format!("it answered {status}"));
        }
        let most = usize::try_from(limits::CONFIG_BYTES_MAX).unwrap_or(usize::MAX);
        let body = Limited::new(answer.into_body(), most).collect();
        let body = tokio::time::timeout(ANSWER_MAX, body).await;
        let body = body.map_err(|_| format!("no whole answer within {ANSWER_MAX:?}"))?;
        let body = body.map_err(|e| format!("{e} (at most {most} bytes are read)"))?;
        Ok(Fetched::Whole(body.to_bytes().into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_redirects_followed() {
        let place = Place::parse("https://a.example/x/service.json?y=1").unwrap();
        assert_eq!(place.authority(), "a.example");
        assert_eq!(place.path, "/x/service.json?y=1");
        assert_eq!(place.follow("/z").unwrap().path, "/z");
        let other = place.follow("https://[::1]:8443").unwrap();
        assert_eq!(
            (other.authority().as_str(), other.path.as_str()),
            ("[::1]:8443", "/")
        );
        assert!(place.follow("http://a.example/").is_err());
        for url in ["", "a.example/x", "ftp://a/x", "http://", "/x"] {
            let error = Place::parse(url).unwrap_err();
            assert!(
                error.contains("http:// or https://") || error.contains("empty"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(url in ".{0,60}", next in ".{0,60}") {
            if let Ok(place) = Place::parse(&url) {
                let _ = (place.authority(), place.follow(&next));
            }
            let _ = Place::parse(&format!("http://{url}"));
        }
    }
}
