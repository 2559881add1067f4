use ipfs_cluster_node::consensus::Role;

use super::{EVERY_US, Heading, PeerSample, Recording, Sample, page};

/// Three peers over a minute: the leader is cut off, one peer crashes, a third takes over.
fn recording() -> Recording {
    let mut recording = Recording::default();
    for n in 1..=120 {
        let cut = (40..80).contains(&n);
        let peer = |number: usize| PeerSample {
            up: number != 3 || !(90..100).contains(&n),
            role: Some(match (number, cut) {
                (1, false) | (2, true) => Role::Leader,
                _ => Role::Follower,
            }),
            recovering: false,
            term: 1 + u64::from(cut),
            applied: n * 10,
            messages: n * 100,
            cut_from: match number {
                1 if cut => vec![2, 3],
                _ if cut => vec![1],
                _ => Vec::new(),
            },
        };
        recording.samples.push(Sample {
            at: n * EVERY_US,
            peers: (1..=3).map(peer).collect(),
            requests: (n * 5, n * 4),
            lacking: Some(u64::from(cut) * 7),
        });
    }
    recording.events = vec![
        (20_000_000, "peer 1 is alone & <unheard>".to_owned()),
        (60_000_000, "VIOLATED x: y".to_owned()),
    ];
    recording
}

fn made() -> String {
    let heading = Heading {
        scenario: "a \"test\"".to_owned(),
        about: "It shows <everything>.".to_owned(),
        verdict: "VIOLATED x: y".to_owned(),
        summary: "seed 1".to_owned(),
        command: "ipfs-cluster-sim run --seed 1".to_owned(),
        answers: vec![("pins lost".to_owned(), "0".to_owned())],
    };
    page(&heading, &recording())
}

/// Every tag that opens closes, in order.
fn check_nesting(page: &str) -> Result<(), String> {
    let mut open = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').ok_or("a tag has no end")?;
        rest = after;
        if tag.starts_with('!') || tag.ends_with('/') {
            continue;
        }
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if let Some(closes) = name.strip_prefix('/') {
            let last = open.pop();
            if last.as_deref() != Some(closes) {
                return Err(format!("</{closes}> closes {last:?}"));
            }
            continue;
        }
        open.push(name.to_owned());
        if name == "script" || name == "style" {
            let end = rest.find(&format!("</{name}>"));
            rest = &rest[end.ok_or("a script or style has no end")?..];
        }
    }
    open.pop()
        .map_or(Ok(()), |name| Err(format!("<{name}> stays open")))
}

#[test]
fn the_page_is_well_formed() {
    assert_eq!(check_nesting(&made()), Ok(()));
    assert!(check_nesting("<p><b></p></b>").is_err());
    assert!(check_nesting("<p>").is_err());
}

#[test]
fn nothing_of_the_page_comes_from_elsewhere() {
    let page = made();
    for elsewhere in ["http:", "https:", "//", "src=", "@import", "fetch("] {
        // Comments of the script are its own.
        let found = page.replace("// Shows the words", "").contains(elsewhere);
        assert!(!found, "{elsewhere}");
    }
    let links = page.matches("href=").count();
    assert_eq!(links, page.matches("href=\"data:,\"").count());
    let own = page.matches("url(").count();
    assert_eq!(own, page.matches("url(#").count());
}

#[test]
fn it_tells_what_became_of_every_peer() {
    let page = made();
    for text in [
        "peer 1 leads in term 1 · 0.0 s to 19.5 s",
        "peer 2 leads in term 2",
        "peer 1: cut off from peer 2, 3 · 19.5 s to 39.5 s",
        "class=\"cut\" x=",
        "class=\"cut-some\" x=",
        "peer 3 does not run",
        "up to 7 pins lack copies",
        "peer 1 is alone &amp; &lt;unheard&gt;",
        "It shows &lt;everything&gt;.",
        "1. 20.0 s",
        "pins lost",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn an_empty_run_makes_a_page_too() {
    let heading = Heading {
        scenario: String::new(),
        about: String::new(),
        verdict: "ok".to_owned(),
        summary: String::new(),
        command: String::new(),
        answers: Vec::new(),
    };
    assert_eq!(
        check_nesting(&page(&heading, &Recording::default())),
        Ok(())
    );
}
