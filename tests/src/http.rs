//! Plain HTTP/1.1 requests, one connection each: what a test sees is what came over the wire.

use std::{io, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long an answer may take in all.
const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read at most.
const ANSWER_BYTES: u64 = 1 << 30;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names in lower case, in the order they came; trailers at the end.
    pub headers: Vec<(String, String)>,
    /// The body, its chunks joined.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header (or trailer) of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as one value.
    pub fn json<T: DeserializeOwned>(&self) -> io::Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|e| io::Error::other(format!("{} with {:?}: {e}", self.status, self.text())))
    }

    /// The body as values, one after the other.
    pub fn items(&self) -> io::Result<Vec<Value>> {
        let items = serde_json::Deserializer::from_slice(&self.body).into_iter();
        items.collect::<Result<_, _>>().map_err(io::Error::other)
    }

    /// What the last line of an answer to an upload says at a key.
    fn last(&self, key: &str) -> String {
        let lines = self.items().expect("an answer to an upload is JSON");
        let last = lines.last().and_then(|line| line[key].as_str());
        last.unwrap_or_else(|| panic!("nothing was added: {self:?}"))
            .to_owned()
    }
}

/// Sends a request to a port of this machine.
pub async fn request(port: u16, method: &str, path: &str) -> io::Result<Answer> {
    send(port, method, path, "", b"").await
}

/// The same with headers (each with its line end) and a body.
pub async fn send(
    port: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let connect = TcpStream::connect(("127.0.0.1", port));
    let stream = timeout(LIMIT, connect).await??;
    send_over(stream, method, path, headers, body).await
}

/// Uploads bytes as a file, as a form does.
pub async fn upload(port: u16, path: &str, bytes: &[u8]) -> io::Result<Answer> {
    let head = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\
                Content-Type: application/octet-stream\r\n\r\n";
    let body = [head.as_bytes(), bytes, b"\r\n--B--\r\n"].concat();
    let headers = "Content-Type: multipart/form-data; boundary=B\r\n";
    send(port, "POST", path, headers, &body).await
}

/// Adds bytes as a file through a peer's REST API; the root.
///
/// # Panics
/// When they are refused, or the answer names no root.
pub async fn add(port: u16, query: &str, bytes: &[u8]) -> String {
    let answer = upload(port, &format!("/add?{query}"), bytes).await;
    let answer = answer.expect("the peer answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.last("cid")
}

/// Adds bytes as a file through the RPC of an IPFS node; the root.
///
/// # Panics
/// When they are refused, or the answer names no root.
pub async fn ipfs_add(rpc: u16, query: &str, bytes: &[u8]) -> String {
    let answer = upload(rpc, &format!("/api/v0/add?{query}"), bytes).await;
    let answer = answer.expect("the node answers");
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.last("Hash")
}

/// The same over a stream of any kind.
pub async fn send_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let exchange = async {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        parse(&answer).ok_or_else(|| io::Error::other("what came is not HTTP"))
    };
    timeout(LIMIT, exchange).await?
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let (head, rest) = split(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let is_chunked =
        |(name, value): &(String, String)| name == "transfer-encoding" && value.contains("chunked");
    let body = if headers.iter().any(is_chunked) {
        let (body, trailers) = dechunk(rest)?;
        headers.extend(trailers.lines().filter_map(header));
        body
    } else {
        rest.to_vec()
    };
    Some(Answer {
        status,
        headers,
        body,
    })
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_lowercase(), value.trim().to_owned()))
}

/// The body and the trailers.
fn dechunk(mut rest: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut body = Vec::new();
    loop {
        let (size, after) = split(rest, b"\r\n")?;
        let size = std::str::from_utf8(size).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some((body, String::from_utf8_lossy(after).into_owned()));
        }
        body.extend_from_slice(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let position = bytes.windows(at.len()).position(|w| w == at)?;
    Some((&bytes[..position], &bytes[position + at.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_trailers_are_read() {
        let text = "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n3\r\n[]\n\r\n0\r\nX-Stream-Error: e\r\n\r\n";
        let answer = parse(text.as_bytes()).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.items().unwrap().len(), 2);
        assert_eq!(answer.header("x-stream-error"), Some("e"));
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}").is_none());
    }
}
