//! Paths such as `/ipfs/<cid>/dir/file`, one name at a time.

use super::{
    DAG_PB,
    dag_pb::{DagPbError, Node},
    unixfs::{Kind, UnixFs, UnixFsError},
};
use crate::{
    id::{Cid, IdError},
    limits::PATH_DEPTH_MAX,
};

/// A path taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPath {
    /// Where it starts.
    pub root: Cid,
    /// The names below.
    pub names: Vec<String>,
}

/// Why a path leads nowhere. Texts are Kubo's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not a path.
    #[error("invalid path {path:?}: {why}")]
    Invalid {
        /// The text, shortened.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A folder has no such entry.
    #[error("no link named {name:?} under {under}")]
    NoLink {
        /// The name asked for.
        name: String,
        /// The folder.
        under: Cid,
    },
    /// Names below something that has none.
    #[error("{0} is not a folder")]
    NotAFolder(Cid),
    /// A folder spread over many blocks.
    #[error("{0}: sharded folders are not supported yet")]
    Sharded(Cid),
    /// A broken block.
    #[error(transparent)]
    DagPb(#[from] DagPbError),
    /// A broken block.
    #[error(transparent)]
    UnixFs(#[from] UnixFsError),
}

impl ContentPath {
    /// Reads `<cid>/…` or `/ipfs/<cid>/…`; empty names are skipped as Kubo skips them.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let invalid = |why: String| PathError::Invalid {
            path: path.chars().take(256).collect(),
            why,
        };
        let rest = path.strip_prefix("/ipfs/").unwrap_or(path);
        if rest.starts_with('/') {
            return Err(invalid("it does not start with /ipfs/".into()));
        }
        let mut parts = rest.split('/').filter(|p| !p.is_empty());
        let Some(root) = parts.next() else {
            return Err(invalid("path does not have enough components".into()));
        };
        let root = root.parse().map_err(|e: IdError| invalid(e.why))?;
        let names: Vec<String> = parts.map(str::to_string).collect();
        if names.len() > PATH_DEPTH_MAX {
            return Err(invalid(format!("more than {PATH_DEPTH_MAX} names")));
        }
        Ok(Self { root, names })
    }
}

/// The entry `name` of the folder `block`.
pub fn child(cid: &Cid, block: &[u8], name: &str) -> Result<Cid, PathError> {
    if cid.0.codec() != DAG_PB {
        return Err(PathError::NotAFolder(*cid));
    }
    let node = Node::decode(block)?;
    match UnixFs::decode(node.data.as_deref().ok_or(UnixFsError::Missing)?)?.kind {
        Kind::Directory => {}
        Kind::HamtShard => return Err(PathError::Sharded(*cid)),
        Kind::Raw | Kind::File | Kind::Metadata | Kind::Symlink => {
            return Err(PathError::NotAFolder(*cid));
        }
    }
    let found = node.links.iter().find(|l| l.name == name.as_bytes());
    found.map(|l| l.cid).ok_or_else(|| PathError::NoLink {
        name: name.to_string(),
        under: *cid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafybeicne2gcifarvdv5xrwynke37bhiuf6zdtbcd6xodfuifbeldhth4u";

    #[test]
    fn paths_are_taken_apart() {
        for text in [format!("/ipfs/{CID}/a/b"), format!("{CID}/a//b/")] {
            let path = ContentPath::parse(&text).unwrap();
            assert_eq!(
                (path.root.to_string(), path.names.join("|")),
                (CID.into(), "a|b".into())
            );
        }
        for bad in ["", "/", "/ipfs/", "abc", "/ipns/x", "/ipfs//x"] {
            assert!(
                matches!(ContentPath::parse(bad), Err(PathError::Invalid { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_missing_entry_is_told_in_kubos_words() {
        let cid = CID.parse().unwrap();
        let error = child(&cid, &[0x0a, 2, 8, 1], "nope").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no link named \"nope\" under {CID}")
        );
        assert_eq!(
            child(&cid, &[0x0a, 2, 8, 2], "x"),
            Err(PathError::NotAFolder(cid))
        );
        assert_eq!(
            child(&cid, &[0x0a, 2, 8, 5], "x"),
            Err(PathError::Sharded(cid))
        );
        assert!(child(&cid, &[1, 2, 3], "x").is_err());
    }
}
