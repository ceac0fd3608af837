//! What triggers of the user's make of a row is in the row's entry.
//!
//! Each test has audits of its own: they remember which tables have triggers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use audit_seaorm::{Audit, Config, FailurePolicy, MemorySink};
use audit_tests::{TestDb, db_test};
use sea_orm::{ActiveModelTrait, EntityTrait, TransactionTrait};
use serde_json::json;

use crate::fixtures::{account, changes, create_table, entries, only_entry, set_balance};

fn audit() -> Audit {
    Audit::builder().build().expect("an audit")
}

/// Lets a trigger that runs after each insertion change the inserted row. MySQL's can't; there it runs before.
async fn stamp_inserts(t: &TestDb) {
    t.execute(t.pick(
        "CREATE TRIGGER stamp AFTER INSERT ON account BEGIN UPDATE account SET note = 'by trigger' WHERE id = NEW.id; END",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN UPDATE account SET note = ''by trigger'' WHERE id = NEW.id; RETURN NULL; END';
         CREATE TRIGGER stamp AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION stamp()",
        "CREATE TRIGGER stamp BEFORE INSERT ON account FOR EACH ROW SET NEW.note = 'by trigger'",
    ))
    .await
    .unwrap();
}

async fn insert(db: &sea_orm::DatabaseConnection) {
    crate::fixtures::account("Ada", 1).insert(db).await.unwrap();
}

/// That there is one more entry than these, of a creation that shows what the trigger did.
async fn assert_one_more(t: &TestDb, before: usize, what: &str) {
    let new = entries(t).await.split_off(before);
    let said: Vec<_> =
        new.iter().map(|entry| (entry.action.as_str(), changes(entry)["note"].clone())).collect();
    assert_eq!(said, [("create", json!({"new": "by trigger"}))], "{what}");
    assert_eq!(new[0].hash_matches(), Some(true), "{what}");
}

db_test!(c2_what_a_trigger_does_after_an_insert_is_in_the_create_entry, async |t| {
    create_table(t, account::Entity).await;
    stamp_inserts(t).await;
    // Each audit finds out by itself, as each start of a program does.
    for run in 0..2 {
        let audit = audit();
        for row in 0..2 {
            audit.within(insert(&t.db)).await;
            assert_one_more(t, 2 * run + row, &format!("run {run}, row {row}")).await;
        }
    }
});

db_test!(c2_what_a_trigger_does_after_an_insert_is_in_the_entry_over_the_connection, async |t| {
    create_table(t, account::Entity).await;
    stamp_inserts(t).await;
    let db = audit().connect(t.db.clone());
    crate::fixtures::account("Ada", 1).insert(&db).await.unwrap();
    assert_one_more(t, 0, "over the connection").await;
    let rows = [crate::fixtures::account("Bob", 1), crate::fixtures::account("Cy", 2)];
    account::Entity::insert_many(rows).exec(&db).await.unwrap();
    let all = entries(t).await;
    let owner = |at: usize| changes(&all[at])["owner"].clone();
    assert_eq!((all.len(), owner(1), owner(2)), (3, json!({"new": "Bob"}), json!({"new": "Cy"})));
    assert!(all.iter().all(|entry| changes(entry)["note"] == json!({"new": "by trigger"})));
});

db_test!(c2_a_trigger_that_comes_later_is_noticed, async |t| {
    create_table(t, account::Entity).await;
    let audit = audit();
    audit.within(insert(&t.db)).await;
    assert_eq!(changes(&only_entry(t).await)["note"], json!({"new": null}));
    stamp_inserts(t).await;
    audit.within(insert(&t.db)).await;
    assert_one_more(t, 1, "after the change of the schema").await;
});

db_test!(c2_what_a_trigger_does_after_an_update_is_in_its_entry, async |t| {
    create_table(t, account::Entity).await;
    let row = crate::fixtures::quiet_account(&t.db, "Ada", 1000).await;
    t.execute(t.pick(
        "CREATE TRIGGER stamp AFTER UPDATE OF balance ON account BEGIN UPDATE account SET note = 'by trigger' WHERE id = NEW.id; END",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN UPDATE account SET note = ''by trigger'' WHERE id = NEW.id; RETURN NULL; END';
         CREATE TRIGGER stamp AFTER UPDATE OF balance ON account FOR EACH ROW EXECUTE FUNCTION stamp()",
        "CREATE TRIGGER stamp BEFORE UPDATE ON account FOR EACH ROW SET NEW.note = 'by trigger'",
    ))
    .await
    .unwrap();
    audit().within(set_balance(&t.db, row.id, 200)).await.unwrap();
    assert_eq!(
        changes(&only_entry(t).await),
        json!({"balance": {"old": "10.00", "new": "2.00"}, "note": {"old": null, "new": "by trigger"}})
    );
});

db_test!(c2_what_a_trigger_does_is_in_the_entry_under_every_policy, async |t| {
    create_table(t, account::Entity).await;
    stamp_inserts(t).await;
    let lenient = || {
        let mut config = Config::default();
        config.on_failure = FailurePolicy::BestEffort;
        Audit::builder().config(config).build().unwrap()
    };
    lenient().within(insert(&t.db)).await;
    assert_one_more(t, 0, "best effort").await;
    let transaction = t.db.begin().await.unwrap();
    lenient().within(crate::fixtures::account("Bob", 1).insert(&transaction)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_one_more(t, 1, "best effort, in a transaction").await;

    let sink = MemorySink::new();
    let elsewhere = Audit::builder().sink(sink.clone()).build().unwrap();
    elsewhere.within(insert(&t.db)).await;
    let taken = sink.take();
    assert_eq!(taken.len(), 1);
    let recorded = taken[0].changes_json().unwrap();
    assert_eq!((&*taken[0].action, &recorded["note"]), ("create", &json!({"new": "by trigger"})));
});

db_test!(c2_looking_for_triggers_takes_no_statement_of_its_own, async |t| {
    create_table(t, account::Entity).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut counted = t.db.clone();
    let counter = Arc::clone(&sent);
    counted.set_metric_callback(move |_| _ = counter.fetch_add(1, Ordering::Relaxed));
    let audit = audit();
    audit_seaorm::suspended(insert(&counted)).await;
    let plain = sent.swap(0, Ordering::Relaxed);
    for row in 0..3 {
        audit.within(insert(&counted)).await;
        assert_eq!(sent.swap(0, Ordering::Relaxed), plain + 1, "row {row}: the row and its entry");
    }
    assert_eq!(entries(t).await.len(), 3);
});
