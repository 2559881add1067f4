//! Times as the API prints them: RFC 3339 with nanoseconds, trailing zeros removed, and the zero
//! time of year 1 for "never".

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::time::Timestamp;

/// 9999-12-31T23:59:59Z in milliseconds: RFC 3339 has four digits for the year.
const LAST_MS: u64 = 253_402_300_799_000;
/// 0001-01-01T00:00:00Z in seconds.
const ZERO_SECONDS: i64 = -62_135_596_800;

/// A point in time of an API object. [`Time::ZERO`] means "none" or "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Since the Unix epoch, rounded down.
    seconds: i64,
    /// 0 to 999 999 999.
    nanos: u32,
}

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parsing time {text:?}: {why}")]
pub struct TimeError {
    /// The text, shortened to 64 characters.
    pub text: String,
    /// Why it was refused.
    pub why: String,
}

impl Time {
    /// `0001-01-01T00:00:00Z`.
    pub const ZERO: Self = Self {
        seconds: ZERO_SECONDS,
        nanos: 0,
    };

    /// Whether it stands for "none".
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Without the fraction of a second: what went through the state has whole seconds.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self { nanos: 0, ..self }
    }

    /// Later within the same second; the second does not change.
    #[must_use]
    pub fn plus_nanos(self, nanos: u32) -> Self {
        let nanos = self.nanos.saturating_add(nanos).min(999_999_999);
        Self { nanos, ..self }
    }

    /// An optional time, zero for none.
    #[must_use]
    pub fn from_option(at: Option<Timestamp>) -> Self {
        at.map_or(Self::ZERO, Self::from)
    }

    /// As the core counts it: none for the zero time, 0 for what is before 1970.
    #[must_use]
    pub fn timestamp(self) -> Option<Timestamp> {
        if self.is_zero() {
            return None;
        }
        let seconds = u64::try_from(self.seconds).unwrap_or(0);
        let ms = seconds.saturating_mul(1000);
        Some(Timestamp(
            ms.saturating_add(u64::from(self.nanos / 1_000_000)),
        ))
    }

    fn from_offset(t: OffsetDateTime) -> Self {
        Self {
            seconds: t.unix_timestamp(),
            nanos: t.nanosecond(),
        }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<Timestamp> for Time {
    fn from(t: Timestamp) -> Self {
        let ms = t.0.min(LAST_MS);
        Self {
            seconds: i64::try_from(ms / 1000).unwrap_or(0),
            nanos: u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000,
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = OffsetDateTime::from_unix_timestamp(self.seconds).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )?;
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let error = |why: String| TimeError {
            text: text.chars().take(64).collect(),
            why,
        };
        if text.len() > 64 {
            return Err(error("longer than 64 characters".to_owned()));
        }
        let t = OffsetDateTime::parse(text, &Rfc3339).map_err(|e| error(e.to_string()))?;
        let utc = t
            .checked_to_offset(UtcOffset::UTC)
            .filter(|t| (1..=9999).contains(&t.year()))
            .ok_or_else(|| error("the year is not within 1 to 9999".to_owned()))?;
        Ok(Self::from_offset(utc))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // null and "" appear in old exports.
        match Option::<String>::deserialize(d)? {
            None => Ok(Self::ZERO),
            Some(text) if text.is_empty() => Ok(Self::ZERO),
            Some(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fractions_lose_their_trailing_zeros() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000_000, "2023-11-14T22:13:20Z"),
            (1_700_000_000_120, "2023-11-14T22:13:20.12Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Time::from(Timestamp(ms)).to_string(), text);
        }
    }

    #[test]
    fn the_zero_time_is_year_one_and_no_timestamp() {
        assert_eq!(Time::ZERO.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!("0001-01-01T00:00:00Z".parse(), Ok(Time::ZERO));
        assert_eq!(Time::ZERO.timestamp(), None);
    }

    #[test]
    fn offsets_are_turned_into_utc() {
        let t: Time = "2026-11-22T15:06:05.5+01:00".parse().unwrap();
        assert_eq!(t.to_string(), "2026-11-22T14:06:05.5Z");
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(seconds in ZERO_SECONDS..253_402_300_800, nanos in 0u32..1_000_000_000) {
            let t = Time { seconds, nanos };
            prop_assert_eq!(t.to_string().parse::<Time>().unwrap(), t);
        }

        #[test]
        fn garbage_never_panics(text in ".{0,80}") {
            let _ = text.parse::<Time>();
        }

        #[test]
        fn near_times_never_panic(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[+-][0-9]{2}:[0-9]{2}") {
            if let Ok(t) = text.parse::<Time>() {
                let _ = (t.to_string(), t.timestamp());
            }
        }
    }
}
