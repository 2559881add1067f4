//! Which request comes next.

use ipfs_cluster_protocol::id::LogIndex;

use crate::{
    history::{Ask, Fresh},
    scenario::WorkloadPlan,
    world::Rng,
};

/// One of the items, each as often as its weight says.
pub(super) fn weighted<T: Copy>(rng: &mut Rng, items: &[(u64, T)]) -> Option<T> {
    let all: u64 = items.iter().map(|(weight, _)| weight).sum();
    let mut left = rng.between(1, all);
    for (weight, item) in items {
        if left <= *weight {
            return Some(*item);
        }
        left -= weight;
    }
    None
}

/// A request. `told` is the highest entry that any client has been told of.
pub(super) fn ask(rng: &mut Rng, plan: &WorkloadPlan, told: LogIndex) -> Option<Ask> {
    let rates = [
        (plan.writes_per_second, true),
        (plan.reads_per_second, false),
    ];
    if weighted(rng, &rates)? {
        let from = rng.between(1, plan.cids);
        let mix = plan.writes;
        weighted(
            rng,
            &[
                (mix.pin, Ask::Pin),
                (mix.unpin, Ask::Unpin),
                (mix.update, Ask::Update { from }),
                (mix.add, Ask::Add),
            ],
        )
    } else {
        let mix = plan.reads;
        let fresh = [
            (mix.latest, Fresh::Latest),
            (mix.index, Fresh::Index(told)),
            (mix.local, Fresh::Local),
        ];
        let fresh = weighted(rng, &fresh)?;
        weighted(
            rng,
            &[
                (mix.one, Ask::Read(fresh)),
                (mix.list, Ask::List(fresh)),
                (mix.status, Ask::Status),
            ],
        )
    }
}
