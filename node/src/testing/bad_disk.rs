//! A disk that fails when it is told to.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::env::{DirEntry, Disk, DiskFile, Env, OpenMode, Space, real};

/// Writes reach the file; while `broken`, no sync succeeds, and never again after that until the
/// file is opened anew.
#[derive(Debug)]
struct Unsynced {
    file: Arc<dyn DiskFile>,
    broken: Arc<AtomicBool>,
    spoilt: AtomicBool,
}

impl DiskFile for Unsynced {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            // What a failed sync leaves: the page is dropped, and nobody is told again.
            return Ok(());
        }
        self.file.write_at(offset, data)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            self.spoilt.store(true, Ordering::SeqCst);
        }
        if self.spoilt.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.file.sync()
    }
}

struct BadDisk {
    disk: Arc<dyn Disk>,
    broken: Arc<AtomicBool>,
}

impl Disk for BadDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let (file, broken) = (self.disk.open(path, mode)?, self.broken.clone());
        Ok(Arc::new(Unsynced {
            file,
            broken,
            spoilt: AtomicBool::new(false),
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }
    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is broken"));
        }
        self.disk.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }
}

/// A real environment whose disk is broken while the switch says so.
pub(crate) fn bad_env() -> (Env, Arc<AtomicBool>) {
    let mut env = real::env();
    let broken = Arc::new(AtomicBool::new(false));
    env.disk = Arc::new(BadDisk {
        disk: env.disk.clone(),
        broken: broken.clone(),
    });
    (env, broken)
}
