//! How fast bytes become blocks: MB/s of each chunker, layout and hash function, on one core.
//!
//! `cargo run --release -p ipfs-cluster-protocol --example import_speed`

use std::time::Instant;

use bytes::Bytes;
use ipfs_cluster_protocol::content::{
    hash::HashFunction,
    import::FileImport,
    options::{ImportOptions, Layout, OptionsError},
};

/// Bytes imported for each figure.
const BYTES: usize = 256 * 1024 * 1024;

/// Bytes that differ enough to be cut by content.
fn noise(len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(len);
    out.into()
}

fn main() -> Result<(), OptionsError> {
    let data = noise(BYTES);
    for (chunker, layout, hash) in [
        ("size-262144", Layout::Balanced, "sha2-256"),
        ("size-1048576", Layout::Balanced, "sha2-256"),
        ("size-262144", Layout::Trickle, "sha2-256"),
        ("rabin", Layout::Balanced, "sha2-256"),
        ("buzhash", Layout::Balanced, "sha2-256"),
        ("size-262144", Layout::Balanced, "sha2-512"),
        ("size-262144", Layout::Balanced, "sha3-256"),
        ("size-262144", Layout::Balanced, "blake2b-256"),
        ("size-262144", Layout::Balanced, "blake3"),
    ] {
        let mut options = ImportOptions {
            chunker: chunker.parse()?,
            layout,
            raw_leaves: true,
            ..ImportOptions::default()
        };
        options.naming.version = 1;
        options.naming.hash = HashFunction::by_name(hash).ok_or(OptionsError::Hash)?;
        let begun = Instant::now();
        let (mut file, mut out) = (FileImport::new(&options)?, Vec::new());
        // In pieces as a socket gives them.
        for from in (0..data.len()).step_by(1024 * 1024) {
            file.write(
                data.slice(from..data.len().min(from + 1024 * 1024)),
                &mut out,
            );
            out.clear();
        }
        let root = file.finish(&mut out);
        let rate = BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64();
        println!(
            "{chunker:<14} {layout:<9?} {hash:<12} {rate:7.0} MB/s  {}",
            root.cid
        );
    }
    Ok(())
}
