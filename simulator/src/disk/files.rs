//! The disk door of one life of a machine.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use ipfs_cluster_node::env::{DirEntry, Disk, DiskFile, OpenMode, Space};

use super::{Cost, SimDisk, Store, inode::Inode, names::Node};
use crate::world::now;

/// Files as one life of the machine sees them: none any more once it is fenced.
#[derive(Debug, Clone)]
pub struct Files {
    disk: SimDisk,
    life: u64,
}

/// Relative names are those of the root folder.
fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

impl Files {
    pub(super) fn new(disk: SimDisk, life: u64) -> Self {
        Self { disk, life }
    }

    fn store(&self) -> io::Result<MutexGuard<'_, Store>> {
        let store = self.disk.store();
        if store.life == self.life {
            Ok(store)
        } else {
            Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the machine has crashed",
            ))
        }
    }
}

fn not_found<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotFound.into())
}

impl Disk for Files {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let path = absolute(path);
        let mut store = self.store()?;
        let at = store.charge(Cost::Name);
        let number = match (store.names.get(&path), mode) {
            (Some(Node::Folder), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Some(Node::File(number)), _) => number,
            (None, OpenMode::Read | OpenMode::Write) => return not_found(),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                store.names.check_parent(&path)?;
                let number = store.next_inode;
                store.next_inode += 1;
                store.inodes.insert(number, Inode::default());
                store.names.link(at, &path, Node::File(number));
                number
            }
        };
        drop(store);
        Ok(Arc::new(OpenFile {
            files: self.clone(),
            number,
            writable: mode != OpenMode::Read,
            sync_failed: AtomicBool::new(false),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (absolute(from), absolute(to));
        let mut store = self.store()?;
        let Some(node) = store.names.get(&from) else {
            return not_found();
        };
        store.names.check_parent(&to)?;
        match (node, store.names.get(&to)) {
            (Node::File(_), Some(Node::Folder)) => return Err(io::ErrorKind::IsADirectory.into()),
            (Node::Folder, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            _ => {}
        }
        let at = store.charge(Cost::Name);
        store.names.rename(at, &from, &to);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = absolute(path);
        let mut store = self.store()?;
        match store.names.get(&path) {
            Some(Node::File(_)) => {}
            Some(Node::Folder) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return not_found(),
        }
        let at = store.charge(Cost::Name);
        store.names.unlink(at, &path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = absolute(path);
        let mut store = self.store()?;
        match store.names.get(&path) {
            Some(Node::Folder) => {}
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return not_found(),
        }
        let at = store.charge(Cost::Name);
        store.names.unlink_all(at, &path);
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = absolute(path);
        let mut store = self.store()?;
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for folder in above {
            match store.names.get(folder) {
                Some(Node::Folder) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    let at = store.charge(Cost::Name);
                    store.names.link(at, folder, Node::Folder);
                }
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = absolute(path);
        let mut store = self.store()?;
        store.charge(Cost::Name);
        if store.names.get(&path) != Some(Node::Folder) {
            return not_found();
        }
        let entry = |(path, node): (&Path, Node)| {
            let name = path.file_name()?.to_str()?.to_owned();
            let (is_dir, len) = match node {
                Node::Folder => (true, 0),
                Node::File(number) => (false, store.inodes.get(&number).map_or(0, Inode::len)),
            };
            Some(DirEntry { name, is_dir, len })
        };
        let mut entries: Vec<DirEntry> = store.names.within(&path).filter_map(entry).collect();
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> bool {
        self.store()
            .is_ok_and(|store| store.names.get(&absolute(path)).is_some())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = absolute(path);
        let mut store = self.store()?;
        if store.names.get(&path) != Some(Node::Folder) {
            return not_found();
        }
        if store.sync_fails() {
            return Err(io::Error::other("the disk could not sync a folder"));
        }
        let at = store.charge(Cost::Sync(0));
        store.names.sync(at, &path, now());
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let store = self.store()?;
        Ok(Space {
            free: store.faults.capacity.saturating_sub(store.used),
            total: store.faults.capacity,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        drop(self.open(path, OpenMode::Create)?);
        let path = absolute(path);
        if !self.store()?.locks.insert(path.clone()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held {
            files: self.clone(),
            path,
        }))
    }
}

struct Held {
    files: Files,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        // A fenced life holds nothing any more: the crash has released it.
        if let Ok(mut store) = self.files.store() {
            store.locks.remove(&self.path);
        }
    }
}

struct OpenFile {
    files: Files,
    number: u64,
    writable: bool,
    sync_failed: AtomicBool,
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}", self.number)
    }
}

impl OpenFile {
    /// Calls `change` with the file and the moment, if the disk has room for `len` bytes.
    fn grow_to(
        &self,
        len: u64,
        cost: Cost,
        change: impl FnOnce(&mut Inode, u64),
    ) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut store = self.files.store()?;
        let at = store.charge(cost);
        let (used, capacity) = (store.used, store.faults.capacity);
        let Some(inode) = store.inodes.get_mut(&self.number) else {
            return not_found();
        };
        let before = inode.len();
        let rest = used.saturating_sub(before);
        if len > before && rest.saturating_add(len) > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change(inode, at);
        let after = inode.len();
        store.used = rest.saturating_add(after);
        Ok(())
    }
}

impl DiskFile for OpenFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut store = self.files.store()?;
        store.charge(Cost::Read(out.len()));
        match store.inodes.get(&self.number) {
            Some(inode) => Ok(inode.read(offset, out)),
            None => not_found(),
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        self.grow_to(end, Cost::Write(data.len()), |inode, at| {
            inode.write(at, offset, data);
        })
    }

    fn len(&self) -> io::Result<u64> {
        let store = self.files.store()?;
        match store.inodes.get(&self.number) {
            Some(inode) => Ok(inode.len()),
            None => not_found(),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.grow_to(len, Cost::Name, |inode, at| inode.set_len(at, len))
    }

    fn sync(&self) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Relaxed) {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        let mut store = self.files.store()?;
        let fails = store.sync_fails();
        let Store { rng, inodes, .. } = &mut *store;
        let Some(inode) = inodes.get_mut(&self.number) else {
            return not_found();
        };
        if fails {
            inode.fail_sync(now(), rng);
            self.sync_failed.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the disk could not sync a file"));
        }
        let dirty = inode.unsynced();
        let at = store.charge(Cost::Sync(dirty));
        if let Some(inode) = store.inodes.get_mut(&self.number) {
            inode.sync(at, now());
        }
        Ok(())
    }
}
