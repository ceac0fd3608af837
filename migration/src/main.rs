//! `audit-migration`: SeaORM's migrator program for the audit tables.
//!
//! The database is that of `-u` or `DATABASE_URL`; on PostgreSQL `-s` or `DATABASE_SCHEMA` names the schema.

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!(
    "audit-migration needs a database: build it with --features cli and one of sqlite, postgres, mysql"
);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    sea_orm_migration::cli::run_cli(audit_migration::Migrator).await;
}
