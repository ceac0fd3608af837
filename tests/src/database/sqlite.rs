//! SQLite: a file in a directory of its own.

use std::path::PathBuf;

use sea_orm::{Database, DbBackend, DbErr};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{Home, Start, TestDb, migrate, name, options};

pub(super) async fn create(start: Start) -> Result<TestDb, DbErr> {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    SWEPT.get_or_init(async || sweep()).await;

    let directory = tempfile::Builder::new()
        .prefix(&format!("{}_", name::fresh()))
        .tempdir()
        .map_err(|e| DbErr::Custom(format!("a temporary directory: {e}")))?;
    let url = format!("sqlite://{}?mode=rwc", file_in(&directory).display());
    let db = Database::connect(options(&url)).await?;
    if start == Start::Migrated {
        migrate(&db).await?;
    }
    Ok(TestDb { db, backend: DbBackend::Sqlite, url, home: Home::File(directory) })
}

pub(super) fn file_in(directory: &TempDir) -> PathBuf {
    directory.path().join("test.db")
}

/// Another process may sweep the same: what is gone already is no error.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if name::is_leftover(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
