//! Cuts a stream of bytes into chunks, holding at most one chunk.

use bytes::{Buf, Bytes, BytesMut};

use super::options::{ChunkerSpec, OptionsError};

/// The machine: feed it with [`Chunker::take`] until it wants more, end with [`Chunker::finish`].
#[derive(Debug)]
pub struct Chunker {
    size: usize,
    /// The start of a chunk whose end has not come; shorter than `size`.
    held: BytesMut,
}

impl Chunker {
    /// A machine for this kind of cut.
    pub fn new(spec: ChunkerSpec) -> Result<Self, OptionsError> {
        spec.check()?;
        match spec {
            ChunkerSpec::Size(size) => Ok(Self {
                size,
                held: BytesMut::new(),
            }),
            ChunkerSpec::Rabin { .. } => Err(OptionsError::Unsupported("chunker rabin")),
            ChunkerSpec::Buzhash => Err(OptionsError::Unsupported("chunker buzhash")),
        }
    }

    /// Takes from the front of `input`: the next chunk, or None once all input is taken.
    pub fn take(&mut self, input: &mut Bytes) -> Option<Bytes> {
        if self.held.is_empty() && input.len() >= self.size {
            return Some(input.split_to(self.size));
        }
        let missing = self.size - self.held.len();
        let n = missing.min(input.len());
        self.held.extend_from_slice(&input[..n]);
        input.advance(n);
        (self.held.len() == self.size).then(|| self.held.split().freeze())
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

    proptest! {
        #[test]
        fn cuts_do_not_depend_on_how_the_bytes_arrive(
            data in proptest::collection::vec(any::<u8>(), 0..2000),
            size in 1usize..100,
            pieces in proptest::collection::vec(1usize..300, 1..50),
        ) {
            let mut chunker = Chunker::new(ChunkerSpec::Size(size)).unwrap();
            let (mut chunks, mut rest) = (vec![], Bytes::from(data.clone()));
            for piece in pieces.iter().cycle() {
                let mut input = rest.split_to((*piece).min(rest.len()));
                while let Some(chunk) = chunker.take(&mut input) {
                    chunks.push(chunk);
                }
                prop_assert!(input.is_empty());
                if rest.is_empty() { break; }
            }
            chunks.extend(chunker.finish());
            let expected: Vec<_> = data.chunks(size).map(Bytes::copy_from_slice).collect();
            prop_assert_eq!(chunks, expected);
        }
    }

    #[test]
    fn chunkers_to_come_say_so() {
        let error = Chunker::new("buzhash".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "chunker buzhash is not supported yet");
        assert!(Chunker::new("rabin".parse().unwrap()).is_err());
    }
}
