//! Writes that are dropped half-way, and what they leave to those after them; on SQLite also transactions that end by themselves, and
//! definitions by another program.

use audit_seaorm::{
    Audit, AuditConnection, AuditContext, AuditTransaction, Config, EntityOptions, FailurePolicy,
    Unplannable, is_audit_error, scope, suspended,
};
use audit_tests::{TestDb, db_test};
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, Statement,
    TransactionTrait,
};

use super::contention::dropped;
use super::sessions::waiting;
use crate::fixtures::shop::{self, line};
use crate::fixtures::{entries, set_up_shelves};

/// A pool of one: what a statement leaves behind, the next one finds.
async fn single(t: &TestDb) -> DatabaseConnection {
    let mut options = t.options();
    options.max_connections(1);
    Database::connect(options).await.expect("a connection")
}

async fn audited(t: &TestDb) -> AuditConnection {
    Audit::builder().build().expect("an audit").connect(single(t).await)
}

async fn run(db: &AuditConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Shelves, orders with their lines, and a table that isn't audited.
async fn set_up(t: &TestDb) {
    set_up_shelves(t).await;
    for sql in shop::TABLES {
        t.execute(sql).await.unwrap();
    }
    for sql in [
        "INSERT INTO shop_order VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO shop_line VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, 'z')",
        "CREATE TABLE plain (id INT PRIMARY KEY, v TEXT)",
        "INSERT INTO plain VALUES (1, 'p')",
    ] {
        t.execute(sql).await.unwrap();
    }
}

/// What is wrong after this statement has failed, and another one.
async fn wrong_after<D: ConnectionTrait>(t: &TestDb, db: &D, first: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    db.execute_unprepared(first).await.unwrap_err();
    db.execute_unprepared("INSERT INTO shelf VALUES ('a', 1, 'x')").await.unwrap_err();
    db.execute_unprepared("UPDATE plain SET v = 'acknowledged'").await.unwrap();
    let seen = t.value::<String>("SELECT v FROM plain").await.unwrap();
    if seen != "acknowledged" {
        wrong.push(format!("others see {seen:?} after the acknowledged write"));
    }
    if let Err(error) = t.execute("UPDATE plain SET v = 'other'").await {
        wrong.push(format!("another connection: {error}"));
    }
    wrong
}

db_test!(a_statement_that_ends_its_transaction_leaves_the_connection_usable, on(sqlite), async |t| {
    set_up(t).await;
    t.execute(
        "CREATE TRIGGER guard BEFORE INSERT ON shelf WHEN NEW.label = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    )
    .await
    .unwrap();
    for first in
        ["INSERT INTO shelf VALUES ('q', 1, 'bad')", "INSERT OR ROLLBACK INTO shelf VALUES ('a', 1, 'x')"]
    {
        let plain = suspended(wrong_after(t, &single(t).await, first)).await;
        let audited = wrong_after(t, &audited(t).await, first).await;
        assert_eq!((plain, audited), (vec![], vec![]), "{first}");
    }
});

db_test!(c5_a_conflict_clause_that_another_program_made_is_noticed, on(sqlite), async |t| {
    set_up(t).await;
    let db = audited(t).await;
    run(&db, "UPDATE shelf SET label = 'l' WHERE room = 'b'").await;
    let before = entries(t).await.len();
    t.execute("DROP TABLE shelf").await.unwrap();
    t.execute(
        "CREATE TABLE shelf (room TEXT NOT NULL, number INT NOT NULL, label TEXT NOT NULL, \
         PRIMARY KEY (room, number) ON CONFLICT REPLACE)",
    )
    .await
    .unwrap();
    t.execute("INSERT INTO shelf VALUES ('a', 1, 'one')").await.unwrap();
    run(&db, "INSERT INTO shelf VALUES ('a', 1, 'new')").await;
    let made: Vec<String> = entries(t).await.drain(before..).map(|entry| entry.action).collect();
    assert_eq!(made, ["delete", "create"]);
});

db_test!(c16_a_foreign_key_that_another_program_made_is_noticed, on(sqlite), async |t| {
    set_up(t).await;
    let db = audited(t).await;
    run(&db, "UPDATE shelf SET label = 'l' WHERE room = 'b'").await;
    for sql in [
        "CREATE TABLE room (name TEXT PRIMARY KEY)",
        "INSERT INTO room VALUES ('a')",
        "DROP TABLE shelf",
        "CREATE TABLE shelf (room TEXT NOT NULL REFERENCES room (name) ON DELETE CASCADE, number INT NOT NULL, \
         label TEXT NOT NULL, PRIMARY KEY (room, number))",
        "INSERT INTO shelf VALUES ('a', 1, 'one')",
    ] {
        t.execute(sql).await.unwrap();
    }
    let before = entries(t).await.len();
    run(&db, "UPDATE shelf SET label = 'two'").await;
    run(&db, "DELETE FROM room").await;
    let made: Vec<String> = entries(t).await.drain(before..).map(|entry| entry.action).collect();
    assert_eq!(made, ["update", "delete"]);
});

db_test!(c17_a_trigger_that_another_program_made_is_noticed, on(sqlite), async |t| {
    set_up(t).await;
    let db = audited(t).await;
    run(&db, "REPLACE INTO shelf VALUES ('a', 1, 'l')").await;
    run(&db, "UPDATE plain SET v = 'v'").await;
    t.execute("CREATE TRIGGER further AFTER UPDATE ON plain BEGIN INSERT INTO shelf VALUES ('log', NEW.id, NEW.v); END")
        .await
        .unwrap();
    t.execute("CREATE TRIGGER gone AFTER DELETE ON shelf BEGIN INSERT INTO plain VALUES (OLD.number + 100, 'fired'); END")
        .await
        .unwrap();
    let done = db.execute_unprepared("REPLACE INTO shelf VALUES ('a', 1, 'm')").await;
    assert!(done.as_ref().is_err_and(is_audit_error), "{done:?}");
    let before = entries(t).await.len();
    run(&db, "UPDATE plain SET v = 'w'").await;
    assert_eq!(entries(t).await.len() - before, 1, "what the trigger wrote");
});

db_test!(c17_what_triggers_write_by_way_of_tables_that_are_not_audited_is_recorded, on(sqlite), async |t| {
    set_up(t).await;
    for sql in [
        "CREATE TABLE middle (id INT PRIMARY KEY, v TEXT)",
        "CREATE TABLE child (id INT PRIMARY KEY REFERENCES plain (id) ON DELETE CASCADE)",
        "INSERT INTO child VALUES (1)",
        "CREATE VIEW seen AS SELECT * FROM plain",
        "CREATE TRIGGER first AFTER UPDATE ON plain BEGIN INSERT INTO middle VALUES (random(), NEW.v); END",
        "CREATE TRIGGER second AFTER INSERT ON middle BEGIN UPDATE shelf SET label = NEW.v WHERE room = 'b'; END",
        "CREATE TRIGGER third AFTER DELETE ON child BEGIN INSERT INTO middle VALUES (random(), 'gone'); END",
        "CREATE TRIGGER instead INSTEAD OF UPDATE ON seen BEGIN UPDATE plain SET v = NEW.v WHERE id = NEW.id; END",
    ] {
        t.execute(sql).await.unwrap();
    }
    let db = audited(t).await;
    for sql in ["UPDATE plain SET v = 'a'", "UPDATE seen SET v = 'b'", "DELETE FROM plain"] {
        let before = entries(t).await.len();
        run(&db, sql).await;
        let made: Vec<_> =
            entries(t).await.drain(before..).map(|entry| (entry.action, entry.resource_id)).collect();
        assert_eq!(made, [("update".to_owned(), Some("b/1".to_owned()))], "{sql}");
    }
});

db_test!(c19_a_dropped_write_under_several_policies_loses_no_entry, on(sqlite), async |t| {
    set_up(t).await;
    let folder = tempfile::tempdir().unwrap();
    t.execute(
        "CREATE TRIGGER further AFTER UPDATE ON shop_order BEGIN \
         UPDATE shop_line SET article = NEW.state WHERE order_id = NEW.id; UPDATE shelf SET label = NEW.state; END",
    )
    .await
    .unwrap();
    let mut config = Config::default();
    config.spool_dir = Some(folder.path().to_owned());
    let outbox = EntityOptions::default().on_failure(FailurePolicy::Outbox);
    let audit = Audit::builder().config(config).register::<line::Entity>(outbox).build().unwrap();
    let db = audit.connect(single(t).await);
    for polls in 1..30 {
        let before = entries(t).await.len();
        let transaction = db.begin().await.unwrap();
        let sql = format!("UPDATE shop_order SET state = 's{polls}' WHERE id = 2");
        dropped(transaction.execute_unprepared(&sql), polls).await;
        // It may be refused, and then nothing is done.
        _ = transaction.commit().await;
        let now = t.value::<String>("SELECT article FROM shop_line WHERE id = 3").await.unwrap();
        let made = entries(t).await.drain(before..).filter(|entry| entry.resource_type == "Line").count();
        assert_eq!(made, usize::from(now == format!("s{polls}")), "{polls} polls");
    }
});

// A dropped future may leave a connection that was made ready by half: one of them took what it had recorded once for new
// with each write.
db_test!(i2_a_connection_that_was_prepared_by_half_is_prepared_again, on(sqlite), async |t| {
    set_up(t).await;
    let audit = Audit::builder().build().unwrap();
    let count = async || t.value::<i64>("SELECT count(*) FROM audit_log").await.unwrap();
    let prepared = single(t).await;
    run(&audit.connect(prepared.clone()), "UPDATE shelf SET label = 'first' WHERE room = 'b'").await;
    let parts = "SELECT replace(sql, 'CREATE ', 'CREATE TEMP ') AS sql FROM sqlite_temp_schema WHERE sql IS NOT NULL ORDER BY rowid";
    let rows = prepared.query_all_raw(Statement::from_string(DbBackend::Sqlite, parts)).await.unwrap();
    let parts: Vec<String> = rows.iter().map(|row| row.try_get("", "sql").unwrap()).collect();
    assert!(parts.len() > 8, "{parts:#?}");
    for there in 0..=parts.len() {
        let connection = single(t).await;
        for part in &parts[..there] {
            connection.execute_unprepared(part).await.unwrap_or_else(|error| panic!("{part}: {error}"));
        }
        let plainly = connection.execute_unprepared("UPDATE shelf SET label = 'plain'").await;
        plainly.unwrap_or_else(|error| panic!("{there} parts: {error}"));
        let db = audit.connect(connection);
        for write in 0..2 {
            let before = count().await;
            run(&db, &format!("UPDATE shelf SET label = '{there} {write}' WHERE room = 'b'")).await;
            assert_eq!(count().await - before, 1, "write {write} after {:#?}", &parts[..there]);
        }
    }
});

db_test!(c8_a_dropped_write_is_not_taken_for_that_of_a_nested_transaction, on(sqlite), async |t| {
    set_up(t).await;
    let db = audited(t).await;
    for polls in 1..16 {
        let before = entries(t).await.len();
        let outer = db.begin().await.unwrap();
        let first = format!("UPDATE shelf SET label = 'f{polls}' WHERE room = 'a' AND number = 2");
        scope(AuditContext::user("setup"), outer.execute_unprepared(&first)).await.unwrap();
        let lost = format!("UPDATE shelf SET label = 'd{polls}' WHERE room = 'a' AND number = 1");
        scope(AuditContext::user("ann"), dropped(outer.execute_unprepared(&lost), polls)).await;
        let nested = outer.begin().await.unwrap();
        let next = format!("UPDATE shelf SET label = 's{polls}' WHERE room = 'b'");
        scope(AuditContext::user("ben"), nested.execute_unprepared(&next)).await.unwrap();
        nested.commit().await.unwrap();
        outer.commit().await.unwrap();
        for entry in entries(t).await.drain(before..) {
            if entry.resource_id.as_deref() == Some("a/1") {
                assert_eq!(entry.actor_id.as_deref(), Some("ann"), "{polls} polls");
            }
        }
    }
});

db_test!(c13_what_rests_after_a_dropped_write_is_not_recorded, async |t| {
    set_up_shelves(t).await;
    let db = Audit::builder().build().unwrap().connect(single(t).await);
    for polls in 1..16 {
        for says_so in [false, true] {
            let before = entries(t).await.len();
            let transaction = db.begin().await.unwrap();
            let first = format!("UPDATE shelf SET label = 'f{polls}' WHERE room = 'a' AND number = 2");
            transaction.execute_unprepared(&first).await.unwrap();
            let lost =
                format!("UPDATE shelf SET label = 'd{polls}{says_so}' WHERE room = 'a' AND number = 1");
            dropped(transaction.execute_unprepared(&lost), polls).await;
            let next = format!("UPDATE shelf SET label = 's{polls}{says_so}' WHERE room = 'b'");
            if says_so {
                let done = transaction
                    .without_audit("because", async |raw| raw.execute_unprepared(&next).await.map(|_| ()))
                    .await;
                _ = done;
            } else {
                _ = suspended(transaction.execute_unprepared(&next)).await;
            }
            let committed = transaction.commit().await.is_ok();
            let made = entries(t).await.split_off(before);
            assert!(made.iter().all(|entry| entry.resource_id.as_deref() != Some("b/1")), "{polls} polls");
            let now =
                t.value::<String>("SELECT label FROM shelf WHERE room = 'a' AND number = 1").await.unwrap();
            let changed = committed && now == format!("d{polls}{says_so}");
            let recorded = made.iter().filter(|entry| entry.resource_id.as_deref() == Some("a/1")).count();
            assert_eq!(
                recorded,
                usize::from(changed),
                "{polls} polls: what was dropped is recorded if it was done"
            );
        }
    }
});

// The task of a dropped write asked for its turn only once it ran, so that the end of the transaction could come before it.
// SQLite has no such task; there a commit may be refused, and then nothing is done.
db_test!(c15_a_transaction_ends_as_asked_after_a_write_that_was_dropped, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let options = t.options();
    let work = async move || {
        let mut options = options;
        options.max_connections(1);
        let db = Audit::builder().build().unwrap().connect(Database::connect(options).await.unwrap());
        for polls in 1..9 {
            for commits in [true, false] {
                let transaction = db.begin().await.unwrap();
                let sql = format!("UPDATE shelf SET label = 'd{polls}' WHERE room = 'a' AND number = 1");
                dropped(transaction.execute_unprepared(&sql), polls).await;
                let ended = if commits { transaction.commit().await } else { transaction.rollback().await };
                ended.unwrap_or_else(|error| panic!("{polls} polls, commits {commits}: {error}"));
            }
        }
    };
    // On one thread the task never runs before.
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work());
    });
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
});

// The commit recorded what a task was still recording.
db_test!(c8_a_replacement_that_was_dropped_is_recorded_once, on(sqlite), async |t| {
    set_up(t).await;
    let db = audited(t).await;
    for polls in 1..30 {
        let before = entries(t).await.len();
        let transaction = db.begin().await.unwrap();
        let sql = format!("REPLACE INTO shelf VALUES ('a', 1, 'r{polls}')");
        dropped(transaction.execute_unprepared(&sql), polls).await;
        transaction.commit().await.unwrap();
        let now = t.value::<String>("SELECT label FROM shelf WHERE room = 'a' AND number = 1").await.unwrap();
        let made: Vec<_> = entries(t).await.drain(before..).map(|entry| entry.action).collect();
        let expected: &[&str] = if now == format!("r{polls}") { &["delete", "create"] } else { &[] };
        assert_eq!(made, expected, "{polls} polls");
    }
});

db_test!(
    c17_an_unplanned_statement_that_ends_its_transaction_leaves_the_connection_usable,
    on(sqlite),
    async |t| {
        set_up(t).await;
        t.execute(
        "CREATE TRIGGER guard BEFORE INSERT ON shelf WHEN NEW.label = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
    )
    .await
    .unwrap();
        let mut config = Config::default();
        config.unplannable = Unplannable::Record;
        let db = Audit::builder().config(config).build().unwrap().connect(single(t).await);
        let wrong = wrong_after(t, &db, "REPLACE INTO shelf VALUES ('q', 1, 'bad')").await;
        assert_eq!(wrong, [""; 0]);
    }
);

db_test!(c15_a_refused_replacement_leaves_the_connections_settings_as_they_were, on(sqlite), async |t| {
    set_up(t).await;
    let pool = single(t).await;
    let db = Audit::builder().build().unwrap().connect(pool.clone());
    run(&db, "REPLACE INTO shelf VALUES ('a', 1, 'l')").await;
    // Noticed only once the setting is made.
    t.execute("CREATE TRIGGER gone AFTER DELETE ON shelf BEGIN SELECT 1; END").await.unwrap();
    let done = db.execute_unprepared("REPLACE INTO shelf VALUES ('a', 1, 'm')").await;
    assert!(done.as_ref().is_err_and(is_audit_error), "{done:?}");
    let setting = Statement::from_string(DbBackend::Sqlite, "PRAGMA recursive_triggers");
    let setting = pool.query_one_raw(setting).await.unwrap().unwrap();
    assert_eq!(setting.try_get_by_index::<i32>(0).unwrap(), 0);
});

/// Somebody who holds the shelf b/1, and a transaction that may write another one.
async fn held(t: &TestDb) -> (DatabaseTransaction, AuditTransaction) {
    let holder = t.db.begin().await.unwrap();
    holder.execute_unprepared("UPDATE shelf SET label = 'held' WHERE room = 'b'").await.unwrap();
    let db = audited(t).await;
    // What there is to be learned of the tables is learned before.
    run(&db, "UPDATE shelf SET label = 'first' WHERE room = 'a' AND number = 2").await;
    (holder, db.begin().await.unwrap())
}

const LOST: &str = "UPDATE shelf SET label = 'lost' WHERE room = 'b'";
const KEPT: &str = "UPDATE shelf SET label = 'kept' WHERE room = 'a' AND number = 1";

/// The changed shelves, as they are and as the entries from this one on tell of them.
async fn changed(t: &TestDb, before: usize) -> (Vec<String>, Vec<Option<String>>) {
    let labels = t.column("SELECT label FROM shelf WHERE label IN ('kept', 'lost', 'held')").await.unwrap();
    (labels, entries(t).await.drain(before..).map(|entry| entry.resource_id).collect())
}

// The write of the nested transaction was still under way, and what undid it undid what the outer one had written meanwhile.
db_test!(
    i1_a_nested_transaction_that_is_dropped_while_it_writes_undoes_no_write_of_the_outer_one,
    on(postgres, mysql),
    async |t| {
        set_up_shelves(t).await;
        // So many that all of the outer one's write fits between two of them.
        let lost = [LOST; 12].join("; ");
        for waits in [false, true] {
            let (holder, outer) = held(t).await;
            let before = entries(t).await.len();
            let nested = outer.begin().await.unwrap();
            assert!(dropped(nested.execute_unprepared(&lost), 1).await.is_none());
            if waits {
                waiting(t, 1).await;
            }
            drop(nested);
            let (written, released) = tokio::join!(outer.execute_unprepared(KEPT), holder.rollback());
            assert_eq!(written.unwrap().rows_affected(), 1);
            released.unwrap();
            outer.commit().await.unwrap();
            assert_eq!(changed(t, before).await, (vec!["kept".into()], vec![Some("a/1".into())]), "{waits}");
            t.execute("UPDATE shelf SET label = 'again' WHERE label = 'kept'").await.unwrap();
        }
    }
);

// SeaORM panics where a transaction is dropped while its connection is in use.
db_test!(
    c15_a_nested_transaction_is_dropped_while_a_dropped_write_of_the_outer_one_is_under_way,
    on(postgres, mysql),
    async |t| {
        set_up_shelves(t).await;
        for waits in [false, true] {
            let (holder, outer) = held(t).await;
            let before = entries(t).await.len();
            let nested = outer.begin().await.unwrap();
            assert!(dropped(outer.execute_unprepared(LOST), 1).await.is_none());
            if waits {
                waiting(t, 1).await;
            }
            drop(nested);
            let (written, released) = tokio::join!(outer.execute_unprepared(KEPT), holder.rollback());
            assert_eq!(written.unwrap().rows_affected(), 1);
            released.unwrap();
            outer.commit().await.unwrap();
            // Where the write had begun, it was undone with the nested transaction; else it was done after it.
            let (labels, recorded) = changed(t, before).await;
            let recorded: Vec<_> = recorded.iter().flatten().map(String::as_str).collect();
            match labels.len() {
                1 => assert_eq!((&*labels[0], &*recorded), ("kept", &["a/1"][..])),
                _ => assert_eq!((waits, &*recorded), (false, &["b/1", "a/1"][..]), "{labels:?}"),
            }
            t.execute("UPDATE shelf SET label = 'again' WHERE label IN ('kept', 'lost')").await.unwrap();
        }
    }
);

// Who drops it outside of a runtime waits for the connection; SeaORM panicked.
db_test!(c15_a_nested_transaction_is_dropped_by_a_thread_of_its_own, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let (holder, outer) = held(t).await;
    let nested = outer.begin().await.unwrap();
    assert!(dropped(outer.execute_unprepared(LOST), 1).await.is_none());
    waiting(t, 1).await;
    let thread = std::thread::spawn(move || drop(nested));
    holder.rollback().await.unwrap();
    tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
    outer.execute_unprepared(KEPT).await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(
        t.value::<String>("SELECT label FROM shelf WHERE label IN ('kept', 'lost')").await.unwrap(),
        "kept"
    );
});

// The driver rolled back to a savepoint that was released: an error of whoever was next, and at times a connection that never came back.
db_test!(c15_a_commit_that_is_dropped_goes_on_to_its_end, async |t| {
    set_up_shelves(t).await;
    let db = audited(t).await;
    for polls in 1..6 {
        let before = entries(t).await.len();
        let outer = db.begin().await.unwrap();
        let nested = outer.begin().await.unwrap();
        nested.execute_unprepared(LOST).await.unwrap();
        drop(dropped(nested.commit(), polls).await);
        outer.execute_unprepared(KEPT).await.unwrap_or_else(|error| panic!("{polls} polls: {error}"));
        drop(dropped(outer.commit(), polls).await);
        // It has the only connection after that.
        run(&db, "UPDATE shelf SET label = 'next' WHERE room = 'a' AND number = 2").await;
        let (labels, recorded) = changed(t, before).await;
        let recorded: Vec<_> = recorded.iter().flatten().map(String::as_str).collect();
        assert_eq!((labels.len(), &*recorded), (2, &["b/1", "a/1", "a/2"][..]), "{polls} polls: {labels:?}");
        t.execute("UPDATE shelf SET label = 'again'").await.unwrap();
    }
});

// The first one's mark was taken before it was completed; a second future that was dropped meanwhile lost it, or left it done twice.
db_test!(i1_a_second_dropped_future_leaves_the_first_to_be_completed, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = audited(t).await;
    let mut wrong = Vec::new();
    for first in 1..10 {
        for second in 1..14 {
            let before = entries(t).await.len();
            let transaction = db.begin().await.unwrap();
            let label = format!("l{first}.{second}");
            let sql = format!("UPDATE shelf SET label = '{label}' WHERE room = 'a'");
            dropped(transaction.execute_unprepared(&sql), first).await;
            match second % 2 {
                0 => drop(dropped(transaction.begin(), second).await),
                _ => {
                    let next =
                        transaction.execute_unprepared("UPDATE shelf SET label = 'second' WHERE room = 'zz'");
                    drop(dropped(next, second).await);
                }
            }
            let ended = transaction.commit().await;
            let labels = t.column::<String>("SELECT label FROM shelf WHERE room = 'a'").await.unwrap();
            let (now, made) =
                (labels.iter().filter(|l| **l == label).count(), entries(t).await.len() - before);
            if made != now {
                wrong.push(format!("{first} and {second} polls: {now} rows, {made} entries, {ended:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
});

// Its savepoint was counted and had by nobody: the commit released that, said yes, and left everything to be rolled back.
db_test!(i1_a_commit_after_a_nested_transaction_that_was_dropped_as_it_began, async |t| {
    set_up_shelves(t).await;
    let db = audited(t).await;
    for n in 0..60 {
        let transaction = db.begin().await.unwrap();
        let sql = format!("INSERT INTO shelf VALUES ('n', {n}, 'x')");
        transaction.execute_unprepared(&sql).await.unwrap();
        drop(dropped(transaction.begin(), 1 + n % 3).await);
        let commits = n % 4 != 3;
        if commits {
            transaction.commit().await.unwrap()
        } else {
            transaction.rollback().await.unwrap()
        }
        let there =
            t.value::<i64>(&format!("SELECT count(*) FROM shelf WHERE room = 'n' AND number = {n}")).await;
        assert_eq!(there.unwrap(), i64::from(commits), "{n}");
        let told =
            entries(t).await.iter().filter(|entry| entry.resource_id == Some(format!("n/{n}"))).count();
        assert_eq!(told, usize::from(commits), "{n}");
    }
});
