//! Use cases on status: answered from this peer's copies of everybody's tables, asking nobody.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use ipfs_cluster_protocol::{
    api::{
        status::{GlobalPinInfo, PinInfoShort, StatusFilter, TrackerStatus},
        time::Time,
    },
    id::{Cid, PeerId},
    pin::{Holding, Pin, PinPhase, Tombstone},
    rpc::{RpcReply, RpcRequest},
    state::{Member, query, query::Stored},
    time::Timestamp,
};

use super::{Cluster, error::ClusterError, rpc};
use crate::status::PeerStatus;

/// Members and what is shown of each beside its status.
#[derive(Debug)]
pub(super) struct Roster {
    members: Vec<Member>,
    local: Option<PeerId>,
}

impl Cluster {
    /// The status of one CID at every peer, or at this one.
    pub async fn status(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError> {
        let roster = self.roster(local).await?;
        let stored = self
            .read(move |state| query::stored_by_cid(state, &cid))
            .await?;
        Ok(match stored {
            Some(Stored::Live(pin)) => self.pin_info(&pin, &roster),
            Some(Stored::Tombstone(gone)) => self.unpinned_info(cid, Some(&gone), &roster),
            None => self.unpinned_info(cid, None, &roster),
        })
    }

    /// The status of every pin; with a filter, only peers and pins that match.
    pub fn status_all(
        &self,
        filter: StatusFilter,
        local: bool,
    ) -> BoxStream<'static, Result<GlobalPinInfo, ClusterError>> {
        let cluster = self.clone();
        let lists = async move {
            let roster = std::sync::Arc::new(cluster.roster(local).await?);
            let infos = cluster.all_pins().try_filter_map(move |pin| {
                let mut info = cluster.pin_info(&pin, &roster);
                if !filter.is_all() {
                    info.peer_map
                        .retain(|_, short| filter.contains(short.status));
                }
                std::future::ready(Ok((!info.peer_map.is_empty()).then_some(info)))
            });
            Ok::<_, ClusterError>(infos)
        };
        futures::stream::once(lists).try_flatten().boxed()
    }

    /// Retries a pin where it failed, and tells its status.
    pub async fn recover(&self, cid: Cid, local: bool) -> Result<GlobalPinInfo, ClusterError> {
        if local {
            self.allocation(cid).await?;
            self.recover_here(cid).await?;
            return self.status(cid, true).await;
        }
        let question = RpcRequest::Recover { cid };
        for member in self.members().await? {
            if member.peer == self.0.me {
                self.recover_here(cid).await?;
            } else if let Err(reason) = rpc::ask(&self.0.net, &member.peer, &question).await {
                tracing::info!(peer = %member.peer, %cid, reason, "not asked to recover");
            }
        }
        self.status(cid, false).await
    }

    /// Retries everything that failed; yields what was queued again.
    pub fn recover_all(
        &self,
        local: bool,
    ) -> BoxStream<'static, Result<GlobalPinInfo, ClusterError>> {
        let cluster = self.clone();
        let queued = async move {
            let mut cids = cluster.recover_all_here().await?;
            let others = if local {
                Vec::new()
            } else {
                cluster.members().await?
            };
            for member in others.iter().filter(|m| m.peer != cluster.0.me) {
                match rpc::ask(&cluster.0.net, &member.peer, &RpcRequest::RecoverAll).await {
                    Ok(RpcReply::Recovered(more)) => cids.extend(more),
                    Ok(_) => {}
                    Err(reason) => tracing::info!(peer = %member.peer, reason, "not recovered"),
                }
            }
            cids.sort_unstable();
            cids.dedup();
            Ok::<_, ClusterError>(futures::stream::iter(cids).then(move |cid| {
                let cluster = cluster.clone();
                async move { cluster.status(cid, local).await }
            }))
        };
        futures::stream::once(queued).try_flatten().boxed()
    }

    pub(super) async fn roster(&self, local: bool) -> Result<Roster, ClusterError> {
        let members = self.members().await?;
        Ok(Roster {
            members,
            local: local.then(|| self.0.me.clone()),
        })
    }

    pub(super) fn pin_info(&self, pin: &Pin, roster: &Roster) -> GlobalPinInfo {
        let statuses = self.0.tables.of(pin.seq, pin.rev);
        let everywhere = pin.spec.holding() == Holding::Everywhere;
        let show = |member: &Member| {
            let here = everywhere || pin.allocations.contains(&member.peer);
            match pin.spec.holding() {
                Holding::Nobody if roster.local.is_some() => (TrackerStatus::Sharded, None),
                Holding::Nobody => (TrackerStatus::Remote, None),
                _ if !here => (TrackerStatus::Remote, None),
                _ => self.held_status(&member.peer, statuses.get(&member.peer)),
            }
        };
        GlobalPinInfo {
            cid: pin.spec.cid,
            name: pin.spec.name.clone(),
            allocations: Some(pin.allocations.clone()),
            origins: Some(pin.spec.origins.clone()),
            created: Time::from(pin.timestamp).whole_seconds(),
            metadata: Some(pin.spec.metadata.clone()).filter(|m| !m.is_empty()),
            peer_map: self.peer_map(roster, pin.timestamp, show),
        }
    }

    /// A CID that is not pinned; those who have still to unpin it say so.
    fn unpinned_info(
        &self,
        cid: Cid,
        tombstone: Option<&Tombstone>,
        roster: &Roster,
    ) -> GlobalPinInfo {
        let statuses = tombstone
            .map(|t| self.0.tables.of(t.seq, t.rev))
            .unwrap_or_default();
        let show = |member: &Member| {
            let holds = tombstone.is_some_and(|t| t.holders.contains(&member.peer));
            match statuses.get(&member.peer) {
                Some(status) if holds => self.held_status(&member.peer, Some(status)),
                _ => (TrackerStatus::Unpinned, None),
            }
        };
        let now = self.wall_clock();
        GlobalPinInfo {
            cid,
            name: String::new(),
            allocations: roster.local.is_none().then(Vec::new),
            origins: None,
            created: if roster.local.is_some() {
                Time::default()
            } else {
                Time::from(now)
            },
            metadata: None,
            peer_map: self.peer_map(roster, now, show),
        }
    }

    fn held_status<'a>(
        &self,
        peer: &PeerId,
        status: Option<&'a PeerStatus>,
    ) -> (TrackerStatus, Option<&'a PeerStatus>) {
        if self.0.monitor.is_lapsed(peer) {
            return (TrackerStatus::ClusterError, None);
        }
        (
            status.map_or(TrackerStatus::PinQueued, |s| phase_status(s.phase)),
            status,
        )
    }

    fn peer_map<'a>(
        &self,
        roster: &Roster,
        since: Timestamp,
        show: impl Fn(&Member) -> (TrackerStatus, Option<&'a PeerStatus>),
    ) -> BTreeMap<PeerId, PinInfoShort> {
        let wanted = |m: &&Member| roster.local.as_ref().is_none_or(|local| *local == m.peer);
        let short = |member: &Member| {
            let (status, found) = show(member);
            let ping = self.0.monitor.ping(&member.peer);
            let detail = found.and_then(|s| s.detail.as_ref());
            let lapsed = status == TrackerStatus::ClusterError;
            let error = match detail {
                Some(detail) => detail.error.clone(),
                None if lapsed => "no metrics from this peer: it is down or cut off".into(),
                None => String::new(),
            };
            PinInfoShort {
                peername: member.name.clone(),
                ipfs_peer_id: ping.as_ref().and_then(|p| p.ipfs_id.clone()),
                ipfs_peer_addresses: Vec::new(),
                status,
                timestamp: Time::from(detail.map_or(since, |d| d.at)).whole_seconds(),
                error,
                attempt_count: detail.map_or(0, |d| u64::from(d.attempts)),
                priority_pin: false,
            }
        };
        let members = roster.members.iter().filter(wanted);
        members
            .map(|member| (member.peer.clone(), short(member)))
            .collect()
    }
}

fn phase_status(phase: PinPhase) -> TrackerStatus {
    match phase {
        PinPhase::PinQueued => TrackerStatus::PinQueued,
        PinPhase::Pinning => TrackerStatus::Pinning,
        PinPhase::Pinned => TrackerStatus::Pinned,
        PinPhase::PinError => TrackerStatus::PinError,
        PinPhase::UnpinQueued => TrackerStatus::UnpinQueued,
        PinPhase::Unpinning => TrackerStatus::Unpinning,
        PinPhase::UnpinError => TrackerStatus::UnpinError,
        PinPhase::UnexpectedlyUnpinned => TrackerStatus::UnexpectedlyUnpinned,
    }
}
