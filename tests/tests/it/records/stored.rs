//! What holds for the tables of all families.

use audit_seaorm::entity::{
    audit_export, audit_login_attempt, audit_query, audit_system_event, audit_transition, audit_violation,
};
use audit_seaorm::{
    Audit, AuditContext, Config, Entry, Error, EventKind, Export, FailurePolicy, LoginAttempt, Operation,
    Place, Recorded, SystemEvent, Violation, log_export, log_login, log_system_event, log_violation,
    resolve_violation, scope,
};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, IdenStatic, Iterable, TransactionTrait};
use serde::{Deserialize, Serialize};

use super::{ann, audit_of};
use crate::fixtures::only_entry;
use crate::random::Random;

/// One record of each family.
async fn fill(t: &TestDb) {
    let audit = audit_of(t);
    audit
        .within(scope(ann(), async {
            let query = audit_seaorm::Query::new(audit_seaorm::QueryType::Select, "x");
            audit_seaorm::log_query(&t.db, query).await.unwrap();
            log_export(&t.db, Export::new("csv", "x")).await.unwrap();
            let id = log_violation(&t.db, Violation::new("x", "y")).await.unwrap().unwrap();
            log_login(&t.db, LoginAttempt::success("ann")).await.unwrap();
            log_system_event(&t.db, SystemEvent::new(EventKind::Info, "x")).await.unwrap();
            resolve_violation(&t.db, id, "z").await.unwrap();
        }))
        .await;
    audit.flush().await.unwrap();
}

/// The columns of each table but `seq`, which no statement may choose.
fn columns() -> Vec<(&'static str, String)> {
    fn of<E: EntityTrait>(entity: E) -> (&'static str, String) {
        let all: Vec<String> = E::Column::iter().map(|column| column.as_str().to_owned()).collect();
        let own: Vec<String> = all.into_iter().filter(|name| name != "seq").collect();
        (entity.table_name(), own.join(", "))
    }
    vec![
        of(audit_query::Entity),
        of(audit_export::Entity),
        of(audit_violation::Entity),
        of(audit_login_attempt::Entity),
        of(audit_system_event::Entity),
        of(audit_transition::Entity),
    ]
}

/// What there is in a table, to see that nothing of it has changed: rows, last place, and rows with Ann's reason.
async fn row(t: &TestDb, table: &str) -> (i64, i64, i64) {
    let sql = |what: &str| format!("SELECT {what} FROM {table}");
    let reasons = "COUNT(CASE WHEN reason = 'month end' THEN 1 END)";
    (
        t.value(&sql("COUNT(*)")).await.unwrap(),
        t.value(&sql("MAX(seq)")).await.unwrap(),
        t.value(&sql(reasons)).await.unwrap(),
    )
}

db_test!(k2_records_of_no_family_can_be_changed, async |t| {
    fill(t).await;
    for (table, columns) in columns() {
        let before = row(t, table).await;
        assert_eq!((before.0, before.2), (1, 1), "{table}");
        // A column is called `function`, which is a word of MySQL's.
        let columns = match t.backend {
            DbBackend::MySql => columns.replace(" function,", " `function`,"),
            _ => columns,
        };
        let same = format!("({columns}) SELECT {columns} FROM {table}");
        let mut refused = vec![
            (format!("UPDATE {table} SET reason = 'x'"), "UPDATE"),
            (format!("DELETE FROM {table}"), "DELETE"),
        ];
        match t.backend {
            DbBackend::Sqlite => {
                refused.push((format!("REPLACE INTO {table} {same}"), "REPLACE"));
                refused.push((format!("INSERT OR REPLACE INTO {table} {same}"), "REPLACE"));
                refused.push((format!("UPDATE OR REPLACE {table} SET reason = 'x'"), "UPDATE"));
                refused.push((format!("UPDATE OR IGNORE {table} SET reason = 'x'"), "UPDATE"));
                refused.push((
                    format!(
                        "INSERT INTO {table} {same} WHERE true ON CONFLICT (id) DO UPDATE SET reason = 'x'"
                    ),
                    "UPDATE",
                ));
                // By its place in the order.
                refused.push((format!("REPLACE INTO {table} SELECT * FROM {table}"), "explicit seq"));
            }
            DbBackend::Postgres => {
                refused.push((format!("TRUNCATE TABLE {table}"), "TRUNCATE"));
                refused.push((
                    format!("INSERT INTO {table} {same} ON CONFLICT (id) DO UPDATE SET reason = 'x'"),
                    "UPDATE",
                ));
                // As logical replication does, where ordinary triggers don't fire.
                for (sql, what) in [
                    (format!("UPDATE {table} SET reason = 'x'"), "UPDATE"),
                    (format!("DELETE FROM {table}"), "DELETE"),
                    (format!("TRUNCATE TABLE {table}"), "TRUNCATE"),
                ] {
                    refused.push((format!("SET session_replication_role = replica; {sql}"), what));
                }
            }
            _ => {
                // It is a DELETE and an INSERT.
                refused.push((format!("REPLACE INTO {table} {same}"), "DELETE"));
                refused.push((format!("UPDATE IGNORE {table} SET reason = 'x'"), "UPDATE"));
                refused.push((format!("DELETE IGNORE FROM {table}"), "DELETE"));
                refused.push((
                    format!("INSERT INTO {table} {same} ON DUPLICATE KEY UPDATE reason = 'x'"),
                    "UPDATE",
                ));
                let error = t.execute(&format!("TRUNCATE TABLE {table}")).await.unwrap_err().to_string();
                assert!(error.contains(&format!("{table}_is_append_only")), "{error}");
            }
        }
        for (sql, what) in refused {
            // On a connection of its own: what a session is set to mustn't stay in the pool.
            let db = t.connect().await.unwrap();
            let error = db.execute_unprepared(&sql).await.expect_err(&sql).to_string();
            assert!(error.contains(&format!("{table} is append-only: {what} refused")), "{sql}: {error}");
            db.close().await.unwrap();
        }
        assert_eq!(row(t, table).await, before, "{table}");
    }
});

db_test!(i6_records_come_back_as_they_went, async |t| {
    let mut random = Random(7);
    for _ in 0..40 {
        let context =
            AuditContext::user(random.text()).named(random.text()).tenant("x").reason(random.text());
        let place = Place {
            country: Some(random.text()),
            latitude: Some(f64::from(random.below(1_000_000)) / 7.0 - 90.0),
            longitude: Some(-f64::from(random.below(1_000_000)) / 3e6),
            ..Place::default()
        };
        let mut export = Export::new(random.text(), random.text()).details(random.text());
        if random.below(2) == 0 {
            export = export.record_count(i64::MAX).file(random.text(), 0).fields([random.text()]);
        }
        scope(context, async {
            log_export(&t.db, export).await.unwrap();
            log_login(&t.db, LoginAttempt::failed(random.text(), random.text()).place(place)).await.unwrap();
            let violation =
                Violation::new(random.text(), random.text()).details(serde_json::json!({"x": random.text()}));
            log_violation(&t.db, violation).await.unwrap();
            let event = SystemEvent::new(EventKind::Error, random.text()).stack_trace(random.text()).here();
            log_system_event(&t.db, event).await.unwrap();
        })
        .await;
    }
    for export in audit_export::Entity::find().all(&t.db).await.unwrap() {
        assert_eq!(export.hash_matches(), Some(true), "{export:?}");
        let record = Recorded::<Export>::try_from(export.clone()).unwrap();
        assert_eq!(
            serde_json::from_str::<Recorded<Export>>(&serde_json::to_string(&record).unwrap()).unwrap(),
            record
        );
    }
    for login in audit_login_attempt::Entity::find().all(&t.db).await.unwrap() {
        assert_eq!(login.hash_matches(), Some(true), "{login:?}");
    }
    for violation in audit_violation::Entity::find().all(&t.db).await.unwrap() {
        assert_eq!(violation.hash_matches(), Some(true), "{violation:?}");
    }
    for event in audit_system_event::Entity::find().all(&t.db).await.unwrap() {
        assert_eq!(event.hash_matches(), Some(true), "{event:?}");
    }
    assert!(audit_transition::Entity::find().one(&t.db).await.unwrap().is_none());
});

async fn with_policy(t: &TestDb, policy: FailurePolicy, spool: Option<&std::path::Path>) -> Audit {
    let mut config = Config::default();
    config.on_failure = policy;
    config.spool_dir = spool.map(Into::into);
    t.db.execute_unprepared("ALTER TABLE audit_export RENAME TO hidden").await.unwrap();
    Audit::builder().config(config).store(t.db.clone()).build().unwrap()
}

db_test!(c19_an_export_that_cannot_be_recorded_is_refused, async |t| {
    let audit = with_policy(t, FailurePolicy::Block, None).await;
    let error = audit.within(log_export(&t.db, Export::new("csv", "hunter2"))).await.unwrap_err();
    assert!(matches!(&error, Error::Store { resource, .. } if resource == "audit_export"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
});

db_test!(c19_an_export_goes_to_the_spool_and_comes_back, async |t| {
    let dir = tempfile::tempdir().unwrap();
    let audit = with_policy(t, FailurePolicy::Outbox, Some(dir.path())).await;
    let transaction = t.db.begin().await.unwrap();
    let id = audit.within(log_export(&transaction, Export::new("csv", "x"))).await.unwrap().unwrap();
    // The transaction goes on.
    transaction.execute_unprepared("SELECT 1").await.unwrap();
    transaction.commit().await.unwrap();
    t.db.execute_unprepared("ALTER TABLE hidden RENAME TO audit_export").await.unwrap();
    audit.shutdown().await.unwrap();
    assert!(audit_export::Entity::find_by_id(id).one(&t.db).await.unwrap().is_some());
});

db_test!(c19_an_export_is_lost_and_counted_under_best_effort, async |t| {
    let audit = with_policy(t, FailurePolicy::BestEffort, None).await;
    audit.within(log_export(&t.db, Export::new("csv", "x"))).await.unwrap();
    assert_eq!(audit.metrics().lost, 1);
});

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Approval {
    department: String,
    level: u8,
    #[serde(default)]
    note: Option<String>,
}

db_test!(r10_metadata_may_have_a_type_of_ones_own, async |t| {
    let approval = Approval { department: "treasury".to_owned(), level: 2, note: None };
    let context = AuditContext::user(7).with_metadata(&serde_json::json!({"cost_centre": 4711})).unwrap();
    let operation = Operation::new("approve", "Order").id(7).metadata(&approval).unwrap();
    scope(context, operation.log(&t.db)).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!(entry.metadata_as::<Approval>().unwrap(), Some(approval));
    assert_eq!(entry.metadata_as::<serde_json::Value>().unwrap().unwrap()["cost_centre"], 4711);
    #[derive(Debug, Deserialize)]
    struct Other {
        #[allow(dead_code)]
        level: String,
    }
    let error = entry.metadata_as::<Other>().unwrap_err().to_string();
    assert!(error.contains("`metadata`") && !error.contains("treasury"), "{error}");
    let error = Operation::new("x", "y").metadata(&[1, 2]).unwrap_err();
    assert!(matches!(error, Error::Format(_)), "{error}");
    let parsed: Result<Entry, _> = entry.try_into();
    assert!(parsed.is_ok());
});
