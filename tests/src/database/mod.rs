//! A database of its own for each test.

mod mysql;
mod name;
mod postgres;
mod sqlite;

use std::path::PathBuf;
use std::time::Duration;

use audit_migration::{Migrator, MigratorTrait};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, ExecResult, Statement,
    TryGetable,
};
use tempfile::TempDir;
use url::Url;

use crate::settings::{Settings, name_of, variable_of};

/// What a test's database holds at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Raw,
    /// The audit tables.
    Migrated,
}

/// A fresh database, dropped with this value; connections that are still open then are cut.
#[derive(Debug)]
pub struct TestDb {
    /// A pool of at most 10 connections.
    pub db: DatabaseConnection,
    /// The dialect; MariaDB counts as [`DbBackend::MySql`].
    pub backend: DbBackend,
    /// Where the database is, for a connection made some other way. On SQLite such a connection lacks the harness's
    /// pragmas; [`TestDb::connect`] has them.
    pub url: String,
    home: Home,
}

#[derive(Debug)]
enum Home {
    File(TempDir),
    Server { admin: Url, name: String },
}

impl TestDb {
    /// With the audit tables.
    ///
    /// # Panics
    ///
    /// When the backend's variable is not set, or the database can't be made.
    pub async fn new(backend: DbBackend) -> Self {
        Self::start(backend, Start::Migrated).await
    }

    /// Without any table.
    ///
    /// # Panics
    ///
    /// As [`TestDb::new`].
    pub async fn raw(backend: DbBackend) -> Self {
        Self::start(backend, Start::Raw).await
    }

    /// Either.
    ///
    /// # Panics
    ///
    /// As [`TestDb::new`].
    pub async fn start(backend: DbBackend, start: Start) -> Self {
        let made = match backend {
            DbBackend::Sqlite => sqlite::create(start).await,
            DbBackend::Postgres => postgres::create(&server(backend), start).await,
            DbBackend::MySql => mysql::create(&server(backend), start).await,
            other => panic!("no tests on {}", other.as_str()),
        };
        made.unwrap_or_else(|error| panic!("a database on {} could not be made: {error}", name_of(backend)))
    }

    /// Another pool to the same database.
    ///
    /// # Errors
    ///
    /// When the database can't be reached.
    pub async fn connect(&self) -> Result<DatabaseConnection, DbErr> {
        Database::connect(options(&self.url)).await
    }

    /// The options of the harness's pools, to change before connecting.
    #[must_use]
    pub fn options(&self) -> ConnectOptions {
        options(&self.url)
    }

    /// The database file on SQLite; beside it stand `-wal` and `-shm`.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match &self.home {
            Home::File(directory) => Some(sqlite::file_in(directory)),
            Home::Server { .. } => None,
        }
    }

    /// The one of these that fits the backend.
    pub fn pick<T>(&self, sqlite: T, postgres: T, mysql: T) -> T {
        match self.backend {
            DbBackend::Sqlite => sqlite,
            DbBackend::Postgres => postgres,
            _ => mysql,
        }
    }

    /// Whether it is MariaDB, and not MySQL.
    ///
    /// # Panics
    ///
    /// When the database doesn't answer.
    pub async fn is_mariadb(&self) -> bool {
        self.backend == DbBackend::MySql
            && self.value::<String>("SELECT VERSION()").await.expect("a version").contains("MariaDB")
    }

    /// The sessions of MySQL and MariaDB in this database, with their states.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn sessions(&self) -> Result<Vec<(i64, String)>, DbErr> {
        mysql::sessions(&self.db, &self.value::<String>("SELECT DATABASE()").await?).await
    }

    /// Runs one or more statements as they stand.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn execute(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.db.execute_unprepared(sql).await
    }

    /// The first column of each row.
    ///
    /// # Errors
    ///
    /// The database's, or when a value is of another type.
    pub async fn column<T: TryGetable>(&self, sql: &str) -> Result<Vec<T>, DbErr> {
        let rows = self.db.query_all_raw(Statement::from_string(self.backend, sql)).await?;
        rows.iter().map(|row| row.try_get_by_index(0)).collect()
    }

    /// The first column of the only row.
    ///
    /// # Errors
    ///
    /// As [`TestDb::column`], and when there is not exactly one row.
    pub async fn value<T: TryGetable>(&self, sql: &str) -> Result<T, DbErr> {
        let mut values = self.column(sql).await?;
        match values.pop() {
            Some(value) if values.is_empty() => Ok(value),
            _ => Err(DbErr::Custom(format!("not exactly one row: {sql}"))),
        }
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let Home::Server { admin, name } = &self.home else { return };
        let backend = self.backend;
        // On a thread of its own, because this may run inside a runtime, in the middle of a panic.
        let dropped = std::thread::scope(|scope| {
            let remove = || -> Result<(), DbErr> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(|e| DbErr::Custom(e.to_string()))?.block_on(async {
                    let admin = connect_admin(admin).await?;
                    match backend {
                        DbBackend::Postgres => postgres::remove(&admin, name).await?,
                        _ => mysql::remove(&admin, name).await?,
                    }
                    admin.close().await
                })
            };
            scope.spawn(remove).join()
        });
        // No panic from here: the test's own is worth more, and a later run sweeps.
        match dropped {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("{name} was not dropped: {error}"),
            Err(_) => eprintln!("{name} was not dropped: panic"),
        }
    }
}

/// The server's URL as the variable gives it.
fn server(backend: DbBackend) -> Url {
    let Some(url) = Settings::get().url(backend) else { panic!("{} is not set", variable_of(backend)) };
    Url::parse(url).unwrap_or_else(|e| panic!("{}: {e}", variable_of(backend)))
}

/// The server's URL with another database.
fn with_database(server: &Url, name: &str) -> Url {
    let mut url = server.clone();
    url.set_path(name);
    url
}

/// The options of the harness's pools for a database of that URL, for another process that uses it.
#[must_use]
pub fn options(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(10)
        // A test that waits longer than this for a connection has leaked or deadlocked its pool.
        .acquire_timeout(Duration::from_secs(20))
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal)
                .busy_timeout(Duration::from_secs(20))
                .foreign_keys(true)
        });
    options
}

/// One connection, for CREATE and DROP DATABASE.
async fn connect_admin(server: &Url) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(server.as_str());
    options.max_connections(1).acquire_timeout(Duration::from_secs(20)).sqlx_logging(false);
    // Without the password.
    let place =
        format!("{}@{}:{}", server.username(), server.host_str().unwrap_or(""), server.port().unwrap_or(0));
    Database::connect(options).await.map_err(|e| DbErr::Custom(format!("{place} can't be reached: {e}")))
}

async fn migrate(db: &DatabaseConnection) -> Result<(), DbErr> {
    Migrator::up(db, None).await
}
