//! What the other modules rely on: databases of their own that go away.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use audit_tests::{BACKENDS, DbBackend, Settings, Start, TestDb, db_test};
use sea_orm::{ConnectionTrait, DbErr, TransactionTrait};

db_test!(each_test_has_a_database_of_its_own, async |t| -> Result<(), DbErr> {
    let other = TestDb::new(t.backend).await;
    assert_ne!(t.url, other.url);
    t.execute("CREATE TABLE mine (id int)").await?;
    assert!(other.execute("SELECT * FROM mine").await.is_err());
    assert_eq!(t.value::<i64>("SELECT count(*) FROM audit_log").await?, 0);
    assert_eq!(other.value::<i64>("SELECT count(*) FROM audit_log").await?, 0);
    Ok(())
});

db_test!(raw_is_empty, raw, async |t| {
    assert!(t.execute("SELECT * FROM audit_log").await.is_err());
});

db_test!(pools_take_ten_connections_at_once, async |t| -> Result<(), DbErr> {
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(t.db.begin().await?);
    }
    Ok(())
});

db_test!(sqlite_pragmas_hold_on_every_connection, on(sqlite), async |t| -> Result<(), DbErr> {
    let second = t.connect().await?;
    for db in [&t.db, &second] {
        let one = db.begin().await?;
        let two = db.begin().await?;
        for connection in [&one, &two] {
            for (pragma, expected) in
                [("journal_mode", "wal"), ("foreign_keys", "1"), ("busy_timeout", "20000")]
            {
                let statement = sea_orm::Statement::from_string(t.backend, format!("PRAGMA {pragma}"));
                let row = connection.query_one_raw(statement).await?.expect("a value");
                let value = row
                    .try_get_by_index::<String>(0)
                    .or_else(|_| row.try_get_by_index::<i64>(0).map(|n| n.to_string()));
                assert_eq!(value?, expected, "{pragma}");
            }
        }
    }
    Ok(())
});

/// Also with a transaction left open, whose locks would hold up the drop.
#[test]
fn a_panic_drops_the_database_too() {
    for backend in BACKENDS.into_iter().filter(|b| Settings::get().has(*b)) {
        let url = Mutex::new(String::new());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            audit_tests::run(backend, Start::Migrated, "a_panic_drops_the_database_too", async |t| -> () {
                t.execute("CREATE TABLE mine (id int)").await.expect("a table");
                *url.lock().expect("lock") = t.url.clone();
                let transaction = t.db.begin().await.expect("a transaction");
                transaction.execute_unprepared("INSERT INTO mine VALUES (1)").await.expect("a row");
                std::mem::forget(transaction);
                panic!("on purpose");
            });
        }));
        assert_eq!(
            *panicked.expect_err("it panics").downcast::<&str>().expect("its own message"),
            "on purpose"
        );

        let url = url.into_inner().expect("lock").replace("mode=rwc", "mode=rw");
        assert!(!url.is_empty());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let error = runtime.block_on(sea_orm::Database::connect(&url)).expect_err("the database is gone");
        let expected = match backend {
            DbBackend::Sqlite => "unable to open database file",
            DbBackend::Postgres => "does not exist",
            _ => "Unknown database",
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
#[should_panic(expected = "the test returned an error: Custom(\"on purpose\")")]
fn an_error_fails_the_test() {
    audit_tests::run(
        DbBackend::Sqlite,
        Start::Raw,
        "an_error_fails_the_test",
        async |_| -> Result<(), DbErr> { Err(DbErr::Custom("on purpose".to_owned())) },
    );
}
