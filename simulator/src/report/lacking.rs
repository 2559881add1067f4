//! How many pins lack copies.

use std::{collections::BTreeMap, sync::Arc};

use ipfs_cluster_protocol::{
    id::PeerId,
    pin::{Holding, Pin},
};

use crate::{observe::View, world::HostId};

/// Pins of the furthest state with fewer copies than their least number on peers that run.
#[must_use]
pub fn lacking(
    views: &BTreeMap<HostId, Arc<View>>,
    machines: &BTreeMap<PeerId, HostId>,
    up: impl Fn(HostId) -> bool,
) -> u64 {
    let Some(state) = views.values().max_by_key(|view| view.system.index) else {
        return 0;
    };
    let holds = |peer: &PeerId, pin: &Pin| {
        let Some(host) = machines.get(peer).filter(|host| up(**host)) else {
            return false;
        };
        let held = views.get(host).and_then(|view| view.held.as_ref());
        held.is_some_and(|held| held.contains(&pin.spec.cid))
    };
    let lacks = |pin: &&Pin| {
        let Holding::Allocated { min, .. } = pin.spec.holding() else {
            return false;
        };
        let copies = pin.allocations.iter().filter(|peer| holds(peer, pin));
        copies.count() < usize::try_from(min).unwrap_or(usize::MAX)
    };
    state.pins.iter().filter(lacks).count() as u64
}
