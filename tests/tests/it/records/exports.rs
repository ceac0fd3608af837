//! R2: what left the system, and who fetched it.

use audit_seaorm::entity::{audit_export, audit_log};
use audit_seaorm::{
    Audit, Classification, Config, Error, Export, MemorySink, Query, QueryType, Record, log_download,
    log_export, log_query, scope,
};
use audit_tests::db_test;
use sea_orm::{EntityTrait, TransactionTrait};
use serde_json::json;

use super::{ann, audit, of_globex};
use crate::fixtures::{entries, only_entry};

db_test!(r2_an_export_is_recorded_with_all_that_is_known_of_it, async |t| {
    let export = Export::new("csv", "Account")
        .export_type("monthly statement")
        .filters(json!({"active": true, "password": "hunter2"}))
        .fields(["owner", "api_token"])
        .record_count(10)
        .file("/tmp/export.csv", 1024);
    let id = scope(ann(), log_export(&t.db, export)).await.unwrap().expect("recorded");
    let stored = audit_export::Entity::find_by_id(id).one(&t.db).await.unwrap().unwrap();
    assert_eq!((stored.format.as_str(), stored.resource_type.as_str()), ("csv", "Account"));
    assert_eq!(stored.export_type.as_deref(), Some("monthly statement"));
    assert_eq!(stored.filters_json().unwrap(), Some(json!({"active": true, "password": "***"})));
    assert_eq!(stored.fields.as_deref(), Some(r#"["owner","api_token"]"#));
    assert_eq!((stored.record_count, stored.file_size), (Some(10), Some(1024)));
    assert_eq!(stored.file_path.as_deref(), Some("/tmp/export.csv"));
    // What the entity's attributes say of it.
    assert_eq!(stored.module.as_deref(), Some("finance"));
    assert_eq!(stored.frameworks.as_deref(), Some(r#"["SOX","PCI_DSS"]"#));
    assert_eq!(stored.classification, Classification::Confidential.as_str());
    assert!(stored.is_sensitive, "a secret field is in it");
    assert_eq!((stored.actor_id.as_deref(), stored.actor_name.as_deref()), (Some("7"), Some("Ann")));
    assert_eq!(stored.actor_email.as_deref(), Some("ann@example.org"));
    assert_eq!((stored.tenant.as_deref(), stored.ip_address.as_deref()), (Some("acme"), Some("192.0.2.7")));
    assert_eq!((stored.session_id.as_deref(), stored.request_id.as_deref()), (Some("s-1"), Some("r-1")));
    assert_eq!(stored.user_agent.as_deref(), Some("Firefox/128"));
    assert_eq!(stored.reason.as_deref(), Some("month end"));
    assert_eq!(stored.metadata.as_deref(), Some(r#"{"department":"treasury"}"#));
    assert_eq!(stored.hash_matches(), Some(true));
    let mut forged = stored;
    forged.record_count = Some(9);
    assert_eq!(forged.hash_matches(), Some(false));
});

db_test!(r2_an_export_shares_the_fate_of_its_transaction, async |t| {
    let transaction = t.db.begin().await.unwrap();
    log_export(&transaction, Export::new("csv", "x")).await.unwrap();
    transaction.rollback().await.unwrap();
    assert!(audit_export::Entity::find().one(&t.db).await.unwrap().is_none());
});

db_test!(r2_downloads_are_the_trail_of_the_export, async |t| {
    let export = Export::new("pdf", "Report").export_type("Q4");
    let id = scope(ann(), log_export(&t.db, export)).await.unwrap().unwrap();
    scope(ann(), log_download(&t.db, id)).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!((entry.action.as_str(), entry.resource_type.as_str()), ("download", "audit_export"));
    assert_eq!(entry.resource_id.as_deref(), Some(id.to_string().as_str()));
    assert_eq!((entry.resource_name.as_deref(), entry.module.as_deref()), (Some("Q4"), Some("reporting")));
    let metadata: serde_json::Value = entry.metadata_as().unwrap().unwrap();
    assert_eq!((&metadata["format"], &metadata["resource_type"]), (&json!("pdf"), &json!("Report")));
});

db_test!(i7_an_export_of_another_tenant_cannot_be_downloaded, async |t| {
    let id = scope(ann(), log_export(&t.db, Export::new("pdf", "Report"))).await.unwrap().unwrap();
    let error = scope(of_globex(), log_download(&t.db, id)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { what: "export", tenant: true, .. }), "{error}");
    assert!(error.to_string().contains("no export with the id"), "{error}");
    assert!(entries(t).await.is_empty());
});

db_test!(c9_a_read_is_logged_by_hand, async |t| {
    let audit = audit();
    let query = Query::new(QueryType::Select, "BankAccount")
        .filters(json!({"is_active": true}))
        .fields(["account_number", "balance"])
        .record_count(5);
    audit.within(scope(ann(), log_query(&t.db, query))).await.unwrap();
    audit.flush().await.unwrap();
    let stored = audit_seaorm::entity::audit_query::Entity::find().one(&t.db).await.unwrap().unwrap();
    assert_eq!((stored.query_type.as_str(), stored.record_count), ("select", Some(5)));
    assert_eq!((stored.resource_type.as_str(), stored.tenant.as_deref()), ("BankAccount", Some("acme")));
    assert_eq!(stored.fields.as_deref(), Some(r#"["account_number","balance"]"#));
    assert_eq!((stored.status.as_str(), stored.duration_us), ("success", 0));
    assert_eq!(stored.filters_json().unwrap(), Some(json!({"is_active": true})));
    assert_eq!((stored.actor_id.as_deref(), stored.hash_matches()), (Some("7"), Some(true)));
});

db_test!(s9_what_is_switched_off_is_not_recorded, async |t| {
    let mut config = Config::default();
    config.skip_actions = vec!["EXPORT".to_owned()];
    let audit = Audit::builder().config(config).build().unwrap();
    assert_eq!(audit.within(log_export(&t.db, Export::new("csv", "x"))).await.unwrap(), None);
    let mut config = Config::default();
    config.require_actor = true;
    let audit = Audit::builder().config(config).build().unwrap();
    let error = audit.within(log_export(&t.db, Export::new("csv", "x"))).await.unwrap_err();
    assert!(matches!(error, Error::NoActor { .. }), "{error}");
    assert!(audit_export::Entity::find().one(&t.db).await.unwrap().is_none());
});

#[tokio::test]
async fn s10_other_records_are_captured_in_memory() {
    let sink = MemorySink::new();
    let audit = Audit::builder().sink(sink.clone()).build().unwrap();
    let db = sea_orm::DatabaseConnection::default();
    audit.within(log_export(&db, Export::new("csv", "x"))).await.unwrap();
    assert!(matches!(&*sink.others(), [Record::Export(export)] if export.what.format == "csv"));
}

db_test!(c9_a_service_over_an_audit_connection_logs_in_its_context, async |t| {
    let db = audit().connect(t.db.clone()).with_context(ann());
    let service = db.service();
    let id = service.log_export(Export::new("csv", "x")).await.unwrap().unwrap();
    service.log_operation(audit_seaorm::Operation::new("approve", "Order").id(7)).await.unwrap();
    let export = audit_export::Entity::find_by_id(id).one(&t.db).await.unwrap().unwrap();
    assert_eq!(export.actor_id.as_deref(), Some("7"));
    let entry: audit_log::Model = only_entry(t).await;
    assert_eq!((entry.actor_id.as_deref(), entry.tenant.as_deref()), (Some("7"), Some("acme")));
});
