//! What a row as it was costs, against reading the entries that it is made of.

use std::time::Instant;

use audit_seaorm::{Audit, AuditedEntity, LogFilter, get_audit_logs, scope};
use audit_tests::{DbBackend, TestDb, name_of};
use sea_orm::{ActiveModelTrait, ConnectionTrait, Schema, TransactionTrait};

use crate::entity::hooked;
use crate::measure::Pairs;

/// Changes of the row.
const CHANGES: i64 = 1_000;

pub(crate) async fn run(backend: DbBackend, rounds: usize) {
    let t = TestDb::new(backend).await;
    let table = Schema::new(backend).create_table_from_entity(hooked::Entity);
    t.db.execute(&table).await.expect("the table");
    let db = Audit::builder().build().expect("an audit").connect(t.db.clone());
    let context = audit_seaorm::AuditContext::user(1).named("Ann").tenant("acme");
    let id = scope(context, async {
        let transaction = db.begin().await.expect("a transaction");
        let row = hooked::row(1).insert(&transaction).await.expect("a row");
        for n in 0..CHANGES {
            hooked::change(row.id, n).update(&transaction).await.expect("a change");
        }
        transaction.commit().await.expect("the commit");
        row.id
    })
    .await;
    let resource = sea_orm::EntityName::table_name(&hooked::Entity).to_owned();
    let half = chrono::Utc::now();
    let mut pairs = Pairs::default();
    for _ in 0..=rounds {
        let start = Instant::now();
        let filter = LogFilter::new().entity(resource.clone()).entity_id(id);
        let entries = get_audit_logs(&filter).expect("a filter").all(&t.db).await.expect("the entries");
        assert_eq!(entries.len() as i64, CHANGES + 1);
        let reading = start.elapsed();
        let start = Instant::now();
        let was = hooked::Entity::as_of(half).one(&t.db, id).await.expect("a version").expect("a row");
        assert!(was.model().is_ok());
        pairs.push(reading, start.elapsed());
    }
    let (reading, asking) = pairs.each(1);
    println!("| {}: a row as it was, {CHANGES} changes / reading its entries | at most |", name_of(backend));
    println!("|---|---|");
    println!("| {}, {} -> {} µs | 3 |\n", pairs.ratio(), reading.as_micros(), asking.as_micros());
}
