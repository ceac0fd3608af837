//! The tables of exports, violations, logins and system events, with the steps of handling them; their indexes and guards.

use sea_orm_migration::prelude::{
    ColumnDef, ConnectionTrait, DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait,
};
use sea_orm_migration::sea_orm::DbBackend;

use crate::append_only::{AppendOnly, Index};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [AppendOnly; 5] = [
    AppendOnly {
        name: "audit_export",
        columns: |types| {
            types.record([
                types.name("export_type", 100),
                types.required_name("format", 32),
                types.name("module", 100),
                types.required_name("resource_type", 255),
                types.text("filters"),
                types.text("fields"),
                types.number("record_count"),
                types.text("file_path"),
                types.number("file_size"),
                types.required_name("status", 16),
                types.text("frameworks"),
                types.required_name("classification", 16),
                types.flag("is_sensitive"),
                types.text("details"),
            ])
        },
        indexes: &[
            Index::Of("resource", &["resource_type"]),
            Index::OfSome("actor_id"),
            Index::OfSome("tenant"),
        ],
    },
    AppendOnly {
        name: "audit_violation",
        columns: |types| {
            types.record([
                types.required_name("violation_type", 100),
                types.required_name("severity", 16),
                types.required_text("description"),
                types.text("details"),
                types.name("module", 100),
                types.name("resource_type", 255),
                types.name("resource_id", 1024),
                types.name("finding", 255),
            ])
        },
        indexes: &[
            Index::Unique("finding", &["finding"]),
            Index::Of("type", &["violation_type"]),
            Index::OfSome("actor_id"),
            Index::OfSome("tenant"),
        ],
    },
    AppendOnly {
        name: "audit_login_attempt",
        columns: |types| {
            types.record([
                types.required_name("username", 320),
                types.required_name("status", 16),
                types.text("failure_reason"),
                types.name("country", 100),
                types.name("region", 100),
                types.name("city", 100),
                ColumnDef::new("latitude").double().take(),
                ColumnDef::new("longitude").double().take(),
            ])
        },
        indexes: &[
            Index::Of("username", &["username"]),
            Index::OfSome("ip_address"),
            Index::OfSome("tenant"),
        ],
    },
    AppendOnly {
        name: "audit_system_event",
        columns: |types| {
            types.record([
                types.required_name("event_type", 16),
                types.required_text("title"),
                types.text("description"),
                types.name("module", 255),
                types.name("function", 255),
                types.name("file", 255),
                ColumnDef::new("line").integer().take(),
                types.name("error_code", 100),
                types.text("stack_trace"),
            ])
        },
        indexes: &[Index::Of("type", &["event_type"]), Index::OfSome("tenant")],
    },
    AppendOnly {
        name: "audit_transition",
        columns: |types| {
            types.record([
                types.required_name("record_table", 64),
                types.uuid("record_id").not_null().take(),
                ColumnDef::new("step").integer().not_null().take(),
                types.required_name("status", 16),
                types.text("notes"),
            ])
        },
        // Of two steps that are taken at once one fails.
        indexes: &[Index::Unique("step", &["record_id", "step"]), Index::OfSome("tenant")],
    },
];

/// Where each violation and each event stands. A view, because the records never change.
const STATUS: &str = include_str!("sql/status.sql");

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (at, table) in TABLES.iter().enumerate() {
            if let Err(error) = table.up(manager).await {
                // MySQL commits each by itself: what is there already would be in the way of the next attempt.
                return Err(take_back(manager, &TABLES[..at], error).await);
            }
        }
        if manager.get_database_backend() != DbBackend::Postgres {
            // SeaORM's `fresh` drops tables and leaves the views on them.
            manager.get_connection().execute_unprepared("DROP VIEW IF EXISTS audit_status").await?;
        }
        match manager.get_connection().execute_unprepared(STATUS).await {
            Ok(_) => Ok(()),
            Err(error) => Err(take_back(manager, &TABLES, error).await),
        }
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP VIEW audit_status").await?;
        for table in TABLES.iter().rev() {
            table.down(manager).await?;
        }
        Ok(())
    }
}

/// Drops what this migration has made, where that isn't undone by itself.
async fn take_back(manager: &SchemaManager<'_>, made: &[AppendOnly], error: DbErr) -> DbErr {
    if manager.get_database_backend() == DbBackend::Postgres {
        return error;
    }
    for table in made.iter().rev() {
        if let Err(leftover) = table.down(manager).await {
            return DbErr::Migration(format!("{error}; then, dropping what was made before: {leftover}"));
        }
    }
    error
}
