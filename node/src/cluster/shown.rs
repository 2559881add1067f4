//! How pins are shown: one entry per peer, from its table as this peer knows it.

use std::collections::{BTreeMap, BTreeSet};

use ipfs_cluster_protocol::{
    api::{
        status::{GlobalPinInfo, PinInfoShort, TrackerStatus},
        time::Time,
    },
    id::{Cid, MemberNo, PeerId},
    pin::{Holding, Pin, Tombstone},
    state::Member,
    status::Detail,
    time::Timestamp,
};

use crate::{monitor::Monitor, status::Lookup};

/// The peers whose status is shown, and what is shown beside it. Worked out once per page of a
/// list.
#[derive(Debug, Clone)]
pub(super) struct Roster {
    pub(super) peers: Vec<Shown>,
    /// This peer alone is asked about.
    pub(super) local: bool,
    /// The root of a sharded DAG is shown as that; else as held elsewhere, as the Go program does
    /// where all peers are asked about one CID.
    pub(super) tells_sharded: bool,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) no: MemberNo,
    pub(super) peer: PeerId,
    pub(super) name: String,
    /// Its IPFS node, if it has said so.
    pub(super) ipfs: Option<PeerId>,
    /// Its metrics have lapsed: what its table says is old.
    pub(super) lapsed: bool,
}

/// What is known of one peer and one pin.
type Status<'a> = (TrackerStatus, Option<&'a Detail>);

impl Roster {
    /// Of all members, or of `local` alone.
    pub(super) fn new(members: Vec<Member>, monitor: &Monitor, local: Option<&PeerId>) -> Self {
        let lapsed: BTreeSet<PeerId> = monitor.lapsed();
        let wanted = members
            .into_iter()
            .filter(|m| local.is_none_or(|local| *local == m.peer));
        let shown = wanted.map(|member| Shown {
            no: member.no,
            ipfs: monitor.ping(&member.peer).and_then(|ping| ping.ipfs_id),
            lapsed: lapsed.contains(&member.peer),
            name: member.name,
            peer: member.peer,
        });
        Self {
            peers: shown.collect(),
            local: local.is_some(),
            tells_sharded: local.is_some(),
        }
    }

    /// A pin and how far each peer has come with it.
    pub(super) fn pin(&self, pin: &Pin, look: &Lookup<'_>) -> GlobalPinInfo {
        let holding = pin.spec.holding();
        let show = |shown: &Shown| match holding {
            Holding::Nobody if self.tells_sharded => (TrackerStatus::Sharded, None),
            Holding::Nobody => (TrackerStatus::Remote, None),
            Holding::Allocated { .. } if !pin.allocations.contains(&shown.peer) => {
                (TrackerStatus::Remote, None)
            }
            _ if shown.lapsed => (TrackerStatus::ClusterError, None),
            _ => match look.status(&shown.peer, pin.seq, pin.rev) {
                Some((phase, detail)) => (phase.into(), detail),
                None => (TrackerStatus::PinQueued, None),
            },
        };
        GlobalPinInfo {
            cid: pin.spec.cid,
            name: pin.spec.name.clone(),
            allocations: Some(pin.allocations.clone()),
            origins: Some(pin.spec.origins.clone()),
            created: Time::from(pin.timestamp).whole_seconds(),
            metadata: Some(pin.spec.metadata.clone()).filter(|m| !m.is_empty()),
            peer_map: self.peer_map(pin.timestamp, show),
        }
    }

    /// A CID that is not pinned; those who have still to unpin it say so.
    pub(super) fn unpinned(
        &self,
        cid: Cid,
        tombstone: Option<&Tombstone>,
        look: &Lookup<'_>,
        now: Timestamp,
    ) -> GlobalPinInfo {
        let show = |shown: &Shown| {
            let holder = tombstone.filter(|t| t.holders.contains(&shown.peer));
            let found = holder.and_then(|t| look.status(&shown.peer, t.seq, t.rev));
            match found {
                Some(_) if shown.lapsed => (TrackerStatus::ClusterError, None),
                Some((phase, detail)) => (phase.into(), detail),
                None => (TrackerStatus::Unpinned, None),
            }
        };
        let created = if self.local {
            Time::default()
        } else {
            Time::from(now)
        };
        GlobalPinInfo {
            cid,
            name: String::new(),
            allocations: (!self.local).then(Vec::new),
            origins: None,
            created,
            metadata: None,
            peer_map: self.peer_map(now, show),
        }
    }

    fn peer_map<'a>(
        &self,
        since: Timestamp,
        show: impl Fn(&Shown) -> Status<'a>,
    ) -> BTreeMap<PeerId, PinInfoShort> {
        let short = |shown: &Shown| {
            let (status, detail) = show(shown);
            let error = match detail {
                Some(detail) => detail.error.clone(),
                None if status == TrackerStatus::ClusterError => {
                    "no metrics from this peer: it is down or cut off".into()
                }
                None => String::new(),
            };
            PinInfoShort {
                peername: shown.name.clone(),
                ipfs_peer_id: shown.ipfs.clone(),
                ipfs_peer_addresses: Vec::new(),
                status,
                timestamp: Time::from(detail.map_or(since, |d| d.at)).whole_seconds(),
                error,
                attempt_count: detail.map_or(0, |d| u64::from(d.attempts)),
                priority_pin: false,
            }
        };
        let entries = self.peers.iter();
        entries
            .map(|shown| (shown.peer.clone(), short(shown)))
            .collect()
    }
}
