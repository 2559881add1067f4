//! Bodies that the recordings describe instead of holding.

use cid::{Cid, multihash::Multihash};
use sha2::{Digest, Sha256};

use crate::recording::Body;

const BOUNDARY: &str = "xxBOUNDARYxx";

/// The bytes to send.
pub(crate) fn bytes(body: &Body) -> Vec<u8> {
    match body {
        Body::Text(text) => text.clone().into_bytes(),
        Body::Pattern {
            bytes,
            modulo,
            filename,
        } => {
            let data = (0..*bytes).map(|i| u8::try_from(i % modulo).unwrap());
            multipart(filename, &data.collect::<Vec<_>>())
        }
        Body::Car { car, filename } => multipart(filename, &one_block_car(car.as_bytes())),
    }
}

fn multipart(filename: &str, data: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    [head.as_bytes(), data, end.as_bytes()].concat()
}

/// A CARv1 file: header and one UnixFS file node in dag-pb (CIDv0). All lengths are below 128, so
/// that each varint is one byte.
fn one_block_car(text: &[u8]) -> Vec<u8> {
    let short = |n: usize| u8::try_from(n).ok().filter(|n| *n < 128).unwrap();
    // UnixFS: type file, data, file size; dag-pb: its data field.
    let mut unixfs = vec![0x08, 0x02, 0x12, short(text.len())];
    unixfs.extend_from_slice(text);
    unixfs.extend_from_slice(&[0x18, short(text.len())]);
    let block = [&[0x0a, short(unixfs.len())], unixfs.as_slice()].concat();
    let hash = Multihash::wrap(0x12, &Sha256::digest(&block)).unwrap();
    let cid = Cid::new_v0(hash).unwrap().to_bytes();
    // CBOR: {"roots": [42(0x00 CID)], "version": 1}
    let mut header = vec![0xa2, 0x65];
    header.extend_from_slice(b"roots");
    header.extend_from_slice(&[0x81, 0xd8, 0x2a, 0x58, short(cid.len() + 1), 0]);
    header.extend_from_slice(&cid);
    header.push(0x67);
    header.extend_from_slice(b"version");
    header.push(1);
    let mut car = vec![short(header.len())];
    car.extend_from_slice(&header);
    car.push(short(cid.len() + block.len()));
    car.extend_from_slice(&cid);
    car.extend_from_slice(&block);
    car
}
