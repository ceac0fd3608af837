//! Every mistake of a struct is reported, each at its token, and the impl that is missing because of them is not.

use audit_seaorm::prelude::*;
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
#[sea_orm(table_name = "bank_account")]
#[audit(resorce = "BankAccount", module = finance, classification = "secret")]
#[audit(on(create, remove), frameworks("SOX", "sox"))]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[audit(name, sensitive)]
    pub bank_name: String,
    #[audit(exclude, mask)]
    pub pin_hash: String,
    #[audit(redact)]
    pub account_number: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

#[audited]
impl ActiveModelBehavior for ActiveModel {}

fn needs_the_impl<M: Auditable>() {}

fn main() {
    needs_the_impl::<Model>();
}
