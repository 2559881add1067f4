//! Nothing grows without bound: connections and bytes under way of each peer, and the memory of
//! the whole.

use super::Invariant;
use crate::observe::Seen;

/// Connections of one peer: HTTP clients, two swarms, and what lingers after resets.
const CONNECTIONS_MAX: usize = 1_024;
/// Bytes written by one peer and not read yet.
const BYTES_MAX: usize = 64 << 20;
/// Memory of the process, for itself and for each machine.
const MEMORY_MAX: u64 = 512 << 20;
const MEMORY_PER_MACHINE_MAX: u64 = 128 << 20;

#[derive(Debug)]
pub(super) struct BoundedLoad;

impl Invariant for BoundedLoad {
    fn name(&self) -> &'static str {
        "bounded-load"
    }

    fn check(&mut self, seen: &Seen) -> Result<(), String> {
        match seen {
            Seen::Load {
                peer, connections, ..
            } if *connections > CONNECTIONS_MAX => {
                Err(format!("peer {peer} has {connections} connections"))
            }
            Seen::Load { peer, bytes, .. } if *bytes > BYTES_MAX => {
                Err(format!("{bytes} bytes of peer {peer} are under way"))
            }
            Seen::Memory { bytes, machines }
                if *bytes > MEMORY_MAX + MEMORY_PER_MACHINE_MAX * *machines as u64 =>
            {
                Err(format!("{machines} machines take {} MiB", bytes >> 20))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_beyond_the_bounds_are_found() {
        let load = |connections, bytes| {
            let peer = 1;
            BoundedLoad.check(&Seen::Load {
                peer,
                connections,
                bytes,
            })
        };
        assert!(load(10, 1_000).is_ok());
        assert!(load(CONNECTIONS_MAX + 1, 0).is_err() && load(1, BYTES_MAX + 1).is_err());
        let memory = |bytes| BoundedLoad.check(&Seen::Memory { bytes, machines: 1 });
        assert!(memory(1 << 20).is_ok() && memory(2 << 30).is_err());
    }
}
