//! Durations in Mesos's text form (`15secs`, `1.5mins`) and in its messages.

use crate::v1::{DurationInfo, TimeInfo};
use libprocess::Time;
use std::time::Duration;

/// Nanoseconds of each unit, largest first.
const UNITS: [(&str, u64); 8] = [
    ("weeks", 7 * 24 * 3600 * 1_000_000_000),
    ("days", 24 * 3600 * 1_000_000_000),
    ("hrs", 3600 * 1_000_000_000),
    ("mins", 60 * 1_000_000_000),
    ("secs", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number followed by a unit.
    #[error(
        "expected a duration such as 15secs or 1.5mins (a number and one of ns, us, ms, secs, mins, hrs, days, weeks), found '{0}'"
    )]
    Form(String),
    /// More nanoseconds than 63 bits hold: 292 years.
    #[error("the duration '{0}' is longer than 292 years")]
    TooLong(String),
}

/// Reads `<number><unit>`; the number may have a fraction. A part below one nanosecond is cut off.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let form = || DurationError::Form(text.chars().take(64).collect());
    let too_long = || DurationError::TooLong(text.chars().take(64).collect());
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(form)?;
    let (number, unit) = text.split_at(digits);
    let (_, nanoseconds) = UNITS.iter().find(|known| known.0 == unit).ok_or_else(form)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(form());
    }
    let mut total = 0u128;
    for digit in whole.bytes() {
        total = total * 10 + u128::from(digit - b'0');
        if total > u128::from(u64::MAX) {
            return Err(too_long());
        }
    }
    total *= u128::from(*nanoseconds);
    // No unit has more than 15 decimal places above a nanosecond.
    let mut place = u128::from(*nanoseconds) * 1_000_000;
    let mut parts = 0;
    for digit in fraction.bytes().take(21) {
        place /= 10;
        parts += place * u128::from(digit - b'0');
    }
    total += parts / 1_000_000;
    match i64::try_from(total) {
        Ok(total) => Ok(Duration::from_nanos(total.unsigned_abs())),
        Err(_) => Err(too_long()),
    }
}

/// Writes a duration in the largest unit that gives a whole number: `90secs`, `1mins`, `0ns`.
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let divides = |unit: &&(&str, u64)| nanoseconds != 0 && nanoseconds.is_multiple_of(u128::from(unit.1));
    let (unit, size) = UNITS.iter().find(divides).unwrap_or(&("ns", 1));
    format!("{}{unit}", nanoseconds / u128::from(*size))
}

/// A negative duration where only time to come makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration must not be negative, found {0} nanoseconds")]
pub struct NegativeDuration(pub i64);

impl From<Duration> for DurationInfo {
    /// Durations above 292 years become 292 years.
    fn from(duration: Duration) -> Self {
        DurationInfo { nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }
}

impl TryFrom<&DurationInfo> for Duration {
    type Error = NegativeDuration;

    fn try_from(info: &DurationInfo) -> Result<Self, NegativeDuration> {
        match u64::try_from(info.nanoseconds) {
            Ok(nanoseconds) => Ok(Duration::from_nanos(nanoseconds)),
            Err(_) => Err(NegativeDuration(info.nanoseconds)),
        }
    }
}

impl TryFrom<DurationInfo> for Duration {
    type Error = NegativeDuration;

    fn try_from(info: DurationInfo) -> Result<Self, NegativeDuration> {
        Duration::try_from(&info)
    }
}

impl From<Time> for TimeInfo {
    /// Times after the year 2262 become the end of it.
    fn from(time: Time) -> Self {
        TimeInfo { nanoseconds: i64::try_from(time.as_nanos()).unwrap_or(i64::MAX) }
    }
}

impl From<&TimeInfo> for Time {
    /// Times before 1970 become its beginning.
    fn from(info: &TimeInfo) -> Self {
        Time::from_nanos(u64::try_from(info.nanoseconds).unwrap_or(0))
    }
}

impl TimeInfo {
    /// A point in time by its distance from the Unix epoch, up to 292 years.
    pub fn since_epoch(distance: Duration) -> Self {
        TimeInfo { nanoseconds: i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX) }
    }

    /// Seconds since the Unix epoch, as Mesos's classic endpoints show times.
    pub fn as_secs_f64(&self) -> f64 {
        self.nanoseconds as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_and_what_they_mean() {
        for (text, nanoseconds) in [
            ("15secs", 15_000_000_000),
            ("1.5mins", 90_000_000_000),
            ("250ms", 250_000_000),
            ("0.1us", 100),
            ("0.1ns", 0),
            (".5secs", 500_000_000),
            ("2.secs", 2_000_000_000),
            ("1hrs", 3_600_000_000_000),
            ("1days", 86_400_000_000_000),
            ("1weeks", 604_800_000_000_000),
            ("0.000000000000001weeks", 0),
            ("0.3333333333333333333333333333weeks", 201_599_999_999_999),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", "5", "secs", ".secs", "1.2.3secs", "-5secs", "5 secs", "5s", "5SECS", "1e3secs", "5secs "]
        {
            assert!(matches!(parse(text), Err(DurationError::Form(_))), "{text:?}");
        }
        for text in ["9223372036854775808ns", "1000000weeks", &format!("{}secs", "9".repeat(99))] {
            assert!(matches!(parse(text), Err(DurationError::TooLong(_))), "{text:?}");
        }
    }

    #[test]
    fn written_in_the_largest_whole_unit() {
        for (seconds, text) in [(0, "0ns"), (5, "5secs"), (60, "1mins"), (90, "90secs"), (86_400, "1days")] {
            assert_eq!(format(Duration::from_secs(seconds)), text);
        }
        assert_eq!(format(Duration::from_millis(1500)), "1500ms");
    }

    #[test]
    fn messages_hold_nanoseconds() {
        assert_eq!(DurationInfo::from(Duration::from_secs(2)).nanoseconds, 2_000_000_000);
        assert_eq!(Duration::try_from(DurationInfo { nanoseconds: 7 }), Ok(Duration::from_nanos(7)));
        assert_eq!(Duration::try_from(DurationInfo { nanoseconds: -7 }), Err(NegativeDuration(-7)));
        assert_eq!(DurationInfo::from(Duration::MAX).nanoseconds, i64::MAX);
        assert_eq!(TimeInfo::since_epoch(Duration::from_millis(1500)).as_secs_f64(), 1.5);
        assert_eq!(Time::from(&TimeInfo::from(Time::from_nanos(7))), Time::from_nanos(7));
        assert_eq!(Time::from(&TimeInfo { nanoseconds: -1 }), Time::EPOCH);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(nanoseconds in 0..=i64::MAX as u64) {
            let duration = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
