//! S10: what applications get for their own tests.

use audit_seaorm::{Actor, Audit, AuditContext, Config, scope, testing};
use audit_tests::db_test;
use sea_orm::ActiveModelTrait;
use serde_json::json;

use crate::fixtures::{account, create_table, set_balance};

db_test!(s10_entries_are_captured_in_memory_without_a_table, raw, async |t| {
    create_table(t, account::Entity).await;
    let (row, entries) = testing::capture(scope(AuditContext::user("ann"), async {
        let row = crate::fixtures::account("Ada", 1).insert(&t.db).await.unwrap();
        testing::acting_as(Actor::user("ben"), testing::in_tenant("acme", set_balance(&t.db, row.id, 250)))
            .await
            .unwrap()
    }))
    .await;
    assert_eq!(entries.len(), 2);
    let id = row.id.to_string();
    entries.with_action("create").only().assert_actor("ann");
    let update = entries.of("Account").with_action("update");
    update
        .only()
        .assert_actor("ben")
        .assert_action("update")
        .assert_resource("Account", &id)
        .assert_changed_fields(&["balance"])
        .assert_change("balance", Some(json!("0.01")), Some(json!("2.50")));
    assert_eq!(update[0].tenant.as_deref(), Some("acme"));
    testing::capture(async {}).await.1.assert_none();
});

db_test!(s10_the_tested_audit_can_be_ones_own, raw, async |t| {
    create_table(t, account::Entity).await;
    let mut config = Config::default();
    config.snapshot = true;
    let (_, entries) = testing::capture_with(
        Audit::builder().config(config),
        crate::fixtures::account("Ada", 1).insert(&t.db),
    )
    .await;
    assert!(entries.only().new_data.as_deref().unwrap().contains(r#""owner":"Ada""#));
});

#[tokio::test]
#[should_panic(expected = "expected one entry, found 0")]
async fn s10_a_missing_entry_fails_the_test() {
    testing::capture(async {}).await.1.only();
}

#[tokio::test]
#[should_panic(expected = "`price` is not among the changed fields")]
async fn s10_a_missing_change_fails_the_test() {
    let db = sea_orm::DatabaseConnection::default();
    let (_, entries) = testing::capture(async {
        audit_seaorm::Operation::new("x", "y").new_data(json!({"a": 1})).log(&db).await.unwrap();
    })
    .await;
    entries.only().assert_change("price", None, None);
}
