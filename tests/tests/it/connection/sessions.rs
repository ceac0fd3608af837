//! What tests of disturbances need: a small library, writes that take each of the ways, and the server's sessions.

use std::time::{Duration, Instant};

use audit_seaorm::{Audit, AuditConnection};
use audit_tests::{DbBackend, TestDb};
use sea_orm::{
    ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr, Statement,
    TransactionTrait,
};

use super::load::Load;
use crate::fixtures::{books, entries};
use crate::replay::{Tables, assert_faithful};

/// A value that no error may hold.
pub(super) const VALUE: &str = "v4lue";

/// The rows of a small library.
pub(super) const ROWS: [&str; 3] = [
    "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'one'), ('a', 2, 'two'), ('b', 1, 'three')",
    "INSERT INTO book (id, room, number, title) VALUES (1, 'a', 1, 'Emma'), (2, 'a', 1, 'Persuasion')",
    "INSERT INTO loan (id, book_id, reader) VALUES (1, 1, 'Ada'), (2, 2, 'Bob')",
];

/// Three shelves, two books on the first, a loan of each; and what the tables hold.
pub(super) async fn library(t: &TestDb) -> Tables {
    books::create_tables(t).await;
    for sql in ROWS {
        t.execute(sql).await.expect("rows of the library");
    }
    now(t).await
}

/// What the tables hold.
pub(super) async fn now(t: &TestDb) -> Tables {
    Load::Shelves.stored(t).await.expect("the tables")
}

/// I2, I3: the entries tell how the tables came to be what they are.
pub(super) async fn assert_told(t: &TestDb, before: &Tables) {
    assert_faithful(before.clone(), &entries(t).await, &now(t).await);
}

/// Writes to the library: on PostgreSQL the first, the third and the last are one statement; the others need several, one
/// of them in a savepoint.
pub(super) fn writes(t: &TestDb) -> [&'static str; 5] {
    let upsert = t.pick(
        "INSERT INTO shelf (room, number, label) VALUES ('b', 1, 'v4lue') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label) VALUES ('b', 1, 'v4lue') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label) VALUES ('b', 1, 'v4lue') ON DUPLICATE KEY UPDATE label = VALUES(label)",
    );
    [
        "UPDATE shelf SET label = 'v4lue'",
        "DELETE FROM shelf WHERE room = 'a'",
        "INSERT INTO shelf (room, number, label) VALUES ('z', 1, 'v4lue')",
        upsert,
        "UPDATE loan SET reader = 'v4lue' WHERE id = 1",
    ]
}

/// A pool of one connection.
pub(crate) async fn single(t: &TestDb) -> DatabaseConnection {
    let mut options = t.options();
    options.max_connections(1).min_connections(1).acquire_timeout(Duration::from_secs(10));
    Database::connect(options).await.expect("a pool of one connection")
}

pub(crate) fn audited(db: &DatabaseConnection) -> AuditConnection {
    Audit::builder().build().expect("an audit").connect(db.clone())
}

/// How an error looks to the user: its kind, what SeaORM makes of it, the database's code.
pub(super) fn look<T>(result: &Result<T, DbErr>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            let kind = format!("{error:?}").split('(').next().unwrap_or_default().to_owned();
            let violated = error.sql_err().map(|error| format!("{error:?}"));
            let violated = violated.and_then(|text| text.split('(').next().map(str::to_owned));
            format!("{kind} {} {}", violated.unwrap_or_default(), code(error).unwrap_or_default())
        }
    }
}

/// SQLSTATE, or SQLite's number.
pub(super) fn code(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))
    | DbErr::Conn(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// The session of a connection.
pub(crate) async fn id_of<C: ConnectionTrait>(db: &C) -> i64 {
    let backend = db.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => "SELECT pg_backend_pid()::bigint",
        _ => "SELECT CAST(connection_id() AS SIGNED)",
    };
    let row = db.query_one_raw(Statement::from_string(backend, sql)).await.expect("an id").expect("a row");
    row.try_get_by_index(0).expect("a number")
}

/// Waits until so many sessions wait for locks of others; their ids.
pub(crate) async fn waiting(t: &TestDb, count: usize) -> Vec<i64> {
    const POSTGRES: &str = "SELECT pid::bigint FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until(&format!("{count} sessions wait"), async || {
        let found = if t.backend == DbBackend::MySql {
            let waiting = transactions(t, Which::Waiting).await;
            let mut sessions = t.sessions().await.expect("the sessions");
            sessions.retain(|(id, state)| state.starts_with("Waiting for table") || waiting.contains(id));
            sessions.into_iter().map(|(id, _)| id).collect()
        } else {
            t.column(POSTGRES).await.expect("the sessions")
        };
        (found.len() >= count).then_some(found)
    })
    .await
}

/// Which of InnoDB's transactions.
enum Which {
    Waiting,
    Open,
}

/// The sessions of these transactions, of all databases, from InnoDB's own report. Its table `innodb_trx` is no use to tests that run
/// beside each other: MariaDB's stays as it was for as long as anybody reads it again within a tenth of a second, and MySQL 9
/// can't show it while a session runs a statement with binary values. What its `data_lock_waits` calls the requesting thread may
/// be the one that is waited for.
async fn transactions(t: &TestDb, which: Which) -> Vec<i64> {
    let statement = Statement::from_string(t.backend, "SHOW ENGINE INNODB STATUS");
    let row = t.db.query_one_raw(statement).await.expect("InnoDB's report").expect("a row");
    let report: Vec<u8> = row.try_get("", "Status").expect("a text");
    of_report(&String::from_utf8_lossy(&report), which)
}

/// The sessions of the transactions in InnoDB's report.
fn of_report(report: &str, which: Which) -> Vec<i64> {
    let list = report.split("LIST OF TRANSACTIONS FOR EACH SESSION:").nth(1).unwrap_or_default();
    let list = list.split("\nFILE I/O").next().unwrap_or_default();
    list.split("---TRANSACTION ")
        .skip(1)
        .filter(|one| match which {
            Which::Waiting => one.lines().any(|line| line.starts_with("LOCK WAIT ")),
            Which::Open => one.lines().next().is_some_and(|line| line.contains(", ACTIVE ")),
        })
        .filter_map(|one| one.split(" thread id ").nth(1)?.split(',').next()?.parse().ok())
        .collect()
}

/// Ends a session from another one, and waits for its end.
pub(crate) async fn kill(t: &TestDb, id: i64) {
    let sql = match t.backend {
        DbBackend::Postgres => format!("SELECT pg_terminate_backend({id})"),
        _ => format!("KILL {id}"),
    };
    t.execute(&sql).await.expect("a killed session");
    let there = format!("SELECT pid::bigint FROM pg_stat_activity WHERE pid = {id}");
    until("the session ends", async || {
        let ended = match t.backend {
            DbBackend::Postgres => t.column::<i64>(&there).await.expect("the sessions").is_empty(),
            _ => t.sessions().await.expect("the sessions").iter().all(|(other, _)| *other != id),
        };
        ended.then_some(())
    })
    .await;
}

/// Asks again and again.
pub(super) async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let pause = Duration::from_millis(10);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(pause).await;
    }
}

/// That no transaction of this database is open any more, on any connection that still lives.
pub(super) async fn assert_no_transaction_is_open(t: &TestDb) {
    match t.backend {
        DbBackend::Sqlite => {
            // Who gets the write lock is the only one who has it.
            let other = single(t).await;
            other.execute_unprepared("BEGIN IMMEDIATE; ROLLBACK").await.expect("the write lock");
        }
        backend => {
            const POSTGRES: &str = "SELECT pid::bigint FROM pg_stat_activity WHERE datname = current_database() \
                 AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
            until("open transactions end", async || {
                let open = if backend == DbBackend::Postgres {
                    !t.column::<i64>(POSTGRES).await.expect("transactions").is_empty()
                } else {
                    let open = transactions(t, Which::Open).await;
                    t.sessions().await.expect("the sessions").iter().any(|(id, _)| open.contains(id))
                };
                (!open).then_some(())
            })
            .await;
        }
    }
}

/// Keeps everybody else from writing entries, until it is dropped.
pub(super) async fn lock_entries(t: &TestDb) -> DatabaseTransaction {
    let transaction = single(t).await.begin().await.expect("a transaction");
    let sql = t.pick("", "LOCK TABLE audit_log IN SHARE ROW EXCLUSIVE MODE", "LOCK TABLES audit_log WRITE");
    transaction.execute_unprepared(sql).await.expect("the lock");
    transaction
}
