//! What is recorded besides operations: reads, exports, violations, logins, events, and what became of them later.
//!
//! Each sort is a [`Family`] with a table of its own. What all have in common (id, time, who, from where, hash) is in
//! [`Recorded`], once; a family says only what is its own.

mod event;
mod export;
mod field;
mod login;
mod query;
mod transition;
mod violation;

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use event::{EventKind, SystemEvent};
pub use export::Export;
pub use login::{LoginAttempt, LoginStatus, Place};
pub use query::{Query, QueryEntry};
pub use transition::{Transition, ViolationStatus};
pub use violation::Violation;

use crate::record::{Digester, MAX_TEXT, fit, fit_cow, hex_digest, new_id};
use crate::{Actor, AuditContext, Sanitizer, Value};

/// One sort of record, kept in one table.
///
/// The columns of the table are the fields of the family, by their names, and those of [`Recorded`].
pub trait Family: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name of the table.
    const TABLE: &'static str;

    /// Replaces secrets in texts and JSON that come from outside.
    fn sanitise(&mut self, sanitizer: &Sanitizer);

    /// Cuts texts to fit into their columns.
    fn fit(&mut self);

    /// Visits what is hashed, in the order of the fields; what is unknown is visited as `None`.
    fn each_field(&self, visit: &mut dyn FnMut(&'static str, Option<&str>));
}

/// A record of a family: what, when, by whom, from where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
#[non_exhaustive]
pub struct Recorded<F: Family> {
    /// UUID v7, ordered by time within this process.
    pub id: Uuid,
    /// When, in UTC with microseconds.
    pub timestamp: DateTime<Utc>,
    /// Tenant that it belongs to.
    pub tenant: Option<String>,
    /// Who.
    pub actor: Actor,
    /// What.
    pub what: F,
    /// SHA-256 over the other fields; see [`digest`](Self::digest).
    #[serde(with = "hex_digest")]
    pub integrity_hash: Option<[u8; 32]>,
    /// Address that the request came from.
    pub ip_address: Option<String>,
    /// User agent of the request.
    pub user_agent: Option<String>,
    /// Session of the actor.
    pub session_id: Option<String>,
    /// Request that it belongs to.
    pub request_id: Option<String>,
    /// Why it was done.
    pub reason: Option<String>,
    /// JSON object of whatever else is known.
    pub metadata: Option<String>,
    /// Groups the records of one transaction.
    pub transaction_id: Option<String>,
}

impl<F: Family> Recorded<F> {
    /// A record that says only what and when.
    pub fn new(timestamp: DateTime<Utc>, what: F) -> Self {
        Self {
            id: new_id(timestamp),
            timestamp,
            tenant: None,
            actor: Actor::system(),
            what,
            integrity_hash: None,
            ip_address: None,
            user_agent: None,
            session_id: None,
            request_id: None,
            reason: None,
            metadata: None,
            transaction_id: None,
        }
    }

    /// Adds who acts and from where. What the record already says of its transaction stays.
    #[must_use]
    pub fn with_context(mut self, context: &AuditContext, sanitizer: &Sanitizer) -> Self {
        let clean = |text: &String| sanitizer.sanitize_text(text).into_owned();
        self.actor = context.actor.clone();
        self.tenant.clone_from(&context.tenant);
        self.ip_address = context.ip_address.map(|address| address.to_string());
        self.user_agent = context.user_agent.as_ref().map(clean);
        self.session_id.clone_from(&context.session_id);
        self.request_id.clone_from(&context.request_id);
        self.reason = context.reason.as_ref().map(clean);
        self.transaction_id = self.transaction_id.or_else(|| context.transaction_id.clone());
        match &context.metadata {
            Some(metadata) => self.with_metadata(metadata.clone(), sanitizer),
            None => self,
        }
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
        if !all.is_empty() {
            let clean = sanitizer.sanitize_json(serde_json::Value::Object(all));
            self.metadata = Some(Value::Json(clean).to_json());
        }
        self
    }

    /// Makes the record ready to be stored, as [`Entry::finish`](crate::Entry::finish) does.
    pub fn finish(&mut self) {
        self.what.fit();
        crate::context::fit_tenant(&mut self.tenant);
        fit_cow(&mut self.actor.kind, 32);
        for (text, limit) in [
            (&mut self.actor.id, 255),
            (&mut self.actor.name, 255),
            (&mut self.actor.email, 320),
            (&mut self.session_id, 255),
            (&mut self.request_id, 255),
            (&mut self.transaction_id, 64),
            (&mut self.user_agent, MAX_TEXT),
            (&mut self.reason, MAX_TEXT),
        ] {
            if let Some(text) = text {
                fit(text, limit);
            }
        }
        self.integrity_hash = Some(self.digest());
    }

    /// The hash that detects a changed record, made as [`Entry::digest`](crate::Entry::digest) is: id and time first, then
    /// who, then what, then from where and why.
    pub fn digest(&self) -> [u8; 32] {
        let mut digester = Digester::new();
        let mut visit = |name: &'static str, content: Option<&str>| digester.field(name, content);
        visit("id", Some(self.id.hyphenated().encode_lower(&mut Uuid::encode_buffer())));
        visit("timestamp", Some(itoa::Buffer::new().format(self.timestamp.timestamp_micros())));
        visit("tenant", self.tenant.as_deref());
        visit("actor_type", Some(&self.actor.kind));
        visit("actor_id", self.actor.id.as_deref());
        visit("actor_name", self.actor.name.as_deref());
        visit("actor_email", self.actor.email.as_deref());
        self.what.each_field(&mut visit);
        visit("ip_address", self.ip_address.as_deref());
        visit("user_agent", self.user_agent.as_deref());
        visit("session_id", self.session_id.as_deref());
        visit("request_id", self.request_id.as_deref());
        visit("reason", self.reason.as_deref());
        visit("metadata", self.metadata.as_deref());
        visit("transaction_id", self.transaction_id.as_deref());
        digester.finish()
    }
}

/// The type of a family: its fields with how each is treated.
///
/// `word` is taken as it is, `name(limit)` and `text` are cleared of secrets and cut, `json` is cleared by the names of its
/// members. A `key(limit)` stays unlike others: instead of being cleared or cut it becomes its digest.
macro_rules! family {
    (
        $(#[$doc:meta])*
        $name:ident in $table:literal {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty = $treated:ident $(($limit:literal))? ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub struct $name { $( $(#[$field_doc])* pub $field: $type ),+ }

        impl $name {
            /// Puts a record together from its columns, in their order.
            #[doc(hidden)]
            #[allow(clippy::too_many_arguments, reason = "one for each column")]
            pub fn from_fields($($field: $type),+) -> Self {
                Self { $($field),+ }
            }
        }

        impl $crate::family::Family for $name {
            const TABLE: &'static str = $table;

            fn sanitise(&mut self, sanitizer: &$crate::Sanitizer) {
                $( $crate::family::family!(@sanitise $treated, self.$field, sanitizer); )+
            }

            fn fit(&mut self) {
                $( $crate::family::family!(@fit $treated, self.$field $(, $limit)?); )+
            }

            fn each_field(&self, visit: &mut dyn FnMut(&'static str, Option<&str>)) {
                use $crate::family::field::Field as _;
                $( visit(stringify!($field), self.$field.content().as_deref()); )+
            }
        }
    };
    (@sanitise word, $field:expr, $sanitizer:ident) => { _ = $sanitizer; };
    (@sanitise json, $field:expr, $sanitizer:ident) => {
        $crate::family::field::sanitise_json(&mut $field, $sanitizer);
    };
    (@sanitise key, $field:expr, $sanitizer:ident) => {
        $crate::family::field::sanitise_key(&mut $field, $sanitizer);
    };
    (@sanitise $text:ident, $field:expr, $sanitizer:ident) => {
        $crate::family::field::Text::sanitise(&mut $field, $sanitizer);
    };
    (@fit word, $field:expr) => {};
    (@fit json, $field:expr) => { $crate::family::field::Text::cut(&mut $field, usize::MAX); };
    (@fit text, $field:expr) => { $crate::family::field::Text::cut(&mut $field, $crate::record::MAX_TEXT); };
    (@fit key, $field:expr, $limit:literal) => { $crate::family::field::fit_key(&mut $field, $limit); };
    (@fit name, $field:expr, $limit:literal) => { $crate::family::field::Text::cut(&mut $field, $limit); };
}

pub(crate) use family;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryType, Record};

    fn read() -> Recorded<Query> {
        Recorded::new(DateTime::UNIX_EPOCH, Query::new(QueryType::Select, "BankAccount"))
    }

    #[test]
    fn k3_the_digest_of_a_record_tells_every_field_apart() {
        let digest = |change: fn(&mut Recorded<Query>)| {
            let mut record = read();
            record.id = Uuid::nil();
            change(&mut record);
            record.digest()
        };
        let all = [
            digest(|_| {}),
            digest(|record| record.what.record_count = Some(0)),
            digest(|record| record.what.filters = Some("x".into())),
            digest(|record| record.what.details = Some("x".into())),
            digest(|record| record.reason = Some("x".into())),
            digest(|record| record.tenant = Some("x".into())),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn c14_a_record_comes_back_as_it_went() {
        let mut read = read();
        read.what.fields = vec!["balance".into()];
        read.finish();
        let mut login = Recorded::new(DateTime::UNIX_EPOCH, LoginAttempt::failed("ann", "wrong password"));
        login.finish();
        for record in [Record::from(read), Record::from(login)] {
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
        }
    }

    #[test]
    fn i5_what_comes_from_outside_is_cleared_and_cut() {
        let mut event = SystemEvent::new(EventKind::Error, "payment with 4111 1111 1111 1111 failed");
        event.description = Some("x".repeat(20_000));
        event.sanitise(&Sanitizer::default());
        event.fit();
        assert!(!event.title.contains("4111"), "{}", event.title);
        assert_eq!(event.description.map(|text| text.chars().count()), Some(MAX_TEXT));

        let mut export =
            Export::new("csv", "Patient").filters(serde_json::json!({"password": "hunter2", "ward": 3}));
        export.sanitise(&Sanitizer::default());
        assert_eq!(export.filters.as_deref(), Some(r#"{"password":"***","ward":3}"#));
    }
}
