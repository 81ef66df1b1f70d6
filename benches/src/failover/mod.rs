//! What the bench `failover` is made of.

pub mod agents;
pub mod group;
pub mod pulse;
pub mod registry;
pub mod storm;
pub mod takeover;

/// What can go wrong in a bench.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Processor time of this process until now, in seconds.
pub fn processor_seconds() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or(f64::NAN, |usage| seconds(usage.user_time()) + seconds(usage.system_time()))
}
