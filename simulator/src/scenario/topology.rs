//! Where the peers are: zones, and the links between them.

use serde::Deserialize;

use super::{Weather, check_weather};
use crate::{network::Link, world::HostId};

/// Peers that are near each other. Every peer shows its zone as the tag `group`, over which pins
/// are spread.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Who is in it.
    pub peers: Vec<HostId>,
}

/// The links between two zones, both ways.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// Which two.
    pub zones: (String, String),
    /// The weather there.
    pub weather: Weather,
}

/// Zones and what is between them.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    usual: Link,
    zones: Vec<Zone>,
    between: Vec<Between>,
}

impl Topology {
    /// Links are as `usual` but between the zones.
    #[must_use]
    pub fn new(usual: Link, zones: Vec<Zone>, between: Vec<Between>) -> Self {
        Self {
            usual,
            zones,
            between,
        }
    }

    /// The zone of a peer.
    #[must_use]
    pub fn zone_of(&self, peer: HostId) -> Option<&str> {
        let zone = self.zones.iter().find(|zone| zone.peers.contains(&peer))?;
        Some(&zone.name)
    }

    /// The peers of a zone.
    #[must_use]
    pub fn peers_of(&self, zone: &str) -> &[HostId] {
        let zone = self.zones.iter().find(|z| z.name == zone);
        zone.map_or(&[], |zone| &zone.peers)
    }

    /// How many zones there are.
    #[must_use]
    pub fn zones(&self) -> usize {
        self.zones.len()
    }

    /// The link between two machines in good weather.
    #[must_use]
    pub fn link(&self, from: HostId, to: HostId) -> Link {
        let (Some(from), Some(to)) = (self.zone_of(from), self.zone_of(to)) else {
            return self.usual;
        };
        let joins = |between: &&Between| {
            let (a, b) = (between.zones.0.as_str(), between.zones.1.as_str());
            (a, b) == (from, to) || (a, b) == (to, from)
        };
        let special = self.between.iter().find(joins);
        special.map_or(self.usual, |between| between.weather.link())
    }
}

/// Says what makes no sense.
pub(super) fn check(zones: &[Zone], between: &[Between], peers: usize) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for zone in zones {
        for peer in &zone.peers {
            if !(1..=peers).contains(peer) {
                return Err(format!(
                    "zone {:?}: there is no peer {peer} of {peers}",
                    zone.name
                ));
            }
            if !seen.insert(*peer) {
                return Err(format!(
                    "peer {peer} is in two zones, {:?} is one",
                    zone.name
                ));
            }
        }
    }
    for link in between {
        let (a, b) = &link.zones;
        for name in [a, b] {
            if !zones.iter().any(|zone| zone.name == *name) {
                return Err(format!("between: there is no zone {name:?}"));
            }
        }
        check_weather(&link.weather).map_err(|why| format!("between {a:?} and {b:?}: {why}"))?;
    }
    Ok(())
}
