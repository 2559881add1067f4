//! What happens to requests that no route takes: redirects of unclean paths, 404 and 405.

use std::borrow::Cow;

use http::{HeaderValue, Method, StatusCode, Uri, header};

use super::http::reply::Reply;

/// Routes: method and path, in order. `{}` is one segment, `*` the rest of the path, at least one
/// segment.
pub(crate) type Table = &'static [(&'static str, &'static str)];

/// Those of the REST API.
pub(crate) const REST: Table = &[
    ("GET", "/id"),
    ("GET", "/version"),
    ("GET", "/peers"),
    ("POST", "/peers"),
    ("DELETE", "/peers/{}"),
    ("POST", "/add"),
    ("GET", "/allocations"),
    ("GET", "/allocations/{}"),
    ("GET", "/pins"),
    ("POST", "/pins/{}/recover"),
    ("POST", "/pins/recover"),
    ("GET", "/pins/{}"),
    ("POST", "/pins/{}"),
    ("POST", "/pins/ipfs/*"),
    ("POST", "/pins/ipns/*"),
    ("POST", "/pins/ipld/*"),
    ("DELETE", "/pins/{}"),
    ("DELETE", "/pins/ipfs/*"),
    ("DELETE", "/pins/ipns/*"),
    ("DELETE", "/pins/ipld/*"),
    ("POST", "/ipfs/gc"),
    ("GET", "/ipfs/stat"),
    ("GET", "/ipfs/ls"),
    ("GET", "/ipfs/cat"),
    ("GET", "/health/graph"),
    ("GET", "/health/alerts"),
    ("GET", "/health/bandwidth"),
    ("GET", "/monitor/metrics/{}"),
    ("GET", "/monitor/metrics"),
    ("POST", "/token"),
    ("GET", "/repair"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/health"),
];

/// Those of the Pinning Service API.
pub(crate) const PINNING: Table = &[
    ("GET", "/pins"),
    ("POST", "/pins"),
    ("GET", "/pins/{}"),
    ("POST", "/pins/{}"),
    ("DELETE", "/pins/{}"),
    ("POST", "/token"),
    ("GET", "/health"),
];

/// A redirect for a path that is not in its clean form, or that ends in a slash.
pub(crate) fn redirect(method: &Method, uri: &Uri) -> Option<Reply> {
    if let Some(cleaned) = cleaned(uri) {
        return Some(cleaned);
    }
    let trimmed = uri.path().strip_suffix('/').filter(|p| !p.is_empty())?;
    let html = method == Method::GET;
    Some(moved(StatusCode::TEMPORARY_REDIRECT, trimmed, uri, html))
}

/// A redirect for a path that is not in its clean form.
pub(crate) fn cleaned(uri: &Uri) -> Option<Reply> {
    let path = uri.path();
    let clean = clean(path);
    (clean != path).then(|| moved(StatusCode::MOVED_PERMANENTLY, &clean, uri, false))
}

/// Empty, `.` and `..` segments removed; a final slash stays.
fn clean(path: &str) -> Cow<'_, str> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let dirty = |s: &str| s.is_empty() || s == "." || s == "..";
    if path == "/" || (path.starts_with('/') && !inner.split('/').any(dirty)) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let slash = if path.ends_with('/') && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    Cow::Owned(format!("/{}{slash}", kept.join("/")))
}

fn moved(status: StatusCode, path: &str, uri: &Uri, html: bool) -> Reply {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut reply = if html {
        let text = format!(
            "<a href=\"{}\">Temporary Redirect</a>.\n\n",
            escape(&target)
        );
        let mut reply = Reply::default().map(|_| text.into());
        reply.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        reply
    } else {
        Reply::default()
    };
    *reply.status_mut() = status;
    if let Ok(target) = HeaderValue::from_str(&target) {
        reply.headers_mut().insert(header::LOCATION, target);
    }
    reply
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

/// Whether a request that no route took names a path that is there with another method. Not so
/// where some route further down has this method: it has always been like that.
pub(crate) fn exists(table: Table, method: &Method, path: &str) -> bool {
    let last_match = table
        .iter()
        .rposition(|(_, pattern)| matches(pattern, path));
    last_match.is_some_and(|at| table[at + 1..].iter().all(|(m, _)| *m != method.as_str()))
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for part in pattern.split('/') {
        match (part, segments.next()) {
            ("*", rest) => return rest.is_some_and(|s| !s.is_empty()),
            ("{}", Some(segment)) if !segment.is_empty() => {}
            (part, Some(segment)) if part == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_tests::fuzz;

    use super::*;

    #[test]
    fn unknown_paths_and_methods_are_told_apart_as_recorded() {
        for (method, path, status) in [
            ("GET", "/nonexistent", 404),
            ("PUT", "/id", 405),
            ("HEAD", "/id", 405),
            ("OPTIONS", "/id", 405),
            ("POST", "/version", 404),
            ("DELETE", "/pins", 404),
            ("DELETE", "/ipfs/gc", 405),
            ("GET", "/ipfs/gc", 404),
            ("POST", "/health", 405),
            ("GET", "/add", 404),
            ("GET", "/pins/ipfs/x", 404),
            ("POST", "/pins/foo/x", 404),
            ("GET", "/", 404),
        ] {
            let method: Method = method.parse().unwrap();
            let exists = exists(REST, &method, path);
            assert_eq!(exists, status == 405, "{method} {path}");
        }
    }

    #[test]
    fn unclean_paths_are_redirected() {
        let to = |method: Method, uri: &str| {
            let reply = redirect(&method, &uri.parse().unwrap())?;
            let location = reply.headers()[header::LOCATION]
                .to_str()
                .unwrap()
                .to_owned();
            Some((reply.status().as_u16(), location))
        };
        let found = |status, location: &str| Some((status, location.to_owned()));
        assert_eq!(to(Method::GET, "/peers/"), found(307, "/peers"));
        assert_eq!(
            to(Method::POST, "/pins/x/?name=x"),
            found(307, "/pins/x?name=x")
        );
        assert_eq!(to(Method::GET, "//id"), found(301, "/id"));
        assert_eq!(to(Method::GET, "/a/../id?x=1"), found(301, "/id?x=1"));
        assert_eq!(to(Method::GET, "/id"), None);
        assert_eq!(to(Method::GET, "/"), None);
    }

    #[test]
    fn changed_paths_never_panic_and_redirects_are_clean() {
        fuzz::feed(&fuzz::recorded(), |_, text| {
            let Ok(uri) = format!("/{text}").parse::<Uri>() else {
                return;
            };
            let _ = exists(REST, &Method::GET, uri.path());
            if let Some(reply) = redirect(&Method::GET, &uri) {
                let to = String::from_utf8_lossy(reply.headers()[header::LOCATION].as_bytes());
                let (path, _) = to.split_once('?').unwrap_or((&to, ""));
                assert_eq!(clean(path), path, "{text:?}");
            }
        });
    }

    proptest::proptest! {
        #[test]
        fn a_redirect_leads_to_a_clean_path(path in "/[a-c./]{0,12}") {
            if let Ok(uri) = path.parse::<Uri>()
                && let Some(reply) = redirect(&Method::GET, &uri)
            {
                let to = reply.headers()[header::LOCATION].to_str().unwrap().to_owned();
                let clean = clean(&to).into_owned();
                proptest::prop_assert_eq!(clean, to);
            }
        }
    }
}
