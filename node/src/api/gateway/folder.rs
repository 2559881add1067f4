//! Folders as pages.

use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ipfs_cluster_protocol::{
    api::{
        content::{ContentEntry, ContentKind},
        query::escape,
    },
    id::Cid,
    limits::GATEWAY_ENTRIES_MAX,
};

use super::{Answer, LISTED, asked, asked::Asked};
use crate::{
    api::http::reply::Reply,
    ipfs::{IpfsError, SharedIpfs, read},
};

/// Rises when the pages look otherwise.
const LOOK: u32 = 2;

/// To the same path with a slash, so that the links of the page lead into the folder.
pub(super) fn redirect(asked: &Asked) -> Reply {
    let (path, query) = &asked.target;
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::MOVED_PERMANENTLY;
    // One slash, or the path would name another host.
    let location = format!("/{}/{query}", path.trim_matches('/'));
    let location = HeaderValue::from_str(&location);
    reply
        .headers_mut()
        .extend(location.ok().map(|l| (header::LOCATION, l)));
    reply
}

/// The entries of a folder.
pub(super) async fn page(
    node: &SharedIpfs,
    asked: &Asked,
    cid: Cid,
    headers: &HeaderMap,
) -> Result<Reply, IpfsError> {
    let etag = format!("\"DirIndex-{LOOK}_CID-{cid}\"");
    if asked::matches(headers, &etag) {
        let mut reply = Reply::default();
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(reply);
    }
    let entries = read::entries(node, &format!("/ipfs/{cid}")).await?;
    let mut entries: Vec<ContentEntry> = entries
        .take(GATEWAY_ENTRIES_MAX + 1)
        .map_ok(|(link, description)| {
            let name = String::from_utf8_lossy(&link.name).into_owned();
            ContentEntry::new(name, link.cid, description)
        })
        .try_collect()
        .await?;
    let more = entries.len() > GATEWAY_ENTRIES_MAX;
    entries.truncate(GATEWAY_ENTRIES_MAX);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let has_parent = !asked.path.names.is_empty();
    let page = render((&asked.path_text(), has_parent), &entries, more);
    let len = Some(page.len() as u64);
    let mut answer = Answer::new("text/html; charset=utf-8", etag, len);
    answer.cache = LISTED;
    answer.body = stream::iter([Ok(page.into())]).boxed();
    Ok(answer.whole())
}

fn render((path, has_parent): (&str, bool), entries: &[ContentEntry], more: bool) -> String {
    let title = html(path);
    let mut page = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head><body>\n\
         <h1>Index of {title}</h1>\n<table>\n"
    );
    if has_parent {
        page.push_str("<tr><td><a href=\"..\">..</a></td><td></td><td></td></tr>\n");
    }
    for entry in entries {
        let link = escape(&entry.name).replace('+', "%20");
        let slash = if entry.kind == ContentKind::Directory {
            "/"
        } else {
            ""
        };
        let size = match entry.kind {
            ContentKind::File => entry.size.to_string(),
            ContentKind::Directory | ContentKind::Symlink => String::new(),
        };
        let cid = entry.cid.map(|cid| cid.to_string()).unwrap_or_default();
        page.push_str(&format!(
            "<tr><td><a href=\"./{link}{slash}\">{}{slash}</a></td><td>{cid}</td><td>{size}</td></tr>\n",
            html(&entry.name)
        ));
    }
    page.push_str("</table>\n");
    if more {
        page.push_str("<p>There are more entries than are shown.</p>\n");
    }
    page.push_str("</body></html>\n");
    page
}

/// A text that cannot be taken for markup.
fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        let entry = ContentEntry {
            name: "<b a=\"'&?#".to_owned(),
            cid: None,
            kind: ContentKind::Directory,
            size: 0,
            target: None,
            mode: None,
            mtime: None,
            mtime_nsecs: None,
        };
        let page = render(("/ipfs/x/<i>", true), &[entry], true);
        assert!(!page.contains("<b a") && !page.contains("<i>"), "{page}");
        assert!(
            page.contains("href=\"./%3Cb%20a%3D%22%27%26%3F%23/\""),
            "{page}"
        );
        assert!(page.contains("more entries"));
    }
}
