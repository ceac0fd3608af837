//! The integrity hash, computed by nothing but what `docs/RECORD_FORMAT.md` says about it.

use std::collections::BTreeMap;

use audit_seaorm::entity::audit_log;
use audit_seaorm::{Audit, AuditContext, Config, Entry, Operation, scope};
use audit_tests::db_test;
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, IntoActiveModel, ModelTrait, Set, TransactionTrait};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fixtures::{account, create_table, entries};

const FORMAT: &str = include_str!("../../../docs/RECORD_FORMAT.md");

/// The names in the table of what is hashed, in its order.
fn fields() -> Vec<&'static str> {
    let (_, table) = FORMAT.split_once("| field | content |\n|---|---|\n").expect("the table");
    let rows = table.lines().map_while(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').expect("a name").0).collect()
}

/// The block behind this mark.
fn block(mark: &str) -> &'static str {
    let (_, rest) = FORMAT.split_once(&format!("<!-- {mark} -->\n```")).expect(mark);
    let (block, _) = rest.split_once("```").expect("its end");
    block.split_once('\n').expect("its beginning").1
}

/// What the document says of a column's content.
fn content(name: &str, row: &audit_log::Model) -> Option<String> {
    let as_stored = |text: &str| Some(text.to_owned());
    match name {
        "timestamp" => Some(row.timestamp.timestamp_micros().to_string()),
        "id" => Some(row.id.hyphenated().to_string()),
        "is_sensitive" => Some(row.is_sensitive.to_string()),
        "actor_type" => as_stored(&row.actor_type),
        "action" => as_stored(&row.action),
        "resource_type" => as_stored(&row.resource_type),
        "status" => as_stored(&row.status),
        "severity" => as_stored(&row.severity),
        "classification" => as_stored(&row.classification),
        "tenant" => row.tenant.clone(),
        "actor_id" => row.actor_id.clone(),
        "actor_name" => row.actor_name.clone(),
        "actor_email" => row.actor_email.clone(),
        "module" => row.module.clone(),
        "frameworks" => row.frameworks.clone(),
        "ip_address" => row.ip_address.clone(),
        "user_agent" => row.user_agent.clone(),
        "session_id" => row.session_id.clone(),
        "request_id" => row.request_id.clone(),
        "request_data" => row.request_data.clone(),
        "details" => row.details.clone(),
        "reason" => row.reason.clone(),
        "metadata" => row.metadata.clone(),
        "transaction_id" => row.transaction_id.clone(),
        "resource_id" => row.resource_id.clone(),
        "resource_name" => row.resource_name.clone(),
        "changes" => row.changes.clone(),
        "changed_fields" => row.changed_fields.clone(),
        "old_data" => row.old_data.clone(),
        "new_data" => row.new_data.clone(),
        other => panic!("{other} is no column that is hashed"),
    }
}

fn input(row: &audit_log::Model) -> String {
    let known = fields().into_iter().filter_map(|name| Some((name, content(name, row)?)));
    known.map(|(name, content)| format!("{name}={}:{content}\n", content.len())).collect()
}

/// The entry of the document.
fn published() -> audit_log::Model {
    let columns: BTreeMap<String, Value> = serde_json::from_str(block("entry")).expect("JSON");
    let text = |name: &str| columns.get(name).map(|value| value.as_str().expect(name).to_owned());
    let some = |name: &str| text(name).expect(name);
    audit_log::Model {
        id: some("id").parse().expect("an id"),
        seq: 1,
        timestamp: some("timestamp").parse::<DateTime<Utc>>().expect("a time"),
        tenant: text("tenant"),
        actor_id: text("actor_id"),
        actor_type: some("actor_type"),
        actor_name: text("actor_name"),
        actor_email: text("actor_email"),
        action: some("action"),
        module: text("module"),
        resource_type: some("resource_type"),
        resource_id: text("resource_id"),
        resource_name: text("resource_name"),
        status: some("status"),
        severity: some("severity"),
        changes: text("changes"),
        changed_fields: text("changed_fields"),
        old_data: text("old_data"),
        new_data: text("new_data"),
        frameworks: text("frameworks"),
        classification: some("classification"),
        is_sensitive: columns["is_sensitive"].as_bool().expect("a truth value"),
        integrity_hash: None,
        ip_address: text("ip_address"),
        user_agent: text("user_agent"),
        session_id: text("session_id"),
        request_id: text("request_id"),
        request_data: text("request_data"),
        details: text("details"),
        reason: text("reason"),
        metadata: text("metadata"),
        transaction_id: text("transaction_id"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn k3_the_published_entry_has_the_published_hash() {
    let row = published();
    assert_eq!(input(&row), block("input"));
    let (_, rest) = FORMAT.split_once("and the hash `").expect("the hash");
    let hash = rest.split_once('`').expect("its end").0;
    assert_eq!(hex(&Sha256::digest(block("input"))), hash);
    let entry: Entry = row.try_into().expect("an entry");
    assert_eq!(entry.digest_input(""), block("input"), "as the library has it");
    assert_eq!(hex(&entry.digest()), hash);
}

db_test!(k3_every_entrys_hash_is_what_the_document_says, async |t| {
    create_table(t, account::Entity).await;
    let context = AuditContext::user("ä").named("Ann").email("a@example.org").tenant("acme").ip("::1");
    let context = context.user_agent("x").session_id("s").request_id("r").request_data(json!({"a": [1]}));
    let context = context.reason("because").with("k", 1);
    let mut config = Config::default();
    config.snapshot = true;
    for audit in [Audit::builder().build().unwrap(), Audit::builder().config(config).build().unwrap()] {
        let db = audit.connect(t.db.clone()).with_context(context.clone());
        let row = crate::fixtures::account("Ada", 1).insert(&db).await.unwrap();
        let mut change = row.into_active_model();
        change.note = Set(Some("x\ny".into()));
        let row = change.update(&db).await.unwrap();
        let transaction = db.begin().await.unwrap();
        row.delete(&transaction).await.unwrap();
        transaction.commit().await.unwrap();
        audit.within(crate::fixtures::account("Bob", 1).insert(&t.db)).await.unwrap();
    }
    let operation = Operation::new("approve", "Loan").module("m").details("d").framework("SOX");
    scope(context, operation.log(&t.db)).await.unwrap();

    let all = entries(t).await;
    assert_eq!(all.len(), 9);
    for row in &all {
        assert_eq!(row.integrity_hash.as_deref(), Some(&Sha256::digest(input(row))[..]), "{row:#?}");
    }
    for name in fields() {
        assert!(all.iter().any(|row| content(name, row).is_some()), "{name} is tried");
    }
});
