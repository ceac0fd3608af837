//! The table `audit_alert`: one row for each violation and notifier, with how far its delivery has come. No record: it
//! changes. A row may go when its violation has gone; before that, the violation would be sent anew.

use sea_orm::entity::prelude::*;

/// An alert on its way.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_alert")]
pub struct Model {
    /// Id of the delivery, the same in each attempt.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Id of the violation.
    pub violation_id: Uuid,
    /// Name of the notifier.
    pub notifier: String,
    /// Tenant of the violation.
    pub tenant: Option<String>,
    /// `pending`, `delivered`, `dead`.
    pub state: String,
    /// How often it was sent, or was about to be.
    pub attempts: i32,
    /// When it is sent next; while a worker sends it, when another one may take it over.
    pub due_at: ChronoDateTimeUtc,
    /// Why the last attempt failed.
    #[sea_orm(column_type = "Text", nullable)]
    pub last_error: Option<String>,
    /// When the worker found the violation.
    pub created_at: ChronoDateTimeUtc,
    /// When any of this changed last.
    pub changed_at: ChronoDateTimeUtc,
}

/// The audit tables stand apart, without foreign keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
