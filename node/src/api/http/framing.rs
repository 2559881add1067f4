//! Follows the framing of the requests on a connection and asks, in the client's name, for trailers.
//!
//! The streams of the API always end with a trailer, whether or not the client announced `TE:
//! trailers`, because its clients rely on that; hyper sends trailers only to those that did. So the
//! header is put into each request head on its way in, which takes knowing where heads begin.
//! Wherever the framing is not beyond doubt, bytes pass unchanged from then on, and hyper judges.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ipfs_cluster_protocol::limits;

const TE: &[u8] = b"TE: trailers\r\n";

/// Where in its requests a connection is.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    /// Bytes of a head (or of a chunk's size line) that is not complete.
    held: BytesMut,
    /// Up to where `held` was searched for its end.
    searched: usize,
    heads: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    /// In a body, with so many bytes to go.
    Body(u64),
    ChunkSize,
    /// In a chunk, its line end counted.
    Chunk(u64),
    /// In the trailer section of a request.
    Trailers,
    /// Bytes pass unchanged.
    Unknown,
}

impl Framing {
    pub(super) fn new() -> Self {
        Self {
            at: At::Head,
            held: BytesMut::new(),
            searched: 0,
            heads: 0,
        }
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn in_head(&self) -> bool {
        self.at == At::Head && !self.held.is_empty()
    }

    /// Whether a request has begun, and its body is not complete.
    pub(super) fn in_request(&self) -> bool {
        match self.at {
            At::Head => !self.held.is_empty(),
            At::Unknown => false,
            At::Body(_) | At::ChunkSize | At::Chunk(_) | At::Trailers => true,
        }
    }

    /// Requests whose heads have passed.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Takes bytes of the client, hands on what can be.
    pub(super) fn push(&mut self, mut input: Bytes, out: &mut BytesMut) {
        while !input.is_empty() {
            match self.at {
                At::Unknown => {
                    out.put(&mut input);
                }
                At::Body(left) => {
                    let rest = pass(&mut input, left, out);
                    self.at = if rest == 0 { At::Head } else { At::Body(rest) };
                }
                At::Chunk(left) => {
                    let rest = pass(&mut input, left, out);
                    self.at = if rest == 0 {
                        At::ChunkSize
                    } else {
                        At::Chunk(rest)
                    };
                }
                At::Head => {
                    self.held.put(&mut input);
                    input = self.head(out);
                }
                At::ChunkSize | At::Trailers => {
                    self.held.put(&mut input);
                    input = self.line(out);
                }
            }
        }
    }

    /// Hands on what is held: the client sends no more.
    pub(super) fn finish(&mut self, out: &mut BytesMut) {
        out.put(&mut self.held);
        self.at = At::Unknown;
    }

    /// Gives up: what is held and all that follows passes unchanged.
    fn give_up(&mut self, out: &mut BytesMut) -> Bytes {
        self.finish(out);
        Bytes::new()
    }

    /// Looks for the end of the head in `held`; returns what follows it.
    fn head(&mut self, out: &mut BytesMut) -> Bytes {
        let empty = |b: &&u8| matches!(**b, b'\r' | b'\n');
        let blank = self.held.iter().take_while(empty).count();
        self.held.advance(blank);
        self.searched = self.searched.saturating_sub(blank);
        match self.held.first() {
            None => return Bytes::new(),
            Some(first) if !first.is_ascii_alphabetic() => return self.give_up(out),
            Some(_) => {}
        }
        let Some(end) = end_of_head(&self.held, self.searched) else {
            self.searched = self.held.len().saturating_sub(2);
            if self.held.len() > limits::FRAMING_HEAD_BYTES_MAX {
                return self.give_up(out);
            }
            return Bytes::new();
        };
        self.searched = 0;
        let Some(next) = after_head(&self.held[..end]) else {
            return self.give_up(out);
        };
        let mut head = self.held.split_to(end);
        let first_line = head.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
        out.put(head.split_to(first_line));
        out.put(TE);
        out.put(head);
        self.at = next;
        self.heads += 1;
        self.held.split().freeze()
    }

    /// Looks for a line of a chunked body in `held`; returns what follows it.
    fn line(&mut self, out: &mut BytesMut) -> Bytes {
        let Some(end) = self.held.iter().position(|b| *b == b'\n') else {
            if self.held.len() > limits::FRAMING_CHUNK_LINE_MAX {
                return self.give_up(out);
            }
            return Bytes::new();
        };
        let line = self.held.split_to(end + 1).freeze();
        let text = line.strip_suffix(b"\r\n");
        let next = match (self.at, text) {
            (At::Trailers, Some(b"")) => Some(At::Head),
            (At::Trailers, Some(_)) => Some(At::Trailers),
            (_, Some(text)) => chunk_size(text).map(|size| match size {
                0 => At::Trailers,
                size => At::Chunk(size.saturating_add(2)),
            }),
            (_, None) => None,
        };
        out.put(line);
        match next {
            Some(next) => {
                self.at = next;
                self.held.split().freeze()
            }
            None => self.give_up(out),
        }
    }
}

/// Hands on at most `left` bytes; returns how many are still to come.
fn pass(input: &mut Bytes, left: u64, out: &mut BytesMut) -> u64 {
    let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    out.put(input.split_to(n));
    left - n as u64
}

/// Where the empty line that ends a head ends.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = bytes.get(at..)?.iter().position(|b| *b == b'\n') {
        let line_end = at + found;
        match bytes.get(line_end + 1..)? {
            [b'\n', ..] => return Some(line_end + 2),
            [b'\r', b'\n', ..] => return Some(line_end + 3),
            _ => at = line_end + 1,
        }
    }
    None
}

/// What comes after this head, if that is beyond doubt.
fn after_head(head: &[u8]) -> Option<At> {
    let mut headers = [httparse::EMPTY_HEADER; limits::FRAMING_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        _ => return None,
    }
    if request.version != Some(1) || request.method == Some("CONNECT") {
        return None;
    }
    let mut length = None;
    let mut chunked = false;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("upgrade") {
            return None;
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).ok()?;
            if length.is_some() || !text.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            length = Some(text.parse::<u64>().ok()?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                return None;
            }
            chunked = true;
        }
    }
    match (chunked, length) {
        (true, Some(_)) => None,
        (true, None) => Some(At::ChunkSize),
        (false, None | Some(0)) => Some(At::Head),
        (false, Some(length)) => Some(At::Body(length)),
    }
}

/// The number at the start of a chunk's line.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?;
    let digits = std::str::from_utf8(digits).ok()?.trim_end();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_tests::fuzz;
    use proptest::prelude::*;

    use super::*;

    /// Bytes as text, one character each, so that none is lost.
    fn latin(bytes: &[u8]) -> String {
        bytes.iter().map(|b| char::from(*b)).collect()
    }

    /// What comes out, fed in pieces of `step` bytes.
    fn through(input: &[u8], step: usize) -> String {
        let mut framing = Framing::new();
        let mut out = BytesMut::new();
        for piece in input.chunks(step.max(1)) {
            framing.push(Bytes::copy_from_slice(piece), &mut out);
        }
        framing.finish(&mut out);
        latin(&out)
    }

    #[test]
    fn every_head_on_a_connection_asks_for_trailers_and_bodies_stay_as_they_are() {
        let input = "POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nG\r\n\r\
                     GET /b HTTP/1.1\r\nHost: x\r\n\r\n\
                     \r\nPUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                     3;x=y\r\na\n\n\r\nA\r\n0123456789\r\n0\r\nT: u\r\n\r\n\
                     GET /d HTTP/1.1\r\n\r\n";
        let expected = "POST /a HTTP/1.1\r\nTE: trailers\r\nContent-Length: 4\r\n\r\nG\r\n\r\
                     GET /b HTTP/1.1\r\nTE: trailers\r\nHost: x\r\n\r\n\
                     PUT /c HTTP/1.1\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
                     3;x=y\r\na\n\n\r\nA\r\n0123456789\r\n0\r\nT: u\r\n\r\n\
                     GET /d HTTP/1.1\r\nTE: trailers\r\n\r\n";
        for step in 1..input.len() {
            assert_eq!(
                through(input.as_bytes(), step),
                expected,
                "in steps of {step}"
            );
        }
    }

    #[test]
    fn what_is_not_beyond_doubt_passes_unchanged() {
        for input in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\nab",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nab",
            "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\nab",
            "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nab",
            "GET / HTTP/1.1\r\nbro ken: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x",
        ] {
            assert_eq!(through(input.as_bytes(), 1), input);
            assert_eq!(through(input.as_bytes(), 999), input);
        }
    }

    #[test]
    fn a_head_without_end_is_not_held_for_ever() {
        let endless = format!(
            "GET / HTTP/1.1\r\nX: {}",
            "y".repeat(limits::FRAMING_HEAD_BYTES_MAX)
        );
        let mut framing = Framing::new();
        let mut out = BytesMut::new();
        framing.push(Bytes::from(endless.clone()), &mut out);
        assert_eq!(out.len(), endless.len());
    }

    #[test]
    fn changed_requests_pass_and_nothing_is_lost() {
        let mut seeds = fuzz::recorded();
        for request in [
            "POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nG\r\n\rGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
            "PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\n\n\r\n0\r\nT: u\r\n\r\n",
        ] {
            seeds.extend(vec![request.as_bytes().to_vec(); 1000]);
        }
        fuzz::feed(&seeds, |bytes, _| {
            let out = through(bytes, 1 + bytes.len() % 61);
            let strip = |t: &str| t.replace("TE: trailers\r\n", "").replace(['\r', '\n'], "");
            assert_eq!(strip(&out), strip(&latin(bytes)));
        });
    }

    proptest! {
        #[test]
        fn garbage_passes_and_never_panics(pieces in proptest::collection::vec(
            prop_oneof![
                Just(b"GET / HTTP/1.1\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"Content-Length: 3\r\n".to_vec()),
                Just(b"Transfer-Encoding: chunked\r\n".to_vec()), Just(b"ffffffffffffffff\r\n".to_vec()), Just(b"2\r\nab\r\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..9),
            ], 0..12), step in 1usize..9) {
            let input = pieces.concat();
            let out = through(&input, step);
            let kept = out.replace("TE: trailers\r\n", "");
            let plain = latin(&input);
            let strip = |t: &str| t.replace(['\r', '\n'], "");
            prop_assert_eq!(strip(&kept), strip(&plain));
        }
    }
}
