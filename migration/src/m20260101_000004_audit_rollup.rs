//! `audit_rollup`: counts of entries by day, hour and quarter of an hour, and how far they reach (`audit_rollup_place`,
//! `audit_rollup_gap`).
//!
//! These are derived from `audit_log` and can be made again from it, so they have no guards.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::collation::create_table;
use crate::types::Types;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[derive(Clone, Copy, DeriveIden)]
enum AuditRollup {
    Table,
    Scope,
    Dimension,
    Grain,
    Start,
    Value,
    Total,
    Failed,
    Security,
    FirstSeq,
    LastSeq,
}

#[derive(Clone, Copy, DeriveIden)]
enum AuditRollupPlace {
    Table,
    Id,
    Through,
    Runs,
}

#[derive(Clone, Copy, DeriveIden)]
enum AuditRollupGap {
    Table,
    FirstSeq,
    LastSeq,
    Noticed,
    Writers,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Sqlite => {
                let transaction = manager.begin().await?;
                create(&transaction).await?;
                transaction.commit().await
            }
            DbBackend::MySql => {
                // Each DDL statement is committed by itself: what a failed attempt made would be in the way of the next.
                for table in [
                    table_name(AuditRollup::Table),
                    table_name(AuditRollupPlace::Table),
                    table_name(AuditRollupGap::Table),
                ] {
                    if manager.has_table(&table).await? {
                        return Err(DbErr::Migration(format!("the table `{table}` exists already")));
                    }
                }
                let Err(error) = create(manager).await else { return Ok(()) };
                match drop(manager).await {
                    Ok(()) => Err(error),
                    Err(leftover) => Err(DbErr::Migration(format!("{error}; then, cleaning up: {leftover}"))),
                }
            }
            // SeaORM already runs a migration on PostgreSQL in a transaction.
            _ => create(manager).await,
        }
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager).await
    }
}

fn table_name(table: impl Iden) -> String {
    table.to_string()
}

async fn create(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    for table in [counts(backend), place(), gaps(backend)] {
        create_table(manager, table).await?;
    }
    let start = Query::insert()
        .into_table(AuditRollupPlace::Table)
        .columns([AuditRollupPlace::Id, AuditRollupPlace::Through, AuditRollupPlace::Runs])
        .values_panic([1.into(), 0.into(), 0.into()])
        .take();
    manager.execute(start).await
}

async fn drop(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager.drop_table(Table::drop().table(AuditRollupGap::Table).if_exists().take()).await?;
    manager.drop_table(Table::drop().table(AuditRollupPlace::Table).if_exists().take()).await?;
    manager.drop_table(Table::drop().table(AuditRollup::Table).if_exists().take()).await
}

/// The key is the order in which questions read: one sort of count, in one size of period, from one to the other.
fn counts(backend: DbBackend) -> TableCreateStatement {
    use AuditRollup as R;
    let types = Types(backend);
    Table::create()
        .table(R::Table)
        // A tenant with `=` before it, or nothing for all.
        .col(types.name(R::Scope, 256).not_null())
        .col(ColumnDef::new(R::Dimension).small_integer().not_null())
        // In quarters of an hour, as is the start since 1970.
        .col(ColumnDef::new(R::Grain).small_integer().not_null())
        .col(ColumnDef::new(R::Start).big_integer().not_null())
        // With `=` before it, or nothing for NULL.
        .col(types.name(R::Value, 256).not_null())
        .col(ColumnDef::new(R::Total).big_integer().not_null())
        .col(ColumnDef::new(R::Failed).big_integer().not_null())
        .col(ColumnDef::new(R::Security).big_integer().not_null())
        // Between which entries those of this period are.
        .col(ColumnDef::new(R::FirstSeq).big_integer().not_null())
        .col(ColumnDef::new(R::LastSeq).big_integer().not_null())
        .primary_key(
            Index::create().col(R::Scope).col(R::Dimension).col(R::Grain).col(R::Start).col(R::Value),
        )
        .take()
}

/// One row: up to which entry all are counted, and how often that was moved.
fn place() -> TableCreateStatement {
    use AuditRollupPlace as P;
    Table::create()
        .table(P::Table)
        .col(ColumnDef::new(P::Id).small_integer().not_null().primary_key())
        .col(ColumnDef::new(P::Through).big_integer().not_null())
        .col(ColumnDef::new(P::Runs).big_integer().not_null())
        .take()
}

/// Numbers below that place of which no entry has been seen yet.
fn gaps(backend: DbBackend) -> TableCreateStatement {
    use AuditRollupGap as G;
    Table::create()
        .table(G::Table)
        .col(ColumnDef::new(G::FirstSeq).big_integer().not_null().primary_key())
        .col(ColumnDef::new(G::LastSeq).big_integer().not_null())
        .col(ColumnDef::new(G::Noticed).big_integer().not_null())
        .col(Types(backend).text(G::Writers))
        .take()
}
