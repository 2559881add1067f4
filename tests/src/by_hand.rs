//! Programs that are run by hand and take a number.

use std::{env, ops::RangeInclusive};

use tokio::runtime::{Builder, Runtime};

/// The number on the command line, or the usual one, and what the program is to run on. None, with
/// the question on stderr, where the number is none of those allowed.
///
/// # Panics
/// When the system gives no runtime.
#[must_use]
pub fn number(question: &str, usual: u64, allowed: RangeInclusive<u64>) -> Option<(u64, Runtime)> {
    let number = env::args().nth(1).map_or(Ok(usual), |n| n.parse());
    let Some(number) = number.ok().filter(|n| allowed.contains(n)) else {
        let (least, most) = (allowed.start(), allowed.end());
        eprintln!("{question} a number from {least} to {most}");
        return None;
    };
    let runtime = Builder::new_multi_thread().enable_all().build();
    Some((number, runtime.expect("a runtime can be made")))
}
