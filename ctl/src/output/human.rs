//! Sizes and times as people say them.

use std::time::{SystemTime, UNIX_EPOCH};

/// A size in powers of 1000, such as `10 GB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 10 {
        return format!("{n} B");
    }
    let mut unit = 0;
    let mut scale = 1u64;
    while unit + 1 < UNITS.len() && n / scale >= 1000 {
        scale = scale.saturating_mul(1000);
        unit += 1;
    }
    // To the nearest tenth; from ten on to the nearest whole, halves to the even one.
    let (n, scale) = (u128::from(n), u128::from(scale));
    let tenths = (n * 20 + scale) / (2 * scale);
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if whole < 10 && unit > 0 {
        return format!("{whole}.{tenth} {}", UNITS[unit]);
    }
    let up = tenth > 5 || (tenth == 5 && whole % 2 == 1);
    format!("{} {}", whole + u128::from(up), UNITS[unit])
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn now_nanos() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(i128::MAX))
}

const MINUTE: i128 = 60;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;
const WEEK: i128 = 7 * DAY;
const MONTH: i128 = 30 * DAY;
const YEAR: i128 = 12 * MONTH;

/// `at` (nanoseconds since the epoch) from `now`: `5 seconds ago`, `1 hour from now`.
pub(crate) fn when(at: i128, now: i128) -> String {
    let seconds = (at - now).abs() / 1_000_000_000;
    let side = if at > now { "from now" } else { "ago" };
    let (count, unit) = match seconds {
        0 => return "now".to_owned(),
        s if s < MINUTE => (s, "second"),
        s if s < HOUR => (s / MINUTE, "minute"),
        s if s < DAY => (s / HOUR, "hour"),
        s if s < WEEK => (s / DAY, "day"),
        s if s < MONTH => (s / WEEK, "week"),
        s if s < YEAR => (s / MONTH, "month"),
        s if s < 18 * MONTH => (1, "year"),
        s if s < 2 * YEAR => (2, "year"),
        s if s < 37 * YEAR => (s / YEAR, "year"),
        _ => return format!("a long while {side}"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} {side}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (10_000_000_000, "10 GB"),
            (1_234_567, "1.2 MB"),
            (1_250_000, "1.3 MB"),
            (9_960_000, "10 MB"),
            (10_500, "10 kB"),
            (11_500, "12 kB"),
            (999_999, "1000 kB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn times_are_told_from_now() {
        let second = 1_000_000_000;
        for (seconds, text) in [
            (0, "now"),
            (26, "26 seconds from now"),
            (-6, "6 seconds ago"),
            (-60, "1 minute ago"),
            (7200, "2 hours from now"),
            (-86_400 * 400, "1 year ago"),
            (86_400 * 545, "2 years from now"),
            (-86_400 * 365 * 60, "a long while ago"),
        ] {
            assert_eq!(when(seconds * second, 0), text);
        }
    }
}
