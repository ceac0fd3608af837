//! The table `audit_log`: one row for each entry.

use audit_core::{Actor, Classification, Entry, Error, Resource, list_json};
use sea_orm::Value;
use sea_orm::entity::prelude::*;

use super::{parse_digest, parse_list};

/// An entry as it is stored. JSON columns hold the very text that was hashed.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub struct Model {
    /// UUID v7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Assigned by the database as the entry is written. The entries of one row are in the order of their changes,
    /// whatever the clocks of several application servers say. Gaps mean nothing.
    #[sea_orm(unique)]
    pub seq: i64,
    /// When, in UTC with microseconds.
    pub timestamp: ChronoDateTimeUtc,
    /// Tenant that the operation belongs to.
    pub tenant: Option<String>,
    /// Id of the actor.
    pub actor_id: Option<String>,
    /// Sort of actor.
    pub actor_type: String,
    /// Name of the actor.
    pub actor_name: Option<String>,
    /// E-mail address of the actor.
    pub actor_email: Option<String>,
    /// What was done.
    pub action: String,
    /// Functional area.
    pub module: Option<String>,
    /// Type of the resource.
    pub resource_type: String,
    /// Id of the resource.
    pub resource_id: Option<String>,
    /// Name of the resource.
    #[sea_orm(column_type = "Text", nullable)]
    pub resource_name: Option<String>,
    /// `success`, `failed`, `warning`, `info`.
    pub status: String,
    /// `low`, `medium`, `high`, `critical`.
    pub severity: String,
    /// JSON `{"field":{"old":..,"new":..}}`.
    #[sea_orm(column_type = "Text", nullable)]
    pub changes: Option<String>,
    /// JSON list of the fields that changed.
    #[sea_orm(column_type = "Text", nullable)]
    pub changed_fields: Option<String>,
    /// JSON of the row before.
    #[sea_orm(column_type = "Text", nullable)]
    pub old_data: Option<String>,
    /// JSON of the row after.
    #[sea_orm(column_type = "Text", nullable)]
    pub new_data: Option<String>,
    /// JSON list of compliance frameworks.
    #[sea_orm(column_type = "Text", nullable)]
    pub frameworks: Option<String>,
    /// `public` .. `top_secret`.
    pub classification: String,
    /// Whether secret fields were touched or the data is restricted.
    pub is_sensitive: bool,
    /// SHA-256 over the other columns; see [`Entry::digest`].
    pub integrity_hash: Option<Vec<u8>>,
    /// Address that the request came from.
    pub ip_address: Option<String>,
    /// User agent of the request.
    #[sea_orm(column_type = "Text", nullable)]
    pub user_agent: Option<String>,
    /// Session of the actor.
    pub session_id: Option<String>,
    /// Request that the operation belongs to.
    pub request_id: Option<String>,
    /// JSON of the request's data, sanitised.
    #[sea_orm(column_type = "Text", nullable)]
    pub request_data: Option<String>,
    /// Anything said about it; of a failed operation, the error.
    #[sea_orm(column_type = "Text", nullable)]
    pub details: Option<String>,
    /// Why it was done.
    #[sea_orm(column_type = "Text", nullable)]
    pub reason: Option<String>,
    /// JSON object of whatever else is known.
    #[sea_orm(column_type = "Text", nullable)]
    pub metadata: Option<String>,
    /// Groups the entries of one transaction.
    pub transaction_id: Option<String>,
}

/// The audit tables stand apart: entries outlive what they are about, so there are no foreign keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&Entry> for ActiveModel {
    fn from(entry: &Entry) -> Self {
        let mut row = <Self as ActiveModelTrait>::default();
        for (column, value) in FILLED.into_iter().zip(values(entry)) {
            row.set(column, value);
        }
        row
    }
}

/// The columns that an entry fills, in the order of their [`values`]: all but that which the database fills.
pub(crate) const FILLED: [Column; 31] = [
    Column::Id,
    Column::Timestamp,
    Column::Tenant,
    Column::ActorId,
    Column::ActorType,
    Column::ActorName,
    Column::ActorEmail,
    Column::Action,
    Column::Module,
    Column::ResourceType,
    Column::ResourceId,
    Column::ResourceName,
    Column::Status,
    Column::Severity,
    Column::Changes,
    Column::ChangedFields,
    Column::OldData,
    Column::NewData,
    Column::Frameworks,
    Column::Classification,
    Column::IsSensitive,
    Column::IntegrityHash,
    Column::IpAddress,
    Column::UserAgent,
    Column::SessionId,
    Column::RequestId,
    Column::RequestData,
    Column::Details,
    Column::Reason,
    Column::Metadata,
    Column::TransactionId,
];

/// The values of the columns that an entry fills, in the order of [`FILLED`].
pub(crate) fn values(entry: &Entry) -> [Value; 31] {
    let text = |text: &str| Value::String(Some(text.to_owned()));
    let perhaps = |text: &Option<String>| Value::String(text.clone());
    [
        entry.id.into(),
        entry.timestamp.into(),
        perhaps(&entry.tenant),
        perhaps(&entry.actor.id),
        text(&entry.actor.kind),
        perhaps(&entry.actor.name),
        perhaps(&entry.actor.email),
        text(&entry.action),
        perhaps(&entry.module),
        text(&entry.resource.kind),
        perhaps(&entry.resource.id),
        perhaps(&entry.resource.name),
        text(entry.status.as_str()),
        text(entry.severity.as_str()),
        perhaps(&entry.changes),
        Value::String(list_json(&entry.changed_fields)),
        perhaps(&entry.old_data),
        perhaps(&entry.new_data),
        Value::String(list_json(&entry.frameworks)),
        text(entry.classification.as_str()),
        entry.is_sensitive.into(),
        Value::Bytes(entry.integrity_hash.map(|hash| hash.to_vec())),
        perhaps(&entry.ip_address),
        perhaps(&entry.user_agent),
        perhaps(&entry.session_id),
        perhaps(&entry.request_id),
        perhaps(&entry.request_data),
        perhaps(&entry.details),
        perhaps(&entry.reason),
        perhaps(&entry.metadata),
        perhaps(&entry.transaction_id),
    ]
}

impl TryFrom<Model> for Entry {
    type Error = Error;

    /// Reads an entry back.
    ///
    /// # Errors
    /// [`Error::Format`] if a column holds what no version of this library writes.
    fn try_from(row: Model) -> Result<Self, Error> {
        let mut entry = Self::new(
            row.timestamp,
            row.action,
            Resource { kind: row.resource_type.into(), id: row.resource_id, name: row.resource_name },
        );
        entry.id = row.id;
        entry.tenant = row.tenant;
        entry.actor = Actor {
            kind: row.actor_type.into(),
            id: row.actor_id,
            name: row.actor_name,
            email: row.actor_email,
        };
        entry.module = row.module;
        entry.status = row.status.parse()?;
        entry.severity = row.severity.parse()?;
        entry.changes = row.changes;
        entry.changed_fields = parse_list("changed_fields", row.changed_fields.as_deref())?;
        entry.old_data = row.old_data;
        entry.new_data = row.new_data;
        entry.frameworks = parse_list("frameworks", row.frameworks.as_deref())?;
        entry.classification = row
            .classification
            .parse::<Classification>()
            .map_err(|_| Error::Format("`classification` is unknown".into()))?;
        entry.is_sensitive = row.is_sensitive;
        entry.integrity_hash = parse_digest(row.integrity_hash)?;
        entry.ip_address = row.ip_address;
        entry.user_agent = row.user_agent;
        entry.session_id = row.session_id;
        entry.request_id = row.request_id;
        entry.request_data = row.request_data;
        entry.details = row.details;
        entry.reason = row.reason;
        entry.metadata = row.metadata;
        entry.transaction_id = row.transaction_id;
        Ok(entry)
    }
}

impl Model {
    /// The changes as JSON, by field: `{"price": {"old": "19.99", "new": "24.99"}}`. Empty if there are none.
    ///
    /// # Errors
    /// [`Error::Format`] if the column isn't a JSON object.
    pub fn changes_json(&self) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        self.changes.as_deref().map_or_else(
            || Ok(serde_json::Map::new()),
            |text| {
                serde_json::from_str(text).map_err(|_| Error::Format("`changes` isn't a JSON object".into()))
            },
        )
    }

    /// The metadata as a type of your own; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Format`] if it isn't of this type.
    pub fn metadata_as<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        super::parse_json("metadata", self.metadata.as_deref())
    }

    /// Whether the entry still is what its hash was made of. `None` if it has none.
    pub fn hash_matches(&self) -> Option<bool> {
        let stored = self.integrity_hash.clone()?;
        Some(Entry::try_from(self.clone()).is_ok_and(|entry| entry.digest().as_slice() == stored))
    }
}

#[cfg(test)]
mod tests {
    use audit_core::{Clock as _, SystemClock};
    use sea_orm::{IdenStatic as _, Iterable as _, TryIntoModel as _};

    use super::*;

    #[test]
    fn an_entry_comes_back_from_its_row() {
        let mut entry = Entry::new(SystemClock.now(), "update", Resource::new("account").id(7));
        for full in [false, true] {
            if full {
                let some = |text: &str| Some(text.to_owned());
                entry.tenant = some("acme");
                entry.actor =
                    Actor { kind: "user".into(), id: some("1"), name: some("Ann"), email: some("a@x.org") };
                entry.module = some("bank");
                entry.resource.name = some("Ada");
                (entry.changes, entry.old_data, entry.new_data) = (some("{}"), some("{1}"), some("{2}"));
                entry.changed_fields = vec!["owner".to_owned(), "balance".to_owned()];
                entry.frameworks = vec!["gdpr".to_owned()];
                entry.is_sensitive = true;
                (entry.ip_address, entry.user_agent) = (some("::1"), some("curl"));
                (entry.session_id, entry.request_id) = (some("s"), some("r"));
                (entry.request_data, entry.details) = (some("{3}"), some("details"));
                (entry.reason, entry.metadata) = (some("reason"), some("{4}"));
                entry.transaction_id = some("t");
                entry.finish();
            }
            let mut row = ActiveModel::from(&entry);
            row.seq = sea_orm::Set(1);
            assert_eq!(Entry::try_from(row.try_into_model().unwrap()).unwrap(), entry);
        }
        let filled = FILLED.map(|column| column.as_str());
        let others: Vec<_> =
            Column::iter().map(|column| column.as_str()).filter(|name| !filled.contains(name)).collect();
        assert_eq!(others, ["seq"]);
    }
}
