//! A state from a list of pins, instead of from a log: what `state import` builds.
//!
//! The pins keep their times of submission, and everyone they are allocated to becomes a member, so
//! that what was exported comes back as it was. A peer that is only named waits as a member without
//! a life until it joins.

use super::{
    hash::Hashed,
    members::{Directory, Said},
    pins::{Scope, Verdict},
    system::System,
    tx::{StateTx, StoreError},
};
use crate::{
    command::{Command, IfRev, Rejection},
    id::{ClusterId, Epoch, Incarnation, LogIndex, PeerId},
    pin::{Holding, PinSpec},
    request::Request,
    time::Timestamp,
};

/// A pin to be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredPin {
    /// What is wanted.
    pub spec: PinSpec,
    /// Who holds it.
    pub allocations: Vec<PeerId>,
    /// When it was submitted.
    pub at: Timestamp,
    /// Who asked for it; the pin's seq is given when it is restored.
    pub requests: Vec<Request>,
}

/// Why a pin, or a member, cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rejection}")]
pub struct RestoreError {
    /// How many of the pins of this call were restored before.
    pub done: usize,
    /// Why not this one.
    pub rejection: Rejection,
}

/// What a restored pin may not do: fail the store, or be impossible.
type Restore<T> = Result<Result<T, RestoreError>, StoreError>;

/// Begins an empty state: a new cluster of these members, the first of them alive.
pub fn found(
    tx: &mut dyn StateTx,
    cluster: ClusterId,
    members: &[(PeerId, String)],
) -> Restore<()> {
    let mut system = System::load(tx)?;
    let refused = |rejection| Ok(Err(RestoreError { done: 0, rejection }));
    if let Err(rejection) = system.init(cluster, Epoch(1)) {
        return refused(rejection);
    }
    system.index = LogIndex(1);
    let mut directory = Directory::load(tx)?;
    let mut hashed = Hashed::new(tx, system.hash);
    for (n, (peer, name)) in members.iter().enumerate() {
        let life = Incarnation(u64::from(n == 0));
        let said = Said {
            name,
            labels: &Default::default(),
        };
        if let Err(rejection) = directory.add(&mut hashed, &mut system, peer, life, said)? {
            return refused(rejection);
        }
        system.rev = system.rev.next();
    }
    let (hash, tx) = hashed.finish();
    system.hash = hash;
    system.save(tx)?;
    Ok(Ok(()))
}

/// Adds pins to a state that [`found`] began; the state's index grows by one.
pub fn pins(tx: &mut dyn StateTx, pins: &[RestoredPin], now: Timestamp) -> Restore<System> {
    let mut system = System::load(tx)?;
    system.index = LogIndex(system.index.0 + 1);
    let mut members = Directory::load(tx)?;
    let mut hashed = Hashed::new(tx, system.hash);
    for (done, pin) in pins.iter().enumerate() {
        let at = pin.at.min(now);
        system.at = system.at.max(at);
        let rev = system.rev.next();
        for peer in &pin.allocations {
            if members.number(peer).is_some() {
                continue;
            }
            let said = Said {
                name: "",
                labels: &Default::default(),
            };
            let life = Incarnation(0);
            if let Err(rejection) = members.add(&mut hashed, &mut system, peer, life, said)? {
                return Ok(Err(RestoreError { done, rejection }));
            }
        }
        // Whoever withdraws one of them needs the level at which there are requests.
        if let Some(request) = pin.requests.first() {
            let level = Command::Withdraw { id: request.id }.feature_level();
            system.feature_level = system.feature_level.max(level);
        }
        let allocations = filled_up(pin, &members);
        let mut scope = Scope {
            tx: &mut hashed,
            system: &mut system,
            members: &mut members,
            rev,
            at,
        };
        let verdict = match scope.pin(&pin.spec, &allocations, IfRev::Any)? {
            Verdict::Done(_) => scope.restore_requests(&pin.spec.cid, &pin.requests)?,
            refused => refused,
        };
        match verdict {
            Verdict::Done(_) => system.rev = rev,
            Verdict::No(rejection) => return Ok(Err(RestoreError { done, rejection })),
            Verdict::Conflict(_) => {
                return Err(StoreError("a pin without condition met one".to_owned()));
            }
        }
    }
    let (hash, tx) = hashed.finish();
    system.hash = hash;
    system.save(tx)?;
    Ok(Ok(system))
}

/// The allocations, and as many members more as the smallest factor wants.
fn filled_up(pin: &RestoredPin, members: &Directory) -> Vec<PeerId> {
    let Holding::Allocated { min, .. } = pin.spec.holding() else {
        return Vec::new();
    };
    let mut allocations = pin.allocations.clone();
    let wanted = usize::try_from(min).unwrap_or(usize::MAX);
    let others = members.peers().filter(|p| !pin.allocations.contains(p));
    let lacking = wanted.saturating_sub(allocations.len());
    allocations.extend(others.take(lacking).cloned());
    allocations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::Seq,
        request::RequestId,
        state::{
            Model, check_invariants, query,
            tests::{peer, spec},
        },
    };

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn founded() -> Model {
        let mut model = Model::default();
        let members = [(peer(1), "p1".to_owned()), (peer(2), String::new())];
        let founded = found(&mut model, ClusterId([7; 16]), &members);
        founded.unwrap().unwrap();
        model
    }

    fn pin(n: u8, min: i32, max: i32, holders: &[u8], at: u64) -> RestoredPin {
        RestoredPin {
            spec: spec(n, min, max),
            allocations: holders.iter().map(|n| peer(*n)).collect(),
            at: Timestamp(at),
            requests: Vec::new(),
        }
    }

    #[test]
    fn requests_come_back_and_no_id_is_given_twice() {
        let mut model = founded();
        let request = |id: u64, name: &str| Request {
            id: RequestId(id),
            seq: Seq(0),
            name: name.to_owned(),
            origins: Vec::new(),
            metadata: Default::default(),
        };
        let mut list = [pin(1, 1, 1, &[1], 1), pin(2, 1, 1, &[1], 2)];
        list[1].requests = vec![request(5, "a"), request(6, "b")];
        pins(&mut model, &list, NOW).unwrap().unwrap();
        check_invariants(&model).unwrap();
        let (found, _) = query::requests(&model, RequestId(0), 10).unwrap();
        let found: Vec<_> = found.iter().map(|r| (r.id.0, r.name.as_str())).collect();
        assert_eq!(found, [(5, "a"), (6, "b")]);
        // They can be withdrawn at once.
        assert_eq!(System::load(&model).unwrap().feature_level, 2);
        let mut again = [pin(3, 1, 1, &[1], 3)];
        again[0].requests = vec![request(6, "c")];
        let refused = pins(&mut model, &again, NOW).unwrap().unwrap_err();
        assert!(
            refused.to_string().contains("0000000000000006"),
            "{refused}"
        );
    }

    #[test]
    fn pins_keep_their_times_and_holders_and_named_peers_become_members() {
        let mut model = founded();
        let list = [
            pin(1, 1, 2, &[9, 1], 5000),
            pin(2, -1, -1, &[], 3000),
            pin(3, 2, 2, &[2], 9000),
        ];
        let system = pins(&mut model, &list, NOW).unwrap().unwrap();
        check_invariants(&model).unwrap();
        assert_eq!((system.at, system.live_pins), (Timestamp(9000), 3));
        let read = query::pins(&model, Seq(0), 10, &|_| true).unwrap().items;
        let times: Vec<_> = read.iter().map(|p| p.timestamp.0).collect();
        assert_eq!(times, [5000, 3000, 9000]);
        assert_eq!(read[0].allocations, [peer(9), peer(1)]);
        // One holder was missing in the file: another member takes its place.
        assert_eq!(read[2].allocations, [peer(2), peer(1)]);
        let lives = query::members(&model).unwrap().into_iter();
        let lives: Vec<_> = lives.map(|m| (m.peer, m.incarnation.0)).collect();
        assert_eq!(lives, [(peer(1), 1), (peer(2), 0), (peer(9), 0)]);
    }

    #[test]
    fn a_pin_that_no_members_can_hold_is_named() {
        let mut model = founded();
        let list = [pin(1, 1, 1, &[1], 1), pin(2, 3, 3, &[], 2)];
        let error = pins(&mut model, &list, NOW).unwrap().unwrap_err();
        let rejection = Rejection::TooFewCopies { have: 2, min: 3 };
        assert_eq!(error, RestoreError { done: 1, rejection });
    }

    #[test]
    fn a_time_to_come_does_not_push_log_time_ahead() {
        let mut model = founded();
        let list = [pin(1, -1, -1, &[], NOW.0 + 1)];
        let system = pins(&mut model, &list, NOW).unwrap().unwrap();
        assert_eq!(system.at, NOW);
    }
}
