//! Carries out the steps of a plan: replacements first, releases only on the word of those who
//! hold the pin.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, future::join_all, stream};
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
/// How old a peer's word that it holds a pin may be when others are let go on it: it may have lost
/// its disk since. Who takes longer is asked again in the next round.
const WORD_MAX: Duration = Duration::from_secs(5);

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

    /// Who holds the pin, by their own word of this moment: all are asked at once, or the first would
    /// have said so long before the last.
    async fn confirmed(&self, question: &Release) -> Vec<PeerId> {
        if planted(Mutation::ReleaseOnGossip) {
            return question.ask.clone();
        }
        let words = question.ask.iter().map(|peer| async move {
            let held = tokio::time::timeout(WORD_MAX, self.says_it_holds(peer, question)).await;
            held.unwrap_or_else(|_| Err(format!("no answer within {WORD_MAX:?}")))
        });
        let words = join_all(words).await.into_iter().zip(&question.ask);
        let holders = words.filter_map(|(held, peer)| match held {
            Ok(held) => held.then(|| peer.clone()),
            Err(reason) => {
                tracing::debug!(%peer, reason, "did not say whether it holds a pin");
                None
            }
        });
        holders.collect()
    }

    async fn says_it_holds(&self, peer: &PeerId, question: &Release) -> Result<bool, String> {
        let Release { seq, rev, .. } = *question;
        if peer == self.net.local_peer() {
            return Ok(self.leader.holds_here(seq, rev).await);
        }
        let answer = rpc::ask(self.net, peer, &RpcRequest::Holds { seq, rev }).await?;
        Ok(matches!(answer, RpcReply::Yes(true)))
    }
}
