//! Names of files and folders: those programs see, those that survive, and the changes in between.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::world::{Micros, Rng};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File(u64),
}

#[derive(Debug, Clone)]
enum Op {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
    SyncFolder(PathBuf),
}

impl Op {
    fn touches(&self, folder: &Path) -> bool {
        let within = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Link(path, node) => {
                // Journalling file systems make a folder's own name durable with its content.
                within(path) || (*node == Node::Folder && folder.starts_with(path))
            }
            Self::Unlink(path) => within(path),
            Self::Rename(from, to) => within(from) || within(to),
            Self::SyncFolder(_) => false,
        }
    }
}

type Tree = BTreeMap<PathBuf, Node>;

/// All names of one machine.
#[derive(Debug, Default)]
pub(super) struct Names {
    live: Tree,
    durable: Tree,
    journal: Vec<(Micros, Op)>,
}

fn rename(tree: &mut Tree, from: &Path, to: &Path) {
    let moved: Vec<PathBuf> = tree
        .range(from.to_path_buf()..)
        .map(|(path, _)| path.clone())
        .take_while(|path| path.starts_with(from))
        .collect();
    for path in moved {
        if let (Some(node), Ok(rest)) = (tree.remove(&path), path.strip_prefix(from)) {
            let name = if rest.as_os_str().is_empty() {
                to.to_path_buf()
            } else {
                to.join(rest)
            };
            tree.insert(name, node);
        }
    }
}

fn apply(tree: &mut Tree, op: &Op) {
    match op {
        Op::Link(path, node) => {
            tree.insert(path.clone(), *node);
        }
        Op::Unlink(path) => {
            tree.remove(path);
        }
        Op::Rename(from, to) => rename(tree, from, to),
        Op::SyncFolder(_) => {}
    }
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        if path.parent().is_none() || path.as_os_str().is_empty() {
            return Some(Node::Folder);
        }
        self.live.get(path).copied()
    }

    /// The folder a name would stand in must exist.
    pub(super) fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().map(|parent| self.get(parent)) {
            Some(Some(Node::Folder)) => Ok(()),
            Some(Some(Node::File(_))) => Err(io::ErrorKind::NotADirectory.into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Everything directly within a folder.
    pub(super) fn within<'a>(
        &'a self,
        folder: &'a Path,
    ) -> impl Iterator<Item = (&'a Path, Node)> + 'a {
        self.live
            .range(folder.to_path_buf()..)
            .take_while(move |(path, _)| path.starts_with(folder))
            .filter(move |(path, _)| path.parent() == Some(folder))
            .map(|(path, node)| (path.as_path(), *node))
    }

    fn change(&mut self, at: Micros, op: Op) {
        apply(&mut self.live, &op);
        self.journal.push((at, op));
    }

    pub(super) fn link(&mut self, at: Micros, path: &Path, node: Node) {
        self.change(at, Op::Link(path.to_path_buf(), node));
    }

    pub(super) fn unlink(&mut self, at: Micros, path: &Path) {
        self.change(at, Op::Unlink(path.to_path_buf()));
    }

    /// Removes a folder with all in it.
    pub(super) fn unlink_all(&mut self, at: Micros, folder: &Path) {
        let inside: Vec<PathBuf> = self
            .live
            .keys()
            .filter(|path| path.starts_with(folder))
            .cloned()
            .collect();
        for path in inside.iter().rev() {
            self.unlink(at, path);
        }
    }

    pub(super) fn rename(&mut self, at: Micros, from: &Path, to: &Path) {
        self.change(at, Op::Rename(from.to_path_buf(), to.to_path_buf()));
    }

    /// The names in a folder are durable from `at` on.
    pub(super) fn sync(&mut self, at: Micros, folder: &Path, now: Micros) {
        self.settle(now);
        let op = Op::SyncFolder(folder.to_path_buf());
        self.journal.push((at, op));
    }

    fn settle(&mut self, now: Micros) {
        while let Some(n) = self
            .journal
            .iter()
            .position(|(at, op)| *at <= now && matches!(op, Op::SyncFolder(_)))
        {
            let later = self.journal.split_off(n + 1);
            let Some((_, Op::SyncFolder(folder))) = self.journal.pop() else {
                return;
            };
            let earlier = std::mem::take(&mut self.journal);
            // In order, so that a rename finds what it renames: a change elsewhere that an
            // included rename builds on goes with it.
            let last = earlier.iter().rposition(|(_, op)| op.touches(&folder));
            let needs_all = earlier
                .iter()
                .any(|(_, op)| matches!(op, Op::Rename(..)) && op.touches(&folder));
            for (n, (at, op)) in earlier.into_iter().enumerate() {
                let included = needs_all && Some(n) <= last;
                if included || op.touches(&folder) {
                    apply(&mut self.durable, &op);
                } else {
                    self.journal.push((at, op));
                }
            }
            self.journal.extend(later);
        }
    }

    pub(super) fn kill(&mut self, now: Micros) {
        self.settle(now);
        self.journal.retain(|(at, _)| *at <= now);
        self.live = self.durable.clone();
        for (_, op) in &self.journal {
            apply(&mut self.live, op);
        }
    }

    /// Of the changes not synced, the first few are there: file systems keep their order.
    pub(super) fn power_loss(&mut self, now: Micros, rng: &mut Rng) {
        self.settle(now);
        let mut pending = std::mem::take(&mut self.journal);
        pending.retain(|(at, op)| *at <= now && !matches!(op, Op::SyncFolder(_)));
        let kept = rng.between(0, pending.len() as u64);
        for (_, op) in pending.iter().take(usize::try_from(kept).unwrap_or(0)) {
            apply(&mut self.durable, op);
        }
        self.live = self.durable.clone();
    }

    /// Files that some name stands for, now or after a crash.
    pub(super) fn files(&self) -> impl Iterator<Item = u64> {
        let linked = self.journal.iter().filter_map(|(_, op)| match op {
            Op::Link(_, node) => Some(*node),
            _ => None,
        });
        self.live
            .values()
            .chain(self.durable.values())
            .copied()
            .chain(linked)
            .filter_map(|node| match node {
                Node::File(n) => Some(n),
                Node::Folder => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survivors(names: &mut Names, seed: u64) -> Vec<String> {
        names.power_loss(100, &mut Rng::new(seed, "test"));
        let name = |path: &PathBuf| path.display().to_string();
        names.live.keys().map(name).collect()
    }

    #[test]
    fn a_name_is_sure_only_after_its_folder_was_synced() {
        let build = |synced: bool| {
            let mut names = Names::default();
            names.link(1, Path::new("/d"), Node::Folder);
            names.link(2, Path::new("/d/f"), Node::File(1));
            if synced {
                names.sync(3, Path::new("/d"), 3);
            }
            names
        };
        let count = |synced| {
            (0..40)
                .filter(|seed| survivors(&mut build(synced), *seed).contains(&"/d/f".to_owned()))
                .count()
        };
        assert_eq!(count(true), 40);
        assert!((1..40).contains(&count(false)));
    }

    #[test]
    fn a_renamed_folder_takes_its_files_along() {
        let mut names = Names::default();
        names.link(1, Path::new("/a"), Node::Folder);
        names.link(1, Path::new("/a/f"), Node::File(1));
        names.rename(2, Path::new("/a"), Path::new("/b"));
        names.sync(3, Path::new("/"), 3);
        assert_eq!(survivors(&mut names, 1), ["/b", "/b/f"]);
    }
}
