//! Which time is asked for: the same for the log and for the other records.

use audit_core::Error;
use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone, Utc};
use sea_orm::{ColumnTrait, Condition};
use uuid::Uuid;

use super::days::{end_of_day, parse_day, start_of_day};

/// Where a period begins or ends, if it does.
pub(super) type Moment = Option<DateTime<Utc>>;

/// The names that [`Span::set`] knows.
pub(super) const NAMES: [&str; 3] = ["days", "start_date", "end_date"];

/// What was said of the time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span {
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) days: Option<u32>,
    /// What can't be asked, found as it was said.
    mistake: Option<String>,
}

impl Span {
    pub(super) fn begin_on<Z: TimeZone>(&mut self, day: NaiveDate, zone: &Z) {
        match start_of_day(day, zone) {
            Ok(start) => self.start = Some(start),
            Err(error) => self.mistake = Some(error.to_string()),
        }
    }

    pub(super) fn end_on<Z: TimeZone>(&mut self, day: NaiveDate, zone: &Z) {
        match end_of_day(day, zone) {
            Ok(end) => self.end = Some(end),
            Err(error) => self.mistake = Some(error.to_string()),
        }
    }

    /// Sets one of [`NAMES`] from a text; `false` for another name.
    ///
    /// # Errors
    /// [`Error::Filter`] for a text that can't be meant.
    pub(super) fn set<Z: TimeZone>(&mut self, name: &str, text: &str, zone: &Z) -> Result<bool, Error> {
        let wrong = |why: &str| Error::Filter(format!("`{name}` {why}"));
        let moment =
            |of_day: &dyn Fn() -> Result<DateTime<Utc>, Error>| match DateTime::parse_from_rfc3339(text) {
                Ok(moment) => Ok(Some(moment.with_timezone(&Utc))),
                Err(_) => of_day().map(Some).map_err(|_| {
                    wrong("is neither a day that exists (`2026-01-31`) nor a moment (`2026-01-31T10:00:00Z`)")
                }),
            };
        match name {
            "days" => {
                let days = text.parse().ok().filter(|days| *days > 0);
                self.days = Some(days.ok_or_else(|| wrong("must be a number from 1 on"))?);
            }
            "start_date" => self.start = moment(&|| start_of_day(parse_day(text)?, zone))?,
            "end_date" => self.end = moment(&|| end_of_day(parse_day(text)?, zone))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Where the period begins and ends, if it does.
    ///
    /// # Errors
    /// [`Error::Filter`] if it makes no sense.
    pub(super) fn moments(&self) -> Result<(Moment, Moment), Error> {
        if let Some(mistake) = &self.mistake {
            return Err(Error::Filter(mistake.clone()));
        }
        if self.days == Some(0) {
            return Err(Error::Filter("the last 0 days are no period; ask for at least 1".into()));
        }
        if let (Some(start), Some(end)) = (self.start, self.end)
            && end < start
        {
            return Err(Error::Filter(format!("the period ends ({end}) before it starts ({start})")));
        }
        // Longer ago than there are dates: everything.
        let ago = |days: u32| Utc::now().checked_sub_signed(TimeDelta::days(i64::from(days)));
        Ok((self.days.and_then(ago).max(self.start), self.end))
    }
}

/// The methods of a filter that has a `span`.
macro_rules! period_methods {
    () => {
        /// From this moment on, inclusive.
        pub fn start_date(mut self, start: chrono::DateTime<chrono::Utc>) -> Self {
            self.span.start = Some(start);
            self
        }

        /// Up to this moment, exclusive: the end of one period is the start of the next.
        pub fn end_date(mut self, end: chrono::DateTime<chrono::Utc>) -> Self {
            self.span.end = Some(end);
            self
        }

        /// From the beginning of this day on, in this time zone.
        pub fn from_day<Z: chrono::TimeZone>(mut self, day: chrono::NaiveDate, zone: &Z) -> Self {
            self.span.begin_on(day, zone);
            self
        }

        /// Up to the end of this day, in this time zone: the day belongs to the period.
        pub fn to_day<Z: chrono::TimeZone>(mut self, day: chrono::NaiveDate, zone: &Z) -> Self {
            self.span.end_on(day, zone);
            self
        }

        /// The last so many times 24 hours, up to now. Zero is an error.
        pub fn last_days(mut self, days: u32) -> Self {
            self.span.days = Some(days);
            self
        }
    };
}

pub(super) use period_methods;

/// What was recorded from the one moment up to the other, which isn't part of it. Ids begin with the milliseconds of the time:
/// their index finds the period.
pub(super) fn recorded_in<C: ColumnTrait>(timestamp: &C, id: &C, start: Moment, end: Moment) -> Condition {
    recorded_during(timestamp, start, end)
        .add_option(start.map(|start| id.gte(first_id_at(start.timestamp_millis()))))
        .add_option(end.map(|end| id.lt(first_id_at(end.timestamp_millis().saturating_add(1)))))
}

/// The same by the time alone, which has no index.
pub(super) fn recorded_during<C: ColumnTrait>(timestamp: &C, start: Moment, end: Moment) -> Condition {
    Condition::all()
        .add_option(start.map(|start| timestamp.gte(start)))
        .add_option(end.map(|end| timestamp.lt(end)))
}

/// The smallest id of this millisecond.
fn first_id_at(milliseconds: i64) -> Uuid {
    let milliseconds = u128::from(u64::try_from(milliseconds).unwrap_or(0)).min((1 << 48) - 1);
    Uuid::from_u128(milliseconds << 80)
}
