//! Repeat protection: per origin, the boot, the floor, and what was applied at and above it.

use std::collections::BTreeMap;

use super::{
    rows::{self, Run, SessionRow},
    tx::{StateRead, StateTx, StoreError, Table},
};
use crate::{
    codec,
    command::{Rejection, Session},
    id::{PeerId, Rev},
    limits::SESSION_WINDOW_MAX,
    mutation::{Mutation, planted},
};

/// What a session says of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Not seen before.
    New,
    /// Applied before, as this rev.
    Repeat(Rev),
    /// Not to be applied.
    Refused(Rejection),
}

/// The sessions that one entry touches, read once and written once.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeMap<PeerId, SessionRow>);

impl Sessions {
    /// Looks a command up, and takes over the floor (and boot) it brings.
    pub(crate) fn admit(
        &mut self,
        read: &dyn StateRead,
        session: &Session,
    ) -> Result<Admission, StoreError> {
        if !self.0.contains_key(&session.origin) {
            let row = rows::load(read, Table::Session, session.origin.as_bytes())?;
            let row = row.unwrap_or_else(|| fresh(session));
            self.0.insert(session.origin.clone(), row);
        }
        let row = self
            .0
            .get_mut(&session.origin)
            .expect("inserted above if it was missing");
        if session.boot < row.boot {
            return Ok(Admission::Refused(Rejection::StaleBoot));
        }
        if session.boot > row.boot {
            *row = fresh(session);
        }
        if session.floor > row.floor {
            row.floor = session.floor;
            trim(&mut row.applied, row.floor);
        }
        if session.n < row.floor {
            return Ok(Admission::Refused(Rejection::BelowFloor));
        }
        if session.n - row.floor >= SESSION_WINDOW_MAX {
            return Ok(Admission::Refused(Rejection::Limit(format!(
                "more than {SESSION_WINDOW_MAX} requests of one peer wait for an answer"
            ))));
        }
        Ok(match find(&row.applied, session.n) {
            Some(rev) if !planted(Mutation::RepeatAppliedTwice) => Admission::Repeat(rev),
            _ => Admission::New,
        })
    }

    /// Remembers that an admitted command was applied.
    pub(crate) fn record(&mut self, session: &Session, rev: Rev) {
        if let Some(row) = self.0.get_mut(&session.origin) {
            insert(&mut row.applied, session.n, rev);
        }
    }

    /// Forgets a peer that left: its next life starts a new session.
    pub(crate) fn forget(
        &mut self,
        tx: &mut dyn StateTx,
        origin: &PeerId,
    ) -> Result<(), StoreError> {
        self.0.remove(origin);
        tx.delete(Table::Session, origin.as_bytes())
    }

    /// Writes what was touched, of those that are (still) members.
    pub(crate) fn save(
        &self,
        tx: &mut dyn StateTx,
        is_member: impl Fn(&PeerId) -> bool,
    ) -> Result<(), StoreError> {
        for (origin, row) in self.0.iter().filter(|(origin, _)| is_member(origin)) {
            tx.put(Table::Session, origin.as_bytes(), &codec::encode(row))?;
        }
        Ok(())
    }
}

fn fresh(session: &Session) -> SessionRow {
    SessionRow {
        boot: session.boot,
        floor: session.floor,
        applied: Vec::new(),
    }
}

/// Where the runs at and above `n` start.
fn position(runs: &[Run], n: u64) -> usize {
    runs.partition_point(|run| run.n.saturating_add(run.len) <= n)
}

fn find(runs: &[Run], n: u64) -> Option<Rev> {
    let run = runs.get(position(runs, n))?;
    let offset = n.checked_sub(run.n)?;
    Some(Rev(run.rev.0.saturating_add(offset)))
}

fn insert(runs: &mut Vec<Run>, n: u64, rev: Rev) {
    let at = position(runs, n);
    if let Some(before) = at.checked_sub(1).and_then(|i| runs.get_mut(i))
        && before.n.saturating_add(before.len) == n
        && before.rev.0.saturating_add(before.len) == rev.0
    {
        before.len += 1;
        return;
    }
    runs.insert(at, Run { n, rev, len: 1 });
}

/// Drops what is below the floor.
fn trim(runs: &mut Vec<Run>, floor: u64) {
    let keep = position(runs, floor);
    runs.drain(..keep);
    if let Some(first) = runs.first_mut() {
        let cut = floor.saturating_sub(first.n);
        first.n += cut;
        first.rev = Rev(first.rev.0.saturating_add(cut));
        first.len -= cut;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::Boot, state::Model};

    fn session(boot: u64, n: u64, floor: u64) -> Session {
        Session {
            origin: "12D3KooWJUSc6kjcpkjZ9AkCkQZfiCQgSR65uVY6UaHRWBAvqTyA"
                .parse()
                .unwrap(),
            boot: Boot(boot),
            n,
            floor,
        }
    }

    #[test]
    fn a_repeat_gets_the_rev_it_had() {
        let model = Model::default();
        let mut sessions = Sessions::default();
        for (n, rev) in [(3, 10), (4, 11), (7, 12), (6, 13), (5, 20)] {
            let s = session(1, n, 3);
            assert_eq!(sessions.admit(&model, &s), Ok(Admission::New));
            sessions.record(&s, Rev(rev));
        }
        for (n, rev) in [(3, 10), (4, 11), (7, 12), (6, 13), (5, 20)] {
            assert_eq!(
                sessions.admit(&model, &session(1, n, 3)),
                Ok(Admission::Repeat(Rev(rev)))
            );
        }
    }

    #[test]
    fn the_floor_forgets_and_refuses() {
        let model = Model::default();
        let mut sessions = Sessions::default();
        for n in 0..5 {
            let s = session(1, n, 0);
            assert_eq!(sessions.admit(&model, &s), Ok(Admission::New));
            sessions.record(&s, Rev(100 + n));
        }
        assert_eq!(
            sessions.admit(&model, &session(1, 4, 3)),
            Ok(Admission::Repeat(Rev(104)))
        );
        assert_eq!(
            sessions.admit(&model, &session(1, 2, 0)),
            Ok(Admission::Refused(Rejection::BelowFloor))
        );
        assert!(matches!(
            sessions.admit(&model, &session(1, 3 + SESSION_WINDOW_MAX, 3)),
            Ok(Admission::Refused(Rejection::Limit(_)))
        ));
    }

    #[test]
    fn a_new_boot_starts_over_and_an_old_one_is_refused() {
        let mut model = Model::default();
        let mut sessions = Sessions::default();
        let first = session(1, 0, 0);
        assert_eq!(sessions.admit(&model, &first), Ok(Admission::New));
        sessions.record(&first, Rev(1));
        sessions.save(&mut model, |_| true).unwrap();
        let mut sessions = Sessions::default();
        assert_eq!(
            sessions.admit(&model, &first),
            Ok(Admission::Repeat(Rev(1)))
        );
        assert_eq!(
            sessions.admit(&model, &session(2, 0, 0)),
            Ok(Admission::New)
        );
        assert_eq!(
            sessions.admit(&model, &first),
            Ok(Admission::Refused(Rejection::StaleBoot))
        );
    }

    proptest::proptest! {
        #[test]
        fn runs_behave_like_a_map(steps in proptest::collection::vec((0u64..40, 0u64..3), 0..60)) {
            let (mut runs, mut map) = (Vec::new(), BTreeMap::new());
            let (mut rev, mut floor) = (0, 0);
            for (n, kind) in steps {
                if kind == 0 {
                    floor = floor.max(n / 2);
                    trim(&mut runs, floor);
                    map.retain(|n, _| *n >= floor);
                } else if n >= floor && !map.contains_key(&n) {
                    rev += kind;
                    insert(&mut runs, n, Rev(rev));
                    map.insert(n, Rev(rev));
                }
                for n in 0..40 {
                    proptest::prop_assert_eq!(find(&runs, n), map.get(&n).copied());
                }
            }
        }
    }
}
