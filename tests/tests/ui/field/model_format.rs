//! `#[sea_orm::model]` copies attributes onto a second struct; a mistake is reported once all the same.

use audit_seaorm::prelude::*;
use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
#[sea_orm(table_name = "page")]
#[audit(modul = "content")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    #[audit(exclude, silent)]
    pub draft: String,
}

impl ActiveModelBehavior for ActiveModel {}

fn main() {}
