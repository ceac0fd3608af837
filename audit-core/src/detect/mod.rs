//! Rules that find what is suspicious, one observation at a time.
//!
//! A [`Rule`] is a value: name, severity and what it looks for. It looks at [`Observation`]s in the order of their arrival and
//! keeps a small [`State`] for each subject (a user, an address), which somebody else stores. What it finds is a [`Finding`]; one
//! for each episode, not for each observation.

mod rule;
mod state;
#[cfg(test)]
mod tests;
mod time;

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

pub use rule::{Attribute, Check, Kind, Rule, Subject, Text};
pub use state::State;

use crate::{Actor, Resource, Severity, Violation};

/// What rules look at: one record of the log, with what matters of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Which family it is of.
    pub source: Source,
    /// Id of the record.
    pub id: Uuid,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// In which tenant.
    pub tenant: Option<String>,
    /// Who.
    pub actor: Actor,
    /// From which address.
    pub ip_address: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
    /// What was done: an entry's action, `login`, `export`, `read`.
    pub action: String,
    /// Type of the resource.
    pub resource_type: Option<String>,
    /// Id of the resource.
    pub resource_id: Option<String>,
    /// Whether it failed, or was blocked.
    pub failed: bool,
    /// Names of the fields that changed.
    pub changed_fields: Vec<String>,
    /// The name that was given at a login.
    pub username: Option<String>,
    /// How many records were read or exported.
    pub records: Option<i64>,
    /// How long it took, in microseconds.
    pub duration_us: Option<i64>,
    /// Path of the request.
    pub path: Option<String>,
}

/// The family of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `audit_log`.
    Entry,
    /// `audit_login_attempt`.
    Login,
    /// `audit_export`.
    Export,
    /// `audit_query`.
    Read,
}

impl Observation {
    /// An observation of which only this is known.
    pub fn new(source: Source, id: Uuid, at: DateTime<Utc>, action: impl Into<String>) -> Self {
        Self {
            source,
            id,
            at,
            tenant: None,
            actor: Actor::system(),
            ip_address: None,
            user_agent: None,
            action: action.into(),
            resource_type: None,
            resource_id: None,
            failed: false,
            changed_fields: Vec::new(),
            username: None,
            records: None,
            duration_us: None,
            path: None,
        }
    }
}

/// Something suspicious.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Name of the rule.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whom or what it is about, such as a user's id.
    pub subject: String,
    /// What was found, for people.
    pub description: String,
    /// How many observations led to it.
    pub count: u64,
    /// Records that led to it; of many, the last ones.
    pub records: Vec<Uuid>,
    /// The observation that made it one.
    pub last: Observation,
}

impl Finding {
    /// Its name: the same finding has the same, and another has another.
    pub fn name(&self) -> String {
        let tenant = self.last.tenant.as_deref().unwrap_or_default();
        let text = format!("{}\0{tenant}\0{}\0{}", self.rule, self.subject, self.last.id);
        // Subjects may be long, and aren't to be read off an index.
        let digest = <sha2::Sha256 as sha2::Digest>::digest(text);
        format!("{}/{}", self.rule, crate::policy::hex(&digest[..16]))
    }

    /// The violation that records it.
    pub fn violation(&self) -> Violation {
        let records: Vec<String> = self.records.iter().map(ToString::to_string).collect();
        let mut violation = Violation::new(self.rule.clone(), self.description.clone())
            .severity(self.severity)
            .finding(self.name())
            .details(json!({
                "subject": self.subject,
                "count": self.count,
                "records": records,
                "at": self.last.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            }));
        if let Some(kind) = &self.last.resource_type {
            let mut resource = Resource::new(kind.clone());
            resource.id.clone_from(&self.last.resource_id);
            violation = violation.resource(resource);
        }
        violation
    }
}
