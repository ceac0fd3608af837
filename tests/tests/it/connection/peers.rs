//! The cases in which audit libraries that people use are wrong, one test each; through the connection always, through
//! the hooks where hooks can see it. Tests without a path are of this module.
//!
//! | case | through the connection | through the hooks |
//! |---|---|---|
//! | bulk insert, update, delete and raw SQL are recorded | `c5_bulk_and_raw_writes_keep_the_actor` | they don't see it |
//! | the instance is stale: the true old value | `c6_a_stale_instance_records_the_true_old_value` | `hooks::c6_old_values_are_the_databases_though_the_model_is_stale` |
//! | another write lands just before the UPDATE | `c6_a_write_just_before_the_update_is_the_old_value`, `c6_another_connections_write_just_before_is_the_old_value` | the same, in a transaction |
//! | another write comes just before the entry is written | `i3_a_write_just_before_the_entry_comes_after_it`, `i3_another_connections_write_just_before_the_commit_comes_after_it` | the same, in a transaction |
//! | a failed UPDATE leaves no phantom entry | `i1_a_failed_update_leaves_no_phantom` | the same |
//! | the entry can't be written: nor is the change | `i1_no_change_is_kept_without_its_entry`, `refusing` | `hooks::i1_a_save_whose_entry_cannot_be_written_fails_and_says_so` |
//! | a save without a change makes no entry | `c6_saving_without_a_change_makes_no_entry_here_either` | `hooks::c6_saving_without_a_change_makes_no_entry` |
//! | `SET views = views + 1` is recorded as a number | `c5_an_expression_is_recorded_as_its_result` | they don't see it |
//! | one field is saved, another is dirty | `c6_only_the_saved_field_is_recorded` | the same |
//! | many-to-many changes | `c20_many_to_many_changes_are_recorded` | `graphs::c2_graphs_of_active_models_and_junctions_are_recorded` |
//! | the actor in concurrent tasks of one thread | `c8_the_actor_is_right_in_concurrent_tasks` | `concurrency::c8_two_hundred_tasks_at_once_keep_their_actors`, `concurrency::c8_saves_joined_in_one_task_do_not_mix` |
//! | the actor after a nested scope has ended | `c8_after_a_nested_scope_the_outer_actor_counts_again` | `concurrency::c8_the_outer_actor_counts_again_after_a_nested_scope` |
//! | the actor is kept on bulk and raw writes | `c5_bulk_and_raw_writes_keep_the_actor` | they don't see it |
//! | an entry that was tampered with is found | `k2_an_entry_that_was_changed_all_the_same_is_found` | the same |

use std::time::Duration;

use audit_seaorm::{Audit, AuditConnection, AuditContext, current, scope};
use audit_tests::{TestDb, db_test};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, Set, SqliteTransactionMode, TransactionOptions, TransactionTrait, prelude::Decimal,
};
use serde_json::json;

use super::connect;
use super::sessions::{code, lock_entries, waiting};
use crate::fixtures::{
    account, blog, changes, create_table, drop_audit_table, entries, only_entry, quiet_account,
};

async fn set_up(t: &TestDb) -> (AuditConnection, account::Model) {
    create_table(t, account::Entity).await;
    (connect(t), quiet_account(&t.db, "Ada", 1000).await)
}

db_test!(c5_bulk_and_raw_writes_keep_the_actor, async |t| {
    let (db, row) = set_up(t).await;
    let rows = [crate::fixtures::account("Bob", 1), crate::fixtures::account("Cy", 2)];
    account::Entity::insert_many(rows).exec(&db).await.unwrap();
    account::Entity::update_many()
        .col_expr(account::Column::Overdraft, Expr::value(5))
        .exec(&db)
        .await
        .unwrap();
    account::Entity::delete_many().filter(account::Column::Id.ne(row.id)).exec(&db).await.unwrap();
    db.execute_unprepared("UPDATE account SET note = 'raw'").await.unwrap();
    let all = entries(t).await;
    let actions: Vec<_> = all.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["create", "create", "update", "update", "update", "delete", "delete", "update"]);
    assert!(
        all.iter().all(
            |entry| entry.actor_name.as_deref() == Some("Ann") && entry.tenant.as_deref() == Some("acme")
        )
    );
});

db_test!(c6_a_stale_instance_records_the_true_old_value, async |t| {
    let (db, stale) = set_up(t).await;
    t.execute("UPDATE account SET balance = 55.50").await.unwrap();
    let mut change = stale.into_active_model();
    change.balance = Set(Decimal::new(100, 2));
    change.update(&db).await.unwrap();
    assert_eq!(changes(&only_entry(t).await), json!({"balance": {"old": "55.50", "new": "1.00"}}));
});

/// A change of an account, alone or in a transaction, through the connection or the hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Connection,
    ConnectionTransaction,
    Hooks,
    HooksTransaction,
}

impl Way {
    const ALL: [Self; 4] =
        [Self::Connection, Self::ConnectionTransaction, Self::Hooks, Self::HooksTransaction];

    async fn update(
        self,
        db: &AuditConnection,
        plain: &DatabaseConnection,
        row: account::ActiveModel,
    ) -> Result<(), DbErr> {
        // A hook reads before it writes.
        let mode = Some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
        match self {
            Self::Connection => row.update(db).await.map(|_| ()),
            Self::Hooks => row.update(plain).await.map(|_| ()),
            Self::ConnectionTransaction => {
                let transaction = db.begin_with_options(options).await?;
                row.update(&transaction).await?;
                transaction.commit().await
            }
            Self::HooksTransaction => {
                let transaction = plain.begin_with_options(options).await?;
                row.update(&transaction).await?;
                transaction.commit().await
            }
        }
    }
}

db_test!(c6_a_write_just_before_the_update_is_the_old_value, on(postgres, mysql), async |t| {
    let (db, row) = set_up(t).await;
    // Outside of a transaction hooks don't hold the row.
    for way in Way::ALL.into_iter().filter(|way| *way != Way::Hooks) {
        t.execute("UPDATE account SET balance = 10.00").await.unwrap();
        let other = t.db.begin().await.unwrap();
        other.execute_unprepared("UPDATE account SET balance = 55.50").await.unwrap();
        let (task, plain) = (db.clone(), t.db.clone());
        let change = account::ActiveModel {
            id: Set(row.id),
            balance: Set(Decimal::new(100, 2)),
            ..Default::default()
        };
        let save = tokio::spawn(async move { way.update(&task, &plain, change).await });
        waiting(t, 1).await;
        other.commit().await.unwrap();
        save.await.unwrap().unwrap();
        let last = entries(t).await.pop().unwrap();
        assert_eq!(changes(&last), json!({"balance": {"old": "55.50", "new": "1.00"}}), "{way:?}");
    }
    assert_eq!(entries(t).await.len(), 3);
});

// SQLite's writers can't be seen waiting: there the other one comes when the transaction has begun and nothing is locked yet, and
// tries once more when it is.
db_test!(c6_another_connections_write_just_before_is_the_old_value, on(sqlite), async |t| {
    let (db, row) = set_up(t).await;
    let other = impatient(t).await;
    let change =
        || account::ActiveModel { id: Set(row.id), balance: Set(Decimal::new(100, 2)), ..Default::default() };
    let (lands, late) = ("UPDATE account SET balance = 55.50", "UPDATE account SET balance = 77.00");
    let old_and_new = json!({"balance": {"old": "55.50", "new": "1.00"}});
    for way in [Way::Connection, Way::ConnectionTransaction, Way::HooksTransaction] {
        t.execute("UPDATE account SET balance = 10.00").await.unwrap();
        match way {
            Way::ConnectionTransaction => {
                let transaction = db.begin().await.unwrap();
                other.execute_unprepared(lands).await.unwrap();
                change().update(&transaction).await.unwrap();
                assert!(is_busy(other.execute_unprepared(late).await));
                transaction.commit().await.unwrap();
            }
            Way::HooksTransaction => {
                let transaction = t.db.begin().await.unwrap();
                other.execute_unprepared(lands).await.unwrap();
                change().update(&transaction).await.unwrap();
                assert!(is_busy(other.execute_unprepared(late).await));
                transaction.commit().await.unwrap();
            }
            _ => {
                // It is refused while the other writes, and does its work after it.
                let held = immediate(&t.db).await;
                held.execute_unprepared(lands).await.unwrap();
                let audited = Audit::builder().build().unwrap().connect(other.clone());
                assert!(is_busy(change().update(&audited).await));
                held.commit().await.unwrap();
                change().update(&audited).await.unwrap();
            }
        }
        assert_eq!(changes(&entries(t).await.pop().unwrap()), old_and_new, "{way:?}");
    }
    assert_eq!(entries(t).await.len(), 3);
});

db_test!(i3_another_connections_write_just_before_the_commit_comes_after_it, on(sqlite), async |t| {
    let (db, row) = set_up(t).await;
    let other = Audit::builder().build().unwrap().connect(impatient(t).await);
    let note = |text: &str| account::ActiveModel {
        id: Set(row.id),
        note: Set(Some(text.into())),
        ..Default::default()
    };
    let mut expected = json!(null);
    for (first, second) in [("1", "2"), ("3", "4")] {
        let transaction = db.begin().await.unwrap();
        note(first).update(&transaction).await.unwrap();
        // The entry is written and not yet there for others; the row is the transaction's.
        let seen = entries(t).await.len();
        assert!(is_busy(note(second).update(&other).await));
        assert_eq!(entries(t).await.len(), seen);
        transaction.commit().await.unwrap();
        note(second).update(&other).await.unwrap();
        let all: Vec<_> = entries(t).await[seen..].iter().map(changes).collect();
        assert_eq!(
            all,
            [
                json!({"note": {"old": expected, "new": first}}),
                json!({"note": {"old": first, "new": second}})
            ]
        );
        expected = json!(second);
    }
});

/// A connection that doesn't wait for locks.
async fn impatient(t: &TestDb) -> DatabaseConnection {
    let mut options = t.options();
    options.max_connections(1).map_sqlx_sqlite_opts(|options| options.busy_timeout(Duration::ZERO));
    sea_orm::Database::connect(options).await.unwrap()
}

/// A transaction that has SQLite's write lock.
async fn immediate(db: &DatabaseConnection) -> sea_orm::DatabaseTransaction {
    let mode = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
    db.begin_with_options(options).await.unwrap()
}

fn is_busy<T>(result: Result<T, DbErr>) -> bool {
    result.is_err_and(|error| code(&error).as_deref() == Some("5"))
}

db_test!(i3_a_write_just_before_the_entry_comes_after_it, on(postgres, mysql), async |t| {
    let (db, row) = set_up(t).await;
    let mut note = json!(null);
    let mut seen = 0;
    for way in Way::ALL.into_iter().filter(|way| *way != Way::Hooks) {
        // What there is to be learned of the table is learned before.
        way.update(&db, &t.db, account::ActiveModel { id: Set(row.id), ..Default::default() }).await.unwrap();
        let locked = lock_entries(t).await;
        let saves: Vec<_> = ["first", "second"]
            .into_iter()
            .map(|text| {
                let (db, plain) = (db.clone(), t.db.clone());
                let change = account::ActiveModel {
                    id: Set(row.id),
                    note: Set(Some(format!("{way:?} {text}"))),
                    ..Default::default()
                };
                tokio::spawn(async move { way.update(&db, &plain, change).await })
            })
            .collect();
        // One for the entries, the other for the row.
        waiting(t, 2).await;
        drop(locked);
        for save in saves {
            save.await.unwrap().unwrap();
        }
        let all = entries(t).await;
        assert_eq!(all.len(), seen + 2, "{way:?}");
        for entry in &all[seen..] {
            assert_eq!(changes(entry)["note"]["old"], note, "{way:?}");
            note = changes(entry)["note"]["new"].clone();
        }
        seen = all.len();
        let now = account::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap();
        assert_eq!(json!(now.note), note, "{way:?}");
    }
});

db_test!(i1_a_failed_update_leaves_no_phantom, async |t| {
    let (db, row) = set_up(t).await;
    t.execute("CREATE UNIQUE INDEX one_owner ON account (owner)").await.unwrap();
    quiet_account(&t.db, "Bob", 1).await;
    for way in Way::ALL {
        let change = account::ActiveModel { id: Set(row.id), owner: Set("Bob".into()), ..Default::default() };
        let error = way.update(&db, &t.db, change).await.unwrap_err();
        assert!(error.sql_err().is_some(), "{way:?}: {error}");
        let missing = account::ActiveModel { id: Set(999), note: Set(None), ..Default::default() };
        assert_eq!(way.update(&db, &t.db, missing).await.unwrap_err(), DbErr::RecordNotUpdated, "{way:?}");
        assert_eq!(entries(t).await, [], "{way:?}");
    }
});

db_test!(i1_no_change_is_kept_without_its_entry, async |t| {
    let (db, row) = set_up(t).await;
    drop_audit_table(t).await;
    let change = account::ActiveModel { id: Set(row.id), note: Set(Some("x".into())), ..Default::default() };
    let error = change.update(&db).await.unwrap_err();
    assert!(audit_seaorm::is_audit_error(&error), "{error}");
    assert_eq!(account::Entity::find().all(&t.db).await.unwrap(), [row]);
});

db_test!(c6_saving_without_a_change_makes_no_entry_here_either, async |t| {
    let (db, row) = set_up(t).await;
    row.clone().into_active_model().reset_all().update(&db).await.unwrap();
    db.execute_unprepared("UPDATE account SET owner = owner, note = note").await.unwrap();
    assert_eq!(entries(t).await, []);
});

db_test!(c5_an_expression_is_recorded_as_its_result, async |t| {
    let (db, row) = set_up(t).await;
    account::Entity::update_many()
        .col_expr(account::Column::Overdraft, Expr::col(account::Column::Overdraft).add(1))
        .filter(account::Column::Id.eq(row.id))
        .exec(&db)
        .await
        .unwrap();
    assert_eq!(changes(&only_entry(t).await), json!({"db_limit": {"old": 100, "new": 101}}));
});

db_test!(c6_only_the_saved_field_is_recorded, async |t| {
    let (db, row) = set_up(t).await;
    for (at, way) in Way::ALL.into_iter().enumerate() {
        t.execute("UPDATE account SET note = NULL").await.unwrap();
        let mut dirty = row.clone().into_active_model();
        dirty.note = Set(Some("saved".into()));
        dirty.owner = sea_orm::ActiveValue::Unchanged("dirty in memory".into());
        way.update(&db, &t.db, dirty).await.unwrap();
        let all = entries(t).await;
        assert_eq!(all.len(), at + 1, "{way:?}");
        assert_eq!(changes(&all[at]), json!({"note": {"old": null, "new": "saved"}}), "{way:?}");
    }
});

db_test!(c20_many_to_many_changes_are_recorded, async |t| {
    create_table(t, blog::author::Entity).await;
    create_table(t, blog::post::Entity).await;
    create_table(t, blog::tag::Entity).await;
    create_table(t, blog::post_tag::Entity).await;
    let db = connect(t);
    let author = blog::author::ActiveModel { name: Set("Ada".into()), ..Default::default() };
    let author = author.insert(&db).await.unwrap();
    let post = blog::post::ActiveModel::builder()
        .set_author_id(author.id)
        .set_title("First")
        .add_tag(blog::tag::ActiveModel::builder().set_name("rust"))
        .add_tag(blog::tag::ActiveModel::builder().set_name("audit"))
        .save(&db)
        .await
        .unwrap();
    let attached: Vec<_> = entries(t)
        .await
        .into_iter()
        .filter(|entry| entry.resource_type == "post_tag")
        .map(|entry| (entry.action, entry.resource_id.unwrap()))
        .collect();
    assert_eq!(attached, [("create".to_owned(), "1/1".to_owned()), ("create".to_owned(), "1/2".to_owned())]);
    post.delete(&db).await.unwrap();
    let gone = entries(t).await.into_iter().filter(|entry| entry.action == "delete").count();
    assert_eq!(gone, 3, "the post and both of its tags' links");
});

db_test!(c8_the_actor_is_right_in_concurrent_tasks, async |t| {
    let (_, row) = set_up(t).await;
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let write = |actor: usize| {
        let db = db.clone();
        scope(AuditContext::user(actor), async move {
            tokio::task::yield_now().await;
            let change = account::ActiveModel {
                id: Set(row.id),
                note: Set(Some(format!("by {actor}"))),
                ..Default::default()
            };
            change.update(&db).await.unwrap();
        })
    };
    futures_util::future::join_all((0..20).map(write)).await;
    let all = entries(t).await;
    let actors: std::collections::BTreeSet<_> = all.iter().map(|entry| entry.actor_id.clone()).collect();
    assert_eq!((all.len(), actors.len()), (20, 20));
    for entry in all {
        let by = format!("by {}", entry.actor_id.as_deref().unwrap());
        assert_eq!(changes(&entry)["note"]["new"], by);
    }
});

db_test!(c8_after_a_nested_scope_the_outer_actor_counts_again, async |t| {
    let (_, row) = set_up(t).await;
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let note = async |text: &str| {
        let change =
            account::ActiveModel { id: Set(row.id), note: Set(Some(text.into())), ..Default::default() };
        change.update(&db).await.unwrap();
    };
    scope(AuditContext::user("outer").tenant("t"), async {
        note("1").await;
        scope(AuditContext::user("inner"), note("2")).await;
        note("3").await;
        assert_eq!(current().actor.id.as_deref(), Some("outer"));
    })
    .await;
    let all = entries(t).await;
    let actors: Vec<_> =
        all.iter().map(|entry| (entry.actor_id.as_deref().unwrap(), entry.tenant.as_deref())).collect();
    assert_eq!(actors, [("outer", Some("t")), ("inner", None), ("outer", Some("t"))]);
});

db_test!(k2_an_entry_cannot_be_changed_over_the_connection, async |t| {
    let (db, _) = set_up(t).await;
    db.execute_unprepared("UPDATE account SET note = 'x'").await.unwrap();
    for sql in ["UPDATE audit_log SET actor_id = 'other'", "DELETE FROM audit_log"] {
        db.execute_unprepared(sql).await.unwrap_err();
        let transaction = db.begin().await.unwrap();
        transaction.execute_unprepared(sql).await.unwrap_err();
    }
    assert_eq!(only_entry(t).await.actor_id.as_deref(), Some("7"));
});

db_test!(k2_an_entry_that_was_changed_all_the_same_is_found, async |t| {
    let (db, row) = set_up(t).await;
    for way in Way::ALL {
        let change = account::ActiveModel {
            id: Set(row.id),
            note: Set(Some(format!("{way:?}"))),
            ..Default::default()
        };
        way.update(&db, &t.db, change).await.unwrap();
    }
    let all = entries(t).await;
    assert!(all.len() == 4 && all.iter().all(|entry| entry.hash_matches() == Some(true)));
    // As one who owns the database can.
    let unguarded = t.pick(
        "DROP TRIGGER audit_log_refuse_update",
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_log_refuse_update",
    );
    t.execute(unguarded).await.unwrap();
    for column in ["actor_id = 'other'", "changes = '{}'", "resource_id = '8'", "action = 'create'"] {
        t.execute(&format!("UPDATE audit_log SET {column}")).await.unwrap();
        let found = entries(t).await.iter().filter(|entry| entry.hash_matches() == Some(false)).count();
        assert_eq!(found, 4, "{column}");
    }
});
