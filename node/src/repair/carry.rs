//! Carries out the steps of a plan: replacements first, releases only on the word of those who
//! hold the pin.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use ipfs_cluster_protocol::{
    command::Command,
    id::{PeerId, Seq},
    mutation::{Mutation, planted},
    pin::Pin,
    repair::{Release, Situation, Step, Urgency, release},
    rpc::{RpcReply, RpcRequest},
};

use crate::{
    cluster::{
        leader::{Leader, Miss},
        rpc,
    },
    net::Net,
};

/// Steps under way at once.
const AT_ONCE: usize = 16;

/// Proposes and asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Carrier<'a> {
    pub(super) leader: &'a Leader,
    pub(super) net: &'a Net,
}

impl Carrier<'_> {
    /// Returns how many pins got new places.
    pub(super) async fn carry_out(
        &self,
        steps: Vec<(Urgency, Step)>,
        pins: &[Pin],
        situation: &Situation<'_>,
    ) -> u64 {
        let pins: BTreeMap<Seq, &Pin> = pins.iter().map(|pin| (pin.seq, pin)).collect();
        let made = stream::iter(steps)
            .map(|(urgency, step)| self.step(urgency, step, &pins, situation))
            .buffer_unordered(AT_ONCE);
        made.fold(0, |sum, made| async move { sum + u64::from(made) })
            .await
    }

    async fn step(
        &self,
        urgency: Urgency,
        step: Step,
        pins: &BTreeMap<Seq, &Pin>,
        situation: &Situation<'_>,
    ) -> bool {
        match step {
            Step::Make(command) => {
                tracing::debug!(?urgency, ?command, "a pin gets new places");
                self.promise(&command, pins);
                self.propose(*command).await
            }
            Step::Release(question) => {
                let Some(pin) = pins.get(&question.seq) else {
                    return false;
                };
                let confirmed = self.confirmed(&question).await;
                if let Some(command) = release(pin, situation, &confirmed) {
                    tracing::debug!(?command, "a pin lets go of peers");
                    self.propose(command).await;
                }
                false
            }
        }
    }

    /// The room that the pin's new peers need is promised to it, as to a pin of a user.
    fn promise(&self, command: &Command, pins: &BTreeMap<Seq, &Pin>) {
        if let Command::Place {
            seq, allocations, ..
        } = command
            && let Some(pin) = pins.get(seq)
        {
            let new = |peer: &&PeerId| !pin.allocations.contains(peer);
            let new: Vec<PeerId> = allocations.iter().filter(new).cloned().collect();
            self.leader.reserve(&new, pin.spec.size);
        }
    }

    async fn propose(&self, command: Command) -> bool {
        match self.leader.propose_own(command).await {
            Ok(_) => true,
            // The pin changed meanwhile: the next round looks at it again.
            Err(Miss::Conflict) => false,
            Err(Miss::Refused(refusal)) => {
                tracing::debug!(%refusal, "a repair step was refused");
                false
            }
        }
    }

    /// Who holds the pin, by their own word of this moment.
    async fn confirmed(&self, question: &Release) -> Vec<PeerId> {
        if planted(Mutation::ReleaseOnGossip) {
            return question.ask.clone();
        }
        let ask = RpcRequest::Holds {
            seq: question.seq,
            rev: question.rev,
        };
        let mut confirmed = Vec::new();
        for peer in &question.ask {
            if *peer == *self.net.local_peer() {
                if self.leader.holds_here(question.seq, question.rev).await {
                    confirmed.push(peer.clone());
                }
                continue;
            }
            match rpc::ask(self.net, peer, &ask).await {
                Ok(RpcReply::Yes(true)) => confirmed.push(peer.clone()),
                Ok(_) => {}
                Err(reason) => tracing::debug!(%peer, reason, "not asked whether it holds a pin"),
            }
        }
        confirmed
    }
}
