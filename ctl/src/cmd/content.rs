//! `cat`, `ls` and `get`: content, read through the peer.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use ipfs_cluster_ctl::client::Error;
use ipfs_cluster_protocol::{
    api::content::{ContentEntry, ContentKind},
    limits::PATH_DEPTH_MAX,
};
use tokio::{
    fs,
    io::{AsyncWrite, AsyncWriteExt},
};

use super::{Context, wait::progress_bar};
use crate::exit::Failure;

/// What is to be fetched, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// A CID, or /ipfs/CID/…
    path: String,
    /// Where to; by default a name of its own in this folder
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// Something on its way to this machine.
struct Job {
    path: String,
    entry: ContentEntry,
    to: PathBuf,
    depth: usize,
}

impl Context {
    pub(super) async fn cat(&self, paths: &[String]) -> Result<(), Failure> {
        let mut out = tokio::io::stdout();
        for path in paths {
            let pieces = self.client.content_cat(path).await?;
            copy(pieces, &mut out, |_| {}).await?;
        }
        out.flush().await.map_err(|e| Failure::local("printing", e))
    }

    pub(super) async fn ls(&self, paths: &[String]) -> Result<(), Failure> {
        for path in paths {
            self.show_all(self.client.content_ls(path).await?).await?;
        }
        Ok(())
    }

    /// Fetches a file or a folder with all below it. What is there already is not overwritten.
    pub(super) async fn get(&self, args: GetArgs) -> Result<(), Failure> {
        let entry = self.client.content_stat(&args.path).await?;
        let to = args.output.unwrap_or_else(|| own_name(&entry));
        let bar = progress_bar("{spinner} {bytes} {bytes_per_sec} {wide_msg}");
        let mut jobs = vec![Job {
            path: args.path,
            entry,
            to,
            depth: 0,
        }];
        while let Some(job) = jobs.pop() {
            bar.set_message(job.to.display().to_string());
            let failed =
                |e: io::Error| Failure::local("saving", format!("{}: {e}", job.to.display()));
            match job.entry.kind {
                ContentKind::File => {
                    let mut file = fs::File::create_new(&job.to).await.map_err(failed)?;
                    let pieces = self.client.content_cat(&job.path).await?;
                    copy(pieces, &mut file, |n| bar.inc(n)).await?;
                    file.flush().await.map_err(failed)?;
                }
                ContentKind::Symlink => {
                    let target = job.entry.target.as_deref().unwrap_or_default();
                    fs::symlink(target, &job.to).await.map_err(failed)?;
                }
                ContentKind::Directory => {
                    fs::create_dir(&job.to).await.map_err(failed)?;
                    jobs.extend(self.below(&job).await?);
                }
            }
            attributes(&job).map_err(failed)?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// What is in a folder, each with its place on this machine.
    async fn below(&self, folder: &Job) -> Result<Vec<Job>, Failure> {
        if folder.depth >= PATH_DEPTH_MAX {
            let why = format!("{} is too deep", folder.path);
            return Err(Failure::local("saving", why));
        }
        let entries = self.client.content_ls(&folder.path).await?;
        let jobs = entries.map(|entry| {
            let entry = entry?;
            let Some(cid) = entry.cid.filter(|_| is_name(&entry.name)) else {
                let why = format!("{:?} cannot be the name of a file here", entry.name);
                return Err(Failure::local("saving", why));
            };
            Ok(Job {
                path: format!("/ipfs/{cid}"),
                to: folder.to.join(&entry.name),
                depth: folder.depth + 1,
                entry,
            })
        });
        jobs.try_collect().await
    }
}

/// Whether a name stays within its folder.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

fn own_name(entry: &ContentEntry) -> PathBuf {
    match (&entry.name, entry.cid) {
        (name, _) if is_name(name) => PathBuf::from(name),
        (_, Some(cid)) => PathBuf::from(cid.to_string()),
        _ => PathBuf::from("content"),
    }
}

async fn copy(
    pieces: impl Stream<Item = Result<Bytes, Error>>,
    out: &mut (impl AsyncWrite + Unpin),
    told: impl Fn(u64),
) -> Result<(), Failure> {
    let mut pieces = std::pin::pin!(pieces);
    while let Some(piece) = pieces.try_next().await? {
        let written = out.write_all(&piece).await;
        written.map_err(|e| Failure::local("writing", e))?;
        told(piece.len() as u64);
    }
    Ok(())
}

/// Gives a file its permissions and time, where they were kept. A folder stays writable: what is in
/// it comes later.
fn attributes(job: &Job) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if job.entry.kind != ContentKind::File {
        return Ok(());
    }
    if let Some(seconds) = job.entry.mtime {
        set_time(&job.to, seconds, job.entry.mtime_nsecs.unwrap_or_default())?;
    }
    match job.entry.mode {
        // Not the bits that lend the owner's rights.
        Some(mode) => {
            let permissions = std::fs::Permissions::from_mode(mode & 0o777);
            std::fs::set_permissions(&job.to, permissions)
        }
        None => Ok(()),
    }
}

fn set_time(path: &Path, seconds: i64, nanos: u32) -> io::Result<()> {
    use std::time::{Duration, SystemTime};
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let at = match seconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(whole),
        false => SystemTime::UNIX_EPOCH.checked_add(whole),
    };
    let at = at.and_then(|at| at.checked_add(Duration::from_nanos(nanos.into())));
    let at = at.ok_or_else(|| io::Error::other("a time that cannot be"))?;
    std::fs::File::options()
        .write(true)
        .open(path)?
        .set_modified(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_their_folder() {
        for name in ["a", "..a", "ä b", "\\"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "/", "a\0"] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn times_and_permissions_are_given_back() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("f");
        std::fs::write(&to, "x").unwrap();
        let entry = ContentEntry {
            name: "f".to_owned(),
            cid: None,
            kind: ContentKind::File,
            size: 1,
            target: None,
            mode: Some(0o4640),
            mtime: Some(-5),
            mtime_nsecs: Some(7),
        };
        let job = Job {
            path: String::new(),
            entry,
            to,
            depth: 0,
        };
        attributes(&job).unwrap();
        let meta = std::fs::metadata(&job.to).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (-5, 7));
    }
}
