//! A bank in which everything is on record: `account` is the entity, `bank` what can be done, `story` who does it.

pub mod account;
pub mod bank;
pub mod story;

use audit_migration::{Migrator, MigratorTrait};
use audit_seaorm::{Audit, AuditConnection};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, Schema};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed, or refused.
    #[error(transparent)]
    Database(#[from] sea_orm::DbErr),
    /// It could not be recorded.
    #[error(transparent)]
    Audit(#[from] audit_seaorm::Error),
    /// The file of an export could not be written.
    #[error("the file of the export: {0}")]
    File(#[from] std::io::Error),
    /// No such account.
    #[error("there is no active account {0}")]
    NoAccount(i64),
    /// There isn't that much in the account. How much there is stays out of the error.
    #[error("insufficient funds in account {0}")]
    NoFunds(i64),
}

/// Opens a database and creates what isn't there yet. From then on every statement over the connection is captured.
///
/// # Errors
/// If the database can't be opened or written.
pub async fn open(url: &str) -> Result<AuditConnection, Error> {
    let mut options = ConnectOptions::new(url);
    options.sqlx_logging(false);
    let db = Database::connect(options).await?;
    Migrator::up(&db, None).await?;
    let mut table = Schema::new(db.get_database_backend()).create_table_from_entity(account::Entity);
    db.execute(table.if_not_exists()).await?;
    Ok(Audit::builder().build()?.connect(db))
}
