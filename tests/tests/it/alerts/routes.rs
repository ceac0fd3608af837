//! Who is told of what.

use std::time::Duration;

use audit_seaorm::alerts::{Backoff, Route, TracingNotifier, dead_letters, revive};
use audit_seaorm::entity::audit_system_event;
use audit_seaorm::{Audit, AuditContext, Clock, Error, EventLayer, Severity, scope};
use audit_tests::db_test;
use sea_orm::{EntityTrait, PaginatorTrait};
use tracing::instrument::WithSubscriber;
use tracing_subscriber::layer::SubscriberExt;
use uuid::Uuid;

use super::{Scene, channel, received};
use crate::log_lines::LogLines;

db_test!(q7_only_violations_of_at_least_the_severity_are_told, async |t| {
    let scene = Scene::new(t);
    let mut ids = Vec::new();
    for severity in Severity::ALL {
        ids.push(scene.violation(*severity).await);
    }
    for (at, least) in Severity::ALL.iter().enumerate() {
        let (notifier, mut receiver) = channel();
        let route = Route::new(format!("from {least}"), notifier).at_least(*least);
        let route = route.since(chrono::DateTime::UNIX_EPOCH);
        scene.builder().route(route).build().unwrap().run_once(&t.db).await.unwrap();
        let told: Vec<Uuid> = received(&mut receiver).iter().map(|alert| alert.violation.id).collect();
        assert_eq!(told, ids[at..], "{least}");
    }
});

db_test!(q7_a_route_begins_when_a_worker_first_has_it, async |t| {
    let scene = Scene::new(t);
    let (notifier, mut receiver) = channel();
    let worker = || {
        let route = Route::new("on-call", notifier.clone());
        scene.builder().route(route).build().unwrap()
    };
    scene.violation(Severity::High).await;
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(worker().run_once(&t.db).await.unwrap().found, 0, "that was before");
    let id = scene.violation(Severity::High).await;
    // The program ends, and starts anew much later.
    scene.clock.advance(Duration::from_secs(48 * 3600));
    assert_eq!(worker().run_once(&t.db).await.unwrap().delivered, 1);
    assert_eq!(received(&mut receiver)[0].violation.id, id);
    assert_eq!(worker().run_once(&t.db).await.unwrap().delivered, 0);
});

db_test!(i7_a_tenants_route_and_reader_get_nothing_of_others, async |t| {
    let scene = Scene::new(t);
    let acme = scene.violation_of("acme", Severity::High).await;
    let globex = scene.violation_of("globex", Severity::High).await;
    let (notifier, mut receiver) = channel();
    let worker = scene.worker_of(scene.route(notifier).tenant("acme"));
    worker.run_once(&t.db).await.unwrap();
    let told: Vec<Uuid> = received(&mut receiver).iter().map(|alert| alert.violation.id).collect();
    assert_eq!(told, [acme]);

    let (closed, _) = channel();
    let route = Route::new("closed", closed).since(chrono::DateTime::UNIX_EPOCH);
    let once = Backoff { attempts: 1, ..Backoff::default() };
    let pass = scene.builder().route(route).backoff(once).build().unwrap().run_once(&t.db).await.unwrap();
    assert_eq!(pass.dead, 2);
    let of = |tenant: &str| AuditContext::user(8).tenant(tenant);
    let seen = scope(of("globex"), async { dead_letters(&t.db).all(&t.db).await.unwrap() }).await;
    assert_eq!(seen.iter().map(|dead| dead.violation_id).collect::<Vec<_>>(), [globex]);
    let error = scope(of("acme"), revive(&t.db, seen[0].id)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { tenant: true, .. }), "{error}");
    assert_eq!(dead_letters(&t.db).count(&t.db).await.unwrap(), 2);
    scope(of("globex"), revive(&t.db, seen[0].id)).await.unwrap();
    assert_eq!(dead_letters(&t.db).count(&t.db).await.unwrap(), 1);
});

db_test!(q7_a_route_that_fails_does_not_hold_up_others, on(sqlite), async |t| {
    let scene = Scene::new(t);
    for _ in 0..5 {
        scene.violation(Severity::High).await;
    }
    let (closed, _) = channel();
    let (open, mut receiver) = channel();
    let since = chrono::DateTime::UNIX_EPOCH;
    let routes = scene.builder().route(Route::new("closed", closed).since(since));
    let worker = routes.route(Route::new("open", open).since(since)).build().unwrap();
    let pass = worker.run_once(&t.db).await.unwrap();
    assert_eq!((pass.delivered, pass.failed), (5, 3), "after three failures it is left alone");
    assert_eq!(received(&mut receiver).len(), 5);
    let alerts = scene.alerts().await;
    assert!(alerts.iter().all(|alert| alert.notifier != "closed"
        || alert.last_error.is_none()
        || alert.last_error.as_deref() == Some("the channel is closed")));
});

db_test!(q7_the_log_gets_alerts_and_no_events_of_them, async |t| {
    let scene = Scene::new(t);
    let mut expected = Vec::new();
    for (severity, level) in
        [(Severity::Low, "INFO"), (Severity::Medium, "WARN"), (Severity::Critical, "ERROR")]
    {
        let id = scene.violation(severity).await;
        expected.push(format!(
            "{level} message=no funds violation={id} violation_type=\"transfer_failed\" severity=\"{severity}\" tenant=\"acme\" actor=\"7\""
        ));
    }
    let worker = scene.worker_of(scene.route(TracingNotifier::new()).at_least(Severity::Low));
    let (kept, audit) = (LogLines::default(), Audit::builder().store(t.db.clone()).build().unwrap());
    let subscriber = tracing_subscriber::registry().with(EventLayer::new(audit.clone())).with(kept.clone());
    let pass = worker.run_once(&t.db).with_subscriber(subscriber).await.unwrap();
    assert_eq!(pass.delivered, 3);
    assert_eq!(kept.of("audit_seaorm::alerts"), expected);
    audit.flush().await.unwrap();
    assert_eq!(audit_system_event::Entity::find().count(&t.db).await.unwrap(), 0);
});

#[tokio::test]
async fn q7_workers_that_make_no_sense_are_refused() {
    let builder = audit_seaorm::alerts::AlertWorker::builder;
    let route = |name: &str| Route::new(name, TracingNotifier::new());
    let of = |name: &str| builder().route(route(name));
    let second = Duration::from_secs(1);
    let cases = [
        (builder(), "has no route"),
        (of(" "), "1 to 100 characters"),
        (of(&"x".repeat(101)), "1 to 100 characters"),
        (of("log").route(route("log")), "two routes are called `log`"),
        (of("log").backoff(Backoff { attempts: 0, ..Backoff::default() }), "`Backoff::attempts`"),
        (of("log").backoff(Backoff { attempts: u32::MAX, ..Backoff::default() }), "`Backoff::attempts`"),
        (of("log").timeout(second).lease(second), "must be longer than the timeout"),
        (of("log").timeout(Duration::ZERO), "must not be 0"),
        (of("log").interval(Duration::ZERO), "must not be 0"),
        (of("log").backoff(Backoff { longest: Duration::MAX, ..Backoff::default() }), "above a year"),
    ];
    for (builder, part) in cases {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(of("log").route(route("chat")).build().is_ok());
}

db_test!(q7_a_violation_that_is_gone_is_no_alert, on(sqlite), async |t| {
    let scene = Scene::new(t);
    scene.violation(Severity::High).await;
    let (closed, _) = channel();
    scene.worker(closed).run_once(&t.db).await.unwrap();
    // As if a retention procedure had removed it.
    let mut alert: audit_seaorm::entity::audit_alert::ActiveModel = scene.alerts().await.remove(0).into();
    alert.violation_id = sea_orm::Set(Uuid::nil());
    sea_orm::ActiveModelTrait::update(alert, &t.db).await.unwrap();
    scene.clock.advance(Backoff::default().longest);
    let (notifier, mut receiver) = channel();
    let route = scene.route(notifier).since(scene.clock.now());
    assert_eq!(scene.worker_of(route).run_once(&t.db).await.unwrap().dead, 1);
    assert!(received(&mut receiver).is_empty());
});
