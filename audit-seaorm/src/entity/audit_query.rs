//! The table `audit_query`: one row for each recorded read.

use audit_core::{Actor, Classification, Error, QueryEntry, list_json};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;

use super::{parse_digest, parse_list};

/// A read as it is stored. JSON columns hold the very text that was hashed.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_query")]
pub struct Model {
    /// UUID v7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Assigned by the database as the record is written. Gaps mean nothing.
    #[sea_orm(unique)]
    pub seq: i64,
    /// When the statement was sent, in UTC with microseconds.
    pub timestamp: ChronoDateTimeUtc,
    /// Tenant that the reader acts for.
    pub tenant: Option<String>,
    /// Id of the actor.
    pub actor_id: Option<String>,
    /// Sort of actor.
    pub actor_type: String,
    /// Name of the actor.
    pub actor_name: Option<String>,
    /// E-mail address of the actor.
    pub actor_email: Option<String>,
    /// `select`, `count`, `aggregate`, `exists`.
    pub query_type: String,
    /// Functional area.
    pub module: Option<String>,
    /// Type of what was read.
    pub resource_type: String,
    /// JSON of the conditions.
    #[sea_orm(column_type = "Text", nullable)]
    pub filters: Option<String>,
    /// JSON list of the fields whose values were read.
    #[sea_orm(column_type = "Text", nullable)]
    pub fields: Option<String>,
    /// How many rows came back, or what was counted.
    pub record_count: Option<i64>,
    /// How long it took, in microseconds.
    pub duration_us: i64,
    /// `success`, `failed`, `warning`, `info`.
    pub status: String,
    /// JSON list of compliance frameworks.
    #[sea_orm(column_type = "Text", nullable)]
    pub frameworks: Option<String>,
    /// `public` .. `top_secret`.
    pub classification: String,
    /// Whether secret fields were read or the data is restricted.
    pub is_sensitive: bool,
    /// SHA-256 over the other columns; see [`QueryEntry::digest`].
    pub integrity_hash: Option<Vec<u8>>,
    /// Address that the request came from.
    pub ip_address: Option<String>,
    /// User agent of the request.
    #[sea_orm(column_type = "Text", nullable)]
    pub user_agent: Option<String>,
    /// Session of the actor.
    pub session_id: Option<String>,
    /// Request that the read belongs to.
    pub request_id: Option<String>,
    /// Of a failed read, the sort of error.
    #[sea_orm(column_type = "Text", nullable)]
    pub details: Option<String>,
    /// Why it was done.
    #[sea_orm(column_type = "Text", nullable)]
    pub reason: Option<String>,
    /// JSON object of whatever else is known.
    #[sea_orm(column_type = "Text", nullable)]
    pub metadata: Option<String>,
    /// Groups the records of one transaction.
    pub transaction_id: Option<String>,
}

/// The audit tables stand apart, without foreign keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&QueryEntry> for ActiveModel {
    fn from(query: &QueryEntry) -> Self {
        let query = query.clone();
        Self {
            id: Set(query.id),
            seq: NotSet,
            timestamp: Set(query.timestamp),
            tenant: Set(query.tenant),
            actor_id: Set(query.actor.id),
            actor_type: Set(query.actor.kind.into_owned()),
            actor_name: Set(query.actor.name),
            actor_email: Set(query.actor.email),
            query_type: Set(query.query_type.as_str().to_owned()),
            module: Set(query.module),
            resource_type: Set(query.resource_type),
            filters: Set(query.filters),
            fields: Set(list_json(&query.fields)),
            record_count: Set(query.record_count),
            duration_us: Set(query.duration_us),
            status: Set(query.status.as_str().to_owned()),
            frameworks: Set(list_json(&query.frameworks)),
            classification: Set(query.classification.as_str().to_owned()),
            is_sensitive: Set(query.is_sensitive),
            integrity_hash: Set(query.integrity_hash.map(|hash| hash.to_vec())),
            ip_address: Set(query.ip_address),
            user_agent: Set(query.user_agent),
            session_id: Set(query.session_id),
            request_id: Set(query.request_id),
            details: Set(query.details),
            reason: Set(query.reason),
            metadata: Set(query.metadata),
            transaction_id: Set(query.transaction_id),
        }
    }
}

impl TryFrom<Model> for QueryEntry {
    type Error = Error;

    /// Reads a record back.
    ///
    /// # Errors
    /// [`Error::Format`] if a column holds what no version of this library writes.
    fn try_from(row: Model) -> Result<Self, Error> {
        let mut query = Self::new(row.timestamp, row.query_type.parse()?, row.resource_type);
        query.id = row.id;
        query.tenant = row.tenant;
        query.actor = Actor {
            kind: row.actor_type.into(),
            id: row.actor_id,
            name: row.actor_name,
            email: row.actor_email,
        };
        query.module = row.module;
        query.filters = row.filters;
        query.fields = parse_list("fields", row.fields.as_deref())?;
        query.record_count = row.record_count;
        query.duration_us = row.duration_us;
        query.status = row.status.parse()?;
        query.frameworks = parse_list("frameworks", row.frameworks.as_deref())?;
        query.classification = row
            .classification
            .parse::<Classification>()
            .map_err(|_| Error::Format("`classification` is unknown".into()))?;
        query.is_sensitive = row.is_sensitive;
        query.integrity_hash = parse_digest(row.integrity_hash)?;
        query.ip_address = row.ip_address;
        query.user_agent = row.user_agent;
        query.session_id = row.session_id;
        query.request_id = row.request_id;
        query.details = row.details;
        query.reason = row.reason;
        query.metadata = row.metadata;
        query.transaction_id = row.transaction_id;
        Ok(query)
    }
}

impl Model {
    /// The conditions as JSON; `None` if there were none.
    ///
    /// # Errors
    /// [`Error::Format`] if the column isn't JSON.
    pub fn filters_json(&self) -> Result<Option<serde_json::Value>, Error> {
        let parsed = self.filters.as_deref().map(serde_json::from_str).transpose();
        parsed.map_err(|_| Error::Format("`filters` isn't JSON".into()))
    }

    /// Whether the record still is what its hash was made of. `None` if it has none.
    pub fn hash_matches(&self) -> Option<bool> {
        let stored = self.integrity_hash.clone()?;
        Some(QueryEntry::try_from(self.clone()).is_ok_and(|query| query.digest().as_slice() == stored))
    }
}
