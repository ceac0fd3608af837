//! I4: levels of isolation, modes of access and SQLite's ways of beginning reach the database, whichever way a transaction begins.

use std::time::Duration;

use audit_seaorm::{AuditConnection, AuditTransaction};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{
    AccessMode, ActiveModelTrait, ConnectionTrait, Database, DatabaseConnection, DbErr, EntityTrait,
    IsolationLevel, SqliteTransactionMode, TransactionError, TransactionOptions, TransactionTrait,
};

use super::connect;
use super::sessions::{audited, code, look};
use crate::fixtures::{entries, keys::shelf, set_up_shelves};

async fn label<C: ConnectionTrait>(db: &C) -> String {
    let row = shelf::Entity::find_by_id(("a".to_owned(), 1)).one(db).await.unwrap();
    row.expect("the shelf").label
}

/// What a transaction of this level reads before and after another program's change.
async fn read_twice(t: &TestDb, db: &AuditConnection, level: IsolationLevel, way: u8) -> (String, String) {
    t.execute("UPDATE shelf SET label = 'before'").await.unwrap();
    let transaction = match way {
        0 => db.begin_with_config(Some(level), None).await.unwrap(),
        _ => {
            let options = TransactionOptions { isolation_level: Some(level), ..Default::default() };
            db.begin_with_options(options).await.unwrap()
        }
    };
    let first = label(&transaction).await;
    t.execute("UPDATE shelf SET label = 'after'").await.unwrap();
    let second = label(&transaction).await;
    transaction.rollback().await.unwrap();
    (first, second)
}

db_test!(i4_the_level_of_isolation_is_the_transactions, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    for way in [0, 1] {
        for (level, second) in
            [(IsolationLevel::ReadCommitted, "after"), (IsolationLevel::RepeatableRead, "before")]
        {
            let read = read_twice(t, &db, level, way).await;
            assert_eq!(read, ("before".to_owned(), second.to_owned()), "{level:?}, {way}");
        }
    }
    // And with a callback.
    t.execute("UPDATE shelf SET label = 'before'").await.unwrap();
    let other = t.db.clone();
    let read: Result<_, TransactionError<DbErr>> = db
        .transaction_with_config(
            |transaction: &AuditTransaction| {
                Box::pin(async move {
                    let first = label(transaction).await;
                    other.execute_unprepared("UPDATE shelf SET label = 'after'").await?;
                    Ok((first, label(transaction).await))
                })
            },
            Some(IsolationLevel::RepeatableRead),
            None,
        )
        .await;
    assert_eq!(read.unwrap(), ("before".to_owned(), "before".to_owned()));
});

db_test!(i4_a_transaction_with_a_callback_ends_as_the_callback_does, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let done: Result<u64, TransactionError<DbErr>> = db
        .transaction_with_config(
            |transaction: &AuditTransaction| {
                Box::pin(async move {
                    let sql = "UPDATE shelf SET label = 'stays' WHERE number = 2";
                    transaction.execute_unprepared(sql).await.map(|result| result.rows_affected())
                })
            },
            None,
            Some(AccessMode::ReadWrite),
        )
        .await;
    assert_eq!(done.unwrap(), 1);
    let failed: Result<(), TransactionError<DbErr>> = db
        .transaction_with_config(
            |transaction: &AuditTransaction| {
                Box::pin(async move {
                    transaction.execute_unprepared("DELETE FROM shelf").await?;
                    Err(DbErr::Custom("back".into()))
                })
            },
            None,
            None,
        )
        .await;
    let failed = failed.unwrap_err();
    assert!(
        matches!(&failed, TransactionError::Transaction(DbErr::Custom(text)) if text == "back"),
        "{failed}"
    );
    // Within a transaction a callback's one is nested.
    let outer = db.begin().await.unwrap();
    outer.execute_unprepared("UPDATE shelf SET label = 'outer' WHERE room = 'b'").await.unwrap();
    let nested: Result<(), TransactionError<DbErr>> = outer
        .transaction_with_config(
            |transaction: &AuditTransaction| {
                Box::pin(async move {
                    transaction.execute_unprepared("DELETE FROM shelf").await?;
                    Err(DbErr::Custom("back".into()))
                })
            },
            None,
            None,
        )
        .await;
    nested.unwrap_err();
    let id = outer.transaction_id().to_owned();
    outer.commit().await.unwrap();
    let all = entries(t).await;
    let told: Vec<_> =
        all.iter().map(|entry| (entry.action.as_str(), entry.resource_id.as_deref())).collect();
    assert_eq!(told, [("update", Some("a/2")), ("update", Some("b/1"))]);
    assert_eq!(all[1].transaction_id.as_deref(), Some(&*id));
    assert_eq!(shelf::Entity::find().all(&t.db).await.unwrap().len(), 3);
});

db_test!(i4_a_mode_of_access_is_the_transactions, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let sql = "UPDATE shelf SET label = 'x'";
    let plain = t.db.begin_with_config(None, Some(AccessMode::ReadOnly)).await.unwrap();
    let expected = look(&plain.execute_unprepared(sql).await);
    plain.rollback().await.unwrap();
    assert_ne!(expected, "ok");
    let failed: Result<(), TransactionError<DbErr>> = db
        .transaction_with_config(
            |transaction: &AuditTransaction| {
                Box::pin(async move { transaction.execute_unprepared(sql).await.map(|_| ()) })
            },
            None,
            Some(AccessMode::ReadOnly),
        )
        .await;
    let Err(TransactionError::Transaction(error)) = failed else { panic!("{failed:?}") };
    assert_eq!(look::<()>(&Err(error)), expected);
    assert_eq!(entries(t).await, []);
});

/// A connection that doesn't wait for locks.
async fn impatient(t: &TestDb) -> DatabaseConnection {
    let mut options = t.options();
    options.max_connections(1).map_sqlx_sqlite_opts(|options| options.busy_timeout(Duration::ZERO));
    Database::connect(options).await.unwrap()
}

db_test!(i4_the_mode_of_a_transaction_of_sqlite_is_as_asked_for, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let (db, other) = (connect(t), impatient(t).await);
    let busy = |result: Result<sea_orm::ExecResult, DbErr>| result.err().and_then(|error| code(&error));
    let write = "UPDATE shelf SET label = 'other' WHERE room = 'b'";
    let begin = async |mode| {
        let options = TransactionOptions { sqlite_transaction_mode: Some(mode), ..Default::default() };
        db.begin_with_options(options).await.unwrap()
    };
    for (mode, expected) in [
        // Nothing is locked before something is done.
        (SqliteTransactionMode::Deferred, None),
        (SqliteTransactionMode::Immediate, Some("5")),
        (SqliteTransactionMode::Exclusive, Some("5")),
    ] {
        let transaction = begin(mode).await;
        assert_eq!(busy(other.execute_unprepared(write).await).as_deref(), expected, "{mode:?}");
        transaction.execute_unprepared("UPDATE shelf SET label = 'own' WHERE room = 'a'").await.unwrap();
        // Now it has the lock, however it began.
        assert_eq!(busy(other.execute_unprepared(write).await).as_deref(), Some("5"), "{mode:?}");
        transaction.rollback().await.unwrap();
        assert_eq!(busy(other.execute_unprepared(write).await), None, "{mode:?}");
    }
    // An audited writer on the impatient connection is told so as a plain one is.
    let held = begin(SqliteTransactionMode::Immediate).await;
    let writer = audited(&other);
    let (plain, found) = (other.execute_unprepared(write).await, writer.execute_unprepared(write).await);
    assert_eq!(look(&found), look(&plain));
    assert_eq!(busy(found).as_deref(), Some("5"));
    held.rollback().await.unwrap();
    assert_eq!(entries(t).await, []);
});

db_test!(c17_a_block_without_audit_shares_its_transactions_fate, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    for commit in [false, true] {
        let transaction = db.begin().await.unwrap();
        transaction.execute_unprepared("UPDATE shelf SET label = 'seen' WHERE room = 'a'").await.unwrap();
        transaction
            .without_audit("data repair #12", async |db| {
                db.execute_unprepared("UPDATE shelf SET label = 'unseen' WHERE room = 'b'").await
            })
            .await
            .unwrap()
            .unwrap();
        // What comes after it is seen again.
        transaction.execute_unprepared("DELETE FROM shelf WHERE number = 2").await.unwrap();
        let id = transaction.transaction_id().to_owned();
        if !commit {
            transaction.rollback().await.unwrap();
            assert_eq!(entries(t).await, []);
            continue;
        }
        transaction.commit().await.unwrap();
        let all = entries(t).await;
        let actions: Vec<_> = all.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["update", "update", "audit_suspended", "delete"]);
        assert!(all.iter().all(|entry| entry.transaction_id.as_deref() == Some(&*id)), "{all:#?}");
        assert_eq!((all[2].severity.as_str(), all[2].reason.as_deref()), ("high", Some("data repair #12")));
        assert_eq!(all[2].actor_name.as_deref(), Some("Ann"));
    }
    let labels: Vec<String> = t.column("SELECT label FROM shelf ORDER BY label").await.unwrap();
    assert_eq!(labels, ["seen", "unseen"]);
    // Without a reason nothing is done.
    let transaction = db.begin().await.unwrap();
    let refused = transaction.without_audit("  ", async |_| panic!("it doesn't run")).await;
    let error = refused.unwrap_err();
    assert!(audit_seaorm::is_audit_error(&error) && error.to_string().contains("reason"), "{error}");
    transaction.rollback().await.unwrap();
});

db_test!(i4_a_pool_that_has_no_connection_left_says_so_as_without_audit, async |t| {
    set_up_shelves(t).await;
    let mut options = t.options();
    options.max_connections(1).min_connections(1).acquire_timeout(Duration::from_millis(300));
    let pool = Database::connect(options).await.unwrap();
    let db = audited(&pool);
    // What there is to be learned of the tables is learned before; and once more by a connection that knows nothing yet.
    db.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'a'").await.unwrap();
    let seen = entries(t).await.len();
    let unaware = audited(&pool);
    let held = pool.begin().await.unwrap();
    for sql in ["UPDATE shelf SET label = 'y'", "SELECT 1 FROM shelf", "DELETE FROM shelf WHERE room = 'b'"] {
        let plain = look(&pool.execute_unprepared(sql).await);
        assert!(plain.starts_with("ConnectionAcquire"), "{plain}");
        for db in [&db, &unaware] {
            let found = db.execute_unprepared(sql).await;
            assert_eq!(look(&found), plain, "{sql}: {found:?}");
        }
        let model = shelf::Model { room: "a".into(), number: 1, label: "z".into() };
        let model = || {
            sea_orm::ActiveModelTrait::reset_all(sea_orm::IntoActiveModel::into_active_model(model.clone()))
        };
        let plain = audit_seaorm::suspended(model().update(&pool)).await;
        let found = model().update(&db).await;
        assert_eq!(look(&found), look(&plain));
    }
    let (plain, found) = (look(&pool.begin().await), look(&db.begin().await));
    assert_eq!(plain, found);
    assert!(plain.starts_with("ConnectionAcquire"), "{plain}");
    held.rollback().await.unwrap();
    db.execute_unprepared("UPDATE shelf SET label = 'free' WHERE room = 'b'").await.unwrap();
    assert_eq!(entries(t).await.len(), seen + 1);
    if t.backend == DbBackend::Sqlite {
        return;
    }
    // And with the only connection in a transaction of its own.
    let held = db.begin().await.unwrap();
    assert_eq!(
        look(&db.execute_unprepared("DELETE FROM shelf").await),
        look(&pool.execute_unprepared("DELETE FROM shelf").await)
    );
    held.execute_unprepared("DELETE FROM shelf WHERE room = 'b'").await.unwrap();
    held.commit().await.unwrap();
    assert_eq!(entries(t).await.len(), seen + 2);
});
