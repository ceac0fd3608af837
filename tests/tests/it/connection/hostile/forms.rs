//! Unusual forms of statements, values and sizes.

use std::time::Duration;

use audit_seaorm::is_audit_error;
use audit_tests::{DbBackend, db_test};
use sea_orm::{ConnectionTrait, Statement, TransactionTrait};

use super::{dated, faithful, run};
use crate::connection::connect;
use crate::fixtures::{changes, create_table, entries, keys, set_up_shelves};

db_test!(i2_all_columns_of_a_join_come_back, on(postgres, sqlite), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let backend = t.db.get_database_backend();
    for sql in [
        "UPDATE shelf AS s SET label = 'q' FROM (SELECT 'a' AS vroom, 5 AS extra) AS v WHERE s.room = v.vroom RETURNING *",
        "DELETE FROM shelf USING (SELECT 'a' AS vroom, 5 AS extra) AS v WHERE shelf.room = v.vroom RETURNING *",
    ] {
        if backend == DbBackend::Sqlite && sql.starts_with("DELETE") {
            continue;
        }
        let plain = t.db.begin().await.unwrap();
        let expected = plain.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
        plain.rollback().await.unwrap();
        let found = db.query_all_raw(Statement::from_string(backend, sql)).await;
        if backend == DbBackend::Postgres {
            // Which columns `*` means in a join isn't known.
            let error = found.unwrap_err();
            assert!(is_audit_error(&error) && error.to_string().contains("`shelf`"), "{error}");
            continue;
        }
        let found = found.unwrap();
        assert_eq!(expected[0].column_names(), found[0].column_names(), "{sql}");
    }
});

db_test!(i2_upserts_that_plain_postgres_takes, on(postgres), async |t| {
    run(t, &[
        "CREATE TABLE shelf (room text NOT NULL DEFAULT 'a', number int NOT NULL DEFAULT 1, label text NOT NULL, code int, low text GENERATED ALWAYS AS (lower(room)) STORED, PRIMARY KEY (room, number))",
        "CREATE UNIQUE INDEX c ON shelf (code) NULLS NOT DISTINCT",
        "CREATE UNIQUE INDEX l ON shelf (low, number)",
        "CREATE UNIQUE INDEX p ON shelf (label) WHERE room = 'p'",
        "INSERT INTO shelf VALUES ('a', 1, 'one', 1), ('b', 1, 'two', NULL), ('p', 1, 'part', 7)",
    ]).await;
    faithful(t, &connect(t), &[
        "INSERT INTO shelf (label, code) VALUES ('default', 5) ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES (DEFAULT, 1, 'word', 5) ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES ('x', 1, 'null', NULL) ON CONFLICT (code) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES ('a', 1.2, 'rounded', 5) ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES ('A', 1, 'generated', 6) ON CONFLICT (low, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES ('p', 2, 'part', 8) ON CONFLICT (label) WHERE room = 'p' DO UPDATE SET code = excluded.code",
        "INSERT INTO shelf (room, number, label, code) VALUES ('a', 1, 'where', 8) ON CONFLICT (room, number) DO UPDATE SET label = excluded.label WHERE shelf.label = 'nope'",
    ], 4).await;
});

db_test!(i2_dates_after_9999, on(postgres), async |t| {
    create_table(t, dated::Entity).await;
    let db = connect(t);
    for sql in [
        "INSERT INTO hostile_dated VALUES (1, '12000-01-01')",
        "UPDATE hostile_dated SET day = '12001-01-01'",
        "UPDATE hostile_dated SET day = '2001-01-01'",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    let all: Vec<_> = entries(t).await.iter().map(|e| changes(e)["day"].clone()).collect();
    assert_eq!(all[0]["new"], all[1]["old"], "{all:?}");
    assert_eq!(all[1]["new"], all[2]["old"], "{all:?}");
});

// The driver panicked at it, out of the statement.
db_test!(i2_a_value_beyond_its_type_is_refused, on(postgres), async |t| {
    create_table(t, dated::Entity).await;
    t.execute("INSERT INTO hostile_dated VALUES (1, '2001-01-01')").await.unwrap();
    let db = connect(t);
    let update = "UPDATE hostile_dated SET day = 'infinity'";
    let error = db.execute_unprepared(update).await.unwrap_err();
    assert!(error.to_string().contains("beyond what its field's type can hold"), "{error}");
    let transaction = db.begin().await.unwrap();
    let error = transaction.execute_unprepared(update).await.unwrap_err();
    assert!(error.to_string().contains("beyond what its field's type can hold"), "{error}");
    transaction.commit().await.unwrap_err();
    assert_eq!(entries(t).await.len(), 0);
    db.execute_unprepared("UPDATE hostile_dated SET day = '2002-01-01'").await.unwrap();
    assert_eq!(entries(t).await.len(), 1);
});

db_test!(i2_ten_thousand_rows, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    let rows: Vec<String> = (0..10_000).map(|n| format!("('a', {n}, 'l')")).collect();
    let start = std::time::Instant::now();
    db.execute_unprepared(&format!("INSERT INTO shelf VALUES {}", rows.join(", "))).await.unwrap();
    assert_eq!(entries(t).await.len(), 10_000);
    db.execute_unprepared("UPDATE shelf SET number = number + 20000").await.unwrap();
    assert_eq!(entries(t).await.len(), 20_000);
    println!("{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
});

db_test!(i2_forms_of_statements, on(postgres), async |t| {
    set_up_shelves(t).await;
    faithful(t, &connect(t), &[
        "UPDATE shelf SET label = v.l FROM (VALUES ('a', 'x'), ('a', 'y')) AS v (r, l) WHERE room = v.r",
        "UPDATE shelf AS s SET label = o.label || '+' FROM shelf AS o WHERE s.room = o.room AND o.number = 2",
        "UPDATE shelf SET (label, number) = (SELECT 'x', 70) WHERE room = 'b'",
        "UPDATE shelf SET (label) = ROW ('y') WHERE room = 'b'",
        "UPDATE ONLY shelf AS \"S\" SET label = \"S\".label || 'q' WHERE \"S\".room = 'a'",
        "INSERT INTO shelf AS s (room, number, label) VALUES ('a', 1, 'x') ON CONFLICT (number, room) DO UPDATE SET label = s.label || excluded.label",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) INSERT INTO shelf SELECT 'r', i, 'rec' FROM n",
        "UPDATE shelf SET label = 'deep' WHERE (room, number) IN (SELECT room, number FROM shelf WHERE room = 'r' ORDER BY number LIMIT 2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM shelf USING shelf AS o WHERE shelf.room = 'r' AND o.room = 'r' AND o.number > shelf.number",
        "UPDATE shelf SET label = DEFAULT WHERE false",
        "DELETE FROM shelf WHERE EXISTS (SELECT FROM shelf AS o WHERE o.number > 1000)",
    ], 0).await;
});

db_test!(i2_forms_of_statements_of_mysql, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(t, &connect(t), &[
        "UPDATE shelf SET number = number + 1 WHERE room = 'a' ORDER BY number DESC",
        "UPDATE shelf SET label = 'max' WHERE number = (SELECT * FROM (SELECT max(number) FROM shelf) AS x)",
        "UPDATE shelf AS s SET s.label = 'alias' WHERE s.room = 'b'",
        "INSERT INTO shelf VALUES ('A', 2, 'case') ON DUPLICATE KEY UPDATE label = 'by case'",
        "UPDATE shelf SET room = 'A' WHERE room = 'a' AND number = 2",
        "REPLACE INTO shelf VALUES ('a', 2, 'replaced')",
        "INSERT INTO shelf VALUES ('Ä', 2, 'accent') ON DUPLICATE KEY UPDATE label = 'by accent'",
        "DELETE FROM shelf WHERE label = 'max' LIMIT 1",
    ], 0).await;
});
