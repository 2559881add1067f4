//! What the user sees: the same objects as text or as JSON.

mod dot;
mod human;
mod text;

use std::io::{self, Write};

use ipfs_cluster_ctl::client::Error;
use ipfs_cluster_protocol::api::error::ErrorBody;
use serde::Serialize;

pub(crate) use dot::graph;
pub(crate) use text::Text;

use crate::exit::{Code, Failure};

/// How objects are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// For people.
    Text,
    /// One object after the other, with an indent of four.
    Json,
}

impl Encoding {
    /// Reads the flag.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(Failure::local(
                "parsing the encoding",
                format!("unsupported encoding {other:?}: use text or json"),
            )),
        }
    }

    /// Prints one object to stdout.
    pub(crate) fn print<T: Serialize + Text>(self, object: &T) -> Result<(), Failure> {
        let text = match self {
            Self::Text if console::colors_enabled() => object.coloured(),
            Self::Text => object.text(),
            Self::Json => json(object).map_err(|e| Failure::local("printing", e))?,
        };
        write(&text)
    }
}

/// To stdout, as one piece.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => Failure::local("printing", e),
    })
}

fn json<T: Serialize>(object: &T) -> serde_json::Result<String> {
    let mut out = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    object.serialize(&mut serde_json::Serializer::with_formatter(
        &mut out, format,
    ))?;
    out.push(b'\n');
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Says why a command failed, where the user (or a script) expects it, and with which code to end.
pub(crate) fn failed(failure: &Failure, encoding: Encoding) -> Code {
    match failure {
        Failure::Call(e) => {
            // Code 0 says that there is no answer: scripts of the Go program read it here as well.
            let body = ErrorBody {
                code: e.code(),
                message: e.to_string(),
            };
            // A closed stdout leaves nobody to tell.
            let _ = encoding.print(&body);
            match e {
                Error::Api { .. } => Code::Server,
                _ => Code::Usage,
            }
        }
        Failure::Local { .. } => {
            eprintln!("{failure}");
            Code::Usage
        }
        Failure::WaitTimeout => {
            eprintln!("{failure}");
            Code::WaitTimeout
        }
        Failure::ReaderGone => Code::ReaderGone,
    }
}
