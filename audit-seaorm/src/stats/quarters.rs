//! Time in quarters of an hour since 1970, in UTC: every time zone in use begins its days with one.

use chrono::{DateTime, Utc};

const SECONDS: i64 = 900;

/// Sizes of periods in which everything is counted, in quarters: an hour, six hours, a day.
pub(super) const GRAINS: [i64; 3] = [4, 24, 96];

/// Size of periods in which only all entries together are counted, for the days of time zones that aren't whole hours off.
pub(super) const FINEST: i64 = 1;

/// The quarter in which the moment lies.
pub(super) fn quarter_of(moment: DateTime<Utc>) -> i64 {
    moment.timestamp().div_euclid(SECONDS)
}

/// The last hour that has begun at the moment, by its first quarter.
pub(super) fn hour_of(moment: DateTime<Utc>) -> i64 {
    quarter_of(moment).div_euclid(GRAINS[0]) * GRAINS[0]
}

/// The first hour that doesn't begin before the moment, by its first quarter.
pub(super) fn hour_from(moment: DateTime<Utc>) -> i64 {
    let begun = hour_of(moment);
    if start_of(begun) == moment { begun } else { begun + GRAINS[0] }
}

/// When the quarter begins.
pub(super) fn start_of(quarter: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(quarter.saturating_mul(SECONDS), 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Periods of one size: their starts from `from` on, below `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) grain: i64,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The fewest periods that make up the hours from `from` up to `to`, given by their first quarters.
pub(super) fn cover(from: i64, to: i64) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut push = |grain, from, to| {
        if from < to {
            runs.push(Run { grain, from, to });
        }
    };
    let (mut from, mut to) = (from, to);
    for sizes in GRAINS.windows(2) {
        let &[grain, larger] = sizes else { continue };
        let up = from.div_euclid(larger) * larger;
        let up = if up < from { up + larger } else { up };
        let down = to.div_euclid(larger) * larger;
        if up >= down {
            push(grain, from, to);
            return runs;
        }
        push(grain, from, up);
        push(grain, down, to);
        (from, to) = (up, down);
    }
    push(GRAINS[GRAINS.len() - 1], from, to);
    runs
}

/// The largest size of which all these are multiples.
pub(super) fn common_grain(quarters: impl Iterator<Item = i64> + Clone) -> i64 {
    let fits = |grain: &&i64| quarters.clone().all(|quarter| quarter.rem_euclid(**grain) == 0);
    GRAINS.iter().rev().find(fits).copied().unwrap_or(FINEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn q3_periods_cover_every_quarter_once(from in -500_i64..3_000, length in 0_i64..6_000) {
            let (from, to) = (from * 4, (from + length) * 4);
            let runs = cover(from, to);
            prop_assert!(runs.len() <= 5);
            let mut quarters: Vec<i64> = Vec::new();
            for Run { grain, from, to } in runs {
                prop_assert_eq!((from.rem_euclid(grain), to.rem_euclid(grain)), (0, 0));
                quarters.extend(from..to);
            }
            quarters.sort_unstable();
            prop_assert_eq!(quarters, (from..to).collect::<Vec<_>>());
        }
    }

    #[test]
    fn q3_days_are_read_in_the_largest_periods_that_fit() {
        for (quarters, grain) in
            [(vec![0, 96, 192], 96), (vec![8, 104], 4), (vec![22, 118], 1), (vec![24, 120], 24)]
        {
            assert_eq!(common_grain(quarters.iter().copied()), grain, "{quarters:?}");
        }
    }
}
