//! The cases in which audit libraries that people use are wrong, one test each; through the connection always, through
//! the hooks where hooks can see it.

use audit_seaorm::{Audit, AuditConnection, AuditContext, current, scope};
use audit_tests::{TestDb, db_test};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, Set,
    TransactionTrait, prelude::Decimal,
};
use serde_json::json;

use super::connect;
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

db_test!(i1_a_failed_update_leaves_no_phantom, async |t| {
    let (db, row) = set_up(t).await;
    t.execute("CREATE UNIQUE INDEX one_owner ON account (owner)").await.unwrap();
    quiet_account(&t.db, "Bob", 1).await;
    let change = account::ActiveModel { id: Set(row.id), owner: Set("Bob".into()), ..Default::default() };
    change.update(&db).await.unwrap_err();
    let missing = account::ActiveModel { id: Set(999), note: Set(None), ..Default::default() };
    assert_eq!(missing.update(&db).await.unwrap_err(), DbErr::RecordNotUpdated);
    assert_eq!(entries(t).await, []);
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
    let mut dirty = row.into_active_model();
    dirty.note = Set(Some("saved".into()));
    dirty.owner = sea_orm::ActiveValue::Unchanged("dirty in memory".into());
    dirty.update(&db).await.unwrap();
    assert_eq!(changes(&only_entry(t).await), json!({"note": {"old": null, "new": "saved"}}));
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
    for entry in entries(t).await {
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
