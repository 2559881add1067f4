//! UnixFS v1: what the data of a dag-pb node says of a file, a folder or a symlink.

use super::wire::{Reader, Value, WireError, put_bytes_field, put_number, put_number_field};

/// What a node is. The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A leaf of a file (trickle layout, old writers).
    Raw = 0,
    /// A folder whose entries are its links.
    Directory = 1,
    /// A file, or a part of one.
    File = 2,
    /// Out of use.
    Metadata = 3,
    /// A symbolic link; its data is the target.
    Symlink = 4,
    /// A part of a sharded folder.
    HamtShard = 5,
}

/// A modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mtime {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// And nanoseconds, where given.
    pub nanos: Option<u32>,
}

/// What a file system knows of an entry besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Unix permissions.
    pub mode: Option<u32>,
    /// Modification time.
    pub mtime: Option<Mtime>,
}

/// The message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixFs {
    /// What it is.
    pub kind: Kind,
    /// Bytes of the file held right here; a symlink's target; a shard's bitmap.
    pub data: Option<Vec<u8>>,
    /// Bytes of the file from here down.
    pub file_size: Option<u64>,
    /// The same of each link, in order.
    pub block_sizes: Vec<u64>,
    /// Hash function of a sharded folder.
    pub hash_type: Option<u64>,
    /// Width of a sharded folder.
    pub fanout: Option<u64>,
    /// Permissions and time, where the writer kept them.
    pub attributes: Attributes,
}

/// Why the data of a node is not UnixFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnixFsError {
    /// Not even protobuf.
    #[error("UnixFS: {0}")]
    Wire(#[from] WireError),
    /// A node must say what it is.
    #[error("UnixFS: unknown type {0:?}")]
    Kind(Option<u64>),
    /// A field of another type than it must be.
    #[error("UnixFS: field {0} is malformed")]
    Field(u64),
    /// No data at all: a dag-pb node that is not UnixFS.
    #[error("UnixFS: the node has no data")]
    Missing,
}

impl UnixFs {
    /// A node of this kind with nothing in it.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            data: None,
            file_size: None,
            block_sizes: vec![],
            hash_type: None,
            fanout: None,
            attributes: Attributes::default(),
        }
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let data_len = self.data.as_ref().map_or(0, Vec::len);
        let mut out = Vec::with_capacity(data_len + self.block_sizes.len() * 5 + 24);
        self.put(self.data.as_deref(), &mut out);
        out
    }

    /// Appends the canonical bytes, with this as the data.
    pub(super) fn put(&self, data: Option<&[u8]>, out: &mut Vec<u8>) {
        put_number_field(out, 1, self.kind as u64);
        if let Some(data) = data {
            put_bytes_field(out, 2, data);
        }
        if let Some(size) = self.file_size {
            put_number_field(out, 3, size);
        }
        for size in &self.block_sizes {
            put_number_field(out, 4, *size);
        }
        let optional = [
            (5, self.hash_type),
            (6, self.fanout),
            (7, self.attributes.mode.map(u64::from)),
        ];
        for (field, value) in optional {
            if let Some(value) = value {
                put_number_field(out, field, value);
            }
        }
        if let Some(mtime) = self.attributes.mtime {
            let mut inner = Vec::with_capacity(16);
            // Two's complement, as protobuf's int64 is.
            put_number_field(&mut inner, 1, mtime.seconds.cast_unsigned());
            if let Some(nanos) = mtime.nanos {
                put_number(&mut inner, 2 << 3 | 5);
                inner.extend_from_slice(&nanos.to_le_bytes());
            }
            put_bytes_field(out, 8, &inner);
        }
    }

    /// Reads the message; fields it does not know are skipped.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnixFsError> {
        let mut kind = None;
        let mut out = Self::new(Kind::Raw);
        let mut reader = Reader(bytes);
        while let Some((field, value)) = reader.field()? {
            match (field, value) {
                (1, Value::Number(n)) => kind = Some(n),
                (2, Value::Bytes(data)) => out.data = Some(data.to_vec()),
                (3, Value::Number(n)) => out.file_size = Some(n),
                (4, Value::Number(n)) => out.block_sizes.push(n),
                (4, Value::Bytes(packed)) => {
                    let mut packed = Reader(packed);
                    while !packed.0.is_empty() {
                        out.block_sizes.push(packed.number()?);
                    }
                }
                (5, Value::Number(n)) => out.hash_type = Some(n),
                (6, Value::Number(n)) => out.fanout = Some(n),
                // Readers must ignore what does not fit into 32 bits.
                (7, Value::Number(n)) => {
                    out.attributes.mode = Some((n & u64::from(u32::MAX)) as u32)
                }
                (8, Value::Bytes(inner)) => out.attributes.mtime = decode_mtime(inner)?,
                (1..=8, _) => return Err(UnixFsError::Field(field)),
                _ => {}
            }
        }
        out.kind = match kind {
            Some(0) => Kind::Raw,
            Some(1) => Kind::Directory,
            Some(2) => Kind::File,
            Some(3) => Kind::Metadata,
            Some(4) => Kind::Symlink,
            Some(5) => Kind::HamtShard,
            other => return Err(UnixFsError::Kind(other)),
        };
        Ok(out)
    }
}

fn decode_mtime(bytes: &[u8]) -> Result<Option<Mtime>, UnixFsError> {
    let (mut seconds, mut nanos) = (None, None);
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (1, Value::Number(n)) => seconds = Some(n.cast_signed()),
            (2, Value::Fixed32(n)) => nanos = Some(n),
            (1 | 2, _) => return Err(UnixFsError::Field(8)),
            _ => {}
        }
    }
    Ok(seconds.map(|seconds| Mtime { seconds, nanos }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn messages_come_back(
            data in any::<Option<Vec<u8>>>(),
            sizes in any::<Vec<u64>>(),
            file_size in any::<Option<u64>>(),
            mode in any::<Option<u32>>(),
            mtime in any::<Option<(i64, Option<u32>)>>(),
        ) {
            let mut fs = UnixFs::new(Kind::File);
            fs.data = data;
            fs.block_sizes = sizes;
            fs.file_size = file_size;
            fs.attributes.mode = mode;
            fs.attributes.mtime = mtime.map(|(seconds, nanos)| Mtime { seconds, nanos });
            prop_assert_eq!(UnixFs::decode(&fs.encode()), Ok(fs));
        }

        #[test]
        fn garbage_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = UnixFs::decode(&bytes);
        }
    }

    #[test]
    fn packed_sizes_are_read() {
        let fs = UnixFs::decode(&[8, 2, 0x22, 3, 1, 0xac, 2]).unwrap();
        assert_eq!(fs.block_sizes, [1, 300]);
    }

    #[test]
    fn a_message_without_type_is_refused() {
        assert_eq!(UnixFs::decode(&[]), Err(UnixFsError::Kind(None)));
        assert_eq!(UnixFs::decode(&[8, 9]), Err(UnixFsError::Kind(Some(9))));
        assert_eq!(UnixFs::decode(&[10, 0]), Err(UnixFsError::Field(1)));
    }
}
