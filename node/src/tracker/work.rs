//! One job: look again, compare, do the one step that is needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ipfs_cluster_protocol::{
    id::{Cid, MemberNo, Rev, Seq},
    pin::{PinMode, PinPhase, PinSpec},
    reconcile::{Action, Desired, Observed, Owner, plan},
    state::{System, query},
};

use super::{gone::GoneReport, queue::Lane, start::Parts};
use crate::ipfs::{IpfsError, PinRequest};

/// New work that gets no block for so long makes room for others that wait, and is tried again.
const FIRST_BLOCK_MAX: Duration = Duration::from_secs(20);

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) seq: Seq,
    pub(super) lane: Lane,
    /// This peer's number.
    pub(super) number: MemberNo,
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
    let cid = match &desired {
        Desired::Hold { spec, .. } => spec.cid,
        Desired::Unpin { cid, .. } => *cid,
        Desired::Elsewhere | Desired::Absent => return Worked::Nothing,
    };
    let observed = match observe(parts, seq, cid).await {
        Ok(observed) => observed,
        Err(e) if matches!(desired, Desired::Unpin { .. }) => return unpin_failed(&e),
        Err(e) => return Worked::from(&e),
    };
    match (plan(&desired, observed), &desired) {
        (Some(Action::Pin(mode)), Desired::Hold { spec, .. }) => {
            pin(parts, job, spec, mode, observed).await
        }
        (Some(Action::Unpin), _) => unpin(parts, seq, cid, as_of).await,
        (Some(Action::ReportGone), _) => report(parts, seq, as_of).await,
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
        name: spec.name.clone(),
        update_from: spec.pin_update,
        origins: spec.origins.clone(),
    };
    let moving = Arc::new(AtomicBool::new(false));
    let seen = moving.clone();
    let pinned = parts.ipfs.pin(
        request,
        Box::new(move |progress| {
            if progress.blocks > 0 {
                seen.store(true, Ordering::Relaxed);
            }
        }),
    );
    let outcome = tokio::select! {
        biased;
        outcome = pinned => outcome,
        () = overtaken(parts, job.lane, &moving) => Err(IpfsError::Stalled(FIRST_BLOCK_MAX)),
    };
    match outcome {
        Ok(()) => Worked::Held,
        Err(e) => Worked::from(&e),
    }
}

/// Resolves when new work has got no block at all while other work waits for its place.
async fn overtaken(parts: &Parts, lane: Lane, moving: &AtomicBool) {
    if lane == Lane::Retry {
        // It was overtaken before: now it gets the node's whole patience.
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(FIRST_BLOCK_MAX).await;
        if moving.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if parts.load.borrow().queued > 0 {
            return;
        }
    }
}

async fn unpin(parts: &Parts, seq: Seq, cid: Cid, as_of: Rev) -> Worked {
    if parts.settings.unpin_disable {
        return failed(
            PinPhase::UnpinError,
            "unpinning is disabled on this peer".into(),
        );
    }
    parts.tables.set(seq, PinPhase::Unpinning, None);
    match parts.ipfs.unpin(cid).await {
        Ok(()) | Err(IpfsError::NotPinned) => report(parts, seq, as_of).await,
        Err(e) => unpin_failed(&e),
    }
}

async fn report(parts: &Parts, seq: Seq, as_of: Rev) -> Worked {
    parts.tables.set(seq, PinPhase::Unpinning, None);
    // A full channel is back-pressure: the reporter is waiting for a quorum.
    let _ = parts.gone.send(GoneReport { seq, as_of }).await;
    Worked::Reported
}
