//! Sizes in bytes in Mesos's text form: `2GB`, in powers of 1024.

const UNITS: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    /// Not a whole number followed by a unit.
    #[error("expected a size such as 512MB (a whole number and one of B, KB, MB, GB, TB), found '{0}'")]
    Form(String),
    /// More bytes than 64 bits count.
    #[error("the size '{0}' exceeds 64 bits")]
    TooLarge(String),
}

/// Reads `<whole number><unit>` into bytes.
pub fn parse(text: &str) -> Result<u64, ByteSizeError> {
    let quoted = || text.chars().take(64).collect();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let Some((_, size)) = UNITS.iter().find(|known| known.0 == unit && !number.is_empty()) else {
        return Err(ByteSizeError::Form(quoted()));
    };
    let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(*size));
    bytes.ok_or_else(|| ByteSizeError::TooLarge(quoted()))
}

/// Writes bytes in the largest unit that gives a whole number: `1536KB`, `0B`.
pub fn format(bytes: u64) -> String {
    let divides = |unit: &&(&str, u64)| bytes != 0 && bytes.is_multiple_of(unit.1);
    let (unit, size) = UNITS.iter().find(divides).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_what_they_mean() {
        for (text, bytes) in
            [("2GB", 2 << 30), ("0B", 0), ("1536KB", 1536 << 10), ("3TB", 3 << 40), ("7MB", 7 << 20)]
        {
            assert_eq!(parse(text), Ok(bytes));
            assert_eq!(format(bytes), text);
        }
        assert_eq!(parse("1024MB").map(format), Ok("1GB".to_string()));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "5", "GB", "1.5GB", "-1B", "1 GB", "1gb", "1PB"] {
            assert!(matches!(parse(text), Err(ByteSizeError::Form(_))), "{text:?}");
        }
        for text in ["99999999999999999999B", "16777216TB"] {
            assert!(matches!(parse(text), Err(ByteSizeError::TooLarge(_))), "{text:?}");
        }
    }
}
