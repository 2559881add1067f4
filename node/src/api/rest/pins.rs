//! Pinning, unpinning, and what has become of it.

use futures::{StreamExt, stream as streams};
use http::StatusCode;
use ipfs_cluster_protocol::api::{
    error::parse_cid, options::PinOptions, pin::Pin, query::Query, status::StatusFilter,
};
use ipfs_cluster_protocol::limits;

use super::{Rest, Segment, caught_up, cid, local, now, object, stamped, unescape};
use crate::api::{
    backend::Committed,
    error::{bad_request, failed},
    headers::stamp,
    http::{
        reply::{self, Reply},
        stream,
    },
};

/// Of those, asked for at a time.
const CIDS_AT_ONCE: usize = 64;

pub(crate) async fn list(rest: Rest, query: Query) -> Reply {
    let seen = match caught_up(&rest, &query).await {
        Ok(seen) => seen,
        Err(reply) => return *reply,
    };
    let local = local(&query);
    let some = query.get("cids");
    let infos = if some.is_empty() {
        match StatusFilter::parse(query.get("filter")) {
            Ok(filter) => rest.backend.status_all(filter, local),
            Err(e) => return bad_request(e),
        }
    } else {
        let mut cids = Vec::new();
        for text in some.split(',') {
            match parse_cid(text) {
                Ok(_) if cids.len() == limits::PINS_CIDS_MAX => {
                    return bad_request(format_args!("more than {} cids", limits::PINS_CIDS_MAX));
                }
                Ok(cid) => cids.push(cid),
                Err(e) => return bad_request(format_args!("error decoding Cid: {e}")),
            }
        }
        let asked = streams::iter(cids).map(move |cid| {
            let backend = rest.backend.clone();
            async move { backend.status(cid, local).await }
        });
        asked.buffered(CIDS_AT_ONCE).boxed()
    };
    stamped(stream::lines(infos, failed).await, seen)
}

pub(crate) async fn get(rest: Rest, segment: Segment, query: Query) -> Reply {
    let cid = match cid(&segment) {
        Ok(cid) => cid,
        Err(reply) => return *reply,
    };
    let seen = match caught_up(&rest, &query).await {
        Ok(seen) => seen,
        Err(reply) => return *reply,
    };
    let info = rest.backend.status(cid, local(&query)).await;
    stamped(object(info), seen)
}

pub(crate) async fn pin(rest: Rest, segment: Segment, query: Query) -> Reply {
    let cid = match cid(&segment) {
        Ok(cid) => cid,
        Err(reply) => return *reply,
    };
    match PinOptions::from_query(&query, now()) {
        Ok(options) => committed(rest.backend.pin(cid, options).await, Pin::submitted),
        Err(e) => bad_request(e),
    }
}

pub(crate) async fn pin_path(rest: Rest, path: IpfsPath, query: Query) -> Reply {
    let path = match path.checked() {
        Ok(path) => path,
        Err(e) => return bad_request(format_args!("error parsing path: {e}")),
    };
    match PinOptions::from_query(&query, now()) {
        Ok(options) => committed(rest.backend.pin_path(path, options).await, Pin::submitted),
        Err(e) => bad_request(e),
    }
}

pub(crate) async fn unpin(rest: Rest, segment: Segment) -> Reply {
    match cid(&segment) {
        Ok(cid) => committed(rest.backend.unpin(cid).await, |pin| Pin::from(pin)),
        Err(reply) => *reply,
    }
}

pub(crate) async fn unpin_path(rest: Rest, path: IpfsPath) -> Reply {
    match path.checked() {
        Ok(path) => committed(rest.backend.unpin_path(path).await, |pin| Pin::from(pin)),
        Err(e) => bad_request(format_args!("error parsing path: {e}")),
    }
}

/// The pin that was written, and where in the log.
fn committed(
    result: Committed,
    shown: impl FnOnce(&ipfs_cluster_protocol::pin::Pin) -> Pin,
) -> Reply {
    match result {
        Ok((pin, commit)) => {
            let mut reply = reply::json(StatusCode::OK, &shown(&pin));
            stamp(&mut reply, commit);
            reply
        }
        Err(e) => failed(e),
    }
}

pub(crate) async fn recover(rest: Rest, segment: Segment, query: Query) -> Reply {
    match cid(&segment) {
        Ok(cid) => object(rest.backend.recover(cid, local(&query)).await),
        Err(reply) => *reply,
    }
}

pub(crate) async fn recover_all(rest: Rest, query: Query) -> Reply {
    stream::lines(rest.backend.recover_all(local(&query)), failed).await
}

pub(crate) async fn gc(rest: Rest, query: Query) -> Reply {
    object(rest.backend.repo_gc(local(&query)).await)
}

/// A path of IPFS as it came in a URL: namespace and rest, or the whole of it.
#[derive(Debug, Clone)]
pub(crate) struct IpfsPath(pub(crate) String);

/// A text that is no path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid path {path:?}: {why}")]
pub(crate) struct PathError {
    path: String,
    why: String,
}

impl IpfsPath {
    /// From the rest of a URL's path.
    pub(crate) fn from_url(namespace: &str, rest: &str) -> Self {
        // What has broken escapes is left as it is: it will not parse.
        let rest = unescape(rest).unwrap_or_else(|| rest.to_owned());
        Self(format!("/{namespace}/{rest}"))
    }

    /// The path, if its form is right: `/ipfs/CID…`, `/ipld/CID…` or `/ipns/NAME…`.
    pub(crate) fn checked(&self) -> Result<String, PathError> {
        let error = |why: &str| PathError {
            path: self.0.chars().take(256).collect(),
            why: why.to_owned(),
        };
        let mut parts = self.0.strip_prefix('/').unwrap_or_default().split('/');
        let (namespace, root) = (parts.next().unwrap_or_default(), parts.next());
        let root = match root {
            Some(root) if !root.is_empty() => root,
            _ => return Err(error("path does not have enough components")),
        };
        match namespace {
            "ipfs" | "ipld" => parse_cid(root)
                .map(drop)
                .map_err(|e| error(&e.to_string()))?,
            "ipns" => {}
            other => return Err(error(&format!("unknown namespace {other:?}"))),
        }
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_checked_before_anybody_is_asked() {
        let cid = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";
        let check = |path: &str| {
            IpfsPath(path.to_owned())
                .checked()
                .map_err(|e| e.to_string())
        };
        for good in [
            format!("/ipfs/{cid}"),
            format!("/ipfs/{cid}/a/b"),
            "/ipns/example.org".to_owned(),
        ] {
            assert_eq!(check(&good), Ok(good));
        }
        assert_eq!(
            check("/ipfs/abc").unwrap_err(),
            r#"invalid path "/ipfs/abc": invalid cid: selected encoding not supported"#
        );
        assert_eq!(
            check("abc").unwrap_err(),
            r#"invalid path "abc": path does not have enough components"#
        );
        assert!(check("/foo/bar").is_err());
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics(text in "[/a-zQ%0-9]{0,40}") {
            let _ = (IpfsPath(text.clone()).checked(), IpfsPath::from_url("ipfs", &text).checked());
        }
    }
}
