//! One RPC request and its answer: an error status, JSON, JSON lines, or bytes; and the trailer that
//! tells of an error after all looked well.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use ipfs_cluster_protocol::limits::JSON_BODY_BYTES_MAX;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span};

use super::calls::{Calls, Outcome};
use crate::{
    ipfs::{
        IpfsError,
        http::{HttpClient, HttpError, RequestBody, ResponseBody, empty, error_chain},
    },
    spans,
};

/// What Go's `url.QueryEscape` leaves as it is.
const QUERY_SAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A command and its arguments, as they stand behind `/api/v0/`.
#[derive(Debug, Clone)]
pub(super) struct Call {
    path: String,
}

impl Call {
    pub(super) fn new(command: &str) -> Self {
        Self {
            path: command.to_string(),
        }
    }

    pub(super) fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(key);
        self.path.push('=');
        let value = value.to_string();
        self.path.extend(utf8_percent_encode(&value, QUERY_SAFE));
        self
    }

    /// Without its arguments.
    fn command(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// From the request to the head of the answer.
    fn span(&self) -> Span {
        let command = self.command();
        tracing::info_span!(
            target: spans::TARGET,
            "ipfs",
            otel.name = format!("ipfs {command}"),
            otel.kind = "client",
        )
    }
}

/// The client.
#[derive(Debug, Clone)]
pub(super) struct Rpc {
    http: HttpClient,
    calls: Calls,
}

/// What Kubo says of an error.
#[derive(Deserialize)]
struct ErrorBody {
    #[serde(rename = "Message")]
    message: String,
}

impl Rpc {
    pub(super) fn new(http: HttpClient) -> Self {
        Self {
            http,
            calls: Calls::default(),
        }
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Sends a call without a body; see [`Self::send`].
    pub(super) async fn start(&self, call: Call, head: Duration) -> Result<Answer, IpfsError> {
        self.send(call, None, empty(), head).await
    }

    /// Sends a call and waits for the head of the answer, which must be a success.
    pub(super) async fn send(
        &self,
        call: Call,
        content_type: Option<String>,
        body: RequestBody,
        head: Duration,
    ) -> Result<Answer, IpfsError> {
        let mut request = Request::post(format!("/api/v0/{}", call.path));
        if let Some(kind) = content_type {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let mut request = request
            .body(body)
            .map_err(|e| IpfsError::Refused(e.to_string()))?;
        let span = call.span();
        spans::put_on(&span, request.headers_mut());
        let begun = Instant::now();
        let sent = self.http.request(request, head).instrument(span).await;
        let outcome = match &sent {
            Ok(response) if response.status() == StatusCode::OK => Outcome::Answered,
            Ok(_) => Outcome::Refused,
            Err(_) => Outcome::Unreachable,
        };
        self.calls.took(call.command(), outcome, begun.elapsed());
        let response = sent.map_err(|e| self.unreachable(&call.path, &e))?;
        let status = response.status();
        let answer = Answer {
            body: response.into_body(),
            what: format!("Post {:?}", self.url(&call.path)),
        };
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let body = answer.bytes(JSON_BODY_BYTES_MAX, head).await?;
        Err(error_status(&call.path, status, &body))
    }

    /// A call whose answer is one JSON value, all of it within the time given.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        call: Call,
        time: Duration,
    ) -> Result<T, IpfsError> {
        let deadline = Instant::now() + time;
        let answer = self.start(call, time).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let what = answer.what.clone();
        let body = answer.bytes(JSON_BODY_BYTES_MAX, left).await?;
        serde_json::from_slice(&body).map_err(|e| not_understood(&what, &e))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v0/{path}", self.http.addr())
    }

    /// The texts a user of the Go peer knows.
    fn unreachable(&self, path: &str, error: &HttpError) -> IpfsError {
        let why = match error {
            HttpError::Connect { addr, source } => match source.kind() {
                io::ErrorKind::ConnectionRefused => {
                    format!("dial tcp {addr}: connect: connection refused")
                }
                _ => format!("dial tcp {addr}: {source}"),
            },
            HttpError::Timeout { .. } => "context deadline exceeded".to_string(),
            HttpError::Broken { text, .. } => text.clone(),
        };
        IpfsError::Unreachable(format!("Post {:?}: {why}", self.url(path)))
    }
}

/// What a status other than 200 means.
fn error_status(path: &str, status: StatusCode, body: &[u8]) -> IpfsError {
    let code = status.as_u16();
    let text = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { message }) if says_not_pinned(&message) => return IpfsError::NotPinned,
        Ok(ErrorBody { message }) => {
            format!("IPFS error ({path}). Code: {code}. Message: {message}")
        }
        Err(_) => {
            let body = String::from_utf8_lossy(body.get(..256).unwrap_or(body));
            let body = body.trim_end();
            format!("IPFS request failed (is it running?) ({path}). Code {code}: {body}")
        }
    };
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            IpfsError::Unreachable(text)
        }
        _ => IpfsError::Refused(text),
    }
}

/// Kubo: "path '…' is not pinned", "not pinned or pinned indirectly"; js-ipfs: "… is not pinned",
/// "… is pinned indirectly …", "… is indirectly pinned …".
fn says_not_pinned(message: &str) -> bool {
    ["not pinned", "pinned indirectly", "indirectly pinned"]
        .iter()
        .any(|text| message.contains(text))
}

fn not_understood(what: &str, why: &dyn std::error::Error) -> IpfsError {
    IpfsError::Unreachable(format!("{what}: the answer is not understood: {why}"))
}

/// The body of a successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: ResponseBody,
    /// The call, for error texts.
    what: String,
}

impl Answer {
    /// The next bytes before `deadline`; None at an end that is not an error in disguise.
    pub(super) async fn piece(&mut self, deadline: Instant) -> Result<Option<Bytes>, IpfsError> {
        loop {
            let Ok(frame) = timeout_at(deadline, self.body.frame()).await else {
                let what = &self.what;
                let text = format!("{what}: context deadline exceeded");
                return Err(IpfsError::Unreachable(text));
            };
            match frame {
                None => return Ok(None),
                Some(Err(e)) => {
                    let text = format!("{}: {}", self.what, error_chain(&e));
                    return Err(IpfsError::Unreachable(text));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(frame) => {
                        if let Some(error) = frame.trailers_ref().and_then(stream_error) {
                            return Err(error);
                        }
                    }
                },
            }
        }
    }

    /// All of it, at most `max` bytes.
    pub(super) async fn bytes(mut self, max: usize, time: Duration) -> Result<Bytes, IpfsError> {
        let deadline = Instant::now() + time;
        let mut all = BytesMut::new();
        while let Some(piece) = self.piece(deadline).await? {
            if all.len() + piece.len() > max {
                let text = format!("{}: the answer exceeds {max} bytes", self.what);
                return Err(IpfsError::Refused(text));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// As JSON values, one a line.
    pub(super) fn lines(self) -> Lines {
        Lines {
            answer: self,
            read: BytesMut::new(),
            ended: false,
        }
    }
}

/// Kubo tells late errors in a trailer.
fn stream_error(trailers: &HeaderMap) -> Option<IpfsError> {
    let value = trailers.get("x-stream-error")?;
    let text = String::from_utf8_lossy(value.as_bytes());
    if text.is_empty() {
        None
    } else if says_not_pinned(&text) {
        Some(IpfsError::NotPinned)
    } else {
        Some(IpfsError::Refused(text.into_owned()))
    }
}

/// An answer read line by line.
#[derive(Debug)]
pub(super) struct Lines {
    answer: Answer,
    read: BytesMut,
    ended: bool,
}

impl Lines {
    /// The next value before `deadline`; None at the end.
    pub(super) async fn next<T: DeserializeOwned>(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<T>, IpfsError> {
        loop {
            let line = match self.read.iter().position(|b| *b == b'\n') {
                Some(end) => self.read.split_to(end + 1),
                None if self.ended => self.read.split(),
                None => {
                    self.fill(deadline).await?;
                    continue;
                }
            };
            if !line.trim_ascii().is_empty() {
                let value = serde_json::from_slice(&line);
                return value
                    .map(Some)
                    .map_err(|e| not_understood(&self.answer.what, &e));
            }
            if self.ended && self.read.is_empty() {
                return Ok(None);
            }
        }
    }

    async fn fill(&mut self, deadline: Instant) -> Result<(), IpfsError> {
        match self.answer.piece(deadline).await? {
            None => self.ended = true,
            Some(piece) if self.read.len() + piece.len() > JSON_BODY_BYTES_MAX => {
                let text = format!("{}: a line is too long", self.answer.what);
                return Err(IpfsError::Refused(text));
            }
            Some(piece) => self.read.extend_from_slice(&piece),
        }
        Ok(())
    }
}
