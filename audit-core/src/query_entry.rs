//! The record of one read.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::record::{MAX_TEXT, clean, digest_field, fit, fit_cow, hex_digest, list_json, new_id};
use crate::{Actor, AuditContext, Classification, QueryType, ResourcePolicy, Sanitizer, Status, Value};

/// The record of one read of one resource: who asked for what, by which conditions, and how much they got.
///
/// A statement that reads several audited resources makes one for each. The values that were read aren't in it; those of
/// the conditions are, as far as the fields' policies allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueryEntry {
    /// UUID v7, ordered by time within this process.
    pub id: Uuid,
    /// When the statement was sent, in UTC with microseconds.
    pub timestamp: DateTime<Utc>,
    /// Tenant that the reader acts for.
    pub tenant: Option<String>,
    /// Who.
    pub actor: Actor,
    /// What was asked for.
    pub query_type: QueryType,
    /// Functional area.
    pub module: Option<String>,
    /// Type of what was read, such as `"BankAccount"`.
    pub resource_type: String,
    /// JSON of the conditions: `{"field":"age","op":">=","value":18}`, put together by `and`, `or` and `not`. `None`:
    /// there was none.
    pub filters: Option<String>,
    /// Names of the fields whose values were read. Empty for counts and for whether there is a row.
    pub fields: Vec<String>,
    /// How many rows came back; of a [`Count`](QueryType::Count) the number that was counted, of an
    /// [`Exists`](QueryType::Exists) 0 or 1. `None` if that isn't known, as of a read within a write.
    pub record_count: Option<i64>,
    /// How long it took in microseconds, for a stream up to its last row.
    pub duration_us: i64,
    /// How it ended; `Warning`: a stream was dropped before its end, and only the rows up to there were read.
    pub status: Status,
    /// Compliance frameworks that the read counts for.
    pub frameworks: Vec<String>,
    /// Classification of the resource.
    pub classification: Classification,
    /// Whether secret fields were read or the data is restricted.
    pub is_sensitive: bool,
    /// SHA-256 over the other fields; see [`digest`](Self::digest).
    #[serde(with = "hex_digest")]
    pub integrity_hash: Option<[u8; 32]>,
    /// Address that the request came from.
    pub ip_address: Option<String>,
    /// User agent of the request.
    pub user_agent: Option<String>,
    /// Session of the actor.
    pub session_id: Option<String>,
    /// Request that the read belongs to.
    pub request_id: Option<String>,
    /// Of a failed read, the sort of error.
    pub details: Option<String>,
    /// Why it was done.
    pub reason: Option<String>,
    /// JSON object of whatever else is known.
    pub metadata: Option<String>,
    /// Groups the records of one transaction.
    pub transaction_id: Option<String>,
}

impl QueryEntry {
    /// A record that says only when, what for and of what.
    pub fn new(timestamp: DateTime<Utc>, query_type: QueryType, resource_type: impl Into<String>) -> Self {
        Self {
            id: new_id(timestamp),
            timestamp,
            tenant: None,
            actor: Actor::system(),
            query_type,
            module: None,
            resource_type: resource_type.into(),
            filters: None,
            fields: Vec::new(),
            record_count: None,
            duration_us: 0,
            status: Status::Success,
            frameworks: Vec::new(),
            classification: Classification::default(),
            is_sensitive: false,
            integrity_hash: None,
            ip_address: None,
            user_agent: None,
            session_id: None,
            request_id: None,
            details: None,
            reason: None,
            metadata: None,
            transaction_id: None,
        }
    }

    /// Adds what the policy says of the resource.
    #[must_use]
    pub fn with_policy(mut self, policy: &ResourcePolicy) -> Self {
        self.module.clone_from(&policy.module);
        self.frameworks.clone_from(&policy.frameworks);
        self.classification = policy.classification;
        let secret = |name: &String| policy.fields.iter().any(|field| field.name == *name && field.sensitive);
        self.is_sensitive =
            policy.classification >= Classification::Restricted || self.fields.iter().any(secret);
        self
    }

    /// Adds who reads and from where.
    #[must_use]
    pub fn with_context(mut self, context: &AuditContext, sanitizer: &Sanitizer) -> Self {
        self.actor = context.actor.clone();
        self.tenant.clone_from(&context.tenant);
        self.ip_address = context.ip_address.map(|address| address.to_string());
        self.user_agent = context.user_agent.as_deref().map(|text| clean(sanitizer, text));
        self.session_id.clone_from(&context.session_id);
        self.request_id.clone_from(&context.request_id);
        self.reason = context.reason.as_deref().map(|text| clean(sanitizer, text));
        self.transaction_id = self.transaction_id.or_else(|| context.transaction_id.clone());
        if let Some(metadata) = &context.metadata {
            let metadata = sanitizer.sanitize_json(serde_json::Value::Object(metadata.clone()));
            self.metadata = Some(Value::Json(metadata).to_json());
        }
        self
    }

    /// Makes the record ready to be stored, as [`Entry::finish`](crate::Entry::finish) does.
    pub fn finish(&mut self) {
        fit_cow(&mut self.actor.kind, 32);
        fit(&mut self.resource_type, 255);
        for (text, limit) in [
            (&mut self.tenant, 255),
            (&mut self.actor.id, 255),
            (&mut self.actor.name, 255),
            (&mut self.actor.email, 320),
            (&mut self.module, 100),
            (&mut self.session_id, 255),
            (&mut self.request_id, 255),
            (&mut self.transaction_id, 64),
            (&mut self.user_agent, MAX_TEXT),
            (&mut self.details, MAX_TEXT),
            (&mut self.reason, MAX_TEXT),
        ] {
            if let Some(text) = text {
                fit(text, limit);
            }
        }
        self.integrity_hash = Some(self.digest());
    }

    /// The hash that detects a changed record, made as [`Entry::digest`](crate::Entry::digest) is.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let id = self.id.hyphenated().to_string();
        let timestamp = self.timestamp.timestamp_micros().to_string();
        let record_count = self.record_count.map(|count| count.to_string());
        let duration = self.duration_us.to_string();
        let fields = list_json(&self.fields);
        let frameworks = list_json(&self.frameworks);
        for (name, content) in [
            ("id", Some(&*id)),
            ("timestamp", Some(&*timestamp)),
            ("record_count", record_count.as_deref()),
            ("duration_us", Some(&*duration)),
            ("is_sensitive", Some(if self.is_sensitive { "true" } else { "false" })),
            ("tenant", self.tenant.as_deref()),
            ("actor_type", Some(&*self.actor.kind)),
            ("actor_id", self.actor.id.as_deref()),
            ("actor_name", self.actor.name.as_deref()),
            ("actor_email", self.actor.email.as_deref()),
            ("query_type", Some(self.query_type.as_str())),
            ("module", self.module.as_deref()),
            ("resource_type", Some(&*self.resource_type)),
            ("filters", self.filters.as_deref()),
            ("fields", fields.as_deref()),
            ("status", Some(self.status.as_str())),
            ("frameworks", frameworks.as_deref()),
            ("classification", Some(self.classification.as_str())),
            ("ip_address", self.ip_address.as_deref()),
            ("user_agent", self.user_agent.as_deref()),
            ("session_id", self.session_id.as_deref()),
            ("request_id", self.request_id.as_deref()),
            ("details", self.details.as_deref()),
            ("reason", self.reason.as_deref()),
            ("metadata", self.metadata.as_deref()),
            ("transaction_id", self.transaction_id.as_deref()),
        ] {
            if let Some(content) = content {
                hash.update(digest_field(name, content));
            }
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    fn query() -> QueryEntry {
        QueryEntry::new(DateTime::UNIX_EPOCH, QueryType::Select, "BankAccount")
    }

    #[test]
    fn k3_the_digest_of_a_read_tells_every_field_apart() {
        let base = query().digest_of_id(Uuid::nil());
        let mut counted = query();
        counted.record_count = Some(0);
        assert_ne!(counted.digest_of_id(Uuid::nil()), base, "0 isn't unknown");
        let mut filtered = query();
        filtered.filters = Some("x".into());
        let mut noted = query();
        noted.details = Some("x".into());
        assert_ne!(filtered.digest_of_id(Uuid::nil()), noted.digest_of_id(Uuid::nil()));
    }

    #[test]
    fn c14_a_record_comes_back_as_it_went() {
        let mut query = query();
        query.fields = vec!["balance".into()];
        query.finish();
        let record = Record::from(query);
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.starts_with(r#"{"query":{"id":"#), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    impl QueryEntry {
        fn digest_of_id(mut self, id: Uuid) -> [u8; 32] {
            self.id = id;
            self.digest()
        }
    }
}
