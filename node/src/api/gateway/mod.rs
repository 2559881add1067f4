//! A read-only gateway: `GET /ipfs/CID/…` for browsers (files, folders, ranges) and for those who
//! check what they get (`raw` blocks, `car` archives). After the HTTP gateway specifications of
//! `specs.ipfs.tech`: path gateway, trustless gateway.
//!
//! [`asked`] reads the request, [`folder`] lists folders; this file answers.

mod asked;
mod folder;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use ipfs_cluster_protocol::{
    api::content::{ContentEntry, ContentKind},
    content::{DAG_CBOR, DAG_JSON, DAG_PB, RAW, car, list::describe, path::ContentPath},
    id::Cid,
};

use super::http::reply::{self, BoxError, OutBody, Reply};
use crate::ipfs::{IpfsError, IpfsStream, SharedIpfs, read, tar, walk};
use asked::{Asked, Format, Scope};

/// What a CID names never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=29030400, immutable");
/// A list of a folder is ours, and may look otherwise one day.
const LISTED: HeaderValue =
    HeaderValue::from_static("public, max-age=604800, stale-while-revalidate=2678400");

/// An answer on its way.
struct Answer {
    kind: HeaderValue,
    etag: String,
    cache: HeaderValue,
    /// Name under which it is saved; none to show it.
    save_as: Option<String>,
    /// Bytes in all, where known.
    len: Option<u64>,
    body: IpfsStream<Bytes>,
}

/// The gateway's answer.
pub(crate) async fn answer<B>(node: &SharedIpfs, request: &Request<B>) -> Reply {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    let asked = match Asked::read(request) {
        Ok(asked) => asked,
        Err(why) => return plain(StatusCode::BAD_REQUEST, &format!("{why}\n")),
    };
    let mut reply = match respond(node, &asked, request.headers()).await {
        Ok(reply) => reply,
        Err(error) => plain(status(&error), &format!("{error}\n")),
    };
    if let Ok(path) = HeaderValue::from_str(request.uri().path()) {
        reply.headers_mut().insert("x-ipfs-path", path);
    }
    // Pages from anywhere may read what anybody may read.
    let anyone = HeaderValue::from_static("*");
    reply
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anyone);
    if request.method() == Method::HEAD {
        reply = reply::without_body(reply);
    }
    reply
}

fn status(error: &IpfsError) -> StatusCode {
    match error {
        IpfsError::Stalled(_) => StatusCode::GATEWAY_TIMEOUT,
        IpfsError::Unreachable(_) => StatusCode::BAD_GATEWAY,
        IpfsError::Unsupported(_) => StatusCode::NOT_ACCEPTABLE,
        IpfsError::Refused(text) if text.starts_with("no link named") => StatusCode::NOT_FOUND,
        IpfsError::Refused(_) | IpfsError::NotPinned => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn plain(status: StatusCode, text: &str) -> Reply {
    let mut reply = Reply::default().map(|_| text.to_owned().into());
    *reply.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    reply
}

async fn respond(
    node: &SharedIpfs,
    asked: &Asked,
    headers: &HeaderMap,
) -> Result<Reply, IpfsError> {
    // The roots of all folders on the way: what a cache has to check.
    let mut roots = vec![asked.path.root];
    for name in &asked.path.names {
        let folder = roots.last().unwrap_or(&asked.path.root);
        roots.push(node.resolve(format!("/ipfs/{folder}/{name}")).await?);
    }
    let cid = *roots.last().unwrap_or(&asked.path.root);
    let etag = match asked.format {
        Format::UnixFs => format!("\"{cid}\""),
        Format::Raw => format!("\"{cid}.raw\""),
        Format::Tar => format!("W/\"{cid}.x-tar\""),
        Format::Car => format!("W/\"{cid}.car.{:016x}\"", asked.variant()),
    };
    let mut reply = if asked::matches(headers, &etag) {
        let mut reply = Reply::default();
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        let value = HeaderValue::from_str(&etag);
        reply
            .headers_mut()
            .extend(value.ok().map(|v| (header::ETAG, v)));
        reply
    } else {
        match asked.format {
            Format::UnixFs => unixfs(node, asked, cid, headers).await?,
            Format::Raw => raw(node, asked, cid, etag).await?,
            Format::Car => archive(node, asked, &roots, etag),
            Format::Tar => {
                let path = asked.path_text();
                let mut answer = Answer::new("application/x-tar", etag, None);
                answer.save_as = Some(asked.save_as(&cid, "tar"));
                answer.body = tar::archive(node, &path).await?;
                answer.whole()
            }
        }
    };
    let roots: Vec<String> = roots.iter().map(Cid::to_string).collect();
    if let Ok(roots) = HeaderValue::from_str(&roots.join(",")) {
        reply.headers_mut().insert("x-ipfs-roots", roots);
    }
    Ok(reply)
}

/// A file, a folder as a page, or a symlink.
async fn unixfs(
    node: &SharedIpfs,
    asked: &Asked,
    cid: Cid,
    headers: &HeaderMap,
) -> Result<Reply, IpfsError> {
    let block = node.block_get(cid).await?;
    let Ok(description) = describe(&cid, &block) else {
        return Ok(other(cid, block).whole());
    };
    let entry = ContentEntry::new(asked.file_name(), cid, description);
    match entry.kind {
        ContentKind::File => file(node, asked, &entry, cid).await,
        ContentKind::Symlink => {
            let target = Bytes::from(entry.target.unwrap_or_default());
            let len = Some(target.len() as u64);
            let mut answer = Answer::new("inode/symlink", format!("\"{cid}\""), len);
            answer.body = stream::iter([Ok(target)]).boxed();
            Ok(answer.whole())
        }
        ContentKind::Directory => {
            if !asked.slash {
                return Ok(folder::redirect(asked));
            }
            if let Ok(index) = read::stat(node, &format!("/ipfs/{cid}/index.html")).await
                && let (ContentKind::File, Some(index_cid)) = (index.kind, index.cid)
            {
                return file(node, asked, &index, index_cid).await;
            }
            folder::page(node, asked, cid, headers).await
        }
    }
}

async fn file(
    node: &SharedIpfs,
    asked: &Asked,
    entry: &ContentEntry,
    cid: Cid,
) -> Result<Reply, IpfsError> {
    let kind = mime_guess::from_path(&entry.name).first_or_octet_stream();
    let kind = match kind.essence_str() {
        text if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        other => other.to_owned(),
    };
    let mut answer = Answer::new(&kind, format!("\"{cid}\""), Some(entry.size));
    answer.save_as = asked.download.then(|| entry.name.clone());
    match asked.range {
        None => {
            answer.body = node.cat(format!("/ipfs/{cid}")).await?;
            Ok(answer.whole())
        }
        Some(range) => match range.of(entry.size) {
            Some((from, len)) => {
                answer.body = read::range(node, cid, (from, len)).await?;
                Ok(answer.part(from, len, entry.size))
            }
            None => Ok(unsatisfiable(entry.size)),
        },
    }
}

/// A block that is neither bytes nor UnixFS, as it is.
fn other(cid: Cid, block: Bytes) -> Answer {
    let kind = match cid.0.codec() {
        DAG_CBOR => "application/vnd.ipld.dag-cbor",
        DAG_JSON => "application/vnd.ipld.dag-json",
        DAG_PB | RAW => "application/vnd.ipld.raw",
        _ => "application/octet-stream",
    };
    let len = Some(block.len() as u64);
    let mut answer = Answer::new(kind, format!("\"{cid}\""), len);
    answer.body = stream::iter([Ok(block)]).boxed();
    answer
}

async fn raw(node: &SharedIpfs, asked: &Asked, cid: Cid, etag: String) -> Result<Reply, IpfsError> {
    let block = node.block_get(cid).await?;
    let size = block.len() as u64;
    let mut answer = Answer::new("application/vnd.ipld.raw", etag, Some(size));
    answer.save_as = Some(asked.save_as(&cid, "bin"));
    let (part, reply) = match asked.range.map(|range| range.of(size)) {
        None => (block, None),
        Some(Some((from, len))) => {
            let end = (from + len) as usize;
            (block.slice(from as usize..end), Some((from, len)))
        }
        Some(None) => return Ok(unsatisfiable(size)),
    };
    answer.body = stream::iter([Ok(part)]).boxed();
    Ok(match reply {
        None => answer.whole(),
        Some((from, len)) => answer.part(from, len, size),
    })
}

/// The blocks on the way, then what the scope takes of the last one.
fn archive(node: &SharedIpfs, asked: &Asked, roots: &[Cid], etag: String) -> Reply {
    let last = roots.last().copied().unwrap_or(asked.path.root);
    let header = car::header(&[last]);
    // A sharded folder has more blocks on the way than its root.
    let path = walk::path_blocks(node, asked.path.clone());
    let blocks = match asked.scope {
        Scope::Block => walk::block(node, last),
        Scope::Entity => walk::entity(node, last, asked.bytes),
        Scope::All => walk::blocks(node, last),
    };
    let sections = path
        .chain(blocks)
        .map_ok(|(cid, block)| Bytes::from(car::section(&cid, &block)));
    let kind = "application/vnd.ipld.car; version=1; order=dfs; dups=n";
    let mut answer = Answer::new(kind, etag, None);
    answer.save_as = Some(asked.save_as(&last, "car"));
    answer.body = stream::iter([Ok(header.into())]).chain(sections).boxed();
    answer.whole()
}

fn unsatisfiable(size: u64) -> Reply {
    let text = "the range lies outside the content\n";
    let mut reply = plain(StatusCode::RANGE_NOT_SATISFIABLE, text);
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        reply.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    reply
}

impl Answer {
    fn new(kind: &str, etag: String, len: Option<u64>) -> Self {
        let octets = HeaderValue::from_static("application/octet-stream");
        Self {
            kind: HeaderValue::from_str(kind).unwrap_or(octets),
            etag,
            cache: IMMUTABLE,
            save_as: None,
            len,
            body: stream::empty().boxed(),
        }
    }

    fn whole(self) -> Reply {
        self.with(StatusCode::OK, None)
    }

    /// `len` bytes from `from` on, of so many.
    fn part(mut self, from: u64, len: u64, of: u64) -> Reply {
        self.len = Some(len);
        let last = (from + len).saturating_sub(1);
        self.with(
            StatusCode::PARTIAL_CONTENT,
            Some(format!("bytes {from}-{last}/{of}")),
        )
    }

    fn with(self, status: StatusCode, range: Option<String>) -> Reply {
        let mut reply = reply::with_body(status, body(self.body));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.kind);
        headers.insert(header::CACHE_CONTROL, self.cache);
        let mut set = |name: HeaderName, text: String| {
            headers.extend(HeaderValue::from_str(&text).ok().map(|value| (name, value)));
        };
        set(header::ETAG, self.etag);
        if let Some(len) = self.len {
            set(header::CONTENT_LENGTH, len.to_string());
            set(header::ACCEPT_RANGES, "bytes".to_owned());
        }
        if let Some(range) = range {
            set(header::CONTENT_RANGE, range);
        }
        if let Some(name) = self.save_as {
            let escaped = ipfs_cluster_protocol::api::query::escape(&name).replace('+', "%20");
            let text = format!("attachment; filename*=UTF-8''{escaped}");
            set(header::CONTENT_DISPOSITION, text);
            set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
        }
        reply
    }
}

/// An error in the middle breaks the connection, so that nobody takes a part for the whole.
fn body(pieces: IpfsStream<Bytes>) -> OutBody {
    let frames = pieces.map(|piece| piece.map(Frame::data).map_err(BoxError::from));
    StreamBody::new(frames).boxed_unsync()
}

/// What a path says, for messages and archives.
fn text(path: &ContentPath) -> String {
    let names = path.names.iter().map(String::as_str);
    let root = path.root.to_string();
    let parts: Vec<&str> = ["/ipfs", &root].into_iter().chain(names).collect();
    parts.join("/")
}
