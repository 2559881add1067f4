//! The blocks of an embedded node as they lie on the disk, looked at behind its back: which are whole,
//! and what a DAG lacks.

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// The file of a large block; its name is the multihash in base32, its folder the last two characters but
/// one of it.
fn file_of(ipfs: &Path, cid: &Cid) -> PathBuf {
    let text = cid.0.hash().to_bytes();
    let name = cid::multibase::encode(cid::multibase::Base::Base32Lower, text);
    let shard = &name[name.len() - 3..name.len() - 1];
    ipfs.join("blocks").join(shard).join(&name[1..])
}

/// Every file in the folders of a folder.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = vec![];
    for inner in fs::read_dir(folder)? {
        for file in fs::read_dir(inner?.path())? {
            files.push(file?.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Bytes of all files that hold blocks: what is left of blocks that are gone may be a third of them.
///
/// # Errors
/// When the folder cannot be read.
pub fn bytes(ipfs: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for name in ["blocks", "packs"] {
        for file in files_below(&ipfs.join(name))? {
            sum += fs::metadata(file)?.len();
        }
    }
    Ok(sum)
}

/// The small blocks, which share files, by their multihash. A record is `BLCK`, the length of the name
/// (one byte), that of the data (four), the name, the data; what comes after the last one is none.
fn packed(ipfs: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for file in files_below(&ipfs.join("packs"))? {
        let pack = fs::read(file)?;
        let mut rest = pack.as_slice();
        while let Some((&[b'B', b'L', b'C', b'K', name, a, b, c, d], after)) =
            rest.split_first_chunk::<9>()
        {
            let data = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some((name, after)) = after.split_at_checked(usize::from(name)) else {
                break;
            };
            let Some((data, after)) = after.split_at_checked(data) else {
                break;
            };
            found.insert(name.to_vec(), data.to_vec());
            rest = after;
        }
    }
    Ok(found)
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
    let small = packed(ipfs).map_err(|e| format!("{}: {e}", ipfs.display()))?;
    let (mut open, mut seen) = (vec![root], BTreeSet::new());
    while let Some(cid) = open.pop() {
        if !seen.insert(cid.to_bytes()) {
            continue;
        }
        let (inline, packed) = (inlined(&cid), small.get(&cid.0.hash().to_bytes()));
        let block = match inline.or(packed.map(Vec::as_slice)) {
            Some(data) => data.to_vec(),
            None => fs::read(file_of(ipfs, &cid))
                .map_err(|e| format!("{cid} of {root} is missing: {e}"))?,
        };
        verify(&cid, &block).map_err(|e| format!("{cid} of {root} is corrupt: {e}"))?;
        open.extend(links(&cid, &block).map_err(|e| format!("{cid} of {root}: {e}"))?);
    }
    Ok(())
}
