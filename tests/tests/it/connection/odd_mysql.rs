//! What only MySQL and MariaDB do: rows in no order, rows that are in the way unseen, values that aren't of their column's type,
//! columns and triggers that a statement doesn't show. It is recorded truly, or refused.

use audit_seaorm::is_audit_error;
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, Statement, TransactionTrait, Value};

use super::hostile::{shelves, told};
use super::sessions::{audited, single};
use crate::fixtures::{account, create_table, entries, set_up_shelves};

pub(super) const DONE: bool = true;
pub(super) const REFUSED: bool = false;

pub(super) async fn execute(t: &TestDb, statements: &[&str]) {
    for sql in statements {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Runs statements. The entries must tell what has become of the shelves; what is refused must not be done, and only that.
pub(super) async fn faithful<C: ConnectionTrait>(t: &TestDb, db: &C, statements: &[(&str, bool)]) {
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

/// Shelves with a column more, which is unique.
pub(super) const SERIAL: [&str; 3] = [
    "DROP TABLE IF EXISTS shelf",
    "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, serial INT UNIQUE, \
     seen INT NOT NULL DEFAULT 0, PRIMARY KEY (room, number))",
    "INSERT INTO shelf VALUES ('a', 1, 'one', 5, 0), ('a', 2, 'two', 6, 0), ('b', 1, 'three', 7, 0)",
];

db_test!(c5_rows_in_the_way_by_a_value_that_is_converted_are_refused, on(mysql), async |t| {
    execute(t, &SERIAL).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("REPLACE INTO shelf VALUES ('z', 9, 'y', 7.2, 0)", REFUSED),
            ("REPLACE INTO shelf VALUES ('z', 9, 'y', 7.2, 0), ('a', 1, 'one', 5, 0)", REFUSED),
            (
                "INSERT INTO shelf VALUES ('z', 9, 'y', 7.2, 0) ON DUPLICATE KEY UPDATE label = VALUES(label)",
                REFUSED,
            ),
            (
                "INSERT INTO shelf VALUES ('a', 1, 'x', 6, 0), ('z', 9, 'y', 7.2, 0) ON DUPLICATE KEY UPDATE label = VALUES(label)",
                REFUSED,
            ),
            // A column that the entity doesn't know is one, too.
            (
                "INSERT INTO shelf VALUES ('a', 1, 'x', 6, 0), ('z', 9, 'y', 7.2, 0) ON DUPLICATE KEY UPDATE seen = seen + 1",
                REFUSED,
            ),
        ],
    )
    .await;
    let trigger =
        "CREATE TRIGGER x BEFORE INSERT ON shelf FOR EACH ROW SET NEW.serial = NEW.serial % 10, NEW.seen = 1";
    execute(t, &[trigger]).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("REPLACE INTO shelf VALUES ('z', 9, 'y', 17, 0)", REFUSED),
            ("INSERT INTO shelf VALUES ('z', 9, 'y', 17, 0) ON DUPLICATE KEY UPDATE label = 'x'", REFUSED),
            ("REPLACE INTO shelf VALUES ('z', 9, 'y', 18, 0)", DONE),
        ],
    )
    .await;
});

db_test!(c5_rows_in_the_way_by_a_generated_column_are_refused, on(mysql), async |t| {
    execute(
        t,
        &[
            "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, \
             low VARCHAR(100) AS (lower(label)) STORED UNIQUE, PRIMARY KEY (room, number))",
            "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'one'), ('b', 1, 'three')",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("REPLACE INTO shelf (room, number, label) VALUES ('z', 9, 'THREE')", REFUSED),
            (
                "INSERT INTO shelf (room, number, label) VALUES ('z', 9, 'THREE') ON DUPLICATE KEY UPDATE number = number, label = 'x'",
                REFUSED,
            ),
            ("REPLACE INTO shelf (room, number, label) VALUES ('a', 1, 'ONE'), ('z', 9, 'four')", DONE),
            (
                "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'five'), ('z', 10, 'six') ON DUPLICATE KEY UPDATE label = VALUES(label)",
                DONE,
            ),
        ],
    )
    .await;
});

db_test!(c5_numbered_rows_that_change_others_are_refused, on(mysql), async |t| {
    create_table(t, account::Entity).await;
    let low = "ALTER TABLE account ADD low VARCHAR(100) AS (lower(owner)) STORED UNIQUE";
    execute(t, &[low, "INSERT INTO account (owner, balance, iban, pin_hash) VALUES ('first', 1, 'i', 'p')"])
        .await;
    let db = audited(&single(t).await);
    for (verb, owner, conflict) in [
        ("REPLACE", "FIRST", ""),
        ("INSERT", "FIRST", "ON DUPLICATE KEY UPDATE balance = 2"),
        ("INSERT", "FIRST", "ON DUPLICATE KEY UPDATE balance = 1"),
        ("INSERT IGNORE", "FIRST", ""),
        ("INSERT", "second", "ON DUPLICATE KEY UPDATE balance = 2"),
        ("REPLACE", "third", ""),
    ] {
        let seen = entries(t).await.len();
        let sql = format!(
            "{verb} INTO account (owner, balance, iban, pin_hash) VALUES ('{owner}', 1, 'i', 'p') {conflict}"
        );
        let done = db.execute_unprepared(&sql).await;
        let made: Vec<_> = entries(t).await.split_off(seen).into_iter().map(|entry| entry.action).collect();
        if verb == "INSERT IGNORE" {
            // Nothing is new, so nothing was done.
            assert!(done.is_ok() && made.is_empty(), "{sql}: {done:?} {made:?}");
        } else if owner == "FIRST" {
            assert!(done.as_ref().is_err_and(is_audit_error) && made.is_empty(), "{sql}: {done:?} {made:?}");
        } else {
            assert_eq!(made, ["create"], "{sql}: {done:?}");
        }
    }
    assert_eq!(
        t.column::<String>("SELECT owner FROM account ORDER BY id").await.unwrap(),
        ["first", "second", "third"]
    );
});

db_test!(c5_upserts_that_meet_what_was_found_are_recorded, on(mysql), async |t| {
    execute(t, &SERIAL).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            // The same again, with another column or the like.
            ("REPLACE INTO shelf VALUES ('a', 1, 'one', 5, 0), ('a', 2, 'zwei', 6, 0), ('n', 1, 'new', 8, 0)", DONE),
            // Two rows make way for one.
            ("REPLACE INTO shelf VALUES ('a', 1, 'both', 6, 0)", DONE),
            ("REPLACE INTO shelf SET room = 's', number = 1, label = 'set', serial = NULL", DONE),
            ("REPLACE INTO shelf (room, number, label) VALUES ('s', 1, 'set'), ('s', 2, 'set')", DONE),
            // One is left as it is, one changes, one is new.
            (
                "INSERT INTO shelf VALUES ('b', 1, 'three', 7, 0), ('n', 1, 'other', 8, 0), ('n', 2, 'newer', 9, 0) ON DUPLICATE KEY UPDATE label = VALUES(label)",
                DONE,
            ),
            // What the entity doesn't know changes.
            (
                "INSERT INTO shelf VALUES ('b', 1, 'three', 7, 0), ('n', 3, 'newest', 10, 0) ON DUPLICATE KEY UPDATE seen = seen + 1",
                DONE,
            ),
            ("INSERT INTO shelf VALUES ('q', 1, 'by serial', 7, 0) ON DUPLICATE KEY UPDATE label = 'met'", DONE),
            ("INSERT IGNORE INTO shelf VALUES ('b', 1, 'no', 70, 0), ('h', 1, 'yes', 72, 0), ('h', 2, 'no', 72, 0)", DONE),
            ("INSERT IGNORE INTO shelf VALUES ('b', 1, 'no', 70, 0), ('i', 1, 'yes', 71, 0)", DONE),
            ("INSERT INTO shelf VALUES ('p', 1, 'plain', 80, 0), ('p', 2, 'plain', NULL, 0)", DONE),
        ],
    )
    .await;
    // Where the key is the only one, a row that is the same counts once.
    execute(t, &["DROP TABLE shelf"]).await;
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("REPLACE INTO shelf VALUES ('a', 1, 'one'), ('a', 2, 'zwei'), ('n', 1, 'new')", DONE),
            ("REPLACE INTO shelf VALUES ('a', 1, 'one')", DONE),
        ],
    )
    .await;
});

db_test!(c5_a_number_for_a_text_key_finds_its_own_row, on(mysql), async |t| {
    set_up_shelves(t).await;
    execute(t, &["INSERT INTO shelf VALUES ('05', 1, 'old'), ('1.0', 1, 'old')"]).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("INSERT INTO shelf VALUES (5, 1, 'new')", DONE),
            ("INSERT INTO shelf VALUES (0, 1, 'zero'), (5, '2', 'text')", DONE),
            ("REPLACE INTO shelf VALUES (5, 1, 'newer')", DONE),
            (
                "INSERT INTO shelf VALUES (1, 1, 'x'), (0, 1, 'zero') ON DUPLICATE KEY UPDATE label = 'met'",
                DONE,
            ),
        ],
    )
    .await;
    let sql = "INSERT INTO shelf (room, number, label) VALUES (?, ?, ?)";
    // No text among them: MySQL 9 itself stores '5' for '05' where the statement was prepared for a number.
    let values: [Value; 5] = [6_i32.into(), 0_i64.into(), 7_u64.into(), true.into(), 1.5_f64.into()];
    for (at, room) in values.into_iter().enumerate() {
        tell(t, &db, with(sql, [room, (at as i32 + 10).into(), "new".into()]), DONE).await.unwrap();
    }
});

db_test!(c5_invisible_columns_have_no_place, on(mysql), async |t| {
    execute(
        t,
        &[
            "CREATE TABLE shelf (hidden INT DEFAULT 9 INVISIBLE, room VARCHAR(100) NOT NULL, number INT NOT NULL, \
             label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))",
            "INSERT INTO shelf VALUES ('a', 1, 'one'), ('7', 3, 'old')",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("INSERT INTO shelf VALUES ('z', 7, '3')", DONE),
            ("REPLACE INTO shelf VALUES ('a', 1, 'again')", DONE),
            ("INSERT INTO shelf (hidden, room, number, label) VALUES (1, 'h', 1, 'x')", DONE),
        ],
    )
    .await;
});

db_test!(c5_a_key_that_is_set_twice_is_refused, on(mysql), async |t| {
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("UPDATE shelf SET number = 2, number = 6 WHERE room = 'a' AND number = 1", REFUSED),
            ("UPDATE shelf SET number = 6, `NUMBER` = number WHERE room = 'a' AND number = 1", REFUSED),
            ("UPDATE shelf SET label = 'x', label = 'y', number = 6 WHERE room = 'a' AND number = 1", DONE),
        ],
    )
    .await;
});

db_test!(c5_keys_that_triggers_set_are_refused, on(mysql), async |t| {
    for (trigger, insert, update) in [
        ("INSERT ON shelf FOR EACH ROW SET NEW.number = NEW.number + 1", REFUSED, DONE),
        ("UPDATE ON shelf FOR EACH ROW SET NEW.number = NEW.number + 1", DONE, REFUSED),
        (
            "INSERT ON shelf FOR EACH ROW BEGIN SET @x = 1, /* c */ new . `Number` -- d\n := NEW.number + 1; END",
            REFUSED,
            DONE,
        ),
        ("UPDATE ON shelf FOR EACH ROW CALL renumber(NEW.number)", DONE, REFUSED),
        (
            "INSERT ON shelf FOR EACH ROW SET NEW.label = concat(NEW.label, NEW.number, ' SET NEW.number = 1')",
            DONE,
            DONE,
        ),
        (
            "UPDATE ON shelf FOR EACH ROW BEGIN IF NEW.number = 9 THEN SET NEW.label = 'nine'; END IF; END",
            DONE,
            DONE,
        ),
    ] {
        execute(
            t,
            &[
                "DROP TABLE IF EXISTS shelf",
                "DROP PROCEDURE IF EXISTS renumber",
                "CREATE PROCEDURE renumber(INOUT n INT) SET n = n + 1",
            ],
        )
        .await;
        set_up_shelves(t).await;
        execute(t, &[&format!("CREATE TRIGGER x BEFORE {trigger}")]).await;
        let db = audited(&single(t).await);
        // One more than 'b/1' is free, and that is there to be mistaken for what was inserted.
        let plain = if insert {
            "INSERT INTO shelf VALUES ('n', 1, 'new')"
        } else {
            "INSERT INTO shelf VALUES ('b', 1, 'new')"
        };
        let either = insert && update;
        faithful(
            t,
            &db,
            &[
                (plain, insert),
                ("REPLACE INTO shelf VALUES ('a', 1, 'new')", insert),
                ("INSERT IGNORE INTO shelf VALUES ('a', 2, 'new')", insert),
                ("INSERT INTO shelf VALUES ('a', 1, 'x') ON DUPLICATE KEY UPDATE label = 'met'", either),
                ("UPDATE shelf SET label = 'changed' WHERE number = 1", update),
                ("UPDATE shelf SET number = 7 WHERE room = 'a' AND number = 1", update),
                ("DELETE FROM shelf WHERE room = 'a'", DONE),
            ],
        )
        .await;
    }
});

db_test!(c5_a_key_that_a_trigger_leaves_is_recorded, on(mysql), async |t| {
    set_up_shelves(t).await;
    let trigger = "CREATE TRIGGER x BEFORE INSERT ON shelf FOR EACH ROW BEGIN IF NEW.number = 0 THEN SET NEW.number = 2; END IF; END";
    execute(t, &[trigger, "INSERT INTO shelf VALUES ('c', 1, 'x')"]).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("INSERT INTO shelf VALUES ('b', 5, 'new'), ('b', 6, 'new')", DONE),
            ("INSERT INTO shelf VALUES ('b', 7, 'new'), ('c', 0, 'new')", REFUSED),
        ],
    )
    .await;
    let taken = db.execute_unprepared("INSERT INTO shelf VALUES ('b', 5, 'again')").await;
    assert!(taken.as_ref().is_err_and(|error| error.sql_err().is_some()), "{taken:?}");
});

db_test!(c5_a_number_that_a_trigger_changes_is_refused, on(mysql), async |t| {
    create_table(t, account::Entity).await;
    execute(
        t,
        &[
            "INSERT INTO account (owner, balance, iban, pin_hash) VALUES ('first', 1, 'i', 'p')",
            "CREATE TRIGGER x BEFORE INSERT ON account FOR EACH ROW SET NEW.id = NEW.id + 500",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    for id in ["", "1, "] {
        let column = if id.is_empty() { "" } else { "id, " };
        let sql = format!(
            "INSERT INTO account ({column}owner, balance, iban, pin_hash) VALUES ({id}'x', 1, 'i', 'p')"
        );
        let done = db.execute_unprepared(&sql).await;
        assert!(done.as_ref().is_err_and(is_audit_error), "{sql}: {done:?}");
        let accounts = t.column::<i64>("SELECT id FROM account").await.unwrap();
        assert_eq!((accounts.len(), entries(t).await.len()), (1, 0));
    }
});

db_test!(c5_upserts_with_returning_name_the_rows_in_their_way, on(mysql), async |t| {
    if !t.is_mariadb().await {
        return;
    }
    execute(t, &SERIAL).await;
    let trigger = "CREATE TRIGGER x BEFORE INSERT ON shelf FOR EACH ROW SET NEW.seen = 1";
    execute(t, &[trigger]).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("REPLACE INTO shelf VALUES ('z', 9, 'y', 7.2, 0) RETURNING label", REFUSED),
            ("INSERT INTO shelf VALUES ('z', 9, 'y', '7.2', 0) ON DUPLICATE KEY UPDATE label = 'met' RETURNING label", REFUSED),
            ("REPLACE INTO shelf VALUES ('z', 9, 'y', 7, 0) RETURNING label", DONE),
            ("INSERT INTO shelf VALUES ('z', 9, 'y', NULL, 0) ON DUPLICATE KEY UPDATE label = 'met' RETURNING label", DONE),
        ],
    )
    .await;
    let trigger = "CREATE OR REPLACE TRIGGER x BEFORE INSERT ON shelf FOR EACH ROW SET NEW.serial = 5";
    execute(t, &[trigger]).await;
    let db = audited(&single(t).await);
    let replace = "REPLACE INTO shelf VALUES ('z', 9, 'y', 70, 0) RETURNING label";
    faithful(t, &db, &[(replace, REFUSED)]).await;
});

db_test!(i4_a_clock_that_the_user_has_stopped_stays, on(mysql), async |t| {
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    let ask = "SELECT CAST(unix_timestamp(now()) AS SIGNED)";
    let now = async || {
        let row = db.query_one_raw(Statement::from_string(DbBackend::MySql, ask)).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    let update = "UPDATE shelf SET label = 'x' WHERE room = 'a' AND now() > '2000-01-01'";
    db.execute_unprepared("SET timestamp = 1000000000").await.unwrap();
    db.execute_unprepared(update).await.unwrap();
    assert_eq!(now().await, 1_000_000_000);
    db.execute_unprepared("SET timestamp = DEFAULT").await.unwrap();
    db.execute_unprepared(update).await.unwrap();
    let first = t.column::<i64>(ask).await.unwrap()[0];
    assert!((now().await - first).abs() < 600);
});

// Its key has no columns that could be listed, and nothing was known of any table then.
db_test!(c5_a_unique_key_of_an_expression_is_no_hindrance, on(mysql), async |t| {
    if t.is_mariadb().await {
        return; // It has none.
    }
    set_up_shelves(t).await;
    execute(t, &["CREATE UNIQUE INDEX folded ON shelf ((lower(label)))"]).await;
    let db = audited(&single(t).await);
    let statements = [
        ("UPDATE shelf SET label = 'x' WHERE room = 'b'", DONE),
        ("INSERT INTO shelf (room, number, label) VALUES ('c', 1, 'y')", DONE),
        ("REPLACE INTO shelf (room, number, label) VALUES ('d', 1, 'Y')", REFUSED),
    ];
    faithful(t, &db, &statements).await;
});

// Their texts are the same.
db_test!(c5_an_upsert_of_nearly_the_same_float_is_recorded, on(mysql), async |t| {
    set_up_shelves(t).await;
    execute(t, &["ALTER TABLE shelf ADD f FLOAT", "UPDATE shelf SET f = 0.1234567"]).await;
    let db = audited(&single(t).await);
    let upsert = "INSERT INTO shelf (room, number, label, f) VALUES ('a', 1, 'new', 0.1234568) ON DUPLICATE KEY UPDATE f = VALUES(f)";
    faithful(t, &db, &[(upsert, DONE)]).await;
});

// The text of a value was cut within a character.
db_test!(i4_values_that_begin_with_wide_characters_are_no_panic, on(mysql), async |t| {
    set_up_shelves(t).await;
    execute(t, &["ALTER TABLE shelf ADD `名前` VARCHAR(20)"]).await;
    let db = audited(&single(t).await);
    let insert = "INSERT INTO shelf (`名前`, room, number, label) VALUES ('w', 'x', 1, 名前)";
    let error = db.execute_unprepared(insert).await.map(|_| ()).err().map(|error| error.to_string());
    assert!(error.as_ref().is_none_or(|error| !error.contains("task")), "{error:?}");
    let update = "UPDATE shelf SET room = 名前, label = 'x' WHERE room = 'n'";
    let error = db.execute_unprepared(update).await.map(|_| ()).err().map(|error| error.to_string());
    assert!(error.as_ref().is_none_or(|error| !error.contains("task")), "{error:?}");
});

db_test!(c5_a_limit_after_a_sub_select_is_recorded_or_refused, on(mysql), async |t| {
    execute(t, &COVERED).await;
    execute(
        t,
        &[
            "CREATE TABLE other (room VARCHAR(100) PRIMARY KEY, place INT)",
            "INSERT INTO other VALUES ('b', 1), ('a', 2)",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("UPDATE shelf SET label = 'm' ORDER BY (SELECT 1) LIMIT 1", REFUSED),
            ("UPDATE shelf SET label = 'n' WHERE number = 1 ORDER BY (SELECT place FROM other o WHERE o.room = shelf.room) DESC, room LIMIT 2", DONE),
            ("UPDATE shelf SET label = 'o' ORDER BY (SELECT max(place) FROM other)", DONE),
            ("DELETE FROM shelf ORDER BY (SELECT 1) LIMIT 1", REFUSED),
            ("UPDATE shelf SET label = 'm' ORDER BY (SELECT 1)", DONE),
            ("DELETE FROM shelf WHERE number = 1 ORDER BY (SELECT place FROM other o WHERE o.room = shelf.room), room LIMIT 1", DONE),
            ("DELETE FROM shelf ORDER BY EXISTS (SELECT 1 FROM other)", DONE),
        ],
    )
    .await;
});

// An address was taken for a variable, and a word for a sub-select.
db_test!(c5_a_condition_is_not_judged_by_its_texts, on(mysql), async |t| {
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    faithful(
        t,
        &db,
        &[
            ("UPDATE shelf SET label = 'a@b.c' WHERE label <> 'a@b.c' /* @ */", DONE),
            ("UPDATE shelf SET label = 'x' WHERE label = 'a@b.c' AND `room` = 'b'", DONE),
            ("UPDATE shelf SET label = 'y' WHERE label = @label", REFUSED),
            ("UPDATE shelf SET label = 'y' WHERE label=@'label'", REFUSED),
            ("UPDATE shelf SET label = 'y' WHERE label = @@version", REFUSED),
        ],
    )
    .await;
    let before = (shelves(t).await, entries(t).await.len());
    let txn = db.begin().await.unwrap();
    let update = "UPDATE shelf SET label = 'selected' WHERE label <> 'select 1' AND number = 1";
    assert_eq!(txn.execute_unprepared(update).await.unwrap().rows_affected(), 2);
    let refused = txn.execute_unprepared("DELETE FROM shelf WHERE number IN (SELECT 1)").await.unwrap_err();
    assert!(is_audit_error(&refused), "{refused}");
    txn.commit().await.unwrap();
    let made = entries(t).await.split_off(before.1);
    assert_eq!((made.len(), told(&made, before.0)), (2, Ok(shelves(t).await)));
});

// Each key was a condition of its own, of which the server made ranges for seconds (docs/BENCHMARKS.md).
db_test!(c5_a_limit_of_ten_thousand_rows_is_held_to_them, on(mysql), async |t| {
    create_table(t, account::Entity).await;
    execute(
        t,
        &[
            "INSERT INTO account (owner, balance, iban, pin_hash) WITH RECURSIVE n AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM n WHERE n < 900) \
             SELECT 'o', 1, 'i', 'p' FROM n, (SELECT 1 AS m UNION ALL SELECT n + 1 FROM n WHERE n < 20) m",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    let sql = "UPDATE account SET note = 'y' WHERE balance > 0 LIMIT 10000";
    assert_eq!(db.execute_unprepared(sql).await.unwrap().rows_affected(), 10_000);
    assert_eq!(t.value::<i64>("SELECT count(*) FROM account WHERE note = 'y'").await.unwrap(), 10_000);
    assert_eq!(entries(t).await.len(), 10_000);
});
