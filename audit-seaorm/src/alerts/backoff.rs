//! How long to wait before an alert is tried again.

use std::time::Duration;

/// When an alert that failed is tried again, and how often.
///
/// Before attempt n+1 it waits for a random time between nothing and `first * 2^(n-1)`, at most `longest` ("full jitter"): after
/// an outage the alerts don't come all at once.
///
/// The default is 24 attempts with windows from 10 seconds to an hour: eight hours, on the average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The window after the first attempt.
    pub first: Duration,
    /// The longest window.
    pub longest: Duration,
    /// How many attempts there are; at least 1.
    pub attempts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(10), longest: Duration::from_secs(3600), attempts: 24 }
    }
}

impl Backoff {
    /// The longest possible wait after so many attempts.
    pub fn window(&self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest)
    }

    /// A wait after so many attempts; not shorter than asked for, as far as the longest window allows.
    pub(super) fn wait(&self, attempts: u32, asked: Option<Duration>) -> Duration {
        let window = u64::try_from(self.window(attempts).as_micros()).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(fastrand::u64(0..=window));
        wait.max(asked.unwrap_or_default().min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn q7_windows_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let windows: Vec<u64> = [1, 2, 3, 9, 10, 24, u32::MAX].map(|n| backoff.window(n).as_secs()).into();
        assert_eq!(windows, [10, 20, 40, 2560, 3600, 3600, 3600]);
    }

    #[test]
    fn q7_waits_are_spread_over_the_window() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (0..1000).map(|_| backoff.wait(24, None).as_secs()).collect();
        // That a part of the window stays empty has a chance of 10^-45.
        for part in 0..10 {
            assert!(waits.iter().any(|wait| wait / 360 == part), "no wait in part {part}");
        }
    }

    proptest! {
        #[test]
        fn q7_a_wait_is_within_its_window_and_as_long_as_asked(
            first in 0_u64..1 << 40, longest in 0_u64..1 << 40, attempts: u32, asked in 0_u64..1 << 40,
        ) {
            let backoff = Backoff {
                first: Duration::from_micros(first),
                longest: Duration::from_micros(longest),
                attempts,
            };
            prop_assert!(backoff.wait(attempts, None) <= backoff.window(attempts));
            let wait = backoff.wait(attempts, Some(Duration::from_micros(asked)));
            prop_assert!(wait <= backoff.longest && wait >= Duration::from_micros(asked.min(longest)));
        }
    }
}
