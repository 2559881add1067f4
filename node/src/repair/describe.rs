//! Keeps names and labels of members in the state in step with what they say of themselves: votes
//! are spread by labels, and they must be known while a peer is silent.

use std::collections::BTreeMap;

use ipfs_cluster_protocol::{
    command::Command,
    limits::{LABEL_BYTES_MAX, LABELS_MAX},
    state::Member,
};

use crate::{cluster::leader::Leader, monitor::Monitor};

/// Metrics that become labels.
const TAG: &str = "tag:";

/// Writes down what has changed.
pub(super) async fn describe(leader: &Leader, monitor: &Monitor, members: &[Member]) {
    for member in members {
        let name = monitor.ping(&member.peer).map(|ping| ping.peer_name);
        let Some(said) = news(member, name, tags(monitor, member)) else {
            continue;
        };
        if leader.propose_own(said).await.is_err() {
            // Leadership is lost or shaky: whoever leads next looks again.
            return;
        }
    }
}

/// A member's tags that count now.
fn tags(monitor: &Monitor, member: &Member) -> BTreeMap<String, String> {
    let names = monitor.names().into_iter();
    let tags = names.filter(|name| name.starts_with(TAG));
    tags.filter_map(|name| {
        let metric = monitor.fresh(&name, &member.peer)?;
        Some((name, metric.value))
    })
    .collect()
}

/// What is to be written down of a member, if that is something new. One that tells no tags at all
/// just now keeps those it has: it may only not have been heard of yet.
fn news(member: &Member, name: Option<String>, tags: BTreeMap<String, String>) -> Option<Command> {
    let fits = |text: &String| text.len() <= LABEL_BYTES_MAX;
    let name = name.filter(|name| !name.is_empty() && fits(name));
    let name = name.unwrap_or_else(|| member.name.clone());
    let tags = tags.into_iter().filter(|(k, v)| fits(k) && fits(v));
    let mut labels: BTreeMap<_, _> = tags.take(LABELS_MAX).collect();
    if labels.is_empty() {
        labels.clone_from(&member.labels);
    }
    let new = name != member.name || labels != member.labels;
    new.then(|| Command::Describe {
        peer: member.peer.clone(),
        name,
        labels,
    })
}

#[cfg(test)]
mod tests {
    use ipfs_cluster_protocol::id::{Incarnation, MemberNo, PeerId};

    use super::*;

    fn tags(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        owned.collect()
    }

    fn member(labels: &[(&str, &str)]) -> Member {
        Member {
            no: MemberNo(1),
            peer: PeerId::from_bytes(&[[0x12, 0x20].as_slice(), &[1; 32]].concat()).unwrap(),
            incarnation: Incarnation(1),
            name: "one".into(),
            labels: tags(labels),
            draining: false,
            down_since: None,
        }
    }

    #[test]
    fn what_a_member_says_anew_is_written_down_once() {
        let zone = [("tag:zone", "a")];
        let silent = member(&zone);
        assert_eq!(news(&silent, None, tags(&[])), None);
        assert_eq!(news(&silent, Some("one".into()), tags(&zone)), None);
        let moved = news(&silent, None, tags(&[("tag:zone", "b")]));
        let Some(Command::Describe { name, labels, .. }) = moved else {
            panic!("{moved:?}");
        };
        assert_eq!((name.as_str(), labels), ("one", tags(&[("tag:zone", "b")])));
        let renamed = news(&silent, Some("uno".into()), tags(&zone));
        assert!(matches!(renamed, Some(Command::Describe { name, .. }) if name == "uno"));
    }

    #[test]
    fn what_the_state_would_refuse_is_left_out() {
        let long = "x".repeat(LABEL_BYTES_MAX + 1);
        let silent = member(&[]);
        assert_eq!(
            news(&silent, Some(long.clone()), tags(&[("tag:a", &long)])),
            None
        );
        let many: BTreeMap<_, _> = (0..200)
            .map(|n| (format!("tag:{n}"), String::new()))
            .collect();
        let Some(Command::Describe { labels, .. }) = news(&silent, None, many) else {
            panic!("nothing is written down");
        };
        assert_eq!(labels.len(), LABELS_MAX);
    }
}
