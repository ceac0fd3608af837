//! Faults that were found, each under its own name.

use std::time::Duration;

use audit_seaorm::capture::hooks;
use audit_seaorm::{
    Audit, AuditContext, Config, LogFilter, Operation, audit_action, get_audit_logs, log_failure, scope,
    suspended, testing,
};
use audit_tests::{TestDb, db_test};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait,
    IntoActiveModel, ModelTrait, Set, TransactionTrait, prelude::Json,
};
use serde_json::json;

use crate::fixtures::{
    account, changes, create_table, document, entries, keys, only_entry, quiet_account, set_balance,
};

/// The inner scope was taken from where the future was made, not from where it ran: it lost what lay between.
#[tokio::test]
async fn a_scope_made_outside_of_another_nests_in_it() {
    let db = DatabaseConnection::default();
    let inner = scope(AuditContext::user("ann"), Operation::new("x", "y").log(&db));
    let (outcome, entries) = testing::capture(inner).await;
    outcome.unwrap();
    entries.only().assert_actor("ann");
}

/// Keeps a row locked until it is rolled back.
async fn lock_row(t: &TestDb, id: i64) -> DatabaseTransaction {
    let transaction = t.db.begin().await.unwrap();
    suspended(set_balance(&transaction, id, 99)).await.unwrap();
    transaction
}

/// Runs a write that has to wait for a lock half-way in this task, and the rest of it in another.
async fn moved_to_another_task<F>(lock: DatabaseTransaction, write: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut write = Box::pin(write);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut write).await.is_err(),
        "it waits for the lock"
    );
    let rest = tokio::spawn(write);
    lock.rollback().await.unwrap();
    rest.await.unwrap()
}

// The row as it was, was looked for in the task that wrote, and it had been put there by another: a delete went
// unrecorded, an update failed after the fact.
db_test!(a_delete_that_moves_to_another_task_is_recorded, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    let (lock, db) = (lock_row(t, row.id).await, t.db.clone());
    moved_to_another_task(lock, async move { row.delete(&db).await }).await.unwrap();
    assert_eq!(only_entry(t).await.action, "delete");
});

db_test!(an_update_that_moves_to_another_task_is_recorded, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    let (lock, db) = (lock_row(t, row.id).await, t.db.clone());
    moved_to_another_task(lock, async move { set_balance(&db, row.id, 777).await }).await.unwrap();
    assert_eq!(changes(&only_entry(t).await), json!({"balance": {"old": "0.01", "new": "7.77"}}));
});

// The blocking task shared its scope with the one that started it, and lost its rows when that one ended.
db_test!(a_blocking_task_that_outlives_its_scope_is_recorded, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    let lock = lock_row(t, row.id).await;
    let (db, runtime) = (t.db.clone(), tokio::runtime::Handle::current());
    let job = scope(AuditContext::user("ann"), async {
        let job = audit_seaorm::spawn_blocking(move || runtime.block_on(row.delete(&db)));
        tokio::time::sleep(Duration::from_millis(300)).await;
        Some(job)
    })
    .await;
    lock.rollback().await.unwrap();
    job.unwrap().await.unwrap().unwrap();
    assert_eq!(only_entry(t).await.actor_id.as_deref(), Some("ann"));
});

// A row that had to make place for others was taken for one that had never been there.
db_test!(a_delete_whose_row_was_lost_is_an_error_and_not_silence, async |t| {
    create_table(t, account::Entity).await;
    let mut rows = Vec::new();
    for cents in 0..6 {
        rows.push(quiet_account(&t.db, "a", cents).await);
    }
    let mut config = Config::default();
    config.pending_limit = 2;
    let audit = Audit::builder().config(config).build().unwrap();
    let transaction = t.db.begin().await.unwrap();
    let deletes = rows.into_iter().map(|row| row.delete(&transaction));
    let outcomes = audit.within(futures_util::future::join_all(deletes)).await;
    transaction.commit().await.unwrap();
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(entries(t).await.len(), done, "each that says it was done is recorded");
});

// The rows of all audits of the process waited in one place: one with a small `pending_limit` dropped those of others, and
// a delete of theirs failed after the fact.
db_test!(the_limit_of_one_audit_drops_no_row_of_another, on(postgres, mysql), async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    let mut others = Vec::new();
    for cents in 0..6 {
        others.push(quiet_account(&t.db, "b", cents).await);
    }
    let mut config = Config::default();
    config.pending_limit = 2;
    let narrow = Audit::builder().config(config).build().unwrap();
    let (id, lock) = (row.id.to_string(), lock_row(t, row.id).await);
    let mut waiting = std::pin::pin!(row.delete(&t.db));
    let read = async {
        while hooks::rows_waiting(&t.db) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = &mut waiting => panic!("the row is locked: {outcome:?}"),
        () = read => {}
    }
    let crowd = others.into_iter().map(|row| row.delete(&t.db));
    narrow.within(futures_util::future::join_all(crowd)).await;
    lock.rollback().await.unwrap();
    waiting.await.unwrap();
    assert!(entries(t).await.iter().any(|entry| entry.resource_id.as_ref() == Some(&id)));
});

// After an update that changes nothing, a snapshot of MariaDB shows the row as it was long ago; that was recorded.
db_test!(an_old_snapshot_is_not_recorded_as_a_change, on(postgres, mysql), async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    let transaction = t.db.begin().await.unwrap();
    let seen = account::Entity::find_by_id(row.id).one(&transaction).await.unwrap().unwrap();
    set_balance(&t.db, row.id, 500).await.unwrap();
    let mut same = seen.into_active_model();
    same.owner = Set("a".into());
    same.update(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(changes(&only_entry(t).await), json!({"balance": {"old": "0.01", "new": "5.00"}}));
});

db_test!(an_old_snapshot_is_not_recorded_without_returning_either, on(mysql), async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    let transaction = t.db.begin().await.unwrap();
    account::Entity::find_by_id(row.id).one(&transaction).await.unwrap().unwrap();
    set_balance(&t.db, row.id, 500).await.unwrap();
    let same = account::ActiveModel { id: Set(row.id), owner: Set("a".into()), ..Default::default() };
    same.update_without_returning(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(changes(&only_entry(t).await), json!({"balance": {"old": "0.01", "new": "5.00"}}));
});

#[audit_action(entity_type = "Account", action = "token.set", entity_id = id)]
async fn set_token(db: &DatabaseConnection, id: i64, token: &str) -> Result<(), DbErr> {
    let change =
        account::ActiveModel { id: Set(id), api_token: Set(Some(token.to_owned())), ..Default::default() };
    change.update(db).await.map(|_| ())
}

// MariaDB quotes the value in "Duplicate entry 'x' for key ..", and the details of the failure had it.
db_test!(i5_a_databases_error_brings_no_value_into_the_details, async |t| {
    create_table(t, account::Entity).await;
    t.execute(t.pick(
        "CREATE UNIQUE INDEX u ON account (api_token)",
        "CREATE UNIQUE INDEX u ON account (api_token)",
        "CREATE UNIQUE INDEX u ON account (api_token(50))",
    ))
    .await
    .unwrap();
    let (a, b) = (quiet_account(&t.db, "a", 1).await, quiet_account(&t.db, "b", 2).await);
    set_token(&t.db, a.id, "s3cr3t").await.unwrap();
    set_token(&t.db, b.id, "s3cr3t").await.unwrap_err();
    let all = entries(t).await;
    assert_eq!(all.last().unwrap().status, "failed");
    assert!(!format!("{all:?}").contains("s3cr3t"), "{all:?}");
});

// A card number was cut out of the field, and stood in the resource's id.
db_test!(i5_a_secret_in_a_key_is_not_in_the_resource_id, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let shelf = keys::shelf::ActiveModel {
        room: Set("4111111111111111".into()),
        number: Set(7),
        label: Set("x".into()),
    };
    shelf.insert(&t.db).await.unwrap();
    let entry = only_entry(t).await;
    assert!(!format!("{entry:?}").contains("4111111111111111"), "{entry:?}");
    assert_eq!(entry.resource_id.unwrap().len(), 32 + 2, "a digest and the other part");
});

// `0.0 == -0.0`, but a column that holds the one doesn't hold the other.
db_test!(i2_the_sign_of_a_zero_is_a_change, async |t| {
    create_table(t, document::Entity).await;
    let row = document::ActiveModel { id: NotSet, body: Set(Some(json!({"a": 0.0}))), ratio: Set(0.0) };
    let row = row.insert(&t.db).await.unwrap();
    let change =
        document::ActiveModel { id: Set(row.id), body: Set(Some(json!({"a": -0.0}))), ratio: Set(-0.0) };
    change.update(&t.db).await.unwrap();
    let now = document::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap();
    let recorded = entries(t).await.get(1).map(changes).unwrap_or_default();
    assert_eq!(recorded.get("ratio").is_some(), now.ratio.is_sign_negative(), "{recorded}");
    assert_eq!(recorded.get("body").is_some(), now.body.unwrap().to_string().contains("-0.0"), "{recorded}");
});

// Both were recorded as null.
db_test!(i2_a_document_that_is_null_is_not_null, async |t| {
    create_table(t, document::Entity).await;
    let row =
        document::ActiveModel { id: NotSet, body: Set(None), ratio: Set(0.0) }.insert(&t.db).await.unwrap();
    let change = document::ActiveModel { id: Set(row.id), body: Set(Some(Json::Null)), ..Default::default() };
    change.update(&t.db).await.unwrap();
    assert_eq!(changes(&entries(t).await[1]), json!({"body": {"old": null, "new": {"$json": null}}}));
});

// MariaDB rolls the whole transaction back on a deadlock; "best effort" went on as if nothing had happened.
db_test!(a_deadlock_is_not_tolerated_by_best_effort, on(mysql), async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    t.execute("CREATE TABLE ballast (id int primary key)").await.unwrap();
    let other = t.db.begin().await.unwrap();
    for n in 0..50 {
        sea_orm::ConnectionTrait::execute_unprepared(&other, &format!("INSERT INTO ballast VALUES ({n})"))
            .await
            .unwrap();
    }
    sea_orm::ConnectionTrait::execute_unprepared(&other, "SELECT * FROM audit_log FOR UPDATE").await.unwrap();
    let mut config = Config::default();
    config.on_failure = audit_seaorm::FailurePolicy::BestEffort;
    let audit = Audit::builder().config(config).build().unwrap();
    let transaction = t.db.begin().await.unwrap();
    let (save, _) = tokio::join!(audit.within(set_balance(&transaction, row.id, 7777)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        suspended(set_balance(&other, row.id, 1234)).await
    });
    assert!(save.is_err(), "the save is gone with its transaction");
});

// It would have been lost with the transaction, and said nothing.
db_test!(c12_a_failure_logged_within_its_transaction_is_refused, async |t| {
    let transaction = t.db.begin().await.unwrap();
    let error = log_failure(&transaction, Operation::new("x", "y"), "no").await.unwrap_err();
    assert!(error.to_string().contains("AuditBuilder::store"), "{error}");
    let audit = Audit::builder().store(t.connect().await.unwrap()).build().unwrap();
    audit.within(log_failure(&transaction, Operation::new("x", "y"), "no")).await.unwrap();
    transaction.rollback().await.unwrap();
    audit.flush().await.expect("flushed");
    assert_eq!(only_entry(t).await.status, "failed");
});

// Long ids are stored by their digest and weren't found by themselves; NUL and long texts failed in the database.
db_test!(q1_odd_filters_are_answered, async |t| {
    let id = "k".repeat(2000);
    Operation::new("x", "y").id(&id).log(&t.db).await.unwrap();
    let found = async |filter: LogFilter| get_audit_logs(&filter).unwrap().all(&t.db).await.unwrap().len();
    assert_eq!(found(LogFilter::new().entity_id(&id)).await, 1);
    assert_eq!(found(LogFilter::new().search("a\0b")).await, 0);
    assert_eq!(found(LogFilter::new().actor("a\0b")).await, 0);
    assert_eq!(found(LogFilter::new().last_days(u32::MAX)).await, 1);
    assert_eq!(found(LogFilter::new().search("z".repeat(1000))).await, 0);
    assert!(get_audit_logs(&LogFilter::new().search("z".repeat(1001))).is_err());
});

// The question for triggers went with the INSERT into the table, which a sink has none of.
db_test!(s10_triggers_effects_are_captured_in_memory, on(sqlite, postgres), async |t| {
    create_table(t, account::Entity).await;
    t.execute(t.pick(
        "CREATE TRIGGER stamp AFTER INSERT ON account BEGIN UPDATE account SET note = 'by trigger' WHERE id = NEW.id; END",
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE account SET note = ''by trigger'' WHERE id = NEW.id; RETURN NULL; END';
         CREATE TRIGGER stamp AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION stamp()",
        "",
    ))
    .await
    .unwrap();
    let (_, captured) = testing::capture(crate::fixtures::account("Ada", 1).insert(&t.db)).await;
    assert!(format!("{captured:?}").contains("by trigger"));
    let (_, later) = testing::capture(crate::fixtures::account("Ben", 1).insert(&t.db)).await;
    assert!(!later.is_empty());
});

/// `#[audited]` was forgotten: the registry said that the entity is audited, and nothing was recorded.
#[test]
fn c3_an_entity_without_hooks_is_named() {
    let audit = Audit::builder().build().unwrap();
    assert_eq!(audit.registry().without_hooks(), ["document_unhooked"]);
}

// One key of a megabyte kept a worker busy for seconds.
#[test]
fn r9_a_hostile_name_takes_no_time() {
    let key = format!("{}{}_at", "a".repeat(1_000_000), "_pin".repeat(200_000));
    let clean = audit_seaorm::sanitize_data(json!({ key.as_str(): 1 }), None);
    assert!(clean.to_string().contains("***"));
}

#[audit_action(entity_type = "x", action = "y")]
async fn without_connection(done: &std::sync::atomic::AtomicBool) -> Result<(), DbErr> {
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    Ok(())
}

// The work was done first, and then failed for want of a connection to record it over.
#[tokio::test]
async fn c11_a_function_that_cannot_be_recorded_is_not_run() {
    let done = std::sync::atomic::AtomicBool::new(false);
    let error = without_connection(&done).await.unwrap_err();
    assert!(error.to_string().contains("AuditBuilder::store"), "{error}");
    assert!(!done.load(std::sync::atomic::Ordering::SeqCst));
    let (outcome, entries) = testing::capture(without_connection(&done)).await;
    outcome.unwrap();
    entries.only().assert_action("y");
}

#[test]
fn i5_debug_output_carries_no_data() {
    let context = AuditContext::user(1).request_data(json!({"password": "hunter2"})).with("token", "hunter2");
    let operation = Operation::new("x", "y").new_data(json!({"password": "hunter2"})).details("hunter2");
    assert!(!format!("{context:?} {operation:?}").contains("hunter2"));
}

mod graph_in_a_migration {
    //! Saving a graph opens a transaction, which nothing tells from an application's.

    use sea_orm_migration::prelude::*;

    use crate::fixtures::blog;

    pub(super) struct Migrator;

    impl MigratorTrait for Migrator {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            vec![Box::new(Seed)]
        }
    }

    /// The same, with the audit at rest.
    pub(super) struct Suspended;

    impl MigratorTrait for Suspended {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            audit_migration::suspended(vec![Box::new(Seed)])
        }
    }

    struct Seed;

    impl MigrationName for Seed {
        fn name(&self) -> &'static str {
            "m20260103_000001_graph"
        }
    }

    #[async_trait::async_trait]
    impl MigrationTrait for Seed {
        async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
            let schema = sea_orm::Schema::new(manager.get_database_backend());
            for table in [
                schema.create_table_from_entity(blog::author::Entity),
                schema.create_table_from_entity(blog::post::Entity),
            ] {
                manager.create_table(table).await?;
            }
            let post = blog::post::ActiveModel::builder().set_title("First");
            let author = blog::author::ActiveModel::builder().set_name("Ann").add_post(post);
            author.save(manager.get_connection()).await?;
            Ok(())
        }

        async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
            for table in ["post", "author"] {
                manager.drop_table(Table::drop().table(table).to_owned()).await?;
            }
            Ok(())
        }
    }
}

db_test!(c13_a_migration_that_saves_a_graph_rests_when_suspended, async |t| {
    use sea_orm_migration::MigratorTrait;
    suspended(graph_in_a_migration::Migrator::up(&t.db, None)).await.unwrap();
    assert_eq!(entries(t).await, []);
});

db_test!(c13_suspended_migrations_are_not_logged_over_their_own_transactions_either, async |t| {
    use sea_orm_migration::MigratorTrait;
    graph_in_a_migration::Suspended::up(&t.db, None).await.unwrap();
    assert_eq!(entries(t).await, []);
    graph_in_a_migration::Suspended::down(&t.db, None).await.unwrap();
    let mut config = Config::default();
    config.log_migrations = true;
    let audit = Audit::builder().config(config).build().unwrap();
    audit.within(graph_in_a_migration::Suspended::up(&t.db, None)).await.unwrap();
    assert_eq!(entries(t).await.len(), 2, "unless one wants them to be");
});

/// A connection that looked at the schema while a table was dropped forgot its triggers, and could neither drop them nor make them
/// again ("trigger audit_capture_c.. already exists").
mod dropped_by_another_connection {
    use super::*;
    use sea_orm::{ConnectionTrait, Database};

    db_test!(a_table_that_was_gone_for_a_while_is_captured_again, on(sqlite), async |t| -> Result<
        (),
        DbErr,
    > {
        crate::fixtures::set_up_shelves(t).await;
        let mut options = t.options();
        options.max_connections(1);
        let db = Audit::builder().build().expect("an audit").connect(Database::connect(options).await?);
        let change = async |label: &str| {
            db.execute_unprepared(&format!(
                "UPDATE shelf SET label = '{label}' WHERE room = 'a' AND number = 1"
            ))
            .await
        };
        change("before").await?;
        for round in 0..3 {
            t.execute("DROP TABLE shelf").await?;
            change("nowhere").await.expect_err("the table is gone");
            crate::fixtures::set_up_shelves(t).await;
            change(&format!("round {round}")).await?;
        }
        assert_eq!(entries(t).await.len(), 4);
        Ok(())
    });
}
