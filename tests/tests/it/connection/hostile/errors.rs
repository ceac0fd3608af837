//! Errors and results are those of the database.

use audit_seaorm::is_audit_error;
use audit_tests::{DbBackend, db_test};
use sea_orm::{ConnectionTrait, TransactionTrait};

use super::{kind, knots, replay, run, shelves};
use crate::connection::connect;
use crate::fixtures::{entries, set_up_shelves};

db_test!(i2_kinds_of_errors, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let mut wrong = Vec::new();
    for sql in [
        "UPDATE shelf SET label = 'x' WHERE nothing = 1",
        "DELETE FROM shelf WHERE nothing = 1",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'dup')",
        "INSERT INTO shelf (room, number, label) SELECT room, number, label FROM shelf WHERE room = 'b'",
        "INSERT INTO shelf (room, number, label) SELECT nothing, number, label FROM shelf",
        "UPDATE shelf SET number = 1",
        "UPDATE shelf SET number = NULL",
    ] {
        let (plain, audited) = (kind(t.db.execute_unprepared(sql).await), db.execute_unprepared(sql).await);
        // There only the query knows the keys, and what NULL in a key becomes depends on the server's mode.
        let unknown = sql.contains("SELECT") || sql.ends_with("number = NULL");
        let refused = t.backend == DbBackend::MySql && unknown;
        assert_eq!(audited.as_ref().is_err_and(is_audit_error), refused, "{sql}: {audited:?}");
        if refused {
            continue;
        }
        let audited = kind(audited);
        if plain != audited {
            wrong.push(format!("{sql}: {plain} becomes {audited}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
});

db_test!(i2_the_error_of_a_lock_that_is_not_had, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let set = t.pick("", "SET LOCAL lock_timeout = '300ms'", "SET innodb_lock_wait_timeout = 1");
    let other = t.db.begin().await.unwrap();
    other.execute_unprepared("UPDATE shelf SET label = 'held'").await.unwrap();
    let sql = "UPDATE shelf SET label = 'x' WHERE room = 'a'";
    let plain = t.db.begin().await.unwrap();
    plain.execute_unprepared(set).await.unwrap();
    let expected = kind(plain.execute_unprepared(sql).await);
    plain.rollback().await.unwrap();
    let audited = db.begin().await.unwrap();
    audited.execute_unprepared(set).await.unwrap();
    let found = kind(audited.execute_unprepared(sql).await);
    other.rollback().await.unwrap();
    assert_eq!(expected, found);
});

db_test!(i2_several_statements_of_which_the_second_fails_in_a_transaction, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let transaction = db.begin().await.unwrap();
    transaction
        .execute_unprepared(
            "UPDATE shelf SET label = 'stays' WHERE room = 'b'; INSERT INTO shelf VALUES ('a', 1, 'dup')",
        )
        .await
        .unwrap_err();
    _ = transaction.commit().await;
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_serialization_failures_and_read_only_transactions, on(postgres, mysql), async |t| {
    knots(t, "a_id", "b_id").await;
    set_up_shelves(t).await;
    run(
        t,
        &["INSERT INTO hostile_knot VALUES (1, NULL, NULL)", "INSERT INTO hostile_knot VALUES (2, NULL, 1)"],
    )
    .await;
    let db = connect(t);
    let mut wrong = Vec::new();
    for sql in [
        "DELETE FROM hostile_knot WHERE id = 1",
        "UPDATE shelf SET label = 'x' WHERE room = 'a'",
        "INSERT INTO shelf VALUES ('new', 1, 'x')",
        "INSERT INTO shelf SELECT 'new', 7, label FROM shelf WHERE number = 99",
    ] {
        let plain = t.db.begin_with_config(None, Some(sea_orm::AccessMode::ReadOnly)).await.unwrap();
        let expected = kind(plain.execute_unprepared(sql).await);
        plain.rollback().await.unwrap();
        let audited = db.begin_with_config(None, Some(sea_orm::AccessMode::ReadOnly)).await.unwrap();
        let found = audited.execute_unprepared(sql).await;
        let (refused, found) = (found.as_ref().is_err_and(is_audit_error), kind(found));
        audited.rollback().await.unwrap();
        assert_eq!(refused, t.backend == DbBackend::MySql && sql.contains("SELECT"), "{sql}: {found}");
        if !refused && expected != found {
            wrong.push(format!("read only: {sql}: {expected} becomes {found}"));
        }
    }
    if t.db.get_database_backend() == DbBackend::Postgres {
        for (sql, other) in [
            ("DELETE FROM hostile_knot WHERE id = 1", "UPDATE hostile_knot SET a_id = NULL WHERE id = 1"),
            ("UPDATE shelf SET label = 'x' WHERE room = 'a'", "UPDATE shelf SET label = label || '!'"),
        ] {
            let level = Some(sea_orm::IsolationLevel::RepeatableRead);
            let plain = t.db.begin_with_config(level, None).await.unwrap();
            let audited = db.begin_with_config(level, None).await.unwrap();
            for tx in ["SELECT 1 FROM shelf"] {
                plain.execute_unprepared(tx).await.unwrap();
                audited.execute_unprepared(tx).await.unwrap();
            }
            t.execute(other).await.unwrap();
            let expected = kind(plain.execute_unprepared(sql).await);
            plain.rollback().await.unwrap();
            let found = kind(audited.execute_unprepared(sql).await);
            audited.rollback().await.unwrap();
            if expected != found {
                wrong.push(format!("repeatable read: {sql}: {expected} becomes {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
});

db_test!(i2_a_busy_database, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let other =
        t.db.begin_with_options(sea_orm::TransactionOptions {
            sqlite_transaction_mode: Some(sea_orm::SqliteTransactionMode::Immediate),
            ..Default::default()
        })
        .await
        .unwrap();
    let sql = "UPDATE shelf SET label = 'x'";
    let (plain, audited) = tokio::join!(t.db.execute_unprepared(sql), db.execute_unprepared(sql));
    other.rollback().await.unwrap();
    assert_eq!(kind(plain), kind(audited));
});

db_test!(i2_a_constraint_that_is_called_like_the_log, on(postgres), async |t| {
    set_up_shelves(t).await;
    run(t, &["CREATE UNIQUE INDEX like_audit_log ON shelf (label)"]).await;
    let sql = "INSERT INTO shelf VALUES ('q', 1, 'one')";
    let error = connect(t).execute_unprepared(sql).await.unwrap_err();
    assert!(error.sql_err().is_some(), "{error}");
});
