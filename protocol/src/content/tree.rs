//! Folders within folders: entries come in any order under their paths, the folders' blocks at the end.
//!
//! Files are imported beforehand; here they are a name and two numbers, some 150 bytes each.

use std::collections::BTreeMap;

use super::{
    Block, Root,
    directory::Directory,
    options::{ImportOptions, OptionsError},
    unixfs::Attributes,
};
use crate::limits::PATH_DEPTH_MAX;

/// Why an entry has no place in the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Empty, or with components that are empty, `.` or `..`.
    #[error("{0:?} is not a path within the upload")]
    Path(String),
    /// More than the bound.
    #[error("{0:?} has more than {PATH_DEPTH_MAX} components")]
    Depth(String),
    /// A file where a folder is needed, or the other way round.
    #[error("{0:?} is both a file and a folder")]
    Clash(String),
}

/// The tree, by path from the root: folders in `folders`, the rest in `files`.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<Vec<String>, Root>,
    folders: BTreeMap<Vec<String>, Attributes>,
    /// Of the folder around everything, if there shall be one.
    wrap: Option<Attributes>,
}

/// A finished folder and its path (empty for the wrapping one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Components joined with `/`.
    pub path: String,
    /// Its root.
    pub root: Root,
}

impl Tree {
    /// Adds a file or symlink; the folders above it come into being.
    pub fn insert(&mut self, path: &str, root: Root) -> Result<(), TreeError> {
        let parts = split(path)?;
        if self.folders.contains_key(&parts) {
            return Err(TreeError::Clash(path.into()));
        }
        self.add_folders(&parts[..parts.len() - 1], path)?;
        self.files.insert(parts, root);
        Ok(())
    }

    /// Adds a folder, which may stay empty.
    pub fn insert_folder(&mut self, path: &str, attributes: Attributes) -> Result<(), TreeError> {
        let parts = split(path)?;
        self.add_folders(&parts, path)?;
        self.folders.insert(parts, attributes);
        Ok(())
    }

    /// Puts everything into one more folder.
    pub fn wrap(&mut self, attributes: Attributes) {
        self.wrap = Some(attributes);
    }

    fn add_folders(&mut self, parts: &[String], path: &str) -> Result<(), TreeError> {
        for end in 1..=parts.len() {
            if self.files.contains_key(&parts[..end]) {
                return Err(TreeError::Clash(path.into()));
            }
            self.folders.entry(parts[..end].to_vec()).or_default();
        }
        Ok(())
    }

    /// Makes the folders; they are told as Kubo tells them: by name, each after what is in it, the
    /// wrapping one last.
    pub fn finish(
        self,
        options: &ImportOptions,
        out: &mut Vec<Block>,
    ) -> Result<Vec<Folder>, OptionsError> {
        let mut open: BTreeMap<Vec<String>, Directory> = BTreeMap::new();
        open.insert(vec![], Directory::new(self.wrap.unwrap_or_default()));
        let folders = self.folders.into_iter();
        open.extend(folders.map(|(path, attributes)| (path, Directory::new(attributes))));
        for (mut path, root) in self.files {
            let name = path.pop().unwrap_or_default();
            open.entry(path).or_default().insert(name.into(), root);
        }
        // In the order of paths a folder comes before what is in it, so backwards it comes after.
        let mut done = Vec::with_capacity(open.len());
        while let Some((mut path, directory)) = open.pop_last() {
            if path.is_empty() && self.wrap.is_none() {
                break;
            }
            let root = directory.build(options, out)?;
            done.push((path.clone(), root));
            if let Some(name) = path.pop() {
                open.entry(path).or_default().insert(name.into(), root);
            }
        }
        done.sort_by(|(a, _), (b, _)| {
            let differ = a.iter().zip(b).find(|(a, b)| a != b);
            differ.map_or(b.len().cmp(&a.len()), |(a, b)| a.cmp(b))
        });
        let folders = done.into_iter().map(|(path, root)| Folder {
            path: path.join("/"),
            root,
        });
        Ok(folders.collect())
    }
}

fn split(path: &str) -> Result<Vec<String>, TreeError> {
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    let shown = || path.chars().take(256).collect();
    if path.split('/').any(bad) {
        return Err(TreeError::Path(shown()));
    }
    if path.split('/').count() > PATH_DEPTH_MAX {
        return Err(TreeError::Depth(shown()));
    }
    Ok(path.split('/').map(str::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Root {
        Root {
            cid: crate::content::hash::name_like(1, 0x55, 0x12, 32, b"x").unwrap(),
            file_size: 1,
            dag_size: 1,
        }
    }

    #[test]
    fn folders_come_after_what_is_in_them_and_the_wrapping_one_last() {
        let mut tree = Tree::default();
        tree.insert("a/b/c", file()).unwrap();
        tree.insert("d", file()).unwrap();
        tree.insert_folder("a/e", Attributes::default()).unwrap();
        tree.wrap(Attributes::default());
        let mut out = vec![];
        let done = tree.finish(&ImportOptions::default(), &mut out).unwrap();
        let paths: Vec<_> = done.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["a/b", "a/e", "a", ""]);
        assert_eq!(out.last().unwrap().cid, done.last().unwrap().root.cid);
    }

    #[test]
    fn nothing_is_made_around_everything_unless_asked_for() {
        let mut tree = Tree::default();
        tree.insert("a/b", file()).unwrap();
        tree.insert("c", file()).unwrap();
        let mut out = vec![];
        let done = tree.finish(&ImportOptions::default(), &mut out).unwrap();
        let paths: Vec<_> = done.iter().map(|f| f.path.as_str()).collect();
        assert_eq!((paths, out.len()), (vec!["a"], 1));
    }

    #[test]
    fn bad_paths_and_clashes_are_refused() {
        let mut tree = Tree::default();
        for bad in ["", "/a", "a//b", "a/../b", ".", "a/"] {
            assert!(
                matches!(tree.insert(bad, file()), Err(TreeError::Path(_))),
                "{bad}"
            );
        }
        let deep = vec!["x"; PATH_DEPTH_MAX + 1].join("/");
        assert!(matches!(
            tree.insert(&deep, file()),
            Err(TreeError::Depth(_))
        ));
        tree.insert("a", file()).unwrap();
        assert_eq!(
            tree.insert("a/b", file()),
            Err(TreeError::Clash("a/b".into()))
        );
        tree.insert_folder("f", Attributes::default()).unwrap();
        assert_eq!(tree.insert("f", file()), Err(TreeError::Clash("f".into())));
    }
}
