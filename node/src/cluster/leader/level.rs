//! Raising the feature level: once, when something new is first asked for in a cluster that was
//! formed by an older version, and only if every member can apply it.

use ipfs_cluster_protocol::{
    command::Command,
    hello,
    rpc::Refusal,
    state::{System, query},
};
use tokio::time::{Instant, timeout_at};

use super::{Leader, Miss};
use crate::net::Proto;

impl Leader {
    /// Makes sure that commands of a level may be proposed.
    pub(super) async fn at_level(&self, wanted: u32, deadline: Instant) -> Result<(), Refusal> {
        let read = move |state: &dyn ipfs_cluster_protocol::state::StateRead| {
            let reached = System::load(state)?.feature_level >= wanted;
            (!reached).then(|| query::members(state)).transpose()
        };
        let Some(members) = self.read(read).await? else {
            return Ok(());
        };
        let net = &self.0.net;
        for member in members.iter().filter(|m| m.peer != *net.local_peer()) {
            let opened = timeout_at(deadline, net.open(&member.peer, Proto::Rpc)).await;
            let able = matches!(opened, Ok(Ok(stream)) if stream.hello.features & hello::applies(wanted) != 0);
            if !able {
                return Err(Refusal::Invalid(format!(
                    "the members must all run a version of feature level {wanted} before this is \
                     accepted: upgrade or start {} ({})",
                    member.name, member.peer
                )));
            }
        }
        match self
            .propose_own(Command::FeatureLevel { level: wanted })
            .await
        {
            Ok(_) => Ok(()),
            Err(Miss::Refused(refusal)) => Err(refusal),
            Err(Miss::Conflict) => Err(Refusal::Unavailable("the state changed meanwhile".into())),
        }
    }
}
