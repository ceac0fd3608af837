//! Q3, Q7: workers over an audited connection, as a program has one: they do their work, and leave nothing in the log.

use std::time::Duration;

use audit_seaorm::alerts::{AlertWorker, ChannelNotifier, Route};
use audit_seaorm::detect::{Check, Detector, Kind, Rule, Subject};
use audit_seaorm::entity::{audit_alert, audit_log, audit_query, audit_violation};
use audit_seaorm::stats::{Period, Rollups, StatisticsRequest};
use audit_seaorm::{AuditConnection, LogReader, Operation, Severity};
use audit_tests::{TestDb, db_test};
use chrono::{DateTime, Utc};
use sea_orm::{EntityTrait, PaginatorTrait};
use tokio::sync::mpsc;

use super::connect;

fn detector() -> Detector {
    let check = Check::Burst {
        of: Kind::Action("delete".to_owned()),
        per: Subject::Actor,
        threshold: 3,
        window: Duration::from_secs(3600),
    };
    Detector::new(vec![Rule::new("mass_deletion", Severity::High, check)]).expect("rules")
}

async fn delete(db: &AuditConnection, times: u32) {
    for id in 0..times {
        Operation::new("delete", "Post").id(id).log(db).await.expect("logged");
    }
}

/// Rows of the log, of recorded reads, and of violations.
async fn rows(t: &TestDb) -> (u64, u64, u64) {
    (
        audit_log::Entity::find().count(&t.db).await.unwrap(),
        audit_query::Entity::find().count(&t.db).await.unwrap(),
        audit_violation::Entity::find().count(&t.db).await.unwrap(),
    )
}

async fn total(db: &AuditConnection) -> u64 {
    let request = StatisticsRequest::new(Period::last_days(2, &Utc).unwrap());
    LogReader::new().statistics(db, &request).await.unwrap().statistics.total_events
}

db_test!(q7_workers_do_their_work_over_an_audited_connection, async |t| {
    let db = connect(t);
    delete(&db, 5).await;
    let rollups = Rollups::new().batch_size(2);
    assert_eq!(rollups.run_once(&db).await.unwrap().entries, 5);
    assert_eq!(total(&db).await, 5);
    let done = detector().batch_size(2).run_once(&db).await.unwrap();
    assert_eq!((done.observations, done.findings.len(), done.findings[0].subject.as_str()), (5, 1, "7"));

    let (sender, mut receiver) = mpsc::channel(10);
    let route = Route::new("main", ChannelNotifier::new(sender)).since(DateTime::UNIX_EPOCH);
    let alerts = AlertWorker::builder().route(route).build().unwrap();
    let pass = alerts.run_once(&db).await.unwrap();
    assert_eq!((pass.found, pass.delivered), (1, 1));
    assert_eq!(receiver.try_recv().unwrap().violation.what.violation_type, "mass_deletion");

    // Once more, from the beginning; and states that go.
    assert_eq!(rollups.rebuild(&db).await.unwrap().entries, 5);
    t.execute("UPDATE audit_detector_state SET needed_until = 1, state = '{}'").await.unwrap();
    assert_eq!(detector().run_once(&db).await.unwrap().observations, 0);
    assert_eq!(t.value::<i64>("SELECT COUNT(*) FROM audit_detector_state").await.unwrap(), 0);
    db.audit().flush().await.unwrap();
    assert_eq!(rows(t).await, (5, 0, 1), "what workers do is no change of the application's, and no read");
    let alert = audit_alert::Entity::find().one(&t.db).await.unwrap().unwrap();
    assert_eq!((alert.state.as_str(), alert.attempts), ("delivered", 1));
});

db_test!(q7_workers_start_over_an_audited_connection, async |t| {
    let db = connect(t);
    delete(&db, 3).await;
    let hour = Duration::from_secs(3600);
    Rollups::new().every(hour).start(db.clone()).stop().await;
    detector().every(hour).start(db.clone()).stop().await;
    assert_eq!(rows(t).await, (3, 0, 1));
    assert_eq!(Rollups::new().run_once(&db).await.unwrap().entries, 0, "they are counted");
    let (sender, mut receiver) = mpsc::channel(10);
    let route = Route::new("main", ChannelNotifier::new(sender)).since(DateTime::UNIX_EPOCH);
    let task = AlertWorker::builder().route(route).interval(hour).build().unwrap().start(db.clone());
    assert_eq!(receiver.recv().await.unwrap().violation.what.violation_type, "mass_deletion");
    task.stop().await;
    assert_eq!(audit_alert::Entity::find().one(&t.db).await.unwrap().unwrap().state, "delivered");
});
