//! I1: connections that are lost between the change, its entries and the commit.

use audit_seaorm::is_audit_error;
use audit_tests::{DbBackend, db_test};
use sea_orm::{ConnectionTrait, TransactionTrait};

use super::sessions::{
    VALUE, assert_told, audited, code, id_of, kill, library, lock_entries, look, now, single, waiting, writes,
};
use crate::fixtures::entries;

db_test!(i1_a_connection_is_lost_between_statement_and_commit, on(postgres, mysql), async |t| {
    let before = library(t).await;
    let pool = single(t).await;
    let db = audited(&pool);
    for sql in writes(t) {
        let plain = pool.begin().await.unwrap();
        plain.execute_unprepared("UPDATE loan SET reader = 'plain'").await.unwrap();
        kill(t, id_of(&plain).await).await;
        let expected = plain.commit().await;

        let transaction = db.begin().await.unwrap();
        transaction.execute_unprepared(sql).await.unwrap();
        kill(t, id_of(&transaction).await).await;
        let lost = transaction.commit().await;
        assert_eq!(look(&lost), look(&expected), "{sql}: {lost:?}, {expected:?}");
        assert!(lost.is_err());
        assert_eq!(now(t).await, before, "{sql}");
        assert_eq!(entries(t).await, [], "{sql}");
    }
    // The only connection of the pool is another one, and as good.
    for sql in writes(t) {
        db.execute_unprepared(sql).await.unwrap();
    }
    assert_told(t, &before).await;
});

db_test!(i1_a_connection_is_lost_while_a_write_waits, on(postgres, mysql), async |t| {
    let before = library(t).await;
    let pool = single(t).await;
    let db = audited(&pool);
    for sql in writes(t) {
        if sql.contains("'z'") {
            continue; // It waits for nobody.
        }
        let mut looks = Vec::new();
        for side in ["plain", "audited"] {
            let other = t.db.begin().await.unwrap();
            for table in ["shelf", "loan"] {
                other.execute_unprepared(&format!("SELECT * FROM {table} FOR UPDATE")).await.unwrap();
            }
            let (db, pool) = (db.clone(), pool.clone());
            let write = tokio::spawn(async move {
                if side == "plain" {
                    pool.execute_unprepared(sql).await
                } else {
                    db.execute_unprepared(sql).await
                }
            });
            kill(t, waiting(t, 1).await[0]).await;
            let lost = write.await.unwrap();
            other.rollback().await.unwrap();
            looks.push(look(&lost));
            assert_ne!(looks[0], "ok");
        }
        assert_eq!(looks[0], looks[1], "{sql}");
        assert_eq!(now(t).await, before, "{sql}");
        assert_eq!(entries(t).await, [], "{sql}");
    }
    for sql in writes(t) {
        db.execute_unprepared(sql).await.unwrap();
    }
    assert_told(t, &before).await;
});

db_test!(i1_a_connection_is_lost_between_statement_and_entry, on(postgres, mysql), async |t| {
    let before = library(t).await;
    let pool = single(t).await;
    let db = audited(&pool);
    // What there is to be learned of the tables is learned while nothing is locked.
    db.execute_unprepared("UPDATE loan SET reader = 'Ada' WHERE id = 1").await.unwrap();
    for sql in writes(t) {
        for within in [false, true] {
            let other = lock_entries(t).await;
            let task = tokio::spawn({
                let db = db.clone();
                async move {
                    if within {
                        let transaction = db.begin().await?;
                        let done = transaction.execute_unprepared(sql).await.map(|_| ());
                        // Whatever it says, the user may try to commit.
                        _ = transaction.commit().await;
                        done
                    } else {
                        db.execute_unprepared(sql).await.map(|_| ())
                    }
                }
            });
            kill(t, waiting(t, 1).await[0]).await;
            let lost = task.await.unwrap();
            drop(other);
            let error = lost.expect_err(sql);
            let text = error.to_string();
            assert!(!text.contains(VALUE), "{text}");
            if is_audit_error(&error) {
                assert!(text.contains("connection"), "{sql}: {text}");
            } else if t.backend == DbBackend::Postgres {
                assert_eq!(code(&error).as_deref(), Some("57P01"), "{sql}: {text}");
            }
            assert_eq!(now(t).await, before, "{sql}");
            assert_eq!(entries(t).await, [], "{sql}");
        }
    }
    for sql in writes(t) {
        db.execute_unprepared(sql).await.unwrap();
    }
    assert_told(t, &before).await;
});
