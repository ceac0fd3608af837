//! Faults of questions, restores and records, each under its own name.

use audit_seaorm::entity::{audit_system_event, audit_violation};
use audit_seaorm::history::{FieldState, Source};
use audit_seaorm::{
    Audit, AuditConnection, AuditContext, AuditedEntity, Error, EventLayer, Operation, PageRequest, Restore,
    Violation, ViolationStatus, log_violation, scope,
};
use audit_tests::{TestDb, db_test};
use chrono::{TimeDelta, Utc};
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, Schema, Set};
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt;
use uuid::Uuid;

use crate::fixtures::{
    create_table, entries,
    keys::{self, shelf},
    set_up_shelves,
};

fn connect(t: &TestDb) -> AuditConnection {
    Audit::builder().build().unwrap().connect(t.db.clone())
}

fn of(tenant: &str) -> AuditContext {
    AuditContext::user(1).tenant(tenant)
}

async fn run(db: &AuditConnection, statements: &[&str]) {
    for sql in statements {
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

// A tenant that asked for the rows as they were "with current" was shown all rows of the table, everybody's.
db_test!(i7_rows_of_today_are_not_shown_to_another_tenant, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (acme, globex) = (db.with_context(of("acme")), db.with_context(of("globex")));
    run(&acme, &["INSERT INTO shelf (room, number, label) VALUES ('x', 1, 'of acme')"]).await;
    run(&globex, &["UPDATE shelf SET label = 'of both' WHERE room = 'a' AND number = 1"]).await;
    run(&acme, &["UPDATE shelf SET number = 3 WHERE room = 'a' AND number = 1"]).await;
    run(&globex, &["UPDATE shelf SET label = 'of globex' WHERE room = 'a' AND number = 3"]).await;
    run(&globex, &["UPDATE shelf SET label = 'mine' WHERE room = 'b'"]).await;
    let later = Utc::now() + TimeDelta::seconds(5);
    let as_of = || shelf::Entity::as_of(later).with_current();
    let key = |room: &str, number: i32| (room.to_owned(), number);
    let seen = scope(of("acme"), async {
        assert!(as_of().one(&db, key("b", 1)).await.unwrap().is_none(), "another's row");
        assert!(as_of().one(&db, key("a", 2)).await.unwrap().is_none(), "nobody's row");
        let shared = as_of().one(&db, key("a", 3)).await.unwrap().unwrap();
        assert_eq!(shared.source("label"), None, "{:?}", shared.fields());
        as_of().all(&db).await.unwrap()
    })
    .await;
    let seen: Vec<_> = seen.iter().map(|version| (version.get("number"), version.source("label"))).collect();
    let known = |number: i32| Some(FieldState::Known(number.into()));
    assert_eq!(seen, [(known(3), None), (known(1), Some(Source::Recorded))]);
    // What is the tenant's alone is told by the row of today as well.
    let own = scope(of("globex"), as_of().one(&db, key("b", 1))).await.unwrap().unwrap();
    assert_eq!((own.source("label"), own.source("room")), (Some(Source::Recorded), Some(Source::Current)));
    assert_eq!(as_of().all(&db).await.unwrap().len(), 4, "who is bound to no tenant sees all");
});

// Under the key of a row that was the tenant's and is gone there was another's: it was shown, overwritten, deleted.
db_test!(i7_a_row_that_another_tenant_has_under_the_key_is_not_restored, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (acme, globex) = (db.with_context(of("acme")), db.with_context(of("globex")));
    run(&acme, &["INSERT INTO shelf (room, number, label) VALUES ('x', 1, 'mine')"]).await;
    let created = entries(t).await.pop().unwrap();
    run(&acme, &["UPDATE shelf SET label = 'mine too' WHERE room = 'x'"]).await;
    let updated = entries(t).await.pop().unwrap();
    run(&acme, &["DELETE FROM shelf WHERE room = 'x'"]).await;
    run(&globex, &["INSERT INTO shelf (room, number, label) VALUES ('x', 1, 'of globex')"]).await;
    let restores = || {
        [
            Restore::to_version(created.id),
            Restore::revert_entry(created.id),
            Restore::revert_entry(updated.id),
            Restore::revert_field(updated.id, "label"),
            Restore::transaction(created.transaction_id.clone().unwrap()),
            Restore::resource_as_of("shelf", "x/1", created.timestamp),
        ]
    };
    for restore in restores() {
        let error = restore.plan(&acme).await.unwrap_err().to_string();
        assert!(error.contains("changed last by somebody outside of the tenant"), "{error}");
        assert!(!error.contains("of globex"), "{error}");
    }
    // Who is bound to no tenant may.
    for restore in restores() {
        restore.plan(&db).await.unwrap();
    }
    // So may the tenant, once the other's row is gone.
    run(&globex, &["DELETE FROM shelf WHERE room = 'x'"]).await;
    let plan = Restore::to_version(created.id).plan(&acme).await.unwrap();
    plan.execute(&acme).await.unwrap();
    assert_eq!(t.value::<String>("SELECT label FROM shelf WHERE room = 'x'").await.unwrap(), "mine");
});

// Of two rows that had a key one after the other, the one that is gone took the row of today.
db_test!(q6_a_row_that_took_over_a_key_is_told_by_its_row_of_today, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let steps = [
        "DELETE FROM shelf WHERE room = 'a' AND number = 2",
        "UPDATE shelf SET number = 2 WHERE room = 'a' AND number = 1",
    ];
    run(&db, &steps).await;
    let as_of = shelf::Entity::as_of(Utc::now() + TimeDelta::seconds(5)).with_current();
    let one = as_of.one(&db, ("a".to_owned(), 2)).await.unwrap().unwrap();
    assert_eq!(one.source("label"), Some(Source::Current));
    let all = as_of.all(&db).await.unwrap();
    let row = all.iter().find(|row| row.get("number") == Some(FieldState::Known(2.into()))).unwrap();
    assert_eq!(row.fields(), one.fields());
});

// An entry whose id says a row's key in another way counted as one before all others: its version was "no row".
db_test!(q5_an_entry_that_is_none_of_its_rows_is_not_restored, async |t| {
    create_table(t, keys::device::Entity).await;
    let db = connect(t);
    let id = Uuid::from_u128(0xabc);
    keys::device::ActiveModel { id: Set(id), label: Set("mine".into()) }.insert(&db).await.unwrap();
    let resource = entries(t).await.pop().unwrap().resource_type;
    let odd = Operation::new("update", resource).id(id.to_string().to_uppercase());
    odd.new_data(json!({"label": "odd"})).log(&t.db).await.unwrap();
    let odd = entries(t).await.pop().unwrap();
    let error = Restore::to_version(odd.id).plan(&db).await.unwrap_err().to_string();
    assert!(error.contains("names no row of"), "{error}");
});

// Findings were cleared and cut, so different ones became the same, and the second wasn't recorded.
db_test!(r3_findings_that_are_cleared_or_cut_stay_apart, async |t| {
    let long = "x".repeat(300);
    let names = ["password=hunter2", "password=hunter3", &format!("{long}a"), &format!("{long}b")];
    for name in names {
        let violation = || Violation::new("leak", "seen in a log").finding(name);
        assert!(log_violation(&t.db, violation()).await.unwrap().is_some(), "{name}");
        assert!(log_violation(&t.db, violation()).await.unwrap().is_none(), "{name}");
    }
    let all = audit_violation::Entity::find().all(&t.db).await.unwrap();
    assert_eq!(all.len(), names.len());
    assert!(!all.iter().any(|violation| format!("{violation:?}").contains("hunter")), "i5");
});

// A tenant's violation wasn't recorded if another tenant had a finding of that name.
db_test!(i7_a_finding_of_one_tenant_does_not_hide_anothers, async |t| {
    for again in [false, true] {
        for tenant in ["acme", "globex"] {
            let violation = Violation::new("locked", "an account is locked").finding("locked/42");
            let id = scope(of(tenant), log_violation(&t.db, violation)).await.unwrap();
            assert_eq!(id.is_none(), again, "{tenant}");
        }
    }
});

mod numbered {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "numbered")]
    pub(super) struct Model {
        #[sea_orm(primary_key)]
        pub(super) seq: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

// Pages are for any table with `seq`, and panicked where that wasn't of 64 bits.
db_test!(q1_a_table_with_small_numbers_has_pages, async |t| {
    let table = Schema::new(t.db.get_database_backend()).create_table_from_entity(numbered::Entity);
    t.db.execute(&table).await.unwrap();
    for seq in 1..=3 {
        numbered::ActiveModel { seq: Set(seq) }.insert(&t.db).await.unwrap();
    }
    let page = || PageRequest::new().page_size(2);
    let first = page().fetch(&t.db, numbered::Entity::find()).await.unwrap();
    let rest = page().cursor(first.pagination.next_cursor.unwrap());
    let rest = rest.fetch(&t.db, numbered::Entity::find()).await.unwrap();
    assert_eq!(rest.rows, [numbered::Model { seq: 1 }]);
});

// Statements that a driver calls slow, and errors in fields of any name, were recorded with the values in them.
db_test!(i5_events_do_not_keep_values_of_statements, async |t| {
    let audit = Audit::builder().store(t.db.clone()).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(EventLayer::new(audit.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let (summary, statement) =
            ("UPDATE card SET pin = 'k4711' …", "UPDATE card SET pin = 'k4711' WHERE id = 7");
        tracing::warn!(target: "sqlx::query", summary, db.statement = statement, rows_affected = 1, "slow statement");
        let quoted = "Duplicate entry 'k4711' for key 'pin'";
        let span = tracing::info_span!("save", db.statement = statement, last = quoted);
        span.in_scope(|| tracing::error!(why = quoted, how = ?Some(quoted), "not saved"));
        let own = "INSERT INTO audit_log (id) VALUES ('k4711')";
        tracing::warn!(target: "sqlx::query", summary = "INSERT …", db.statement = own, "slow statement");
    });
    audit.flush().await.unwrap();
    let all = audit_system_event::Entity::find().all(&t.db).await.unwrap();
    let everything = format!("{all:?}");
    assert!(!everything.contains("k4711"), "{everything}");
    assert!(everything.contains("rows_affected") && everything.contains("for key 'pin'"), "{everything}");
    assert_eq!(all.len(), 2, "what is about the audit tables isn't recorded");
});

// The functions don't see a connection's own context, and the service had none that ask.
db_test!(i7_a_connections_service_handles_what_its_tenant_has, async |t| {
    let locked = || Violation::new("locked", "an account is locked");
    let id = scope(of("acme"), log_violation(&t.db, locked())).await.unwrap().unwrap();
    let db = connect(t);
    let (acme, globex) = (db.with_context(of("acme")), db.with_context(of("globex")));
    for error in [
        globex.service().status_of(id).await.map(|_| ()).unwrap_err(),
        globex.service().resolve_violation(id, "gone").await.unwrap_err(),
        globex.service().set_status(id, ViolationStatus::Resolved, None).await.unwrap_err(),
        acme.service().resolve_system_event(id, "gone").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
    acme.service().resolve_violation(id, "a mistake").await.unwrap();
    assert_eq!(acme.service().status_of(id).await.unwrap().status, "resolved");
});
