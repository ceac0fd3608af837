//! `audit_detector`, how far the rules have looked, and `audit_detector_state`, what they remember.
//!
//! Both can be made again from the log, so they have no guards.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::collation::create_table;
use crate::types::Types;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const PLACE: &str = "audit_detector";
const STATE: &str = "audit_detector_state";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        if backend == DbBackend::MySql {
            // Each DDL statement is committed by itself: what a failed attempt made would be in the way of the next.
            for table in [PLACE, STATE] {
                if manager.has_table(table).await? {
                    return Err(DbErr::Migration(format!("the table `{table}` exists already")));
                }
            }
            let Err(error) = create(manager).await else { return Ok(()) };
            return match drop(manager).await {
                Ok(()) => Err(error),
                Err(leftover) => Err(DbErr::Migration(format!("{error}; then, cleaning up: {leftover}"))),
            };
        }
        if backend == DbBackend::Sqlite {
            let transaction = manager.begin().await?;
            create(&transaction).await?;
            return transaction.commit().await;
        }
        // SeaORM already runs a migration on PostgreSQL in a transaction.
        create(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager).await
    }
}

async fn create(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let types = Types(manager.get_database_backend());
    let place = vec![
        ColumnDef::new("id").small_integer().not_null().primary_key().take(),
        types.required_text("place"),
        types.number("runs").not_null().take(),
    ];
    let state = vec![
        types.name("id", 64).not_null().primary_key().take(),
        types.required_name("rule", 100),
        types.required_text("state"),
        // In seconds since 1970; NULL for ever.
        types.number("needed_until"),
    ];
    for (name, columns) in [(PLACE, place), (STATE, state)] {
        let mut table = Table::create();
        table.table(name);
        for column in columns {
            table.col(column);
        }
        let mysql = manager.get_database_backend() == DbBackend::MySql;
        if mysql && name == STATE {
            table.index(&mut needless());
        }
        create_table(manager, table).await?;
        if name == STATE && !mysql {
            manager.create_index(needless()).await?;
        }
    }
    let start = Query::insert()
        .into_table(PLACE)
        .columns(["id", "place", "runs"])
        .values_panic([1.into(), "{}".into(), 0.into()])
        .take();
    manager.execute(start).await
}

/// What can be forgotten.
fn needless() -> IndexCreateStatement {
    Index::create().name("idx_audit_detector_state_until").table(STATE).col("needed_until").take()
}

async fn drop(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager.drop_table(Table::drop().table(STATE).if_exists().take()).await?;
    manager.drop_table(Table::drop().table(PLACE).if_exists().take()).await
}
