//! I6: whichever way an entry is made, it is the same, byte for byte.

mod labels;
mod scalars;
mod typed;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use audit_seaorm::{Audit, AuditContext, Entry, MemorySink, scope};
use audit_tests::TestDb;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, Iterable,
    ModelTrait, PrimaryKeyToColumn,
};

use serde_json::json;

use crate::fixtures::entries;

/// Everything of an entry that doesn't depend on when it was made.
fn comparable(entry: &Entry) -> String {
    let mut entry = entry.clone();
    entry.id = uuid::Uuid::nil();
    entry.timestamp = chrono::DateTime::UNIX_EPOCH;
    entry.transaction_id = None;
    entry.integrity_hash = None;
    format!("{entry:#?}")
}

/// A row that begins, becomes another but for its key, and ends; after each step `step` is told.
async fn life<M, A, C>(db: &C, first: &M, second: &M, mut step: impl FnMut(usize)) -> Result<(), DbErr>
where
    M: ModelTrait + IntoActiveModel<A>,
    <M::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    A: ActiveModelTrait<Entity = M::Entity> + ActiveModelBehavior + Send,
    C: ConnectionTrait,
{
    first.clone().into_active_model().reset_all().insert(db).await?;
    step(0);
    let mut change = second.clone().into_active_model().reset_all();
    for key in <M::Entity as EntityTrait>::PrimaryKey::iter() {
        let column = key.into_column();
        change.set(column, first.get(column));
    }
    let row = change.update(db).await?;
    step(1);
    row.into_active_model().delete(db).await?;
    step(2);
    Ok(())
}

/// Lets pairs of rows live in three ways: over the connection as it is; over one whose entries the program makes, from the rows that
/// travel; with hooks. All three must write the same. Says how many inserts, updates and deletes of the first way were one statement.
async fn compare<M, A>(t: &TestDb, cases: usize, rows: impl Strategy<Value = M>) -> [usize; 3]
where
    M: ModelTrait + IntoActiveModel<A> + std::fmt::Debug + PartialEq,
    <M::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    A: ActiveModelTrait<Entity = M::Entity> + ActiveModelBehavior + Send,
{
    let context = AuditContext::user("a'b")
        .named("Ann \"x\" \\ 😀")
        .email("ann@example.org")
        .tenant("acme")
        .ip("2001:db8::7")
        .user_agent("agent 'x' \"y\" \\")
        .session_id("session-1")
        .request_id("request-1")
        .request_data(json!({"path": "/a", "password": "hunter2"}))
        .reason("because")
        .with("department", json!({"name": "treasury"}));
    let sent = Arc::new(AtomicUsize::new(0));
    let mut counted = t.db.clone();
    let counter = Arc::clone(&sent);
    counted.set_metric_callback(move |_| _ = counter.fetch_add(1, Ordering::Relaxed));
    let stored = Audit::builder().build().unwrap().connect(counted).with_context(context.clone());
    let (travelled, hooked) = (MemorySink::new(), MemorySink::new());
    let through_rows = Audit::builder().sink(travelled.clone()).build().unwrap();
    let through_rows = through_rows.connect(t.db.clone()).with_context(context.clone());
    let hooks = Audit::builder().sink(hooked.clone()).build().unwrap();

    let mut one_trip = [0; 3];
    let mut runner = TestRunner::deterministic();
    let mut seen = 0;
    for case in 0..cases {
        let mut next = || rows.new_tree(&mut runner).expect("a row").current();
        let (first, second) = (next(), next());
        sent.store(0, Ordering::Relaxed);
        let count = |step: usize| one_trip[step] += usize::from(sent.swap(0, Ordering::Relaxed) == 1);
        life(&stored, &first, &second, count)
            .await
            .unwrap_or_else(|error| panic!("case {case}: {error}: {first:?}"));
        life(&through_rows, &first, &second, |_| ()).await.unwrap();
        hooks.within(scope(context.clone(), life(&t.db, &first, &second, |_| ()))).await.unwrap();

        let rows = entries(t).await.split_off(seen);
        seen += rows.len();
        for row in &rows {
            assert_eq!(row.hash_matches(), Some(true), "case {case}: {row:#?}");
        }
        let stored: Vec<String> = rows.into_iter().map(|row| comparable(&row.try_into().unwrap())).collect();
        let travelled: Vec<String> = travelled.take().iter().map(comparable).collect();
        let hooked: Vec<String> = hooked.take().iter().map(comparable).collect();
        assert!(stored.len() == 3 || first == second, "case {case}: {stored:#?}");
        assert_eq!(stored, travelled, "case {case}: {first:?} {second:?}");
        assert_eq!(travelled, hooked, "case {case}: {first:?} {second:?}");
    }
    assert!(<M::Entity as EntityTrait>::find().one(&t.db).await.unwrap().is_none());
    one_trip
}
