//! I4 where transactions get in each other's way: deadlocks, serialization failures, timeouts, a pool of one connection,
//! futures that are dropped. The same happens over the plain and the audited database.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, IsolationLevel, QueryOrder,
    TransactionSession, TransactionTrait,
};

use super::load::Load;
use super::sessions::{
    ROWS, assert_no_transaction_is_open, assert_told, audited, library, look, now, single, waiting, writes,
};
use crate::fixtures::{books, entries, keys::shelf};
use crate::random::Random;

/// Two transactions that wait for each other; how each one's second statement and its commit end.
async fn deadlock<C: TransactionTrait>(t: &TestDb, db: &C, [one, two]: [&str; 2]) -> Vec<String> {
    let (first, second) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    first.execute_unprepared(one).await.unwrap();
    second.execute_unprepared(two).await.unwrap();
    let first = async {
        let done = first.execute_unprepared(two).await;
        format!("{}, {}", look(&done), look(&first.rollback().await))
    };
    let second = async {
        waiting(t, 1).await;
        let done = second.execute_unprepared(one).await;
        format!("{}, {}", look(&done), look(&second.rollback().await))
    };
    let (first, second) = tokio::join!(first, second);
    let mut both = vec![first, second];
    both.sort();
    both
}

db_test!(i4_a_deadlock_ends_as_without_audit, on(postgres, mysql), async |t| {
    let before = library(t).await;
    let db = audited(&t.db);
    for statements in [
        [
            "UPDATE shelf SET label = 'x' WHERE room = 'a' AND number = 1",
            "UPDATE loan SET reader = 'x' WHERE id = 2",
        ],
        [
            "DELETE FROM shelf WHERE room = 'a' AND number = 2",
            "DELETE FROM shelf WHERE room = 'b' AND number = 1",
        ],
    ] {
        let plain = deadlock(t, &t.db, statements).await;
        assert_eq!(deadlock(t, &db, statements).await, plain, "{statements:?}");
        let victims = plain.iter().filter(|look| look.contains(t.pick("", "40P01", "40001"))).count();
        assert_eq!(victims, 1, "{plain:?}");
    }
    assert_eq!((now(t).await, entries(t).await), (before, vec![]));
});

/// Two transactions of this level that both read; how the write of each and its commit end.
async fn overlapping<C: TransactionTrait>(
    db: &C,
    level: IsolationLevel,
    [one, two]: [&str; 2],
) -> Vec<String> {
    let begin = async || db.begin_with_config(Some(level), None).await.unwrap();
    let (first, second) = (begin().await, begin().await);
    for transaction in [&first, &second] {
        shelf::Entity::find().all(transaction).await.unwrap();
    }
    let mut looks = vec![look(&first.execute_unprepared(one).await)];
    looks.push(look(&first.commit().await));
    looks.push(look(&second.execute_unprepared(two).await));
    looks.push(look(&second.commit().await));
    looks
}

db_test!(i4_serialization_failures_are_those_of_the_database, on(postgres), async |t| {
    library(t).await;
    let db = audited(&t.db);
    let update = "UPDATE shelf SET label = 'x' WHERE room = 'b'";
    let upsert = writes(t)[3];
    for (level, statements, expected) in [
        (IsolationLevel::RepeatableRead, [update, update], 1),
        (IsolationLevel::RepeatableRead, [update, "DELETE FROM shelf WHERE room = 'b'"], 1),
        (IsolationLevel::RepeatableRead, [update, upsert], 1),
        (IsolationLevel::RepeatableRead, [upsert, update], 1),
        (IsolationLevel::RepeatableRead, [update, "UPDATE shelf SET label = 'x' WHERE room = 'a'"], 0),
        // Each writes what the other has read.
        (IsolationLevel::Serializable, [update, "UPDATE shelf SET label = 'x' WHERE room = 'a'"], 1),
        (IsolationLevel::Serializable, [update, "DELETE FROM shelf WHERE room = 'a'"], 1),
        // One writes what the other has read, and that is all.
        (IsolationLevel::Serializable, [update, "UPDATE loan SET reader = 'x' WHERE id = 1"], 0),
    ] {
        let mut looks = Vec::new();
        for audit in [false, true] {
            // From the same start, so that there is something to be changed each time.
            t.execute("DELETE FROM loan; DELETE FROM book; DELETE FROM shelf").await.unwrap();
            for sql in ROWS {
                t.execute(sql).await.unwrap();
            }
            let seen = entries(t).await.len();
            if audit {
                looks.push(overlapping(&db, level, statements).await);
                assert!(entries(t).await.len() > seen);
            } else {
                looks.push(overlapping(&t.db, level, statements).await);
                assert_eq!(entries(t).await.len(), seen);
            }
        }
        let failures = looks[0].iter().filter(|look| look.contains("40001")).count();
        assert_eq!(failures, expected, "{level:?} {statements:?}: {:?}", looks[0]);
        assert_eq!(looks[0], looks[1], "{level:?} {statements:?}");
    }
});

/// Two transactions that both read everything and then write, each what the other has read; how their writes and commits end.
async fn crossing<C: TransactionTrait>(t: &TestDb, db: &C, [one, two]: [&str; 2]) -> Vec<String> {
    let begin = async || db.begin_with_config(Some(IsolationLevel::Serializable), None).await.unwrap();
    let (first, second) = (begin().await, begin().await);
    for transaction in [&first, &second] {
        shelf::Entity::find().all(transaction).await.unwrap();
    }
    let first = async {
        let done = first.execute_unprepared(one).await;
        format!("{}, {}", look(&done), look(&first.commit().await))
    };
    let second = async {
        waiting(t, 1).await;
        let done = second.execute_unprepared(two).await;
        format!("{}, {}", look(&done), look(&second.commit().await))
    };
    let (first, second) = tokio::join!(first, second);
    let mut both = vec![first, second];
    both.sort();
    both
}

// What reads is locked there, so that the failure is a deadlock.
db_test!(i4_serialization_failures_of_mysql_are_those_of_the_database, on(mysql), async |t| {
    library(t).await;
    let db = audited(&t.db);
    let anew = async || {
        for sql in ["DELETE FROM loan", "DELETE FROM book", "DELETE FROM shelf"].into_iter().chain(ROWS) {
            t.execute(sql).await.unwrap();
        }
    };
    let update = "UPDATE shelf SET label = 'x' WHERE room = 'b'";
    let other = "UPDATE shelf SET label = 'x' WHERE room = 'a'";
    for statements in
        [[update, other], [update, "DELETE FROM shelf WHERE room = 'b'"], [writes(t)[3], update]]
    {
        anew().await;
        let plain = crossing(t, &t.db, statements).await;
        let seen = entries(t).await.len();
        anew().await;
        let found = crossing(t, &db, statements).await;
        assert_eq!(found, plain, "{statements:?}");
        assert_eq!(plain.iter().filter(|look| look.contains("40001")).count(), 1, "{plain:?}");
        assert!(entries(t).await.len() > seen, "who wasn't the victim has its entries");
    }
    // MariaDB can refuse a write of what was changed since the transaction's snapshot.
    let known = "SELECT count(*) FROM information_schema.global_variables WHERE variable_name = 'innodb_snapshot_isolation'";
    if !t.is_mariadb().await || t.value::<i64>(known).await.unwrap() == 0 {
        println!("skipped: no innodb_snapshot_isolation");
        return;
    }
    for second in [update, "DELETE FROM shelf WHERE room = 'b'", writes(t)[3]] {
        let mut looks = Vec::new();
        for audit in [false, true] {
            anew().await;
            looks.push(match audit {
                true => outdated(t, &db, second).await,
                false => outdated(t, &t.db, second).await,
            });
        }
        assert_eq!(looks[0], looks[1], "{second}");
        assert!(!looks[0].starts_with("ok"), "{second}: {looks:?}");
    }
});

/// How a write ends of a row that was changed since its transaction began to read.
async fn outdated<C: TransactionTrait>(t: &TestDb, db: &C, sql: &str) -> String {
    let transaction = db.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await.unwrap();
    transaction.execute_unprepared("SET SESSION innodb_snapshot_isolation = ON").await.unwrap();
    shelf::Entity::find().all(&transaction).await.unwrap();
    t.execute("UPDATE shelf SET label = 'since' WHERE room = 'b'").await.unwrap();
    let done = look(&transaction.execute_unprepared(sql).await);
    transaction.execute_unprepared("SET SESSION innodb_snapshot_isolation = DEFAULT").await.unwrap();
    format!("{done}, {}", look(&transaction.commit().await))
}

db_test!(i4_timeouts_are_those_of_the_database, async |t| {
    let before = library(t).await;
    let settings: &[(&str, &str)] = t.pick(
        &[("PRAGMA busy_timeout = 40", "5")],
        &[
            ("SET lock_timeout = '40ms'", "55P03"),
            ("RESET lock_timeout; SET statement_timeout = '40ms'", "57014"),
        ],
        &[("SET SESSION innodb_lock_wait_timeout = 0", "HY000")],
    );
    let pool = single(t).await;
    let db = audited(&pool);
    // What there is to be learned of the tables is learned before.
    db.execute_unprepared("UPDATE loan SET reader = 'Ada' WHERE id = 1").await.unwrap();
    for (setting, expected) in settings {
        pool.execute_unprepared(setting).await.unwrap();
        let other = hold(t).await;
        for sql in writes(t) {
            if sql.contains("'z'") && t.backend != DbBackend::Sqlite {
                continue; // It waits for nobody.
            }
            let plain = look(&pool.execute_unprepared(sql).await);
            assert!(plain.contains(expected), "{setting}, {sql}: {plain}");
            let refused = db.execute_unprepared(sql).await;
            assert_eq!(look(&refused), plain, "{setting}, {sql}: {refused:?}");
            let transaction = db.begin().await.unwrap();
            let refused = transaction.execute_unprepared(sql).await;
            assert_eq!(look(&refused), plain, "{setting}, {sql}: {refused:?}");
            transaction.rollback().await.unwrap();
        }
        other.rollback().await.unwrap();
    }
    assert_eq!((now(t).await, entries(t).await), (before, vec![]));
});

/// Locks all rows.
async fn hold(t: &TestDb) -> sea_orm::DatabaseTransaction {
    let other = begin_to_write(&t.db).await;
    let sql: &[&str] = t.pick(
        &["UPDATE loan SET reader = reader"],
        &["SELECT 1 FROM shelf FOR UPDATE", "SELECT 1 FROM loan FOR UPDATE"],
        &["SELECT 1 FROM shelf FOR UPDATE", "SELECT 1 FROM loan FOR UPDATE"],
    );
    for sql in sql {
        other.execute_unprepared(sql).await.unwrap();
    }
    other
}

async fn begin_to_write(db: &sea_orm::DatabaseConnection) -> sea_orm::DatabaseTransaction {
    let mut options = sea_orm::TransactionOptions::default();
    if db.get_database_backend() == DbBackend::Sqlite {
        options.sqlite_transaction_mode = Some(sea_orm::SqliteTransactionMode::Immediate);
    }
    db.begin_with_options(options).await.unwrap()
}

db_test!(i4_a_reader_that_is_too_late_to_write_fails_as_without_audit, on(sqlite), async |t| {
    async fn too_late<C: TransactionTrait>(t: &TestDb, db: &C, sql: &str) -> Vec<String> {
        let late = db.begin().await.unwrap();
        shelf::Entity::find().all(&late).await.unwrap();
        // Something else: what stays the same isn't written, and doesn't come too early.
        t.execute("UPDATE loan SET reader = reader || '.'").await.unwrap();
        let refused = look(&late.execute_unprepared(sql).await);
        vec![refused, look(&late.rollback().await)]
    }
    library(t).await;
    let db = audited(&t.db);
    for sql in writes(t) {
        let plain = too_late(t, &t.db, sql).await;
        assert!(plain[0].contains("517"), "{plain:?}");
        assert_eq!(too_late(t, &db, sql).await, plain, "{sql}");
    }
    assert_eq!(entries(t).await, []);
});

db_test!(i4_violated_constraints_look_as_without_audit, async |t| {
    for sql in [
        "CREATE TABLE room (name VARCHAR(100) NOT NULL PRIMARY KEY)",
        "INSERT INTO room (name) VALUES ('a'), ('b')",
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL CHECK (number < 100), \
         label VARCHAR(100) NOT NULL UNIQUE, PRIMARY KEY (room, number), \
         CONSTRAINT in_room FOREIGN KEY (room) REFERENCES room (name))",
        "CREATE TABLE crate_ (id INT NOT NULL PRIMARY KEY, room VARCHAR(100) NOT NULL, number INT NOT NULL, \
         CONSTRAINT on_shelf FOREIGN KEY (room, number) REFERENCES shelf (room, number))",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'one'), ('a', 2, 'two'), ('b', 1, 'three')",
        "INSERT INTO crate_ (id, room, number) VALUES (1, 'a', 1)",
    ] {
        t.execute(sql).await.unwrap();
    }
    let sorted = shelf::Entity::find().order_by_asc(shelf::Column::Room).order_by_asc(shelf::Column::Number);
    let before = sorted.clone().all(&t.db).await.unwrap();
    let db = audited(&t.db);
    let shown = |result: Result<(), DbErr>| {
        let violated = result.as_ref().err().and_then(DbErr::sql_err);
        format!("{} {violated:?}", look(&result))
    };
    let mut violated = std::collections::BTreeSet::new();
    for sql in [
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'key')",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 9, 'one')",
        "INSERT INTO shelf (room, number, label) VALUES ('nowhere', 1, 'x')",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 100, 'x')",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 9, NULL)",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 8, 'x'), ('a', 9, 'x')",
        "UPDATE shelf SET label = 'one' WHERE room = 'b'",
        "UPDATE shelf SET room = 'nowhere' WHERE room = 'b'",
        "UPDATE shelf SET number = 100 WHERE room = 'b'",
        "UPDATE shelf SET label = NULL WHERE room = 'b'",
        "UPDATE shelf SET label = 'all the same'",
        "DELETE FROM shelf WHERE room = 'a'",
        "DELETE FROM room WHERE name = 'a'",
    ] {
        let plain = shown(t.execute(sql).await.map(|_| ()));
        assert_eq!(shown(db.execute_unprepared(sql).await.map(|_| ())), plain, "{sql}");
        let transaction = db.begin().await.unwrap();
        assert_eq!(shown(transaction.execute_unprepared(sql).await.map(|_| ())), plain, "{sql}");
        transaction.rollback().await.unwrap();
        violated.insert(plain);
    }
    assert!(violated.len() >= 5, "{violated:#?}");
    // The same by active models.
    let model = |room: &str, number: i32, label: &str| {
        let model = shelf::Model { room: room.into(), number, label: label.into() };
        model.into_active_model().reset_all()
    };
    for (new, row) in [
        (true, model("a", 1, "key")),
        (true, model("a", 9, "one")),
        (true, model("nowhere", 9, "x")),
        (true, model("a", 100, "x")),
        (false, model("b", 1, "one")),
    ] {
        let shown = |result: Result<shelf::Model, DbErr>| shown(result.map(|_| ()));
        let (plain, found) = if new {
            let plain = audit_seaorm::suspended(row.clone().insert(&t.db)).await;
            (shown(plain), shown(row.insert(&db).await))
        } else {
            let plain = audit_seaorm::suspended(row.clone().update(&t.db)).await;
            (shown(plain), shown(row.update(&db).await))
        };
        assert_eq!(plain, found);
        assert!(violated.contains(&plain) || plain.starts_with("Query"), "{plain}");
    }
    assert_eq!(sorted.all(&t.db).await.unwrap(), before);
    assert_eq!(entries(t).await, []);
});

db_test!(c15_many_tasks_share_one_connection, async |t| {
    books::create_tables(t).await;
    let before = now(t).await;
    let db = Load::Shelves.connect(single(t).await);
    let tasks: Vec<_> = (0..8)
        .map(|seed| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut random = Random(seed);
                for _ in 0..12 {
                    if let Err(error) = Load::Shelves.operation(&db, &mut random).await {
                        assert!(!matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)), "{error}");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_told(t, &before).await;
});

db_test!(c15_the_only_connection_is_in_a_transaction_while_another_task_learns_of_the_tables, async |t| {
    let before = library(t).await;
    let db = audited(&single(t).await);
    let transaction = db.begin().await.unwrap();
    let (on_pool, in_transaction) =
        tokio::join!(db.execute_unprepared("UPDATE shelf SET label = 'pool' WHERE room = 'b'"), async {
            // The other one has come first, and waits for the connection.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            transaction.execute_unprepared("UPDATE shelf SET label = 'transaction' WHERE room = 'a'").await?;
            transaction.commit().await
        });
    in_transaction.unwrap();
    on_pool.unwrap();
    assert_told(t, &before).await;
});

/// Polls a future so many times, then drops it at the place where it is.
pub(crate) async fn dropped<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

db_test!(c15_futures_dropped_at_any_await_leave_no_transaction_and_no_lock, async |t| {
    let before = library(t).await;
    let db = audited(&single(t).await);
    for way in ["alone", "transaction", "nested", "model"] {
        for polls in 1..12 {
            // There is always a shelf with a book, and a loan of it.
            for sql in [
                "DELETE FROM shelf WHERE room = 'd'",
                "INSERT INTO shelf (room, number, label) VALUES ('d', 1, 'new')",
                "INSERT INTO book (id, room, number, title) VALUES (9, 'd', 1, 'Ulysses')",
                "UPDATE loan SET book_id = 9 WHERE id = 2",
                "DELETE FROM shelf WHERE room = 'z'",
            ] {
                db.execute_unprepared(sql)
                    .await
                    .unwrap_or_else(|error| panic!("after {way}, {polls} polls: {sql}: {error}"));
            }
            let mut statements = writes(t).map(|sql| sql.replace("v4lue", &format!("{way} {polls}")));
            statements[1] = "DELETE FROM shelf WHERE room = 'd'".to_owned();
            for sql in statements {
                match way {
                    "alone" => _ = dropped(db.execute_unprepared(&sql), polls).await,
                    "model" => {
                        let label = format!("{way} {polls}");
                        let row = shelf::Model { room: "b".into(), number: 1, label };
                        _ = dropped(row.into_active_model().reset_all().update(&db), polls).await;
                    }
                    _ => {
                        let whole = async {
                            let transaction = db.begin().await?;
                            transaction
                                .execute_unprepared("UPDATE loan SET reader = concat(id, 'x')")
                                .await?;
                            if way == "nested" {
                                let nested = transaction.begin().await?;
                                _ = dropped(nested.execute_unprepared(&sql), polls).await;
                                nested.commit().await?;
                            } else {
                                _ = dropped(transaction.execute_unprepared(&sql), polls).await;
                            }
                            transaction.commit().await
                        };
                        if polls % 2 == 0 {
                            _ = whole.await;
                        } else {
                            _ = dropped(whole, polls * 3).await;
                        }
                    }
                }
            }
        }
    }
    // The only connection is given to this one after all that was begun before.
    tokio::time::timeout(Duration::from_secs(20), db.execute_unprepared("UPDATE shelf SET label = 'last'"))
        .await
        .unwrap()
        .unwrap();
    assert_no_transaction_is_open(t).await;
    assert_told(t, &before).await;
});
