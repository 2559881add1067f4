//! Cuts a stream of bytes into chunks, holding at most one chunk.

mod buzhash;
mod rabin;

use bytes::{Buf, Bytes, BytesMut};

use super::options::{ChunkerSpec, OptionsError};
use buzhash::Buzhash;
use rabin::Rabin;

/// The machine: feed it with [`Chunker::take`] until it wants more, end with [`Chunker::finish`].
#[derive(Debug)]
pub struct Chunker {
    cutter: Cutter,
    /// The start of a chunk whose end has not come.
    held: BytesMut,
}

/// Finds where chunks end.
#[derive(Debug)]
enum Cutter {
    Size { size: usize, have: usize },
    Rabin(Box<Rabin>),
    Buzhash(Box<Buzhash>),
}

impl Cutter {
    /// How many of these bytes, which follow those seen before, complete the chunk; None if it goes
    /// on after them.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Size { size, have } => {
                let missing = *size - *have;
                if bytes.len() < missing {
                    *have += bytes.len();
                    return None;
                }
                *have = 0;
                Some(missing)
            }
            Self::Rabin(rabin) => rabin.end(bytes),
            Self::Buzhash(buzhash) => buzhash.end(bytes),
        }
    }
}

impl Chunker {
    /// A machine for this kind of cut.
    pub fn new(spec: ChunkerSpec) -> Result<Self, OptionsError> {
        spec.check()?;
        let cutter = match spec {
            ChunkerSpec::Size(size) => Cutter::Size { size, have: 0 },
            ChunkerSpec::Rabin { min, avg, max } => {
                Cutter::Rabin(Box::new(Rabin::new(min, avg, max)))
            }
            ChunkerSpec::Buzhash => Cutter::Buzhash(Box::default()),
        };
        Ok(Self {
            cutter,
            held: BytesMut::new(),
        })
    }

    /// Takes from the front of `input`: the next chunk, or None once all input is taken.
    pub fn take(&mut self, input: &mut Bytes) -> Option<Bytes> {
        if input.is_empty() {
            return None;
        }
        let Some(n) = self.cutter.end(input) else {
            self.held.extend_from_slice(input);
            input.clear();
            return None;
        };
        if self.held.is_empty() {
            return Some(input.split_to(n));
        }
        self.held.extend_from_slice(&input[..n]);
        input.advance(n);
        Some(self.held.split().freeze())
    }

    /// What is left at the end of the input.
    #[must_use]
    pub fn finish(self) -> Option<Bytes> {
        (!self.held.is_empty()).then(|| self.held.freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// The chunks of `data` when it comes in pieces of these lengths, over and over.
    fn cut(spec: ChunkerSpec, data: &[u8], pieces: &[usize]) -> Vec<Bytes> {
        let mut chunker = Chunker::new(spec).unwrap();
        let (mut chunks, mut rest) = (vec![], Bytes::copy_from_slice(data));
        for piece in pieces.iter().cycle() {
            let mut input = rest.split_to((*piece).min(rest.len()));
            while let Some(chunk) = chunker.take(&mut input) {
                chunks.push(chunk);
            }
            assert!(input.is_empty());
            if rest.is_empty() {
                break;
            }
        }
        chunks.extend(chunker.finish());
        chunks
    }

    /// Bytes that differ enough to be cut by content.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed | 1;
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            out.extend(state.to_le_bytes());
        }
        out.truncate(len);
        out
    }

    proptest! {
        #[test]
        fn cuts_do_not_depend_on_how_the_bytes_arrive(
            data in proptest::collection::vec(any::<u8>(), 0..2000),
            size in 1usize..100,
            pieces in proptest::collection::vec(1usize..300, 1..50),
        ) {
            let expected: Vec<_> = data.chunks(size).map(Bytes::copy_from_slice).collect();
            prop_assert_eq!(cut(ChunkerSpec::Size(size), &data, &pieces), expected);
        }

        #[test]
        fn cuts_by_content_do_not_depend_on_how_the_bytes_arrive(
            seed in any::<u64>(),
            len in 0usize..600_000,
            pieces in proptest::collection::vec(1usize..100_000, 1..50),
            buzhash in any::<bool>(),
        ) {
            let data = noise(seed, len);
            let (spec, max) = match buzhash {
                true => (ChunkerSpec::Buzhash, 512 * 1024),
                false => (ChunkerSpec::Rabin { min: 64, avg: 256, max: 512 }, 512),
            };
            let whole = cut(spec, &data, &[len.max(1)]);
            prop_assert_eq!(&cut(spec, &data, &pieces), &whole);
            prop_assert_eq!(whole.concat(), data);
            prop_assert!(whole.iter().all(|c| !c.is_empty() && c.len() <= max));
        }
    }

    #[test]
    fn cuts_by_content_find_their_way_back() {
        let data = noise(7, 200_000);
        let shifted = [b"new".as_slice(), &data].concat();
        let spec = ChunkerSpec::Rabin {
            min: 64,
            avg: 1024,
            max: 8192,
        };
        let (a, b) = (cut(spec, &data, &[4096]), cut(spec, &shifted, &[4096]));
        let same = b.iter().filter(|chunk| a.contains(chunk)).count();
        assert!(same + 10 > a.len(), "{same} of {}", a.len());
    }
}
