//! redb's file, through the disk door.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Database, StorageBackend};

use crate::env::{Disk, DiskFile, OpenMode};

use super::error::{OpenError, failed, guard};

/// One open file of the disk door, as redb wants it.
#[derive(Debug)]
struct FileBackend(Arc<dyn DiskFile>);

impl StorageBackend for FileBackend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            let n = self.0.read_at(offset + filled as u64, &mut out[filled..])?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += n;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}

/// How a database file is opened.
#[derive(Debug, Clone)]
pub(super) struct DbFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Memory for its pages at most: a small file gets less.
    pub(super) cache_bytes: usize,
    /// Files up to this length are verified as a whole when opened; larger ones rely on the
    /// checksums of their rows.
    pub(super) verify_bytes_max: u64,
}

/// What a file gets at least, if it may.
const CACHE_BYTES_MIN: usize = 16 << 20;

/// A quarter of a file's length is enough for the pages that are wanted often, and it grows slowly
/// beside its process.
fn cache_bytes(len: u64, max: usize) -> usize {
    let quarter = usize::try_from(len / 4).unwrap_or(usize::MAX);
    quarter.clamp(CACHE_BYTES_MIN.min(max), max)
}

/// Opens or makes a database. Blocks: call it in the file's lane.
pub(super) fn open_database(disk: &dyn Disk, file: &DbFile) -> Result<Database, OpenError> {
    let path = &file.path;
    let fresh = !disk.exists(path);
    let handle = disk
        .open(path, OpenMode::Create)
        .map_err(OpenError::io(path))?;
    let len = handle.len().map_err(OpenError::io(path))?;
    let verify = len > 0 && len <= file.verify_bytes_max;
    let cache_bytes = cache_bytes(len, file.cache_bytes);
    let database = guard(path, || {
        let mut builder = Database::builder();
        builder
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(verify);
        let opened = builder.create_with_backend(FileBackend(handle));
        opened.map_err(failed(path))
    })?;
    if fresh {
        let dir = path.parent().unwrap_or(Path::new("."));
        disk.sync_dir(dir).map_err(OpenError::io(dir))?;
    }
    Ok(database)
}
