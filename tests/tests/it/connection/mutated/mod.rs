//! I2, C17: no text hides a write. Statements as SeaORM makes them, and hostile ones, are cut, quoted, commented and put
//! together at random, and run on a pool or in a transaction that is rolled back, with values or without: what they changed is in the
//! entries, or they were refused.

mod texts;

use std::time::Duration;

use audit_seaorm::entity::audit_log;
use audit_seaorm::{AuditConnection, AuditTransaction};
use audit_tests::{TestDb, db_test};
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, Statement,
    TransactionTrait,
};

use super::hostile::{Shelves, told};
use super::sessions::{audited, single};
use crate::fixtures::keys::shelf::Entity;
use crate::fixtures::set_up_shelves;

/// How many texts are tried; `AUDIT_TEST_LONG=1` makes it twenty times as many.
fn tries() -> usize {
    if std::env::var_os("AUDIT_TEST_LONG").is_some() { 5_000 } else { 250 }
}

db_test!(c17_no_text_hides_a_write, async |t| {
    search(t, texts::texts(t.backend).prop_map(|sql| Sent::Text { sql, on_pool: false }), 1).await;
});

db_test!(c17_no_text_on_a_pool_hides_a_write, async |t| {
    search(t, texts::texts(t.backend).prop_map(|sql| Sent::Text { sql, on_pool: true }), 2).await;
});

db_test!(c17_no_text_with_values_hides_a_write, async |t| {
    let sent = (texts::bound(t.backend), any::<bool>());
    search(t, sent.prop_map(|(statement, on_pool)| Sent::Bound { statement, on_pool }), 2).await;
});

/// What is tried, and how.
#[derive(Clone, Debug)]
enum Sent {
    Text { sql: String, on_pool: bool },
    Bound { statement: Statement, on_pool: bool },
}

impl Sent {
    fn on_pool(&self) -> bool {
        matches!(self, Self::Text { on_pool: true, .. } | Self::Bound { on_pool: true, .. })
    }

    async fn over<C: ConnectionTrait>(&self, db: &C) -> Result<(), DbErr> {
        let done = async {
            match self {
                Self::Text { sql, .. } => db.execute_unprepared(sql).await,
                Self::Bound { statement, .. } => db.execute_raw(statement.clone()).await,
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), done).await {
            Ok(done) => done.map(|_| ()),
            Err(_) => Err(DbErr::Custom(ENDLESS.to_owned())),
        }
    }
}

const ENDLESS: &str = "it doesn't end";

/// Tries what the strategy makes, a part of the usual number.
async fn search(t: &TestDb, sent: impl Strategy<Value = Sent>, part: usize) {
    set_up_shelves(t).await;
    let pool = single(t).await;
    let db = audited(&pool);
    let tries = tries() / part;
    // The same texts in each ordinary run; others in each long one.
    let long = std::env::var_os("AUDIT_TEST_LONG").is_some();
    let mut runner = if long { TestRunner::default() } else { TestRunner::deterministic() };
    let (mut changed, mut refused) = (0, 0);
    for _ in 0..tries {
        let mut tree = sent.new_tree(&mut runner).expect("a text");
        let fault = match check(t, (&pool, &db), &tree.current()).await {
            Ok(outcome) => {
                changed += usize::from(outcome == Outcome::Changed);
                refused += usize::from(outcome == Outcome::Refused);
                continue;
            }
            Err(fault) => fault,
        };
        // The shortest text that is wrong as well.
        let mut least = (tree.current(), fault);
        while tree.simplify() {
            while check(t, (&pool, &db), &tree.current()).await.is_ok() {
                if !tree.complicate() {
                    break;
                }
            }
            match check(t, (&pool, &db), &tree.current()).await {
                Err(fault) => least = (tree.current(), fault),
                Ok(_) => break,
            }
        }
        panic!("{:?}: {}", least.0, least.1);
    }
    println!("{:?}: {changed} changed the table, {refused} were refused, of {tries}", t.backend);
    // Else the texts are too broken to show anything.
    assert!(changed > tries / 20 && refused > tries / 50, "{changed} changed the table, {refused} refused");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Changed,
    Refused,
    Nothing,
}

/// Runs a text, in a transaction that is rolled back or on the pool; an error says that the entries don't tell what it did.
async fn check(
    t: &TestDb,
    (pool, db): (&DatabaseConnection, &AuditConnection),
    sent: &Sent,
) -> Result<Outcome, String> {
    let (mut before, mut last) = (shelves(&t.db).await?, last(&t.db).await?);
    if before != start() {
        // Some text has ended the transaction, or was sent without one, and has been recorded.
        let anew = "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'one'), ('a', 2, 'two'), ('b', 1, 'three')";
        t.execute("DELETE FROM shelf").await.map_err(|error| error.to_string())?;
        t.execute(anew).await.map_err(|error| error.to_string())?;
        (before, last) = (shelves(&t.db).await?, self::last(&t.db).await?);
    }
    let (done, mut outcome) = if sent.on_pool() {
        let done = sent.over(db).await;
        // A text may have begun a transaction of its own on the only connection.
        _ = pool.execute_unprepared("ROLLBACK").await;
        let changed = shelves(&t.db).await? != before;
        (done, if changed { Outcome::Changed } else { Outcome::Nothing })
    } else {
        in_transaction(db, sent, &before, last).await?
    };
    if done.as_ref().is_err_and(|error| error.to_string().contains(ENDLESS)) {
        return Err(ENDLESS.to_owned());
    }
    if done.as_ref().is_err_and(audit_seaorm::is_audit_error) {
        outcome = Outcome::Refused;
    }
    // Nor has anything been committed in silence.
    compare(&before, &since(&t.db, last).await?, &shelves(&t.db).await?, &done)?;
    Ok(outcome)
}

/// Runs a text in a transaction and rolls it back.
async fn in_transaction(
    db: &AuditConnection,
    sent: &Sent,
    before: &Shelves,
    last: i64,
) -> Result<(Result<(), DbErr>, Outcome), String> {
    let transaction: AuditTransaction = db.begin().await.map_err(|error| error.to_string())?;
    let done = sent.over(&transaction).await;
    let (mut outcome, mut told_or_refused) = (Outcome::Nothing, Ok(()));
    // In a transaction that has failed nothing can be asked any more, and nothing has happened.
    if let (Ok(after), Ok(all)) = (shelves(&transaction).await, since(&transaction, last).await) {
        if after != *before {
            outcome = Outcome::Changed;
        }
        told_or_refused = compare(before, &all, &after, &done);
    }
    let refused = done.as_ref().is_err_and(audit_seaorm::is_audit_error);
    match told_or_refused {
        Ok(()) => _ = transaction.rollback().await,
        // Refused when it had been done already: then the transaction can't be committed.
        Err(fault) if !refused || transaction.commit().await.is_ok() => return Err(fault),
        Err(_) => {}
    }
    Ok((done, outcome))
}

fn start() -> Shelves {
    let rows = [("a/1", "one"), ("a/2", "two"), ("b/1", "three")];
    rows.into_iter().map(|(key, label)| (key.to_owned(), label.to_owned())).collect()
}

fn compare<T: std::fmt::Debug>(
    before: &Shelves,
    entries: &[audit_log::Model],
    after: &Shelves,
    done: &T,
) -> Result<(), String> {
    match told(entries, before.clone()) {
        Ok(told) if told == *after => Ok(()),
        told => Err(format!("the entries tell {told:?}, the table is {after:?}, was {before:?}; {done:?}")),
    }
}

async fn shelves<C: ConnectionTrait>(db: &C) -> Result<Shelves, String> {
    let all = Entity::find().all(db).await.map_err(|error| error.to_string())?;
    Ok(all.into_iter().map(|row| (format!("{}/{}", row.room, row.number), row.label)).collect())
}

async fn last<C: ConnectionTrait>(db: &C) -> Result<i64, String> {
    let last = audit_log::Entity::find().order_by_desc(audit_log::Column::Seq).one(db).await;
    Ok(last.map_err(|error| error.to_string())?.map_or(0, |entry| entry.seq))
}

async fn since<C: ConnectionTrait>(db: &C, seq: i64) -> Result<Vec<audit_log::Model>, String> {
    let all = audit_log::Entity::find().filter(audit_log::Column::Seq.gt(seq));
    all.order_by_asc(audit_log::Column::Seq).all(db).await.map_err(|error| error.to_string())
}
