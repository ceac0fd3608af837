//! C19: entries that the database doesn't take go to the spool, and come to the table later.

use std::path::Path;

use audit_seaorm::{
    Audit, AuditConnection, AuditContext, Config, EntityOptions, FailurePolicy, Operation, is_audit_error,
    scope,
};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, Set, TransactionTrait};

use crate::connection::contention::dropped;
use crate::connection::refusing::Disk;
use crate::connection::sessions::{id_of, kill, single, waiting};
use crate::fixtures::{account, create_table, entries, keys, quiet_account, set_balance, set_up_shelves};

fn audit(dir: &Path) -> Audit {
    let mut config = Config::default();
    (config.on_failure, config.spool_dir) = (FailurePolicy::Outbox, Some(dir.to_owned()));
    Audit::builder().config(config).build().expect("an audit")
}

fn connect(t: &TestDb, dir: &Path) -> AuditConnection {
    audit(dir).connect(t.db.clone()).with_context(AuditContext::user(7).tenant("acme"))
}

async fn hide(t: &TestDb, hidden: bool) {
    let (from, to) = if hidden { ("audit_log", "hidden") } else { ("hidden", "audit_log") };
    t.execute(&format!("ALTER TABLE {from} RENAME TO {to}")).await.expect("renamed");
}

/// What the entries say, in their order: action, id, status.
async fn said(t: &TestDb) -> Vec<String> {
    let entries = entries(t).await;
    assert!(entries.iter().all(|entry| entry.hash_matches() == Some(true)), "{entries:#?}");
    entries
        .iter()
        .map(|e| format!("{} {} {}", e.action, e.resource_id.as_deref().unwrap_or_default(), e.status))
        .collect()
}

db_test!(c19_the_outbox_keeps_the_entry_of_a_write_that_stays, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    set_up_shelves(t).await;
    let db = connect(t, dir.path());
    hide(t, true).await;
    db.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'a' AND number = 1").await?;
    keys::shelf::Entity::delete_by_id(("b".to_owned(), 1)).exec(&db).await?;
    assert_eq!(t.value::<i64>("SELECT count(*) FROM shelf").await?, 2);
    let metrics = db.audit().metrics();
    assert_eq!((metrics.spooled, metrics.prepared, metrics.lost), (2, 0, 0), "{metrics:?}");
    hide(t, false).await;
    db.audit().shutdown().await.expect("delivered");
    assert_eq!(said(t).await, ["update a/1 success", "delete b/1 success"]);
    let entries = entries(t).await;
    assert_eq!(entries[0].actor_id.as_deref(), Some("7"));
    assert_eq!(entries[0].changes.as_deref(), Some(r#"{"label":{"old":"one","new":"x"}}"#));

    // While the table takes them, entries go there with the change.
    db.execute_unprepared("UPDATE shelf SET label = 'y' WHERE room = 'a' AND number = 1").await?;
    assert_eq!(said(t).await.len(), 3);
    assert_eq!(db.audit().metrics().spooled_total, 2);
    Ok(())
});

db_test!(c19_the_outbox_follows_the_transaction, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    set_up_shelves(t).await;
    let db = connect(t, dir.path());
    hide(t, true).await;
    let label = |room: &str, number: i32, label: &str| keys::shelf::ActiveModel {
        room: Set(room.into()),
        number: Set(number),
        label: Set(label.into()),
    };
    let transaction = db.begin().await?;
    label("a", 1, "kept").update(&transaction).await?;
    let nested = transaction.begin().await?;
    label("a", 2, "kept too").update(&nested).await?;
    nested.commit().await?;
    let nested = transaction.begin().await?;
    label("b", 1, "undone").update(&nested).await?;
    assert_eq!(db.audit().metrics().prepared, 3);
    nested.rollback().await?;
    assert_eq!((db.audit().metrics().prepared, db.audit().metrics().spooled), (2, 0));
    transaction.commit().await?;
    assert_eq!((db.audit().metrics().prepared, db.audit().metrics().spooled), (0, 2));

    let rolled_back = db.begin().await?;
    label("a", 1, "never").update(&rolled_back).await?;
    rolled_back.rollback().await?;
    let dropped = db.begin().await?;
    label("a", 1, "never").update(&dropped).await?;
    drop(dropped);
    assert_eq!((db.audit().metrics().prepared, db.audit().metrics().spooled), (0, 2));

    hide(t, false).await;
    db.audit().shutdown().await.expect("delivered");
    assert_eq!(said(t).await, ["update a/1 success", "update a/2 success"]);
    Ok(())
});

db_test!(c19_what_nobody_can_tell_is_said_to_be_unknown, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    set_up_shelves(t).await;
    create_table(t, account::Entity).await;
    let account = quiet_account(&t.db, "Ann", 100).await;
    let audit = audit(dir.path());
    hide(t, true).await;
    // Hooks aren't told how a transaction ends; without one, the write is committed already.
    audit
        .within(scope(AuditContext::user(7), async {
            let transaction = t.db.begin().await?;
            set_balance(&transaction, account.id, 200).await?;
            transaction.commit().await?;
            set_balance(&t.db, account.id, 300).await?;
            Operation::new("print", "report").log(&t.db).await.expect("logged");
            Ok::<_, DbErr>(())
        }))
        .await?;
    // A process that ends before its transaction does.
    let db = audit.connect(t.db.clone());
    let open = db.begin().await?;
    open.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'a' AND number = 1").await?;
    let copy = tempfile::tempdir().expect("a directory");
    for file in std::fs::read_dir(dir.path()).expect("files") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("a copy");
    }
    open.rollback().await?;
    hide(t, false).await;

    let next = connect(t, copy.path());
    next.audit().shutdown().await.expect("delivered");
    let id = account.id;
    let expected = [
        format!("update {id} warning"),
        format!("update {id} success"),
        "print  success".to_owned(),
        "update a/1 warning".to_owned(),
    ];
    assert_eq!(said(t).await, expected);
    let entries = entries(t).await;
    assert_eq!(entries[0].metadata.as_deref(), Some(r#"{"commit":"unknown"}"#));
    // The other process is still there, and has only what it knows.
    audit.shutdown().await.expect("delivered");
    assert_eq!(said(t).await, expected, "nothing twice");
    Ok(())
});

db_test!(c19_an_outbox_that_is_full_blocks, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    set_up_shelves(t).await;
    let mut config = Config::default();
    config.on_failure = FailurePolicy::Outbox;
    (config.spool_dir, config.spool_limit_bytes) = (Some(dir.path().to_owned()), 10);
    let db = Audit::builder().config(config).build().expect("an audit").connect(t.db.clone());
    hide(t, true).await;
    let error = db.execute_unprepared("DELETE FROM shelf").await.expect_err("no place");
    assert!(is_audit_error(&error) && error.to_string().contains("spool_limit_bytes"), "{error}");
    assert_eq!(t.value::<i64>("SELECT count(*) FROM shelf").await?, 3);
    Ok(())
});

// A real disk that gets full in the middle of a frame.
db_test!(c19_an_outbox_on_a_full_disk_blocks, async |t| -> Result<(), DbErr> {
    let name = format!("audit_spool_{}", uuid::Uuid::now_v7().simple());
    let Some(disk) = Disk::mount(&name, 1) else {
        println!("skipped: c19_an_outbox_on_a_full_disk_blocks (no file system can be mounted)");
        return Ok(());
    };
    set_up_shelves(t).await;
    let db = connect(t, disk.path());
    // The second time its files have gone, and there is room again.
    for round in 0..2 {
        let before = entries(t).await.len();
        hide(t, true).await;
        let (mut done, mut refused) = (0, None);
        for n in 0..5000 {
            let label = format!("{round} {n} {}", "l".repeat(60));
            let sql = format!("UPDATE shelf SET label = '{label}' WHERE room = 'b'");
            // Alone and in a transaction that is committed whatever was said.
            let result = if n % 2 == 0 {
                db.execute_unprepared(&sql).await
            } else {
                let transaction = db.begin().await?;
                let result = transaction.execute_unprepared(&sql).await;
                _ = transaction.commit().await;
                result
            };
            match result {
                Ok(_) => done += 1,
                Err(error) => {
                    let text = error.to_string();
                    assert!(is_audit_error(&error) && text.contains("No space left"), "{error}");
                    assert!(!text.contains("llll"), "{error}");
                    let now = t.value::<String>("SELECT label FROM shelf WHERE room = 'b'").await?;
                    assert_ne!(now, label, "it was done without its entry");
                    refused = Some(n);
                    break;
                }
            }
        }
        assert!(refused.is_some() && done > 100, "the disk doesn't get full: {done}");
        hide(t, false).await;
        db.audit().shutdown().await.expect("delivered");
        let all = entries(t).await.split_off(before);
        assert_eq!(all.len(), done);
        assert!(all.iter().all(|entry| entry.status == "success" && entry.hash_matches() == Some(true)));
        // What was cut off in the middle is no damage.
        let files: Vec<_> = std::fs::read_dir(disk.path()).expect("files").map_while(Result::ok).collect();
        assert!(files.iter().all(|file| file.file_name() == "lock"), "{files:?}");
    }
    assert_eq!(db.audit().metrics().lost, 0);
    Ok(())
});

db_test!(c19_an_outbox_needs_a_spool, on(sqlite), async |_t| {
    let mut config = Config::default();
    config.on_failure = FailurePolicy::Outbox;
    let error = Audit::builder().config(config).build().expect_err("no spool").to_string();
    assert!(error.contains("set `spool_dir`"), "{error}");
    let options = EntityOptions::default().on_failure(FailurePolicy::Outbox);
    let error =
        Audit::builder().register::<keys::shelf::Entity>(options).build().expect_err("no spool").to_string();
    assert!(error.contains("set `spool_dir`"), "{error}");
});

// Three policies in one statement: cascades reach entities of each. The strictest counts first.
db_test!(c19_each_policy_has_its_own_entries, on(postgres, sqlite), async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    set_up_shelves(t).await;
    let mut config = Config::default();
    config.spool_dir = Some(dir.path().to_owned());
    let options = EntityOptions::default().on_failure(FailurePolicy::Outbox);
    let audit =
        Audit::builder().config(config).register::<keys::shelf::Entity>(options).build().expect("an audit");
    create_table(t, account::Entity).await;
    let account = quiet_account(&t.db, "Ann", 100).await;
    let db = audit.connect(t.db.clone());
    hide(t, true).await;
    let transaction = db.begin().await?;
    transaction.execute_unprepared("DELETE FROM shelf WHERE room = 'b'").await?;
    let error = account_gone(&transaction, account.id).await.expect_err("accounts block");
    assert!(is_audit_error(&error), "{error}");
    if t.backend == DbBackend::Postgres {
        assert!(transaction.execute_unprepared("SELECT 1").await.is_err(), "it has failed with the write");
    }
    transaction.rollback().await?;
    assert_eq!((db.audit().metrics().prepared, db.audit().metrics().spooled), (0, 0));
    Ok(())
});

async fn account_gone<C: ConnectionTrait>(db: &C, id: i64) -> Result<(), DbErr> {
    account::Entity::delete_by_id(id).exec(db).await.map(|_| ())
}

// What a text does to the transaction isn't followed, and a failed one isn't committed.
db_test!(c19_entries_of_undone_changes_are_never_a_success, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    set_up_shelves(t).await;
    let db = connect(t, dir.path());
    hide(t, true).await;
    let change = |number: i32| format!("UPDATE shelf SET label = 'x' WHERE room = 'a' AND number = {number}");
    let transaction = db.begin().await?;
    transaction.execute_unprepared("SAVEPOINT mine").await?;
    transaction.execute_unprepared(&change(1)).await?;
    transaction.execute_unprepared("ROLLBACK TO SAVEPOINT mine").await?;
    transaction.execute_unprepared(&change(2)).await?;
    transaction.commit().await?;
    let mut expected = vec!["update a/1 warning", "update a/2 success"];
    if t.backend == DbBackend::Postgres {
        let failed = db.begin().await?;
        failed.execute_unprepared("DELETE FROM shelf WHERE room = 'b'").await?;
        failed.execute_unprepared("SELECT 1 / 0").await.expect_err("division by zero");
        failed.commit().await?;
    }
    if t.backend == DbBackend::MySql {
        let committed = db.begin().await?;
        committed.execute_unprepared("DELETE FROM shelf WHERE room = 'b'").await?;
        committed.execute_unprepared("CREATE TABLE commits (id int)").await?;
        committed.rollback().await?;
        expected.insert(1, "delete b/1 warning");
    }
    hide(t, false).await;
    db.audit().shutdown().await.expect("delivered");
    let mut said = said(t).await;
    said.sort();
    expected.sort_unstable();
    assert_eq!(said, expected);
    Ok(())
});

// The server's goodbye came as an error of the commit, and was taken for its answer: the entry was forgotten.
db_test!(c19_a_server_that_goes_while_it_commits_leaves_doubt, on(postgres, mysql), async |t| -> Result<
    (),
    DbErr,
> {
    let dir = tempfile::tempdir().expect("a directory");
    set_up_shelves(t).await;
    if t.backend == DbBackend::Postgres {
        // The commit itself waits: for a lock that a deferred trigger wants.
        t.execute(
            "CREATE TABLE gate (id int); \
             CREATE FUNCTION pass() RETURNS trigger AS $$ BEGIN LOCK TABLE gate; RETURN NULL; END $$ LANGUAGE plpgsql; \
             CREATE CONSTRAINT TRIGGER gated AFTER UPDATE ON shelf DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION pass()",
        )
        .await?;
    }
    let db = connect(t, dir.path());
    hide(t, true).await;
    let transaction = db.begin().await?;
    transaction.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'a' AND number = 1").await?;
    let id = id_of(&transaction).await;
    let gate = single(t).await.begin().await?;
    if t.backend == DbBackend::Postgres {
        gate.execute_unprepared("LOCK TABLE gate").await?;
        let commit = tokio::spawn(transaction.commit());
        kill(t, waiting(t, 1).await[0]).await;
        commit.await.expect("no panic").expect_err("the connection is gone");
    } else {
        kill(t, id).await;
        transaction.commit().await.expect_err("the connection is gone");
    }
    gate.rollback().await?;
    hide(t, false).await;
    db.audit().shutdown().await.expect("delivered");
    assert_eq!(said(t).await, ["update a/1 warning"]);
    Ok(())
});

// Whatever a commit that nobody waited for has done: a change that is there has its entry, and one that isn't has none that says
// it were.
db_test!(c19_a_commit_that_is_dropped_half_way_loses_no_entry, async |t| -> Result<(), DbErr> {
    let dir = tempfile::tempdir().expect("a directory");
    set_up_shelves(t).await;
    let db = connect(t, dir.path());
    hide(t, true).await;
    let mut changed = Vec::new();
    for polls in 1..8 {
        let label = format!("after {polls}");
        let transaction = db.begin().await?;
        transaction
            .execute_unprepared(&format!(
                "UPDATE shelf SET label = '{label}' WHERE room = 'a' AND number = 1"
            ))
            .await?;
        _ = dropped(transaction.commit(), polls).await;
        // What waits for the row comes after the end of that transaction.
        t.execute("UPDATE shelf SET number = number WHERE room = 'a'").await?;
        let now = t.value::<String>("SELECT label FROM shelf WHERE room = 'a' AND number = 1").await?;
        changed.push((now == label, label));
    }
    assert_eq!(db.audit().metrics().prepared, 0, "none waits for the next start");
    hide(t, false).await;
    db.audit().shutdown().await.expect("delivered");
    let entries = entries(t).await;
    for (changed, label) in changed {
        let of_it = |entry: &&audit_seaorm::entity::audit_log::Model| {
            entry.changes.as_deref().is_some_and(|changes| changes.contains(&format!("\"new\":\"{label}\"")))
        };
        let said: Vec<&str> = entries.iter().filter(of_it).map(|entry| entry.status.as_str()).collect();
        match changed {
            true => assert_eq!(said.len(), 1, "{label}"),
            false => assert!(said.is_empty() || said == ["warning"], "{label}: {said:?}"),
        }
    }
    Ok(())
});
