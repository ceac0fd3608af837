//! What only MySQL and MariaDB do: rows in no order, rows that are in the way unseen, values that aren't of their column's type,
//! columns and triggers that a statement doesn't show. It is recorded truly, or refused.

use audit_seaorm::is_audit_error;
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, Statement, TransactionTrait, Value};

use super::hostile::{shelves, told};
use super::sessions::{audited, single};
use crate::fixtures::{entries, set_up_shelves};

const DONE: bool = true;
const REFUSED: bool = false;

async fn execute(t: &TestDb, statements: &[&str]) {
    for sql in statements {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Runs statements. The entries must tell what has become of the shelves; what is refused must not be done, and only that.
async fn faithful<C: ConnectionTrait>(t: &TestDb, db: &C, statements: &[(&str, bool)]) {
    let mut wrong = Vec::new();
    for (sql, done) in statements {
        let prepared = Statement::from_string(DbBackend::MySql, *sql);
        wrong.extend(tell(t, db, prepared, *done).await.err());
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

async fn tell<C: ConnectionTrait>(
    t: &TestDb,
    db: &C,
    statement: Statement,
    done: bool,
) -> Result<(), String> {
    let sql = statement.sql.clone();
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let result = match statement.values.is_some() {
        true => db.execute_raw(statement).await,
        false => db.execute_unprepared(&sql).await,
    };
    let (after, made) = (shelves(t).await, entries(t).await.split_off(seen));
    let said = match &result {
        Ok(result) => format!("{} rows", result.rows_affected()),
        Err(error) => error.to_string(),
    };
    let table = told(&made, before.clone());
    if table != Ok(after.clone()) {
        return Err(format!("{sql}: {said}: entries give {table:?}, the table is {after:?}, was {before:?}"));
    }
    match result {
        Ok(_) if done => Ok(()),
        Err(error) if !done && is_audit_error(&error) => Ok(()),
        _ => Err(format!("{sql}: {said}")),
    }
}

/// A statement with values.
fn with<const N: usize>(sql: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::MySql, sql, values)
}

/// Shelves whose labels have an index that covers all columns, in another order than the keys have.
const COVERED: [&str; 3] = [
    "DROP TABLE IF EXISTS shelf",
    "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, \
     PRIMARY KEY (room, number), KEY (label), KEY (number, label))",
    "INSERT INTO shelf VALUES ('a', 1, 'z'), ('b', 1, 'y'), ('c', 1, 'x'), ('d', 1, 'a'), ('it''s ?', 2, 'q')",
];

db_test!(c5_a_limit_takes_the_rows_that_were_found, on(mysql), async |t| {
    execute(t, &COVERED).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("UPDATE shelf SET label = 'm' LIMIT 1", DONE),
            ("UPDATE shelf SET label = concat(label, '!') ORDER BY number LIMIT 2", DONE),
            ("UPDATE shelf AS s SET s.label = 'o' WHERE s.label > 'z' OR s.room > 'a' LIMIT 3", DONE),
            ("UPDATE shelf SET label = 'k' ORDER BY number DESC LIMIT 1; UPDATE shelf SET label = 'l' LIMIT 2", DONE),
            ("UPDATE shelf SET number = number + 10 WHERE number = 1 -- all\n LIMIT 2", DONE),
            ("UPDATE shelf SET label = 'none' WHERE room = 'none' LIMIT 2", DONE),
            ("UPDATE shelf SET label = 'none' LIMIT 0", DONE),
            ("UPDATE shelf SET label = 'all' ORDER BY label", DONE),
        ],
    )
    .await;
    execute(t, &COVERED).await;
    faithful(
        t,
        &db,
        &[
            ("DELETE FROM shelf LIMIT 1", DONE),
            ("DELETE FROM shelf ORDER BY number LIMIT 1", DONE),
            ("DELETE FROM shelf WHERE room < 'x' OR label = 'q' LIMIT 1", DONE),
            ("DELETE FROM shelf", DONE),
        ],
    )
    .await;
    execute(t, &COVERED).await;
    let update = "UPDATE shelf SET label = ? WHERE label <> ? OR room = ? ORDER BY number LIMIT ?";
    let update = with(update, ["new".into(), "z".into(), "a".into(), 2_u64.into()]);
    tell(t, &db, update, DONE).await.unwrap();
    tell(t, &db, with("DELETE FROM shelf LIMIT ?", [3_u64.into()]), DONE).await.unwrap();
    assert_eq!(shelves(t).await.len(), 2);
    let within = db.begin().await.unwrap();
    assert_eq!(within.execute_unprepared("DELETE FROM shelf LIMIT 1").await.unwrap().rows_affected(), 1);
    within.rollback().await.unwrap();
    assert_eq!(shelves(t).await.len(), 2);
});

db_test!(c5_a_limit_of_very_many_rows_is_recorded_or_refused, on(mysql), async |t| {
    set_up_shelves(t).await;
    execute(t, &[
        "DELETE FROM shelf",
        "INSERT INTO shelf WITH RECURSIVE n AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM n WHERE n < 1000) SELECT 'r', n, 'x' FROM n",
        "INSERT INTO shelf SELECT concat(room, s.n), number, label FROM shelf, (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) s",
    ])
    .await;
    let db = audited(&single(t).await);
    let sql = "DELETE FROM shelf LIMIT 4500";
    let done = db.execute_unprepared(sql).await.unwrap();
    assert_eq!(done.rows_affected(), 4500);
    assert_eq!((shelves(t).await.len(), entries(t).await.len()), (500, 4500));
});
