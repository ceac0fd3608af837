//! What foreign keys do along where that is hard to see before: other names, others at work, conditions that change their mind.

use std::collections::BTreeSet;

use audit_seaorm::is_audit_error;
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, DbErr, ExecResult, TransactionTrait};

use super::hostile::{Shelves, shelves, told};
use super::sessions::{audited, single, waiting};
use crate::fixtures::{entries, set_up_shelves, tree};

async fn execute(t: &TestDb, statements: &[&str]) {
    for sql in statements {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// What a statement does over a new connection; the entries must tell what has become of the shelves.
async fn tells<C: ConnectionTrait>(t: &TestDb, db: &C, sql: &str) -> Result<ExecResult, DbErr> {
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let done = db.execute_unprepared(sql).await;
    let found = told(&entries(t).await.split_off(seen), before);
    assert_eq!(found, Ok(shelves(t).await), "{sql}: {done:?}");
    done
}

/// A statement that is followed: it changes shelves.
async fn followed<C: ConnectionTrait>(t: &TestDb, db: &C, sql: &str) {
    let before: Shelves = shelves(t).await;
    let done = tells(t, db, sql).await;
    assert!(done.is_ok() && shelves(t).await != before, "{sql}: {done:?}");
}

/// A statement that is refused: it changes nothing.
async fn refused<C: ConnectionTrait>(t: &TestDb, db: &C, sql: &str) -> String {
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let error = db.execute_unprepared(sql).await.expect_err(sql);
    assert!(is_audit_error(&error), "{sql}: {error}");
    assert_eq!((shelves(t).await, entries(t).await.len()), (before, seen), "{sql}: {error}");
    error.to_string()
}

/// Two houses; nodes in the wings of the first and of the second.
async fn houses(t: &TestDb) {
    execute(t, &tree::TABLES).await;
    execute(
        t,
        &[
            "INSERT INTO house VALUES (1, 'h'), (2, 'i')",
            "INSERT INTO wing VALUES (1, 1), (2, 1), (3, 2)",
            "INSERT INTO node (id, label, wing_id) VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
        ],
    )
    .await;
}

async fn nodes(t: &TestDb) -> BTreeSet<String> {
    let ids = t.column::<i32>("SELECT id FROM node").await.expect("the nodes");
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// The nodes whose end is on record.
async fn ended(t: &TestDb) -> BTreeSet<String> {
    let ended = entries(t).await.into_iter().filter(|entry| entry.action == "delete");
    ended.filter_map(|entry| entry.resource_id).collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Stands by which the shelves' labels are called.
const STAND: &str = "CREATE TABLE stand (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE)";

/// Shelves that refer to them.
fn on_stands(rules: &str) -> String {
    format!(
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number), \
         FOREIGN KEY (label) REFERENCES stand (name) {rules})"
    )
}

db_test!(c16_a_column_in_another_case_is_followed, on(mysql), async |t| {
    execute(
        t,
        &[
            STAND,
            "INSERT INTO stand VALUES (1, 'one'), (2, 'two')",
            &on_stands("ON UPDATE CASCADE"),
            "INSERT INTO shelf VALUES ('a', 1, 'one'), ('a', 2, 'two')",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    refused(t, &db, "INSERT INTO stand VALUES (1, 'x') ON DUPLICATE KEY UPDATE Name = 'uno'").await;
    followed(t, &db, "UPDATE stand SET NAME = 'uno' WHERE id = 1").await;
    followed(t, &db, "UPDATE stand AS s SET s.Name = 'due' WHERE s.id = 2").await;
});

db_test!(c16_a_column_that_the_database_computes_is_followed, on(postgres, mysql), async |t| {
    execute(
        t,
        &[
            "CREATE TABLE stand (base INT PRIMARY KEY, name VARCHAR(100) GENERATED ALWAYS AS (left('onetwothree', base)) STORED UNIQUE)",
            "INSERT INTO stand (base) VALUES (3), (6)",
            &on_stands(t.pick("", "ON UPDATE CASCADE ON DELETE CASCADE", "ON UPDATE CASCADE ON DELETE CASCADE")),
            "INSERT INTO shelf VALUES ('a', 1, 'one'), ('a', 2, 'onetwo')",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    followed(t, &db, "UPDATE stand SET base = 4 WHERE base = 3").await;
    followed(t, &db, "DELETE FROM stand WHERE base = 6").await;
});

db_test!(c16_a_column_that_a_trigger_sets_is_followed, on(postgres, mysql), async |t| {
    execute(
        t,
        &[
            "CREATE TABLE stand (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE, x INT)",
            "INSERT INTO stand VALUES (1, 'one', 1), (2, 'two', 1)",
            &on_stands("ON UPDATE CASCADE"),
            "INSERT INTO shelf VALUES ('a', 1, 'one'), ('a', 2, 'two')",
        ],
    )
    .await;
    if t.backend == DbBackend::Postgres {
        execute(t, &["CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN NEW.name := OLD.name || NEW.x; RETURN NEW; END $$ LANGUAGE plpgsql"])
            .await;
    }
    let trigger = "CREATE TRIGGER x BEFORE UPDATE ON stand FOR EACH ROW";
    let body = t.pick("", "EXECUTE FUNCTION f()", "SET NEW.name = concat(OLD.name, NEW.x)");
    execute(t, &[&format!("{trigger} {body}")]).await;
    followed(t, &audited(&single(t).await), "UPDATE stand SET x = 2 WHERE id = 1").await;
});

db_test!(c16_what_an_older_snapshot_hides_is_followed, on(mysql), async |t| {
    houses(t).await;
    let db = audited(&single(t).await);
    for (sql, made, gone) in [
        (
            "DELETE FROM wing WHERE house_id = 1",
            ["INSERT INTO wing VALUES (9, 1)", "INSERT INTO node (id, label, wing_id) VALUES (9, 'new', 9)"],
            &["1", "2", "9"][..],
        ),
        (
            "DELETE FROM house WHERE id = 2",
            [
                "INSERT INTO wing VALUES (19, 2)",
                "INSERT INTO node (id, label, wing_id) VALUES (19, 'new', 19)",
            ],
            &["3", "19"],
        ),
        (
            "DELETE FROM node WHERE label = 'parent'",
            [
                "INSERT INTO node (id, label) VALUES (29, 'parent')",
                "INSERT INTO node (id, label, parent_id) VALUES (30, 'child', 29)",
            ],
            &["29", "30"],
        ),
    ] {
        let before = ended(t).await;
        let transaction = db.begin().await.unwrap();
        transaction.execute_unprepared("SELECT * FROM house").await.unwrap();
        execute(t, &made).await;
        transaction.execute_unprepared(sql).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(&ended(t).await - &before, set(gone), "{sql}");
    }
    assert_eq!(nodes(t).await, set(&[]));
});

db_test!(c16_nobody_comes_to_refer_to_a_step_in_between, on(postgres, mysql), async |t| {
    if t.backend == DbBackend::MySql && !t.is_mariadb().await {
        return; // MySQL doesn't tell who waits for a foreign key.
    }
    houses(t).await;
    let db = audited(&single(t).await);
    // What is known of the database is read.
    db.execute_unprepared("UPDATE node SET label = label").await.unwrap();
    let (other, writer) = (t.db.begin().await.unwrap(), single(t).await);
    other.execute_unprepared("UPDATE node SET label = 'held' WHERE id = 1").await.unwrap();
    let delete = db.execute_unprepared("DELETE FROM house WHERE id = 1");
    let come = async {
        waiting(t, 1).await;
        let insert = writer.execute_unprepared("INSERT INTO node (id, label, wing_id) VALUES (9, 'new', 1)");
        let release = async {
            waiting(t, 2).await;
            other.commit().await.unwrap();
        };
        tokio::join!(insert, release).0
    };
    let (deleted, inserted) = tokio::join!(delete, come);
    deleted.unwrap();
    inserted.unwrap_err();
    assert_eq!((nodes(t).await, ended(t).await), (set(&["3"]), set(&["1", "2"])));
});

db_test!(c16_a_parent_that_comes_in_between_is_followed, on(postgres, mysql), async |t| {
    const DELETE: &str = "DELETE FROM wing WHERE house_id = 1";
    houses(t).await;
    let db = audited(&single(t).await);
    if t.backend == DbBackend::MySql {
        // Else nobody comes in between.
        db.execute_unprepared("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
    }
    db.execute_unprepared("UPDATE node SET label = label").await.unwrap();
    let come = async |id: i32| {
        let other = t.db.begin().await.unwrap();
        other.execute_unprepared("UPDATE node SET label = 'held' WHERE id = 1").await.unwrap();
        (other, async move |other: sea_orm::DatabaseTransaction| {
            waiting(t, 1).await;
            let node = format!("INSERT INTO node (id, label, wing_id) VALUES ({id}, 'new', {id})");
            execute(t, &[&format!("INSERT INTO wing VALUES ({id}, 1)"), &node]).await;
            other.commit().await.unwrap();
        })
    };
    // In a transaction of the user's, which can't be tried again.
    let (other, comes) = come(8).await;
    let transaction = db.begin().await.unwrap();
    let (done, ()) = tokio::join!(transaction.execute_unprepared(DELETE), comes(other));
    assert!(done.as_ref().is_err_and(is_audit_error), "{done:?}");
    transaction.commit().await.unwrap_err();
    assert_eq!((nodes(t).await, ended(t).await), (set(&["1", "2", "3", "8"]), set(&[])));
    // Alone.
    let (other, comes) = come(9).await;
    let (done, ()) = tokio::join!(db.execute_unprepared(DELETE), comes(other));
    done.unwrap();
    assert_eq!((nodes(t).await, ended(t).await), (set(&["3"]), set(&["1", "2", "8", "9"])));
});

db_test!(c16_parents_that_are_chosen_at_random_are_refused, on(postgres, mysql), async |t| {
    houses(t).await;
    let db = audited(&single(t).await);
    let (postgres, mysql): (&[&str], &[&str]) = (
        &[
            "DELETE FROM wing WHERE random() < 0.3",
            "DELETE FROM house WHERE (SELECT pg_catalog.random() < 0.5)",
            "DELETE FROM house WHERE nextval('s') % 5 = 0",
            "DELETE FROM house WHERE \"F\"() > 0",
            "UPDATE house SET id = id + 10 WHERE clock_timestamp() > '2000-01-01'",
            // An audited parent, whose rows are read before as well.
            "DELETE FROM node WHERE random() < 0.3",
        ],
        &[
            "DELETE FROM wing WHERE rand() < 0.3",
            "DELETE FROM house ORDER BY rand() LIMIT 1",
            "DELETE FROM house LIMIT 1",
            "DELETE FROM house WHERE (@n := 1) > 0",
            "DELETE FROM house WHERE f() > 0",
            "DELETE FROM node WHERE rand() < 0.3",
        ],
    );
    let made: &[&str] = t.pick(
        &[],
        &["CREATE SEQUENCE s", "CREATE FUNCTION \"F\"() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'"],
        &["CREATE FUNCTION f() RETURNS INT NOT DETERMINISTIC NO SQL RETURN 1"],
    );
    execute(t, made).await;
    for sql in *t.pick(&&[][..], &postgres, &mysql) {
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error), "{sql}: {error}");
        assert_eq!(error.to_string().contains("is audited"), sql.contains("node"), "{sql}: {error}");
    }
    assert_eq!((nodes(t).await.len(), ended(t).await.len()), (3, 0));
    // Functions that keep to what they have said, and those that choose nothing.
    db.execute_unprepared(t.pick(
        "",
        "UPDATE wing SET house_id = CAST(1 + random() * 0 AS INT) WHERE lower('A') = 'a'",
        "DELETE FROM wing WHERE id > 99 AND lower('A') = 'a'",
    ))
    .await
    .unwrap();
    db.execute_unprepared("DELETE FROM house WHERE now() > '2000-01-01' AND name = 'i'").await.unwrap();
    assert_eq!(ended(t).await, set(t.pick(&[], &[], &["3"])));
});

db_test!(i4_a_condition_with_effects_is_asked_once_or_refused, on(postgres), async |t| {
    set_up_shelves(t).await;
    execute(t, &["CREATE SEQUENCE s"]).await;
    let db = audited(&single(t).await);
    refused(t, &db, "UPDATE shelf SET label = 'q' FROM (SELECT 1 AS one) v WHERE nextval('s') % 2 = v.one")
        .await;
    refused(t, &db, "UPDATE shelf SET label = 'q' FROM (SELECT nextval('s') AS one) v WHERE v.one = 1").await;
    assert_eq!(t.value::<i64>("SELECT nextval('s')").await.unwrap(), 1);
    // Asked once.
    followed(t, &db, "UPDATE shelf SET label = 'q' WHERE nextval('s') = 2").await;
    followed(t, &db, "UPDATE shelf SET label = nextval('s') FROM (SELECT 1 AS one) v WHERE number = v.one")
        .await;
    followed(t, &db, "DELETE FROM shelf USING (SELECT 2 AS two) v WHERE number = v.two AND random() < 2")
        .await;
});

db_test!(c16_a_cascade_that_changes_keys_is_refused, on(postgres, mysql), async |t| {
    execute(
        t,
        &[
            "CREATE TABLE stand (name VARCHAR(100) PRIMARY KEY, x INT NOT NULL DEFAULT 1)",
            "INSERT INTO stand (name) VALUES ('a'), ('b'), ('c')",
        ],
    )
    .await;
    set_up_shelves(t).await;
    execute(
        t,
        &["ALTER TABLE shelf ADD FOREIGN KEY (room) REFERENCES stand (name) ON UPDATE CASCADE ON DELETE CASCADE"],
    )
    .await;
    let db = audited(&single(t).await);
    let error = refused(t, &db, "UPDATE stand SET name = 'z' WHERE name = 'a'").await;
    assert!(error.contains("`shelf`") && error.contains("key"), "{error}");
    // Nothing follows, or nothing of the key.
    tells(t, &db, "UPDATE stand SET name = 'z' WHERE name = 'c'").await.unwrap();
    tells(t, &db, "UPDATE stand SET x = 2").await.unwrap();
    // A trigger may set the column, or it may not.
    if t.backend == DbBackend::Postgres {
        execute(t, &["CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN IF NEW.x > 4 THEN NEW.name := NEW.x; END IF; RETURN NEW; END $$ LANGUAGE plpgsql"])
            .await;
    }
    let trigger = "CREATE TRIGGER x BEFORE UPDATE ON stand FOR EACH ROW";
    let body = t.pick("", "EXECUTE FUNCTION f()", "SET NEW.name = IF(NEW.x > 4, NEW.x, NEW.name)");
    execute(t, &[&format!("{trigger} {body}")]).await;
    let db = audited(&single(t).await);
    tells(t, &db, "UPDATE stand SET x = 3").await.unwrap();
    refused(t, &db, "UPDATE stand SET x = 5 WHERE name = 'a'").await;
    followed(t, &db, "DELETE FROM stand WHERE name = 'a'").await;
});

// As many tables have it: the parent's key isn't touched.
db_test!(c16_a_trigger_that_sets_another_column_of_the_parent_is_no_hindrance, on(postgres), async |t| {
    houses(t).await;
    execute(
        t,
        &[
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name = upper(NEW.name); RETURN NEW; END'",
            "CREATE TRIGGER touch BEFORE UPDATE ON house FOR EACH ROW EXECUTE FUNCTION touch()",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    for sql in [
        "INSERT INTO house (id, name) VALUES (1, 'y'), (7, 'z') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "UPDATE house SET name = v.name FROM (VALUES (1, 'v')) AS v (id, name) WHERE house.id = v.id",
    ] {
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
});

// The same on MySQL, where every trigger before an update was taken for one that sets what rows refer to.
db_test!(c16_a_trigger_that_leaves_what_is_referred_to_is_no_hindrance, on(mysql), async |t| {
    execute(
        t,
        &[
            "CREATE TABLE stand (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE, x INT)",
            "INSERT INTO stand VALUES (1, 'one', 1), (2, 'two', 1)",
            &on_stands("ON UPDATE CASCADE"),
            "INSERT INTO shelf VALUES ('a', 1, 'one'), ('a', 2, 'two')",
            "CREATE TABLE other (id INT PRIMARY KEY)",
            "INSERT INTO other VALUES (1)",
            "CREATE TRIGGER touch BEFORE UPDATE ON stand FOR EACH ROW SET NEW.x = char_length(NEW.name)",
        ],
    )
    .await;
    let db = audited(&single(t).await);
    let upsert =
        "INSERT INTO stand VALUES (1, 'one', 5), (3, 'three', 1) ON DUPLICATE KEY UPDATE x = VALUES(x)";
    let join = "UPDATE stand s JOIN other o ON o.id = s.id SET s.x = 9";
    for sql in [upsert, join, "UPDATE stand SET x = 7"] {
        tells(t, &db, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    refused(t, &db, "INSERT INTO stand VALUES (1, 'one', 5) ON DUPLICATE KEY UPDATE name = 'uno'").await;
    followed(t, &db, "UPDATE stand SET name = 'uno' WHERE id = 1").await;
    // One that does, in one of the ways there are, beside the first.
    for (at, set) in
        ["SET NEW.Name = OLD.name", "BEGIN SET @x = 1, NEW . `name` := NEW.name; END"].iter().enumerate()
    {
        execute(t, &[&format!("CREATE TRIGGER sets{at} BEFORE UPDATE ON stand FOR EACH ROW {set}")]).await;
        let db = audited(&single(t).await);
        refused(t, &db, upsert).await;
        refused(t, &db, join).await;
        execute(t, &[&format!("DROP TRIGGER sets{at}")]).await;
    }
});
