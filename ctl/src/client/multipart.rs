//! The body of an upload: `multipart/form-data`, streamed.

use std::{fmt, io, path::PathBuf, pin::Pin};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use ipfs_cluster_protocol::{
    api::query::{Query, escape},
    content::unixfs::Attributes,
};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::http::Body;

/// Bytes read from a file at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What an entry of an upload is.
pub enum Content {
    /// A file's bytes.
    File(Pin<Box<dyn AsyncRead + Send>>),
    /// A folder; what is in it follows.
    Folder,
    /// A symbolic link and where it points.
    Link(String),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Folder => "Folder",
            Self::Link(_) => "Link",
        })
    }
}

/// One entry of an upload.
#[derive(Debug)]
pub struct Upload {
    /// Path within the upload, with slashes.
    pub name: String,
    /// Where it is on this machine, for uploads that refer to files.
    pub absolute: Option<PathBuf>,
    /// Permissions and time; stated where there are any.
    pub attributes: Attributes,
    /// What it is.
    pub content: Content,
}

impl Upload {
    /// A file in memory.
    #[must_use]
    pub fn bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            absolute: None,
            attributes: Attributes::default(),
            content: Content::File(Box::pin(io::Cursor::new(bytes.into()))),
        }
    }
}

/// The content type and the body of an upload.
pub(super) fn body(uploads: Vec<Upload>) -> (String, Body) {
    let boundary = boundary();
    let end = Bytes::from(format!("--{boundary}--\r\n"));
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let parts = stream::iter(uploads).flat_map(move |upload| part(&boundary, upload));
    let all = parts.chain(stream::once(async { Ok(end) }));
    let frames = all.map(|piece| piece.map(Frame::data));
    (content_type, StreamBody::new(frames).boxed_unsync())
}

/// One entry: head, bytes, line end.
fn part(
    boundary: &str,
    upload: Upload,
) -> Pin<Box<dyn futures::Stream<Item = io::Result<Bytes>> + Send>> {
    let kind = match &upload.content {
        Content::File(_) => "application/octet-stream",
        Content::Folder => "application/x-directory",
        Content::Link(_) => "application/symlink",
    };
    // Each part of the path, slashes included, is escaped: the server unescapes the whole.
    let name = escape(&upload.name);
    let stated = stated(upload.attributes);
    let absolute = upload.absolute.map_or_else(String::new, |path| {
        format!(
            "Abspath: {}\r\n",
            path.to_string_lossy().replace(['\r', '\n'], "")
        )
    });
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file{stated}\"; filename=\"{name}\"\r\n\
         {absolute}Content-Type: {kind}\r\n\r\n"
    );
    let once = |text: String| stream::once(async move { Ok(Bytes::from(text)) });
    let tail = once("\r\n".to_owned());
    match upload.content {
        Content::File(file) => {
            let bytes = ReaderStream::with_capacity(file, PIECE_BYTES);
            once(head).chain(bytes).chain(tail).boxed()
        }
        Content::Folder => once(head).chain(tail).boxed(),
        Content::Link(target) => once(head).chain(once(target)).chain(tail).boxed(),
    }
}

/// Permissions and time as a query, as Kubo's own client states them.
fn stated(attributes: Attributes) -> String {
    let mut query = Query::default();
    if let Some(mode) = attributes.mode {
        query.push("mode", format!("0{mode:o}"));
    }
    if let Some(mtime) = attributes.mtime {
        query.push("mtime", mtime.seconds);
        if let Some(nanos) = mtime.nanos {
            query.push("mtime-nsecs", nanos);
        }
    }
    match query.to_string() {
        text if text.is_empty() => text,
        text => format!("?{text}"),
    }
}

/// A text that does not occur in what is uploaded, by its length and randomness.
fn boundary() -> String {
    use std::hash::{BuildHasher, RandomState};
    let draw = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}{:016x}", draw(), draw(), draw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_are_framed_by_the_boundary() {
        let folder = Upload {
            name: "d".to_owned(),
            absolute: None,
            attributes: Attributes {
                mode: Some(0o755),
                mtime: None,
            },
            content: Content::Folder,
        };
        let (content_type, body) = body(vec![folder, Upload::bytes("d/a b", "hello")]);
        let boundary = content_type.split_once("boundary=").unwrap().1.to_owned();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(
            text.replace(&boundary, "B"),
            "--B\r\nContent-Disposition: form-data; name=\"file?mode=0755\"; filename=\"d\"\r\n\
             Content-Type: application/x-directory\r\n\r\n\r\n\
             --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d%2Fa+b\"\r\n\
             Content-Type: application/octet-stream\r\n\r\nhello\r\n--B--\r\n"
        );
    }
}
