//! The audit tables and their append-only guards, as SeaORM migrations for PostgreSQL, MySQL, MariaDB and SQLite.
//!
//! # Three ways to run it
//!
//! Beside your own migrator, on the same database: [`Migrator`] keeps its own table of applied migrations
//! (`audit_migrations`), so that neither sees the other's.
//!
//! ```no_run
//! use audit_migration::{Migrator, MigratorTrait};
//!
//! # async fn prepare(db: &sea_orm_migration::sea_orm::DatabaseConnection) -> Result<(), sea_orm_migration::DbErr> {
//! Migrator::up(db, None).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Inside your own migrator, where the audit tables shall come and go with the others:
//!
//! ```
//! use sea_orm_migration::prelude::*;
//!
//! struct MyMigrator;
//!
//! impl MigratorTrait for MyMigrator {
//!     fn migrations() -> Vec<Box<dyn MigrationTrait>> {
//!         let mut all = audit_migration::migrations();
//!         all.extend([/* Box::new(m20260201_000001_bank_account::Migration) as _ */]);
//!         all
//!     }
//! }
//! # assert!(!MyMigrator::migrations().is_empty());
//! ```
//!
//! From a shell, with the feature `cli` and that of the backend: `audit-migration up -u postgres://localhost/bank`.
//! It is SeaORM's usual migrator program (`up`, `down`, `status`, ...), without `fresh`: see [`Migrator`].
//!
//! # What the guards refuse
//!
//! Entries are only ever added. The database itself refuses everything else, with the message
//! `audit_log is append-only: <operation> refused` (or the name of another of these tables):
//!
//! | | PostgreSQL | MySQL, MariaDB | SQLite |
//! |---|---|---|---|
//! | `UPDATE`, `DELETE`, upserts that update | trigger | trigger | trigger |
//! | `TRUNCATE` | trigger | foreign key `audit_log_is_append_only` | has none |
//! | `REPLACE`, `INSERT OR REPLACE` of an entry | has none | trigger (it is a `DELETE` there) | trigger |
//! | `session_replication_role = replica` | trigger fires all the same | has none | has none |
//!
//! An `INSERT` behaves as on any table: a duplicate id is a unique violation, and `ON CONFLICT DO NOTHING`,
//! `INSERT OR IGNORE` and `INSERT IGNORE` skip it.
//!
//! # What they can't refuse
//!
//! Who owns the table can drop it, or its guards; on MySQL whoever has the `DROP` privilege can also truncate it after
//! `SET foreign_key_checks = 0`. So let the application connect as a user that has only `SELECT` and `INSERT` on the tables
//! of records, and run migrations as another. The workers keep tables of their own, which are no record and have no guards:
//! who runs them needs `UPDATE` and `DELETE` as well on `audit_rollup`, `audit_rollup_place`, `audit_rollup_gap`
//! (statistics), `audit_detector`, `audit_detector_state` (rules), `audit_alert` and `audit_notifier` (alerts).
//!
//! # Privileges
//!
//! PostgreSQL: `CREATE` on the schema. MySQL and MariaDB: `CREATE`, `INDEX`, `REFERENCES` and `TRIGGER`; where binary logging
//! is on (the default of MySQL 8), the server lets only administrators create triggers unless
//! `log_bin_trust_function_creators` is set.
//!
//! # Features
//!
//! `sqlite`, `postgres` and `mysql` forward to SeaORM's drivers, `cli` builds the binary, `suspended` brings the function of that name,
//! for migrations of your own that write rows of audited entities. None is on by default.

// Libraries print nothing and don't panic; tests may.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod append_only;
mod collation;
mod m20260101_000001_audit_log;
mod m20260101_000002_audit_query;
mod m20260101_000003_audit_records;
mod m20260101_000004_audit_rollup;
mod m20260101_000005_audit_alert;
mod m20260101_000006_audit_detector;
#[cfg(feature = "suspended")]
mod suspended;
mod types;

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;
#[cfg(feature = "suspended")]
pub use suspended::suspended;

/// The migrations of the audit tables in their order, for a migrator of your own.
///
/// Names of released migrations never change, and what a released migration does never changes.
#[must_use]
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(m20260101_000001_audit_log::Migration),
        Box::new(m20260101_000002_audit_query::Migration),
        Box::new(m20260101_000003_audit_records::Migration),
        Box::new(m20260101_000004_audit_rollup::Migration),
        Box::new(m20260101_000005_audit_alert::Migration),
        Box::new(m20260101_000006_audit_detector::Migration),
    ]
}

/// SeaORM migrator of the audit tables alone; what it has applied stands in the table `audit_migrations`.
///
/// `down`, `reset` and `refresh` drop the audit tables **with all their entries**. `fresh` is refused: SeaORM defines
/// it as dropping every table of the database, which would take the application's own tables along.
#[derive(Clone, Copy, Debug, Default)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        migrations()
    }

    fn migration_table_name() -> sea_orm::DynIden {
        Alias::new("audit_migrations").into_iden()
    }

    /// Always an error, and nothing is changed: see [`Migrator`].
    async fn fresh<'c, C>(_db: C) -> Result<(), DbErr>
    where
        C: IntoSchemaManagerConnection<'c>,
    {
        Err(DbErr::Migration(
            "`fresh` would drop every table of this database, not only the audit tables: use `refresh`"
                .to_owned(),
        ))
    }
}
