//! The blocks of an embedded node as they lie on the disk, looked at behind its back: which are whole,
//! and what a DAG lacks.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use ipfs_cluster_protocol::{
    content::{
        hash::{inlined, verify},
        links::links,
    },
    id::Cid,
};

/// The IPFS folder of a peer's configuration folder.
#[must_use]
pub fn folder(peer: &Path) -> PathBuf {
    peer.join("ipfs")
}

/// The file of a block; its name is the multihash in base32, its folder the last two characters but
/// one of it.
fn file_of(ipfs: &Path, cid: &Cid) -> PathBuf {
    let text = cid.0.hash().to_bytes();
    let name = cid::multibase::encode(cid::multibase::Base::Base32Lower, text);
    let shard = &name[name.len() - 3..name.len() - 1];
    ipfs.join("blocks").join(shard).join(&name[1..])
}

/// Bytes of all blocks there are.
///
/// # Errors
/// When the folder cannot be read.
pub fn bytes(ipfs: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for shard in fs::read_dir(ipfs.join("blocks"))? {
        for block in fs::read_dir(shard?.path())? {
            sum += block?.metadata()?.len();
        }
    }
    Ok(sum)
}

/// Files in a folder beside the blocks; none where there is no such folder.
#[must_use]
pub fn files_in(ipfs: &Path, name: &str) -> usize {
    fs::read_dir(ipfs.join(name)).map_or(0, Iterator::count)
}

/// Looks at every block of a DAG.
///
/// # Errors
/// Says which block is missing, or is not what its name says.
pub fn whole(ipfs: &Path, root: &str) -> Result<(), String> {
    let root: Cid = root.parse().map_err(|e| format!("{e}"))?;
    let (mut open, mut seen) = (vec![root], BTreeSet::new());
    while let Some(cid) = open.pop() {
        if !seen.insert(cid.to_bytes()) {
            continue;
        }
        let block = match inlined(&cid) {
            Some(data) => data.to_vec(),
            None => fs::read(file_of(ipfs, &cid))
                .map_err(|e| format!("{cid} of {root} is missing: {e}"))?,
        };
        verify(&cid, &block).map_err(|e| format!("{cid} of {root} is corrupt: {e}"))?;
        open.extend(links(&cid, &block).map_err(|e| format!("{cid} of {root}: {e}"))?);
    }
    Ok(())
}
