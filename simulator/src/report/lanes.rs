//! The drawing: a lane per peer, and one for the clients and the pins.

use ipfs_cluster_node::consensus::Role;

use super::{
    PeerSample, Recording,
    axis::{Axis, LEFT, WIDTH, seconds},
    markup::Markup,
};
use crate::world::Micros;

/// Height of a lane.
const LANE: f64 = 62.0;
/// Between two lanes.
const GAP: f64 = 8.0;
/// Room for the numbers of the axis and of the events.
const TOP: f64 = 40.0;
/// Height of the bar that shows what a peer is.
const BAR: f64 = 14.0;

/// What a peer is, as the drawing has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Down,
    Joining,
    Recovering,
    Leader(u64),
    Candidate(u64),
    Follower(u64),
    StandIn,
}

impl Shown {
    fn of(peer: &PeerSample) -> Self {
        match (peer.up, peer.role) {
            (false, _) => Self::Down,
            (_, None | Some(Role::Stopped)) => Self::Joining,
            (_, Some(Role::Leader)) => Self::Leader(peer.term),
            (_, Some(Role::Candidate)) => Self::Candidate(peer.term),
            _ if peer.recovering => Self::Recovering,
            (_, Some(Role::Follower)) => Self::Follower(peer.term),
            (_, Some(Role::StandIn)) => Self::StandIn,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Joining => "joining",
            Self::Recovering => "recovering",
            Self::Leader(_) => "leader",
            Self::Candidate(_) => "candidate",
            Self::Follower(_) => "follower",
            Self::StandIn => "standin",
        }
    }

    fn words(self) -> String {
        match self {
            Self::Down => "does not run".to_owned(),
            Self::Joining => "is not a member yet".to_owned(),
            Self::Recovering => "catches up with its own past".to_owned(),
            Self::Leader(term) => format!("leads in term {term}"),
            Self::Candidate(term) => format!("asks for votes in term {term}"),
            Self::Follower(term) => format!("follows in term {term}"),
            Self::StandIn => "has the log and no vote".to_owned(),
        }
    }
}

/// All lanes as one SVG.
pub(super) fn draw(recording: &Recording) -> String {
    let axis = Axis::new(recording.end());
    let lanes = recording.peers() + 1;
    let height = TOP + lanes as f64 * (LANE + GAP) + 4.0;
    let mut out = Markup::default();
    out.raw(&format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"What became of every peer over time\">\n"
    ));
    out.raw(PATTERNS);
    frame(&mut out, axis, height);
    for peer in 0..recording.peers() {
        lane(&mut out, recording, axis, peer);
    }
    cluster_lane(&mut out, recording, axis);
    events(&mut out, recording, axis, height);
    out.raw("</svg>\n");
    out.into_string()
}

/// Patterns tell apart on paper what colours tell apart on a screen.
const PATTERNS: &str = "<defs>\
<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect class=\"hatch-ground\" width=\"6\" height=\"6\"></rect><rect class=\"hatch-line\" width=\"2.5\" height=\"6\"></rect></pattern>\
<pattern id=\"dots\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\"><rect class=\"dots-ground\" width=\"5\" height=\"5\"></rect><rect class=\"dot\" x=\"1\" y=\"1\" width=\"1.6\" height=\"1.6\"></rect></pattern>\
</defs>\n";

fn top_of(lane: usize) -> f64 {
    TOP + lane as f64 * (LANE + GAP)
}

fn frame(out: &mut Markup, axis: Axis, height: f64) {
    for tick in axis.ticks() {
        let x = axis.x(tick * 1_000_000);
        out.line("grid", &[(x, TOP - 6.0), (x, height - 4.0)]);
        out.label("tick", x, 12.0, &format!("{tick} s"));
    }
}

fn lane(out: &mut Markup, recording: &Recording, axis: Axis, peer: usize) {
    let top = top_of(peer);
    let number = peer + 1;
    let name = format!("peer {number}");
    out.label("name", 4.0, top + 20.0, &name);
    let ground = (LEFT, top, axis.x(Micros::MAX) - LEFT, LANE);
    out.bar("ground", ground, &name);
    for (from, to, others) in recording.stretches(peer, |p| {
        (!p.cut_from.is_empty()).then(|| p.cut_from.clone())
    }) {
        let (x, end) = (axis.x(from), axis.x(to));
        let title = format!(
            "peer {number}: cut off from {} · {} to {}",
            peers(&others),
            seconds(from),
            seconds(to)
        );
        // Whoever still reaches a majority goes on.
        let alone = (recording.peers() - others.len()) * 2 <= recording.peers();
        let class = if alone { "cut" } else { "cut-some" };
        out.bar(class, (x, top, end - x, LANE), &title);
    }
    for (from, to, shown) in recording.stretches(peer, |p| Some(Shown::of(p))) {
        let (x, end) = (axis.x(from), axis.x(to));
        let words = shown.words();
        let title = format!(
            "peer {number} {words} · {} to {}",
            seconds(from),
            seconds(to)
        );
        out.bar(shown.class(), (x, top + 4.0, end - x, BAR), &title);
        if let Shown::Leader(term) = shown
            && end - x > 40.0
        {
            out.label("inside", x + 4.0, top + 15.0, &format!("term {term}"));
        }
    }
    let applied = recording.rates(|s| s.peers.get(peer).filter(|p| p.up).map(|p| p.applied));
    let messages = recording.rates(|s| Some(s.peers.get(peer)?.messages));
    curve(out, axis, ("messages", "messages/s"), top, &messages);
    curve(out, axis, ("commits", "entries/s"), top, &applied);
}

fn peers(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("peer {}", numbers.join(", "))
}

/// A curve in the lower part of a lane, from 0 to its own peak, which is written beside it.
fn curve(
    out: &mut Markup,
    axis: Axis,
    (class, name): (&str, &str),
    top: f64,
    points: &[(Micros, f64)],
) {
    let (low, high) = (top + LANE - 3.0, top + BAR + 10.0);
    let peak = points.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let place = |(at, value): &(Micros, f64)| (axis.x(*at), low - (low - high) * value / peak);
    let drawn: Vec<(f64, f64)> = points.iter().map(place).collect();
    out.line(class, &drawn);
    let row = if class == "messages" { 46.0 } else { 34.0 };
    out.label(
        &format!("peak {class}-text"),
        4.0,
        top + row,
        &format!("≤ {peak:.0} {name}"),
    );
}

/// Clients and pins.
fn cluster_lane(out: &mut Markup, recording: &Recording, axis: Axis) {
    let top = top_of(recording.peers());
    out.label("name", 4.0, top + 20.0, "clients, pins");
    let ground = (LEFT, top, axis.x(Micros::MAX) - LEFT, LANE);
    out.bar(
        "ground",
        ground,
        "requests of clients, and pins that lack copies",
    );
    let mut open: Option<(Micros, Micros, u64)> = None;
    for sample in &recording.samples {
        let lacking = sample.lacking.filter(|lacking| *lacking > 0);
        match (&mut open, lacking) {
            (Some((_, to, most)), Some(now)) => (*to, *most) = (sample.at, (*most).max(now)),
            (None, Some(now)) => open = Some((sample.at, sample.at, now)),
            (_, None) => lacking_bar(out, axis, top, open.take()),
        }
    }
    lacking_bar(out, axis, top, open);
    let asked = recording.rates(|s| Some(s.requests.0));
    let done = recording.rates(|s| Some(s.requests.1));
    curve(out, axis, ("messages", "asked/s"), top, &asked);
    curve(out, axis, ("commits", "done/s"), top, &done);
}

fn lacking_bar(out: &mut Markup, axis: Axis, top: f64, stretch: Option<(Micros, Micros, u64)>) {
    let Some((from, to, most)) = stretch else {
        return;
    };
    let (x, end) = (axis.x(from), axis.x(to));
    let title = format!(
        "up to {most} pins lack copies on peers that run · {} to {}",
        seconds(from),
        seconds(to)
    );
    out.bar("lacking", (x, top + 4.0, end - x, BAR), &title);
    if end - x > 60.0 {
        out.label("inside", x + 4.0, top + 15.0, &format!("≤ {most} pins"));
    }
}

/// A mark over the lanes for each thing that was told, with its number in the list below.
fn events(out: &mut Markup, recording: &Recording, axis: Axis, height: f64) {
    let mut last = f64::MIN;
    for ((at, text), number) in recording.events.iter().zip(1..) {
        let x = axis.x(*at);
        let class = if text.starts_with("VIOLATED") {
            "mark violated"
        } else {
            "mark"
        };
        let title = format!("{number}. {} · {text}", seconds(*at));
        out.bar(class, (x - 0.5, TOP - 8.0, 1.0, height - TOP), &title);
        if x - last > 16.0 {
            out.label("number", x, TOP - 12.0, &number.to_string());
            last = x;
        }
    }
}
