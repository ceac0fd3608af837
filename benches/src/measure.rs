//! Ratios, taken in pairs: what is compared runs in turns, so that the machine's moods fall on both alike.

use std::time::Duration;

/// Times of one thing and of another, round by round.
#[derive(Debug, Default)]
pub(crate) struct Pairs(Vec<(Duration, Duration)>);

impl Pairs {
    /// Adds a round.
    pub(crate) fn push(&mut self, base: Duration, other: Duration) {
        self.0.push((base, other));
    }

    /// The same with the sides exchanged.
    pub(crate) fn inverse(&self) -> Self {
        Self(self.0.iter().map(|(base, other)| (*other, *base)).collect())
    }

    /// Median, smallest and largest ratio of the other to the base.
    pub(crate) fn ratio(&self) -> Spread {
        let mut ratios: Vec<f64> =
            self.0.iter().map(|(base, other)| other.as_secs_f64() / base.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        Spread { median: ratios[ratios.len() / 2], min: ratios[0], max: ratios[ratios.len() - 1] }
    }

    /// Median time of one operation of the base and of the other, for rounds of `count` operations.
    pub(crate) fn each(&self, count: u32) -> (Duration, Duration) {
        let median = |mut times: Vec<Duration>| {
            times.sort();
            times[times.len() / 2] / count
        };
        (
            median(self.0.iter().map(|(base, _)| *base).collect()),
            median(self.0.iter().map(|(_, other)| *other).collect()),
        )
    }
}

/// A median with its extremes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "**{:.2}** ({:.2} .. {:.2})", self.median, self.min, self.max)
    }
}
