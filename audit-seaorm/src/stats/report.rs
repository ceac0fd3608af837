//! What statistics look like.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::period::Period;

/// Numbers of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub count: u64,
    /// Those of status `failed`.
    pub failed: u64,
    /// Security events.
    pub security: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.failed = self.failed.saturating_add(other.failed);
        self.security = self.security.saturating_add(other.security);
    }
}

/// The statistics of a period. Serialised: `{"statistics": {..}, "analytics": {..}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Statistics {
    /// The whole period.
    pub statistics: Totals,
    /// The period in parts.
    pub analytics: Analytics,
}

/// Numbers of the whole period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All entries.
    pub total_events: u64,
    /// Entries of severity high or critical, denied operations, failures in the module `authentication`. Logins and violations
    /// have tables of their own.
    pub security_events: u64,
    /// Different ids of actors.
    pub unique_users: u64,
    /// Entries of status `failed`.
    pub failed_actions: u64,
}

/// Numbers of parts of the period, the largest first; of the days, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Analytics {
    /// By functional area.
    pub module_stats: Vec<ModuleStat>,
    /// By status.
    pub status_stats: Vec<StatusStat>,
    /// By severity.
    pub severity_stats: Vec<SeverityStat>,
    /// The actors that did most. What has no id isn't among them.
    pub user_stats: Vec<UserStat>,
    /// Every day of the period, in the time zone that was asked for.
    pub daily_stats: Vec<DailyStat>,
    /// What was done most.
    pub top_actions: Vec<ActionStat>,
}

/// Entries of a functional area.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleStat {
    /// The area; `None` where none was said.
    pub module: Option<String>,
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Entries of a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusStat {
    /// The status.
    pub status: String,
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Entries of a severity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeverityStat {
    /// The severity.
    pub severity: String,
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Entries of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserStat {
    /// The actor's id.
    pub user: String,
    /// The actor's name, as its newest entry has it.
    pub name: Option<String>,
    /// The actor's e-mail address, as its newest entry has it.
    pub email: Option<String>,
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Entries of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DailyStat {
    /// The day.
    pub date: NaiveDate,
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Entries of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionStat {
    /// The action.
    pub action: String,
    /// How many.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The numbers above a list of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStatistics {
    /// All entries.
    pub total_actions: u64,
    /// Entries of status `failed`.
    pub failed_actions: u64,
    /// Different ids of actors.
    pub active_users: u64,
    /// Security events.
    pub security_events: u64,
}

/// What a list of entries can be filtered by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailableFilters {
    /// Functional areas that there are entries of, in the order of the alphabet.
    pub available_modules: Vec<String>,
    /// All statuses.
    pub available_statuses: Vec<String>,
    /// All severities.
    pub available_severities: Vec<String>,
    /// Ids of the actors that did most.
    pub available_users: Vec<String>,
}

impl Statistics {
    /// The numbers above a list of entries.
    pub fn of_list(&self) -> ListStatistics {
        let totals = self.statistics;
        ListStatistics {
            total_actions: totals.total_events,
            failed_actions: totals.failed_actions,
            active_users: totals.unique_users,
            security_events: totals.security_events,
        }
    }

    /// What a list of entries can be filtered by.
    pub fn available_filters(&self) -> AvailableFilters {
        let mut modules: Vec<String> =
            self.analytics.module_stats.iter().filter_map(|stat| stat.module.clone()).collect();
        modules.sort();
        AvailableFilters {
            available_modules: modules,
            available_statuses: audit_core::Status::ALL.iter().map(ToString::to_string).collect(),
            available_severities: audit_core::Severity::ALL.iter().map(ToString::to_string).collect(),
            available_users: self.analytics.user_stats.iter().map(|stat| stat.user.clone()).collect(),
        }
    }
}

/// Counts by the values of one thing.
pub(super) type Tally = BTreeMap<Option<String>, Counts>;

/// Counts as they come together.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies {
    pub(super) days: BTreeMap<usize, Counts>,
    pub(super) modules: Tally,
    pub(super) statuses: Tally,
    pub(super) severities: Tally,
    pub(super) users: Tally,
    pub(super) actions: Tally,
}

impl Tallies {
    /// The largest first, then by name.
    pub(super) fn into_statistics(self, period: &Period, top: usize) -> Statistics {
        let mut whole = Counts::default();
        self.days.values().for_each(|counts| whole.add(*counts));
        let ranked = |tally: Tally| {
            let mut ranked: Vec<_> = tally.into_iter().filter(|(_, counts)| counts.count > 0).collect();
            ranked.sort_by_key(|(_, counts)| Reverse(counts.count));
            ranked
        };
        let named =
            |tally: Tally| ranked(tally).into_iter().filter_map(|(name, counts)| Some((name?, counts)));
        let users: Vec<_> = named(self.users).collect();
        let statistics = Totals {
            total_events: whole.count,
            security_events: whole.security,
            unique_users: users.len() as u64,
            failed_actions: whole.failed,
        };
        let daily = period.days().enumerate().map(|(at, date)| {
            let counts = self.days.get(&at).copied().unwrap_or_default();
            DailyStat { date, counts }
        });
        let user = |(user, counts)| UserStat { user, name: None, email: None, counts };
        let analytics = Analytics {
            module_stats: ranked(self.modules)
                .into_iter()
                .map(|(module, counts)| ModuleStat { module, counts })
                .collect(),
            status_stats: named(self.statuses)
                .map(|(status, counts)| StatusStat { status, counts })
                .collect(),
            severity_stats: named(self.severities)
                .map(|(severity, counts)| SeverityStat { severity, counts })
                .collect(),
            user_stats: users.into_iter().take(top).map(user).collect(),
            daily_stats: daily.collect(),
            top_actions: named(self.actions)
                .take(top)
                .map(|(action, counts)| ActionStat { action, counts })
                .collect(),
        };
        Statistics { statistics, analytics }
    }
}
