//! The access log: who asked for what, and what became of it.
//!
//! A line is written when the answer has gone out, or the client has gone away. It goes into the
//! program's log, or, in Apache's common format, into a file of its own. A file that cannot take
//! the lines as fast as they come loses some, and says how many: a full disk stops no server.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Request, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use ipfs_cluster_protocol::limits;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tokio::sync::mpsc;

use super::{
    reply::{BoxError, OutBody, Outgoing},
    server::{Client, ListenError},
};
use crate::env::{DiskFile, Env, Lane, OpenMode};

/// `22/Nov/2026:13:50:46 +0000`
const WHEN: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// Whose requests these are: the component that they are logged under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    Rest,
    Pinning,
    Proxy,
    Gateway,
    Ipfs,
}

/// Where the lines of one server go. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    component: Component,
    file: Option<Arc<File>>,
}

#[derive(Debug)]
struct File {
    lines: mpsc::Sender<String>,
    lost: AtomicU64,
}

/// Writes the lines of a log's file until the last handle on the log is gone.
#[derive(Debug)]
pub(crate) struct Writer {
    lines: mpsc::Receiver<String>,
    file: Arc<dyn DiskFile>,
    end: u64,
    lane: Lane,
}

impl AccessLog {
    /// In the program's own log.
    pub(crate) fn traced(component: Component) -> Self {
        Self {
            component,
            file: None,
        }
    }

    /// In a file, which is made if it is missing and else goes on.
    pub(crate) async fn open(
        component: Component,
        env: &Env,
        path: &Path,
    ) -> Result<(Self, Writer), ListenError> {
        let lane = env.lanes.lane("access log");
        let (disk, path) = (env.disk.clone(), path.to_owned());
        let shown = path.clone();
        let opened = lane.run(move || {
            let file = disk.open(&path, OpenMode::Create)?;
            let end = file.len()?;
            Ok::<_, io::Error>((file, end))
        });
        let failed = |source: io::Error| ListenError::Log {
            path: shown.clone(),
            source,
        };
        let opened = opened.await.map_err(io::Error::from);
        let (file, end) = opened.flatten().map_err(failed)?;
        let (tx, rx) = mpsc::channel(limits::ACCESS_LOG_LINES_MAX);
        let log = Self {
            component,
            file: Some(Arc::new(File {
                lines: tx,
                lost: AtomicU64::new(0),
            })),
        };
        let writer = Writer {
            lines: rx,
            file,
            end,
            lane,
        };
        Ok((log, writer))
    }

    /// Whose requests it is about.
    pub(crate) fn component(&self) -> Component {
        self.component
    }

    /// A request has come.
    pub(crate) fn begin<B>(&self, request: &Request<B>, from: Client, at: Instant) -> Entry {
        Entry {
            log: self.clone(),
            from,
            user: None,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            at,
            status: 0,
            bytes: 0,
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Entry {
    log: AccessLog,
    from: Client,
    user: Option<String>,
    method: Method,
    uri: Uri,
    version: Version,
    at: Instant,
    status: u16,
    bytes: u64,
}

impl Entry {
    /// The answer is ready; the line is written once it has gone out.
    pub(crate) fn answered(mut self, answer: Outgoing, user: Option<String>) -> Outgoing {
        self.user = user;
        self.status = answer.status().as_u16();
        answer.map(|body| Counted { body, entry: self }.boxed_unsync())
    }

    fn line(&self) -> String {
        let when = OffsetDateTime::now_utc().format(WHEN).unwrap_or_default();
        // The host alone, as other servers write it.
        let host = match self.from.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.from,
        };
        format!(
            "{} - {} [{when}] \"{} {} {:?}\" {} {}\n",
            if host.is_empty() { "-" } else { host },
            self.user.as_deref().unwrap_or("-"),
            self.method,
            self.uri.to_string().replace('"', "%22"),
            self.version,
            self.status,
            self.bytes
        )
    }

    fn trace(&self) {
        let ms = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (client, method, path) = (&self.from, &self.method, self.uri.path());
        let (status, bytes) = (self.status, self.bytes);
        match self.log.component {
            Component::Rest => {
                tracing::info!(target: "restapilog", %client, %method, path, status, bytes, ms);
            }
            Component::Pinning => {
                tracing::info!(target: "pinsvcapilog", %client, %method, path, status, bytes, ms);
            }
            Component::Proxy => {
                tracing::info!(target: "ipfsproxylog", %client, %method, path, status, bytes, ms);
            }
            Component::Gateway => {
                tracing::info!(target: "gatewaylog", %client, %method, path, status, bytes, ms);
            }
            Component::Ipfs => {
                tracing::info!(target: "ipfsrpclog", %client, %method, path, status, bytes, ms);
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(file) = &self.log.file else {
            return self.trace();
        };
        if file.lines.try_send(self.line()).is_err() {
            let lost = file.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if lost.is_power_of_two() {
                tracing::warn!(target: "restapilog", lost, "the access log's file is too slow: lines are lost");
            }
        }
    }
}

impl Writer {
    /// Writes what comes, many lines at a time.
    pub(crate) async fn run(mut self) {
        let mut lines = Vec::new();
        while self
            .lines
            .recv_many(&mut lines, limits::ACCESS_LOG_LINES_MAX)
            .await
            != 0
        {
            let text = std::mem::take(&mut lines).concat().into_bytes();
            let (file, at) = (self.file.clone(), self.end);
            let len = text.len() as u64;
            match self.lane.run(move || file.write_at(at, &text)).await {
                Ok(Ok(())) => self.end += len,
                Ok(Err(e)) => {
                    tracing::warn!(target: "restapilog", error = %e, "the access log cannot be written")
                }
                Err(_) => return,
            }
        }
    }
}

/// The body of an answer, counted.
struct Counted {
    body: OutBody,
    entry: Entry,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.entry.bytes += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::{api::http::reply::full_body, env::real};

    #[tokio::test]
    async fn a_file_has_a_line_per_request_in_the_common_format_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let env = real::env();
        for _ in 0..2 {
            let (log, writer) = AccessLog::open(Component::Rest, &env, &path).await.unwrap();
            let request = Request::get("/pins?filter=\u{22}").body(());
            let request = request.unwrap_or_else(|_| Request::get("/pins?a=b").body(()).unwrap());
            let entry = log.begin(&request, "127.0.0.1:4242".into(), Instant::now());
            let answer = entry.answered(Response::new(full_body("12345")), Some("alice".into()));
            assert_eq!(
                answer.into_body().collect().await.unwrap().to_bytes().len(),
                5
            );
            drop(log);
            writer.run().await;
        }
        let bytes = env.disk.read(&path, 1 << 20).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 2);
        let line = text.lines().next().unwrap();
        assert!(line.starts_with("127.0.0.1 - alice ["), "{line}");
        assert!(line.contains(" +0000] \"GET /pins?"), "{line}");
        assert!(line.ends_with(" HTTP/1.1\" 200 5"), "{line}");
    }
}
