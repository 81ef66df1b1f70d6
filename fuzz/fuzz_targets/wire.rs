//! Protobuf bodies from other nodes and clients: an answer or an error, and what passes the check can be
//! decoded and encoded and passes again.
#![no_main]

use api::schema::Described;
use api::{internal, v0, v1, wire};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    check::<v1::scheduler::Call>(body);
    check::<v1::master::Call>(body);
    check::<v0::scheduler::Call>(body);
    check::<internal::ReregisterSlaveMessage>(body);
    check::<internal::StatusUpdateMessage>(body);
});

fn check<M: Described>(body: &[u8]) {
    if wire::check::<M>(body).is_ok() {
        let message = wire::decode::<M>(body).expect("what was checked decodes");
        wire::decode::<M>(&message.encode_to_vec()).expect("our own bytes decode");
    }
}
