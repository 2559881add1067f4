//! How long it takes to add a large file, and many small ones, at one of three peers (embedded IPFS
//! nodes, each peer a process), until every peer has all of it durable; beside a plain copy of the same
//! input in the same run, and the most memory each peer has taken. The number is that of megabytes in
//! the large file; the small ones are twenty for each, of 10 kB.
//!
//! ```sh
//! cargo run --release -p ipfs-cluster-tests --example bulk -- 1000
//! ```

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use ipfs_cluster_tests::{Dev, DevPeer, by_hand, random};

const PEERS: usize = 3;
/// Bytes of a small file.
const SMALL: usize = 10_000;
/// Small files for each megabyte of the large one.
const SMALL_PER_MEGABYTE: u64 = 20;
/// Small files of one folder.
const IN_FOLDER: u64 = 1000;
/// How long the last copy may take to be told of.
const TOLD: Duration = Duration::from_secs(600);

fn written(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

/// One file of so many megabytes, none of which is another.
fn large(folder: &Path, megabytes: u64) -> anyhow::Result<()> {
    let mut file = File::create(folder.join("large"))?;
    let mut piece = random(1_000_000);
    for n in 0..megabytes {
        piece
            .get_mut(..8)
            .context("a piece has a beginning")?
            .copy_from_slice(&n.to_be_bytes());
        file.write_all(&piece)?;
    }
    Ok(file.sync_all()?)
}

fn small(folder: &Path, files: u64) -> anyhow::Result<()> {
    let mut bytes = random(SMALL);
    for n in 0..files {
        let folder = folder.join((n / IN_FOLDER).to_string());
        fs::create_dir_all(&folder)?;
        bytes
            .get_mut(..8)
            .context("a file has a beginning")?
            .copy_from_slice(&n.to_be_bytes());
        written(&folder.join(n.to_string()), &bytes)?;
    }
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// A copy of the input, synced.
fn copied(input: &Path, to: &Path) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    run(Command::new("cp").arg("-r").args([input, to]))?;
    run(&mut Command::new("sync"))?;
    let took = begun.elapsed();
    fs::remove_dir_all(to)?;
    Ok(took)
}

/// The most memory that a process has taken.
fn memory(peer: &DevPeer) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", peer.pid))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(number.context("the system tells how much memory a process has")? / 1024)
}

fn ctl(peer: &DevPeer, args: &[&str]) -> anyhow::Result<String> {
    let (code, out, err) = peer.ctl(args);
    ensure!(code == 0, "ipfs-cluster-ctl {args:?}: {code}\n{out}{err}");
    Ok(out)
}

/// How many peers show a CID as pinned.
fn holders(peer: &DevPeer, cid: &str) -> anyhow::Result<usize> {
    Ok(ctl(peer, &["status", cid])?.matches(": PINNED").count())
}

/// Adds the input and waits until every peer has it: the times of both.
fn added(dev: &Dev, input: &Path) -> anyhow::Result<(Duration, Duration)> {
    let peer = dev.peers.first().context("there is a peer")?;
    let path = input.to_str().context("the folder has a name")?;
    let begun = Instant::now();
    let cid = ctl(peer, &["add", "-r", "-Q", path])?;
    let accepted = begun.elapsed();
    while holders(peer, cid.trim())? < dev.peers.len() {
        ensure!(begun.elapsed() < TOLD, "not at every peer after {TOLD:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((accepted, begun.elapsed()))
}

fn measure(megabytes: u64) -> anyhow::Result<()> {
    let peers = PEERS.to_string();
    let dev = Dev::start(&["--processes", "--peers", &peers]);
    let folder = tempfile::tempdir()?;
    let files = megabytes * SMALL_PER_MEGABYTE;
    for (what, is_large) in [
        (format!("one file of {megabytes} MB"), true),
        (format!("{files} files of {SMALL} bytes"), false),
    ] {
        let input = folder.path().join("in");
        fs::create_dir(&input)?;
        match is_large {
            true => large(&input, megabytes)?,
            false => small(&input, files)?,
        }
        run(&mut Command::new("sync"))?;
        let copy = copied(&input, &folder.path().join("copy"))?;
        let (accepted, everywhere) = added(&dev, &input)?;
        let memory: Vec<String> = dev
            .peers
            .iter()
            .map(|peer| Ok(format!("{} MB", memory(peer)?)))
            .collect::<anyhow::Result<_>>()?;
        println!(
            "{what}: cp and sync {:.2} s; accepted {:.2} s, at all {PEERS} peers {:.2} s: {:.1} times \
             the copy; most memory so far {}",
            copy.as_secs_f64(),
            accepted.as_secs_f64(),
            everywhere.as_secs_f64(),
            everywhere.as_secs_f64() / copy.as_secs_f64(),
            memory.join(", ")
        );
        fs::remove_dir_all(&input)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let asked = by_hand::number("how many megabytes in the large file?", 1000, 1..=8000);
    let Some((megabytes, _runtime)) = asked else {
        return ExitCode::FAILURE;
    };
    match measure(megabytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
