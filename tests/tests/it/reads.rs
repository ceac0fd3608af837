//! C7: reads, as an `AuditConnection` sees them. C14: the writer behind them, and its spool.

mod killed;
mod recorded;
mod writer;

use audit_seaorm::entity::audit_query;
use audit_seaorm::{Audit, AuditConnection, AuditContext, Config};
use audit_tests::TestDb;
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder};

use crate::fixtures::{create_table, patient};

/// Three patients, and Ann's connection under this configuration.
async fn ward(t: &TestDb, config: Config) -> AuditConnection {
    create_table(t, patient::Entity).await;
    t.execute(
        "INSERT INTO patient (id, name, born, ward_no, phone, diagnosis) VALUES
         (1, 'Bob', 1950, 3, '555-secret-1', 'secret-flu'), (2, 'Carol', 1980, 3, NULL, NULL),
         (3, 'Dave', 2000, NULL, '555-secret-3', 'secret-gout')",
    )
    .await
    .expect("patients");
    connect(t, config)
}

fn connect(t: &TestDb, config: Config) -> AuditConnection {
    let audit = Audit::builder().config(config).build().expect("an audit");
    let ann = AuditContext::user(7).named("Ann").tenant("acme").request_id("r-1").ip("192.0.2.7");
    audit.connect(t.db.clone()).with_context(ann)
}

/// What was recorded, once everything is written.
async fn queries(t: &TestDb, db: &AuditConnection) -> Vec<audit_query::Model> {
    db.audit().flush().await.expect("flushed");
    stored(t).await
}

async fn stored(t: &TestDb) -> Vec<audit_query::Model> {
    audit_query::Entity::find().order_by_asc(audit_query::Column::Seq).all(&t.db).await.expect("the reads")
}

/// The one record.
async fn only_query(t: &TestDb, db: &AuditConnection) -> audit_query::Model {
    let mut all = queries(t, db).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn filters(query: &audit_query::Model) -> serde_json::Value {
    query.filters_json().expect("JSON").unwrap_or_default()
}

/// Takes the table away, or back.
async fn hide(t: &TestDb, hidden: bool) {
    let (from, to) = if hidden { ("audit_query", "hidden") } else { ("hidden", "audit_query") };
    t.db.execute_unprepared(&format!("ALTER TABLE {from} RENAME TO {to}")).await.expect("renamed");
}
