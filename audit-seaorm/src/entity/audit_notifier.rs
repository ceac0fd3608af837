//! The table `audit_notifier`: since when each notifier is told of violations.

use sea_orm::entity::prelude::*;

/// A notifier that there is, or was.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_notifier")]
pub struct Model {
    /// Its name.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// When a worker had it for the first time.
    pub since: ChronoDateTimeUtc,
}

/// The audit tables stand apart, without foreign keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
