//! Statements as people write them by hand.

use audit_seaorm::{AuditConnection, is_audit_error};

use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, Statement, StreamTrait, TransactionTrait};
use serde_json::{Value, json};

use super::connect;
use crate::fixtures::{account, changes, create_table, entries, keys, set_up_shelves};

/// Runs a statement and gives what was recorded of it: action, id, changes.
async fn recorded(t: &TestDb, db: &AuditConnection, sql: &str) -> Vec<(String, String, Value)> {
    let before = entries(t).await.len();
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let fresh = entries(t).await.split_off(before);
    fresh
        .iter()
        .map(|entry| (entry.action.clone(), entry.resource_id.clone().unwrap_or_default(), changes(entry)))
        .collect()
}

fn labels(all: &[(String, String, Value)]) -> Vec<String> {
    all.iter()
        .map(|(action, id, changes)| {
            let label = &changes["label"];
            let show = |side: &str| label.get(side).and_then(Value::as_str).unwrap_or("-").to_owned();
            format!("{action} {id} {}>{}", show("old"), show("new"))
        })
        .collect()
}

db_test!(c5_raw_statements_are_recorded, async |t| {
    // Shelves a/1, a/2, b/1, with the labels `one`, `two`, `three`.
    set_up_shelves(t).await;
    let db = connect(t);
    let q = if t.db.get_database_backend() == DbBackend::MySql { "`" } else { "\"" };
    let name = |name: &str| format!("{q}{name}{q}");
    let (shelf, label) = (name("shelf"), name("label"));
    let mut all = vec![
        (format!("UPDATE {shelf} SET {label} = 'x' WHERE room = 'a'"), vec!["update a/1 one>x", "update a/2 two>x"]),
        (format!("update {shelf} set {label} = {label} where room = 'a'"), vec![]),
        ("/* a comment; */ UPDATE shelf -- and one more\n SET label = concat(label, 'y'), number = number WHERE (number = 1)".to_owned(), vec!["update a/1 x>xy", "update b/1 three>threey"]),
        ("UPDATE shelf SET label = (SELECT 'sub') WHERE room IN (SELECT room FROM (SELECT 'b' AS room) AS r)".to_owned(), vec!["update b/1 threey>sub"]),
        ("INSERT INTO shelf (room, number, label) VALUES ('c', 1, 'l1'), ('c', 2, 'l;2')".to_owned(), vec!["create c/1 ->l1", "create c/2 ->l;2"]),
        ("INSERT INTO shelf VALUES ('d', 1, 'UPDATE shelf SET label = 1')".to_owned(), vec!["create d/1 ->UPDATE shelf SET label = 1"]),
        ("DELETE FROM shelf WHERE label LIKE 'l%' AND number < 2".to_owned(), vec!["delete c/1 l1>-"]),
        ("UPDATE shelf SET label = CASE WHEN room = 'a' THEN 'A' ELSE label END".to_owned(), vec!["update a/1 xy>A", "update a/2 x>A"]),
        ("DELETE FROM shelf WHERE room = 'nowhere'".to_owned(), vec![]),
        ("DELETE FROM shelf WHERE room = 'd';".to_owned(), vec!["delete d/1 UPDATE shelf SET label = 1>-"]),
    ];
    if t.db.get_database_backend() != DbBackend::MySql {
        all.push(("WITH w AS (SELECT 'a' AS room) UPDATE shelf SET label = 'cte' WHERE room IN (SELECT room FROM w) AND number = 1".to_owned(), vec!["update a/1 A>cte"]));
        all.push(("UPDATE shelf AS s SET label = v.label FROM (SELECT 'b' AS room, 'from' AS label) AS v WHERE s.room = v.room".to_owned(), vec!["update b/1 sub>from"]));
        all.push(("INSERT INTO shelf (room, number, label) SELECT room, number + 10, label FROM shelf WHERE room = 'b'".to_owned(), vec!["create b/11 ->from"]));
        all.push(("INSERT INTO shelf (room, number, label) VALUES ('b', 11, 'up'), ('b', 12, 'new') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label".to_owned(), vec!["update b/11 from>up", "create b/12 ->new"]));
        all.push(("INSERT INTO shelf (room, number, label) VALUES ('b', 11, 'no'), ('b', 13, 'yes') ON CONFLICT DO NOTHING".to_owned(), vec!["create b/13 ->yes"]));
    }
    for (sql, expected) in all {
        // In which order an UPDATE takes its rows is the database's affair.
        let mut found = labels(&recorded(t, &db, &sql).await);
        found.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
        assert_eq!(found, expected, "{sql}");
    }
});

db_test!(c5_raw_statements_of_mysql_are_recorded, on(mysql), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    for (sql, expected) in [
        ("INSERT INTO shelf SET room = 'c', number = 1, label = 'set'", vec!["create c/1 ->set"]),
        (
            "INSERT INTO shelf (room, number, label) VALUES ('c', 1, 'up'), ('c', 2, 'new') ON DUPLICATE KEY UPDATE label = VALUES(label)",
            vec!["update c/1 set>up", "create c/2 ->new"],
        ),
        ("INSERT IGNORE INTO shelf VALUES ('c', 1, 'no'), ('c', 3, 'yes')", vec!["create c/3 ->yes"]),
        (
            "REPLACE INTO shelf VALUES ('c', 1, 'again'), ('c', 4, 'four')",
            vec!["update c/1 up>again", "create c/4 ->four"],
        ),
        (
            "UPDATE shelf SET label = 'first' WHERE room = 'c' ORDER BY number LIMIT 1",
            vec!["update c/1 again>first"],
        ),
        (
            "DELETE FROM shelf WHERE room = 'c' ORDER BY number DESC LIMIT 2",
            vec!["delete c/3 yes>-", "delete c/4 four>-"],
        ),
    ] {
        let mut found = labels(&recorded(t, &db, sql).await);
        found.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        expected.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
        assert_eq!(found, expected, "{sql}");
    }
});

db_test!(c5_replacing_statements_of_sqlite_are_recorded, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    for (sql, expected) in [
        ("REPLACE INTO shelf VALUES ('a', 1, 'again')", vec!["delete a/1 one>-", "create a/1 ->again"]),
        ("INSERT OR REPLACE INTO shelf VALUES ('a', 1, 'or')", vec!["delete a/1 again>-", "create a/1 ->or"]),
        (
            "UPDATE OR REPLACE shelf SET number = 1 WHERE room = 'a' AND number = 2",
            vec!["delete a/1 or>-", "update a/1 ->-"],
        ),
    ] {
        assert_eq!(labels(&recorded(t, &db, sql).await), expected, "{sql}");
    }
});

db_test!(c5_a_changed_key_is_recorded, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let found = recorded(t, &db, "UPDATE shelf SET number = 9 WHERE room = 'a' AND number = 2").await;
    assert_eq!(found, [("update".into(), "a/9".into(), json!({"number": {"old": 2, "new": 9}}))]);
    let mut found = recorded(t, &db, "UPDATE shelf SET number = number + 100 WHERE room = 'a'").await;
    found.sort_by_key(|(_, id, _)| id.clone());
    assert_eq!(found[0], ("update".into(), "a/101".into(), json!({"number": {"old": 1, "new": 101}})));
    assert_eq!(found[1], ("update".into(), "a/109".into(), json!({"number": {"old": 9, "new": 109}})));
    let found = recorded(t, &db, "UPDATE shelf SET room = 'r', number = 1 WHERE room = 'b'").await;
    assert_eq!(found[0].2, json!({"room": {"old": "b", "new": "r"}}));
});

db_test!(c5_rows_of_a_returning_are_the_users, on(sqlite, postgres), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let sql = "UPDATE shelf SET label = 'r' WHERE room = 'a' RETURNING *, number + 1 AS next";
    let rows = db.query_all_raw(Statement::from_string(t.db.get_database_backend(), sql)).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].column_names(), ["room", "number", "label", "next"]);
    assert_eq!(rows[1].try_get_by_index::<String>(2).unwrap(), "r");
    let sql = "DELETE FROM shelf WHERE room = 'a' RETURNING label";
    let mut stream = db.stream_raw(Statement::from_string(t.db.get_database_backend(), sql)).await.unwrap();
    let mut count = 0;
    while let Some(row) = futures_util::TryStreamExt::try_next(&mut stream).await.unwrap() {
        assert_eq!(row.try_get::<String>("", "label").unwrap(), "r");
        count += 1;
    }
    assert_eq!(count, 2);
    assert_eq!(entries(t).await.len(), 4);
});

db_test!(c5_several_statements_in_one_text_are_recorded, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let sql =
        "UPDATE shelf SET label = 'a;b' WHERE number = 2; SELECT 1; DELETE FROM shelf WHERE room = 'b';";
    let found = recorded(t, &db, sql).await;
    assert_eq!(labels(&found), ["update a/2 two>a;b", "delete b/1 three>-"]);
});

db_test!(c17_what_cannot_be_recorded_is_refused, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    // With each the words that its error must have: the table, and why.
    let refused: &[(&str, &[&str])] = match t.db.get_database_backend() {
        DbBackend::Postgres => &[
            ("COPY shelf FROM STDIN", &["`shelf`", "COPY"]),
            (
                "MERGE INTO shelf USING (SELECT 1) AS x ON true WHEN MATCHED THEN DELETE",
                &["`shelf`", "MERGE"],
            ),
            ("PREPARE p AS DELETE FROM shelf", &["`shelf`", "PREPARE"]),
            ("WITH d AS (DELETE FROM shelf RETURNING *) SELECT count(*) FROM d", &["`shelf`", "WITH"]),
            ("EXPLAIN ANALYZE DELETE FROM shelf", &["`shelf`", "EXPLAIN ANALYZE, which runs the statement"]),
            // Escapes may spell any table's name.
            ("UPDATE U&\"sh\\0065lf\" SET label = 'x'", &["is audited"]),
            ("UPDATE shelf SET label = 'it\\'", &["`shelf`", "backslash"]),
            ("BEGIN; DELETE FROM shelf; COMMIT", &["`shelf`", "begins or ends transactions"]),
            // A setting is about all tables.
            (
                "SET standard_conforming_strings = off",
                &["`standard_conforming_strings`", "capture relies on it"],
            ),
            ("DELETE FROM shelf WHERE room = 'a' this is no SQL", &["`shelf`", "can't be parsed"]),
        ],
        DbBackend::MySql => &[
            ("LOAD DATA INFILE '/etc/passwd' INTO TABLE shelf", &["`shelf`", "LOAD"]),
            ("/*! DELETE FROM shelf */", &["`shelf`", "can't be parsed"]),
            ("/*!50000 UPDATE*/ shelf SET label = 'x'", &["`shelf`", "can't be parsed"]),
            ("DELETE s, t FROM shelf s JOIN shelf t ON t.room = s.room", &["`shelf`", "several tables"]),
            ("UPDATE shelf SET label = \"it\"", &["`shelf`", "double quote"]),
            ("UPDATE shelf SET label = 'x' WHERE rand() < 2", &["`shelf`", "something else each time"]),
            ("UPDATE shelf SET label = 'x' WHERE number = @n", &["`shelf`", "variable"]),
            ("BEGIN; DELETE FROM shelf; COMMIT", &["`shelf`", "begins or ends transactions"]),
            ("SET sql_mode = 'ANSI_QUOTES'", &["`sql_mode`", "capture relies on it"]),
            ("DELETE FROM shelf WHERE room = 'a' this is no SQL", &["`shelf`", "can't be parsed"]),
        ],
        _ => &[
            ("BEGIN; DELETE FROM shelf; COMMIT", &["`shelf`", "begins or ends transactions"]),
            ("PRAGMA recursive_triggers = on", &["`recursive_triggers`", "capture relies on it"]),
            ("DELETE FROM shelf WHERE room = 'a' this is no SQL", &["`shelf`", "can't be parsed"]),
        ],
    };
    for (sql, words) in refused {
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error), "{sql}: {error}");
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{sql}: {error}");
    }
    assert_eq!(
        t.column::<String>("SELECT label FROM shelf ORDER BY label").await.unwrap(),
        ["one", "three", "two"]
    );
    assert_eq!(entries(t).await, []);
});

db_test!(c17_a_definition_says_what_it_changes, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let add = "ALTER TABLE shelf ADD COLUMN note VARCHAR(20) DEFAULT 's3cret'";
    let added =
        json!({"statement": "ALTER TABLE", "changes": [{"change": "add column", "columns": ["note"]}]});
    let rename = "ALTER TABLE shelf RENAME COLUMN note TO remark";
    let renamed = json!({"statement": "ALTER TABLE", "changes": [{"change": "rename column", "columns": ["note"], "to": "remark"}]});
    let dropped =
        json!({"statement": "ALTER TABLE", "changes": [{"change": "drop column", "columns": ["remark"]}]});
    let more = t.pick(
        ("ALTER TABLE shelf RENAME TO board", json!({"statement": "ALTER TABLE", "changes": [{"change": "rename table"}]})),
        (
            "ALTER TABLE shelf ALTER COLUMN label SET DEFAULT 's3cret', ADD CONSTRAINT short CHECK (label <> 's3cret')",
            json!({"statement": "ALTER TABLE", "changes": [
                {"change": "set default", "columns": ["label"]}, {"change": "add check", "name": "short"}]}),
        ),
        (
            "ALTER TABLE shelf MODIFY COLUMN label VARCHAR(50) NOT NULL DEFAULT 's3cret'",
            json!({"statement": "ALTER TABLE", "changes": [{"change": "modify column", "columns": ["label"]}]}),
        ),
    );
    let index = ("CREATE INDEX by_label ON shelf (label)", json!({"statement": "CREATE INDEX"}));
    for (sql, expected) in
        [(add, added), (rename, renamed), ("ALTER TABLE shelf DROP COLUMN remark", dropped), index, more]
    {
        let before = entries(t).await.len();
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let fresh = entries(t).await.split_off(before);
        let [entry] = &fresh[..] else { panic!("{sql}: {fresh:#?}") };
        assert_eq!(entry.action, "redefine");
        let metadata: Value =
            serde_json::from_str(entry.metadata.as_deref().expect("metadata")).expect("JSON");
        assert_eq!(metadata["definition"], expected, "{sql}");
        assert!(!format!("{entry:?}").contains("s3cret"), "{entry:?}");
    }
});

db_test!(c5_truncate_leaves_an_entry, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let found = recorded(t, &connect(t), "TRUNCATE TABLE shelf").await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("truncate", ""));
});

db_test!(c15_a_failing_entry_undoes_the_write, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    crate::fixtures::drop_audit_table(t).await;
    for sql in ["UPDATE shelf SET label = 'x'", "DELETE FROM shelf", "INSERT INTO shelf VALUES ('z', 1, 'z')"]
    {
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error) && error.to_string().contains("run the audit migrations"), "{error}");
        let transaction = db.begin().await.unwrap();
        let error = transaction.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error), "{error}");
        _ = transaction.commit().await;
    }
    assert_eq!(
        t.column::<String>("SELECT label FROM shelf ORDER BY label").await.unwrap(),
        ["one", "three", "two"]
    );
});

db_test!(c8_tables_with_odd_names_are_recorded, async |t| {
    create_table(t, keys::reserved::Entity).await;
    let db = connect(t);
    let q = if t.db.get_database_backend() == DbBackend::MySql { "`" } else { "\"" };
    let sql = "INSERT INTO @group@ (@type@, @select@, @order@, @mixedCase Name@) VALUES ('t', 's', 1, 'm')"
        .replace('@', q);
    let found = recorded(t, &db, &sql).await;
    assert_eq!(found[0].2["mixedCase Name"], json!({"new": "m"}));
    let sql = "UPDATE @group@ SET @select@ = 'other', @order@ = @order@ + 1 WHERE @mixedCase Name@ = 'm'"
        .replace('@', q);
    let found = recorded(t, &db, &sql).await;
    assert_eq!(found[0].2, json!({"select": {"old": "s", "new": "other"}, "order": {"old": 1, "new": 2}}));
});

db_test!(c17_settings_that_mean_nothing_to_capture_can_be_set, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let row = "SELECT set_config('app.tenant', $1, false) AS s";
    let ask = Statement::from_sql_and_values(DbBackend::Postgres, row, ["acme".into()]);
    let row = db.query_one_raw(ask).await.unwrap().unwrap();
    assert_eq!(row.try_get::<String>("", "s").unwrap(), "acme");
    for sql in [
        "SELECT set_config('sql_' || 'x', 'y', false)",
        "SELECT set_config('standard_conforming_strings', 'off', false)",
    ] {
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error) && error.to_string().contains("name the setting"), "{error}");
    }
});

db_test!(c5_an_oversized_value_is_recorded_by_its_digest, async |t| {
    use sha2::{Digest, Sha256};
    set_up_shelves(t).await;
    let alter = t.pick(
        "SELECT 1",
        "ALTER TABLE shelf ALTER COLUMN label TYPE text",
        "ALTER TABLE shelf MODIFY COLUMN label LONGTEXT NOT NULL",
    );
    t.execute(alter).await.unwrap();
    let db = connect(t);
    let backend = t.db.get_database_backend();
    let sql = if backend == DbBackend::Postgres {
        "UPDATE shelf SET label = $1 WHERE number = 2"
    } else {
        "UPDATE shelf SET label = ? WHERE number = 2"
    };
    let large = "x\"é\n".repeat((2 << 20) / 5);
    db.execute_raw(Statement::from_sql_and_values(backend, sql, [large.clone().into()])).await.unwrap();
    // By an expression, so that only the database knows it.
    db.execute_unprepared("UPDATE shelf SET label = concat(label, 'y') WHERE number = 2").await.unwrap();
    db.execute_raw(Statement::from_sql_and_values(backend, sql, ["small".into()])).await.unwrap();
    // The marker of RECORD_FORMAT: bytes and SHA-256 of the value's JSON.
    let marker = |text: &str| {
        let rendered = serde_json::to_string(text).expect("JSON");
        let digest: String = Sha256::digest(&rendered).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"$oversized": {"bytes": rendered.len(), "sha256": digest}})
    };
    let (first, second) = (marker(&large), marker(&format!("{large}y")));
    let all: Vec<_> = entries(t).await.iter().map(|entry| changes(entry)["label"].clone()).collect();
    assert_eq!(
        all,
        [
            json!({"old": "two", "new": first}),
            json!({"old": first, "new": second}),
            json!({"old": second, "new": "small"}),
        ]
    );
});

db_test!(c5_a_write_with_returning_may_be_executed, async |t| {
    if t.backend == DbBackend::MySql && !t.is_mariadb().await {
        println!("skipped: MySQL has no RETURNING");
        return;
    }
    create_table(t, account::Entity).await;
    let db = connect(t);
    let insert = "INSERT INTO account (owner, balance, iban, pin_hash)";
    let mut statements = vec![
        format!("{insert} VALUES ('a', 1, 'i', 'p') RETURNING id"),
        format!("{insert} VALUES ('b', 1, 'i', 'p'), ('c', 1, 'i', 'p') RETURNING id"),
        format!("{insert} SELECT owner, balance, iban, pin_hash FROM account RETURNING id"),
        "DELETE FROM account WHERE owner = 'a' RETURNING id".to_owned(),
        "DELETE FROM account RETURNING id".to_owned(),
    ];
    if t.backend != DbBackend::MySql {
        statements.insert(3, "UPDATE account SET note = 'x' RETURNING id".to_owned());
    }
    let shown = |result: sea_orm::ExecResult| {
        if t.backend == DbBackend::MySql {
            (result.last_insert_id(), result.rows_affected())
        } else {
            (0, result.rows_affected())
        }
    };
    let plain = shown(t.execute(&statements[0]).await.unwrap());
    assert_eq!(shown(db.execute_unprepared(&statements[0]).await.unwrap()), plain);
    for within in [false, true] {
        for sql in &statements {
            let count = async || account::Entity::find().all(&t.db).await.unwrap().len();
            let (rows, seen) = (count().await, entries(t).await.len());
            if within {
                let transaction = db.begin().await.unwrap();
                transaction.execute_unprepared(sql).await.unwrap();
                transaction.commit().await.unwrap();
            } else {
                let statement = Statement::from_string(t.backend, sql.as_str());
                db.execute_raw(statement).await.unwrap();
            }
            let changed = if sql.starts_with('U') { rows } else { count().await.abs_diff(rows) };
            assert_ne!(changed, 0, "{sql}");
            assert_eq!(entries(t).await.len() - seen, changed, "{sql}");
        }
    }
});

db_test!(i6_a_key_too_long_for_an_id_is_recorded_by_its_digest, on(sqlite, postgres), async |t| {
    set_up_shelves(t).await;
    let backend = t.db.get_database_backend();
    if backend == DbBackend::Postgres {
        t.execute("ALTER TABLE shelf ALTER COLUMN room TYPE text").await.unwrap();
    }
    let db = connect(t);
    let numbered = |sql: &str| match backend {
        DbBackend::Postgres => sql.to_owned(),
        _ => sql.replace("$1", "?").replace("$2", "?"),
    };
    // Short enough by itself, too long as a part of an id.
    let room = "r/".repeat(400);
    let of_room = |sql: &str, number: i32| {
        Statement::from_sql_and_values(backend, numbered(sql), [room.clone().into(), number.into()])
    };
    t.db.execute_raw(of_room("INSERT INTO shelf (room, number, label) VALUES ($1, $2, 'x')", 4))
        .await
        .unwrap();
    for (sql, number) in [
        ("INSERT INTO shelf (room, number, label) VALUES ($1, $2, 'x')", 5),
        (r#"UPDATE shelf SET label = 'y' WHERE "room" = $1 AND "number" = $2"#, 5),
        (r#"DELETE FROM shelf WHERE "room" = $1 AND "number" = $2"#, 5),
    ] {
        db.execute_raw(of_room(sql, number)).await.unwrap();
    }
    // The database alone knows the key.
    db.execute_unprepared("UPDATE shelf SET label = 'y' WHERE number = 4").await.unwrap();
    db.execute_unprepared("DELETE FROM shelf WHERE number = 4").await.unwrap();
    let all = entries(t).await;
    let ids: Vec<String> = all.iter().filter_map(|entry| entry.resource_id.clone()).collect();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| id.starts_with("sha256:")), "{ids:?}");
    assert_eq!((&ids[0], &ids[3]), (&ids[2], &ids[4]));
    assert!(all.iter().all(|entry| entry.hash_matches() == Some(true)));
});

// A key is unique within a table, and not among those that inherit from it.
db_test!(c5_each_row_that_a_key_names_is_recorded, on(postgres), async |t| {
    set_up_shelves(t).await;
    t.execute("CREATE TABLE glass_shelf () INHERITS (shelf)").await.unwrap();
    t.execute("INSERT INTO glass_shelf (room, number, label) VALUES ('a', 1, 'glass')").await.unwrap();
    let db = connect(t);
    for sql in [
        r#"UPDATE "shelf" SET "label" = 'x' WHERE "shelf"."room" = $1 AND "shelf"."number" = $2"#,
        r#"DELETE FROM "shelf" WHERE "shelf"."room" = $1 AND "shelf"."number" = $2"#,
    ] {
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, ["a".into(), 1.into()]);
        assert_eq!(db.execute_raw(statement).await.unwrap().rows_affected(), 2);
    }
    let all = entries(t).await;
    let mut olds: Vec<String> =
        all[..2].iter().map(|entry| changes(entry)["label"]["old"].to_string()).collect();
    olds.sort();
    assert_eq!((all.len(), olds), (4, vec!["\"glass\"".to_owned(), "\"one\"".to_owned()]));
});
