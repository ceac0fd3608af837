//! The record of one operation.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::{
    DIGESTED, Digester, MAX_TEXT, clean, fit, fit_cow, hex_digest, list_json, new_id, push_digest_field,
};
use crate::{
    Actor, AuditContext, Changes, Classification, Error, Resource, ResourcePolicy, Sanitizer, Severity,
    Status, Value,
};

/// Actions that the library itself records. The set is open: any text of up to 64 characters is an action.
pub mod action {
    /// A row began.
    pub const CREATE: &str = "create";
    /// A row changed.
    pub const UPDATE: &str = "update";
    /// A row ended.
    pub const DELETE: &str = "delete";
    /// A resource was looked at.
    pub const READ: &str = "read";
    /// Data left the system.
    pub const EXPORT: &str = "export";
    /// A statement was refused, because who sent it may not do that.
    pub const DENIED: &str = "denied";
    /// Something deleted came back, or a row became what it was.
    pub const RESTORE: &str = "restore";
    /// A change was taken back.
    pub const REVERT: &str = "revert";
    /// Somebody logged in.
    pub const LOGIN: &str = "login";
    /// Somebody logged out.
    pub const LOGOUT: &str = "logout";
    /// Somebody fetched the file of an export.
    pub const DOWNLOAD: &str = "download";
    /// A request to the application's interface.
    pub const API_ACCESS: &str = "api_access";
    /// A rule was broken. Violations are no entries; this is their name in `skip_actions`.
    pub const VIOLATION: &str = "violation";
    /// Something happened in the program. System events are no entries; this is their name in `skip_actions`.
    pub const SYSTEM_EVENT: &str = "system_event";
}

/// Functional areas that are common. The set is open.
pub mod module {
    /// Scans of any kind.
    pub const SCANNING: &str = "scanning";
    /// Gathering of information.
    pub const RECONNAISSANCE: &str = "reconnaissance";
    /// Use of weaknesses.
    pub const EXPLOITATION: &str = "exploitation";
    /// Reports and exports.
    pub const REPORTING: &str = "reporting";
    /// Configuration and management of the system.
    pub const ADMINISTRATION: &str = "administration";
    /// Logins, logouts, sessions.
    pub const AUTHENTICATION: &str = "authentication";
    /// Accounts, profiles and roles.
    pub const USER_MANAGEMENT: &str = "user_management";
    /// Maintenance, backups, updates.
    pub const SYSTEM: &str = "system";
}

/// The record of one operation on one resource.
///
/// JSON parts are kept as the text that is stored: what is hashed is what readers get, byte for byte.
///
/// Serialised, it is a JSON object of these fields in which the JSON parts are still texts, so that they come back byte for
/// byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// UUID v7, ordered by time within this process.
    pub id: Uuid,
    /// When, in UTC with microseconds.
    pub timestamp: DateTime<Utc>,
    /// Tenant that the operation belongs to.
    pub tenant: Option<String>,
    /// Who.
    pub actor: Actor,
    /// What was done; see [`action`].
    pub action: Cow<'static, str>,
    /// Functional area; see [`module`].
    pub module: Option<String>,
    /// To what.
    pub resource: Resource,
    /// How it ended.
    pub status: Status,
    /// How much it matters.
    pub severity: Severity,
    /// JSON `{"field":{"old":..,"new":..}}`; a row that begins has only `new`, one that ends only `old`.
    pub changes: Option<String>,
    /// Names of the fields that changed.
    pub changed_fields: Vec<String>,
    /// JSON of the whole row before, where snapshots are on.
    pub old_data: Option<String>,
    /// JSON of the whole row after, where snapshots are on.
    pub new_data: Option<String>,
    /// Compliance frameworks that the entry counts for.
    pub frameworks: Vec<String>,
    /// Classification of the data.
    pub classification: Classification,
    /// Whether secret fields were touched or the data is restricted.
    pub is_sensitive: bool,
    /// SHA-256 over the other fields; see [`Entry::digest`].
    #[serde(with = "hex_digest")]
    pub integrity_hash: Option<[u8; 32]>,
    /// Address that the request came from.
    pub ip_address: Option<String>,
    /// User agent of the request.
    pub user_agent: Option<String>,
    /// Session of the actor.
    pub session_id: Option<String>,
    /// Request that the operation belongs to.
    pub request_id: Option<String>,
    /// JSON of the request's data, sanitised.
    pub request_data: Option<String>,
    /// Anything said about it; of a failed operation, the error.
    pub details: Option<String>,
    /// Why it was done.
    pub reason: Option<String>,
    /// JSON object of whatever else is known.
    pub metadata: Option<String>,
    /// Groups the entries of one transaction.
    pub transaction_id: Option<String>,
}

impl Entry {
    /// Adds something to the metadata, besides what is there; what was there under this name goes.
    pub fn add_metadata(&mut self, name: &str, value: serde_json::Value) {
        let mut metadata: serde_json::Map<String, serde_json::Value> =
            self.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        metadata.insert(name.to_owned(), value);
        self.metadata = Some(Value::Json(serde_json::Value::Object(metadata)).to_json());
    }

    /// An entry that says only when, what and to what: status success, severity low.
    pub fn new(timestamp: DateTime<Utc>, action: impl Into<Cow<'static, str>>, resource: Resource) -> Self {
        Self {
            id: new_id(timestamp),
            timestamp,
            tenant: None,
            actor: Actor::system(),
            action: action.into(),
            module: None,
            resource,
            status: Status::Success,
            severity: Severity::Low,
            changes: None,
            changed_fields: Vec::new(),
            old_data: None,
            new_data: None,
            frameworks: Vec::new(),
            classification: Classification::default(),
            is_sensitive: false,
            integrity_hash: None,
            ip_address: None,
            user_agent: None,
            session_id: None,
            request_id: None,
            request_data: None,
            details: None,
            reason: None,
            metadata: None,
            transaction_id: None,
        }
    }

    /// Adds what the policy and the changes of a row say.
    #[must_use]
    pub fn with_changes(mut self, policy: &ResourcePolicy, changes: &Changes) -> Self {
        self.module.clone_from(&policy.module);
        self.frameworks.clone_from(&policy.frameworks);
        self.classification = policy.classification;
        self.is_sensitive =
            changes.touch_sensitive(policy) || policy.classification >= Classification::Restricted;
        if self.is_sensitive || self.action == action::DELETE {
            self.severity = Severity::Medium;
        }
        self.changed_fields = changes.field_names(policy);
        self.changes = Some(changes.to_json(policy));
        self
    }

    /// Adds who acts and from where. What the entry already says of tenant, reason and transaction stays.
    #[must_use]
    pub fn with_context(mut self, context: &AuditContext, sanitizer: &Sanitizer) -> Self {
        self.actor = context.actor.clone();
        self.tenant = self.tenant.or_else(|| context.tenant.clone());
        self.ip_address = context.ip_address.map(|address| address.to_string());
        self.user_agent = context.user_agent.as_deref().map(|text| clean(sanitizer, text));
        self.session_id.clone_from(&context.session_id);
        self.request_id.clone_from(&context.request_id);
        self.request_data = context
            .request_data
            .as_ref()
            .map(|data| Value::Json(sanitizer.sanitize_json(data.clone())).to_json());
        self.reason = self.reason.or_else(|| context.reason.as_deref().map(|text| clean(sanitizer, text)));
        self.transaction_id = self.transaction_id.or_else(|| context.transaction_id.clone());
        if let Some(metadata) = &context.metadata {
            self = self.with_metadata(metadata.clone(), sanitizer);
        }
        self
    }

    /// Merges these members into the metadata. A member that is already there stays.
    #[must_use]
    pub fn with_metadata(
        mut self,
        metadata: serde_json::Map<String, serde_json::Value>,
        sanitizer: &Sanitizer,
    ) -> Self {
        let mut all = metadata;
        if let Some(serde_json::Value::Object(own)) =
            self.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok())
        {
            all.extend(own);
        }
        let clean = sanitizer.sanitize_json(serde_json::Value::Object(all));
        self.metadata = Some(Value::Json(clean).to_json());
        self
    }

    /// Makes the entry ready to be stored: texts that end up in bounded columns are cut to fit (so that an absurd user
    /// agent or session id can't fail the operation that it came with), NUL characters, which PostgreSQL has no text
    /// for, become U+FFFD, and the integrity hash is taken.
    pub fn finish(&mut self) {
        self.fit();
        self.integrity_hash = Some(self.digest());
    }

    /// Cuts texts to fit, as [`finish`](Self::finish) does, and leaves the hash to a database that takes it itself.
    pub fn fit(&mut self) {
        crate::context::fit_tenant(&mut self.tenant);
        fit_cow(&mut self.action, 64);
        fit_cow(&mut self.actor.kind, 32);
        fit_cow(&mut self.resource.kind, 255);
        for (text, limit) in [
            (&mut self.actor.id, 255),
            (&mut self.actor.name, 255),
            (&mut self.actor.email, 320),
            (&mut self.module, 100),
            (&mut self.session_id, 255),
            (&mut self.request_id, 255),
            (&mut self.transaction_id, 64),
            (&mut self.resource.name, MAX_TEXT),
            (&mut self.user_agent, MAX_TEXT),
            (&mut self.details, MAX_TEXT),
            (&mut self.reason, MAX_TEXT),
        ] {
            if let Some(text) = text {
                fit(text, limit);
            }
        }
        if let Some(id) = self.resource.id.take() {
            self.resource.id = Some(crate::resource::fit_id(id));
        }
    }

    /// The changes as JSON, by field.
    ///
    /// # Errors
    /// [`Error::Format`] if the stored text isn't a JSON object, which no version of this library writes.
    pub fn changes_json(&self) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        self.changes.as_deref().map_or_else(
            || Ok(serde_json::Map::new()),
            |text| {
                serde_json::from_str(text).map_err(|_| Error::Format("`changes` isn't a JSON object".into()))
            },
        )
    }

    /// The hash that detects a changed entry: SHA-256 over every field but the hash itself, each as
    /// `name=length:content` and a line feed, the length in bytes, so that no two different entries have the same input;
    /// what is unknown is left out.
    ///
    /// It detects damage and careless edits. Whoever can write the table can also write a new hash; against that
    /// stands the signed log over all entries.
    pub fn digest(&self) -> [u8; 32] {
        let mut digester = Digester::new();
        self.each_field(|name, content| digester.field(name, content));
        digester.finish()
    }

    /// What [`digest`](Self::digest) hashes of the fields before this one. What differs between the entries of one
    /// statement comes last, so a database that makes entries by itself is given this and adds the rest.
    pub fn digest_input(&self, before: &str) -> String {
        let mut input = String::with_capacity(DIGESTED);
        let mut inside = true;
        self.each_field(|name, content| {
            inside &= before != name;
            if let Some(content) = content.filter(|_| inside) {
                push_digest_field(&mut input, name, content);
            }
        });
        input
    }

    /// Visits what is hashed, in its order; what is unknown is visited as `None`.
    ///
    /// Everything is text without NUL, because PostgreSQL puts this together as such.
    fn each_field(&self, mut visit: impl FnMut(&'static str, Option<&str>)) {
        visit("timestamp", Some(itoa::Buffer::new().format(self.timestamp.timestamp_micros())));
        visit("tenant", self.tenant.as_deref());
        visit("actor_type", Some(&self.actor.kind));
        visit("actor_id", self.actor.id.as_deref());
        visit("actor_name", self.actor.name.as_deref());
        visit("actor_email", self.actor.email.as_deref());
        visit("action", Some(&self.action));
        visit("module", self.module.as_deref());
        visit("resource_type", Some(&self.resource.kind));
        visit("status", Some(self.status.as_str()));
        visit("frameworks", list_json(&self.frameworks).as_deref());
        visit("classification", Some(self.classification.as_str()));
        visit("ip_address", self.ip_address.as_deref());
        visit("user_agent", self.user_agent.as_deref());
        visit("session_id", self.session_id.as_deref());
        visit("request_id", self.request_id.as_deref());
        visit("request_data", self.request_data.as_deref());
        visit("details", self.details.as_deref());
        visit("reason", self.reason.as_deref());
        visit("metadata", self.metadata.as_deref());
        visit("transaction_id", self.transaction_id.as_deref());
        visit("id", Some(self.id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())));
        visit("resource_id", self.resource.id.as_deref());
        visit("resource_name", self.resource.name.as_deref());
        visit("severity", Some(self.severity.as_str()));
        visit("is_sensitive", Some(if self.is_sensitive { "true" } else { "false" }));
        visit("changes", self.changes.as_deref());
        visit("changed_fields", list_json(&self.changed_fields).as_deref());
        visit("old_data", self.old_data.as_deref());
        visit("new_data", self.new_data.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry::new(DateTime::UNIX_EPOCH, action::CREATE, Resource::new("thing").id(1))
    }

    #[test]
    fn r1_an_id_begins_with_its_entrys_time_whatever_came_before() {
        let entry = |milliseconds: i64| {
            let time = DateTime::from_timestamp_millis(milliseconds).unwrap();
            Entry::new(time, "x", Resource::new("y")).id.as_u128() >> 80
        };
        for milliseconds in [1_600_000_000_000, 5_i64, 1_500_000_000_000, 1_500_000_000_001] {
            assert_eq!(entry(milliseconds), u128::try_from(milliseconds).unwrap());
        }
    }

    #[test]
    fn r1_ids_are_ordered_even_within_a_microsecond() {
        // Later than what other tests of this process use: ids of the past aren't ordered.
        let time = DateTime::from_timestamp(4_102_444_800, 0).unwrap();
        let ids: Vec<_> = (0..1000).map(|_| Entry::new(time, "x", Resource::new("y")).id).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn r1_absurd_texts_are_cut_and_nul_is_replaced() {
        let mut entry = entry();
        entry.session_id = Some("ä".repeat(300));
        entry.details = Some("a\0b".to_owned());
        entry.finish();
        let session = entry.session_id.unwrap();
        assert_eq!(session.chars().count(), 255);
        assert!(session.ends_with("ä…"));
        assert_eq!(entry.details.unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn r6_status_and_severity_are_words() {
        assert_eq!("CRITICAL".parse::<Severity>().unwrap(), Severity::Critical);
        assert_eq!(Status::Failed.to_string(), "failed");
        assert!(Severity::Low < Severity::Critical);
        let error = "done".parse::<Status>().unwrap_err().to_string();
        assert!(error.contains("success, failed, warning, info"), "{error}");
    }

    #[test]
    fn k3_the_digest_tells_every_field_apart() {
        let base = entry();
        let digest = base.digest();
        let mut moved = base.clone();
        moved.tenant = Some("x".into());
        assert_ne!(moved.digest(), digest);
        let mut other = base.clone();
        other.session_id = Some("x".into());
        assert_ne!(other.digest(), moved.digest());
        let mut empty = base.clone();
        empty.reason = Some(String::new());
        assert_ne!(empty.digest(), digest, "empty isn't unknown");
        assert_eq!(base.digest(), digest);
    }
}
