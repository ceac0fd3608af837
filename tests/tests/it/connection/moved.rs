//! PostgreSQL: rows whose keys change while a statement waits for them. What plain PostgreSQL changes then is changed and
//! recorded, or nothing is.

use audit_seaorm::is_audit_error;
use audit_tests::{TestDb, db_test};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionTrait};

use super::sessions::{assert_told, audited, library, now, waiting};
use crate::fixtures::entries;

/// Statements that reach the shelf b/1 by something else than its primary key.
const UPDATES: [&str; 6] = [
    "UPDATE shelf SET label = 'x' WHERE label = 'three'",
    "UPDATE shelf SET label = concat(label, '!')",
    "UPDATE shelf SET label = 'x' WHERE room = 'b' RETURNING label",
    "UPDATE shelf SET label = 'x' WHERE shelf.room = 'b'",
    "UPDATE shelf SET label = l.reader FROM loan l WHERE shelf.room = 'b'",
    "WITH w AS (SELECT 'b' AS room) UPDATE shelf SET label = 'x' FROM w WHERE shelf.room = w.room",
];

/// Runs a statement that has to wait for one that gives the shelf b/1 another number.
async fn while_it_moves<C: ConnectionTrait>(
    t: &TestDb,
    db: &C,
    sql: &str,
    mover: &DatabaseConnection,
) -> Result<u64, DbErr> {
    let other = mover.begin().await?;
    other.execute_unprepared("UPDATE shelf SET number = 7 WHERE room = 'b'").await?;
    let (done, moved) = tokio::join!(db.execute_unprepared(sql), async {
        waiting(t, 1).await;
        other.commit().await
    });
    moved?;
    done.map(|done| done.rows_affected())
}

async fn again(t: &TestDb) {
    t.execute("UPDATE shelf SET number = 1, label = 'three' WHERE room = 'b'").await.unwrap();
    t.execute("UPDATE shelf SET label = 'one' WHERE room = 'a' AND number = 1").await.unwrap();
    t.execute("UPDATE shelf SET label = 'two' WHERE room = 'a' AND number = 2").await.unwrap();
}

db_test!(i4_an_update_that_waits_for_a_new_key_misses_no_row, on(postgres), async |t| {
    library(t).await;
    let db = audited(&t.db);
    for extra in [
        "SELECT 1",
        // Then rows may be left out rightly, and are not to be counted.
        "CREATE FUNCTION untouched() RETURNS trigger AS $$ BEGIN IF OLD.label = 'two' THEN RETURN NULL; END IF; RETURN NEW; END $$ \
         LANGUAGE plpgsql; CREATE TRIGGER untouched BEFORE UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION untouched()",
    ] {
        t.execute(extra).await.unwrap();
        for sql in UPDATES {
            again(t).await;
            let plain = while_it_moves(t, &t.db, sql, &t.db).await.unwrap();
            let expected = now(t).await;
            again(t).await;
            let seen = entries(t).await.len();
            // The database's description is read anew after each definition; before, so that only the write waits.
            let db = audited(&t.db);
            db.execute_unprepared("UPDATE loan SET reader = reader WHERE id = 1").await.unwrap();
            let done = while_it_moves(t, &db, sql, &t.db).await.unwrap();
            assert_eq!((done, now(t).await), (plain, expected), "{sql}");
            assert!(plain > 0 && entries(t).await.len() == seen + plain as usize, "{sql}: {plain}");
        }
    }
    drop(db);
});

db_test!(i4_an_update_that_misses_a_row_fails_its_transaction, on(postgres), async |t| {
    library(t).await;
    let db = audited(&t.db);
    db.execute_unprepared("UPDATE loan SET reader = reader WHERE id = 1").await.unwrap();
    for sql in UPDATES {
        again(t).await;
        let seen = entries(t).await.len();
        let transaction = db.begin().await.unwrap();
        let error = while_it_moves(t, &transaction, sql, &t.db).await.expect_err(sql);
        assert!(is_audit_error(&error) && error.to_string().contains("try again"), "{error}");
        transaction.execute_unprepared("SELECT 1").await.expect_err("it has failed");
        transaction.rollback().await.unwrap();
        assert_eq!(entries(t).await.len(), seen, "{sql}");
        // And once more it succeeds.
        let before = now(t).await;
        let transaction = db.begin().await.unwrap();
        assert!(transaction.execute_unprepared(sql).await.unwrap().rows_affected() > 0, "{sql}");
        transaction.commit().await.unwrap();
        crate::replay::assert_faithful(before, &entries(t).await[seen..], &now(t).await);
    }
});

// Who is named by its primary key is another one after it got a new key: plain PostgreSQL changes nothing either.
db_test!(i4_a_row_that_is_named_by_its_key_and_moves_is_no_longer_meant, on(postgres), async |t| {
    let before = library(t).await;
    let db = audited(&t.db);
    db.execute_unprepared("UPDATE loan SET reader = reader WHERE id = 1").await.unwrap();
    for sql in [
        "UPDATE shelf SET label = 'x' WHERE room = 'b' AND number = 1",
        "DELETE FROM shelf WHERE room = 'b' AND number = 1",
    ] {
        for transaction in [false, true] {
            t.execute("UPDATE shelf SET number = 1 WHERE room = 'b'").await.unwrap();
            let done = if transaction {
                let transaction = db.begin().await.unwrap();
                let done = while_it_moves(t, &transaction, sql, &t.db).await;
                transaction.commit().await.unwrap();
                done
            } else {
                while_it_moves(t, &db, sql, &t.db).await
            };
            assert_eq!(done.unwrap(), 0, "{sql}");
        }
    }
    t.execute("UPDATE shelf SET number = 1 WHERE room = 'b'").await.unwrap();
    assert_told(t, &before).await;
});

// What is known of the table is old; it is learned anew, so that the statement doesn't fail for ever.
db_test!(i4_a_trigger_that_another_program_makes_is_noticed, on(postgres), async |t| {
    library(t).await;
    let db = audited(&t.db);
    let sql = "UPDATE shelf SET label = concat(label, '!')";
    assert_eq!(db.execute_unprepared(sql).await.unwrap().rows_affected(), 3);
    t.execute(
        "CREATE FUNCTION untouched() RETURNS trigger AS $$ BEGIN IF OLD.label = 'two!' THEN RETURN NULL; END IF; RETURN NEW; END $$ \
         LANGUAGE plpgsql; CREATE TRIGGER untouched BEFORE UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION untouched()",
    )
    .await
    .unwrap();
    let transaction = db.begin().await.unwrap();
    let error = transaction.execute_unprepared(sql).await.expect_err("it doesn't know the trigger");
    assert!(is_audit_error(&error), "{error}");
    transaction.rollback().await.unwrap();
    assert_eq!(db.execute_unprepared(sql).await.unwrap().rows_affected(), 2);
    assert_eq!(entries(t).await.len(), 5);
});
