//! How a peer is admitted: what it asks, what it is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ClusterId, Epoch, Incarnation, PeerId};

/// A question about admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// From the peer itself, to any member.
    Admit(Request),
    /// From the member it asked, to the leader.
    AdmitOther {
        /// Who wants to join, as its connection was authenticated.
        peer: PeerId,
        /// What it asked.
        request: Request,
    },
    /// From a peer that was admitted, to any member: am I still one, in this life?
    Standing,
}

/// What a joining peer says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Shown to users.
    pub name: String,
    /// The cluster its data folder belongs to, if it has been in one: it joins no other.
    pub cluster: Option<ClusterId>,
    /// Multiaddrs where it listens.
    pub addresses: Vec<String>,
    /// The life it takes the cluster to know of it: the admission is to replace that one, and none
    /// other. So what it asked before, and what arrives late, admits it no second time.
    pub former: Option<Incarnation>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is a member from now on.
    Admitted(Admission),
    /// Not now: nobody leads, or another change of the members is under way. Ask again.
    Later {
        /// Why.
        why: String,
    },
    /// The cluster knows another life of the asker than the request says: ask again, instead of that.
    Known {
        /// That life; none where it is no member.
        life: Option<Incarnation>,
    },
    /// No.
    Refused {
        /// Why.
        why: String,
    },
    /// To [`Ask::Standing`]: whether that life of the asker is a member's, as of a read that nothing
    /// committed before the question is missing from.
    Standing {
        /// Whether it is.
        member: bool,
    },
}

/// Who the new member is and whom it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The life the new member is in.
    pub incarnation: Incarnation,
    /// All members and where they may be found.
    pub members: BTreeMap<PeerId, MemberAddresses>,
}

/// A member, for one that does not know it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAddresses {
    /// Its present life.
    pub incarnation: Incarnation,
    /// Multiaddrs; may be empty.
    pub addresses: Vec<String>,
}
