//! A point in time as actors see it.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch, as told by the clock of a node: the machine's on a real host,
/// a virtual one in a simulation. It never runs backwards on one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The Unix epoch.
    pub const EPOCH: Time = Time(0);

    /// The time that many nanoseconds after the Unix epoch.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// The time that many seconds after the Unix epoch; what is negative or not a number is the epoch.
    pub fn from_secs_f64(secs: f64) -> Time {
        Time(if secs > 0.0 { (secs * 1e9) as u64 } else { 0 })
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the Unix epoch.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn saturating_since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// What the machine's clock says. For hosts; actors ask their context.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn machine() -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(since.as_nanos().min(u128::from(u64::MAX)) as u64)
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    /// Clamped to the last time there is: "never" is a legitimate timeout.
    fn add(self, after: Duration) -> Time {
        Time(self.0.saturating_add(after.as_nanos().min(u128::from(u64::MAX)) as u64))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, after: Duration) {
        *self = *self + after;
    }
}

impl Sub for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
