//! PostgreSQL: copies of a template that holds the audit tables.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement};
use tokio::sync::OnceCell;
use url::Url;

use super::{Home, Start, TestDb, connect_admin, migrate, name, options, with_database};
use crate::lock;

/// Templates begin with it and end with the build they belong to: `audit_tpl_<seconds>_<build>`.
const TEMPLATE: &str = "audit_tpl_";

/// A template older than that is made anew.
const USED_FOR: Duration = Duration::from_secs(3600);

/// And by then no process that took it over in time is still running.
const KEPT_FOR: Duration = Duration::from_secs(2 * 3600);

pub(super) async fn create(server: &Url, start: Start) -> Result<TestDb, DbErr> {
    // Once per process: a server that can't be reached fails the other tests at once, not each after its own wait.
    static READY: OnceCell<Result<(), String>> = OnceCell::const_new();
    READY
        .get_or_init(async || sweep(server).await.map_err(|e| e.to_string()))
        .await
        .clone()
        .map_err(DbErr::Custom)?;

    let admin = connect_admin(server).await?;
    let template = match start {
        Start::Raw => "template0",
        Start::Migrated => {
            static MADE: OnceCell<String> = OnceCell::const_new();
            MADE.get_or_try_init(|| template(server, &admin)).await?
        }
    };
    let name = name::fresh();
    create_database(&admin, &name, template).await?;
    admin.close().await?;

    let url = with_database(server, &name).to_string();
    Ok(TestDb {
        db: Database::connect(options(&url)).await?,
        backend: DbBackend::Postgres,
        url,
        home: Home::Server { admin: server.clone(), name },
    })
}

/// One at a time: copies of one template compete for the disk, not only for the lock.
async fn create_database(admin: &DatabaseConnection, name: &str, template: &str) -> Result<(), DbErr> {
    let _one = lock::exclusive("postgres-create").await;
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'"))
        .await
        .map(|_| ())
}

pub(super) async fn remove(admin: &DatabaseConnection, name: &str) -> Result<(), DbErr> {
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.map(|_| ())
}

/// The template of this build; made by the first process that needs it.
async fn template(server: &Url, admin: &DatabaseConnection) -> Result<String, DbErr> {
    let _one = lock::exclusive("postgres-template").await;
    let build = build();
    let ready = databases(admin, TEMPLATE)
        .await?
        .into_iter()
        .find(|(name, age)| name.ends_with(&format!("_{build:016x}")) && *age < USED_FOR);
    if let Some((name, _)) = ready {
        return Ok(name);
    }
    // Made under a test's name and renamed when complete: a killed process leaves no half-made template.
    let made = name::fresh();
    create_database(admin, &made, "template0").await?;
    let db = Database::connect(with_database(server, &made).as_str()).await?;
    migrate(&db).await?;
    // A database with a connection can be neither renamed nor copied.
    db.close().await?;
    let name = format!("{TEMPLATE}{}_{build:016x}", name::now().as_secs());
    admin.execute_unprepared(&format!("ALTER DATABASE {made} RENAME TO {name}")).await?;
    Ok(name)
}

/// The migrations are compiled into this executable: another one may have others.
fn build() -> u64 {
    let mut hasher = DefaultHasher::new();
    let path = std::env::current_exe().expect("the path of this executable");
    let file = std::fs::metadata(&path).expect("this executable");
    (path, file.len(), file.modified().ok()).hash(&mut hasher);
    hasher.finish()
}

/// Another process may sweep the same: what fails is left to the next.
async fn sweep(server: &Url) -> Result<(), DbErr> {
    let admin = connect_admin(server).await?;
    let tests =
        databases(&admin, name::PREFIX).await?.into_iter().filter(|(name, _)| name::is_leftover(name));
    let templates = databases(&admin, TEMPLATE).await?.into_iter().filter(|(_, age)| *age > KEPT_FOR);
    for (name, _) in tests.chain(templates) {
        let _ = remove(&admin, &name).await;
    }
    admin.close().await
}

/// Databases of that prefix, with their ages.
async fn databases(admin: &DatabaseConnection, prefix: &str) -> Result<Vec<(String, Duration)>, DbErr> {
    let list = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT datname::text FROM pg_database WHERE starts_with(datname, $1)",
        [prefix.into()],
    );
    let mut found = Vec::new();
    for row in admin.query_all_raw(list).await? {
        let name: String = row.try_get_by_index(0)?;
        if let Some(age) = name.strip_prefix(prefix).and_then(name::age) {
            found.push((name, age));
        }
    }
    Ok(found)
}
