//! R3: violations, and the steps of handling them.

use audit_seaorm::entity::{audit_transition, audit_violation};
use audit_seaorm::{
    Audit, Config, Error, Export, Recorded, Resource, Severity, SystemEvent, Violation, ViolationStatus,
    log_export, log_system_event, log_violation, resolve_system_event, resolve_violation, scope, set_status,
    status_of,
};
use audit_tests::{TestDb, db_test};
use futures_util::future::join_all;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, TransactionTrait};
use serde_json::json;
use uuid::Uuid;

use crate::connection::sessions::waiting;

use super::{ann, audit_of, of_globex};

async fn violation(t: &TestDb) -> Uuid {
    let violation = Violation::new("unauthorized_access", "read of an account of another tenant")
        .severity(Severity::High)
        .details(json!({"account": 7, "token": "hunter2"}))
        .module("finance")
        .resource(Resource::new("Account").id(7));
    scope(ann(), log_violation(&t.db, violation)).await.unwrap().expect("recorded")
}

async fn all_steps(t: &TestDb) -> Vec<String> {
    let all = audit_transition::Entity::find()
        .order_by_asc(audit_transition::Column::Seq)
        .all(&t.db)
        .await
        .unwrap();
    all.iter().map(|step| format!("{} {}", step.step, step.status)).collect()
}

db_test!(r3_a_violation_is_recorded_and_begins_as_open, async |t| {
    let id = violation(t).await;
    let stored = audit_violation::Entity::find_by_id(id).one(&t.db).await.unwrap().unwrap();
    assert_eq!((stored.violation_type.as_str(), stored.severity.as_str()), ("unauthorized_access", "high"));
    assert_eq!(stored.description, "read of an account of another tenant");
    assert_eq!(stored.details_json().unwrap(), Some(json!({"account": 7, "token": "***"})));
    assert_eq!(
        (stored.resource_type.as_deref(), stored.resource_id.as_deref()),
        (Some("Account"), Some("7"))
    );
    assert_eq!((stored.tenant.as_deref(), stored.module.as_deref()), (Some("acme"), Some("finance")));
    assert_eq!((stored.actor_id.as_deref(), stored.hash_matches()), (Some("7"), Some(true)));
    let status = status_of(&t.db, id).await.unwrap();
    assert_eq!((status.status.as_str(), status.step, status.changed_at), ("open", 0, None));
    assert_eq!(status.record_table, "audit_violation");
});

db_test!(r3_its_handling_goes_step_by_step, async |t| {
    use ViolationStatus::{Closed, Investigating, Open, Resolved};
    let id = violation(t).await;
    for (to, notes) in [
        (Investigating, None),
        (Resolved, Some("a test account")),
        (Investigating, None),
        (Resolved, None),
        (Closed, None),
    ] {
        scope(ann(), set_status(&t.db, id, to, notes)).await.unwrap();
        assert_eq!(status_of(&t.db, id).await.unwrap().status, to.as_str());
    }
    assert_eq!(
        all_steps(t).await,
        ["1 investigating", "2 resolved", "3 investigating", "4 resolved", "5 closed"]
    );
    let status = status_of(&t.db, id).await.unwrap();
    assert_eq!(
        (status.step, status.changed_by.as_deref(), status.changed_by_name.as_deref()),
        (5, Some("7"), Some("Ann"))
    );
    assert!(status.changed_at.is_some());
    for to in [Open, Investigating, Resolved, Closed] {
        let error = set_status(&t.db, id, to, None).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("a violation that is closed can't become {to}; it can become nothing")
        );
    }
    let step = audit_transition::Entity::find()
        .filter(audit_transition::Column::Step.eq(2))
        .one(&t.db)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((step.notes.as_deref(), step.hash_matches()), (Some("a test account"), Some(true)));
});

/// How a record gets from open to a status.
fn way_to(status: ViolationStatus) -> &'static [ViolationStatus] {
    use ViolationStatus::{Closed, Investigating, Open, Resolved};
    match status {
        Open => &[],
        Investigating => &[Investigating],
        Resolved => &[Resolved],
        Closed => &[Resolved, Closed],
    }
}

db_test!(r3_of_all_pairs_of_statuses_these_are_steps, async |t| {
    use ViolationStatus::{Closed, Investigating, Open, Resolved};
    // From, to, and whether it is a step: said here once more, not by the library.
    let steps = [
        (Open, [(Open, false), (Investigating, true), (Resolved, true), (Closed, false)]),
        (Investigating, [(Open, false), (Investigating, false), (Resolved, true), (Closed, false)]),
        (Resolved, [(Open, false), (Investigating, true), (Resolved, false), (Closed, true)]),
        (Closed, [(Open, false), (Investigating, false), (Resolved, false), (Closed, false)]),
    ];
    let mut taken = 0;
    for what in ["violation", "system event"] {
        for (from, (to, allowed)) in steps.iter().flat_map(|(from, all)| all.map(|one| (*from, one))) {
            let id = if what == "violation" {
                violation(t).await
            } else {
                let event = SystemEvent::new(audit_seaorm::EventKind::Error, "disk full");
                scope(ann(), log_system_event(&t.db, event)).await.unwrap().unwrap()
            };
            for status in way_to(from) {
                set_status(&t.db, id, *status, None).await.unwrap();
            }
            let before = scope(ann(), status_of(&t.db, id)).await.unwrap();
            assert_eq!(before.status, from.as_str());
            let done = scope(ann(), set_status(&t.db, id, to, Some("because"))).await;
            let after = scope(ann(), status_of(&t.db, id)).await.unwrap();
            taken += way_to(from).len() + usize::from(allowed);
            if allowed {
                done.unwrap();
                let now = (after.status.as_str(), after.step, after.notes.as_deref());
                assert_eq!(now, (to.as_str(), before.step + 1, Some("because")), "{what}: {from} to {to}");
                continue;
            }
            assert_eq!(after, before, "{what}: {from} to {to}");
            let error = done.unwrap_err();
            assert!(
                matches!(&error, Error::Transition { what: said, from: is, to: asked, .. }
                    if *said == what && *is == from && *asked == to),
                "{error}"
            );
            let begins = format!("a {what} that is {from} can't become {to}; it can become ");
            assert!(error.to_string().starts_with(&begins), "{error}");
        }
    }
    assert_eq!(all_steps(t).await.len(), taken, "nothing is left of a step that wasn't one");
});

db_test!(r3_illegal_steps_are_refused_and_leave_nothing, async |t| {
    let id = violation(t).await;
    let error = set_status(&t.db, id, ViolationStatus::Closed, None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a violation that is open can't become closed; it can become investigating or resolved"
    );
    let error = resolve_violation(&t.db, Uuid::nil(), "x").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { what: "violation", tenant: false, .. }), "{error}");
    let error = resolve_system_event(&t.db, id, "x").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { what: "system event", .. }), "{error}");
    assert!(all_steps(t).await.is_empty());
});

db_test!(r3_of_those_who_resolve_at_once_one_succeeds, async |t| {
    let id = violation(t).await;
    let attempts = join_all((0..8).map(|n| {
        let db = t.db.clone();
        async move { scope(audit_seaorm::AuditContext::user(n), resolve_violation(&db, id, "done")).await }
    }));
    let results = attempts.await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, Error::Transition { from: ViolationStatus::Resolved, .. }), "{error}");
    }
    assert_eq!(all_steps(t).await, ["1 resolved"]);
});

db_test!(i7_a_violation_of_another_tenant_is_not_there, async |t| {
    let id = violation(t).await;
    for error in [
        scope(of_globex(), status_of(&t.db, id)).await.unwrap_err(),
        scope(of_globex(), set_status(&t.db, id, ViolationStatus::Resolved, None)).await.unwrap_err(),
        scope(of_globex(), resolve_violation(&t.db, id, "x")).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotFound { tenant: true, .. }), "{error}");
    }
    assert!(scope(ann(), status_of(&t.db, id)).await.is_ok());
    assert!(all_steps(t).await.is_empty());
});

db_test!(r5_an_event_is_resolved_as_a_violation_is, async |t| {
    let event = SystemEvent::new(audit_seaorm::EventKind::Error, "disk full");
    let id = scope(ann(), log_system_event(&t.db, event)).await.unwrap().unwrap();
    assert_eq!(status_of(&t.db, id).await.unwrap().status, "open");
    // The database keeps microseconds.
    let before = chrono::Utc::now() - chrono::TimeDelta::microseconds(1);
    scope(ann(), resolve_system_event(&t.db, id, "bought a larger one")).await.unwrap();
    let status = scope(ann(), status_of(&t.db, id)).await.unwrap();
    assert_eq!((status.status.as_str(), status.notes.as_deref()), ("resolved", Some("bought a larger one")));
    assert_eq!((status.record_table.as_str(), status.step), ("audit_system_event", 1));
    assert_eq!((status.changed_by.as_deref(), status.changed_by_name.as_deref()), (Some("7"), Some("Ann")));
    let step = audit_transition::Entity::find().one(&t.db).await.unwrap().unwrap();
    assert_eq!((status.changed_at, step.tenant.as_deref()), (Some(step.timestamp), Some("acme")));
    assert!(step.timestamp >= before && step.timestamp <= chrono::Utc::now(), "{}", step.timestamp);
    assert!(matches!(
        scope(of_globex(), status_of(&t.db, id)).await,
        Err(Error::NotFound { tenant: true, .. })
    ));
});

db_test!(r3_a_finding_makes_one_violation_whoever_finds_it, async |t| {
    let found =
        || Violation::new("mass_deletion", "40 rows in a minute").finding("mass_deletion/7/2026-11-21T10");
    let ids = join_all((0..8).map(|_| {
        let db = t.db.clone();
        async move { log_violation(&db, found()).await.unwrap() }
    }))
    .await;
    assert_eq!(ids.iter().flatten().count(), 1, "{ids:?}");
    assert_eq!(audit_violation::Entity::find().count(&t.db).await.unwrap(), 1);
    assert_eq!(log_violation(&t.db, found()).await.unwrap(), None);
});

db_test!(r3_a_violation_survives_the_rollback_of_its_transaction, async |t| {
    let audit = audit_of(t);
    audit
        .within(async {
            let transaction = t.db.begin().await.unwrap();
            log_export(&transaction, Export::new("csv", "x")).await.unwrap();
            let found = Violation::new("transfer_failed", "no funds").finding("f");
            log_violation(&transaction, found.clone()).await.unwrap().unwrap();
            log_violation(&transaction, found).await.unwrap();
            transaction.rollback().await.unwrap();
        })
        .await;
    audit.flush().await.unwrap();
    assert_eq!(audit_violation::Entity::find().count(&t.db).await.unwrap(), 1);
    assert_eq!(audit.metrics().rejected, 0, "the second one is the same finding");
});

db_test!(r3_a_violation_that_would_be_lost_is_refused, async |t| {
    let transaction = t.db.begin().await.unwrap();
    let error = log_violation(&transaction, Violation::new("x", "y")).await.unwrap_err();
    assert!(error.to_string().contains("AuditBuilder::store"), "{error}");
    transaction.commit().await.unwrap();
});

// On SQLite the second one begins to write when the first has ended, and finds what it wrote.
db_test!(r3_a_finding_that_somebody_else_commits_meanwhile_is_no_reject, on(postgres, mysql), async |t| {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.spool_dir = Some(dir.path().to_owned());
    let audit = Audit::builder().config(config).store(t.db.clone()).build().unwrap();
    let found = || Violation::new("mass_deletion", "40 rows").finding("mass_deletion/7");
    t.execute("ALTER TABLE audit_violation RENAME TO hidden").await.unwrap();
    let transaction = t.db.begin().await.unwrap();
    audit.within(log_violation(&transaction, found())).await.unwrap();
    transaction.rollback().await.unwrap();
    _ = audit.flush().await;
    assert_eq!(audit.metrics().spooled, 1);
    t.execute("ALTER TABLE hidden RENAME TO audit_violation").await.unwrap();

    let other = t.db.begin().await.unwrap();
    let mut record = Recorded::new(chrono::Utc::now(), found());
    record.finish();
    let row = audit_violation::ActiveModel::from(&record);
    audit_violation::Entity::insert(row).exec_without_returning(&other).await.unwrap();
    let (delivered, ()) = tokio::join!(audit.shutdown(), async {
        waiting(t, 1).await;
        other.commit().await.unwrap();
    });
    delivered.unwrap();
    assert_eq!((audit.metrics().spooled, audit.metrics().rejected), (0, 0));
    assert_eq!(audit_violation::Entity::find().count(&t.db).await.unwrap(), 1);
});
