//! The tables of the roll-ups, and what their columns hold.

use sea_orm::DeriveIden;

use super::report::Counts;
use super::security::is_security_event;
use audit_core::Status;

#[derive(Clone, Copy, DeriveIden)]
pub(super) enum AuditRollup {
    Table,
    Scope,
    Dimension,
    Grain,
    Start,
    Value,
    Total,
    Failed,
    Security,
    FirstSeq,
    LastSeq,
}

#[derive(Clone, Copy, DeriveIden)]
pub(super) enum AuditRollupPlace {
    Table,
    Id,
    Through,
    Runs,
}

#[derive(Clone, Copy, DeriveIden)]
pub(super) enum AuditRollupGap {
    Table,
    FirstSeq,
    LastSeq,
    Noticed,
    Writers,
}

/// By what is counted. The numbers stand in the database: none ever changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dimension {
    /// Not at all: everything of a period.
    Whole = 0,
    Module = 1,
    Status = 2,
    Severity = 3,
    User = 4,
    Action = 5,
}

impl Dimension {
    pub(super) const PARTS: [Self; 5] =
        [Self::Module, Self::Status, Self::Severity, Self::User, Self::Action];

    pub(super) fn number(self) -> i16 {
        self as i16
    }

    pub(super) fn of_number(number: i64) -> Option<Self> {
        Self::PARTS.into_iter().chain([Self::Whole]).find(|dimension| i64::from(dimension.number()) == number)
    }
}

/// What may be missing, in a column of a key.
pub(super) fn keyed(value: Option<&str>) -> String {
    value.map(|value| format!("={value}")).unwrap_or_default()
}

/// What [`keyed`] was made of.
pub(super) fn unkeyed(key: &str) -> Option<String> {
    key.strip_prefix('=').map(ToOwned::to_owned)
}

/// What is counted of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) user: Option<String>,
    pub(super) module: Option<String>,
    pub(super) status: String,
    pub(super) severity: String,
    pub(super) action: String,
}

impl Counted {
    /// What so many like it count.
    pub(super) fn counts(&self, count: u64) -> Counts {
        let failed = self.status == Status::Failed.as_str();
        let security = is_security_event(&self.action, self.module.as_deref(), &self.status, &self.severity);
        Counts { count, failed: if failed { count } else { 0 }, security: if security { count } else { 0 } }
    }

    /// Its values by dimension. Who has no id is no user.
    pub(super) fn values(&self) -> impl Iterator<Item = (Dimension, Option<&str>)> {
        let user = self.user.as_deref().map(|user| (Dimension::User, Some(user)));
        [
            (Dimension::Module, self.module.as_deref()),
            (Dimension::Status, Some(self.status.as_str())),
            (Dimension::Severity, Some(self.severity.as_str())),
            (Dimension::Action, Some(self.action.as_str())),
        ]
        .into_iter()
        .chain(user)
    }
}
