//! C9: a service logs by hand what the functions do, each method of it.

use audit_seaorm::entity::{
    audit_export, audit_login_attempt, audit_query, audit_system_event, audit_violation,
};
use audit_seaorm::{
    Actor, ApiAccess, EventKind, Export, LoginAttempt, Operation, Query, QueryType, Resource, Severity,
    SystemEvent, Violation, ViolationStatus,
};
use audit_tests::db_test;
use sea_orm::EntityTrait;
use serde_json::json;

use super::{ann, audit_of};
use crate::fixtures::entries;

db_test!(c9_each_method_of_a_service_records_in_its_context, async |t| {
    let audit = audit_of(t);
    // Nothing else says who acts.
    let service = audit.service(&t.db).with_context(ann());
    let order = |id: u32| Operation::new("approve", "Order").id(id);
    service.log_operation(order(1)).await.unwrap();
    service.log_manually(Actor::user("ben"), order(2)).await.unwrap();
    service.log_failure(order(3), "no funds").await.unwrap();
    service.log_logout().await.unwrap();
    let access = ApiAccess::new("GET", "/orders/4?token=hunter2", 403).resource(Resource::new("Order").id(4));
    service.log_api_access(access).await.unwrap();
    let query = Query::new(QueryType::Count, "Account").record_count(3);
    service.log_query(query).await.unwrap();
    let export = service.log_export(Export::new("csv", "Account").export_type("Q4")).await.unwrap().unwrap();
    service.log_download(export).await.unwrap();
    let violation = Violation::new("unauthorized_access", "x").severity(Severity::High);
    let violation = service.log_violation(violation).await.unwrap().unwrap();
    let login = service.log_login(LoginAttempt::failed("ann", "wrong password")).await.unwrap().unwrap();
    let event = SystemEvent::new(EventKind::Info, "started");
    let event = service.log_system_event(event).await.unwrap().unwrap();

    service.set_status(violation, ViolationStatus::Investigating, Some("looking")).await.unwrap();
    let status = service.status_of(violation).await.unwrap();
    assert_eq!((status.status.as_str(), status.notes.as_deref()), ("investigating", Some("looking")));
    service.resolve_violation(violation, "a test").await.unwrap();
    service.resolve_system_event(event, "restarted").await.unwrap();
    for (id, notes) in [(violation, "a test"), (event, "restarted")] {
        let status = service.status_of(id).await.unwrap();
        assert_eq!((status.status.as_str(), status.notes.as_deref()), ("resolved", Some(notes)));
        assert_eq!(
            (status.changed_by.as_deref(), status.changed_by_name.as_deref()),
            (Some("7"), Some("Ann"))
        );
    }
    audit.flush().await.unwrap();

    let mut all = entries(t).await;
    assert_eq!(all.len(), 6, "{all:?}");
    // What goes in the background may come later.
    all.sort_by_key(|entry| (entry.action.clone(), entry.resource_id.clone()));
    let seen: Vec<_> = all
        .iter()
        .map(|entry| {
            let resource = (entry.resource_type.as_str(), entry.resource_id.as_deref().unwrap());
            (entry.action.as_str(), resource, entry.actor_id.as_deref().unwrap(), entry.status.as_str())
        })
        .collect();
    let export_id = export.to_string();
    assert_eq!(
        seen,
        [
            ("api_access", ("Order", "4"), "7", "failed"),
            ("approve", ("Order", "1"), "7", "success"),
            ("approve", ("Order", "2"), "ben", "success"),
            ("approve", ("Order", "3"), "7", "failed"),
            ("download", ("audit_export", export_id.as_str()), "7", "success"),
            ("logout", ("user", "7"), "7", "success"),
        ]
    );
    assert_eq!(all[3].details.as_deref(), Some("no funds"));
    let access: serde_json::Value = all[0].metadata_as().unwrap().unwrap();
    assert_eq!((&access["path"], &access["status_code"]), (&json!("/orders/4"), &json!(403)));
    for entry in &all {
        assert_eq!(entry.tenant.as_deref(), Some("acme"), "{}", entry.action);
        assert_eq!((entry.request_id.as_deref(), entry.hash_matches()), (Some("r-1"), Some(true)));
    }

    /// The only row of a family, which is Ann's.
    macro_rules! only {
        ($entity:ident) => {{
            let mut rows = $entity::Entity::find().all(&t.db).await.unwrap();
            assert_eq!(rows.len(), 1, stringify!($entity));
            let row = rows.remove(0);
            assert_eq!((row.actor_id.as_deref(), row.tenant.as_deref()), (Some("7"), Some("acme")));
            assert_eq!((row.request_id.as_deref(), row.hash_matches()), (Some("r-1"), Some(true)));
            row
        }};
    }
    let read = only!(audit_query);
    assert_eq!((read.query_type.as_str(), read.resource_type.as_str()), ("count", "Account"));
    assert_eq!(read.record_count, Some(3));
    let row = only!(audit_export);
    assert_eq!((row.id, row.format.as_str(), row.export_type.as_deref()), (export, "csv", Some("Q4")));
    let row = only!(audit_violation);
    assert_eq!((row.id, row.violation_type.as_str()), (violation, "unauthorized_access"));
    let row = only!(audit_login_attempt);
    assert_eq!((row.id, row.username.as_str(), row.status.as_str()), (login, "ann", "failed"));
    let row = only!(audit_system_event);
    assert_eq!((row.id, row.event_type.as_str(), row.title.as_str()), (event, "info", "started"));
});
