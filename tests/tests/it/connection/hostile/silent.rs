//! Writes that might not be seen, or be told otherwise than they were.

use std::time::Duration;

use audit_tests::{DbBackend, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, Statement, TransactionTrait};

use super::{Shelves, faithful, replay, run, shelves, single};
use crate::connection::connect;
use crate::fixtures::{account, create_table, entries, keys, set_up_shelves};

db_test!(i2_a_write_through_a_view, async |t| {
    set_up_shelves(t).await;
    run(t, &["CREATE VIEW shelf_view AS SELECT room, number, label FROM shelf"]).await;
    if t.db.get_database_backend() == DbBackend::Sqlite {
        run(t, &["CREATE TRIGGER v INSTEAD OF UPDATE ON shelf_view BEGIN UPDATE shelf SET label = NEW.label WHERE room = OLD.room AND number = OLD.number; END"]).await;
    }
    faithful(
        t,
        &connect(t),
        &["UPDATE shelf_view SET label = 'through a view' WHERE room = 'b'"],
        t.pick(0, 1, 1),
    )
    .await;
});

db_test!(i2_a_write_to_a_partition, on(postgres), async |t| {
    run(t, &[
        "CREATE TABLE shelf (room text NOT NULL, number int NOT NULL, label text NOT NULL, PRIMARY KEY (room, number)) PARTITION BY LIST (room)",
        "CREATE TABLE shelf_a PARTITION OF shelf FOR VALUES IN ('a')",
        "INSERT INTO shelf VALUES ('a', 1, 'one')",
    ]).await;
    faithful(t, &connect(t), &["UPDATE shelf_a SET label = 'partition'"], 1).await;
});

db_test!(i2_rows_that_are_chosen_at_random, async |t| {
    create_table(t, keys::shelf::Entity).await;
    for number in 0..30 {
        t.execute(&format!("INSERT INTO shelf VALUES ('a', {number}, 'l')")).await.unwrap();
    }
    let db = connect(t);
    match t.db.get_database_backend() {
        DbBackend::MySql => {
            faithful(
                t,
                &db,
                &[
                    "UPDATE shelf SET label = 'won' ORDER BY rand() LIMIT 1",
                    "UPDATE shelf SET label = 'two' ORDER BY rand() LIMIT 1",
                    "DELETE FROM shelf ORDER BY rand() LIMIT 1",
                ],
                3,
            )
            .await
        }
        DbBackend::Postgres => {
            faithful(
                t,
                &db,
                &[
                    "UPDATE shelf SET label = 'won' WHERE random() < 0.5",
                    "UPDATE shelf SET label = 'two' FROM (SELECT 1) v WHERE random() < 0.5",
                    "DELETE FROM shelf WHERE random() < 0.5",
                ],
                // That of the FROM, which would be asked twice.
                1,
            )
            .await
        }
        _ => {
            faithful(
                t,
                &db,
                &[
                    "UPDATE shelf SET label = 'won' WHERE random() % 2 = 0",
                    "DELETE FROM shelf WHERE random() % 2 = 0",
                ],
                0,
            )
            .await
        }
    }
});

db_test!(i2_one_row_asked_for_of_an_insert_select, async |t| {
    create_table(t, account::Entity).await;
    run(t, &["INSERT INTO account (owner, balance, iban, pin_hash) VALUES ('a', 1, 'i', 'p'), ('b', 1, 'i', 'p')"]).await;
    if t.backend == DbBackend::MySql && !t.is_mariadb().await {
        println!("skipped: MySQL has no RETURNING");
        return;
    }
    let sql = "INSERT INTO account (owner, balance, iban, pin_hash) SELECT owner, balance, iban, pin_hash FROM account RETURNING id";
    connect(t).query_one_raw(Statement::from_string(t.db.get_database_backend(), sql)).await.unwrap();
    assert_eq!(account::Entity::find().all(&t.db).await.unwrap().len(), 4);
    assert_eq!(entries(t).await.len(), 2);
});

db_test!(i2_nested_write_dropped_and_outer_committed, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    for round in 0..60_u64 {
        let transaction = db.begin().await.unwrap();
        let nested = transaction.begin().await.unwrap();
        let write = nested.execute_unprepared("UPDATE shelf SET label = concat(label, 'y') WHERE room = 'b'");
        _ = tokio::time::timeout(Duration::from_micros(round * 50), write).await;
        drop(nested);
        _ = transaction.commit().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_a_row_whose_key_changes_while_the_update_waits, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let other = t.db.begin().await.unwrap();
    other.execute_unprepared("UPDATE shelf SET number = 10 WHERE room = 'b'").await.unwrap();
    let waiting = tokio::spawn({
        let db = db.clone();
        async move { db.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'b'").await }
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    other.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().rows_affected(), 1);
    assert_eq!(shelves(t).await["b/10"], "x");
});

db_test!(i2_races_of_upserts, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    let on = t.pick(
        "ON CONFLICT (room, number) DO UPDATE SET label = shelf.label || 'x'",
        "ON CONFLICT (room, number) DO UPDATE SET label = shelf.label || 'x'",
        "ON DUPLICATE KEY UPDATE label = concat(label, 'x')",
    );
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut failed = Vec::new();
                for number in 0..15 {
                    let sql = format!("INSERT INTO shelf VALUES ('a', {number}, 'new') {on}");
                    if let Err(error) = db.execute_unprepared(&sql).await {
                        failed.push(error.to_string());
                    }
                }
                failed
            })
        })
        .collect();
    let mut failed = Vec::new();
    for task in tasks {
        failed.extend(task.await.unwrap());
    }
    assert_eq!(replay(t, Shelves::new(), 0).await, Ok(shelves(t).await));
    let ours: Vec<_> = failed.iter().filter(|error| error.contains("audit")).collect();
    println!("{} of {} errors are the library's", ours.len(), failed.len());
    assert!(ours.is_empty(), "{} failed: {:?}", ours.len(), ours.first());
});

db_test!(i2_settings_that_change_what_statements_mean, async |t| {
    set_up_shelves(t).await;
    let all: &[&str] = t.pick(
        &["PRAGMA recursive_triggers(1)", "PRAGMA main.recursive_triggers = 1"],
        &[
            "SET SESSION standard_conforming_strings TO off",
            "SET LOCAL standard_conforming_strings = off",
            "SELECT set_config('standard_conforming_strings', 'off', false)",
            "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
        ],
        &[
            "SET SESSION sql_mode = ''",
            "SET @@sql_mode = ''",
            "SET @@session.sql_mode = ''",
            "SET @x = 1, sql_mode = ''",
            "SET LOCAL sql_mode = ''",
        ],
    );
    let db = connect(t);
    let mut passed = Vec::new();
    for sql in all {
        let transaction = db.begin().await.unwrap();
        if transaction.execute_unprepared(sql).await.is_ok() {
            passed.push(*sql);
        }
        transaction.rollback().await.unwrap();
    }
    assert_eq!(passed, [""; 0]);
});

db_test!(i2_a_text_that_reads_otherwise_after_set_config, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = single(t).await;
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    _ = db.execute_unprepared("SELECT set_config('standard_conforming_strings', 'off', false)").await;
    _ = db.execute_unprepared(r"SELECT 'x\'', ''; DELETE FROM shelf; --'").await;
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});
