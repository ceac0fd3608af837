//! An application's own migrations, none of whose writes are recorded.

use audit_seaorm::{Audit, suspended as rest};
use sea_orm_migration::prelude::*;

/// These migrations with the audit at rest: nothing that they write is recorded, whichever connection they write over.
///
/// Over the connection that a migration is given nothing is recorded anyway. But SeaORM doesn't tell a transaction that a migration
/// begins from one that the application begins; so one that does so, as saving a graph of active models does, has to be told.
/// What it leaves to `tokio::spawn` isn't its own any more; `audit_seaorm::spawn` keeps to it. `log_migrations` of the installed audit's
/// configuration undoes all of this.
///
/// ```
/// use sea_orm_migration::prelude::*;
///
/// struct Migrator;
///
/// impl MigratorTrait for Migrator {
///     fn migrations() -> Vec<Box<dyn MigrationTrait>> {
///         audit_migration::suspended(vec![/* Box::new(m20260201_000001_bank_account::Migration) */])
///     }
/// }
/// ```
#[must_use]
pub fn suspended(migrations: Vec<Box<dyn MigrationTrait>>) -> Vec<Box<dyn MigrationTrait>> {
    migrations.into_iter().map(|migration| Box::new(Suspended(migration)) as _).collect()
}

struct Suspended(Box<dyn MigrationTrait>);

impl MigrationName for Suspended {
    fn name(&self) -> &str {
        self.0.name()
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Suspended {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if Audit::current().config().log_migrations {
            return self.0.up(manager).await;
        }
        rest(self.0.up(manager)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if Audit::current().config().log_migrations {
            return self.0.down(manager).await;
        }
        rest(self.0.down(manager)).await
    }

    fn use_transaction(&self) -> Option<bool> {
        self.0.use_transaction()
    }
}
