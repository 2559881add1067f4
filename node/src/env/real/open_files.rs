//! How many files the process may have open: every connection is one.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the system allowed before and allows now; none is without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// At the start of the process.
    pub before: Option<u64>,
    /// From now on.
    pub now: Option<u64>,
}

/// Raises the limit as far as the system lets this process raise it: to its hard limit.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if current != maximum {
        setrlimit(Resource::Nofile, all)?;
    }
    Ok(OpenFiles {
        before: current,
        now: getrlimit(Resource::Nofile).current,
    })
}

/// How many may be open now; none is without limit.
pub(super) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_as_high_as_it_can_be() {
        let raised = raise_open_files().unwrap();
        assert_eq!(raised.now, getrlimit(Resource::Nofile).maximum);
        let again = raise_open_files().unwrap();
        assert_eq!((again.before, again.now), (raised.now, raised.now));
    }
}
