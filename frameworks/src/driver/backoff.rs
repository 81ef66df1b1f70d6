//! How long to wait before asking again.

use std::time::Duration;

use rand::Rng;

/// The longest a driver waits between two attempts to register.
pub const REGISTRATION_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Waits that are drawn from a range which doubles with each attempt, so that a thousand frameworks whose
/// master came back do not all knock at once.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    range: Duration,
}

impl Backoff {
    /// The first wait is at most `first`.
    pub(super) fn new(first: Duration) -> Backoff {
        let first = first.min(REGISTRATION_BACKOFF_MAX);
        Backoff { first, range: first }
    }

    /// How long to wait now.
    pub(super) fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let wait = self.range.mul_f64(rng.random_range(0.5..=1.0));
        self.range = (self.range * 2).min(REGISTRATION_BACKOFF_MAX);
        wait
    }

    /// How long to wait for the first attempt with a master that wants them spread over that time. With one that
    /// does not say, there is none to wait for.
    pub(super) fn spread_over(&self, spread: Duration, rng: &mut impl Rng) -> Duration {
        match spread {
            Duration::MAX => Duration::ZERO,
            spread => spread.min(self.first).mul_f64(rng.random_range(0.0..=1.0)),
        }
    }

    /// Begins again with short waits.
    pub(super) fn reset(&mut self) {
        self.range = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn waits_grow_up_to_a_limit_and_begin_again() {
        let mut rng = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_millis(100));
        for n in 0..30 {
            let range = (Duration::from_millis(100) * 2u32.pow(n.min(20))).min(REGISTRATION_BACKOFF_MAX);
            let wait = backoff.next(&mut rng);
            assert!(wait <= range && wait >= range / 2, "{n}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(100));
        assert_eq!(backoff.spread_over(Duration::MAX, &mut rng), Duration::ZERO);
        assert!(backoff.spread_over(Duration::from_secs(9), &mut rng) <= Duration::from_millis(100));
        assert!(backoff.spread_over(Duration::from_millis(9), &mut rng) <= Duration::from_millis(9));
    }
}
