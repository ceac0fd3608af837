//! The examples of the README, as they stand there.

use audit_seaorm::alerts::{AlertWorker, Route};
use audit_seaorm::detect::Detector;
use audit_seaorm::stats::{Period, StatisticsRequest};
use audit_seaorm::{
    Audit, AuditConnection, AuditContext, AuditedEntity, Config, EventKind, Export, LogFilter, LogReader,
    LoginAttempt, PageRequest, Restore, Severity, SystemEvent, Violation, ViolationStatus, get_audit_trail,
    scope,
};
use audit_tests::db_test;
use sea_orm::{ActiveModelTrait, EntityTrait, ModelTrait};

use crate::fixtures::{account, create_table};

async fn tour(db: &AuditConnection, id: i64) -> Result<(), Box<dyn std::error::Error>> {
    let service = db.service();
    let export = service
        .log_export(Export::new("csv", "bank_account").record_count(10).file("/tmp/export.csv", 1024))
        .await?;
    service.log_login(LoginAttempt::failed("ann", "wrong password")).await?;
    service.log_system_event(SystemEvent::new(EventKind::Error, "disk full").here()).await?;
    let violation = service
        .log_violation(Violation::new("unauthorized_access", "denied").severity(Severity::High))
        .await?;
    service.set_status(violation.unwrap(), ViolationStatus::Resolved, Some("a test account")).await?;
    service.log_download(export.unwrap()).await?;

    let berlin = chrono::FixedOffset::east_opt(3600).unwrap();
    let reader = LogReader::for_tenant("acme");
    let filter = LogFilter::new().actor(42).action("delete").last_days(7).search("ada");
    let page = reader.page(db, &filter, &PageRequest::new().page_size(50)).await?;
    assert_eq!((page.rows.len(), page.pagination.next_cursor), (1, None));
    let trail = get_audit_trail("Account", id).all(db).await?;
    assert_eq!(trail.len(), 2);
    let figures = reader.statistics(db, &StatisticsRequest::new(Period::last_days(30, &berlin)?)).await?;
    assert_eq!(figures.statistics.total_events, 3, "create, delete, download");

    let versions = account::Entity::history(id).all(db).await?;
    assert_eq!(versions.len(), 2);
    let plan = Restore::deleted::<account::Entity>(id)
        .with_children()
        .set("iban", "DE89370400440532013000")
        .set("pin_hash", "pin-secret-1")
        .reason("deleted by mistake")
        .plan(db)
        .await?;
    println!("{plan}");
    plan.execute(db).await?;
    assert_eq!(account::Entity::find_by_id(id).one(db).await?.unwrap().owner, "Ada");

    let detector = Detector::from_config(&Config::default())?.start(db.clone());
    let (sender, mut alerts) = tokio::sync::mpsc::channel(8);
    let route =
        Route::new("on-call", audit_seaorm::alerts::ChannelNotifier::new(sender)).at_least(Severity::High);
    // Otherwise it begins with what comes from now on.
    let route = route.since(chrono::DateTime::UNIX_EPOCH);
    let worker = AlertWorker::builder().route(route).build()?.start(db.clone());
    let alert = alerts.recv().await.ok_or("an alert")?;
    assert_eq!(alert.violation.what.violation_type, "unauthorized_access");
    worker.stop().await;
    detector.stop().await;
    Ok(())
}

db_test!(the_tour_of_the_readme_works, async |t| {
    create_table(t, account::Entity).await;
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    scope(AuditContext::user(42).named("Ann").tenant("acme"), async {
        let row = crate::fixtures::account("Ada", 100).insert(&db).await.unwrap();
        let id = row.id;
        row.delete(&db).await.unwrap();
        tour(&db, id).await.unwrap();
    })
    .await;
});
