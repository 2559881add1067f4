//! Durations as Go prints and reads them: `1m30s`, `200ms`, `24h0m0s`.

use std::{fmt::Write as _, time::Duration};

use crate::limits::DURATION_CHARS_MAX;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing, a unit without number or a number without unit.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A unit that there is not.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    Unit {
        /// The unit.
        unit: String,
        /// The text.
        text: String,
    },
}

/// Nanoseconds of Go's longest duration.
const GO_NANOS: u128 = i64::MAX as u128;

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Reads numbers with units, as in `1h30m` or `1.5s`; `0` needs no unit. Negative ones are refused.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.chars().take(DURATION_CHARS_MAX).collect());
    if text.len() > DURATION_CHARS_MAX {
        return Err(invalid());
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number = leading(rest, |c| c.is_ascii_digit() || c == '.');
        rest = rest.get(number.len()..).unwrap_or_default();
        let unit = leading(rest, |c| !c.is_ascii_digit() && c != '.');
        rest = rest.get(unit.len()..).unwrap_or_default();
        if number.is_empty() || unit.is_empty() {
            return Err(invalid());
        }
        let scale = unit_nanos(unit).ok_or_else(|| DurationError::Unit {
            unit: unit.to_owned(),
            text: text.to_owned(),
        })?;
        let part = scaled(number, scale).ok_or_else(invalid)?;
        nanos = nanos.saturating_add(part);
        if nanos > GO_NANOS {
            return Err(invalid());
        }
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| invalid())?;
    let rest = u32::try_from(nanos % 1_000_000_000).map_err(|_| invalid())?;
    Ok(Duration::new(seconds, rest))
}

/// The longest start of `text` whose characters all satisfy `is`.
fn leading(text: &str, is: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !is(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// `number` (digits with at most one point) times `scale`, cut to whole nanoseconds.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // Digits after the 18th are below a nanosecond of any unit's share.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let mut nanos = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok()?;
        let value: u128 = fraction.parse().ok()?;
        nanos = nanos.checked_add(value.checked_mul(scale)? / 10u128.pow(digits))?;
    }
    Some(nanos)
}

/// Prints as Go does: `5m0s`, `1.5s`, `200ms`, `0s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanos = duration.subsec_nanos();
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanos}ns"),
            1_000..1_000_000 => format!("{}\u{b5}s", decimal(u64::from(nanos), 1_000)),
            _ => format!("{}ms", decimal(u64::from(nanos), 1_000_000)),
        };
    }
    let mut out = String::new();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 {
        let _ = write!(out, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(out, "{minutes}m");
    }
    let below_minute = seconds % 60 * 1_000_000_000 + u64::from(nanos);
    let _ = write!(out, "{}s", decimal(below_minute, 1_000_000_000));
    out
}

/// `n / unit` without trailing zeros.
fn decimal(n: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let fraction = format!("{:0width$}", n % unit);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        (n / unit).to_string()
    } else {
        format!("{}.{fraction}", n / unit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_texts_are_read_and_printed() {
        for (text, ms) in [
            ("0s", 0),
            ("200ms", 200),
            ("1.5s", 1500),
            ("1m30s", 90_000),
            ("5m0s", 300_000),
            ("3h0m0s", 10_800_000),
        ] {
            let d = Duration::from_millis(ms);
            assert_eq!(parse(text), Ok(d), "{text}");
            assert_eq!(format(d), text);
        }
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("1h.5m"), Ok(Duration::from_secs(3630)));
        assert_eq!(format(Duration::from_nanos(1_500)), "1.5\u{b5}s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "1x",
            "-1s",
            ".s",
            "1..5s",
            "1s5",
            "9999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(nanos in 0u64..1_000_000_000_000_000_000) {
            let d = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(d)).unwrap(), d);
        }

        #[test]
        fn garbage_never_panics(text in "[0-9.a-z\u{b5}+-]{0,70}") {
            let _ = parse(&text);
        }
    }
}
