//! Definitions: what is known of the database's tables is known anew after them, and by whom, however they end.

use std::collections::BTreeSet;
use std::time::Duration;

use audit_seaorm::{Audit, AuditConnection, Config, is_audit_error, suspended};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, Database, Statement, TransactionTrait};
use tokio::time::timeout;

use super::contention::dropped;
use super::hostile::{shelves, told};
use super::sessions::{audited, single, until, waiting};
use crate::fixtures::{entries, set_up_shelves, tree};

async fn execute(t: &TestDb, statements: &[&str]) {
    for sql in statements {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// Two wings of a house, with a node in the first and one below it, and one in the second.
async fn set_up_tree(t: &TestDb) {
    execute(t, &tree::TABLES).await;
    execute(
        t,
        &[
            "INSERT INTO house VALUES (1, 'old')",
            "INSERT INTO wing VALUES (1, 1), (2, 1)",
            "INSERT INTO node (id, parent_id, label, wing_id) VALUES (1, NULL, 'parent', 1), (2, 1, 'child', NULL), (3, NULL, 'other', 2)",
        ],
    )
    .await;
}

/// A tree whose nodes are to follow a block.
async fn set_up_block(t: &TestDb) {
    set_up_tree(t).await;
    execute(
        t,
        &[
            "CREATE TABLE block (id INT PRIMARY KEY)",
            "INSERT INTO block VALUES (1)",
            "ALTER TABLE node ADD block_id INT DEFAULT 1",
        ],
    )
    .await;
}

/// What makes them follow it.
fn follows(t: &TestDb) -> &'static str {
    const KEY: &str = "ALTER TABLE node ADD FOREIGN KEY (block_id) REFERENCES block (id) ON DELETE CASCADE";
    t.pick("CREATE TRIGGER own AFTER DELETE ON block BEGIN DELETE FROM node; END", KEY, KEY)
}

/// Every node that goes by this statement has an entry.
async fn all_told(t: &TestDb, db: &AuditConnection, sql: &str) {
    let nodes = async || -> BTreeSet<String> {
        let ids = t.column::<i32>("SELECT id FROM node").await.unwrap();
        ids.iter().map(ToString::to_string).collect()
    };
    let (before, seen) = (nodes().await, entries(t).await.len());
    let done = db.execute_unprepared(sql).await;
    let after = nodes().await;
    let made = entries(t).await.split_off(seen);
    let made = made.into_iter().filter(|entry| entry.action == "delete" && entry.resource_type == "node");
    let made: BTreeSet<String> = made.filter_map(|entry| entry.resource_id).collect();
    assert_eq!(before.difference(&after).cloned().collect::<BTreeSet<_>>(), made, "{sql}: {done:?}");
}

db_test!(c16_a_definition_that_is_rolled_back_is_forgotten, on(postgres, sqlite), async |t| {
    set_up_tree(t).await;
    let db = audited(&t.db);
    let transaction = db.begin().await.unwrap();
    let gone = t.pick(
        &["ALTER TABLE node RENAME TO other", "CREATE TABLE node (id INT NOT NULL PRIMARY KEY, parent_id INT NULL, boss_id INT NULL, label VARCHAR(20) NOT NULL)"][..],
        &["ALTER TABLE node DROP CONSTRAINT node_wing_id_fkey"][..],
        &[][..],
    );
    for sql in gone {
        transaction.execute_unprepared(sql).await.unwrap();
    }
    transaction.execute_unprepared("UPDATE node SET label = label").await.unwrap();
    transaction.rollback().await.unwrap();
    all_told(t, &db, "DELETE FROM wing WHERE id = 1").await;
    assert!(!entries(t).await.is_empty());
});

db_test!(
    c16_a_definition_of_a_nested_transaction_that_is_rolled_back_is_forgotten,
    on(postgres),
    async |t| {
        set_up_tree(t).await;
        let db = audited(&t.db);
        for drops in [false, true] {
            let outer = db.begin().await.unwrap();
            let nested = outer.begin().await.unwrap();
            nested.execute_unprepared("ALTER TABLE node DROP CONSTRAINT node_wing_id_fkey").await.unwrap();
            nested.execute_unprepared("UPDATE node SET label = label").await.unwrap();
            if drops {
                drop(nested);
            } else {
                nested.rollback().await.unwrap();
            }
            outer.commit().await.unwrap();
            all_told(t, &db, &format!("DELETE FROM wing WHERE id = {}", 1 + i32::from(drops))).await;
        }
    }
);

db_test!(c16_a_definition_that_a_savepoint_takes_back_is_forgotten, on(postgres), async |t| {
    set_up_tree(t).await;
    let db = audited(&t.db);
    let transaction = db.begin().await.unwrap();
    for sql in [
        "SAVEPOINT s",
        "ALTER TABLE node DROP CONSTRAINT node_wing_id_fkey",
        "UPDATE node SET label = label",
        "ROLLBACK TO SAVEPOINT s",
        "DELETE FROM wing WHERE id = 1",
    ] {
        transaction.execute_unprepared(sql).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let gone = entries(t).await.into_iter().filter(|entry| entry.action == "delete");
    assert_eq!(
        gone.filter_map(|entry| entry.resource_id).collect::<BTreeSet<_>>(),
        ["1", "2"].map(String::from).into()
    );
});

// What a transaction saw after a definition of its own was known to all, and theirs then passed.
db_test!(c16_what_a_transaction_has_defined_is_known_to_it_alone, on(postgres), async |t| {
    set_up_tree(t).await;
    let db = audited(&t.db);
    db.execute_unprepared("UPDATE node SET label = label").await.unwrap();
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("ALTER TABLE node DROP CONSTRAINT node_wing_id_fkey").await.unwrap();
    transaction.execute_unprepared("DELETE FROM wing WHERE id = 77").await.unwrap();
    let other = db.clone();
    let waits = tokio::spawn(async move { other.execute_unprepared("DELETE FROM wing WHERE id = 1").await });
    waiting(t, 1).await;
    transaction.rollback().await.unwrap();
    waits.await.unwrap().unwrap();
    let gone = entries(t).await.into_iter().filter(|entry| entry.action == "delete");
    assert_eq!(
        gone.filter_map(|entry| entry.resource_id).collect::<BTreeSet<_>>(),
        ["1", "2"].map(String::from).into()
    );
});

// Another task asked the database while the definition was there for its own transaction only.
db_test!(c16_a_definition_is_known_once_it_is_committed, on(postgres), async |t| {
    set_up_block(t).await;
    set_up_shelves(t).await;
    let db = audited(&t.db);
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("CREATE TABLE annex (id INT PRIMARY KEY)").await.unwrap();
    transaction.execute_unprepared(follows(t)).await.unwrap();
    db.execute_unprepared("UPDATE shelf SET label = 'x'").await.unwrap();
    // It knows of no key, and waits for the lock of the definition.
    let other = db.clone();
    let waits =
        tokio::spawn(async move { other.execute_unprepared("DELETE FROM block WHERE id = 77").await });
    waiting(t, 1).await;
    transaction.commit().await.unwrap();
    waits.await.unwrap().unwrap();
    all_told(t, &db, "DELETE FROM block WHERE id = 1").await;
    assert_eq!(t.value::<i64>("SELECT count(*) FROM node").await.unwrap(), 0);
});

db_test!(c16_definitions_are_noticed_while_the_audit_rests, async |t| {
    for says_so in [false, true] {
        for table in ["node", "wing", "house", "block"] {
            t.execute(&format!("DROP TABLE IF EXISTS {table}")).await.unwrap();
        }
        set_up_block(t).await;
        let db = audited(&single(t).await);
        for sql in ["UPDATE node SET label = label WHERE id = 1", "DELETE FROM block WHERE id = 77"] {
            db.execute_unprepared(sql).await.unwrap();
        }
        let define = follows(t);
        if says_so {
            let done =
                db.without_audit("because", async |raw| raw.execute_unprepared(define).await.map(|_| ()));
            done.await.unwrap().unwrap();
        } else {
            suspended(db.execute_unprepared(define)).await.unwrap();
        }
        all_told(t, &db, "DELETE FROM block WHERE id = 1").await;
        assert_eq!(t.value::<i64>("SELECT count(*) FROM node").await.unwrap(), 0);
    }
});

// Each statement was planned by what was known before the first.
db_test!(c17_a_text_that_writes_after_a_definition_is_recorded_or_refused, async |t| {
    set_up_block(t).await;
    set_up_shelves(t).await;
    let db = audited(&t.db);
    all_told(t, &db, &format!("{}; DELETE FROM block WHERE id = 1", follows(t))).await;
    if t.backend == DbBackend::Sqlite {
        return;
    }
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let sql = "CREATE VIEW sv AS SELECT * FROM shelf; UPDATE sv SET label = 'unseen'";
    let done = db.execute_unprepared(sql).await;
    assert!(done.as_ref().is_err_and(is_audit_error), "{done:?}");
    assert_eq!(told(&entries(t).await.split_off(seen), before), Ok(shelves(t).await));
    // What isn't of the audit's concern is.
    db.execute_unprepared("CREATE TABLE plain (id INT PRIMARY KEY); INSERT INTO plain VALUES (1)")
        .await
        .unwrap();
    db.execute_unprepared("CREATE VIEW sv AS SELECT * FROM shelf; CREATE VIEW tv AS SELECT * FROM shelf")
        .await
        .unwrap();
});

db_test!(c17_a_table_that_comes_to_inherit_is_recorded, on(postgres), async |t| {
    set_up_shelves(t).await;
    execute(t, &["CREATE TABLE extra (LIKE shelf)", "INSERT INTO extra VALUES ('e', 1, 'extra')"]).await;
    let db = audited(&single(t).await);
    for sql in ["ALTER TABLE extra INHERIT shelf", "ALTER TABLE extra NO INHERIT shelf"] {
        let before = entries(t).await.len();
        db.execute_unprepared(sql).await.unwrap();
        let made: Vec<_> = entries(t).await.drain(before..).map(|entry| entry.action).collect();
        assert_eq!(made, ["redefine"], "{sql}");
    }
});

// SQLite itself goes by what the connection knew of the table.
db_test!(c17_a_definition_sees_what_another_connection_has_defined, on(sqlite), async |t| {
    set_up_shelves(t).await;
    for (column, written) in [("note", false), ("remark", true)] {
        let db = audited(&single(t).await);
        db.execute_unprepared("DROP VIEW IF EXISTS no_view").await.unwrap();
        if written {
            db.execute_unprepared("UPDATE shelf SET label = 'x'").await.unwrap();
        }
        t.execute(&format!("ALTER TABLE shelf ADD COLUMN {column} TEXT")).await.unwrap();
        let before = entries(t).await.len();
        db.execute_unprepared(&format!("ALTER TABLE shelf DROP COLUMN {column}")).await.unwrap();
        assert_eq!(entries(t).await.len() - before, 1);
    }
});

// Triggers that named the column by its former name were in the way of what is defined of any other table.
db_test!(c17_a_definition_of_another_table_after_a_rename_by_another_connection, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let other = single(t).await;
    other.execute_unprepared("CREATE TABLE plain (id INT PRIMARY KEY, number INT)").await.unwrap();
    for (at, sql) in [
        "ALTER TABLE plain ADD COLUMN note TEXT",
        "ALTER TABLE plain RENAME COLUMN note TO remark",
        "ALTER TABLE plain DROP COLUMN remark",
        "ALTER TABLE plain RENAME TO simple",
        "CREATE TABLE further AS SELECT * FROM simple",
    ]
    .into_iter()
    .enumerate()
    {
        let db = audited(&single(t).await);
        db.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'b'").await.unwrap();
        other.execute_unprepared("ALTER TABLE shelf RENAME COLUMN label TO renamed").await.unwrap();
        if at % 2 == 0 {
            db.execute_unprepared(sql).await.unwrap();
        } else {
            let txn = db.begin().await.unwrap();
            txn.execute_unprepared(sql).await.unwrap();
            txn.commit().await.unwrap();
        }
        other.execute_unprepared("ALTER TABLE shelf RENAME COLUMN renamed TO label").await.unwrap();
        let before = entries(t).await.len();
        db.execute_unprepared("UPDATE shelf SET label = 'y' WHERE room = 'b'").await.unwrap();
        assert_eq!(entries(t).await.len() - before, 1);
        other.execute_unprepared("UPDATE shelf SET label = 'b' WHERE room = 'b'").await.unwrap();
    }
});

// It takes no part in what is recorded, so nobody has to have done it.
db_test!(c17_what_is_defined_of_other_tables_needs_no_actor, async |t| {
    set_up_shelves(t).await;
    let mut config = Config::default();
    config.require_actor = true;
    let audit = Audit::builder().config(config).build().unwrap();
    let db = audit.connect(single(t).await);
    for sql in [
        "CREATE TABLE plain (id INT PRIMARY KEY)",
        "ALTER TABLE plain ADD COLUMN note TEXT",
        "DROP TABLE plain",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    let error = db.execute_unprepared("ALTER TABLE shelf ADD COLUMN note TEXT").await.unwrap_err();
    assert!(error.to_string().contains("actor"), "{error}");
    assert_eq!(entries(t).await, []);
});

// The database was asked for its tables before the statement.
db_test!(c15_a_transaction_may_set_its_isolation_first, on(postgres), async |t| {
    set_up_shelves(t).await;
    let transaction = audited(&single(t).await).begin().await.unwrap();
    transaction.execute_unprepared("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    transaction.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'b'").await.unwrap();
    let ask = Statement::from_string(t.backend, "SHOW transaction_isolation");
    let isolation = transaction.query_one_raw(ask).await.unwrap().unwrap();
    assert_eq!(isolation.try_get_by_index::<String>(0).unwrap(), "serializable");
    transaction.commit().await.unwrap();
});

db_test!(c15_a_setting_waits_for_nobody, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let other = t.db.begin().await.unwrap();
    other.execute_unprepared("UPDATE shelf SET label = 'locked'").await.unwrap();
    let transaction = audited(&single(t).await).begin().await.unwrap();
    transaction.execute_unprepared("PRAGMA user_version").await.unwrap();
    other.rollback().await.unwrap();
});

db_test!(c17_settings_that_capture_relies_on_are_refused, async |t| {
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    let settings = t.pick(
        &["PRAGMA full_column_names = ON", "PRAGMA count_changes = ON", "PRAGMA recursive_triggers = ON"][..],
        &["SET session_replication_role = replica", "SET extra_float_digits = 0"][..],
        &["SET sql_select_limit = 1", "SET SESSION sql_select_limit = 1", "SET @@sql_select_limit = 1"][..],
    );
    for sql in settings {
        let done = db.execute_unprepared(sql).await;
        assert!(done.as_ref().is_err_and(is_audit_error), "{sql}: {done:?}");
        // The pool's connection would keep it after the block.
        assert!(!format!("{done:?}").contains("without_audit"), "{done:?}");
    }
});

// What was written next over the pool was committed by itself, or failed.
db_test!(c15_a_transaction_is_not_begun_by_sql_over_a_pool, async |t| {
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    for sql in
        ["BEGIN", "/* now */ begin", t.pick("BEGIN IMMEDIATE", "START TRANSACTION", "START TRANSACTION")]
    {
        let done = db.execute_unprepared(sql).await;
        assert!(done.as_ref().is_err_and(is_audit_error), "{sql}: {done:?}");
    }
    db.execute_unprepared("BEGIN; SELECT 1; COMMIT").await.unwrap();
    db.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'b'").await.unwrap();
    assert_eq!(entries(t).await.len(), 1);
});

// A server goes on with a definition whose future was dropped, and what was known before stayed.
db_test!(c16_a_definition_that_is_dropped_while_it_waits_is_known, on(postgres, mysql), async |t| {
    for way in ["pool", "transaction", "suspended", "record"] {
        if way == "transaction" && t.backend == DbBackend::MySql {
            continue;
        }
        for sql in [
            "DROP TABLE IF EXISTS node",
            "DROP TABLE IF EXISTS wing",
            "DROP TABLE IF EXISTS house",
            "DROP TABLE IF EXISTS block",
        ] {
            t.execute(sql).await.unwrap();
        }
        set_up_block(t).await;
        let mut options = t.options();
        options.max_connections(4);
        let db = audited(&Database::connect(options).await.unwrap());
        db.execute_unprepared("UPDATE node SET label = label").await.unwrap();
        db.execute_unprepared("DELETE FROM block WHERE id = 77").await.unwrap();
        let other = single(t).await;
        let lock = other.begin().await.unwrap();
        lock.execute_unprepared(t.pick("", "LOCK TABLE node IN ROW EXCLUSIVE MODE", "SELECT * FROM node"))
            .await
            .unwrap();
        let define = follows(t);
        let done = async {
            match way {
                "transaction" => {
                    let transaction = db.begin().await?;
                    _ = timeout(Duration::from_millis(300), transaction.execute_unprepared(define)).await;
                    let (ended, freed) = tokio::join!(transaction.commit(), async {
                        tokio::task::yield_now().await;
                        lock.rollback().await
                    });
                    freed?;
                    return ended;
                }
                "suspended" => {
                    _ = timeout(Duration::from_millis(300), suspended(db.execute_unprepared(define))).await
                }
                _ => _ = timeout(Duration::from_millis(300), db.execute_unprepared(define)).await,
            }
            lock.rollback().await
        };
        done.await.unwrap();
        let count = t.pick(
            "",
            "SELECT count(*) FROM pg_constraint WHERE conrelid = 'node'::regclass AND confrelid = 'block'::regclass",
            "SELECT count(*) FROM information_schema.referential_constraints WHERE constraint_schema = database() AND referenced_table_name = 'block'",
        );
        until("the foreign key", async || (t.value::<i64>(count).await.unwrap() == 1).then_some(())).await;
        all_told(t, &db, "DELETE FROM block WHERE id = 1").await;
        assert_eq!(t.value::<i64>("SELECT count(*) FROM node").await.unwrap(), 0, "{way}");
    }
});

// It was put into a transaction, where it can't be.
db_test!(c17_an_index_is_made_concurrently, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = audited(&single(t).await);
    for sql in [
        "CREATE INDEX CONCURRENTLY shelf_label ON shelf (label)",
        "REINDEX INDEX CONCURRENTLY shelf_label",
        "DROP INDEX CONCURRENTLY shelf_label",
    ] {
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let made: Vec<_> = entries(t).await.into_iter().map(|entry| entry.action).collect();
    assert_eq!(made, ["redefine"]);
});

// Each transaction looked only at what it had defined itself: a nested one went by what others see, or told them what it saw.
db_test!(c16_a_nested_transaction_knows_what_the_outer_one_has_defined, on(postgres, sqlite), async |t| {
    set_up_block(t).await;
    let db = audited(&t.db);
    db.execute_unprepared("UPDATE node SET label = 'known' WHERE id = 77").await.unwrap();
    let outer = db.begin().await.unwrap();
    outer.execute_unprepared(follows(t)).await.unwrap();
    if t.backend == DbBackend::Postgres {
        // Another one learns what is committed.
        db.execute_unprepared("DELETE FROM house WHERE id = 78").await.unwrap();
    }
    let nested = outer.begin().await.unwrap();
    nested.execute_unprepared("DELETE FROM block WHERE id = 1").await.unwrap();
    nested.commit().await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(t.value::<i64>("SELECT count(*) FROM node").await.unwrap(), 0);
    let gone = entries(t).await.into_iter().filter(|entry| entry.action == "delete").count();
    assert_eq!(gone, 3);
});

db_test!(c16_what_a_nested_transaction_learns_after_a_definition_is_its_own, on(postgres), async |t| {
    set_up_tree(t).await;
    let db = audited(&t.db);
    db.execute_unprepared("UPDATE node SET label = 'known' WHERE id = 77").await.unwrap();
    let outer = db.begin().await.unwrap();
    outer.execute_unprepared("ALTER TABLE node DROP CONSTRAINT node_wing_id_fkey").await.unwrap();
    let nested = outer.begin().await.unwrap();
    nested.execute_unprepared("DELETE FROM wing WHERE id = 77").await.unwrap();
    nested.commit().await.unwrap();
    let other = db.clone();
    let waits = tokio::spawn(async move { other.execute_unprepared("DELETE FROM wing WHERE id = 1").await });
    waiting(t, 1).await;
    outer.rollback().await.unwrap();
    waits.await.unwrap().unwrap();
    let gone = entries(t)
        .await
        .into_iter()
        .filter(|entry| entry.action == "delete" && entry.resource_type == "node");
    assert_eq!(
        gone.filter_map(|entry| entry.resource_id).collect::<BTreeSet<_>>(),
        BTreeSet::from(["1".to_owned(), "2".to_owned()])
    );
});

// They were planned before it, and done after it.
db_test!(
    c16_writes_that_wait_for_a_definition_of_their_transaction_are_planned_after_it,
    on(postgres, sqlite),
    async |t| {
        const DELETE: &str = "DELETE FROM block WHERE id = 1";
        // On PostgreSQL nothing could follow what is deleted first.
        let ways = t.pick(&["dropped", "beside", "beside and first"][..], &["dropped", "beside"], &[]);
        for way in ways {
            execute(
                t,
                &[
                    "DROP TABLE IF EXISTS node",
                    "DROP TABLE IF EXISTS wing",
                    "DROP TABLE IF EXISTS house",
                    "DROP TABLE IF EXISTS block",
                ],
            )
            .await;
            set_up_block(t).await;
            let db = audited(&single(t).await);
            // What there is to be learned is learned before.
            db.execute_unprepared("DELETE FROM block WHERE id = 78").await.unwrap();
            let seen = entries(t).await.len();
            let transaction = db.begin().await.unwrap();
            let (define, delete) =
                (transaction.execute_unprepared(follows(t)), transaction.execute_unprepared(DELETE));
            match *way {
                "dropped" => {
                    drop(dropped(define, 1).await);
                    // SQLite's may be refused: then nothing is done.
                    let deleted = delete.await;
                    assert!(deleted.is_ok() || t.backend == DbBackend::Sqlite, "{deleted:?}");
                }
                "beside" => {
                    let both = tokio::join!(define, delete);
                    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
                }
                _ => {
                    let both = tokio::join!(delete, define);
                    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
                }
            }
            let ended = transaction.commit().await;
            assert!(ended.is_ok() || *way == "dropped" && t.backend == DbBackend::Sqlite, "{way}: {ended:?}");
            let left = t.value::<i64>("SELECT count(*) FROM node").await.unwrap();
            let made = entries(t).await.split_off(seen);
            let gone =
                made.iter().filter(|entry| entry.action == "delete" && entry.resource_type == "node").count();
            assert_eq!(i64::try_from(gone).unwrap(), 3 - left, "{way}: {left} left");
            // On SQLite a definition that is dropped is not done.
            assert!(left == 0 || t.backend == DbBackend::Sqlite, "{way}");
        }
    }
);
