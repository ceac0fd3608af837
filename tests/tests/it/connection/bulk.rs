//! Statements that no hook sees.

use audit_tests::db_test;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ModelTrait, QueryFilter, Set,
    TransactionTrait, prelude::Decimal,
};
use serde_json::json;

use super::connect;
use crate::fixtures::{account, changes, create_table, entries, only_entry, quiet_account};

db_test!(i8_hooks_stand_back_on_the_connection, async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let row = crate::fixtures::account("Ada", 1000).insert(&db).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!(entry.action, "create");
    assert_eq!(entry.actor_name.as_deref(), Some("Ann"));
    let change = account::ActiveModel { balance: Set(Decimal::new(1, 2)), ..row.clone().into() };
    let row = change.update(&db).await.unwrap();
    row.delete(&db).await.unwrap();
    let actions: Vec<_> = entries(t).await.into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["create", "update", "delete"]);
});

db_test!(c5_update_many_is_recorded, async |t| {
    create_table(t, account::Entity).await;
    for (owner, cents) in [("Ada", 100), ("Bob", 200), ("Cy", 300)] {
        quiet_account(&t.db, owner, cents).await;
    }
    let db = connect(t);
    let result = account::Entity::update_many()
        .col_expr(account::Column::Balance, Expr::col(account::Column::Balance).add(1))
        .filter(account::Column::Owner.ne("Bob"))
        .exec(&db)
        .await
        .unwrap();
    assert_eq!(result.rows_affected, 2);
    let entries = entries(t).await;
    assert_eq!(entries.len(), 2);
    assert_eq!(changes(&entries[0]), json!({"balance": {"old": "1.00", "new": "2.00"}}));
    assert_eq!(changes(&entries[1]), json!({"balance": {"old": "3.00", "new": "4.00"}}));
    assert_eq!(entries[0].transaction_id, entries[1].transaction_id);
});

db_test!(c5_insert_many_and_delete_many_are_recorded, async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let rows = [("Ada", 100), ("Bob", 200)].map(|(owner, cents)| crate::fixtures::account(owner, cents));
    account::Entity::insert_many(rows).exec(&db).await.unwrap();
    let transaction = db.begin().await.unwrap();
    let result = account::Entity::delete_many().exec(&transaction).await.unwrap();
    assert_eq!(result.rows_affected, 2);
    transaction.commit().await.unwrap();
    let entries = entries(t).await;
    let found: Vec<_> =
        entries.iter().map(|e| (e.action.as_str(), e.resource_id.as_deref().unwrap())).collect();
    assert_eq!(found, [("create", "1"), ("create", "2"), ("delete", "1"), ("delete", "2")]);
});

db_test!(c15_a_rollback_leaves_no_entry, async |t| {
    create_table(t, account::Entity).await;
    quiet_account(&t.db, "Ada", 100).await;
    let db = connect(t);
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("UPDATE account SET note = 'x'").await.unwrap();
    let nested = transaction.begin().await.unwrap();
    nested.execute_unprepared("UPDATE account SET note = 'y'").await.unwrap();
    nested.rollback().await.unwrap();
    transaction.execute_unprepared("UPDATE account SET note = 'z'").await.unwrap();
    transaction.commit().await.unwrap();
    let all: Vec<_> = entries(t).await.iter().map(changes).collect();
    assert_eq!(all, [json!({"note": {"old": null, "new": "x"}}), json!({"note": {"old": "x", "new": "z"}})]);
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("DELETE FROM account").await.unwrap();
    drop(transaction);
    assert_eq!(entries(t).await.len(), 2);
});
