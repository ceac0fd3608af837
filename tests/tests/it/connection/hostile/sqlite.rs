//! SQLite's conflict clauses, and writes that are dropped while its triggers are armed.

use std::time::Duration;

use audit_seaorm::{Audit, AuditConnection};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, Database, Statement, TransactionTrait};

use super::{faithful, replay, run, shelves, single};
use crate::connection::connect;
use crate::fixtures::{entries, set_up_shelves};

db_test!(i2_insert_or_fail_in_a_transaction, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let transaction = db.begin().await.unwrap();
    transaction
        .execute_unprepared("INSERT OR FAIL INTO shelf VALUES ('n', 1, 'stays'), ('a', 1, 'dup')")
        .await
        .unwrap_err();
    transaction.commit().await.unwrap();
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_a_write_dropped_while_triggers_are_armed, on(sqlite), async |t| {
    use std::future::Future;
    set_up_shelves(t).await;
    let db = single(t).await;
    db.execute_unprepared("UPDATE shelf SET label = 'warm'").await.unwrap();
    let mut wrong = Vec::new();
    for polls in 1..14 {
        let (before, seen) = (shelves(t).await, entries(t).await.len());
        let transaction = db.begin().await.unwrap();
        {
            let mut write = Box::pin(
                transaction.execute_unprepared("UPDATE shelf SET label = label || 'y' WHERE room = 'b'"),
            );
            for _ in 0..polls {
                let done =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx).is_ready()))
                        .await;
                if done {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        let committed = transaction.commit().await;
        // Not for the record.
        db.without_audit("test", async |db| {
            db.execute_unprepared("UPDATE shelf SET label = 'quiet' WHERE room = 'a'").await
        })
        .await
        .unwrap()
        .unwrap();
        db.execute_unprepared("DELETE FROM shelf WHERE room = 'nobody'").await.unwrap();
        db.execute_unprepared("UPDATE shelf SET label = label || 'z' WHERE room = 'b'").await.unwrap();
        let mut after = shelves(t).await;
        for key in ["a/1", "a/2"] {
            after.insert(key.into(), before[key].clone());
        }
        let found = replay(t, before, seen).await;
        if found != Ok(after.clone()) {
            wrong.push(format!("{polls} polls ({committed:?}): {found:?} but {after:?}"));
        }
        db.without_audit("test", async |db| {
            db.execute_unprepared(&format!("UPDATE shelf SET label = 'q{polls}' WHERE room = 'a'")).await
        })
        .await
        .unwrap()
        .unwrap();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
});

db_test!(i2_insert_or_rollback, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = single(t).await;
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'a'").await.unwrap();
    transaction.execute_unprepared("INSERT OR ROLLBACK INTO shelf VALUES ('a', 1, 'dup')").await.unwrap_err();
    _ = transaction.execute_unprepared("UPDATE shelf SET label = label || 'y' WHERE room = 'b'").await;
    _ = transaction.commit().await;
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_a_replace_that_is_dropped_half_way, on(sqlite), async |t| {
    set_up_shelves(t).await;
    assert_nothing_is_left_on(t, "REPLACE INTO shelf VALUES ('a', 1, 'r')").await;
});

db_test!(i2_a_replace_by_definition_that_is_dropped_half_way, on(sqlite), async |t| {
    run(t, &[
        "CREATE TABLE shelf (room TEXT NOT NULL, number INT NOT NULL, label TEXT NOT NULL, PRIMARY KEY (room, number) ON CONFLICT REPLACE)",
        "INSERT INTO shelf VALUES ('a', 1, 'one')",
    ]).await;
    assert_nothing_is_left_on(t, "INSERT INTO shelf VALUES ('a', 1, 'r')").await;
});

db_test!(i4_recursive_triggers_stay_on, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let mut options = t.options();
    options.max_connections(1).map_sqlx_sqlite_opts(|options| {
        // The same as all of the harness's, and triggers that fire triggers.
        options.foreign_keys(true).pragma("recursive_triggers", "1")
    });
    let db = Audit::builder().build().unwrap().connect(Database::connect(options).await.unwrap());
    faithful(
        t,
        &db,
        &["REPLACE INTO shelf VALUES ('a', 1, 'r')", "UPDATE OR REPLACE shelf SET number = 1"],
        0,
    )
    .await;
    assert_eq!(recursive_triggers(&db).await, 1);
});

async fn recursive_triggers(db: &AuditConnection) -> i32 {
    let ask = "SELECT recursive_triggers AS n FROM pragma_recursive_triggers";
    let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, ask)).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// Drops a write at each of its await points: no setting of the connection stays changed.
async fn assert_nothing_is_left_on(t: &TestDb, sql: &str) {
    use std::future::Future;
    let db = single(t).await;
    db.execute_unprepared("UPDATE shelf SET label = 'warm'").await.unwrap();
    let mut wrong = Vec::new();
    for polls in 1..14 {
        let transaction = db.begin().await.unwrap();
        {
            let mut write = Box::pin(transaction.execute_unprepared(sql));
            for _ in 0..polls {
                let done =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx).is_ready()))
                        .await;
                if done {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        let done = transaction.commit().await;
        if recursive_triggers(&db).await != 0 {
            wrong.push(format!("{polls} polls: recursive_triggers is on ({done:?})"));
            _ = db
                .without_audit("test", async |db| {
                    db.execute_unprepared("PRAGMA recursive_triggers = 0").await
                })
                .await;
        }
        let row = db
            .query_one_raw(Statement::from_string(
                DbBackend::Sqlite,
                "SELECT armed AS n FROM temp.audit_capture_state",
            ))
            .await
            .unwrap()
            .unwrap();
        if row.try_get::<i32>("", "n").unwrap() != 0 {
            wrong.push(format!("{polls} polls: armed ({done:?})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
