//! The entity: what the audit does with each field stands beside it.

use audit_seaorm::prelude::*;
use sea_orm::entity::prelude::*;

/// A bank account of one of the tenants.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
#[sea_orm(table_name = "bank_accounts")]
#[audit(
    resource = "BankAccount",
    module = "finance",
    frameworks("SOX"),
    classification = "confidential",
    reads
)]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Whose customer it is.
    pub tenant: String,
    /// Where the account is; the entries call it by this name.
    #[audit(name)]
    pub bank_name: String,
    /// That it changed is recorded, its digits are not.
    #[audit(mask)]
    pub account_number: String,
    /// Its balance.
    #[sea_orm(column_type = "Decimal(Some((15, 2)))")]
    pub balance: Decimal,
    /// Whether it can be used.
    pub is_active: bool,
}

/// It stands alone.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

#[audited]
impl ActiveModelBehavior for ActiveModel {}
