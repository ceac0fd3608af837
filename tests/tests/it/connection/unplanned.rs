//! C17: statements that can't be recorded row by row, refused or recorded as configured.

use audit_seaorm::entity::audit_log;
use audit_seaorm::{Audit, AuditConnection, AuditContext, Config, is_audit_error};
use audit_tests::{TestDb, db_test};
use sea_orm::{ConnectionTrait, DbErr, TransactionTrait};
use serde_json::Value;

use crate::fixtures::{entries, set_up_shelves};

fn connect(t: &TestDb, toml: &str) -> AuditConnection {
    let audit =
        Audit::builder().config(Config::from_toml(toml).expect("settings")).build().expect("an audit");
    audit.connect(t.db.clone()).with_context(AuditContext::user(7).with("page", "shelves"))
}

const RECORD: &str = "unplannable = 'record'";

/// Statements that no plan is made of, each with its verb: they set labels to `word`.
async fn statements(t: &TestDb, word: &str) -> Vec<(&'static str, String)> {
    let all: &[(&str, &str)] = t.pick(
        &[("UPDATE", "UPDATE shelf INDEXED BY by_label SET label = 'word' WHERE label > ''")],
        &[
            (
                "MERGE",
                "MERGE INTO shelf USING (VALUES ('a', 1)) AS v (room, number) ON shelf.room = v.room AND shelf.number = v.number \
                 WHEN MATCHED THEN UPDATE SET label = 'word'",
            ),
            ("WITH", "WITH w AS (UPDATE shelf SET label = 'word' WHERE room = 'b' RETURNING *) SELECT count(*) FROM w"),
            ("DO", "DO 'BEGIN UPDATE shelf SET label = ''word'' WHERE number = 2; END'"),
            // Refused when it was on its way.
            ("INSERT", "INSERT INTO shelf VALUES ('a', 1, 'word') ON CONFLICT ON CONSTRAINT \"pk-shelf\" DO UPDATE SET label = excluded.label"),
        ],
        &[
            ("CALL", "CALL label_all('word')"),
            ("UPDATE", "UPDATE shelf, (SELECT 'a' AS room) r SET shelf.label = 'word' WHERE shelf.room = r.room"),
            ("DELETE", "DELETE FROM shelf USING shelf JOIN (SELECT 2 AS number) r ON shelf.number = r.number WHERE shelf.label <> 'word'"),
        ],
    );
    all.iter().map(|(verb, sql)| (*verb, sql.replace("word", word))).collect()
}

async fn set_up(t: &TestDb) {
    set_up_shelves(t).await;
    let more = t.pick(
        "CREATE INDEX by_label ON shelf (label)",
        "SELECT 1",
        "CREATE PROCEDURE label_all(word varchar(100)) UPDATE shelf SET label = word",
    );
    t.execute(more).await.expect("what the statements need");
}

async fn labels(t: &TestDb) -> Vec<String> {
    t.column("SELECT label FROM shelf ORDER BY room, number").await.expect("labels")
}

fn statement(entry: &audit_log::Model) -> Value {
    let metadata: Value = serde_json::from_str(entry.metadata.as_deref().expect("metadata")).expect("JSON");
    assert_eq!(metadata["page"], "shelves", "what the context says is still there");
    metadata["statement"].clone()
}

db_test!(c17_what_cannot_be_planned_is_refused_by_default, async |t| {
    set_up(t).await;
    let before = labels(t).await;
    let db = connect(t, "");
    for (_, sql) in statements(t, "s3cret").await {
        let error = db.execute_unprepared(&sql).await.expect_err(&sql);
        assert!(is_audit_error(&error) && !error.to_string().contains("s3cret"), "{error}");
        // A procedure may write to any table.
        assert!(error.to_string().contains("`shelf`") || sql.starts_with("CALL"), "{sql}: {error}");
    }
    assert_eq!((labels(t).await, entries(t).await), (before, vec![]));
});

db_test!(c17_what_cannot_be_planned_is_recorded_as_configured, async |t| -> Result<(), DbErr> {
    set_up(t).await;
    let db = connect(t, RECORD);
    let mut digests = Vec::new();
    for word in ["s3cret", "other"] {
        for (verb, sql) in statements(t, word).await {
            t.execute("DELETE FROM shelf").await?;
            t.execute("INSERT INTO shelf VALUES ('a', 1, 'old'), ('a', 2, 'old'), ('b', 1, 'old')").await?;
            let before = (labels(t).await, entries(t).await.len());
            db.execute_unprepared(&sql).await?;
            assert_ne!(labels(t).await, before.0, "{sql}");
            let fresh = entries(t).await.split_off(before.1);
            // What a program of the database does isn't known by what it is given.
            let resources: &[&str] = match verb {
                "CALL" => &["*"],
                "DO" => &["shelf", "*"],
                _ => &["shelf"],
            };
            let found: Vec<_> = fresh.iter().map(|entry| entry.resource_type.as_str()).collect();
            assert_eq!(found, resources, "{sql}");
            let entry = &fresh[0];
            let said = [&*entry.action, &*entry.severity, &*entry.status];
            assert_eq!(said, ["unplanned", "high", "success"], "{sql}");
            assert_eq!((entry.actor_id.as_deref(), &entry.resource_id), (Some("7"), &None));
            assert!(entry.transaction_id.is_some() && entry.hash_matches() == Some(true));
            assert!(entry.details.as_deref().is_some_and(|why| !why.is_empty()), "{:?}", entry.details);
            assert_eq!(statement(entry)["verb"], verb);
            let digest = statement(entry)["sha256"].as_str().expect("a digest").to_owned();
            assert_eq!(digest.len(), 64);
            digests.push(digest);
            assert!(!format!("{entry:?}").contains(word), "{entry:?}");
        }
    }
    // It tells statements apart, and not their values.
    let (first, second) = digests.split_at(digests.len() / 2);
    assert_eq!(first, second);
    assert_eq!(first.iter().collect::<std::collections::BTreeSet<_>>().len(), first.len());
    Ok(())
});

db_test!(i1_what_is_recorded_as_a_statement_shares_its_transactions_fate, async |t| -> Result<(), DbErr> {
    set_up(t).await;
    let db = connect(t, RECORD);
    let before = labels(t).await;
    for (_, sql) in statements(t, "x").await {
        let transaction = db.begin().await?;
        transaction.execute_unprepared(&sql).await?;
        transaction.rollback().await?;
    }
    assert_eq!((labels(t).await, entries(t).await), (before, vec![]));
    let transaction = db.begin().await?;
    for (_, sql) in statements(t, "x").await {
        transaction.execute_unprepared(&sql).await?;
    }
    transaction.execute_unprepared("UPDATE shelf SET label = 'y' WHERE number = 1 AND room = 'a'").await?;
    let id = transaction.transaction_id().to_owned();
    transaction.commit().await?;
    let entries = entries(t).await;
    assert!(entries.iter().all(|entry| entry.transaction_id.as_deref() == Some(&*id)));
    let last = entries.last().expect("entries");
    assert_eq!(last.action, "update", "rows are recorded again");
    assert!(entries.len() > statements(t, "x").await.len());
    assert_eq!(last.changes.as_deref(), Some(r#"{"label":{"old":"x","new":"y"}}"#));
    Ok(())
});

db_test!(i1_a_statement_that_fails_leaves_no_entry, async |t| -> Result<(), DbErr> {
    set_up(t).await;
    let db = connect(t, RECORD);
    let before = labels(t).await;
    let failing = t.pick(
        "UPDATE shelf INDEXED BY no_such_index SET label = 'x'",
        "DO 'BEGIN UPDATE shelf SET label = NULL; END'",
        "CALL no_such_procedure('x')",
    );
    let error = db.execute_unprepared(failing).await.expect_err("it fails");
    assert!(!is_audit_error(&error), "{error}");
    let transaction = db.begin().await?;
    transaction.execute_unprepared(failing).await.expect_err("it fails");
    transaction.commit().await?;
    assert_eq!((labels(t).await, entries(t).await), (before, vec![]));
    Ok(())
});

db_test!(c17_one_resource_alone_may_be_written_by_what_cannot_be_planned, async |t| {
    set_up(t).await;
    for (toml, done) in [
        ("[resources.shelf]\nunplannable = 'record'", true),
        ("unplannable = 'record'\n[resources.shelf]\nunplannable = 'refuse'", false),
        ("[resources.Account]\nunplannable = 'record'", false),
    ] {
        let (_, sql) = statements(t, "x").await.remove(t.pick(0, 0, 1));
        let result = connect(t, toml).execute_unprepared(&sql).await;
        assert_eq!(result.is_ok(), done, "{toml}: {result:?}");
    }
});

// What would switch off capture, or end the transaction that its entry is in.
db_test!(c17_what_would_blind_the_audit_is_refused_all_the_same, async |t| {
    set_up(t).await;
    let db = connect(t, RECORD);
    let statements: &[&str] = t.pick(
        &[
            "PRAGMA recursive_triggers = ON; UPDATE shelf SET label = 'x'",
            "COMMIT; UPDATE shelf INDEXED BY by_label SET label = 'x'",
        ],
        &[
            "SET session_replication_role = replica; UPDATE shelf SET label = 'x'",
            "UPDATE shelf SET label = 'x'; COMMIT",
            "SELECT set_config(concat('session_replication', '_role'), 'replica', false) FROM shelf",
        ],
        &["SET sql_mode = 'ANSI_QUOTES'", "UPDATE shelf SET label = 'x'; COMMIT"],
    );
    let before = labels(t).await;
    for sql in statements {
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error), "{sql}: {error}");
    }
    assert_eq!((labels(t).await, entries(t).await), (before, vec![]));
});
