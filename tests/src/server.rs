//! A small HTTP/1.1 server for what a peer calls: every request is taken whole, every answer given as
//! it is.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Bytes of a body that are read at most.
const BODY_BYTES: usize = 64 << 20;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its chunks joined.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }
}

type Handler = Arc<dyn Fn(Request) -> Vec<u8> + Send + Sync>;

/// The server. It is gone when dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts one on loopback; what `answer` gives is sent as it is, status line and all.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(answer: impl Fn(Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(answer)));
        Self {
            port,
            _tasks: tasks,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn accept(listener: TcpListener, answer: Handler) {
    let mut serving = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let answer = answer.clone();
        // A client that goes away ends its connection, not the server.
        serving.spawn(async move { drop(serve(stream, &answer).await) });
    }
}

/// Requests of one connection, one after the other.
async fn serve(stream: TcpStream, answer: &Handler) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        stream.write_all(&answer(request)).await?;
    }
    Ok(())
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let first = line(stream).await?;
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut request = Request {
        method,
        path,
        headers: Vec::new(),
        body: Vec::new(),
    };
    while let Some((name, value)) = line(stream).await?.split_once(':') {
        let value = value.trim().to_owned();
        request.headers.push((name.to_lowercase(), value));
    }
    if request.header("transfer-encoding") == "chunked" {
        loop {
            let size = line(stream).await?;
            let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            take(stream, size, &mut request.body).await?;
            line(stream).await?;
            if size == 0 {
                return Ok(Some(request));
            }
        }
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    take(stream, length, &mut request.body).await?;
    Ok(Some(request))
}

async fn take(
    stream: &mut BufReader<TcpStream>,
    size: usize,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    let have = body.len();
    if have + size > BODY_BYTES {
        return Err(io::Error::other("a body of more than is read"));
    }
    body.resize(have + size, 0);
    stream.read_exact(&mut body[have..]).await?;
    Ok(())
}
