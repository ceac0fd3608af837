//! The entities of the record families: their columns are those that all have, and their own.

use audit_core::{
    Classification, Error, EventKind, Family, LoginStatus, QueryType, Record, Recorded, Severity, Status,
    ViolationStatus, list_json,
};
use sea_orm::{ActiveModelTrait, EntityTrait};
use uuid::Uuid;

use super::parse_list;

/// A family of [records](Recorded) and the entity of its table. Nothing else can implement it.
pub trait StoredFamily: Family + Sized + sealed::Sealed {
    /// The entity.
    type Entity: EntityTrait;
    /// A row to be inserted.
    #[doc(hidden)]
    type Row: ActiveModelTrait<Entity = Self::Entity> + Send;

    /// The row of a record.
    #[doc(hidden)]
    fn row(record: &Recorded<Self>) -> Self::Row;

    /// The column `id`.
    #[doc(hidden)]
    fn id() -> <Self::Entity as EntityTrait>::Column;

    /// The record, if it is of this family.
    #[doc(hidden)]
    fn of(record: &Record) -> Option<&Recorded<Self>>;
}

pub(super) mod sealed {
    /// Records of other families have no place among those that are written and delivered.
    pub trait Sealed {}
}

/// How a field stands in its column.
pub(super) trait Column<C>: Sized {
    fn to_column(&self) -> C;

    fn from_column(name: &str, column: C) -> Result<Self, Error>;
}

impl Column<Option<String>> for Vec<String> {
    fn to_column(&self) -> Option<String> {
        list_json(self)
    }

    fn from_column(name: &str, column: Option<String>) -> Result<Self, Error> {
        parse_list(name, column.as_deref())
    }
}

macro_rules! same {
    ($($type:ty),+) => { $(
        impl Column<$type> for $type {
            fn to_column(&self) -> $type {
                self.clone()
            }

            fn from_column(_: &str, column: $type) -> Result<Self, Error> {
                Ok(column)
            }
        }
    )+ };
}
same!(String, Option<String>, i32, Option<i32>, i64, Option<i64>, Option<f64>, bool, Uuid);

macro_rules! words {
    ($($type:ty),+) => { $(
        impl Column<String> for $type {
            fn to_column(&self) -> String {
                self.as_str().to_owned()
            }

            fn from_column(name: &str, column: String) -> Result<Self, Error> {
                column.parse().map_err(|_| Error::Format(format!("`{name}` is unknown")))
            }
        }
    )+ };
}
words!(Classification, EventKind, LoginStatus, QueryType, Severity, Status, ViolationStatus);

/// The entity of a family: the columns of its own, between those that all families have.
macro_rules! record_entity {
    (
        $(#[$doc:meta])*
        $family:ident in $table:literal, $of:ident {
            $( $(#[$column_doc:meta])* $column:ident: $type:ty ),+ $(,)?
        }
    ) => {
        use audit_core::{Actor, Error, Family as _, Record, Recorded, $family};
        use sea_orm::ActiveValue::{NotSet, Set};
        use sea_orm::entity::prelude::*;

        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
        #[sea_orm(table_name = $table)]
        pub struct Model {
            /// UUID v7.
            #[sea_orm(primary_key, auto_increment = false)]
            pub id: Uuid,
            /// Assigned by the database as the record is written. Gaps mean nothing.
            #[sea_orm(unique)]
            pub seq: i64,
            /// When, in UTC with microseconds.
            pub timestamp: ChronoDateTimeUtc,
            /// Tenant that it belongs to.
            pub tenant: Option<String>,
            /// Id of the actor.
            pub actor_id: Option<String>,
            /// Sort of actor.
            pub actor_type: String,
            /// Name of the actor.
            pub actor_name: Option<String>,
            /// E-mail address of the actor.
            pub actor_email: Option<String>,
            $( $(#[$column_doc])* pub $column: $type, )+
            /// SHA-256 over the other columns; see [`Recorded::digest`].
            pub integrity_hash: Option<Vec<u8>>,
            /// Address that the request came from.
            pub ip_address: Option<String>,
            /// User agent of the request.
            #[sea_orm(column_type = "Text", nullable)]
            pub user_agent: Option<String>,
            /// Session of the actor.
            pub session_id: Option<String>,
            /// Request that it belongs to.
            pub request_id: Option<String>,
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

        impl From<&Recorded<$family>> for ActiveModel {
            fn from(record: &Recorded<$family>) -> Self {
                Self {
                    id: Set(record.id),
                    seq: NotSet,
                    timestamp: Set(record.timestamp),
                    tenant: Set(record.tenant.clone()),
                    actor_id: Set(record.actor.id.clone()),
                    actor_type: Set(record.actor.kind.clone().into_owned()),
                    actor_name: Set(record.actor.name.clone()),
                    actor_email: Set(record.actor.email.clone()),
                    $( $column: Set(super::recorded::Column::to_column(&record.what.$column)), )+
                    integrity_hash: Set(record.integrity_hash.map(|hash| hash.to_vec())),
                    ip_address: Set(record.ip_address.clone()),
                    user_agent: Set(record.user_agent.clone()),
                    session_id: Set(record.session_id.clone()),
                    request_id: Set(record.request_id.clone()),
                    reason: Set(record.reason.clone()),
                    metadata: Set(record.metadata.clone()),
                    transaction_id: Set(record.transaction_id.clone()),
                }
            }
        }

        impl TryFrom<Model> for Recorded<$family> {
            type Error = Error;

            /// Reads a record back.
            ///
            /// # Errors
            /// [`Error::Format`] if a column holds what no version of this library writes.
            fn try_from(row: Model) -> Result<Self, Error> {
                let what = $family::from_fields(
                    $( super::recorded::Column::from_column(stringify!($column), row.$column)?, )+
                );
                let mut record = Self::new(row.timestamp, what);
                record.id = row.id;
                record.tenant = row.tenant;
                record.actor = Actor {
                    kind: row.actor_type.into(),
                    id: row.actor_id,
                    name: row.actor_name,
                    email: row.actor_email,
                };
                record.integrity_hash = super::parse_digest(row.integrity_hash)?;
                record.ip_address = row.ip_address;
                record.user_agent = row.user_agent;
                record.session_id = row.session_id;
                record.request_id = row.request_id;
                record.reason = row.reason;
                record.metadata = row.metadata;
                record.transaction_id = row.transaction_id;
                Ok(record)
            }
        }

        impl Model {
            /// The metadata as a type of your own; `None` if there is none.
            ///
            /// # Errors
            /// [`Error::Format`] if it isn't of this type.
            pub fn metadata_as<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>, Error> {
                super::parse_json("metadata", self.metadata.as_deref())
            }

            /// Whether the record still is what its hash was made of. `None` if it has none.
            pub fn hash_matches(&self) -> Option<bool> {
                let stored = self.integrity_hash.clone()?;
                let record = Recorded::<$family>::try_from(self.clone());
                Some(record.is_ok_and(|record| record.digest().as_slice() == stored))
            }
        }

        impl super::recorded::sealed::Sealed for $family {}

        impl super::StoredFamily for $family {
            type Entity = Entity;
            type Row = ActiveModel;

            fn row(record: &Recorded<Self>) -> ActiveModel {
                debug_assert_eq!(Self::TABLE, $table);
                ActiveModel::from(record)
            }

            fn id() -> Column {
                Column::Id
            }

            fn of(record: &Record) -> Option<&Recorded<Self>> {
                record.$of()
            }
        }
    };
}

pub(super) use record_entity;
