//! How long to wait before the next attempt: twice as long each time, up to a bound, with jitter so that what failed together
//! is not tried again together.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The pauses of one thing that fails.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Changes the bound. How often it failed so far still counts.
    pub fn bound(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// Counts one more failure, and returns how long to wait: between half of the doubled time and all of it.
    pub fn next_pause(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        whole.mul_f64(0.5 + jitter() / 2.0)
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A little less than `pause`, so that what began together does not recur together.
pub fn spread(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - jitter() / 10.0)
}

/// A number from 0 to 1, another one each time: each hasher of the standard library has keys of its own.
fn jitter() -> f64 {
    f64::from((RandomState::new().hash_one(0u8) >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_bound_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for whole in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next_pause().as_millis();
            assert!((whole / 2..=whole).contains(&pause), "{pause} of {whole}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= Duration::from_millis(100));
    }
}
