//! Streams of JSON lines with the trailer that says how they ended.
//!
//! The first item is awaited before the head is sent: nothing at all is 204, a failure before it is
//! an error object. What fails later can only be said in the trailer `X-Stream-Error`, which comes
//! on every stream, empty when all went well.

use ipfs_cluster_protocol::limits;
use std::{future::poll_fn, task::Poll};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use ipfs_cluster_protocol::api::json;
use serde::Serialize;

use super::reply::{self, BoxError, OutBody, Reply};

/// The trailer's name.
pub(crate) const STREAM_ERROR: HeaderName = HeaderName::from_static("x-stream-error");
/// What announces it.
pub(crate) const TRAILER: HeaderValue = HeaderValue::from_static("X-Stream-Error");
/// Lines are sent once so many bytes of them have come together, or when none is ready.
const CHUNK_BYTES: usize = 16 * 1024;

/// An answer that streams `items`. An error of an item ends it.
pub(crate) async fn lines<T, E>(
    mut items: BoxStream<'static, Result<T, E>>,
    failed: impl FnOnce(E) -> Reply,
) -> Reply
where
    T: Serialize + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let mut reply = match items.next().await {
        None => reply::empty(StatusCode::NO_CONTENT),
        Some(Err(e)) => failed(e),
        Some(Ok(first)) => {
            let texts = futures::stream::iter([Ok(first)])
                .chain(items)
                .map(|item| match item {
                    Ok(item) => json::to_line(&item).map_err(|e| e.to_string()),
                    Err(e) => Err(e.to_string()),
                });
            let mut reply = reply::with_body(StatusCode::OK, body(texts.boxed(), OnSuccess::Empty));
            reply
                .headers_mut()
                .insert(header::CONTENT_TYPE, reply::JSON);
            reply
        }
    };
    reply.headers_mut().insert(header::TRAILER, TRAILER);
    reply
}

/// What the trailer of a stream that went well is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnSuccess {
    /// There, with an empty value.
    Empty,
    /// Not there.
    Absent,
}

/// A body of texts; the first error ends it and becomes the trailer.
pub(crate) fn body(
    texts: BoxStream<'static, Result<Vec<u8>, String>>,
    on_success: OnSuccess,
) -> OutBody {
    let frames = futures::stream::unfold(State::Open(texts), move |state| async move {
        let State::Open(mut texts) = state else {
            return None;
        };
        let (chunk, end) = gather(&mut texts).await;
        let frame = match (&end, chunk.is_empty()) {
            (None, _) | (Some(_), false) => Frame::data(Bytes::from(chunk)),
            (Some(end), true) => trailers(end.as_ref().err().map(String::as_str), on_success)?,
        };
        let next = match end {
            None => State::Open(texts),
            Some(_) if frame.is_trailers() => State::Done,
            // The trailer goes out next.
            Some(Ok(())) => State::Open(futures::stream::empty().boxed()),
            Some(Err(e)) => State::Open(futures::stream::iter([Err(e)]).boxed()),
        };
        Some((Ok::<_, BoxError>(frame), next))
    });
    StreamBody::new(frames).boxed_unsync()
}

enum State {
    Open(BoxStream<'static, Result<Vec<u8>, String>>),
    Done,
}

/// The next texts, as many as are ready, at least one; and the end, if that was reached.
async fn gather(
    texts: &mut BoxStream<'static, Result<Vec<u8>, String>>,
) -> (Vec<u8>, Option<Result<(), String>>) {
    let mut chunk = Vec::new();
    let end = poll_fn(|cx| {
        loop {
            match texts.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(text))) => {
                    chunk.extend_from_slice(&text);
                    if chunk.len() >= CHUNK_BYTES {
                        return Poll::Ready(None);
                    }
                }
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Some(Err(e))),
                Poll::Ready(None) => return Poll::Ready(Some(Ok(()))),
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(None),
            }
        }
    })
    .await;
    (chunk, end)
}

fn trailers(error: Option<&str>, on_success: OnSuccess) -> Option<Frame<Bytes>> {
    if error.is_none() && on_success == OnSuccess::Absent {
        return None;
    }
    let mut map = HeaderMap::new();
    map.insert(STREAM_ERROR, header_text(error.unwrap_or_default()));
    Some(Frame::trailers(map))
}

/// A text as a header's value: control characters become spaces.
fn header_text(text: &str) -> HeaderValue {
    let clean: String = text
        .chars()
        .take(limits::STREAM_TRAILER_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    HeaderValue::from_bytes(clean.as_bytes())
        .unwrap_or(HeaderValue::from_static("the error has no header form"))
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::api::http::reply::into_outgoing;

    async fn answer(items: Vec<Result<u32, String>>) -> (u16, String, Option<String>) {
        let reply = lines(stream::iter(items).boxed(), |e| {
            reply::error(StatusCode::INTERNAL_SERVER_ERROR, e)
        })
        .await;
        assert_eq!(reply.headers()[header::TRAILER], "X-Stream-Error");
        let out = into_outgoing(reply);
        let status = out.status().as_u16();
        let collected = out.into_body().collect().await.unwrap();
        let trailer = collected
            .trailers()
            .map(|t| t[&STREAM_ERROR].to_str().unwrap().to_owned());
        let text = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
        (status, text, trailer)
    }

    #[tokio::test]
    async fn a_stream_says_how_it_ended() {
        let ok = |n| Ok(n);
        assert_eq!(answer(vec![]).await, (204, String::new(), None));
        assert_eq!(
            answer(vec![ok(1), ok(2)]).await,
            (200, "1\n2\n".to_owned(), Some(String::new()))
        );
        assert_eq!(
            answer(vec![ok(1), Err("b\nc".to_owned())]).await,
            (200, "1\n".to_owned(), Some("b c".to_owned()))
        );
        assert_eq!(
            answer(vec![Err("x".to_owned()), ok(1)]).await,
            (500, "{\"code\":500,\"message\":\"x\"}\n".to_owned(), None)
        );
    }

    #[tokio::test]
    async fn an_upload_that_went_well_has_no_trailer() {
        let texts = stream::iter([Ok(b"a".to_vec())]).boxed();
        let collected = body(texts, OnSuccess::Absent).collect().await.unwrap();
        assert!(collected.trailers().is_none());
        let texts = stream::iter([Ok(b"a".to_vec()), Err("e".to_owned())]).boxed();
        let collected = body(texts, OnSuccess::Absent).collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()[&STREAM_ERROR], "e");
    }
}
