//! `POST /add`: an upload becomes blocks, the blocks go to the peers that shall hold them, the root
//! is pinned.
//!
//! The answer begins before the upload is read and says how far it has come line by line; what goes
//! wrong after that is in the trailer.

use ipfs_cluster_protocol::limits;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ipfs_cluster_protocol::api::{
    add::{AddFormat, AddParams, AddedOutput},
    json,
    query::Query,
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Rest, archive,
    multipart::{Event, Multipart, MultipartError, boundary},
    now,
    upload::{AddError, Upload},
};
use crate::api::{
    backend::{AddTo, Commit},
    error::{bad_request, status},
    http::{
        reply::{self, Reply},
        stream::{self, OnSuccess},
    },
};

/// How long the client may send nothing.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the rest of an upload that has failed is read.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of a request as it comes.
pub(crate) type Body = BoxStream<'static, Result<Bytes, String>>;

/// What prints the results: the REST API and the IPFS proxy have different shapes.
pub(crate) type Printer = fn(&AddedOutput) -> serde_json::Result<Vec<u8>>;

/// warp's body as a stream of bytes.
pub(crate) fn body<S, B>(stream: S) -> Body
where
    S: Stream<Item = Result<B, warp::Error>> + Send + 'static,
    B: Buf + 'static,
{
    let bytes = |chunk: Result<B, warp::Error>| match chunk {
        Ok(mut buf) => Ok(buf.copy_to_bytes(buf.remaining())),
        Err(e) => Err(crate::ipfs::http::error_chain(&e)),
    };
    stream.map(bytes).boxed()
}

pub(crate) async fn add(rest: Rest, query: Query, headers: HeaderMap, body: Body) -> Reply {
    let params = match AddParams::from_query(&query, now()) {
        Ok(params) => params,
        Err(e) => return bad_request(e),
    };
    let mut parts = match Parts::open(&headers, body) {
        Ok(parts) => parts,
        Err(e) => return bad_request(e),
    };
    match parts.peek().await {
        Ok(true) => {}
        Ok(false) => return bad_request("the upload has no parts"),
        Err(e) => return bad_request(e),
    }
    let mut reply = if params.stream_channels {
        streamed(rest, params, parts, json::to_line)
    } else {
        collected(rest, params, parts).await
    };
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// Answers with a line per result, while the upload is read.
pub(crate) fn streamed(to: impl AddTo, params: AddParams, parts: Parts, print: Printer) -> Reply {
    let (tx, rx) = mpsc::channel::<Result<Vec<u8>, String>>(limits::ADD_LINES_MAX);
    let work = async move {
        let mut lines = Lines {
            tx: tx.clone(),
            print,
        };
        let mut parts = parts;
        if let Err(e) = run(&to, params, &mut parts, &mut lines).await {
            parts.drain().await;
            let _ = tx.send(Err(e.to_string())).await;
        }
    };
    // The work yields nothing itself: its results come through the channel, in order.
    let work = work.into_stream().filter_map(|()| async { None });
    let lines = futures::stream::unfold(rx, |mut rx| async move {
        let line = rx.recv().await?;
        Some((line, rx))
    });
    let texts = futures::stream::select(lines, work).boxed();
    let mut reply = reply::with_body(StatusCode::OK, stream::body(texts, OnSuccess::Absent));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, reply::JSON);
    headers.insert(header::TRAILER, stream::TRAILER);
    headers.insert("x-chunked-output", HeaderValue::from_static("1"));
    reply
}

/// All results at the end of the upload.
pub(crate) async fn collect(
    to: &impl AddTo,
    params: AddParams,
    mut parts: Parts,
) -> Result<(Vec<AddedOutput>, Option<Commit>), AddError> {
    let mut outputs = Vec::new();
    let done = run(to, params, &mut parts, &mut outputs).await;
    if done.is_err() {
        parts.drain().await;
    }
    Ok((outputs, done?))
}

/// Answers with an array, or the error object, at the end.
async fn collected(rest: Rest, params: AddParams, parts: Parts) -> Reply {
    match collect(&rest, params, parts).await {
        Ok((outputs, commit)) => {
            let mut reply = reply::json(StatusCode::OK, &outputs);
            if let Some(commit) = commit {
                crate::api::headers::stamp(&mut reply, commit);
            }
            reply
        }
        Err(AddError::Cluster(e)) => reply::error(status(&e), e),
        Err(e) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, e),
    }
}

/// Takes results as they come.
pub(crate) trait Sink: Send {
    /// Takes one; an error when nobody wants it any more.
    fn put(&mut self, output: AddedOutput) -> impl Future<Output = Result<(), AddError>> + Send;
}

struct Lines {
    tx: mpsc::Sender<Result<Vec<u8>, String>>,
    print: Printer,
}

impl Sink for Lines {
    async fn put(&mut self, output: AddedOutput) -> Result<(), AddError> {
        let line = (self.print)(&output).map_err(|e| AddError::Print(e.to_string()))?;
        self.tx.send(Ok(line)).await.map_err(|_| AddError::Gone)
    }
}

impl Sink for Vec<AddedOutput> {
    async fn put(&mut self, output: AddedOutput) -> Result<(), AddError> {
        if self.len() >= limits::ADD_LINES_MAX {
            return Err(AddError::TooManyResults(limits::ADD_LINES_MAX));
        }
        self.push(output);
        Ok(())
    }
}

/// Reads the upload to its end.
async fn run(
    to: &impl AddTo,
    params: AddParams,
    parts: &mut Parts,
    sink: &mut impl Sink,
) -> Result<Option<Commit>, AddError> {
    if params.format == AddFormat::Car {
        return archive::run(to, params, parts, sink).await;
    }
    let mut upload = Upload::begin(to, params, parts.bytes()).await?;
    loop {
        match parts.next().await? {
            Event::Part(head) => upload.open(head)?,
            Event::Data(bytes) => upload.data(bytes, sink).await?,
            Event::PartEnd => upload.close(sink).await?,
            Event::End => return upload.finish(sink).await,
        }
    }
}

/// The length of a body, if its head says it.
fn length(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|v| v.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// The parts of a request's body.
pub(crate) struct Parts {
    body: Body,
    multipart: Multipart,
    peeked: Option<Event>,
    /// Of the whole body, where the client says; else 0.
    bytes: u64,
}

impl Parts {
    /// Of a request with these headers.
    pub(crate) fn open(headers: &HeaderMap, body: Body) -> Result<Self, MultipartError> {
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        Ok(Self {
            body,
            multipart: Multipart::new(&boundary(content_type)?),
            peeked: None,
            bytes: length(headers),
        })
    }

    /// About how many bytes come; 0 where nobody knows.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is a part at all.
    pub(crate) async fn peek(&mut self) -> Result<bool, AddError> {
        let event = self.read().await?;
        let is_part = event != Event::End;
        self.peeked = Some(event);
        Ok(is_part)
    }

    /// All parts, each of which is a block.
    pub(crate) async fn blocks(mut self) -> Result<Vec<Bytes>, AddError> {
        let (mut blocks, mut all) = (Vec::new(), 0);
        let mut open = BytesMut::new();
        loop {
            match self.next().await? {
                Event::Part(_) => {}
                Event::Data(data) => {
                    all += data.len();
                    open.extend_from_slice(&data);
                    if open.len() > limits::BLOCK_BYTES_MAX || all > limits::BLOCK_UPLOAD_BYTES_MAX
                    {
                        return Err(AddError::BlockTooLarge);
                    }
                }
                Event::PartEnd if blocks.len() == limits::BLOCK_PUT_BLOCKS_MAX => {
                    return Err(AddError::TooManyParts);
                }
                Event::PartEnd => blocks.push(open.split().freeze()),
                Event::End => return Ok(blocks),
            }
        }
    }

    /// Reads a part of what is left of an upload that has failed: many clients see the answer only
    /// once they have sent everything, and none if the connection is reset before.
    pub(crate) async fn drain(&mut self) {
        let rest = async {
            let mut left = limits::UPLOAD_DRAIN_BYTES_MAX;
            while let Some(Ok(bytes)) = self.body.next().await {
                left = left.saturating_sub(bytes.len());
                if left == 0 {
                    return;
                }
            }
        };
        // A client that is slower than this has to live with a reset.
        let _ = timeout(DRAIN_TIMEOUT, rest).await;
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> Result<Event, AddError> {
        match self.peeked.take() {
            Some(event) => Ok(event),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Event, AddError> {
        loop {
            if let Some(event) = self.multipart.next()? {
                return Ok(event);
            }
            match timeout(STALL_TIMEOUT, self.body.next()).await {
                Err(_) => return Err(AddError::Stalled(STALL_TIMEOUT)),
                Ok(Some(Ok(bytes))) => self.multipart.feed(&bytes),
                Ok(Some(Err(e))) => return Err(AddError::Body(e)),
                Ok(None) => self.multipart.finish(),
            }
        }
    }
}
