//! A read-only gateway: `GET /ipfs/CID/…` for browsers (files, folders, ranges) and for those who
//! check what they get (`raw` blocks, `car` archives). After the HTTP gateway specifications of
//! `specs.ipfs.tech`: path gateway, trustless gateway.
//!
//! [`asked`] reads the request, [`way`] finds what it asks for, [`folder`] lists folders; this file
//! answers. [`server`] serves it on listeners of its own, [`subdomain`] under a host name per root.

mod asked;
mod codecs;
mod folder;
mod server;
mod subdomain;
#[cfg(test)]
mod tests;
mod way;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use ipfs_cluster_protocol::{
    api::content::{ContentEntry, ContentKind},
    content::{DAG_PB, RAW, car, hash::inlined, list::describe, path::ContentPath},
    id::Cid,
};

pub use self::server::{GatewayConfig, serve_gateway};
use self::{
    asked::{Asked, Format, Scope},
    codecs::Codec,
};
use super::http::reply::{self, BoxError, OutBody, Reply};
use crate::ipfs::{IpfsError, IpfsStream, SharedIpfs, read, tar, walk};

/// What a CID names never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=29030400, immutable");
/// A list of a folder is ours, and may look otherwise one day.
const LISTED: HeaderValue =
    HeaderValue::from_static("public, max-age=604800, stale-while-revalidate=2678400");

/// What pages of other sites may do and read: what anybody may.
const CORS: [(HeaderName, &str); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Content-Type, Range, User-Agent, X-Requested-With",
    ),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        "Content-Length, Content-Range, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, \
         X-Stream-Output",
    ),
];

/// Why there is nothing to show.
#[derive(Debug)]
enum Fault {
    Ipfs(IpfsError),
    /// With this status and text.
    Answered(StatusCode, String),
}

impl From<IpfsError> for Fault {
    fn from(error: IpfsError) -> Self {
        Self::Ipfs(error)
    }
}

/// What a browser does with an answer, and the name it has.
enum Named {
    Shown(String),
    Saved(String),
}

/// An answer on its way.
struct Answer {
    kind: HeaderValue,
    etag: String,
    cache: HeaderValue,
    named: Option<Named>,
    /// Bytes in all, where known.
    len: Option<u64>,
    body: IpfsStream<Bytes>,
}

/// The gateway's answer.
pub(crate) async fn answer<B>(node: &SharedIpfs, request: &Request<B>) -> Reply {
    let mut reply = match *request.method() {
        Method::GET | Method::HEAD => shown(node, request).await,
        Method::OPTIONS => {
            let mut reply = Reply::default();
            *reply.status_mut() = StatusCode::NO_CONTENT;
            reply
        }
        _ => plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET, HEAD and OPTIONS\n",
        ),
    };
    for (name, value) in CORS {
        reply
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    if request.method() == Method::HEAD {
        reply = reply::without_body(reply);
    }
    reply
}

async fn shown<B>(node: &SharedIpfs, request: &Request<B>) -> Reply {
    if let Some(redirect) = asked::by_uri(request.uri()) {
        return redirect;
    }
    let asked = match Asked::read(request) {
        Ok(asked) => asked,
        Err(why) => return plain(StatusCode::BAD_REQUEST, &format!("{why}\n")),
    };
    let mut reply = match respond(node, &asked, request.headers()).await {
        Ok(reply) => reply,
        Err(Fault::Ipfs(error)) => plain(status(&error), &format!("{error}\n")),
        Err(Fault::Answered(status, text)) => plain(status, &format!("{text}\n")),
    };
    if let Ok(path) = HeaderValue::from_str(request.uri().path()) {
        reply.headers_mut().insert("x-ipfs-path", path);
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

async fn respond(node: &SharedIpfs, asked: &Asked, headers: &HeaderMap) -> Result<Reply, Fault> {
    let roots = way::roots(node, asked).await?;
    let cid = *roots.last().unwrap_or(&asked.path.root);
    let etag = match asked.format {
        Format::UnixFs => format!("\"{cid}\""),
        Format::Raw => format!("\"{cid}.raw\""),
        Format::Codec(codec) => format!("\"{cid}.{}\"", codec.name),
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
            Format::Codec(codec) => coded(node, asked, (cid, codec), headers).await?,
            Format::Raw => raw(node, asked, cid, etag).await?,
            Format::Car => archive(node, asked, &roots, etag).await?,
            Format::Tar => {
                let path = asked.path_text();
                let mut answer = Answer::new("application/x-tar", etag, None);
                answer.named = Some(Named::Saved(asked.save_as(&cid, "tar")));
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
        return Ok(other(asked, cid, block));
    };
    let entry = ContentEntry::new(asked.file_name(), cid, description);
    match entry.kind {
        ContentKind::File => file(node, asked, &entry, (cid, cid)).await,
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
                return file(node, asked, &index, (index_cid, cid)).await;
            }
            folder::page(node, asked, cid, headers).await
        }
    }
}

/// A file; a page that stands for its folder goes by the folder's name.
async fn file(
    node: &SharedIpfs,
    asked: &Asked,
    entry: &ContentEntry,
    (cid, known_as): (Cid, Cid),
) -> Result<Reply, IpfsError> {
    let kind = mime_guess::from_path(&entry.name).first_or_octet_stream();
    let kind = match (asked.format, kind.essence_str()) {
        (Format::Codec(codec), _) => codec.media_type.to_owned(),
        (_, text) if text.starts_with("text/") => format!("{text}; charset=utf-8"),
        (_, other) => other.to_owned(),
    };
    let mut answer = Answer::new(&kind, format!("\"{known_as}\""), Some(entry.size));
    answer.named = match (asked.download, asked.is_named()) {
        (true, _) => Some(Named::Saved(entry.name.clone())),
        (false, true) => Some(Named::Shown(entry.name.clone())),
        (false, false) => None,
    };
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

/// A block of a codec that was asked for by name. None is made into another.
async fn coded(
    node: &SharedIpfs,
    asked: &Asked,
    (cid, codec): (Cid, &Codec),
    headers: &HeaderMap,
) -> Result<Reply, Fault> {
    let code = cid.0.codec();
    if codec.takes(code) {
        let block = node.block_get(cid).await?;
        return Ok(data(asked, (cid, codec), block));
    }
    if codec.takes_files() && [DAG_PB, RAW].contains(&code) {
        return Ok(unixfs(node, asked, cid, headers).await?);
    }
    let text = format!(
        "{cid} is no {}, and is not made into one: ask for it as it is, or with format=raw",
        codec.name
    );
    Err(Fault::Answered(StatusCode::NOT_ACCEPTABLE, text))
}

/// A block that is neither bytes nor UnixFS, as it is.
fn other(asked: &Asked, cid: Cid, block: Bytes) -> Reply {
    if let Some(codec) = Codec::by_code(cid.0.codec()) {
        return data(asked, (cid, codec), block);
    }
    let kind = match cid.0.codec() {
        DAG_PB | RAW => "application/vnd.ipld.raw",
        _ => "application/octet-stream",
    };
    let answer = Answer::new(kind, format!("\"{cid}\""), Some(block.len() as u64));
    answer.of_bytes(asked, block)
}

fn data(asked: &Asked, (cid, codec): (Cid, &Codec), block: Bytes) -> Reply {
    let etag = match asked.format {
        Format::Codec(_) => format!("\"{cid}.{}\"", codec.name),
        _ => format!("\"{cid}\""),
    };
    let mut answer = Answer::new(codec.media_type, etag, Some(block.len() as u64));
    let name = asked.save_as(&cid, codec.ending);
    answer.named = Some(match codec.is_text && !asked.download {
        true => Named::Shown(name),
        false => Named::Saved(name),
    });
    answer.of_bytes(asked, block)
}

async fn raw(node: &SharedIpfs, asked: &Asked, cid: Cid, etag: String) -> Result<Reply, IpfsError> {
    let block = node.block_get(cid).await?;
    let mut answer = Answer::new("application/vnd.ipld.raw", etag, Some(block.len() as u64));
    answer.named = Some(Named::Saved(asked.save_as(&cid, "bin")));
    Ok(answer.of_bytes(asked, block))
}

/// The blocks on the way, then what the scope takes of the last one.
async fn archive(
    node: &SharedIpfs,
    asked: &Asked,
    roots: &[Cid],
    etag: String,
) -> Result<Reply, IpfsError> {
    let last = roots.last().copied().unwrap_or(asked.path.root);
    let header = car::header(&[last]);
    // A sharded folder has more blocks on the way than its root.
    let path = walk::path_blocks(node, asked.path.clone());
    let bytes = match asked.bytes {
        // Only an end that is counted from needs to be known.
        Some((from, to)) if from < 0 || to.is_some_and(|to| to < 0) => {
            let size = read::stat(node, &format!("/ipfs/{last}")).await?.size;
            Some(asked::from_start((from, to), size))
        }
        bytes => bytes.map(|bytes| asked::from_start(bytes, 0)),
    };
    let blocks = match asked.scope {
        Scope::Block => walk::block(node, last),
        Scope::Entity => walk::entity(node, last, bytes),
        Scope::All => walk::blocks(node, last, !asked.repeats),
    };
    // A name that carries its block needs none.
    let sections = path
        .chain(blocks)
        .try_filter(|(cid, _)| std::future::ready(inlined(cid).is_none()))
        .map_ok(|(cid, block)| Bytes::from(car::section(&cid, &block)));
    let dups = if asked.repeats { "y" } else { "n" };
    let kind = format!("application/vnd.ipld.car; version=1; order=dfs; dups={dups}");
    let mut answer = Answer::new(&kind, etag, None);
    answer.named = Some(Named::Saved(asked.save_as(&last, "car")));
    answer.body = stream::iter([Ok(header.into())]).chain(sections).boxed();
    Ok(answer.whole())
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
            named: None,
            len,
            body: stream::empty().boxed(),
        }
    }

    /// A block, or the part of it that is asked for.
    fn of_bytes(mut self, asked: &Asked, block: Bytes) -> Reply {
        let size = block.len() as u64;
        match asked.range.map(|range| range.of(size)) {
            None => {
                self.body = stream::iter([Ok(block)]).boxed();
                self.whole()
            }
            Some(Some((from, len))) => {
                let (start, end) = (from as usize, (from + len) as usize);
                self.body = stream::iter([Ok(block.slice(start..end))]).boxed();
                self.part(from, len, size)
            }
            Some(None) => unsatisfiable(size),
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
        match &self.named {
            None => {}
            Some(Named::Shown(name)) => {
                set(header::CONTENT_DISPOSITION, disposition("inline", name));
            }
            Some(Named::Saved(name)) => {
                set(header::CONTENT_DISPOSITION, disposition("attachment", name));
                set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
            }
        }
        reply
    }
}

/// The name as old clients read it, and as it is.
fn disposition(what: &str, name: &str) -> String {
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\');
    let ascii: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let escaped = ipfs_cluster_protocol::api::query::escape(name).replace('+', "%20");
    format!("{what}; filename=\"{ascii}\"; filename*=UTF-8''{escaped}")
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
