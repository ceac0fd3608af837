//! Rows of one statement that meet each other by their keys (MySQL and MariaDB): what has become of them is recorded, once for each.

use audit_tests::{TestDb, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, IsolationLevel, TransactionTrait};

use super::hostile::{Shelves, told};
use super::odd_mysql::{DONE, REFUSED, SERIAL, execute, faithful};
use super::sessions::{audited, single};
use crate::fixtures::keys::shelf;
use crate::fixtures::{account, create_table, entries, set_up_shelves};

async fn rows<C: ConnectionTrait>(db: &C) -> Shelves {
    let all = shelf::Entity::find().all(db).await.unwrap();
    all.into_iter().map(|row| (format!("{}/{}", row.room, row.number), row.label)).collect()
}

/// Runs a statement, which must say and do what the plain one does, and be recorded.
async fn same(t: &TestDb, sql: &str) -> Result<(), String> {
    let plain = t.db.begin().await.unwrap();
    let expected = plain.execute_unprepared(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    let after = rows(&plain).await;
    plain.rollback().await.unwrap();
    let (before, seen) = (rows(&t.db).await, entries(t).await.len());
    let done = audited(&single(t).await).execute_unprepared(sql).await;
    let done = done.map_err(|error| format!("{sql}: {error}"))?;
    let made = entries(t).await.split_off(seen);
    let changed: Vec<_> = made.iter().map(|entry| entry.resource_id.clone()).collect();
    let once = changed.iter().collect::<std::collections::BTreeSet<_>>().len() == changed.len();
    let table = told(&made, before);
    if done.rows_affected() == expected.rows_affected()
        && once
        && table == Ok(after.clone())
        && rows(&t.db).await == after
    {
        return Ok(());
    }
    Err(format!(
        "{sql}: {} rows for {}; entries of {changed:?} give {table:?}, the table is {after:?}",
        done.rows_affected(),
        expected.rows_affected()
    ))
}

db_test!(c5_a_key_that_is_twice_in_a_batch_is_recorded_once, on(mysql), async |t| {
    set_up_shelves(t).await;
    let mut wrong = Vec::new();
    for sql in [
        "INSERT INTO shelf VALUES ('n', 1, 'x'), ('n', 1, 'y') ON DUPLICATE KEY UPDATE label = VALUES(label)",
        "INSERT INTO shelf VALUES ('m', 1, 'x'), ('m', 1, 'x') ON DUPLICATE KEY UPDATE label = VALUES(label)",
        "INSERT INTO shelf VALUES ('a', 1, 'x'), ('A', 1, 'y'), ('o', 1, 'z') ON DUPLICATE KEY UPDATE label = concat(label, '+')",
        // There and back again.
        "INSERT INTO shelf VALUES ('a', 2, 'x'), ('a', 2, 'two') ON DUPLICATE KEY UPDATE label = VALUES(label)",
        "INSERT IGNORE INTO shelf VALUES ('p', 1, 'x'), ('p', 1, 'y'), ('a', 1, 'no'), ('q', 1, 'z')",
        "REPLACE INTO shelf VALUES ('r', 1, 'x'), ('r', 1, 'y'), ('r', 1, 'y')",
        "REPLACE INTO shelf VALUES ('a', 1, 'x'), ('s', 1, 'y'), ('a', 1, 'z'), ('a', 1, 'z')",
    ] {
        wrong.extend(same(t, sql).await.err());
    }
    execute(t, &SERIAL).await;
    for sql in [
        // By the second key.
        "INSERT INTO shelf VALUES ('n', 1, 'x', 20, 0), ('m', 1, 'y', 20, 0) ON DUPLICATE KEY UPDATE label = VALUES(label)",
        "INSERT INTO shelf VALUES ('o', 1, 'x', 5, 0), ('o', 1, 'y', 21, 0), ('o', 2, 'z', 21, 0) ON DUPLICATE KEY UPDATE label = VALUES(label)",
        "INSERT INTO shelf VALUES ('n', 1, 'x', 22, 0), ('m', 2, 'y', 22, 0) ON DUPLICATE KEY UPDATE serial = VALUES(serial), seen = seen + 1",
        // A key that is set for one that is there.
        "INSERT INTO shelf VALUES ('z', 9, 'x', 6, 0) ON DUPLICATE KEY UPDATE serial = 66, label = 'set'",
        "INSERT IGNORE INTO shelf VALUES ('i', 1, 'yes', 71, 0), ('i', 2, 'no', 71, 0)",
        "REPLACE INTO shelf VALUES ('r', 1, 'x', 30, 0), ('r', 2, 'y', 30, 0)",
        // The first two make way, though no key of theirs is left.
        "REPLACE INTO shelf VALUES ('r', 3, 'x', 31, 0), ('r', 3, 'y', 32, 0), ('r', 4, 'z', 32, 0)",
        "REPLACE INTO shelf VALUES ('b', 1, 'x', 5, 0), ('b', 1, 'three', 7, 0)",
    ] {
        wrong.extend(same(t, sql).await.err());
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
});

db_test!(c5_a_key_that_is_twice_beside_one_that_is_made_is_refused, on(mysql), async |t| {
    execute(t, &SERIAL).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("REPLACE INTO shelf VALUES ('n', 1, 'a', 40, 0), ('n', 1, 'b', 40, 0), ('n', 7.2, 'c', 41, 0)", REFUSED),
            ("INSERT INTO shelf VALUES ('n', 1, 'a', 7.2, 0), ('n', 1, 'b', 40, 0) ON DUPLICATE KEY UPDATE label = VALUES(label)", REFUSED),
            ("INSERT INTO shelf VALUES ('n', 1, 'a', 50, 0), ('n', 1, 'b', 50, 0) ON DUPLICATE KEY UPDATE serial = 51", REFUSED),
            ("INSERT IGNORE INTO shelf VALUES ('n', 1, 'a', 7.2, 0), ('n', 1, 'b', 60, 0), ('n', 1, 'c', 61, 0)", DONE),
        ],
    )
    .await;
    let refused = "INSERT INTO shelf VALUES ('n', 3, 'a', 70, 0), ('n', 3, 'b', 7.2, 0) ON DUPLICATE KEY UPDATE label = VALUES(label)";
    let error = db.execute_unprepared(refused).await.unwrap_err().to_string();
    assert!(error.contains("one after the other"), "{error}");
    // Where others may come in between nothing is sure.
    let twice = "INSERT INTO shelf VALUES ('w', 1, 'a', 80, 0), ('w', 1, 'b', 80, 0) ON DUPLICATE KEY UPDATE label = VALUES(label)";
    let weak = db.begin_with_config(Some(IsolationLevel::ReadCommitted), None).await.unwrap();
    let error = weak.execute_unprepared(twice).await.unwrap_err().to_string();
    assert!(error.contains("REPEATABLE READ"), "{error}");
    weak.rollback().await.unwrap();
    // Nor where the server cuts what doesn't fit.
    let loose = single(t).await;
    loose.execute_unprepared("SET sql_mode = 'PIPES_AS_CONCAT'").await.unwrap();
    faithful(t, &audited(&loose), &[(twice, REFUSED)]).await;
    let trigger = "CREATE TRIGGER x BEFORE UPDATE ON shelf FOR EACH ROW SET NEW.serial = NEW.serial + 1";
    execute(t, &[trigger]).await;
    faithful(t, &audited(&single(t).await), &[(twice, REFUSED)]).await;
});

db_test!(c5_numbered_rows_that_are_twice_in_a_batch_are_recorded_once, on(mysql), async |t| {
    create_table(t, account::Entity).await;
    execute(t, &["ALTER TABLE account ADD UNIQUE (owner)"]).await;
    let db = audited(&single(t).await);
    for (sql, made) in [
        (
            "INSERT INTO account (owner, balance, iban, pin_hash) VALUES ('a', 1, 'i', 'p'), ('a', 2, 'i', 'p'), ('b', 3, 'i', 'p') \
             ON DUPLICATE KEY UPDATE balance = VALUES(balance)",
            "create create",
        ),
        (
            "INSERT INTO account (owner, balance, iban, pin_hash) VALUES ('a', 1, 'i', 'p'), ('A', 7, 'i', 'p') \
             ON DUPLICATE KEY UPDATE owner = VALUES(owner), balance = balance + VALUES(balance)",
            "update",
        ),
    ] {
        let seen = entries(t).await.len();
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let actions: Vec<_> =
            entries(t).await.split_off(seen).into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions.join(" "), made, "{sql}");
    }
});

db_test!(c5_a_key_that_is_twice_in_a_batch_with_returning_is_recorded_once, on(mysql), async |t| {
    if !t.is_mariadb().await {
        return;
    }
    execute(t, &SERIAL).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("INSERT INTO shelf VALUES ('n', 1, 'a', 40, 0), ('n', 1, 'b', 41, 0) ON DUPLICATE KEY UPDATE label = VALUES(label) RETURNING label", DONE),
            ("INSERT IGNORE INTO shelf VALUES ('m', 1, 'a', 50, 0), ('m', 1, 'b', 51, 0) RETURNING label", DONE),
            ("REPLACE INTO shelf VALUES ('o', 1, 'a', 60, 0), ('o', 1, 'b', 61, 0) RETURNING label", DONE),
        ],
    )
    .await;
});

// Two rows are found for the first, and that hid that none is for the second.
db_test!(c5_a_row_that_is_found_nowhere_is_not_hidden_by_others, on(mysql), async |t| {
    execute(t, &SERIAL).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("INSERT INTO shelf VALUES ('a', 1, 'x', 6, 0), ('z', 7.2, 'new', NULL, 0) ON DUPLICATE KEY UPDATE label = 'm'", REFUSED),
            ("INSERT INTO shelf VALUES ('a', 1, 'x', 6, 0), ('z', 7, 'new', NULL, 0) ON DUPLICATE KEY UPDATE label = 'm'", DONE),
            // Left as they are.
            ("INSERT INTO shelf VALUES ('a', 1, 'm', 6, 0), ('z', 7, 'm', 9, 0), ('a', 2, 'n', 6, 0) ON DUPLICATE KEY UPDATE label = 'm'", DONE),
        ],
    )
    .await;
});
