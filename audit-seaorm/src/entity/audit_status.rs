//! The view `audit_status`: where the handling of each violation and each system event stands.

use sea_orm::entity::prelude::*;

/// The last step of a record; of one that nobody has taken up, `open`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_status")]
pub struct Model {
    /// Id of the violation or event.
    #[sea_orm(primary_key, auto_increment = false)]
    pub record_id: Uuid,
    /// Its table.
    pub record_table: String,
    /// How many steps were taken.
    pub step: i32,
    /// `open`, `investigating`, `resolved`, `closed`.
    pub status: String,
    /// What was said at the last step.
    #[sea_orm(column_type = "Text", nullable)]
    pub notes: Option<String>,
    /// When it was taken.
    pub changed_at: Option<ChronoDateTimeUtc>,
    /// Id of who took it.
    pub changed_by: Option<String>,
    /// Name of who took it.
    pub changed_by_name: Option<String>,
}

/// A view has no foreign keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
