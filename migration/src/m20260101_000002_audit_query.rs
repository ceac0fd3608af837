//! `audit_query`: one row per recorded read, its indexes, and the guards that keep it append-only, as those of `audit_log`.

use sea_orm_migration::prelude::{
    ColumnDef, DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait,
};

use crate::append_only::{AppendOnly, Index};
use crate::types::Types;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Who looked at this, and what did this one look at, each in order.
const TABLE: AppendOnly = AppendOnly {
    name: "audit_query",
    columns,
    indexes: &[Index::Of("resource", &["resource_type"]), Index::OfSome("actor_id"), Index::OfSome("tenant")],
};

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        TABLE.up(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        TABLE.down(manager).await
    }
}

fn columns(types: Types) -> Vec<ColumnDef> {
    types.record([
        types.required_name("query_type", 16),
        types.name("module", 100),
        types.required_name("resource_type", 255),
        types.text("filters"),
        types.text("fields"),
        types.number("record_count"),
        types.number("duration_us").not_null().take(),
        types.required_name("status", 16),
        types.text("frameworks"),
        types.required_name("classification", 16),
        types.flag("is_sensitive"),
        types.text("details"),
    ])
}
