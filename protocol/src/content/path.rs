//! Paths such as `/ipfs/<cid>/dir/file`, one name at a time.

use super::{
    DAG_PB,
    dag_pb::{DagPbError, Node},
    hamt::NameHash,
    shard::Shard,
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
    /// A node of a sharded folder that is none.
    #[error("{cid} is not a part of a sharded folder: {why}")]
    Shard {
        /// The node.
        cid: Cid,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A trie nobody would build.
    #[error("{0}: the sharded folder is too deep")]
    TooDeep(Cid),
    /// A trie of more blocks than are read.
    #[error("{0}: the sharded folder has too many blocks")]
    TooLarge(Cid),
    /// Neither raw nor UnixFS.
    #[error("{0} is not UnixFS")]
    NotUnixFs(Cid),
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

/// The search for one name in a folder, block by block.
///
/// [`Lookup::wanted`] names the block to read next, [`Lookup::supply`] takes it.
#[derive(Debug)]
pub struct Lookup {
    name: String,
    /// The folder, for messages.
    under: Cid,
    wanted: Cid,
    /// Of the name, as far as it is not used up.
    hash: NameHash,
    /// Levels of a sharded folder gone down.
    level: usize,
}

impl Lookup {
    /// Starts at the root of a folder.
    #[must_use]
    pub fn new(folder: Cid, name: &str) -> Self {
        Self {
            hash: NameHash::new(name.as_bytes()),
            name: name.to_string(),
            under: folder,
            wanted: folder,
            level: 0,
        }
    }

    /// The block that comes next.
    #[must_use]
    pub fn wanted(&self) -> Cid {
        self.wanted
    }

    /// Takes the block that was wanted; the entry, or None while another block is wanted.
    pub fn supply(&mut self, block: &[u8]) -> Result<Option<Cid>, PathError> {
        let cid = self.wanted;
        if cid.0.codec() != DAG_PB {
            return Err(PathError::NotAFolder(cid));
        }
        let node = Node::decode(block)?;
        let fs = UnixFs::decode(node.data.as_deref().ok_or(UnixFsError::Missing)?)?;
        let name = self.name.as_bytes();
        let found = match fs.kind {
            Kind::Directory if self.level == 0 => {
                let found = node.links.iter().find(|link| link.name == name);
                found.map(|link| (link, true))
            }
            Kind::HamtShard => {
                let shard = Shard::read(&cid, &fs)?;
                let place = self.hash.next(shard.fanout);
                let place = place.ok_or(PathError::TooDeep(self.under))?;
                let found = shard.find(&node.links, place, name);
                let is_entry = |link| Ok::<_, PathError>(!shard.name(&cid, link)?.is_empty());
                let found = found.map(|link| Ok::<_, PathError>((link, is_entry(link)?)));
                found.transpose()?
            }
            _ => return Err(PathError::NotAFolder(cid)),
        };
        match found {
            Some((link, true)) => Ok(Some(link.cid)),
            Some((link, false)) => {
                self.level += 1;
                self.wanted = link.cid;
                Ok(None)
            }
            None => Err(PathError::NoLink {
                name: self.name.clone(),
                under: self.under,
            }),
        }
    }
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
        let supply = |block: &[u8], name| Lookup::new(cid, name).supply(block);
        let error = supply(&[0x0a, 2, 8, 1], "nope").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("no link named \"nope\" under {CID}")
        );
        let file = supply(&[0x0a, 2, 8, 2], "x");
        assert_eq!(file, Err(PathError::NotAFolder(cid)));
        assert!(matches!(
            supply(&[0x0a, 2, 8, 5], "x"),
            Err(PathError::Shard { .. })
        ));
        assert!(supply(&[1, 2, 3], "x").is_err());
    }
}
