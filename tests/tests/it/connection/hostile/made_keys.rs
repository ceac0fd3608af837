//! Keys that the database makes, rounds, cuts or replaces.

use audit_tests::{DbBackend, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, Statement, Value as V};

use super::{faithful, run};
use crate::connection::connect;
use crate::fixtures::{account, create_table, entries, set_up_shelves};

db_test!(i2_keys_that_the_column_rounds, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(t, &connect(t), &["INSERT INTO shelf VALUES ('z', 1.6, 'rounded')"], 1).await;
});

db_test!(i2_a_float_as_key, on(mysql), async |t| {
    run(t, &["CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, ratio FLOAT NOT NULL, stamp DATETIME NOT NULL UNIQUE DEFAULT '2020-01-01', PRIMARY KEY (room, number), UNIQUE (ratio))"]).await;
    faithful(t, &connect(t), &[
        "INSERT INTO shelf (room, number, label, ratio, stamp) VALUES ('a', 1, 'one', 0.1, '2021-01-01')",
        "INSERT INTO shelf (room, number, label, ratio, stamp) VALUES ('b', 1, 'two', 0.1, '2022-01-01') ON DUPLICATE KEY UPDATE label = 'by ratio'",
        "INSERT INTO shelf (room, number, label, ratio, stamp) VALUES ('c', 1, 'three', 0.7, '2021-01-01 00:00:00.4') ON DUPLICATE KEY UPDATE label = 'by stamp'",
    ], 2).await;
});

db_test!(i2_id_zero, on(mysql), async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let mut wrong = Vec::new();
    for (at, value) in [
        V::BigInt(Some(0)),
        V::BigUnsigned(Some(0)),
        V::SmallInt(Some(0)),
        V::TinyInt(Some(0)),
        V::from("0"),
        V::from(0.0_f64),
    ]
    .into_iter()
    .enumerate()
    {
        let shown = format!("{value:?}");
        let sql = "INSERT INTO account (id, owner, balance, iban, pin_hash) VALUES (?, 'o', 1, 'i', 'p')";
        let result = db.execute_raw(Statement::from_sql_and_values(DbBackend::MySql, sql, [value])).await;
        let count = entries(t).await.len();
        if result.is_ok() && count + wrong.len() != at + 1 {
            wrong.push(shown);
        }
    }
    for literal in ["0", "'0'", "00", "0.0", "-0"] {
        let (rows, seen) = (account::Entity::find().all(&t.db).await.unwrap().len(), entries(t).await.len());
        let sql = format!(
            "INSERT INTO account (id, owner, balance, iban, pin_hash) VALUES ({literal}, 'o', 1, 'i', 'p')"
        );
        _ = db.execute_unprepared(&sql).await;
        let (more, made) = (account::Entity::find().all(&t.db).await.unwrap().len(), entries(t).await.len());
        if more - rows != made - seen {
            wrong.push(literal.to_owned());
        }
    }
    assert!(wrong.is_empty(), "not recorded: {wrong:?}");
});

db_test!(i2_a_trigger_that_sets_the_key, on(mysql), async |t| {
    set_up_shelves(t).await;
    run(t, &["CREATE TRIGGER tr BEFORE INSERT ON shelf FOR EACH ROW SET NEW.number = NEW.number + 70"]).await;
    faithful(t, &connect(t), &["INSERT INTO shelf VALUES ('z', 1, 'x')"], 1).await;
});

db_test!(i2_a_unique_key_on_a_prefix, on(mysql), async |t| {
    run(t, &[
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, code VARCHAR(20) NOT NULL, PRIMARY KEY (room, number), UNIQUE (code(3)))",
        "INSERT INTO shelf VALUES ('a', 1, 'one', 'abcX')",
    ]).await;
    faithful(
        t,
        &connect(t),
        &["INSERT INTO shelf VALUES ('b', 1, 'two', 'abcY') ON DUPLICATE KEY UPDATE label = 'by prefix'"],
        1,
    )
    .await;
});

db_test!(i2_an_upsert_that_changes_the_primary_key, async |t| {
    set_up_shelves(t).await;
    let sql = t.pick(
        "INSERT INTO shelf VALUES ('a', 1, 'x') ON CONFLICT (room, number) DO UPDATE SET number = 50",
        "INSERT INTO shelf VALUES ('a', 1, 'x') ON CONFLICT (room, number) DO UPDATE SET number = 50",
        "INSERT INTO shelf VALUES ('a', 1, 'x') ON DUPLICATE KEY UPDATE number = 50",
    );
    faithful(t, &connect(t), &[sql], t.pick(0, 1, 1)).await;
});

db_test!(i2_a_key_computed_from_a_column_that_was_set_before, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(
        t,
        &connect(t),
        &["UPDATE shelf SET label = 'abcdefghi', number = length(label) WHERE room = 'b'"],
        1,
    )
    .await;
});

db_test!(i2_update_ignore_of_a_key, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(t, &connect(t), &["UPDATE IGNORE shelf SET number = 2 WHERE room = 'a' AND number = 1"], 1)
        .await;
});

db_test!(i2_delete_ignore, on(mysql), async |t| {
    set_up_shelves(t).await;
    run(t, &[
        "CREATE TABLE box (room VARCHAR(100) NOT NULL, number INT NOT NULL, FOREIGN KEY (room, number) REFERENCES shelf (room, number))",
        "INSERT INTO box VALUES ('a', 1)",
    ]).await;
    faithful(t, &connect(t), &["DELETE IGNORE FROM shelf"], 1).await;
});

db_test!(i2_insert_ignore_that_cuts_the_key, on(mysql), async |t| {
    set_up_shelves(t).await;
    let sql = format!("INSERT IGNORE INTO shelf VALUES ('{}', 1, 'cut')", "r".repeat(150));
    faithful(t, &connect(t), &[&sql], 1).await;
});

db_test!(i2_a_default_that_is_computed_as_key, on(mysql), async |t| {
    run(t, &["CREATE TABLE shelf (room VARCHAR(100) NOT NULL DEFAULT (uuid()), number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))"]).await;
    faithful(t, &connect(t), &["INSERT INTO shelf (number, label) VALUES (1, 'x')"], 1).await;
});

db_test!(i2_a_very_long_key, async |t| {
    run(t, &["CREATE TABLE shelf (room VARCHAR(700) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))"]).await;
    let db = connect(t);
    let room = "r".repeat(650);
    db.execute_unprepared(&format!("INSERT INTO shelf VALUES ('{room}', 1, 'x')")).await.unwrap();
    db.execute_unprepared(&format!("UPDATE shelf SET label = 'y' WHERE room = '{room}'")).await.unwrap();
    db.execute_unprepared("UPDATE shelf SET label = concat(label, 'z')").await.unwrap();
    db.execute_unprepared("DELETE FROM shelf").await.unwrap();
    let all = entries(t).await;
    let ids: std::collections::BTreeSet<_> = all.iter().map(|e| e.resource_id.clone()).collect();
    assert_eq!((all.len(), ids.len()), (4, 1), "{ids:?}");
    assert!(all.iter().all(|e| e.hash_matches() == Some(true)));
});
