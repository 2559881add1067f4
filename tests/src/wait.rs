//! Waiting for conditions.

use std::{
    fmt,
    future::Future,
    time::{Duration, Instant},
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks at `condition` until it holds. The condition says what is still missing.
///
/// # Panics
/// When it does not hold within `limit`; the message names what was awaited and what was missing.
pub async fn until<F, R, T, E>(what: &str, limit: Duration, mut condition: F) -> T
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, E>>,
    E: fmt::Display,
{
    let start = Instant::now();
    loop {
        let missing = match condition().await {
            Ok(value) => return value,
            Err(missing) => missing,
        };
        assert!(
            start.elapsed() < limit,
            "{what}: not within {limit:?}: {missing}"
        );
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let seen = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            std::future::ready(if looks == 3 { Ok(looks) } else { Err(looks) })
        });
        assert_eq!(seen.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "pigs: not within 0ns: no wings")]
    async fn what_is_missing_is_named() {
        until("pigs", Duration::ZERO, || async {
            Err::<(), _>("no wings")
        })
        .await;
    }
}
