//! Durations as they are written in queries and in the environment.

use std::time::Duration;

const UNITS: [(&str, f64); 9] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("secs", 1.0),
    ("mins", 60.0),
    ("hrs", 3600.0),
    ("days", 86_400.0),
    ("weeks", 604_800.0),
    ("sec", 1.0),
];

/// Reads `5secs`, `1.5mins` and the like; the error says what was expected.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("`{text}` is no duration: expected a number and ns, us, ms, secs, mins, hrs, days or weeks")
    };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let (_, secs) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * secs).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse("5secs"), Ok(Duration::from_secs(5)));
        assert_eq!(parse("1.5mins"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "5", "secs", "-1secs", "5 parsecs", "infsecs", "1e999weeks"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
