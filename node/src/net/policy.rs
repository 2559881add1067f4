//! The one table of who may open which stream.
//!
//! A caller is judged by the peer ID its connection was authenticated with, by what its `Hello`
//! claims, and by the members this peer knows of.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    hello::{Hello, Refusal},
    id::{ClusterId, Incarnation, PeerId},
};

use super::proto::Proto;

/// What a caller is to this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// In this peer's list of members, in the incarnation listed.
    Member,
    /// This peer belongs to no cluster yet, and the caller to the one it has asked to join.
    Admitter,
    /// Belongs to no cluster yet.
    Joining,
    /// Claims this cluster, but is not in this peer's list of members (or in a later incarnation):
    /// it was removed, or the list is older than its admission.
    Unlisted,
    /// Belongs to a cluster this peer has nothing to do with.
    Stranger,
}

impl Caller {
    const fn noun(self) -> &'static str {
        match self {
            Self::Member => "a member",
            Self::Admitter => "a peer of the cluster being joined",
            Self::Joining => "a peer without a cluster",
            Self::Unlisted => "a peer that is not a known member",
            Self::Stranger => "a stranger",
        }
    }
}

/// The table. `/libp2p-http` is not judged here: it has no `Hello`, is open to whoever has the
/// secret, and HTTP's own authentication guards it.
///
/// Raft's streams are open to the unlisted: a follower that was away while members changed learns
/// of its new leader only through the entries that leader sends. Raft's terms and votes protect it.
const fn allowed(proto: Proto, caller: Caller) -> bool {
    use Caller::{Admitter, Joining, Member, Unlisted};
    match proto {
        Proto::RaftAppend | Proto::Raft | Proto::RaftSnapshot => {
            matches!(caller, Member | Admitter | Unlisted)
        }
        Proto::Join => matches!(caller, Member | Joining | Unlisted),
        Proto::Feed => matches!(caller, Member | Admitter),
        Proto::Forward | Proto::Rpc | Proto::StatusPull | Proto::Blocks => {
            matches!(caller, Member)
        }
        Proto::Http => true,
    }
}

/// What this peer knows of itself and the others when it judges.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    /// What this peer says of itself.
    pub(super) ours: &'a Hello,
    /// Members and their incarnations.
    pub(super) members: &'a BTreeMap<PeerId, Incarnation>,
    /// The cluster this peer has asked to join.
    pub(super) joining: Option<ClusterId>,
}

impl Standing<'_> {
    fn caller(&self, peer: &PeerId, theirs: &Hello) -> Result<Caller, Refusal> {
        match (self.ours.cluster, theirs.cluster) {
            (_, None) => Ok(Caller::Joining),
            (None, theirs) if self.joining == theirs => Ok(Caller::Admitter),
            (None, Some(_)) => Ok(Caller::Stranger),
            (Some(_), Some(_)) => match (self.members.get(peer), theirs.incarnation) {
                (Some(&refuser), Some(refused)) if refused < refuser => {
                    Err(Refusal::IncarnationOver { refuser, refused })
                }
                (Some(known), Some(said)) if *known == said => Ok(Caller::Member),
                _ => Ok(Caller::Unlisted),
            },
        }
    }

    /// Whether `peer`, which says `theirs` of itself, may open `proto`.
    pub(super) fn judge(&self, peer: &PeerId, theirs: &Hello, proto: Proto) -> Result<(), Refusal> {
        self.ours.admit(theirs)?;
        let caller = self.caller(peer, theirs)?;
        if allowed(proto, caller) {
            return Ok(());
        }
        Err(Refusal::NotAllowed {
            protocol: proto.name().into(),
            caller: caller.noun().into(),
        })
    }

    /// Whether this peer, which has opened `proto`, goes on with the one that answered `theirs`.
    pub(super) fn judge_answer(&self, peer: &PeerId, theirs: &Hello) -> Result<(), Refusal> {
        self.ours.admit(theirs)?;
        match (self.members.get(peer), theirs.incarnation) {
            (Some(&refuser), Some(refused)) if refused < refuser => {
                Err(Refusal::IncarnationOver { refuser, refused })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;
    use ipfs_cluster_protocol::id::Epoch;

    fn hello(cluster: Option<u8>, incarnation: Option<u64>) -> Hello {
        Hello {
            cluster: cluster.map(|c| ClusterId([c; 16])),
            epoch: Epoch(1),
            incarnation: incarnation.map(Incarnation),
            ..Hello::default()
        }
    }

    fn judge(ours: &Hello, joining: Option<u8>, theirs: &Hello, proto: Proto) -> bool {
        Standing {
            ours,
            members: &BTreeMap::from([(peer(1), Incarnation(5))]),
            joining: joining.map(|c| ClusterId([c; 16])),
        }
        .judge(&peer(1), theirs, proto)
        .is_ok()
    }

    #[test]
    fn a_member_may_open_everything() {
        let ours = hello(Some(1), Some(4));
        for proto in Proto::ALL {
            assert!(judge(&ours, None, &hello(Some(1), Some(5)), proto));
        }
    }

    #[test]
    fn a_peer_without_a_cluster_may_only_ask_to_join() {
        let ours = hello(Some(1), Some(4));
        for proto in Proto::ALL {
            let may = matches!(proto, Proto::Join | Proto::Http);
            assert_eq!(
                judge(&ours, None, &hello(None, None), proto),
                may,
                "{proto}"
            );
        }
    }

    #[test]
    fn a_former_life_is_refused_everything_and_a_later_one_only_raft() {
        let ours = hello(Some(1), Some(4));
        for proto in Proto::ALL {
            assert!(!judge(&ours, None, &hello(Some(1), Some(4)), proto));
        }
        assert!(judge(
            &ours,
            None,
            &hello(Some(1), Some(6)),
            Proto::RaftAppend
        ));
        assert!(!judge(&ours, None, &hello(Some(1), Some(6)), Proto::Rpc));
    }

    #[test]
    fn a_joining_peer_hears_only_the_cluster_it_asked() {
        let ours = hello(None, None);
        assert!(judge(
            &ours,
            Some(1),
            &hello(Some(1), Some(5)),
            Proto::RaftAppend
        ));
        assert!(!judge(
            &ours,
            Some(2),
            &hello(Some(1), Some(5)),
            Proto::RaftAppend
        ));
        assert!(!judge(
            &ours,
            None,
            &hello(Some(1), Some(5)),
            Proto::RaftAppend
        ));
        assert!(!judge(&ours, Some(1), &hello(Some(1), Some(5)), Proto::Rpc));
    }

    #[test]
    fn another_cluster_is_refused_by_name() {
        let standing = Standing {
            ours: &hello(Some(1), Some(4)),
            members: &BTreeMap::new(),
            joining: None,
        };
        assert!(matches!(
            standing.judge(&peer(1), &hello(Some(2), Some(5)), Proto::Join),
            Err(Refusal::OtherCluster { .. })
        ));
    }
}
