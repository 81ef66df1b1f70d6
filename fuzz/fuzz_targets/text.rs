//! The small text forms: durations, sizes, ids and roles.
#![no_main]

use api::{byte_size, duration, ids, roles};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(parsed) = duration::parse(text) {
        assert_eq!(duration::parse(&duration::format(parsed)), Ok(parsed));
    }
    if let Ok(parsed) = byte_size::parse(text) {
        assert_eq!(byte_size::parse(&byte_size::format(parsed)), Ok(parsed));
    }
    if ids::validate(text).is_ok() {
        assert!(!text.contains('/') && text.len() <= ids::ID_BYTES_MAX);
    }
    if roles::validate(text).is_ok() {
        assert!(roles::ancestors(text).all(|ancestor| roles::validate(ancestor).is_ok()));
    }
});
