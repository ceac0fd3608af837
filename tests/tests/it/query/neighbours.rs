//! I7: tenants whose names are almost the same are as far apart as any.

use std::time::Duration;

use audit_seaorm::detect::{Check, Detector, Kind, Rule, Subject};
use audit_seaorm::entity::{audit_log, audit_violation};
use audit_seaorm::stats::{Period, Rollups, StatisticsRequest};
use audit_seaorm::{
    Actor, AuditContext, AuditedEntity, Entry, Export, LogFilter, LogReader, Operation, PageRequest,
    Resource, Restore, Severity, Violation, ViolationStatus, get_audit_logs, log_download, log_export,
    log_violation, scope, set_status, status_of,
};
use audit_tests::{TestDb, db_test};
use chrono::Utc;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, QueryOrder, Set};

use super::{at, write};
use crate::connection::connect;
use crate::fixtures::{create_table, keys::device};

/// What the two actors did, each in the tenant of its number.
async fn questions_find_their_own(t: &TestDb, tenants: [&str; 2]) {
    for (n, tenant) in tenants.into_iter().enumerate() {
        let mut entry = Entry::new(at(0), "update", Resource::new("Thing").id(7));
        (entry.tenant, entry.actor) = (Some(tenant.to_owned()), Actor::user(n));
        entry.finish();
        write(&t.db, &[entry]).await;
    }
    let of = |rows: Vec<audit_log::Model>| -> Vec<String> {
        rows.into_iter().map(|row| row.actor_id.unwrap_or_default()).collect()
    };
    let period = Period::between(at(-86_400), at(86_400), &Utc).unwrap();
    for _ in 0..2 {
        for (n, tenant) in tenants.into_iter().enumerate() {
            let (reader, own) = (LogReader::for_tenant(tenant), [n.to_string()]);
            assert_eq!(of(reader.trail("Thing", 7).all(&t.db).await.unwrap()), own, "{tenant:?}");
            let page = reader.page(&t.db, &LogFilter::new(), &PageRequest::new()).await.unwrap();
            assert_eq!((of(page.rows), page.pagination.total_count), (own.to_vec(), Some(1)), "{tenant:?}");
            let filters = [LogFilter::new().tenant(tenant), LogFilter::new().tenants([tenant, "nobody"])];
            for filter in filters {
                let all = get_audit_logs(&filter).unwrap().all(&t.db).await.unwrap();
                assert_eq!(of(all), own, "{tenant:?}");
            }
            let statistics = reader.statistics(&t.db, &StatisticsRequest::new(period.clone())).await.unwrap();
            assert_eq!(statistics.statistics.total_events, 1, "{tenant:?}");
            let users: Vec<_> = statistics.analytics.user_stats.iter().map(|user| &user.user).collect();
            assert_eq!(users, [&own[0]], "{tenant:?}");
        }
        // And once more from the roll-ups.
        Rollups::new().run_once(&t.db).await.unwrap();
    }
}

async fn records_are_their_own(t: &TestDb, tenants: [&str; 2]) {
    let mut made = Vec::new();
    for tenant in tenants {
        let context = AuditContext::user("ann").tenant(tenant);
        scope(context, async {
            let violation = Violation::new("odd", "what both have").finding("the same");
            let violation = log_violation(&t.db, violation).await.unwrap();
            let export = log_export(&t.db, Export::new("csv", "Thing")).await.unwrap();
            made.push((violation.expect("the other tenant's finding doesn't count"), export.unwrap()));
        })
        .await;
    }
    for (n, tenant) in tenants.into_iter().enumerate() {
        scope(AuditContext::user("ann").tenant(tenant), async {
            let (own, other) = (made[n], made[1 - n]);
            status_of(&t.db, own.0).await.unwrap();
            set_status(&t.db, own.0, ViolationStatus::Investigating, None).await.unwrap();
            log_download(&t.db, own.1).await.unwrap();
            status_of(&t.db, other.0).await.expect_err("it is the other's");
            set_status(&t.db, other.0, ViolationStatus::Closed, None).await.expect_err("it is the other's");
            log_download(&t.db, other.1).await.expect_err("it is the other's");
        })
        .await;
    }
}

async fn findings_are_their_own(t: &TestDb, tenants: [&str; 2]) {
    let burst = |threshold| Check::Burst {
        of: Kind::Action("delete".to_owned()),
        per: Subject::Actor,
        threshold,
        window: Duration::from_secs(3600),
    };
    let rules =
        vec![Rule::new("three", Severity::High, burst(3)), Rule::new("six", Severity::High, burst(6))];
    for n in 0..3 {
        for tenant in tenants {
            let delete = Operation::new("delete", "Post").id(n);
            scope(AuditContext::user("ann").tenant(tenant), delete.log(&t.db)).await.unwrap();
        }
    }
    let done = Detector::new(rules).unwrap().run_once(&t.db).await.unwrap();
    assert_eq!(done.findings.len(), 2, "three in each tenant, and six in none: {:?}", done.findings);
    let violations = audit_violation::Entity::find().order_by_asc(audit_violation::Column::Seq);
    let violations = violations.all(&t.db).await.unwrap();
    let found: Vec<_> = violations.iter().filter(|row| row.violation_type == "three").collect();
    assert_eq!(found.len(), 2);
    assert_ne!(found[0].tenant, found[1].tenant);
}

async fn histories_are_their_own(t: &TestDb, tenants: [&str; 2]) {
    create_table(t, device::Entity).await;
    let db = connect(t);
    let [first, second] = tenants.map(|tenant| db.with_context(AuditContext::user(1).tenant(tenant)));
    let id = uuid::Uuid::from_u128(9);
    let device = device::ActiveModel { id: Set(id), label: Set("the first one's".into()) };
    device.insert(&first).await.unwrap();
    let histories = async || {
        let mut found = Vec::new();
        for tenant in tenants {
            let explicit = device::Entity::history(id).tenant(tenant).all(&t.db).await.unwrap().len();
            let context = AuditContext::user(2).tenant(tenant);
            let of_context = scope(context, device::Entity::history(id).all(&t.db)).await.unwrap().len();
            assert_eq!(explicit, of_context, "{tenant:?}");
            found.push(explicit);
        }
        found
    };
    assert_eq!(histories().await, [1, 0]);
    let later = Utc::now();
    second.execute_unprepared("UPDATE device SET label = 'the second one''s'").await.unwrap();
    assert_eq!(histories().await, [1, 1]);
    let restore = Restore::as_of::<device::Entity>(id, later);
    let error = restore.plan(&first).await.unwrap_err().to_string();
    assert!(error.contains("outside of the tenant"), "{error}");
    first.execute_unprepared("UPDATE device SET label = 'the first one''s again'").await.unwrap();
    restore.plan(&first).await.unwrap();
}

async fn are_two(t: &TestDb, tenants: [&str; 2]) {
    questions_find_their_own(t, tenants).await;
    records_are_their_own(t, tenants).await;
    findings_are_their_own(t, tenants).await;
    histories_are_their_own(t, tenants).await;
}

db_test!(i7_tenants_that_differ_in_a_space_are_two, async |t| {
    are_two(t, ["acme", "acme "]).await;
});

db_test!(i7_tenants_that_differ_in_letter_case_are_two, async |t| {
    are_two(t, ["acme", "ACME"]).await;
});

db_test!(i7_tenants_that_differ_at_the_end_of_long_names_are_two, async |t| {
    let long = "ä".repeat(255);
    are_two(t, [&format!("{long}1"), &format!("{long}2")]).await;
});

db_test!(i7_a_tenant_of_255_characters_and_a_longer_one_are_two, async |t| {
    let long = "a".repeat(255);
    are_two(t, [&long, &format!("{long}b")]).await;
});

db_test!(i7_tenants_that_differ_in_what_no_database_stores_are_two, async |t| {
    are_two(t, ["acme\0", "acme\u{fffd}"]).await;
});

db_test!(i7_actors_and_resources_that_differ_in_a_space_are_two, async |t| {
    for name in ["7", "7 ", " 7"] {
        let mut entry = Entry::new(at(0), "update", Resource::new("Thing").id(name));
        (entry.actor, entry.module) = (Actor::user(name), Some(name.to_owned()));
        write(&t.db, &[entry]).await;
    }
    let reader = LogReader::new();
    for name in ["7", "7 ", " 7"] {
        for select in [
            reader.trail("Thing", name),
            reader.activity(name),
            get_audit_logs(&LogFilter::new().user(name)).unwrap(),
            get_audit_logs(&LogFilter::new().module(name)).unwrap(),
        ] {
            assert_eq!(select.all(&t.db).await.unwrap().len(), 1, "{name:?}");
        }
    }
});
