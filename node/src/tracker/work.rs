//! One job: look again, compare, do the one step that is needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ipfs_cluster_protocol::{
    id::{Cid, MemberNo, Seq},
    pin::{PinMode, PinPhase, PinSpec, PinType},
    reconcile::{Action, Desired, Observed, Owner, plan},
    state::{System, query},
};

use tokio::time::Instant;

use super::{
    gone::GoneReport,
    queue::{FIRST_BLOCK_MAX, patience},
    sizes::Counted,
    start::Parts,
};
use crate::ipfs::{IpfsError, PinRequest};

/// How often a fetch without a block is judged.
const LOOK: Duration = Duration::from_secs(1);

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) seq: Seq,
    /// This peer's number.
    pub(super) number: MemberNo,
    /// How often it has failed.
    pub(super) attempts: u32,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Worked {
    /// The IPFS node holds it as wanted.
    Held,
    /// The cluster is told that it is gone.
    Reported,
    /// It is none of this peer's business any more.
    Nothing,
    /// It did not work.
    Failed {
        phase: PinPhase,
        error: String,
        /// The IPFS node did not answer at all.
        node_away: bool,
    },
}

impl Worked {
    pub(super) fn node_is_away(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                node_away: true,
                ..
            }
        )
    }
}

impl From<&IpfsError> for Worked {
    /// A failure to pin.
    fn from(e: &IpfsError) -> Self {
        Self::Failed {
            phase: PinPhase::PinError,
            error: e.to_string(),
            node_away: matches!(e, IpfsError::Unreachable(_)),
        }
    }
}

/// Does one job. Dropping it at any point loses nothing.
pub(super) async fn work(parts: &Parts, job: Job) -> Worked {
    let Job { seq, number, .. } = job;
    let read = parts.state.read(move |s| {
        let desired = query::desired(s, number, seq)?;
        Ok((desired, System::load(s)?.rev))
    });
    let (desired, as_of) = match read.await {
        Ok(read) => read,
        Err(e) => return failed(PinPhase::PinError, e.to_string()),
    };
    let (cid, rev) = match &desired {
        Desired::Hold { spec, rev } => (spec.cid, *rev),
        Desired::Unpin { cid, rev } => (*cid, *rev),
        Desired::Elsewhere | Desired::Absent => return Worked::Nothing,
    };
    let observed = match observe(parts, seq, cid).await {
        Ok(observed) => observed,
        Err(e) if matches!(desired, Desired::Unpin { .. }) => return unpin_failed(&e),
        Err(e) => return Worked::from(&e),
    };
    let gone = GoneReport { seq, rev, as_of };
    match (plan(&desired, observed), &desired) {
        (Some(Action::Pin(mode)), Desired::Hold { spec, .. }) => {
            pin(parts, job, spec, mode, observed).await
        }
        (Some(Action::Unpin), _) => unpin(parts, cid, gone).await,
        (Some(Action::ReportGone), _) => report(parts, gone).await,
        (Some(Action::Pin(_)), _) => Worked::Nothing,
        (None, _) => Worked::Held,
    }
}

fn failed(phase: PinPhase, error: String) -> Worked {
    Worked::Failed {
        phase,
        error,
        node_away: false,
    }
}

fn unpin_failed(e: &IpfsError) -> Worked {
    Worked::Failed {
        phase: PinPhase::UnpinError,
        error: e.to_string(),
        node_away: matches!(e, IpfsError::Unreachable(_)),
    }
}

async fn observe(parts: &Parts, seq: Seq, cid: Cid) -> Result<Observed, IpfsError> {
    Ok(match parts.ipfs.pin_mode(cid).await? {
        None => Observed::Unpinned,
        Some(mode) => Observed::Pinned {
            mode,
            owner: if parts.ledger.is_ours(seq) {
                Owner::Cluster
            } else {
                Owner::Foreign
            },
        },
    })
}

async fn pin(parts: &Parts, job: Job, spec: &PinSpec, mode: PinMode, observed: Observed) -> Worked {
    if observed == Observed::Unpinned
        && let Err(e) = parts.ledger.order(job.seq).await
    {
        let error = format!("the tracker's ledger cannot be written: {e}");
        return failed(PinPhase::PinError, error);
    }
    parts.tables.set(job.seq, PinPhase::Pinning, None);
    let request = PinRequest {
        cid: spec.cid,
        mode,
        shard: spec.pin_type == PinType::Shard,
        name: spec.name.clone(),
        update_from: spec.pin_update,
        origins: spec.origins.clone(),
    };
    let moving = Arc::new(AtomicBool::new(false));
    let counted = Arc::new(AtomicU64::new(0));
    let (seen, count) = (moving.clone(), counted.clone());
    let pinned = parts.ipfs.pin(
        request,
        Box::new(move |progress| {
            if progress.blocks > 0 {
                seen.store(true, Ordering::Relaxed);
            }
            count.store(progress.bytes, Ordering::Relaxed);
        }),
    );
    parts.counts.pins.fetch_add(1, Ordering::Relaxed);
    let started = Instant::now();
    let outcome = tokio::select! {
        biased;
        outcome = pinned => outcome,
        () = overtaken(parts, job.attempts, &moving) => Err(IpfsError::Stalled(started.elapsed())),
    };
    let Err(e) = outcome else {
        let bytes = counted.load(Ordering::Relaxed);
        if bytes > 0 && spec.learns_size() {
            let seq = job.seq;
            // What finds no room is left to the other holders.
            let _ = parts.sizes.try_send(Counted { seq, bytes });
        }
        return Worked::Held;
    };
    parts.counts.errors.fetch_add(1, Ordering::Relaxed);
    if observed == Observed::Unpinned {
        disown(parts, job.seq, spec.cid, &e).await;
    }
    match Worked::from(&e) {
        // A short try is no verdict.
        Worked::Failed {
            error, node_away, ..
        } if matches!(e, IpfsError::Stalled(after) if after < FIRST_BLOCK_MAX) => Worked::Failed {
            phase: PinPhase::PinQueued,
            error,
            node_away,
        },
        worked => worked,
    }
}

/// The order came to nothing: should somebody else pin this before the next try, it is theirs.
async fn disown(parts: &Parts, seq: Seq, cid: Cid, e: &IpfsError) {
    let answered = !matches!(e, IpfsError::Unreachable(_));
    if answered && matches!(parts.ipfs.pin_mode(cid).await, Ok(None)) {
        parts.ledger.forget(seq);
    }
}

/// Resolves when there is still no block at all and other work has a better claim to the worker.
async fn overtaken(parts: &Parts, attempts: u32, moving: &AtomicBool) {
    let started = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        if moving.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let pressing = parts.load.borrow().pressing;
        let patience = patience(pressing, parts.settings.concurrent, attempts);
        if pressing > 0 && started.elapsed() >= patience {
            return;
        }
    }
}

async fn unpin(parts: &Parts, cid: Cid, gone: GoneReport) -> Worked {
    if parts.settings.unpin_disable {
        return failed(
            PinPhase::UnpinError,
            "unpinning is disabled on this peer".into(),
        );
    }
    parts.tables.set(gone.seq, PinPhase::Unpinning, None);
    match parts.ipfs.unpin(cid).await {
        Ok(()) | Err(IpfsError::NotPinned) => report(parts, gone).await,
        Err(e) => unpin_failed(&e),
    }
}

/// Nothing of the cluster's is left on the node: what is pinned there from now on is not its own,
/// whether or not the report arrives.
async fn report(parts: &Parts, gone: GoneReport) -> Worked {
    parts.tables.set(gone.seq, PinPhase::Unpinning, None);
    if let Err(e) = parts.ledger.let_go(gone.seq).await {
        let error = format!("the tracker's ledger cannot be written: {e}");
        return failed(PinPhase::UnpinError, error);
    }
    // A full channel is back-pressure: the reporter is waiting for a quorum.
    let _ = parts.gone.send(gone).await;
    Worked::Reported
}
