//! Secrets in places where they are not expected.

use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, Statement, Value as V};

use super::{Shelves, replay, run, shelves};
use crate::connection::connect;
use crate::fixtures::{create_table, entries, keys, set_up_shelves};

async fn search(t: &TestDb, secret: &str) -> Vec<String> {
    entries(t).await.iter().map(|e| format!("{e:?}")).filter(|e| e.contains(secret)).collect()
}

db_test!(i2_texts_put_together_by_the_statement, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let mysql = t.db.get_database_backend() == DbBackend::MySql;
    let mut leaks = Vec::new();
    for sql in [
        "UPDATE shelf SET label = 'password=hunter2' WHERE room = 'a'",
        "UPDATE shelf SET label = CAST('' AS text) || 'password=hunter2' WHERE room = 'b'",
        "UPDATE shelf SET label = ''::text || 'password=hunter2x' WHERE room = 'b'",
        "INSERT INTO shelf (room, number, label) VALUES ('n', 1, ''::text || 'password=hunter2')",
        "INSERT INTO shelf (room, number, label) VALUES ('n', 2, 'password=hunter2')",
        "INSERT INTO shelf (room, number, label) VALUES ('password=hunter2', 2, 'x')",
        "UPDATE shelf SET number = 77 WHERE room = 'password=hunter2'",
        "DELETE FROM shelf",
    ] {
        let sql = if mysql {
            sql.replace("''::text || ", "").replace("CAST('' AS text) || ", "")
        } else {
            sql.to_owned()
        };
        let sql = if t.db.get_database_backend() == DbBackend::Sqlite {
            sql.replace("''::text", "''")
        } else {
            sql
        };
        let before = search(t, "hunter2").await.len();
        if let Err(error) = db.execute_unprepared(&sql).await {
            panic!("{sql}: {error}");
        }
        if search(t, "hunter2").await.len() > before {
            leaks.push(sql);
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
});

db_test!(i2_a_number_that_is_cast_to_a_text, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let sql = "UPDATE shelf SET label = ($1::bigint)::text WHERE room = 'b'";
    let other = "UPDATE shelf SET label = CAST($1::int8 AS text) WHERE room = 'a'";
    for sql in [sql, other] {
        db.execute_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            sql,
            [V::BigInt(Some(4_111_111_111_111_111))],
        ))
        .await
        .unwrap();
    }
    assert_eq!(search(t, "4111111111111111").await, [""; 0]);
});

db_test!(i2_secrets_in_rows_that_are_chosen_at_random, on(postgres), async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    for number in 0..40 {
        t.execute(&format!("INSERT INTO shelf VALUES ('a', {number}, 'password=hunter2')")).await.unwrap();
        db.execute_unprepared(&format!(
            "DELETE FROM shelf WHERE room = 'a' AND number = {number} AND random() < 0.5"
        ))
        .await
        .unwrap();
    }
    assert_eq!(search(t, "hunter2").await, [""; 0]);
});

db_test!(i2_nul_and_long_texts, on(sqlite, mysql), async |t| {
    run(t, &["CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label TEXT NOT NULL, PRIMARY KEY (room, number))"]).await;
    let db = connect(t);
    let backend = t.db.get_database_backend();
    for (room, label) in [("a", "x\0y".to_owned()), ("d", "\u{1F600}".repeat(5000))] {
        let values = [V::from(room), V::from(label)];
        db.execute_raw(Statement::from_sql_and_values(backend, "INSERT INTO shelf VALUES (?, 1, ?)", values))
            .await
            .unwrap();
        let values = [V::from("other"), V::from(room)];
        db.execute_raw(Statement::from_sql_and_values(
            backend,
            "UPDATE shelf SET label = ? WHERE room = ?",
            values,
        ))
        .await
        .unwrap();
    }
    assert_eq!(replay(t, Shelves::new(), 0).await, Ok(shelves(t).await));
});
