//! Answers: errors, objects, and streams of objects that may end in an error.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, future::BoxFuture};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ipfs_cluster_protocol::{api::error::ErrorBody, limits};
use serde::de::DeserializeOwned;

use super::{
    error::Error,
    http::{Client, Connection, because},
};

/// Tells that a stream failed after its head was sent.
const STREAM_ERROR: &str = "X-Stream-Error";

/// The answer to a request, its body not yet read.
pub(super) struct Answer {
    client: Client,
    /// Goes back to the client once the body is read.
    connection: Option<Connection>,
    status: StatusCode,
    body: Incoming,
    /// Of the body's end.
    trailers: HeaderMap,
}

impl Answer {
    /// Turns an error of the server into an error.
    pub(super) async fn new(
        client: Client,
        connection: Connection,
        response: Response<Incoming>,
    ) -> Result<Self, Error> {
        let status = response.status();
        client.tell(&format!("{status}"));
        let mut answer = Self {
            client,
            connection: Some(connection),
            status,
            body: response.into_body(),
            trailers: HeaderMap::new(),
        };
        if status.as_u16() <= 399 {
            return Ok(answer);
        }
        let body = answer.whole(limits::JSON_BODY_BYTES_MAX).await?;
        Err(match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(e) => Error::Api {
                code: e.code,
                message: e.message,
            },
            Err(_) => Error::Api {
                code: status.as_u16(),
                message: String::from_utf8_lossy(&body).trim().to_owned(),
            },
        })
    }

    /// The next piece of the body; none at its end.
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let next = self.body.frame();
            let frame = match self.client.timeout() {
                None => next.await,
                Some(limit) => tokio::time::timeout(limit, next)
                    .await
                    .map_err(|_| Error::Timeout(limit))?,
            };
            let Some(frame) = frame else {
                if let Some(connection) = self.connection.take() {
                    self.client.keep(connection);
                }
                return Ok(None);
            };
            let frame = frame.map_err(|e| Error::Exchange {
                target: match &self.connection {
                    Some(c) => c.target().to_string(),
                    None => "the server".to_owned(),
                },
                why: because(&e),
            })?;
            match frame.into_data() {
                Ok(data) => {
                    self.client.tell_bytes(&data);
                    return Ok(Some(data));
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.trailers = trailers;
                    }
                }
            }
        }
    }

    /// The next piece of a body of bytes; none at its end, if it did not end in an error.
    pub(super) async fn checked_piece(&mut self) -> Result<Option<Bytes>, Error> {
        match self.piece().await? {
            Some(piece) => Ok(Some(piece)),
            None => match self.stream_error() {
                Some(error) => Err(error),
                None => Ok(None),
            },
        }
    }

    /// The whole body, of at most `most` bytes.
    async fn whole(&mut self, most: usize) -> Result<Bytes, Error> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if all.len() + piece.len() > most {
                return Err(Error::Decode(format!("more than {most} bytes")));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// Reads one object.
    pub(super) async fn object<T: DeserializeOwned>(mut self) -> Result<T, Error> {
        // Lists that are not streamed (metrics of a large cluster) are larger than a request.
        let body = self.whole(limits::JSON_BODY_BYTES_MAX * 16).await?;
        serde_json::from_slice(&body).map_err(|e| Error::Decode(e.to_string()))
    }

    /// Reads the body away.
    pub(super) async fn nothing(mut self) -> Result<(), Error> {
        while self.piece().await?.is_some() {}
        Ok(())
    }

    /// The errors that ended a stream.
    fn stream_error(&self) -> Option<Error> {
        let texts = self.trailers.get_all(STREAM_ERROR).iter();
        let texts: Vec<_> = texts
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
            .filter(|text| !text.is_empty())
            .collect();
        (!texts.is_empty()).then(|| Error::Api {
            code: 500,
            message: texts.join("; "),
        })
    }
}

/// Objects as they come: JSON values one after the other, then the end or an error.
pub struct Items<T> {
    state: State,
    ready: VecDeque<T>,
    buffer: BytesMut,
}

/// A piece of the body, and the answer to read on from.
type Piece = (Box<Answer>, Result<Option<Bytes>, Error>);

enum State {
    Idle(Box<Answer>),
    Reading(BoxFuture<'static, Piece>),
    Done,
}

impl<T> std::fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Items<T> {
    pub(super) fn new(answer: Answer) -> Self {
        let state = if answer.status == StatusCode::NO_CONTENT {
            State::Done
        } else {
            State::Idle(Box::new(answer))
        };
        Self {
            state,
            ready: VecDeque::new(),
            buffer: BytesMut::new(),
        }
    }

    /// Takes the whole values out of the buffer.
    fn parse(&mut self) -> Result<(), Error> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<T>();
        let mut used = 0;
        loop {
            match values.next() {
                None => {
                    used = self.buffer.len();
                    break;
                }
                Some(Ok(value)) => {
                    self.ready.push_back(value);
                    used = values.byte_offset();
                }
                // The rest of this value is still to come.
                Some(Err(e)) if e.is_eof() => break,
                Some(Err(e)) => return Err(Error::Decode(e.to_string())),
            }
        }
        let _ = self.buffer.split_to(used);
        if self.buffer.len() > limits::JSON_BODY_BYTES_MAX {
            return Err(Error::Decode("a value without end".to_owned()));
        }
        Ok(())
    }

    /// What a piece of the body brings: the next state.
    fn take(&mut self, answer: Box<Answer>, piece: Option<Bytes>) -> Result<State, Error> {
        let Some(piece) = piece else {
            if let Some(e) = answer.stream_error() {
                return Err(e);
            }
            return if self.buffer.iter().all(u8::is_ascii_whitespace) {
                Ok(State::Done)
            } else {
                Err(Error::Decode("the stream ended within a value".to_owned()))
            };
        };
        self.buffer.extend_from_slice(&piece);
        self.parse()?;
        Ok(State::Idle(answer))
    }
}

impl<T: DeserializeOwned + Unpin> Stream for Items<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Idle(mut answer) => {
                    self.state = State::Reading(Box::pin(async move {
                        let piece = answer.piece().await;
                        (answer, piece)
                    }));
                }
                State::Reading(mut reading) => match reading.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready((answer, piece)) => {
                        match piece.and_then(|piece| self.take(answer, piece)) {
                            Ok(state) => self.state = state,
                            Err(e) => return Poll::Ready(Some(Err(e))),
                        }
                    }
                },
            }
        }
    }
}
