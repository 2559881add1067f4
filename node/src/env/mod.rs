//! The six doors between a peer and the outside (ARCHITECTURE.md, "Doors").
//!
//! **Architecture invariant:** threads, files and sockets are touched under this folder alone. Time
//! and randomness have no door: code calls tokio's and std's clocks and the usual random sources,
//! and the simulator answers those calls itself.

use std::{
    fmt,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use futures::{future::BoxFuture, stream::BoxStream};
use libp2p::core::transport::Boxed as BoxedTransport;
use tokio::io::{AsyncRead, AsyncWrite};

pub mod real;

/// Both directions of a byte pipe, as tokio sees it.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// A byte pipe accepted or connected through a door.
pub type ByteStream = Box<dyn Duplex>;

/// The same for libp2p, which speaks the `futures` traits.
pub trait FuturesDuplex: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static {}
impl<T: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static> FuturesDuplex for T {}

/// A raw (unsecured, unmultiplexed) pipe of a libp2p transport.
pub type RawPipe = Box<dyn FuturesDuplex>;

/// Everything a peer may touch. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Under both swarms: TCP with DNS, or simulated pipes. pnet, noise and yamux go above it.
    pub transport: Arc<dyn TransportDoor>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Where blocking work runs.
    pub lanes: Arc<dyn Lanes>,
    /// Servers.
    pub listen: Arc<dyn ListenDoor>,
    /// Clients.
    pub connect: Arc<dyn ConnectDoor>,
    /// Peers of the same network segment.
    pub discovery: Arc<dyn Discovery>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}

/// Makes the transport of one swarm.
pub trait TransportDoor: Send + Sync {
    /// A new transport of raw pipes: it serves `/ip4|ip6|dns*/…/tcp/…`.
    fn pipes(&self) -> io::Result<BoxedTransport<RawPipe>>;
}

/// How [`Disk::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; reads only.
    Read,
    /// It must exist; reads and writes.
    Write,
    /// It is made when missing; reads and writes; its content stays.
    Create,
    /// It must not exist; reads and writes.
    CreateNew,
}

/// Free and total bytes of the file system a path is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// What [`Disk::list`] finds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Name within the folder.
    pub name: String,
    /// Folder or file.
    pub is_dir: bool,
    /// Length of a file in bytes.
    pub len: u64,
}

/// Files and folders. Every call blocks: outside start-up it belongs into a lane.
///
/// What is written is durable only after [`DiskFile::sync`], a new or renamed name only after
/// [`Disk::sync_dir`] of its folder. New files have mode 0600, new folders 0700.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file or folder, over an existing file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and all in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// What is in a folder, sorted by name.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Whether something has this name.
    fn exists(&self, path: &Path) -> bool;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Room left where `path` is.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes an exclusive lock on a file (made when missing), held until the value is dropped.
    /// `WouldBlock` when another process has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads at an offset; short only at the end of the file.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `data` at an offset.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
}

impl dyn Disk + '_ {
    /// The whole of a file of at most `max` bytes.
    pub fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = file.len()?;
        if len > max {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{}: {len} bytes, at most {max} are expected",
                    path.display()
                ),
            ));
        }
        let mut out = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let n = file.read_at(0, &mut out)?;
        out.truncate(n);
        Ok(out)
    }

    /// Replaces a file so that a crash leaves the old content or the new, durable at return.
    pub fn write_atomic(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".new");
        let new: PathBuf = dir.join(name);
        if self.exists(&new) {
            self.remove_file(&new)?;
        }
        let file = self.open(&new, OpenMode::CreateNew)?;
        file.write_at(0, data)?;
        file.sync()?;
        drop(file);
        self.rename(&new, path)?;
        self.sync_dir(dir)
    }
}

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Gives out lanes.
pub trait Lanes: Send + Sync {
    /// A new lane: its jobs run one after the other, in order of submission.
    fn lane(&self, name: &str) -> Lane;
}

/// Runs jobs in order.
pub trait LaneDoor: Send + Sync {
    /// Takes the job at once (so order is the order of calls), and resolves when it has run. A lane that was shut down drops the job.
    fn submit(&self, job: Job) -> BoxFuture<'static, ()>;
}

/// The lane is gone: the peer shuts down (or, simulated, has crashed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lane is closed")]
pub struct LaneClosed;

impl From<LaneClosed> for io::Error {
    fn from(e: LaneClosed) -> Self {
        Self::new(io::ErrorKind::BrokenPipe, e)
    }
}

/// A handle on one lane. Cheap to clone.
#[derive(Clone)]
pub struct Lane(Arc<dyn LaneDoor>);

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lane")
    }
}

impl Lane {
    /// Wraps a door's lane.
    pub fn new(door: Arc<dyn LaneDoor>) -> Self {
        Self(door)
    }

    /// Runs blocking work in this lane. Its place in the order is taken at the call, not at the
    /// first poll; dropping the future does not undo it.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, LaneClosed>> + Send + 'static {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let done = self.0.submit(Box::new(move || {
            let _ = tx.send(work());
        }));
        async move {
            done.await;
            rx.await.map_err(|_| LaneClosed)
        }
    }
}

/// Where a server listens or a client connects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Addr {
    /// Host name or IP address, and port.
    Tcp(String, u16),
    /// Path of a socket.
    Unix(PathBuf),
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Opens listeners for the HTTP servers.
pub trait ListenDoor: Send + Sync {
    /// Listens; port 0 takes a free one.
    fn listen(&self, addr: Addr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
}

/// Accepts byte pipes.
pub trait Listener: Send {
    /// Where it listens, with the port it got.
    fn local_addr(&self) -> Addr;
    /// The next pipe and who opened it. Cancel-safe.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(ByteStream, Addr)>>;
}

/// Opens byte pipes for the HTTP clients.
pub trait ConnectDoor: Send + Sync {
    /// Connects, with names resolved.
    fn connect(&self, addr: Addr) -> BoxFuture<'static, io::Result<ByteStream>>;
}

/// Finds peers nearby (mDNS).
pub trait Discovery: Send + Sync {
    /// Announces `addresses` under `service` and yields the multiaddrs (with `/p2p/`) that others
    /// announce. Ends at once where there is none.
    fn run(&self, service: &str, addresses: Vec<String>) -> BoxStream<'static, String>;
}

/// A future that is boxed and sent between threads.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
