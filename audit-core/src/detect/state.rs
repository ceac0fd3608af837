//! What a rule remembers of a subject, and how it goes on.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::rule::{Attribute, Check, Rule};
use super::{Finding, Observation};

/// What a rule remembers of one subject: bounded, and to be stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The last ones that count, with their time in microseconds, the oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    recent: VecDeque<(i64, Uuid)>,
    /// Records by slices of the window: number of the slice, count.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    slices: VecDeque<(i64, u64)>,
    /// Up to when nothing more is said, in microseconds.
    #[serde(default)]
    quiet_until: i64,
    /// Digests of what was seen, the latest last.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    known: VecDeque<u64>,
    /// How many were looked at.
    #[serde(default)]
    seen: u32,
    /// The day that is counted, from the Common Era on, and its count.
    #[serde(default)]
    day: (i32, u32),
    /// Counts of days before.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    days: VecDeque<u32>,
    /// The last day of which something was said.
    #[serde(default)]
    told: i32,
}

/// Most that is known of an actor: addresses, programs.
const KNOWN: usize = 64;
/// Most days that are kept.
const DAYS: usize = 28;
/// Most records that a finding names.
const NAMED: usize = 20;

impl State {
    /// Where the state for this rule and observation belongs; `None` if the rule isn't about it.
    pub fn key(rule: &Rule, seen: &Observation) -> Option<String> {
        let subject = rule.subject(seen)?;
        let (tenant, person) = if rule.spans_tenants() {
            // Somebody else may have the same id in another tenant.
            (None, seen.actor.email.as_deref().or(seen.actor.name.as_deref()))
        } else {
            (seen.tenant.as_deref(), None)
        };
        // As JSON: any character may be in a part, so none can stand between them.
        serde_json::to_string(&(&rule.name, tenant, subject, person)).ok()
    }

    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// From when on it says nothing any more of what is observed, in microseconds since 1970: its window has passed, and once more its
    /// length, for what comes late. `None` for what is learned of a user, which has no window.
    pub fn needed_until(&self, rule: &Rule) -> Option<i64> {
        let (last, grace) = match &rule.check {
            Check::Burst { window, .. } => {
                let last = self.recent.back().map_or(0, |(at, _)| at.saturating_add(micros(*window)));
                (last, micros(*window))
            }
            Check::Volume { window, .. } => {
                let newest = self.slices.iter().map(|(number, _)| *number).max().unwrap_or(0);
                let last = newest.saturating_add(61).saturating_mul(slice(*window));
                (last, micros(*window))
            }
            Check::Slow { pause, .. } | Check::Pattern { pause, .. } => (self.quiet_until, micros(*pause)),
            // Two days are more than any time zone is away from UTC, and leave one.
            Check::OutsideHours { .. } => {
                let day = NaiveDate::from_num_days_from_ce_opt(self.told.saturating_add(2))?;
                (day.and_time(NaiveTime::MIN).and_utc().timestamp_micros(), 0)
            }
            Check::Touches { .. } => (0, 0),
            Check::FirstSeen { .. } | Check::Unusual { .. } => return None,
        };
        Some(last.max(self.quiet_until).saturating_add(grace))
    }

    /// Goes on by an observation that the rule is [about](Rule::subject).
    pub fn observe(&mut self, rule: &Rule, seen: &Observation) -> Option<Finding> {
        let subject = rule.subject(seen)?;
        let now = seen.at.timestamp_micros();
        let (description, count) = match &rule.check {
            Check::Burst { threshold, window, .. } => {
                let count = self.burst(*threshold, *window, now, seen.id)?;
                (format!("{count} times within {}", time(*window)), count)
            }
            Check::Volume { threshold, window, .. } => {
                let records = u64::try_from(seen.records.unwrap_or(0)).unwrap_or(0);
                let sum = self.volume(*threshold, *window, now, records)?;
                (format!("{sum} records within {}", time(*window)), sum)
            }
            Check::FirstSeen { what, learn } => {
                let value = what.of(seen)?;
                self.first_seen(value, *learn)?;
                let named = match what {
                    Attribute::UserAgent => "an unusual program",
                    Attribute::Address => "an address not seen before",
                    Attribute::Tenant => "a tenant not worked in before",
                };
                (named.to_owned(), 1)
            }
            Check::OutsideHours { from, to, days, offset_minutes } => {
                let local = (seen.at + TimeDelta::minutes((*offset_minutes).into())).naive_utc();
                let (time, today) = (local.time(), local.weekday());
                let works = |day| days.contains(&day);
                let inside = if from < to {
                    works(today) && (*from..*to).contains(&time)
                } else {
                    // The early hours belong to the day before.
                    works(today) && time >= *from || works(today.pred()) && time < *to
                };
                let day = local.num_days_from_ce();
                if inside || self.told == day {
                    return None;
                }
                self.told = day;
                (format!("work on {today} at {}", time.format("%H:%M")), 1)
            }
            Check::Touches { .. } => (format!("{} of {}", seen.action, touched(seen)), 1),
            Check::Slow { pause, .. } => {
                self.pause(*pause, now)?;
                (format!("took {} ms", seen.duration_us.unwrap_or(0) / 1000), 1)
            }
            Check::Pattern { of, pause, .. } => {
                self.pause(*pause, now)?;
                (format!("{} as attackers send them", of.words()), 1)
            }
            Check::Unusual { factor, at_least, learn } => {
                let (count, usual) = self.unusual(*factor, *at_least, *learn, seen.at)?;
                (format!("{count} operations in a day, usually {usual:.0}"), count.into())
            }
        };
        let mut records: Vec<Uuid> = self.recent.iter().rev().map(|(_, id)| *id).take(NAMED).collect();
        if records.is_empty() {
            records.push(seen.id);
        }
        Some(Finding {
            rule: rule.name.clone(),
            severity: rule.severity,
            subject: subject.to_owned(),
            description: format!("{}: {description}", rule.name.replace('_', " ")),
            count,
            records,
            last: seen.clone(),
        })
    }

    fn burst(&mut self, threshold: u32, window: Duration, now: i64, id: Uuid) -> Option<u64> {
        let window = micros(window);
        // Late ones are put where they belong; what arrives is in order but for a little.
        let at = self.recent.iter().rposition(|(at, _)| *at <= now).map_or(0, |at| at + 1);
        self.recent.insert(at, (now, id));
        let newest = self.recent.back().map_or(now, |(at, _)| *at);
        while self.recent.len() > threshold as usize
            || self.recent.front().is_some_and(|(at, _)| *at <= newest.saturating_sub(window))
        {
            self.recent.pop_front();
        }
        if self.recent.len() < threshold as usize {
            return None;
        }
        let first = now >= self.quiet_until;
        self.quiet_until = self.quiet_until.max(now.saturating_add(window));
        first.then_some(self.recent.len() as u64)
    }

    fn volume(&mut self, threshold: u64, length: Duration, now: i64, records: u64) -> Option<u64> {
        let window = micros(length);
        let number = now.div_euclid(slice(length));
        match self.slices.iter_mut().rfind(|(known, _)| *known == number) {
            Some((_, count)) => *count = count.saturating_add(records),
            None => self.slices.push_back((number, records)),
        }
        let newest = self.slices.iter().map(|(number, _)| *number).max().unwrap_or(number);
        self.slices.retain(|(number, _)| *number > newest - 60);
        let sum = self.slices.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        if sum < threshold {
            return None;
        }
        let first = now >= self.quiet_until;
        self.quiet_until = self.quiet_until.max(now.saturating_add(window));
        first.then_some(sum)
    }

    fn first_seen(&mut self, value: &str, learn: u32) -> Option<()> {
        let enough = self.seen >= learn && !self.known.is_empty();
        if self.seen < learn {
            self.seen += 1;
        }
        let digest = Sha256::digest(value);
        let digest = digest.iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        if let Some(at) = self.known.iter().position(|known| *known == digest) {
            // What is in use stays known; it needn't be moved each time.
            if at + 1 < self.known.len() && self.known.len() == KNOWN {
                self.known.remove(at);
                self.known.push_back(digest);
            }
            return None;
        }
        if self.known.len() == KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(digest);
        enough.then_some(())
    }

    fn pause(&mut self, pause: Duration, now: i64) -> Option<()> {
        if now < self.quiet_until {
            return None;
        }
        self.quiet_until = now.saturating_add(micros(pause));
        Some(())
    }

    fn unusual(&mut self, factor: f64, at_least: u32, learn: u32, at: DateTime<Utc>) -> Option<(u32, f64)> {
        let today = at.date_naive().num_days_from_ce();
        if today < self.day.0 {
            // Late, of a day that is counted already.
            return None;
        }
        if today > self.day.0 {
            if self.day.1 > 0 {
                self.days.push_back(self.day.1);
                if self.days.len() > DAYS {
                    self.days.pop_front();
                }
            }
            self.day = (today, 0);
        }
        self.day.1 = self.day.1.saturating_add(1);
        let count = self.day.1;
        if count < at_least || self.days.len() < learn as usize || self.told == today {
            return None;
        }
        let usual = median(self.days.iter().map(|count| f64::from(*count)));
        let distance = median(self.days.iter().map(|count| (f64::from(*count) - usual).abs()));
        // Who does the same each day has no deviation; a tenth of the usual is none either.
        let deviation = (1.4826 * distance).max(usual / 10.0).max(1.0);
        if f64::from(count) <= usual + factor * deviation {
            return None;
        }
        self.told = today;
        Some((count, usual))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(before), Some(after)) if values.len().is_multiple_of(2) => f64::midpoint(*before, *after),
        (_, Some(middle)) => *middle,
        _ => 0.0,
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// A sixtieth of a window.
fn slice(window: Duration) -> i64 {
    (micros(window) / 60).max(1)
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

fn touched(seen: &Observation) -> String {
    let resource = seen.resource_type.as_deref().unwrap_or("a resource");
    if seen.changed_fields.is_empty() {
        return resource.to_owned();
    }
    format!("{resource} ({})", seen.changed_fields.join(", "))
}
