//! An HTTP/1.1 server for tests that does exactly what a script says, down to the byte: it can stall,
//! truncate, send trailers and talk nonsense. Pipes are in memory, so tokio's paused clock works.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::env::{Addr, ByteStream, ConnectDoor};

/// What the server got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// The connection it came on, counted from 0.
    pub(crate) connection: usize,
}

/// One thing the server does in answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    Close,
}

type Handler = Box<dyn Fn(&Got) -> Vec<Step> + Send + Sync>;

/// The server, as the connect door that leads to it.
pub(crate) struct Scripted {
    handler: Handler,
    got: Mutex<Vec<Got>>,
    connections: Mutex<usize>,
    refuse: bool,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

pub(crate) fn addr() -> Addr {
    Addr::Tcp("ipfs.test".into(), 5001)
}

impl Scripted {
    pub(crate) fn new(handler: impl Fn(&Got) -> Vec<Step> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            handler: Box::new(handler),
            got: Mutex::default(),
            connections: Mutex::default(),
            refuse: false,
        })
    }

    /// A door behind which nobody listens.
    pub(crate) fn refusing() -> Arc<Self> {
        Arc::new(Self {
            handler: Box::new(|_| vec![]),
            got: Mutex::default(),
            connections: Mutex::default(),
            refuse: true,
        })
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Targets asked for, without the API's prefix.
    pub(crate) fn targets(&self) -> Vec<String> {
        let short = |g: &Got| g.target.replace("/api/v0/", "");
        self.got.lock().unwrap().iter().map(short).collect()
    }

    async fn serve(self: Arc<Self>, mut pipe: DuplexStream, connection: usize) {
        let mut read = Vec::new();
        while let Some(got) = read_request(&mut pipe, &mut read, connection).await {
            let steps = (self.handler)(&got);
            self.got.lock().unwrap().push(got);
            for step in steps {
                match step {
                    Step::Send(bytes) => {
                        if pipe.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    Step::Wait(time) => tokio::time::sleep(time).await,
                    Step::Close => return,
                }
            }
        }
    }
}

/// The door, since a trait cannot hand out `Arc<Self>` from `&self`.
#[derive(Debug, Clone)]
pub(crate) struct Door(pub(crate) Arc<Scripted>);

impl ConnectDoor for Door {
    fn connect(&self, _: Addr) -> BoxFuture<'static, io::Result<ByteStream>> {
        let server = self.0.clone();
        Box::pin(async move {
            if server.refuse {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let number = {
                let mut n = server.connections.lock().unwrap();
                *n += 1;
                *n - 1
            };
            tokio::spawn(server.serve(theirs, number));
            Ok(Box::new(ours) as ByteStream)
        })
    }
}

async fn fill(pipe: &mut DuplexStream, read: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 8192];
    match pipe.read(&mut piece).await {
        Ok(n) if n > 0 => {
            read.extend_from_slice(&piece[..n]);
            Some(())
        }
        _ => None,
    }
}

async fn take_line(pipe: &mut DuplexStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = read.windows(2).position(|w| w == b"\r\n") {
            let line = String::from_utf8_lossy(&read[..end]).into_owned();
            read.drain(..end + 2);
            return Some(line);
        }
        fill(pipe, read).await?;
    }
}

async fn take(pipe: &mut DuplexStream, read: &mut Vec<u8>, n: usize) -> Option<Vec<u8>> {
    while read.len() < n {
        fill(pipe, read).await?;
    }
    Some(read.drain(..n).collect())
}

async fn read_request(
    pipe: &mut DuplexStream,
    read: &mut Vec<u8>,
    connection: usize,
) -> Option<Got> {
    let first = take_line(pipe, read).await?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = BTreeMap::new();
    loop {
        let line = take_line(pipe, read).await?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_string());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body = take(pipe, read, length.parse().unwrap()).await?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let size = usize::from_str_radix(&take_line(pipe, read).await?, 16).unwrap();
            body.extend(take(pipe, read, size).await?);
            take_line(pipe, read).await?;
            if size == 0 {
                break;
            }
        }
    }
    Some(Got {
        method,
        target,
        headers,
        body,
        connection,
    })
}

/// A whole answer with `Content-Length`.
pub(crate) fn plain(status: u16, body: &str) -> Vec<Step> {
    vec![Step::Send(
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )]
}

/// The head of a chunked answer as Kubo sends it.
pub(crate) fn chunked_head(status: u16) -> Step {
    Step::Send(
        format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nTrailer: X-Stream-Error\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        )
        .into_bytes(),
    )
}

/// One chunk.
pub(crate) fn chunk(body: impl AsRef<[u8]>) -> Step {
    let body = body.as_ref();
    let mut out = format!("{:x}\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
    Step::Send(out)
}

/// The end of a chunked answer, with a trailer where an error is given.
pub(crate) fn end(error: Option<&str>) -> Step {
    Step::Send(match error {
        Some(e) => format!("0\r\nX-Stream-Error: {e}\r\n\r\n").into_bytes(),
        None => b"0\r\n\r\n".to_vec(),
    })
}
