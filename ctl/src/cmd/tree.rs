//! Files and folders of this machine as an upload.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ipfs_cluster_ctl::client::{Content, Upload};
use ipfs_cluster_protocol::{
    content::unixfs::{Attributes, Mtime},
    limits::PATH_DEPTH_MAX,
};

use super::ignore::Ignored;

/// How a tree is walked.
#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct Walk {
    /// Into folders.
    pub(super) recursive: bool,
    /// Also names that begin with a dot.
    pub(super) hidden: bool,
    /// Entries of folders that are left out.
    pub(super) ignored: Ignored,
    /// With the place on this machine.
    pub(super) absolute: bool,
    /// What the arguments lead to, where they are symlinks.
    pub(super) dereference_args: bool,
    /// What symlinks lead to, everywhere.
    pub(super) dereference_symlinks: bool,
    /// Also folders without entries.
    pub(super) empty_dirs: bool,
    /// With permissions and times.
    pub(super) attributes: bool,
    /// What the file on the standard input is called.
    pub(super) stdin_name: String,
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
        let mut first = true;
        while let Some((path, name)) = open.pop() {
            let argument = std::mem::take(&mut first);
            let follow = self.dereference_symlinks || (argument && self.dereference_args);
            let meta = match follow {
                true => fs::metadata(&path)?,
                false => fs::symlink_metadata(&path)?,
            };
            let content = if meta.is_dir() {
                if !self.recursive {
                    let text = format!("{} is a directory, use the '-r' flag", path.display());
                    return Err(io::Error::other(text));
                }
                // Symlinks that are followed may lead in a circle.
                if name.split('/').count() >= PATH_DEPTH_MAX {
                    let text = format!("{} is too deep", path.display());
                    return Err(io::Error::other(text));
                }
                let below = self.entries(&path)?;
                if below.is_empty() && !argument && !self.empty_dirs {
                    continue;
                }
                let below = below.into_iter().rev();
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
            let attributes = self.attributes.then(|| attributes(&meta));
            tree.uploads.push(Upload {
                name,
                absolute: self.absolute.then(|| fs::canonicalize(&path)).transpose()?,
                attributes: attributes.unwrap_or_default(),
                content,
            });
        }
        Ok(())
    }

    /// Takes the standard input as a file.
    pub(super) fn take_stdin(&self, tree: &mut Tree) {
        tree.uploads.push(Upload {
            name: self.stdin_name.clone(),
            absolute: None,
            attributes: Attributes::default(),
            content: Content::File(Box::pin(tokio::io::stdin())),
        });
    }

    fn entries(&self, folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let shown = self.hidden || !name.starts_with('.');
            if shown && !self.ignored.has(&name) {
                found.push((entry.path(), name));
            }
        }
        found.sort();
        Ok(found)
    }
}

fn attributes(meta: &fs::Metadata) -> Attributes {
    let nanos = u32::try_from(meta.mtime_nsec()).ok();
    Attributes {
        mode: Some(meta.mode() & 0o7777),
        mtime: Some(Mtime {
            seconds: meta.mtime(),
            nanos: nanos.filter(|nanos| *nanos > 0),
        }),
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

    fn names(walk: &Walk, path: &Path) -> io::Result<Vec<String>> {
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
            ignored: Ignored::default(),
            absolute: false,
            dereference_args: false,
            dereference_symlinks: false,
            empty_dirs: true,
            attributes: false,
            stdin_name: String::new(),
        };
        let found = names(&walk, &root).unwrap();
        assert_eq!(found, ["d", "d/b.txt", "d/sub", "d/sub/a.txt"]);
        let all = Walk {
            hidden: true,
            ..walk.clone()
        };
        assert_eq!(names(&all, &root).unwrap().len(), 5);
        let some = Walk {
            ignored: Ignored::read(None, &["sub".to_owned(), "d".to_owned()], |_| ()).unwrap(),
            ..walk.clone()
        };
        // What is named on the command line is never left out.
        assert_eq!(names(&some, &root).unwrap(), ["d", "d/b.txt"]);
        let flat = Walk {
            recursive: false,
            ..walk.clone()
        };
        assert!(names(&flat, &root).is_err());
        assert_eq!(names(&flat, &root.join("b.txt")).unwrap(), ["b.txt"]);

        fs::create_dir(root.join("empty")).unwrap();
        std::os::unix::fs::symlink("..", root.join("sub/up")).unwrap();
        let full = Walk {
            empty_dirs: false,
            ..walk.clone()
        };
        let found = names(&full, &root).unwrap();
        assert_eq!(found, ["d", "d/b.txt", "d/sub", "d/sub/a.txt", "d/sub/up"]);
        let circle = Walk {
            dereference_symlinks: true,
            ..walk
        };
        assert!(names(&circle, &root).is_err());
    }
}
