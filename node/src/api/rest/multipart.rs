//! Multipart bodies, read as they come: bytes go in, parts and their data come out.
//!
//! Holds at most one chunk and one part's head; nothing grows with the upload.

use ipfs_cluster_protocol::{
    api::{add::stated, query::Query},
    content::unixfs::Attributes,
    limits,
};
use std::path::{Component, Path};

use bytes::{Buf, Bytes, BytesMut};

/// What an upload is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A part begins.
    Part(PartHead),
    /// Bytes of it.
    Data(Bytes),
    /// It is complete.
    PartEnd,
    /// There is no further part.
    End,
}

/// What is said of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// Path within the upload, cleaned; empty without a file name.
    pub(crate) path: String,
    /// Media type without parameters, lower case; empty if there is none.
    pub(crate) media_type: String,
    /// Permissions and time that the client states, behind a `?` in the part's name.
    pub(crate) stated: Attributes,
}

/// Why an upload cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MultipartError {
    /// The header says something else.
    #[error("request Content-Type isn't multipart/form-data")]
    NotMultipart,
    /// There is no usable boundary.
    #[error("no multipart boundary param in Content-Type")]
    NoBoundary,
    /// The client stopped in the middle.
    #[error("multipart: NextPart: EOF")]
    Truncated,
    /// A part's head is too long or no list of headers.
    #[error("malformed MIME header of a part")]
    Head,
    /// Something else follows a boundary.
    #[error("multipart: expecting a new Part")]
    Boundary,
}

/// The boundary that a `Content-Type` announces.
pub(crate) fn boundary(content_type: &str) -> Result<String, MultipartError> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("multipart/form-data")
        && !media_type.eq_ignore_ascii_case("multipart/mixed")
    {
        return Err(MultipartError::NotMultipart);
    }
    match parameter(content_type, "boundary") {
        Some(b) if !b.is_empty() && b.len() <= limits::MULTIPART_BOUNDARY_MAX => Ok(b),
        _ => Err(MultipartError::NoBoundary),
    }
}

/// A parameter of a header such as `form-data; name="a"; filename="b"`.
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (key, after) = rest.split_once('=')?;
        let (value, after) = value(after)?;
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
}

/// A plain or quoted value, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.trim_end().to_owned(), rest));
    };
    let mut out = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &quoted[at + 1..])),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Right after a boundary.
    Delimited,
    Head,
    Data,
    End,
}

/// Reads one upload.
#[derive(Debug)]
pub(crate) struct Multipart {
    /// `\r\n--` and the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
    complete: bool,
}

impl Multipart {
    pub(crate) fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // So that the first boundary looks like the others.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: State::Preamble,
            complete: false,
        }
    }

    /// Adds bytes of the body.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The body has ended.
    pub(crate) fn finish(&mut self) {
        self.complete = true;
    }

    /// The next event; none when more bytes are needed first.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            let step = match self.state {
                State::Preamble => self.preamble(),
                State::Delimited => self.delimited()?,
                State::Head => self.head()?,
                State::Data => self.data(),
                State::End => return Ok(Some(Event::End)),
            };
            match step {
                Step::Event(event) => return Ok(Some(event)),
                Step::On => {}
                Step::More if self.complete => return Err(MultipartError::Truncated),
                Step::More => return Ok(None),
            }
        }
    }

    fn find_delimiter(&self) -> Option<usize> {
        memchr::memmem::find(&self.buffer, &self.delimiter)
    }

    /// How many bytes are surely before the next boundary.
    fn surely_before(&self) -> usize {
        self.buffer.len().saturating_sub(self.delimiter.len() - 1)
    }

    fn preamble(&mut self) -> Step {
        match self.find_delimiter() {
            Some(at) => {
                self.buffer.advance(at + self.delimiter.len());
                self.state = State::Delimited;
                Step::On
            }
            None => {
                self.buffer.advance(self.surely_before());
                Step::More
            }
        }
    }

    fn delimited(&mut self) -> Result<Step, MultipartError> {
        if self.buffer.starts_with(b"--") {
            self.state = State::End;
            return Ok(Step::On);
        }
        let blank = |b: &&u8| matches!(**b, b' ' | b'\t');
        let padding = self.buffer.iter().take_while(blank).count();
        if padding > limits::MULTIPART_PADDING_MAX {
            return Err(MultipartError::Boundary);
        }
        match &self.buffer[padding..] {
            [b'\r', b'\n', ..] => {
                self.buffer.advance(padding + 2);
                self.state = State::Head;
                Ok(Step::On)
            }
            [] | [b'\r'] => Ok(Step::More),
            [b'-'] if padding == 0 => Ok(Step::More),
            _ => Err(MultipartError::Boundary),
        }
    }

    fn head(&mut self) -> Result<Step, MultipartError> {
        let end = if self.buffer.starts_with(b"\r\n") {
            Some(2)
        } else {
            memchr::memmem::find(&self.buffer, b"\r\n\r\n").map(|at| at + 4)
        };
        match end {
            Some(end) if end <= limits::MULTIPART_PART_HEAD_BYTES_MAX => {
                let head = self.buffer.split_to(end);
                self.state = State::Data;
                Ok(Step::Event(Event::Part(part_head(&head)?)))
            }
            None if self.buffer.len() <= limits::MULTIPART_PART_HEAD_BYTES_MAX => Ok(Step::More),
            _ => Err(MultipartError::Head),
        }
    }

    fn data(&mut self) -> Step {
        match self.find_delimiter() {
            Some(0) => {
                self.buffer.advance(self.delimiter.len());
                self.state = State::Delimited;
                Step::Event(Event::PartEnd)
            }
            Some(at) => Step::Event(Event::Data(self.buffer.split_to(at).freeze())),
            None => match self.surely_before() {
                0 => Step::More,
                n => Step::Event(Event::Data(self.buffer.split_to(n).freeze())),
            },
        }
    }
}

enum Step {
    Event(Event),
    On,
    More,
}

fn part_head(bytes: &[u8]) -> Result<PartHead, MultipartError> {
    let text = std::str::from_utf8(bytes).map_err(|_| MultipartError::Head)?;
    let mut head = PartHead::default();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(MultipartError::Head)?;
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("content-disposition") {
            head.path = path(&parameter(value, "filename").unwrap_or_default());
            if let Some((_, query)) = parameter(value, "name").unwrap_or_default().split_once('?') {
                head.stated = stated(&Query::parse(query));
            }
        } else if name.eq_ignore_ascii_case("content-type") {
            let media_type = value.split(';').next().unwrap_or_default();
            head.media_type = media_type.trim().to_ascii_lowercase();
        }
    }
    Ok(head)
}

/// The path that a file name stands for: escapes resolved, nothing above the root.
fn path(file_name: &str) -> String {
    let spaced = file_name.replace('+', " ");
    let decoded = super::unescape(&spaced).unwrap_or_else(|| file_name.to_owned());
    let mut kept: Vec<&str> = Vec::new();
    for component in Path::new(&decoded).components() {
        match component {
            Component::Normal(name) => kept.extend(name.to_str()),
            Component::ParentDir => {
                kept.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_tests::fuzz;
    use proptest::prelude::*;

    use super::*;

    const UPLOAD: &str = "ignored\r\n--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d%2Fa%20b.txt\"\r\n\
        Content-Type: application/octet-stream\r\n\r\nhel\r\n--x lo\r\n\r\n--xx \r\n\
        content-disposition: attachment; filename=e\r\n\r\n\r\n--xx\r\n\r\nno head\r\n--xx--\r\nignored";

    /// Parts and their data, fed in pieces of `step` bytes.
    fn read(input: &[u8], step: usize) -> Result<Vec<(PartHead, String)>, MultipartError> {
        let mut multipart = Multipart::new("xx");
        let mut parts: Vec<(PartHead, Vec<u8>)> = Vec::new();
        let mut pieces = input.chunks(step);
        loop {
            match multipart.next()? {
                Some(Event::Part(head)) => parts.push((head, Vec::new())),
                Some(Event::Data(data)) => parts.last_mut().unwrap().1.extend_from_slice(&data),
                Some(Event::PartEnd) => {}
                Some(Event::End) => break,
                None => match pieces.next() {
                    Some(piece) => multipart.feed(piece),
                    None => multipart.finish(),
                },
            }
        }
        let text = |(head, data)| (head, String::from_utf8_lossy(data).into_owned());
        Ok(parts.iter().map(|(h, d)| text((h.clone(), d))).collect())
    }

    #[test]
    fn parts_come_out_whole_however_they_arrive() {
        let head = |path: &str, media_type: &str| PartHead {
            path: path.to_owned(),
            media_type: media_type.to_owned(),
            stated: Attributes::default(),
        };
        let expected = vec![
            (
                head("d/a b.txt", "application/octet-stream"),
                "hel\r\n--x lo\r\n".to_owned(),
            ),
            (head("e", ""), String::new()),
            (head("", ""), "no head".to_owned()),
        ];
        for step in 1..UPLOAD.len() {
            assert_eq!(
                read(UPLOAD.as_bytes(), step).as_ref(),
                Ok(&expected),
                "in steps of {step}"
            );
        }
    }

    #[test]
    fn permissions_and_times_stand_behind_the_name() {
        let upload = b"--xx\r\nContent-Disposition: form-data; \
            name=\"file?mode=0755&mtime=5&mtime-nsecs=7\"; filename=\"a\"\r\n\r\n\r\n--xx--";
        let parts = read(upload, 99).unwrap();
        let stated = parts[0].0.stated;
        assert_eq!(stated.mode, Some(0o755));
        let mtime = stated.mtime.unwrap();
        assert_eq!((mtime.seconds, mtime.nanos), (5, Some(7)));
    }

    #[test]
    fn a_truncated_upload_is_told_from_a_whole_one() {
        let end = UPLOAD.find("--xx--").unwrap() + 5;
        for cut in 0..end {
            assert_eq!(
                read(&UPLOAD.as_bytes()[..cut], 7),
                Err(MultipartError::Truncated),
                "{cut}"
            );
        }
        assert_eq!(read(b"--xx--", 3), Ok(vec![]));
    }

    #[test]
    fn heads_are_bounded() {
        let endless = format!(
            "--xx\r\nA: {}",
            "b".repeat(2 * limits::MULTIPART_PART_HEAD_BYTES_MAX)
        );
        assert_eq!(read(endless.as_bytes(), 999), Err(MultipartError::Head));
        let padded = format!("--xx{}", " ".repeat(9999));
        assert_eq!(read(padded.as_bytes(), 10), Err(MultipartError::Boundary));
    }

    #[test]
    fn the_boundary_comes_from_the_content_type() {
        assert_eq!(
            boundary("multipart/form-data; boundary=\"a b\""),
            Ok("a b".to_owned())
        );
        assert_eq!(
            boundary("Multipart/Form-Data;x=y; Boundary=ab"),
            Ok("ab".to_owned())
        );
        assert_eq!(
            boundary("multipart/form-data"),
            Err(MultipartError::NoBoundary)
        );
        assert_eq!(boundary("text/plain"), Err(MultipartError::NotMultipart));
    }

    #[test]
    fn no_path_leaves_the_upload() {
        for (name, expected) in [
            ("../../etc/passwd", "etc/passwd"),
            ("/a/./b/../c", "a/c"),
            ("%2e%2e%2Fx", "x"),
            ("a+b%2B", "a b+"),
            ("100%", "100%"),
        ] {
            assert_eq!(path(name), expected);
        }
    }

    #[test]
    fn changed_uploads_never_panic_and_always_end() {
        let mut seeds = fuzz::recorded();
        seeds.extend(vec![UPLOAD.as_bytes().to_vec(); 1000]);
        fuzz::feed(&seeds, |bytes, text| {
            let _ = read(bytes, 1 + bytes.len() % 61);
            let _ = (boundary(text), parameter(text, "filename"), path(text));
        });
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_always_ends(pieces in proptest::collection::vec(
            prop_oneof![
                Just(b"\r\n--xx".to_vec()), Just(b"--".to_vec()), Just(b"\r\n".to_vec()), Just(b"\r\n\r\n".to_vec()),
                Just(b"Content-Disposition: x; filename=\"".to_vec()), proptest::collection::vec(any::<u8>(), 0..9),
            ], 0..16), step in 1usize..9) {
            let _ = read(&pieces.concat(), step);
        }

        #[test]
        fn headers_never_panic(text in ".{0,60}") {
            let _ = (boundary(&text), parameter(&text, "filename"), path(&text));
        }
    }
}
