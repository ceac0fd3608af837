//! `audit_log`: one row per audited operation, its indexes, and the guards that keep it append-only.
//!
//! The table is written out here once for all backends, with identifiers of its own: a released migration must not
//! move when the entity does. The guards are in [`append_only`](crate::append_only).

use sea_orm_migration::prelude::{
    ColumnDef, DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait,
};

use crate::append_only::{AppendOnly, Index};
use crate::types::Types;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Each index costs every audited write, so there are three: the history of one resource, what one actor did, and what
/// happened in one tenant, each in order. A period of time is found by the ids, whose version 7 begins with the time.
const TABLE: AppendOnly = AppendOnly {
    name: "audit_log",
    columns,
    indexes: &[
        Index::Of("resource", &["resource_type", "resource_id"]),
        Index::OfSome("actor_id"),
        Index::OfSome("tenant"),
    ],
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
    vec![
        types.moment("timestamp").not_null().take(),
        types.name("tenant", 255),
        types.name("actor_id", 255),
        types.required_name("actor_type", 32),
        types.name("actor_name", 255),
        types.name("actor_email", 320),
        types.required_name("action", 64),
        types.name("module", 100),
        types.required_name("resource_type", 255),
        types.name("resource_id", 1024),
        types.text("resource_name"),
        types.required_name("status", 16),
        types.required_name("severity", 16),
        types.text("changes"),
        types.text("changed_fields"),
        types.text("old_data"),
        types.text("new_data"),
        types.text("frameworks"),
        types.required_name("classification", 16),
        types.flag("is_sensitive"),
        types.hash("integrity_hash"),
        types.name("ip_address", 45),
        types.text("user_agent"),
        types.name("session_id", 255),
        types.name("request_id", 255),
        types.text("request_data"),
        types.text("details"),
        types.text("reason"),
        types.text("metadata"),
        types.name("transaction_id", 64),
    ]
}
