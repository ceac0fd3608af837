//! Who is told of what.

use std::sync::{Arc, Mutex, PoisonError};

use audit_core::{Severity, stored_tenant};
use chrono::{DateTime, TimeDelta, Utc};

use super::Notifier;

/// What commits later than this is found by the next look at everything, not by the next pass.
const RECENT: TimeDelta = TimeDelta::hours(1);
/// How often everything since the start is looked at.
const SWEEP: TimeDelta = TimeDelta::minutes(10);

/// A notifier, and the violations that it is told of.
///
/// ```
/// use audit_seaorm::Severity;
/// use audit_seaorm::alerts::{Route, TracingNotifier};
/// let route = Route::new("log", TracingNotifier::new()).at_least(Severity::Medium).tenant("acme");
/// ```
#[derive(Debug)]
#[must_use = "a route is given to `AlertWorkerBuilder::route`"]
pub struct Route {
    pub(super) name: String,
    pub(super) notifier: Arc<dyn Notifier>,
    severity: Severity,
    pub(super) tenant: Option<String>,
    pub(super) since: Option<DateTime<Utc>>,
    /// When everything was looked at last.
    swept: Mutex<Option<DateTime<Utc>>>,
}

impl Route {
    /// Tells this notifier of violations that are high or critical. What has been sent is known by the name, of at most
    /// 100 characters: keep it when the notifier's settings change. All workers of a database have the same notifier under
    /// one name.
    pub fn new(name: impl Into<String>, notifier: impl Notifier) -> Self {
        Self {
            name: name.into(),
            notifier: Arc::new(notifier),
            severity: Severity::High,
            tenant: None,
            since: None,
            swept: Mutex::default(),
        }
    }

    /// Tells of violations of this severity and above. If it is lowered later, violations since the start that didn't count
    /// before are told as well.
    pub fn at_least(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Tells only of violations of this tenant. Without it, of all: then the receiver must be one of those who run the
    /// program, not one of its customers.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(stored_tenant(&tenant.into()).into_owned());
        self
    }

    /// Tells of violations whose time is this moment or later. If nothing is said, it is when a worker first had a route of this
    /// name.
    pub fn since(mut self, moment: DateTime<Utc>) -> Self {
        self.since = Some(moment);
        self
    }

    /// The words of the severities that count.
    pub(super) fn severities(&self) -> impl Iterator<Item = &'static str> {
        let least = self.severity;
        Severity::ALL.iter().filter(move |severity| **severity >= least).map(|severity| severity.as_str())
    }

    /// How far to look back from now. Every pass looks at what is recent; everything is looked at now and then, because the
    /// table of violations only grows.
    pub(super) fn look_back(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> Look {
        let swept = *self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = now - RECENT;
        match swept {
            // A clock that was set back counts as long ago.
            Some(swept) if since < recent && swept <= now && now - swept < SWEEP => {
                Look { from: recent, all: false }
            }
            _ => Look { from: since, all: true },
        }
    }

    /// Remembers that everything has been looked at.
    pub(super) fn swept(&self, now: DateTime<Utc>) {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

/// The violations that a pass looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Those of this time and later.
    pub(super) from: DateTime<Utc>,
    /// Whether these are all.
    pub(super) all: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::TracingNotifier;

    #[test]
    fn q7_everything_is_looked_at_first_and_then_every_ten_minutes() {
        let route = Route::new("log", TracingNotifier::new());
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let since = now - TimeDelta::days(100);
        let look = |after: i64| route.look_back(since, now + TimeDelta::seconds(after));
        assert_eq!(look(0), Look { from: since, all: true });
        // Not before it has succeeded.
        assert!(look(0).all);
        route.swept(now);
        assert_eq!(look(1), Look { from: now + TimeDelta::seconds(1) - RECENT, all: false });
        assert!(!look(599).all);
        assert!(look(600).all);
        assert!(look(-1).all, "the clock was set back");
        assert!(route.look_back(now, now).all, "there is nothing older");
    }
}
