//! Alerts about violations: which notifiers there are, and how far the delivery of each alert has come. These two tables
//! are no records; they change, and have no guards.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::collation::create_table;
use crate::types::Types;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const ALERT: &str = "audit_alert";
const NOTIFIER: &str = "audit_notifier";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            let transaction = manager.begin().await?;
            create(&transaction).await?;
            return transaction.commit().await;
        }
        // SeaORM already runs a migration on PostgreSQL in a transaction.
        create_table(manager, notifiers(manager.get_database_backend())).await?;
        let Err(error) = create_alerts(manager).await else { return Ok(()) };
        if manager.get_database_backend() == DbBackend::MySql {
            // MySQL commits each by itself: what is there already would be in the way of the next attempt.
            manager.drop_table(drop(NOTIFIER)).await?;
        }
        Err(error)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(drop(ALERT)).await?;
        manager.drop_table(drop(NOTIFIER)).await
    }
}

async fn create(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    create_table(manager, notifiers(manager.get_database_backend())).await?;
    create_alerts(manager).await
}

async fn create_alerts(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    // With its indexes in one statement where that can be, so that there is nothing to take back.
    let (one, due) = (one_for_each(), due(backend));
    let mut table = alerts(backend);
    if backend == DbBackend::MySql {
        return create_table(manager, table.index(&mut one.clone()).index(&mut due.clone()).take()).await;
    }
    create_table(manager, table).await?;
    manager.create_index(one).await?;
    manager.create_index(due).await
}

/// One row for each notifier that there ever was.
fn notifiers(backend: DbBackend) -> TableCreateStatement {
    let types = Types(backend);
    Table::create()
        .table(NOTIFIER)
        .col(types.required_name("name", 100).primary_key())
        .col(types.moment("since").not_null())
        .take()
}

/// One row for each violation and notifier.
fn alerts(backend: DbBackend) -> TableCreateStatement {
    let types = Types(backend);
    Table::create()
        .table(ALERT)
        .col(types.uuid("id").not_null().primary_key())
        .col(types.uuid("violation_id").not_null())
        .col(types.required_name("notifier", 100))
        .col(types.name("tenant", 255))
        .col(types.required_name("state", 16))
        .col(ColumnDef::new("attempts").integer().not_null())
        .col(types.moment("due_at").not_null())
        .col(types.text("last_error"))
        .col(types.moment("created_at").not_null())
        .col(types.moment("changed_at").not_null())
        .take()
}

/// No violation has two alerts for one notifier, however many workers look for those that have none.
fn one_for_each() -> IndexCreateStatement {
    Index::create()
        .name("idx_audit_alert_violation")
        .table(ALERT)
        .col("violation_id")
        .col("notifier")
        .unique()
        .take()
}

/// What is to be sent next. What has been sent isn't in it, where the database has partial indexes.
fn due(backend: DbBackend) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name("idx_audit_alert_due").table(ALERT).col("state").col("notifier").col("due_at");
    if backend != DbBackend::MySql {
        index.and_where(Expr::col("state").ne("delivered"));
    }
    index.take()
}

fn drop(name: &'static str) -> TableDropStatement {
    Table::drop().table(name).take()
}
