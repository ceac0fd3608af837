//! Audited rows that a statement reaches by way of what isn't audited, or under a name that isn't their table's: recorded, or refused.

use std::collections::BTreeSet;

use audit_seaorm::is_audit_error;
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::ConnectionTrait;

use super::hostile::{shelves, told};
use super::sessions::{audited, single};
use crate::fixtures::{entries, named, set_up_shelves, tree};

async fn execute(t: &TestDb, statements: &[&str]) {
    for sql in statements {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Runs a statement over a new connection; the entries must tell what has become of the shelves.
async fn is_told(t: &TestDb, sql: &str) -> Result<(), String> {
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let done = audited(&single(t).await).execute_unprepared(sql).await;
    let (after, made) = (shelves(t).await, entries(t).await.split_off(seen));
    match told(&made, before) {
        Ok(table) if table == after => Ok(()),
        found => Err(format!("{sql}: {done:?}: entries tell {found:?}, the table is {after:?}")),
    }
}

db_test!(c16_what_follows_a_parent_is_recorded_or_refused_however_it_is_named, async |t| {
    execute(t, &tree::TABLES).await;
    execute(t, &["CREATE VIEW wing_view AS SELECT id, house_id FROM wing"]).await;
    let (sqlite, postgres, mysql): (&[&str], &[&str], &[&str]) = (
        &[
            "DELETE FROM wing NOT INDEXED WHERE id = 1",
            "WITH x AS MATERIALIZED (SELECT 1 AS id) DELETE FROM wing WHERE id IN (SELECT id FROM x)",
            "DELETE FROM wing WHERE id = 1_0 - 9",
            "DROP TABLE wing",
            "DROP TABLE IF EXISTS main.house",
        ],
        &[
            "DELETE FROM wing_view WHERE id = 1",
            "DELETE FROM wing * WHERE id = 1",
            "DELETE FROM ONLY (wing) WHERE id = 1",
            "DELETE FROM wing WHERE id BETWEEN SYMMETRIC 1 AND 1",
            "UPDATE wing * SET house_id = 2 WHERE id = 1; DELETE FROM house WHERE id = 1",
            "DELETE FROM block WHERE id = 1",
            "DELETE FROM block_1 WHERE id = 1",
        ],
        &[
            "DELETE FROM wing_view WHERE id = 1",
            "/*!50000 DELETE FROM wing WHERE id = 1 */",
            "/*M! DELETE FROM wing WHERE id = 1 */",
            "DELETE /*!50000 FROM */ wing WHERE id = 1",
            "BEGIN NOT ATOMIC DELETE FROM wing WHERE id = 1; END",
            "DELETE FROM wing WHERE id = 1 AND 'a' SOUNDS LIKE 'a'",
        ],
    );
    if t.backend == DbBackend::Postgres {
        execute(
            t,
            &[
                "CREATE TABLE block (id INT PRIMARY KEY) PARTITION BY RANGE (id)",
                "CREATE TABLE block_1 PARTITION OF block FOR VALUES FROM (0) TO (100)",
                "ALTER TABLE node ADD block_id INT DEFAULT 1 REFERENCES block (id) ON DELETE CASCADE",
            ],
        )
        .await;
    }
    let nodes = async || t.column::<i32>("SELECT id FROM node").await.unwrap().into_iter().collect();
    for sql in *t.pick(&sqlite, &postgres, &mysql) {
        for table in tree::TABLES {
            // What was dropped.
            _ = t.execute(table).await;
        }
        if t.backend == DbBackend::Postgres {
            execute(t, &["DELETE FROM node", "DELETE FROM block", "INSERT INTO block VALUES (1)"]).await;
        }
        execute(
            t,
            &[
                "DELETE FROM node",
                "DELETE FROM wing",
                "DELETE FROM house",
                "INSERT INTO house VALUES (1, 'h'), (2, 'i')",
                "INSERT INTO wing VALUES (1, 1), (2, 1), (3, 2)",
                "INSERT INTO node (id, label, wing_id) VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', NULL)",
            ],
        )
        .await;
        let (before, seen): (BTreeSet<i32>, _) = (nodes().await, entries(t).await.len());
        let done = audited(&single(t).await).execute_unprepared(sql).await;
        let gone = before.difference(&nodes().await).count();
        let deleted = entries(t).await.drain(seen..).filter(|entry| entry.action == "delete").count();
        assert_eq!(deleted, gone, "{sql}: {done:?}");
        if let Err(error) = &done {
            assert!(is_audit_error(error), "{sql}: {error}");
            assert!(!error.to_string().contains("`wing` is audited"), "{sql}: {error}");
        } else {
            assert!(gone > 0, "{sql}");
        }
    }
});

// Only the tables' own names were looked for in statements of these kinds.
db_test!(c17_views_and_partitions_are_found_in_statements_of_any_kind, on(postgres, mysql), async |t| {
    if t.backend == DbBackend::Postgres {
        execute(
            t,
            &[
                "CREATE TABLE shelf (room TEXT NOT NULL, number INT NOT NULL, label TEXT NOT NULL, PRIMARY KEY (room, number)) \
                 PARTITION BY LIST (room)",
                "CREATE TABLE pa PARTITION OF shelf FOR VALUES IN ('a')",
                "CREATE TABLE pb PARTITION OF shelf DEFAULT",
                "INSERT INTO shelf VALUES ('a', 1, 'one'), ('a', 2, 'two'), ('b', 1, 'three')",
            ],
        )
        .await;
    } else {
        set_up_shelves(t).await;
    }
    execute(
        t,
        &[
            "CREATE VIEW sv AS SELECT * FROM shelf",
            "CREATE TABLE plain (id INT PRIMARY KEY)",
            "INSERT INTO plain VALUES (1), (2)",
        ],
    )
    .await;
    let statements = t.pick(
        &[][..],
        &[
            "WITH d AS (DELETE FROM sv WHERE room = 'b' RETURNING *) SELECT * FROM d",
            "WITH d AS (UPDATE sv SET label = 'cte' RETURNING *) INSERT INTO plain SELECT 100 FROM d LIMIT 1",
            "WITH d AS (DELETE FROM pa RETURNING *) SELECT * FROM d",
            "EXPLAIN ANALYZE DELETE FROM sv WHERE room = 'b'",
            "MERGE INTO pa USING plain ON pa.number = plain.id WHEN MATCHED THEN DELETE",
            "COPY (DELETE FROM sv RETURNING *) TO '/dev/null'",
            "CREATE TABLE made AS WITH d AS (DELETE FROM sv RETURNING *) SELECT * FROM d",
            "DELETE FROM sv WHERE number BETWEEN SYMMETRIC 1 AND 1",
            "DELETE FROM pa * WHERE number = 1",
        ][..],
        &[
            "SET STATEMENT max_statement_time = 5 FOR DELETE FROM sv WHERE room = 'b'",
            "ANALYZE DELETE FROM sv WHERE room = 'b'",
            "/*! DELETE FROM sv WHERE room = 'b' */",
            "BEGIN NOT ATOMIC DELETE FROM sv WHERE room = 'b'; END",
            "IF 1 THEN DELETE FROM sv WHERE room = 'b'; END IF",
            "DELETE FROM sv WHERE room = 'b' AND 'a' SOUNDS LIKE 'a'",
            "UPDATE sv, plain SET sv.label = 'multi' WHERE sv.number = plain.id",
            "UPDATE plain JOIN sv ON sv.number = plain.id SET sv.label = 'join'",
        ][..],
    );
    for sql in statements {
        is_told(t, sql).await.unwrap();
    }
});

// The parent itself was recorded or refused, not what is written to it under another name.
db_test!(c16_upserts_by_a_view_of_a_parent_are_refused, on(postgres, mysql), async |t| {
    execute(
        t,
        &[
            "CREATE TABLE stand (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE)",
            "INSERT INTO stand VALUES (1, 'one'), (2, 'two')",
            "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, \
             PRIMARY KEY (room, number), FOREIGN KEY (label) REFERENCES stand (name) ON UPDATE CASCADE ON DELETE CASCADE)",
            "INSERT INTO shelf VALUES ('a', 1, 'one'), ('a', 2, 'two')",
            "CREATE VIEW pic AS SELECT * FROM stand",
        ],
    )
    .await;
    let statements = t.pick(
        &[][..],
        &["INSERT INTO pic VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'uno'"][..],
        &[
            "INSERT INTO pic VALUES (1, 'x') ON DUPLICATE KEY UPDATE name = 'uno'",
            "REPLACE INTO pic VALUES (2, 'zwei')",
        ][..],
    );
    for sql in statements {
        is_told(t, sql).await.unwrap();
    }
    let db = audited(&single(t).await);
    db.execute_unprepared("INSERT INTO pic VALUES (3, 'three')").await.unwrap();
    if t.backend == DbBackend::Postgres {
        execute(
            t,
            &[
                "CREATE TABLE note (id INT)",
                "CREATE RULE also AS ON INSERT TO note DO ALSO DELETE FROM stand",
            ],
        )
        .await;
        let done = audited(&single(t).await).execute_unprepared("INSERT INTO note VALUES (1)").await;
        assert!(done.as_ref().is_err_and(is_audit_error), "{done:?}");
    }
});

db_test!(c17_rows_that_triggers_replace_are_refused, on(sqlite), async |t| {
    for (conflict, trigger, write) in [
        (
            "",
            "AFTER UPDATE ON plain BEGIN REPLACE INTO shelf VALUES ('z', NEW.id, 'one'); END",
            "UPDATE plain SET v = 'q'",
        ),
        (
            "",
            "AFTER UPDATE ON plain BEGIN UPDATE OR REPLACE shelf SET label = 'one' WHERE room = 'b'; END",
            "UPDATE plain SET v = 'q'",
        ),
        (
            "ON CONFLICT REPLACE",
            "AFTER UPDATE ON plain BEGIN INSERT INTO shelf VALUES ('z', NEW.id, 'one'); END",
            "UPDATE plain SET v = 'q'",
        ),
        (
            "",
            "AFTER INSERT ON plain BEGIN INSERT INTO shelf VALUES ('z', NEW.id, 'one'); END",
            "REPLACE INTO plain VALUES (7, 'q')",
        ),
    ] {
        execute(
            t,
            &[
                "DROP TABLE IF EXISTS shelf",
                "DROP TABLE IF EXISTS plain",
                &format!(
                    "CREATE TABLE shelf (room TEXT NOT NULL, number INT NOT NULL, label TEXT NOT NULL UNIQUE {conflict}, \
                     PRIMARY KEY (room, number))"
                ),
                "INSERT INTO shelf VALUES ('a', 1, 'one'), ('b', 1, 'three')",
                "CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT)",
                "INSERT INTO plain VALUES (1, 'p')",
                &format!("CREATE TRIGGER x {trigger}"),
            ],
        )
        .await;
        let before = shelves(t).await;
        let done = audited(&single(t).await).execute_unprepared(write).await;
        assert!(done.as_ref().is_err_and(is_audit_error), "{trigger}: {done:?}");
        assert_eq!(shelves(t).await, before);
    }
});

db_test!(c17_triggers_that_replace_nothing_are_followed, on(sqlite), async |t| {
    for (conflict, body) in [
        ("", "UPDATE shelf SET label = replace(NEW.v, 'q', 'r') WHERE room = 'b'"),
        ("ON CONFLICT REPLACE", "DELETE FROM shelf WHERE room = 'b'"),
    ] {
        execute(
            t,
            &[
                "DROP TABLE IF EXISTS plain",
                "DROP TABLE IF EXISTS shelf",
                "CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT)",
                "INSERT INTO plain VALUES (1, 'x')",
                &format!(
                    "CREATE TABLE shelf (room TEXT NOT NULL, number INT NOT NULL, label TEXT NOT NULL UNIQUE {conflict}, \
                     PRIMARY KEY (room, number))"
                ),
                "INSERT INTO shelf VALUES ('a', 1, 'one'), ('b', 1, 'three')",
                &format!("CREATE TRIGGER follows AFTER UPDATE ON plain BEGIN {body}; END"),
            ],
        )
        .await;
        let before = shelves(t).await;
        is_told(t, "UPDATE plain SET v = 'q'").await.unwrap();
        assert_ne!(shelves(t).await, before, "{body}");
    }
});

db_test!(c5_a_conflict_clause_is_found_however_it_is_written, on(sqlite), async |t| {
    for label in [
        "label TEXT NOT NULL, UNIQUE(label)ON CONFLICT REPLACE",
        "label TEXT NOT NULL, UNIQUE(label) ON/**/CONFLICT REPLACE",
        "label TEXT NOT NULL, UNIQUE(label) ON CONFLICT -- c\n REPLACE",
        "label TEXT NOT NULL UNIQUE ON CONFLICT/* */REPLACE",
        "label TEXT NOT NULL UNIQUE\nON\tCONFLICT\nREPLACE",
    ] {
        execute(
            t,
            &[
                "DROP TABLE IF EXISTS shelf",
                &format!(
                    "CREATE TABLE shelf (room TEXT NOT NULL, number INT NOT NULL, {label}, PRIMARY KEY (room, number))"
                ),
                "INSERT INTO shelf VALUES ('a', 1, 'one'), ('b', 1, 'three')",
            ],
        )
        .await;
        is_told(t, "INSERT INTO shelf VALUES ('z', 1, 'one')").await.unwrap();
        assert_eq!(shelves(t).await.len(), 2, "{label}");
    }
});

db_test!(c17_triggers_and_clauses_are_found_whatever_a_table_is_called, on(sqlite), async |t| {
    use sea_orm::EntityName as _;
    let names =
        [named::quoted::Entity.table_name().to_owned(), named::foreign::Entity.table_name().to_owned()];
    for name in names {
        let table = format!("\"{}\"", name.replace('"', "\"\""));
        execute(
            t,
            &[
                "DROP TRIGGER IF EXISTS own",
                "DROP TABLE IF EXISTS plain",
                "CREATE TABLE plain (id INTEGER PRIMARY KEY, v TEXT)",
                "INSERT INTO plain VALUES (1, 'x')",
                &format!("CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY ON CONFLICT REPLACE, label TEXT NOT NULL)"),
                &format!("INSERT INTO {table} VALUES (1, 'a'), (2, 'b')"),
            ],
        )
        .await;
        let made = async |sql: &str| {
            let before = entries(t).await.len();
            let done = audited(&single(t).await).execute_unprepared(sql).await;
            let made: Vec<_> = entries(t).await.drain(before..).map(|entry| entry.action).collect();
            done.map(|_| made)
        };
        let replaced = made(&format!("INSERT INTO {table} VALUES (2, 'c')")).await.unwrap();
        assert_eq!(replaced, ["delete", "create"], "{table}");
        execute(
            t,
            &[
                &format!("DROP TABLE {table}"),
                &format!("CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, label TEXT NOT NULL)"),
                &format!("INSERT INTO {table} VALUES (1, 'a'), (2, 'b')"),
            ],
        )
        .await;
        execute(
            t,
            &[&format!("CREATE TRIGGER x AFTER UPDATE ON plain BEGIN DELETE FROM {table} WHERE id = 1; END")],
        )
        .await;
        assert_eq!(made("UPDATE plain SET v = 'y'").await.unwrap(), ["delete"], "{table}");
        execute(t, &[&format!("CREATE TRIGGER own AFTER DELETE ON {table} BEGIN SELECT 1; END")]).await;
        let refused = made(&format!("REPLACE INTO {table} VALUES (2, 'd')")).await;
        assert!(refused.as_ref().is_err_and(is_audit_error), "{table}: {refused:?}");
    }
});

db_test!(c17_what_becomes_of_a_partition_is_told_of_its_table, on(postgres), async |t| {
    for sql in [
        "TRUNCATE shelf_b",
        "TRUNCATE TABLE ONLY shelf_b",
        "DROP TABLE shelf_b",
        "DROP TABLE shelf_b CASCADE",
        "ALTER TABLE shelf DETACH PARTITION shelf_b",
        // A foreign key that only the partition has.
        "DELETE FROM solo",
    ] {
        execute(
            t,
            &[
                "DROP TABLE IF EXISTS shelf CASCADE",
                "DROP TABLE IF EXISTS shelf_b CASCADE",
                "DROP TABLE IF EXISTS solo CASCADE",
                "CREATE TABLE solo (number INT PRIMARY KEY)",
                "INSERT INTO solo VALUES (1), (2)",
                "CREATE TABLE shelf (room TEXT NOT NULL, number INT NOT NULL, label TEXT NOT NULL, PRIMARY KEY (room, number)) \
                 PARTITION BY LIST (room)",
                "CREATE TABLE shelf_a PARTITION OF shelf FOR VALUES IN ('a')",
                "CREATE TABLE shelf_b PARTITION OF shelf FOR VALUES IN ('b')",
                "INSERT INTO shelf VALUES ('a', 1, 'one'), ('b', 1, 'three')",
                "ALTER TABLE shelf_b ADD FOREIGN KEY (number) REFERENCES solo (number) ON DELETE CASCADE",
            ],
        )
        .await;
        let (before, seen) = (shelves(t).await, entries(t).await.len());
        let done = audited(&single(t).await).execute_unprepared(sql).await;
        let told = entries(t).await.split_off(seen).iter().any(|entry| entry.resource_type == "shelf");
        assert!(
            told || (done.is_err_and(|error| is_audit_error(&error)) && shelves(t).await == before),
            "{sql}"
        );
    }
});

db_test!(i6_a_setting_that_rounds_floats_is_refused, on(postgres), async |t| {
    let db = audited(&single(t).await);
    let done = db.execute_unprepared("SET extra_float_digits = 0").await;
    assert!(done.as_ref().is_err_and(is_audit_error), "{done:?}");
});

db_test!(c17_what_capture_has_put_on_a_connection_stays, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    db.execute_unprepared("UPDATE shelf SET label = 'x'").await.unwrap();
    let triggers =
        "SELECT name FROM sqlite_temp_schema WHERE type = 'trigger' AND name GLOB 'audit_capture_*'";
    let triggers =
        db.query_all_raw(sea_orm::Statement::from_string(DbBackend::Sqlite, triggers)).await.unwrap();
    assert!(!triggers.is_empty());
    for row in triggers {
        let name: String = row.try_get("", "name").unwrap();
        for sql in [format!("DROP TRIGGER {name}"), format!("DROP TRIGGER IF EXISTS temp.\"{name}\"")] {
            let done = db.execute_unprepared(&sql).await;
            assert!(done.as_ref().is_err_and(is_audit_error), "{sql}: {done:?}");
        }
    }
});

// An INSERT made no entry, and an UPDATE that of a deletion.
db_test!(c17_a_row_that_a_trigger_moves_again_is_refused, on(postgres), async |t| {
    set_up_shelves(t).await;
    for (body, refused) in [
        ("UPDATE shelf SET number = number + 100 WHERE room = NEW.room AND number = NEW.number", true),
        ("DELETE FROM shelf WHERE room = NEW.room AND number = NEW.number", true),
        ("UPDATE shelf SET label = label || '!' WHERE room = NEW.room AND number = NEW.number", false),
    ] {
        execute(
            t,
            &[
                &format!(
                    "CREATE OR REPLACE FUNCTION again() RETURNS trigger AS $$ BEGIN \
                     IF NEW.number < 50 AND NEW.label NOT LIKE '%!' THEN {body}; END IF; RETURN NULL; END $$ LANGUAGE plpgsql"
                ),
                "CREATE OR REPLACE TRIGGER again AFTER INSERT OR UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION again()",
            ],
        )
        .await;
        for sql in
            ["INSERT INTO shelf VALUES ('n', 1, 'new')", "UPDATE shelf SET label = 'u' WHERE room = 'b'"]
        {
            let before = entries(t).await.len();
            is_told(t, sql).await.unwrap();
            assert_eq!(entries(t).await.len() == before, refused, "{sql}, then {body}");
        }
    }
});
