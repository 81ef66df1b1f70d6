//! JSON of the calls that strangers send: an answer or an error, and what was read can be written and
//! read again.
#![no_main]

use api::schema::Described;
use api::{json, v1};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    check::<v1::scheduler::Call>(text);
    check::<v1::executor::Call>(text);
    check::<v1::master::Call>(text);
    check::<v1::agent::Call>(text);
});

fn check<M: Described + PartialEq + serde::Serialize>(text: &[u8]) {
    if let Ok(message) = json::from_slice::<M>(text) {
        // Once through, so that declared defaults are set in both.
        let first = json::to_vec(&message);
        let again = json::from_slice::<M>(&first).expect("our own JSON reads back");
        assert!(first == json::to_vec(&again), "our own JSON reads back as the same");
    }
}
