//! A server with fixed answers, and the command line against it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    dead_code,
    reason = "helpers of tests, which play a machine of their own"
)]

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

/// The answers: start of the request line, status line, body.
pub(crate) type Routes = Vec<(&'static str, &'static str, String)>;

/// Answers until the test ends.
pub(crate) struct Server {
    pub(crate) port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

/// What a run of the program came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Reads a request's head, body not included.
pub(crate) fn head(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        bytes.push(byte[0]);
        // What is no HTTP at all is answered at once, as servers do.
        if !bytes[0].is_ascii_alphabetic() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The whole answer to a request.
pub(crate) fn answer(routes: &Routes, head: &str) -> String {
    let found = routes.iter().find(|(start, ..)| head.starts_with(start));
    let (status, body) = match found {
        Some((_, status, body)) => (*status, body.as_str()),
        None => (
            "404 Not Found",
            "{\"code\":404,\"message\":\"not found\"}\n",
        ),
    };
    let length = match status.starts_with("204") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    format!("HTTP/1.1 {status}\r\n{length}Connection: close\r\n\r\n{body}")
}

impl Server {
    pub(crate) fn start(routes: Routes) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let hearing = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = head(&mut stream);
                let answer = answer(&routes, &head);
                hearing.lock().unwrap().push(head);
                // A client that goes away early is some test's subject.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { port, heard }
    }

    /// The request lines that came.
    pub(crate) fn requests(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard
            .iter()
            .map(|h| h.lines().next().unwrap_or_default().to_owned())
            .collect()
    }

    /// The heads that came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Runs a command against this server.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        let host = format!("/ip4/127.0.0.1/tcp/{}", self.port);
        run(&[&["--host", &host], args].concat(), &[])
    }
}

/// Runs the program in an environment of nothing else.
pub(crate) fn run(args: &[&str], vars: &[(&str, &str)]) -> Run {
    run_to(Stdio::piped(), args, vars)
}

/// The same with another stdout.
pub(crate) fn run_to(stdout: impl Into<Stdio>, args: &[&str], vars: &[(&str, &str)]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_ipfs-cluster-ctl"))
        .env_clear()
        .envs(vars.iter().copied())
        .args(args)
        .stdout(stdout)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}
