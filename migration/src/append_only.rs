//! Tables that are only ever added to: created together with their indexes and guards, or not at all.
//!
//! The guards are plain SQL for a DBA to read, in `sql/`, with `{table}` for the table's name.
//!
//! **Invariant:** nothing here changes what a released migration does.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::collation::create_table;
use crate::types::Types;

/// A table of records.
pub(crate) struct AppendOnly {
    pub(crate) name: &'static str,
    pub(crate) columns: fn(Types) -> Vec<ColumnDef>,
    pub(crate) indexes: &'static [Index],
}

/// An index, in the order of `seq` after its columns unless it is unique. Each costs every record.
pub(crate) enum Index {
    /// On a column that may be NULL; what is NULL isn't in it, where the database has partial indexes.
    OfSome(&'static str),
    /// On these columns.
    Of(&'static str, &'static [&'static str]),
    /// On these columns, and no two rows have the same.
    Unique(&'static str, &'static [&'static str]),
}

impl AppendOnly {
    /// Creates the table, its indexes and its guards.
    pub(crate) async fn up(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            // SeaORM already runs a migration on PostgreSQL in a transaction.
            DbBackend::Postgres => self.create(manager).await,
            DbBackend::Sqlite => {
                let transaction = manager.begin().await?;
                self.create(&transaction).await?;
                transaction.commit().await
            }
            DbBackend::MySql => self.up_mysql(manager).await,
            other => Err(self.unsupported(other)),
        }
    }

    /// Drops it with all its records.
    pub(crate) async fn down(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Postgres | DbBackend::MySql => self.drop(manager).await,
            DbBackend::Sqlite => {
                let transaction = manager.begin().await?;
                self.drop(&transaction).await?;
                transaction.commit().await
            }
            other => Err(self.unsupported(other)),
        }
    }

    /// MySQL commits each DDL statement by itself, so what a failed attempt made is dropped here: a table without its
    /// guards would accept everything, and be in the way of the next attempt.
    async fn up_mysql(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        // Else the clean-up could not tell somebody else's table from ours. The name is that in `sql/mysql`.
        let guard = format!("{}_truncate_guard", self.name);
        if manager.has_table(&guard).await? {
            return Err(DbErr::Migration(format!("the table `{guard}` exists already")));
        }
        create_table(manager, self.table(DbBackend::MySql)).await?;
        let Err(error) = self.secure(manager).await else { return Ok(()) };
        match self.drop(manager).await {
            Ok(()) => Err(error),
            Err(leftover) => {
                Err(DbErr::Migration(format!("{error}; then, dropping the unguarded table: {leftover}")))
            }
        }
    }

    async fn create(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        create_table(manager, self.table(manager.get_database_backend())).await?;
        self.secure(manager).await
    }

    fn table(&self, backend: DbBackend) -> TableCreateStatement {
        let types = Types(backend);
        let mut table = Table::create();
        table
            .table(self.name)
            .col(types.sequence("seq").primary_key())
            .col(types.uuid("id").not_null().unique_key());
        for column in (self.columns)(types) {
            table.col(column);
        }
        // The guard against INSERT OR REPLACE can't tell an explicit seq of -1 from none (see there).
        if backend == DbBackend::Sqlite {
            table.check(Check::named(format!("{}_seq", self.name), Expr::cust("seq > 0")));
        }
        table
    }

    fn index(&self, index: &Index, backend: DbBackend) -> IndexCreateStatement {
        let mut statement = sea_orm_migration::prelude::Index::create();
        let named = |name: &str| format!("idx_{}_{name}", self.name);
        match index {
            Index::OfSome(column) => {
                statement.name(named(column.trim_end_matches("_id"))).col(*column).col("seq");
                // MySQL has no partial indexes.
                if backend != DbBackend::MySql {
                    statement.and_where(Expr::col(*column).is_not_null());
                }
            }
            Index::Of(name, columns) => {
                statement.name(named(name));
                for column in *columns {
                    // InnoDB's limit is 3072 bytes, 4 to a character: twice 255 characters and the number's 8 bytes stay below it.
                    if backend == DbBackend::MySql && *column == "resource_id" {
                        statement.col((*column, 255));
                    } else {
                        statement.col(*column);
                    }
                }
                statement.col("seq");
            }
            Index::Unique(name, columns) => {
                statement.name(named(name)).unique();
                for column in *columns {
                    statement.col(*column);
                }
            }
        }
        statement.table(self.name).take()
    }

    /// Indexes and guards.
    async fn secure(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        for index in self.indexes {
            manager.create_index(self.index(index, backend)).await?;
        }
        let guard = match backend {
            DbBackend::Postgres => include_str!("sql/postgres/guard.sql"),
            DbBackend::MySql => include_str!("sql/mysql/guard.sql"),
            _ => include_str!("sql/sqlite/guard.sql"),
        };
        self.run(manager, guard).await
    }

    async fn drop(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let script = match manager.get_database_backend() {
            DbBackend::Postgres => include_str!("sql/postgres/drop.sql"),
            DbBackend::MySql => include_str!("sql/mysql/drop.sql"),
            _ => include_str!("sql/sqlite/drop.sql"),
        };
        self.run(manager, script).await
    }

    async fn run(&self, manager: &SchemaManager<'_>, script: &str) -> Result<(), DbErr> {
        let script = script.replace("{table}", self.name);
        manager.get_connection().execute_unprepared(&script).await.map(|_| ())
    }

    fn unsupported(&self, backend: DbBackend) -> DbErr {
        DbErr::BackendNotSupported { db: backend.as_str(), ctx: self.name }
    }
}
