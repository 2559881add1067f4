//! Files of the operating system.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the real side of the disk door"
)]

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::env::{DirEntry, Disk, DiskFile, OpenMode, Space};

/// Only the owner reads and writes: the folder holds keys.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// The file systems of this machine.
#[derive(Debug)]
pub(super) struct FileSystem;

impl Disk for FileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(FILE_MODE);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(OpenFile {
            file: options.open(path)?,
            sync_failed: AtomicBool::new(false),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut out = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Removed between the two calls.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            // No name of ours is anything but UTF-8; a foreign one is not ours to touch.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            out.push(DirEntry {
                name,
                is_dir: meta.is_dir(),
                len: if meta.is_dir() { 0 } else { meta.len() },
            });
        }
        out.sort();
        Ok(out)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // `dir.join("name").parent()` of a relative name is the empty path.
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    /// After a failed fsync the kernel may drop the dirty pages and report the next one as good:
    /// nothing written before it can be trusted any more through this handle.
    sync_failed: AtomicBool,
}

impl DiskFile for OpenFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        self.file
            .sync_data()
            .inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_written_read_cut_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        FileSystem.create_dir_all(&folder).unwrap();
        assert_eq!(mode_of(&folder), 0o700);
        let path = folder.join("f");
        assert_eq!(
            FileSystem.open(&path, OpenMode::Write).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        let file = FileSystem.open(&path, OpenMode::CreateNew).unwrap();
        assert_eq!(mode_of(&path), 0o600);
        file.write_at(3, b"def").unwrap();
        file.write_at(0, b"abc").unwrap();
        file.sync().unwrap();
        let mut out = [0; 10];
        assert_eq!(file.read_at(1, &mut out).unwrap(), 5);
        assert_eq!(&out[..5], b"bcdef");
        file.set_len(2).unwrap();
        assert_eq!(file.len().unwrap(), 2);
        assert!(FileSystem.open(&path, OpenMode::CreateNew).is_err());
        let read_only = FileSystem.open(&path, OpenMode::Read).unwrap();
        assert!(read_only.write_at(0, b"x").is_err());
    }

    #[test]
    fn names_are_listed_in_order_and_renamed_over() {
        let dir = tempfile::tempdir().unwrap();
        let disk: &dyn Disk = &FileSystem;
        disk.write_atomic(&dir.path().join("b"), b"one").unwrap();
        disk.write_atomic(&dir.path().join("b"), b"two!").unwrap();
        disk.create_dir_all(&dir.path().join("a")).unwrap();
        let entry = |name: &str, is_dir, len| DirEntry {
            name: name.to_owned(),
            is_dir,
            len,
        };
        assert_eq!(
            disk.list(dir.path()).unwrap(),
            [entry("a", true, 0), entry("b", false, 4)]
        );
        assert_eq!(disk.read(&dir.path().join("b"), 4).unwrap(), b"two!");
        assert!(disk.read(&dir.path().join("b"), 3).is_err());
        disk.remove_dir_all(&dir.path().join("a")).unwrap();
        disk.remove_file(&dir.path().join("b")).unwrap();
        assert!(disk.list(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn a_lock_has_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileSystem.lock(&path).unwrap();
        let refused = FileSystem.lock(&path).err().map(|e| e.kind());
        assert_eq!(refused, Some(io::ErrorKind::WouldBlock));
        drop(held);
        assert!(FileSystem.lock(&path).is_ok());
    }

    #[test]
    fn free_space_is_part_of_the_total() {
        let dir = tempfile::tempdir().unwrap();
        let space = FileSystem.space(dir.path()).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
    }
}
