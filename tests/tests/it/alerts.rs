//! Q7: alerts about violations.

mod background;
mod delivery;
mod odd;
mod receiver;
mod routes;
mod tls;
mod webhook;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit_seaorm::alerts::{Alert, AlertWorker, AlertWorkerBuilder, ChannelNotifier, Notifier, Route};
use audit_seaorm::entity::audit_alert;
use audit_seaorm::{Audit, AuditContext, Clock, Severity, Violation, log_violation, scope};
use audit_tests::TestDb;
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{EntityTrait, QueryOrder};
use tokio::sync::mpsc;
use uuid::Uuid;

/// A clock that moves when it is told.
#[derive(Clone, Debug)]
struct Hand(Arc<Mutex<DateTime<Utc>>>);

impl Hand {
    fn advance(&self, by: Duration) {
        *self.0.lock().expect("lock") += TimeDelta::from_std(by).expect("not too long");
    }
}

impl Clock for Hand {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("lock")
    }
}

/// A database whose violations and workers share one clock.
struct Scene<'a> {
    t: &'a TestDb,
    clock: Hand,
    audit: Audit,
}

impl<'a> Scene<'a> {
    fn new(t: &'a TestDb) -> Self {
        let start = DateTime::from_timestamp(1_767_323_045, 123_456_000).expect("a time");
        let clock = Hand(Arc::new(Mutex::new(start)));
        let audit = Audit::builder().clock(clock.clone()).build().expect("an audit");
        Self { t, clock, audit }
    }

    /// Records a violation of the tenant acme.
    async fn violation(&self, severity: Severity) -> Uuid {
        self.violation_of("acme", severity).await
    }

    async fn violation_of(&self, tenant: &str, severity: Severity) -> Uuid {
        let violation = Violation::new("transfer_failed", "no funds").severity(severity);
        let context = AuditContext::user(7).named("Ann").tenant(tenant).session_id("session-secret");
        let logged = self.audit.within(scope(context, log_violation(&self.t.db, violation))).await;
        logged.expect("recorded").expect("new")
    }

    fn builder(&self) -> AlertWorkerBuilder {
        AlertWorker::builder().clock(self.clock.clone())
    }

    /// A worker with one route, which began before any violation.
    fn worker(&self, notifier: impl Notifier) -> AlertWorker {
        self.worker_of(self.route(notifier))
    }

    fn worker_of(&self, route: Route) -> AlertWorker {
        self.builder().route(route).build().expect("a worker")
    }

    fn route(&self, notifier: impl Notifier) -> Route {
        Route::new("main", notifier).since(DateTime::UNIX_EPOCH)
    }

    /// All alerts, as state and number of attempts.
    async fn states(&self) -> Vec<(String, i32)> {
        self.alerts().await.into_iter().map(|alert| (alert.state, alert.attempts)).collect()
    }

    async fn alerts(&self) -> Vec<audit_alert::Model> {
        let all = audit_alert::Entity::find().order_by_asc(audit_alert::Column::Id);
        all.all(&self.t.db).await.expect("alerts")
    }
}

/// A notifier, and what it is told.
fn channel() -> (ChannelNotifier, mpsc::Receiver<Alert>) {
    let (sender, receiver) = mpsc::channel(100);
    (ChannelNotifier::new(sender), receiver)
}

/// What is in the channel now.
fn received(receiver: &mut mpsc::Receiver<Alert>) -> Vec<Alert> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}
