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

/// Looks at `condition` again and again for so long: it must hold all the time.
///
/// # Panics
/// When it does not hold once; the message names what was claimed and what was seen.
pub async fn throughout<F, R, E>(what: &str, span: Duration, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    let start = Instant::now();
    while start.elapsed() < span {
        if let Err(seen) = condition().await {
            panic!("{what}: not after {:?}: {seen}", start.elapsed());
        }
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

    #[tokio::test]
    #[should_panic(expected = "still: not after")]
    async fn a_condition_that_ends_is_noticed() {
        let mut looks = 0;
        throughout("still", Duration::from_secs(60), || {
            looks += 1;
            std::future::ready(if looks < 3 { Ok(()) } else { Err("moved") })
        })
        .await;
    }
}
