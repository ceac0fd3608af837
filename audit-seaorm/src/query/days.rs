//! Days of a caller's time zone as moments.

use audit_core::Error;
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};

/// When this day begins there. Where clocks skip midnight, that is the first moment after the gap.
///
/// Any [`TimeZone`] will do: `chrono::Utc`, `chrono::FixedOffset`, `chrono::Local`, those of `chrono-tz`.
///
/// ```
/// use audit_seaorm::start_of_day;
/// use chrono::{FixedOffset, NaiveDate};
/// let day = NaiveDate::from_ymd_opt(2026, 1, 31).unwrap();
/// let tokyo = FixedOffset::east_opt(9 * 3600).unwrap();
/// assert_eq!(start_of_day(day, &tokyo).unwrap().to_rfc3339(), "2026-01-30T15:00:00+00:00");
/// ```
///
/// # Errors
/// [`Error::Filter`] if it lies beyond the moments that can be said.
pub fn start_of_day<Z: TimeZone>(day: NaiveDate, zone: &Z) -> Result<DateTime<Utc>, Error> {
    let beyond = || Error::Filter(format!("the day {day} lies beyond what can be asked for"));
    let mut local = NaiveDateTime::from(day);
    // A gap is at most a day long: countries have left out a whole one as they crossed the date line.
    for _ in 0..=(2 * 24 * 4) {
        match zone.from_local_datetime(&local) {
            LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => {
                return Ok(moment.with_timezone(&Utc));
            }
            LocalResult::None => {
                local = local.checked_add_signed(TimeDelta::minutes(15)).ok_or_else(beyond)?;
            }
        }
    }
    Err(beyond())
}

/// When this day has ended there: the first moment of the next, which doesn't belong to it.
///
/// # Errors
/// As [`start_of_day`].
pub fn end_of_day<Z: TimeZone>(day: NaiveDate, zone: &Z) -> Result<DateTime<Utc>, Error> {
    let next = day.succ_opt().ok_or_else(|| Error::Filter("there is no day after the last one".into()))?;
    start_of_day(next, zone)
}

/// Reads a day as people and programs write it: `2026-01-31`.
///
/// # Errors
/// [`Error::Filter`] if there is no such day.
pub fn parse_day(text: &str) -> Result<NaiveDate, Error> {
    // chrono would accept signs, spaces and years of any length.
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    if let [year, month, day] = *parts.as_slice()
        && (year.len(), month.len(), day.len()) == (4, 2, 2)
        && digits(year)
        && digits(month)
        && digits(day)
        && let Ok(day) = text.parse()
    {
        return Ok(day);
    }
    Err(Error::Filter("a day is written as `2026-01-31` (year, month, day), and must exist".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q1_only_days_that_exist_are_read() {
        for wrong in
            ["2026-02-29", "2026-13-01", "2026-1-1", "+2026-01-01", "26-01-01", "2026-01-01T00:00", ""]
        {
            assert!(parse_day(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_day("2024-02-29").unwrap(), NaiveDate::from_ymd_opt(2024, 2, 29).unwrap());
        assert!(end_of_day(NaiveDate::MAX, &Utc).is_err());
    }
}
