//! `raft`: acts on the peer's log while the peer does not run.

use std::process::ExitCode;

use ipfs_cluster_node::consensus::{LeftBehind, Recovery, Survey, Survivor};
use ipfs_cluster_protocol::id::PeerId;

use super::{Failure, Shell, args::Raft};

const RECOVERING: &str = "recovering the cluster";

impl Shell {
    pub(super) async fn raft(&self, command: &Raft) -> Result<ExitCode, Failure> {
        let Raft::Recover { peers, force } = command;
        self.recover(peers, *force).await
    }

    async fn recover(&self, peers: &[PeerId], force: bool) -> Result<ExitCode, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::new(RECOVERING, e);
        let config = self.load().await?.config;
        let _lock = self.lock()?;
        let me = &config.identity.peer;
        let recovery = Recovery::survey(&self.env, &self.folder, me, peers).await;
        let recovery = recovery.map_err(|e| failed(&e))?;
        if let Some(why) = recovery.of().left_behind.filter(|_| !force && !self.force) {
            return Err(failed(&format!(
                "{why}. If all peers of epoch {} are lost for good, recover with --force",
                why.later
            )));
        }
        print!("{}", forecast(me, recovery.of()));
        if !self.confirmed(force, "Recover the cluster from this peer?")? {
            println!("nothing was changed");
            return Ok(ExitCode::SUCCESS);
        }
        let epoch = recovery.of().epoch;
        let done = recovery.carry_out(&self.env).await;
        done.map_err(|e| failed(&e))?;
        println!(
            "Recovered: the cluster goes on in epoch {epoch}. Start this peer with \
             `ipfs-cluster-service daemon`; on every other survivor run `ipfs-cluster-service state \
             cleanup`, then `ipfs-cluster-service daemon --bootstrap` with an address of this peer."
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// What is kept, what may be lost, who stays, and who is fenced off.
fn forecast(me: &PeerId, survey: &Survey) -> String {
    let Survey {
        identity,
        epoch,
        left_behind,
        last,
        committed,
        applied,
        stay,
        leave,
    } = survey;
    let unsure = last.index.saturating_sub(committed.0);
    let mut text = format!(
        "This is {me}, a peer of cluster {} in epoch {}.\n\
         Its log ends with entry {} of term {}. Up to entry {committed} a majority is known to have \
         it; up to entry {applied} it is in the state.\n",
        identity.cluster, identity.epoch, last.index, last.term
    );
    if let Some(LeftBehind { later, .. }) = left_behind {
        text += &format!(
            "WARNING: the cluster was recovered before and goes on in epoch {later}; its peers \
             will be fenced off.\n"
        );
    }
    if unsure > 0 {
        text += &format!(
            "Kept: all of this log, the last {unsure} entries too, though it is not known whether \
             a majority had them.\n"
        );
    } else {
        text += "Kept: all of this log.\n";
    }
    text += "Lost: changes that only other peers have, acknowledged ones among them. Of several \
             survivors recover one alone: the one whose log ends with the highest term, then the \
             highest entry (run this on each and answer no to compare).\n\
             This peer will be the only voter, until others have joined.\n";
    if !stay.is_empty() {
        text += &format!(
            "Members that stay, and must join anew to be given the state: {}.\n",
            list(stay)
        );
    }
    if !leave.is_empty() {
        text += &format!(
            "Members that are taken out (their pins are placed elsewhere; name survivors with \
             --peers to keep them): {}.\n",
            list(leave)
        );
    }
    text += &format!(
        "The epoch rises to {epoch}: a peer of an older epoch is refused, and writes nothing any \
         more once it has met a recovered one. Old voters that never meet one still form the old \
         cluster, if they are a majority of it: make sure that they stay off.\n"
    );
    text
}

fn list(members: &[Survivor]) -> String {
    let texts: Vec<String> = members.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
