//! Messages on a stream: a varint length, then the message. Every read and write has a deadline.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt};
use ipfs_cluster_protocol::limits::BITSWAP_MESSAGE_BYTES_MAX;
use tokio::time::timeout;
use unsigned_varint::io::ReadError;

use crate::env::RawPipe;

/// How long a stream may stay without a new message.
const IDLE_TIME: Duration = Duration::from_secs(300);
/// How long one message may take on its way.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The length of the next message; None at the end of the stream.
pub(super) async fn read_length(stream: &mut RawPipe) -> io::Result<Option<usize>> {
    let read = unsigned_varint::aio::read_usize(stream);
    match timeout(IDLE_TIME, read).await {
        Err(_) => Ok(None),
        Ok(Ok(len)) if len > BITSWAP_MESSAGE_BYTES_MAX => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message of {len} bytes, at most {BITSWAP_MESSAGE_BYTES_MAX} are allowed"),
        )),
        Ok(Ok(len)) => Ok(Some(len)),
        Ok(Err(ReadError::Io(e))) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Ok(Err(e)) => Err(e.into()),
    }
}

/// A message whose length was read. Memory is taken as bytes come, not as they are promised.
pub(super) async fn read_body(stream: &mut RawPipe, len: usize) -> io::Result<Bytes> {
    let mut body = Vec::new();
    let mut limited = stream.take(len as u64);
    let read = timeout(MESSAGE_TIMEOUT, limited.read_to_end(&mut body));
    let n = read.await.map_err(|_| io::ErrorKind::TimedOut)??;
    if n < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body.into())
}

/// Writes a message.
pub(super) async fn write(stream: &mut RawPipe, body: &[u8]) -> io::Result<()> {
    let mut buffer = unsigned_varint::encode::usize_buffer();
    let len = unsigned_varint::encode::usize(body.len(), &mut buffer);
    let write = async {
        stream.write_all(len).await?;
        stream.write_all(body).await?;
        stream.flush().await
    };
    timeout(MESSAGE_TIMEOUT, write)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
