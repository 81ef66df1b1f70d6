//! How amounts and resources are shown, bounded.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use api::resources::{Limits, Quantities};

use crate::amounts::{Amounts, Pool};

/// Of one collection of resources, characters at most: port ranges and labels can be many.
const SHOWN_MAX: usize = 512;

/// Amounts by resource name, each in its own unit.
pub type Numbers = BTreeMap<String, f64>;

pub(crate) fn numbers(amounts: &Amounts, pool: &Pool) -> Numbers {
    amounts.iter().map(|(id, amount)| (pool.name_of(id).to_owned(), amount as f64 / 1000.0)).collect()
}

pub(crate) fn quantities(quantities: &Quantities) -> Numbers {
    quantities.iter().map(|(name, amount)| (name.as_str().to_owned(), amount.to_f64())).collect()
}

pub(crate) fn limits(limits: &Limits) -> Numbers {
    limits.iter().map(|(name, amount)| (name.as_str().to_owned(), amount.to_f64())).collect()
}

/// As it prints, but cut off with `...` where it is long.
pub(crate) fn bounded(it: &impl Display) -> String {
    let mut bounded = Bounded(String::new());
    // An error is what cuts it off.
    match write!(bounded, "{it}") {
        Ok(()) => bounded.0,
        Err(_) => bounded.0 + "...",
    }
}

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = SHOWN_MAX - self.0.len();
        if text.len() <= left {
            self.0.push_str(text);
            return Ok(());
        }
        let end = (0..=left).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(&text[..end]);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_off_between_characters() {
        assert_eq!(bounded(&"short"), "short");
        let long = "ä".repeat(SHOWN_MAX);
        let shown = bounded(&format!("x{long}"));
        assert!(shown.ends_with("ä...") && shown.len() <= SHOWN_MAX + 3, "{shown}");
    }
}
