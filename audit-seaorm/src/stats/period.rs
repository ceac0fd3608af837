//! The days that statistics are about.

use audit_core::Error;
use chrono::{DateTime, NaiveDate, Offset, TimeDelta, TimeZone, Utc};

use super::quarters::{quarter_of, start_of};
use crate::query::{end_of_day, start_of_day};

/// Most days of a period: ten years.
const MAX_DAYS: i64 = 3_660;

/// A period of time, cut into the days of a time zone.
///
/// Zones are any [`TimeZone`] whose days begin with a quarter of an hour of UTC, as all do nowadays: `chrono::Utc`,
/// `chrono::FixedOffset`, `chrono::Local`, those of `chrono-tz`.
///
/// ```
/// use audit_seaorm::stats::Period;
/// let kathmandu = chrono::FixedOffset::east_opt(5 * 3600 + 45 * 60).unwrap();
/// assert_eq!(Period::last_days(30, &kathmandu)?.days().count(), 30);
/// # Ok::<(), audit_seaorm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// The days with the moments from which on entries count for them; the first is that of the period.
    days: Vec<(NaiveDate, DateTime<Utc>)>,
}

impl Period {
    /// Today and the days before it, so many in all.
    ///
    /// # Errors
    /// [`Error::Filter`] for 0 days and for more than 3,660.
    pub fn last_days<Z: TimeZone>(days: u32, zone: &Z) -> Result<Self, Error> {
        let today = Utc::now().with_timezone(zone).date_naive();
        let before = TimeDelta::days(i64::from(days) - 1);
        match today.checked_sub_signed(before) {
            Some(first) if days > 0 => Self::dates(first, today, zone),
            _ => Err(Error::Filter(format!("statistics are of 1 to {MAX_DAYS} days, not of {days}"))),
        }
    }

    /// From the beginning of one day to the end of another.
    ///
    /// # Errors
    /// [`Error::Filter`] if the last day is before the first, or there are more than 3,660, or the zone's days don't begin with a
    /// quarter of an hour.
    pub fn dates<Z: TimeZone>(first: NaiveDate, last: NaiveDate, zone: &Z) -> Result<Self, Error> {
        if last < first {
            return Err(Error::Filter(format!("the period ends ({last}) before it starts ({first})")));
        }
        if (last - first).num_days() >= MAX_DAYS {
            return Err(Error::Filter(format!("statistics are of at most {MAX_DAYS} days")));
        }
        Self::cut(start_of_day(first, zone)?, end_of_day(last, zone)?, first, last, zone)
    }

    /// From one moment on, up to another, which isn't part of it.
    ///
    /// # Errors
    /// As [`dates`](Self::dates).
    pub fn between<Z: TimeZone>(start: DateTime<Utc>, end: DateTime<Utc>, zone: &Z) -> Result<Self, Error> {
        if end < start {
            return Err(Error::Filter(format!("the period ends ({end}) before it starts ({start})")));
        }
        // chrono panics where a local time can't be said.
        let day = |moment: DateTime<Utc>| {
            let offset = zone.offset_from_utc_datetime(&moment.naive_utc()).fix();
            let local = moment.naive_utc().checked_add_offset(offset);
            local.map(|local| local.date()).ok_or_else(|| {
                Error::Filter(format!("the moment {moment} lies beyond what can be asked for"))
            })
        };
        let (first, last) = (day(start)?, day(end)?);
        if (last - first).num_days() > MAX_DAYS {
            return Err(Error::Filter(format!("statistics are of at most {MAX_DAYS} days")));
        }
        Self::cut(start, end, first, last, zone)
    }

    fn cut<Z: TimeZone>(
        start: DateTime<Utc>,
        end: DateTime<Utc>,
        first: NaiveDate,
        last: NaiveDate,
        zone: &Z,
    ) -> Result<Self, Error> {
        let mut days = vec![(first, start)];
        for day in first.iter_days().skip(1).take_while(|day| *day <= last) {
            let begin = start_of_day(day, zone)?;
            if start_of(quarter_of(begin)) != begin {
                return Err(Error::Filter(format!(
                    "the day {day} doesn't begin with a quarter of an hour of UTC in that time zone"
                )));
            }
            // The end of the last day isn't part of it; and a day that was left out has no moments.
            if begin < end {
                days.push((day, begin));
            }
        }
        Ok(Self { start, end, days })
    }

    /// When it begins.
    pub fn start(&self) -> DateTime<Utc> {
        self.start
    }

    /// When it has ended.
    pub fn end(&self) -> DateTime<Utc> {
        self.end
    }

    /// Its days.
    pub fn days(&self) -> impl Iterator<Item = NaiveDate> {
        self.days.iter().map(|(day, _)| *day)
    }

    /// Where its days begin, but for the first.
    pub(super) fn borders(&self) -> impl Iterator<Item = DateTime<Utc>> + Clone {
        self.days.iter().skip(1).map(|(_, begin)| *begin)
    }

    /// Where its days are of one length, for a statement that adds up by day: from which quarter on, and how many quarters a day has.
    /// Quarters before the first of these are the first day's. Only a day that isn't as long as the others is a stretch by itself.
    pub(super) fn stretches(&self) -> Vec<Stretch> {
        let borders: Vec<i64> = self.borders().map(quarter_of).collect();
        let last = quarter_of(self.end);
        let end = if start_of(last) == self.end { last } else { last.saturating_add(1) };
        let mut stretches: Vec<Stretch> = Vec::new();
        for (at, from) in borders.iter().copied().enumerate() {
            let to = borders.get(at + 1).copied().unwrap_or(end);
            let length = to.saturating_sub(from);
            // The period's end may cut it off.
            let is_last = at + 1 == borders.len();
            match stretches.last_mut() {
                Some(last) if last.day == length || (is_last && length < last.day) => last.to = to,
                _ => stretches.push(Stretch { from, to, day: Ord::max(length, 1) }),
            }
        }
        stretches
    }

    /// Which of its days a quarter belongs to.
    pub(super) fn day_of(&self, quarter: i64) -> usize {
        let moment = start_of(quarter);
        self.days.partition_point(|(_, begin)| *begin <= moment).saturating_sub(1)
    }
}

/// Days of one length, in quarters: from the first's begin on, up to the last's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) day: i64,
}

impl Stretch {
    /// The first quarter of the day in which the quarter is.
    #[cfg(test)]
    fn begin(self, quarter: i64) -> i64 {
        quarter - (quarter - self.from) % self.day
    }
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn q3_periods_that_make_no_sense_are_refused() {
        assert!(Period::last_days(0, &Utc).is_err());
        assert!(Period::last_days(u32::MAX, &Utc).is_err());
        assert!(Period::dates(day("2026-01-02"), day("2026-01-01"), &Utc).is_err());
        assert!(Period::dates(day("1000-01-01"), day("2026-01-01"), &Utc).is_err());
        assert!(Period::between(Utc::now(), Utc::now() - TimeDelta::days(1), &Utc).is_err());
        let amsterdam_1936 = FixedOffset::east_opt(1172).unwrap();
        let error = Period::dates(day("2026-01-01"), day("2026-01-02"), &amsterdam_1936).unwrap_err();
        assert!(error.to_string().contains("quarter of an hour"), "{error}");
    }

    #[test]
    fn q3_quarters_belong_to_the_days_of_the_zone() {
        let zone = FixedOffset::west_opt(3600 * 8).unwrap();
        let period = Period::dates(day("2026-01-01"), day("2026-01-03"), &zone).unwrap();
        assert_eq!(period.days().count(), 3);
        let at = |text: &str| period.day_of(quarter_of(text.parse().unwrap()));
        assert_eq!(at("2026-01-01T08:00:00Z"), 0);
        assert_eq!(at("2026-01-02T07:59:59Z"), 0);
        assert_eq!(at("2026-01-02T08:00:00Z"), 1);
        assert_eq!(at("2026-01-04T07:45:00Z"), 2);
        assert_eq!(Period::between(period.start(), period.end(), &zone).unwrap(), period);
    }

    proptest! {
        #[test]
        fn q3_stretches_begin_days_where_they_begin(
            lengths in prop::collection::vec(prop_oneof![8 => Just(96_i64), 1 => Just(92), 1 => Just(100), 1 => 1_i64..200], 0..40),
            before in 0_i64..300, after in 0_i64..200,
        ) {
            let first = 2_000_000;
            let mut borders = vec![first + before];
            for length in lengths {
                borders.push(borders[borders.len() - 1] + length);
            }
            let date = day("2026-01-01");
            let at = |quarter| start_of(quarter);
            let end = borders[borders.len() - 1] + after;
            let mut days = vec![(date, at(first))];
            days.extend(borders.iter().filter(|border| **border < end).map(|border| (date, at(*border))));
            let period = Period { start: at(first), end: at(end), days };
            let stretches = period.stretches();
            for quarter in first..end {
                let within = stretches.iter().find(|stretch| (stretch.from..stretch.to).contains(&quarter));
                let begin = within.map_or(first, |stretch| stretch.begin(quarter));
                let day = period.day_of(quarter);
                prop_assert_eq!(at(begin), period.days[day].1, "quarter {}", quarter - first);
            }
        }
    }

    #[test]
    fn q3_days_of_one_length_are_one_stretch() {
        let period =
            Period::dates(day("2026-01-01"), day("2026-01-30"), &FixedOffset::east_opt(19_800).unwrap());
        assert_eq!(period.unwrap().stretches().len(), 1);
        let period = Period::dates(day("2026-01-01"), day("2026-01-01"), &Utc);
        assert_eq!(period.unwrap().stretches().len(), 0);
    }

    #[test]
    fn q3_a_period_at_the_ends_of_time_is_refused_without_a_panic() {
        let (min, max, day) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, TimeDelta::days(1));
        for hours in [-12, 0, 14] {
            let zone = FixedOffset::east_opt(hours * 3600).unwrap();
            assert_eq!(Period::between(max - day, max, &zone).is_err(), hours > 0, "{hours}");
            assert_eq!(Period::between(min, min + day, &zone).is_err(), hours < 0, "{hours}");
        }
    }
}
