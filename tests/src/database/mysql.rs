//! MySQL and MariaDB.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement};
use tokio::sync::OnceCell;
use url::Url;

use super::{Home, Start, TestDb, connect_admin, migrate, name, options, with_database};

pub(super) async fn create(server: &Url, start: Start) -> Result<TestDb, DbErr> {
    // The URL's own database need not exist.
    let admin_url = with_database(server, "");
    // Once per process: a server that can't be reached fails the other tests at once, not each after its own wait.
    static READY: OnceCell<Result<(), String>> = OnceCell::const_new();
    READY
        .get_or_init(async || sweep(&admin_url).await.map_err(|e| e.to_string()))
        .await
        .clone()
        .map_err(DbErr::Custom)?;

    let admin = connect_admin(&admin_url).await?;
    let name = name::fresh();
    admin.execute_unprepared(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await?;
    admin.close().await?;

    let url = with_database(server, &name).to_string();
    // From here on the guard drops it.
    let test = TestDb {
        db: Database::connect(options(&url)).await?,
        backend: DbBackend::MySql,
        url,
        home: Home::Server { admin: admin_url, name },
    };
    if start == Start::Migrated {
        migrate(&test.db).await?;
    }
    Ok(test)
}

/// Cuts the connections to it first: DROP DATABASE would wait for their transactions, by default for a day.
pub(super) async fn remove(admin: &DatabaseConnection, name: &str) -> Result<(), DbErr> {
    for (id, _) in sessions(admin, name).await? {
        // It may be gone by now.
        let _ = admin.execute_unprepared(&format!("KILL {id}")).await;
    }
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name}")).await.map(|_| ())
}

/// The sessions in a database, with their states.
///
/// Not from `information_schema`: MySQL 9 can't show its list while there is a character beyond the first plane in a statement. And
/// without those that ask that schema: while a session lists views, it seems to be in the database of each.
pub(super) async fn sessions(db: &DatabaseConnection, name: &str) -> Result<Vec<(i64, String)>, DbErr> {
    let mut found = Vec::new();
    for row in db.query_all_raw(Statement::from_string(DbBackend::MySql, "SHOW FULL PROCESSLIST")).await? {
        let statement = row.try_get::<Option<Vec<u8>>>("", "Info")?.unwrap_or_default();
        let lists = String::from_utf8_lossy(&statement).to_ascii_lowercase().contains("information_schema");
        if !lists && row.try_get::<Option<String>>("", "db")?.as_deref() == Some(name) {
            // Of MariaDB it is signed.
            let unsigned = row.try_get::<u64>("", "Id").map(u64::cast_signed);
            let id = unsigned.or_else(|_| row.try_get::<i64>("", "Id"))?;
            found.push((id, row.try_get::<Option<String>>("", "State")?.unwrap_or_default()));
        }
    }
    Ok(found)
}

/// Another process may sweep the same: what fails is left to the next.
async fn sweep(server: &Url) -> Result<(), DbErr> {
    let admin = connect_admin(server).await?;
    for row in admin.query_all_raw(Statement::from_string(DbBackend::MySql, "SHOW DATABASES")).await? {
        let name: String = row.try_get_by_index(0)?;
        if name::is_leftover(&name) {
            let _ = remove(&admin, &name).await;
        }
    }
    admin.close().await
}
