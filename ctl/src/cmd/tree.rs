//! Files and folders of this machine as an upload.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ipfs_cluster_ctl::client::{Content, Upload};

/// How a tree is walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// Into folders.
    pub(super) recursive: bool,
    /// Also names that begin with a dot.
    pub(super) hidden: bool,
    /// With the place on this machine.
    pub(super) absolute: bool,
}

/// Entries in depth-first order, and the bytes of all files.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) uploads: Vec<Upload>,
    pub(super) bytes: u64,
}

impl Walk {
    /// Takes a path and all below it.
    pub(super) fn take(&self, path: &Path, tree: &mut Tree) -> io::Result<()> {
        let name = match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => fs::canonicalize(path)?
                .file_name()
                .map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        };
        // A stack in reverse order, so that entries come out by name, each folder before its own.
        let mut open: Vec<(PathBuf, String)> = vec![(path.to_owned(), name)];
        while let Some((path, name)) = open.pop() {
            let meta = fs::symlink_metadata(&path)?;
            let content = if meta.is_dir() {
                if !self.recursive {
                    let text = format!("{} is a directory, use the '-r' flag", path.display());
                    return Err(io::Error::other(text));
                }
                let below = self.entries(&path)?.into_iter().rev();
                open.extend(below.map(|(path, entry)| (path, format!("{name}/{entry}"))));
                Content::Folder
            } else if meta.is_symlink() {
                Content::Link(fs::read_link(&path)?.to_string_lossy().into_owned())
            } else {
                // What cannot be opened is told now rather than in the middle of the upload.
                fs::File::open(&path)?;
                tree.bytes += meta.len();
                Content::File(Box::pin(Lazy::new(path.clone())))
            };
            tree.uploads.push(Upload {
                name,
                absolute: self.absolute.then(|| fs::canonicalize(&path)).transpose()?,
                content,
            });
        }
        Ok(())
    }

    fn entries(&self, folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.hidden || !name.starts_with('.') {
                found.push((entry.path(), name));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// A file that is opened when its turn comes, so that a large tree needs few descriptors.
struct Lazy {
    path: PathBuf,
    state: State,
}

enum State {
    Closed,
    Opening(futures::future::BoxFuture<'static, io::Result<tokio::fs::File>>),
    Open(tokio::fs::File),
}

impl Lazy {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: State::Closed,
        }
    }
}

impl tokio::io::AsyncRead for Lazy {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        out: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        loop {
            let next = match &mut self.state {
                State::Open(file) => return std::pin::Pin::new(file).poll_read(cx, out),
                State::Closed => State::Opening(Box::pin(tokio::fs::File::open(self.path.clone()))),
                State::Opening(opening) => {
                    State::Open(std::task::ready!(opening.as_mut().poll(cx))?)
                }
            };
            self.state = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(walk: Walk, path: &Path) -> io::Result<Vec<String>> {
        let mut tree = Tree::default();
        walk.take(path, &mut tree)?;
        Ok(tree.uploads.into_iter().map(|u| u.name).collect())
    }

    #[test]
    fn a_tree_comes_in_order_with_folders_first() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("d");
        fs::create_dir_all(root.join("sub")).unwrap();
        for name in ["b.txt", "sub/a.txt", ".hidden"] {
            fs::write(root.join(name), name).unwrap();
        }
        let walk = Walk {
            recursive: true,
            hidden: false,
            absolute: false,
        };
        let found = names(walk, &root).unwrap();
        assert_eq!(found, ["d", "d/b.txt", "d/sub", "d/sub/a.txt"]);
        let all = Walk {
            hidden: true,
            ..walk
        };
        assert_eq!(names(all, &root).unwrap().len(), 5);
        let flat = Walk {
            recursive: false,
            ..walk
        };
        assert!(names(flat, &root).is_err());
        assert_eq!(names(flat, &root.join("b.txt")).unwrap(), ["b.txt"]);
    }
}
