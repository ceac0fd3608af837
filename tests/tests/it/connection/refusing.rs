//! I1, C19: a database that refuses the entries: no table for them, a full disk, read-only. The write is refused with
//! them, by an error that says why and holds no value.

use std::path::{Path, PathBuf};
use std::process::Command;

use audit_seaorm::{is_audit_error, suspended};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, Database, DbErr, TransactionTrait};

use super::sessions::{VALUE, assert_told, audited, library, look, now, single, writes};
use crate::fixtures::{drop_audit_table, entries};

/// The error of a refused write names its cause, and no value.
fn assert_named(error: &DbErr, causes: &[&str]) {
    let text = error.to_string();
    assert!(causes.iter().any(|cause| text.contains(cause)), "{text}");
    assert!(!text.contains(VALUE), "{text}");
}

db_test!(i1_without_its_table_nothing_is_written, async |t| {
    let before = library(t).await;
    drop_audit_table(t).await;
    let db = audited(&t.db);
    for sql in writes(t) {
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error), "{error}");
        assert_named(&error, &["run the audit migrations"]);
        let transaction = db.begin().await.unwrap();
        let error = transaction.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error), "{error}");
        assert_named(&error, &["run the audit migrations"]);
        transaction.rollback().await.unwrap();
        assert_eq!(now(t).await, before, "{sql}");
    }
});

db_test!(c17_the_tables_of_the_audit_are_not_changed_in_passing, async |t| {
    library(t).await;
    let db = audited(&t.db);
    let guards: &[&str] = t.pick(
        &["DROP TRIGGER audit_log_refuse_delete", "DROP TRIGGER IF EXISTS main.\"audit_query_refuse_replace\""],
        &[
            "DROP FUNCTION audit_log_refuse_change() CASCADE",
            "CREATE OR REPLACE FUNCTION audit_log_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
            "DO $$ BEGIN DROP FUNCTION audit_log_refuse_change CASCADE; END $$",
            "DROP TRIGGER audit_log_append_only ON audit_log",
            "DROP SCHEMA public CASCADE",
        ],
        &["DROP TRIGGER audit_log_refuse_delete", "DROP TABLE audit_log_truncate_guard", "DROP DATABASE nowhere"],
    );
    for sql in [
        "DROP TABLE audit_log",
        "DROP TABLE AUDIT_VIOLATION",
        "ALTER TABLE audit_export ADD COLUMN more INT",
        "ALTER TABLE audit_query RENAME TO elsewhere",
        "DROP TABLE audit_alert",
        "DROP TABLE audit_rollup",
        "DROP VIEW audit_status",
    ]
    .iter()
    .chain(guards)
    {
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error), "{error}");
        assert_named(&error, &["is the audit's own", "may empty them unseen: DROP"]);
        // What destroys the log would take the entry with it that says who did.
        let own = error.to_string().contains("is the audit's own");
        assert_eq!(own, !error.to_string().contains("without_audit"), "{error}");
        if error.to_string().contains("is the audit's own") {
            // Nor while the audit rests, which leaves no entry.
            let error = suspended(db.execute_unprepared(sql)).await.expect_err(sql);
            assert_named(&error, &["is the audit's own"]);
        }
    }
    let read = suspended(db.execute_unprepared("SELECT count(*) FROM audit_log")).await;
    read.expect("what doesn't redefine them is let through");
    // Whatever the migrations make is the audit's own.
    let made = t.pick(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name GLOB 'audit_*'",
        "SELECT table_name::text FROM information_schema.tables WHERE table_name LIKE 'audit\\_%'",
        "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_name LIKE 'audit\\_%'",
    );
    let made = t.column::<String>(made).await.unwrap();
    assert!(made.len() >= 15, "{made:?}");
    for name in made {
        let error = db.execute_unprepared(&format!("DROP TABLE {name}")).await.expect_err(&name);
        assert_named(&error, &["is the audit's own"]);
    }
    // Who says why may do it, and it leaves an entry.
    let done = db
        .without_audit("an old column", async |db| {
            db.execute_unprepared("ALTER TABLE audit_export ADD COLUMN more INT").await
        })
        .await;
    done.unwrap().unwrap();
    let last = entries(t).await.pop().unwrap();
    assert_eq!((last.action.as_str(), last.reason.as_deref()), ("audit_suspended", Some("an old column")));
});

// Where the guards were gone, nothing refused it.
db_test!(c17_records_are_neither_changed_nor_deleted_over_the_connection, async |t| {
    library(t).await;
    let db = audited(&t.db);
    db.execute_unprepared("UPDATE loan SET reader = 'x' WHERE id = 1").await.unwrap();
    let guards: &[&str] = t.pick(
        &[
            "DROP TRIGGER audit_log_refuse_delete",
            "DROP TRIGGER audit_log_refuse_update",
            "DROP TRIGGER audit_log_refuse_replace",
        ],
        &["DROP TRIGGER audit_log_append_only ON audit_log"],
        &["DROP TRIGGER audit_log_refuse_delete", "DROP TRIGGER audit_log_refuse_update"],
    );
    for sql in guards {
        t.execute(sql).await.unwrap();
    }
    let upsert = t.pick(
        "INSERT OR REPLACE INTO audit_log SELECT * FROM audit_log",
        "INSERT INTO audit_log SELECT * FROM audit_log ON CONFLICT (id) DO UPDATE SET action = 'read'",
        "REPLACE INTO audit_log SELECT * FROM audit_log",
    );
    let written = entries(t).await;
    assert_eq!(written.len(), 1);
    for sql in
        ["DELETE FROM audit_log", "UPDATE AUDIT_LOG SET action = 'read' WHERE action = 'update'", upsert]
    {
        if sql.contains("AUDIT_LOG") && t.backend == DbBackend::MySql {
            continue; // There it may be another table.
        }
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert_named(&error, &["holds the audit's records"]);
        let error = suspended(db.execute_unprepared(sql)).await.expect_err(sql);
        assert_named(&error, &["holds the audit's records"]);
        let transaction = db.begin().await.unwrap();
        let error = transaction.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error), "{error}");
        transaction.commit().await.unwrap();
    }
    assert_eq!(entries(t).await, written);
    assert_eq!(t.execute("DELETE FROM audit_log").await.unwrap().rows_affected(), 1);
});

db_test!(i1_a_read_only_database_refuses_as_without_audit, async |t| {
    let before = library(t).await;
    let pool = match t.backend {
        DbBackend::Sqlite => Database::connect(t.url.replace("mode=rwc", "mode=ro")).await.unwrap(),
        DbBackend::Postgres => {
            let name: String = t.value("SELECT current_database()::text").await.unwrap();
            t.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
                .await
                .unwrap();
            single(t).await
        }
        _ => {
            let pool = single(t).await;
            pool.execute_unprepared("SET SESSION TRANSACTION READ ONLY").await.unwrap();
            pool
        }
    };
    let db = audited(&pool);
    for sql in writes(t) {
        let (plain, refused) = (pool.execute_unprepared(sql).await, db.execute_unprepared(sql).await);
        assert_eq!(look(&plain), look(&refused), "{sql}: {refused:?}");
        assert_named(&refused.unwrap_err(), &["read-only", "readonly", "READ ONLY"]);
        let transaction = db.begin().await.unwrap();
        let refused = transaction.execute_unprepared(sql).await;
        assert_eq!(look(&plain), look(&refused), "{sql}: {refused:?}");
        transaction.rollback().await.unwrap();
    }
    assert_eq!(now(t).await, before);
    assert_eq!(entries(t).await, []);
});

db_test!(i1_a_full_disk_leaves_nothing_half_done, async |t| {
    let before = library(t).await;
    let pool = single(t).await;
    let Some(disk) = put_entries_on_a_small_disk(t, &pool).await else {
        println!(
            "skipped: i1_a_full_disk_leaves_nothing_half_done (no file system can be mounted for the server)"
        );
        return;
    };
    let db = audited(&pool);
    let error = write_until_refused(&db, &|n| {
        let rows: Vec<_> = (0..200).map(|at| format!("('r{n}', {at}, '{VALUE} {n}')")).collect();
        format!("INSERT INTO shelf (room, number, label) VALUES {}", rows.join(", "))
    })
    .await;
    assert_named(&error, FULL);
    assert_told(t, &before).await;
    let error =
        write_until_refused(&db, &|n| format!("UPDATE shelf SET label = '{VALUE} {n}' WHERE room = 'b'"))
            .await;
    assert_named(&error, FULL);
    assert_told(t, &before).await;
    // In a transaction of the user's, who commits whatever was said.
    let transaction = db.begin().await.unwrap();
    let error = write_until_refused(&transaction, &|n| {
        format!("UPDATE loan SET reader = '{VALUE} {n} {}' WHERE id = 1", "r".repeat(60))
    })
    .await;
    assert_named(&error, FULL);
    _ = transaction.commit().await;
    assert_told(t, &before).await;
    assert!(!entries(t).await.is_empty(), "the disk was full from the beginning");
    drop((db, pool));
    give_back(t, disk).await;
});

const FULL: &[&str] = &["disk is full", "No space left", "is full"];

async fn write_until_refused<C: ConnectionTrait>(db: &C, sql: &dyn Fn(u32) -> String) -> DbErr {
    for n in 0..5000 {
        if let Err(error) = db.execute_unprepared(&sql(n)).await {
            return error;
        }
    }
    panic!("the disk doesn't get full");
}

/// A file system of its own, in memory; gone when dropped.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// `None` where the right to mount isn't had.
    pub(crate) fn mount(name: &str, megabytes: u32) -> Option<Self> {
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).ok()?;
        let size = format!("size={megabytes}m,mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        _ = std::fs::remove_dir(&path);
        None
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn own(&self, user: &str) -> Option<&Path> {
        let done = Command::new("chown").arg(user).arg(&self.0).status().ok()?;
        done.success().then_some(&self.0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(&self.0).status();
        _ = std::fs::remove_dir(&self.0);
    }
}

/// Leaves the entries little room. `None` where that can't be had: it takes the right to mount, and a server on this
/// machine. On SQLite the connection itself limits its file.
async fn put_entries_on_a_small_disk(t: &TestDb, pool: &sea_orm::DatabaseConnection) -> Option<Option<Disk>> {
    if t.backend == DbBackend::Sqlite {
        let pages: i64 = t.value("PRAGMA page_count").await.unwrap();
        pool.execute_unprepared(&format!("PRAGMA max_page_count = {}", pages + 100)).await.unwrap();
        return Some(None);
    }
    if !t.url.contains("@127.0.0.1") && !t.url.contains("@localhost") {
        return None;
    }
    let name: String =
        t.value(t.pick("", "SELECT current_database()::text", "SELECT database()")).await.unwrap();
    let disk = Disk::mount(&name, 4)?;
    if t.backend == DbBackend::Postgres {
        let path = disk.own("postgres")?.display();
        t.execute(&format!("CREATE TABLESPACE {name} LOCATION '{path}'")).await.unwrap();
        t.execute(&format!("ALTER TABLE audit_log SET TABLESPACE {name}")).await.unwrap();
    } else {
        let path = disk.own("mysql")?.display();
        let row = sea_orm::Statement::from_string(t.backend, "SHOW CREATE TABLE audit_log");
        let row = t.db.query_one_raw(row).await.unwrap().unwrap();
        let create: String = row.try_get_by_index(1).unwrap();
        if !t.is_mariadb().await {
            println!("MySQL takes only folders that it knew when it was started");
            return None;
        }
        drop_audit_table(t).await;
        t.execute(&format!("{create} DATA DIRECTORY = '{path}'")).await.unwrap();
    }
    Some(Some(disk))
}

async fn give_back(t: &TestDb, disk: Option<Disk>) {
    match t.backend {
        DbBackend::Sqlite => {}
        DbBackend::Postgres => {
            let name: String = t.value("SELECT current_database()::text").await.unwrap();
            t.execute("DROP TABLE audit_log").await.unwrap();
            t.execute(&format!("DROP TABLESPACE {name}")).await.unwrap();
        }
        _ => _ = t.execute("DROP TABLE audit_log").await.unwrap(),
    }
    drop(disk);
}
