//! What the Go program leaves in a configuration folder: found and named, never read or written.

use std::path::Path;

use crate::env::Disk;

/// Folders in which the Go program keeps its state.
const FOLDERS: [&str; 5] = ["raft", "pebble", "leveldb", "badger", "badger3"];

/// Those that are there and hold something.
pub fn go_state(folder: &Path, disk: &dyn Disk) -> Vec<&'static str> {
    let holds_something = |name: &&str| {
        let path = folder.join(name);
        disk.exists(&path) && disk.list(&path).is_ok_and(|found| !found.is_empty())
    };
    FOLDERS.into_iter().filter(holds_something).collect()
}
