//! What a name means: a view's, a table's of another schema, a column's; and statements that only name an audited table.

use audit_seaorm::{AuditConnection, is_audit_error, suspended};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use super::sessions::{audited, single};
use crate::fixtures::{entries, set_up_shelves, tree};

const DONE: bool = true;
const REFUSED: bool = false;

async fn execute(t: &TestDb, statements: &[&str]) {
    for sql in statements {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

async fn over(t: &TestDb) -> AuditConnection {
    audited(&single(t).await)
}

/// Runs statements, each of which must be done or refused.
async fn expect(db: &AuditConnection, statements: &[(&str, bool)]) {
    let mut wrong = Vec::new();
    for (sql, done) in statements {
        match db.execute_unprepared(sql).await {
            Ok(_) if *done => {}
            Err(error) if !done && is_audit_error(&error) => {}
            other => wrong.push(format!("{sql}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

// Views were known by their bare names only.
db_test!(c17_a_view_of_another_schema_is_told_from_a_table_of_its_name, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let other = match t.backend {
        DbBackend::Postgres => "elsewhere".to_owned(),
        _ => format!("{}_o", t.value::<String>("SELECT DATABASE()").await.unwrap()),
    };
    let here = t.pick("", "public", "").to_owned();
    let here = if here.is_empty() { t.value::<String>("SELECT DATABASE()").await.unwrap() } else { here };
    execute(
        t,
        &[
            "CREATE TABLE plain (id INT PRIMARY KEY, number INT)",
            "INSERT INTO plain VALUES (1, 1)",
            &format!("CREATE SCHEMA {other}"),
            &format!("CREATE VIEW {other}.plain AS SELECT room, number, label FROM {here}.shelf"),
            &format!("CREATE VIEW {other}.shelf AS SELECT room, number, label FROM {here}.shelf"),
            &format!("CREATE VIEW {other}.only_there AS SELECT room, number, label FROM {here}.shelf"),
        ],
    )
    .await;
    let db = over(t).await;
    expect(
        &db,
        &[
            ("UPDATE plain SET number = 2", DONE),
            (&format!("UPDATE {here}.plain SET number = 3"), DONE),
            (&format!("UPDATE {other}.plain SET label = 'x'"), REFUSED),
            (&format!("DELETE FROM {other}.shelf"), REFUSED),
            (&format!("DELETE FROM {other}.only_there"), REFUSED),
            ("DELETE FROM only_there", REFUSED),
        ],
    )
    .await;
    assert_eq!(entries(t).await, []);
    expect(&db, &[(&format!("UPDATE {here}.shelf SET label = 'x' WHERE room = 'b'"), DONE)]).await;
    assert_eq!(entries(t).await.len(), 1);
    execute(t, &[t.pick("", "DROP SCHEMA elsewhere CASCADE", &format!("DROP SCHEMA {other}"))]).await;
});

// A column of the name was enough.
db_test!(c17_a_view_with_a_column_of_an_audited_name_is_not_of_its_table, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    execute(
        t,
        &[
            "CREATE TABLE plain (shelf INT PRIMARY KEY, number INT)",
            "INSERT INTO plain VALUES (1, 1)",
            "CREATE VIEW pv AS SELECT shelf, number AS shelf_number, number + 1 AS room FROM plain AS shelves",
            "CREATE VIEW named AS SELECT p.shelf AS shelf, p.number FROM plain p",
            "CREATE VIEW sv AS SELECT s.number, s.label AS plain FROM shelf s",
            "CREATE VIEW both_of AS SELECT p.shelf FROM plain p WHERE p.number IN (SELECT number FROM shelf)",
        ],
    )
    .await;
    let db = over(t).await;
    expect(
        &db,
        &[
            ("UPDATE pv SET shelf = 2", DONE),
            ("UPDATE named SET number = 2", DONE),
            ("UPDATE sv SET number = 9", REFUSED),
            ("UPDATE both_of SET shelf = 3", REFUSED),
        ],
    )
    .await;
    assert_eq!(t.value::<i32>("SELECT shelf FROM plain").await.unwrap(), 2);
});

// They were refused, as if they could write rows.
db_test!(c17_locks_and_rights_are_no_writes, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    execute(t, &["CREATE VIEW sv AS SELECT * FROM shelf"]).await;
    let db = over(t).await;
    if t.backend == DbBackend::Postgres {
        let txn = db.begin().await.unwrap();
        for sql in ["LOCK TABLE shelf IN SHARE UPDATE EXCLUSIVE MODE", "LOCK TABLE sv IN ACCESS SHARE MODE"] {
            txn.execute_unprepared(sql).await.unwrap();
        }
        txn.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'b'").await.unwrap();
        txn.commit().await.unwrap();
        expect(&db, &[("GRANT SELECT ON sv TO PUBLIC", DONE)]).await;
        assert_eq!(entries(t).await.len(), 1);
        expect(&db, &[("GRANT SELECT, UPDATE (label) ON shelf TO PUBLIC", DONE)]).await;
    } else {
        let user: String = t.value("SELECT DATABASE()").await.unwrap();
        let user =
            format!("g{}", user.rsplit_once("audit_t_").unwrap().1).chars().take(30).collect::<String>();
        t.execute(&format!("CREATE USER {user}")).await.unwrap();
        // Only the tables that it names can be used then: not the log.
        expect(&db, &[("LOCK TABLES shelf WRITE", REFUSED)]).await;
        expect(&db, &[(&format!("GRANT SELECT, UPDATE (label) ON shelf TO '{user}'@'%'"), DONE)]).await;
        t.execute(&format!("DROP USER {user}")).await.unwrap();
        let reads = [
            ("SELECT number, label INTO @n, @l FROM shelf LIMIT 1", true),
            ("ANALYZE SELECT * FROM sv", t.is_mariadb().await),
        ];
        for (sql, known) in reads {
            assert_eq!(db.execute_unprepared(sql).await.is_ok(), known, "{sql}");
        }
    }
    let entries = entries(t).await;
    let entry = entries.last().unwrap();
    assert_eq!((entry.action.as_str(), entry.severity.as_str()), ("redefine", "high"));
    let metadata = entry.metadata.as_deref().unwrap();
    assert!(metadata.contains("GRANT SELECT") && !metadata.contains("TO"), "{metadata}");
});

// Of a table that isn't audited it was said that it is, and of a procedure that it writes the first audited table.
db_test!(c17_a_refusal_names_what_is_of_concern, on(postgres, mysql), async |t| {
    execute(t, &tree::TABLES).await;
    let db = over(t).await;
    let said = async |sql: &str| db.execute_unprepared(sql).await.unwrap_err().to_string();
    let parent = t.pick(
        "",
        "WITH x AS (SELECT 1 AS id) DELETE FROM wing WHERE id IN (SELECT id FROM x)",
        "DELETE wing FROM wing JOIN wing AS x ON x.id = wing.id",
    );
    let text = said(parent).await;
    assert!(text.contains("audited rows follow `wing`"), "{text}");
    let text = said("CALL whatever()").await;
    assert!(text.contains("a table that is audited may be meant") && text.contains("CALL"), "{text}");
    let text = said("DO 'begin end'").await;
    assert!(!text.contains("` is audited"), "{text}");
});

// The schema as it is written, and what one session sees of a view, were taken for what all mean.
db_test!(c17_temporary_views_are_no_way_around, on(postgres), async |t| {
    set_up_shelves(t).await;
    execute(t, &["CREATE TABLE plain (number INT, label TEXT)", "INSERT INTO plain VALUES (1, 'p')"]).await;
    let mut options = t.options();
    options.max_connections(2).min_connections(2);
    let db = audited(&Database::connect(options).await.unwrap());
    let first = db.begin().await.unwrap();
    first.execute_unprepared("CREATE TEMP VIEW tv AS SELECT * FROM shelf").await.unwrap();
    first.execute_unprepared("CREATE TEMP VIEW plain AS SELECT number, label FROM shelf").await.unwrap();
    first.commit().await.unwrap();
    for sql in [
        "UPDATE tv SET label = 'x'",
        "UPDATE pg_temp.tv SET label = 'x'",
        "DELETE FROM pg_temp.tv",
        "UPDATE pg_temp.plain SET label = 'x'",
        "UPDATE plain SET label = 'y'",
    ] {
        // Over both connections.
        let (one, other) = (db.begin().await.unwrap(), db.begin().await.unwrap());
        for transaction in [one, other] {
            let error = transaction.execute_unprepared(sql).await.unwrap_err();
            assert!(is_audit_error(&error), "{sql}: {error}");
            transaction.rollback().await.unwrap();
        }
    }
    db.execute_unprepared("UPDATE public.plain SET label = 'y'").await.unwrap();
    assert!(entries(t).await.iter().all(|entry| entry.action == "redefine"));
});

// The view was taken for the audited table.
db_test!(c17_a_table_is_recorded_behind_a_view_of_its_name, on(postgres), async |t| {
    set_up_shelves(t).await;
    execute(t, &["CREATE SCHEMA api", "CREATE VIEW api.shelf AS SELECT * FROM public.shelf"]).await;
    let mut options = t.options();
    options.max_connections(1).set_schema_search_path("api,public");
    let db = audited(&Database::connect(options).await.unwrap());
    expect(
        &db,
        &[
            ("UPDATE public.shelf SET label = 'p' WHERE room = 'b'", DONE),
            ("UPDATE shelf SET label = 'q' WHERE room = 'b'", REFUSED),
            ("UPDATE api.shelf SET label = 'q' WHERE room = 'b'", REFUSED),
        ],
    )
    .await;
    assert_eq!(entries(t).await.len(), 1);
});

// Names were compared without their case, and a child of a parent was taken for a relative.
db_test!(c17_what_only_looks_like_a_relative_is_written, on(postgres), async |t| {
    set_up_shelves(t).await;
    execute(
        t,
        &[
            "CREATE TABLE plain (number INT)",
            "CREATE VIEW \"Plain\" AS SELECT * FROM shelf",
            "CREATE TABLE base (label VARCHAR NOT NULL)",
            "ALTER TABLE shelf INHERIT base",
            "CREATE TABLE sibling () INHERITS (base)",
        ],
    )
    .await;
    expect(
        &over(t).await,
        &[
            ("INSERT INTO plain VALUES (1)", DONE),
            ("DELETE FROM \"Plain\"", REFUSED),
            ("INSERT INTO sibling VALUES ('s')", DONE),
            ("UPDATE base SET label = 'x'", REFUSED),
            ("WITH shelf AS (SELECT 'b' AS room) DELETE FROM shelf WHERE room = 'a'", REFUSED),
        ],
    )
    .await;
});

// Entries of one were made for the other, and what referred to one was taken to refer to the other.
db_test!(c17_names_of_another_case_are_other_tables, on(postgres), async |t| {
    set_up_shelves(t).await;
    execute(t, &tree::TABLES).await;
    execute(
        t,
        &[
            "CREATE TABLE \"Shelf\" (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))",
            "INSERT INTO \"Shelf\" VALUES ('a', 1, 'other')",
            "CREATE SCHEMA s2",
            "CREATE TABLE s2.shelf (n INT)",
            "CREATE TABLE block (id INT PRIMARY KEY)",
            "CREATE TABLE \"Block\" (id INT PRIMARY KEY)",
            "INSERT INTO \"Block\" VALUES (1)",
            "INSERT INTO node (id, label) VALUES (1, 'one'), (2, 'two')",
            "ALTER TABLE node ADD COLUMN c INT REFERENCES block (id) ON DELETE SET NULL",
            "ALTER TABLE node ADD COLUMN b INT DEFAULT 1 REFERENCES \"Block\" (id) ON DELETE CASCADE",
        ],
    )
    .await;
    let db = over(t).await;
    expect(
        &db,
        &[
            ("UPDATE \"Shelf\" SET label = 'x'", DONE),
            ("INSERT INTO \"Shelf\" VALUES ('b', 2, 'new')", DONE),
            ("DELETE FROM \"Shelf\"", DONE),
            ("TRUNCATE \"Shelf\"", DONE),
            ("TRUNCATE s2.shelf", DONE),
            ("UPDATE Shelf SET label = 'y' WHERE room = 'b'", DONE),
            ("DELETE FROM \"Block\" WHERE id = 1", DONE),
        ],
    )
    .await;
    let said: Vec<_> = entries(t)
        .await
        .iter()
        .map(|e| format!("{} {}", e.action, e.resource_id.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(said, ["update b/1", "delete 1", "delete 2"]);
});

// The name was taken for what stands first in the path, whatever it is.
db_test!(c17_a_table_behind_a_materialized_view_of_its_name, on(postgres), async |t| {
    set_up_shelves(t).await;
    execute(t, &["CREATE SCHEMA api", "CREATE MATERIALIZED VIEW api.shelf AS SELECT * FROM public.shelf"])
        .await;
    let mut options = t.options();
    options.max_connections(1).set_schema_search_path("api,public");
    let db = audited(&Database::connect(options).await.unwrap());
    db.execute_unprepared("UPDATE public.shelf SET label = 'y' WHERE room = 'b'").await.unwrap();
    assert_eq!(entries(t).await.len(), 1);
});

// What a transaction saw by its own path was taken for what all see.
db_test!(c16_what_is_learned_by_a_path_of_its_own_is_the_transactions, on(postgres), async |t| {
    for set in ["SET LOCAL search_path = s2", "SELECT set_config('search_path', 's2', TRUE)"] {
        execute(t, &["DROP SCHEMA IF EXISTS s2 CASCADE", "DROP TABLE IF EXISTS node, wing, house CASCADE"])
            .await;
        execute(t, &tree::TABLES).await;
        execute(
            t,
            &[
                "CREATE SCHEMA s2",
                "CREATE TABLE s2.plain (id INT PRIMARY KEY)",
                "INSERT INTO house VALUES (1, 'old')",
                "INSERT INTO wing VALUES (1, 1)",
                "INSERT INTO node (id, label, wing_id) VALUES (1, 'one', 1)",
            ],
        )
        .await;
        let seen = entries(t).await.len();
        let db = audited(&t.db);
        let transaction = db.begin().await.unwrap();
        for sql in [set, "INSERT INTO plain VALUES (1)"] {
            transaction.execute_unprepared(sql).await.unwrap();
        }
        transaction.commit().await.unwrap();
        db.execute_unprepared("DELETE FROM wing WHERE id = 1").await.unwrap();
        let made = entries(t).await.split_off(seen);
        assert!(
            made.iter().any(|e| e.action == "delete" && e.resource_type == "node"),
            "{set}: {}",
            made.len()
        );
    }
});

// Each tenant's tables in a schema of its own, which a transaction names first.
db_test!(c16_each_path_has_its_own_parents, on(postgres), async |t| {
    for schema in ["one", "two"] {
        execute(t, &[&format!("CREATE SCHEMA {schema}")]).await;
        for sql in tree::TABLES {
            t.execute(&format!("SET search_path = {schema}; {sql}; SET search_path = public")).await.unwrap();
        }
    }
    // Its wings are followed by nodes, those of the other schema aren't.
    execute(t, &["ALTER TABLE one.node DROP CONSTRAINT node_wing_id_fkey"]).await;
    let db = over(t).await;
    for round in 0..3 {
        for schema in ["one", "two"] {
            let seen = entries(t).await.len();
            let transaction = db.begin().await.unwrap();
            for sql in [
                &format!("SET LOCAL search_path = {schema}, public"),
                "INSERT INTO house VALUES (1, 'h')",
                "INSERT INTO wing VALUES (1, 1)",
                "INSERT INTO node (id, label, wing_id) VALUES (1, 'n', 1)",
                "UPDATE node SET label = 'm'",
                "DELETE FROM wing WHERE id = 1",
                "DELETE FROM node",
                "DELETE FROM house",
            ] {
                let run = transaction.execute_unprepared(sql);
                // Noticed while the audit rests as well.
                let done =
                    if round == 1 && sql.starts_with("SET") { suspended(run).await } else { run.await };
                done.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            transaction.commit().await.unwrap();
            let made = entries(t).await.split_off(seen).into_iter().filter(|e| e.resource_type == "node");
            let made: Vec<_> = made.map(|e| e.action).collect();
            assert_eq!(made, ["create", "update", "delete"], "{round}: {schema}");
        }
    }
    expect(&db, &[("SET search_path = two; DELETE FROM wing", REFUSED)]).await;
});
