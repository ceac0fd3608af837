//! Alerts: somebody is told of violations, by a webhook, by `tracing`, by a channel, or by a [`Notifier`] of your own.
//!
//! A [`Route`] says who is told of what: a notifier under a name, and from which severity on. An [`AlertWorker`] looks for
//! violations that a route hasn't been told of, sends them, and tries again what failed.
//!
//! ```no_run
//! use audit_seaorm::Severity;
//! use audit_seaorm::alerts::{AlertWorker, ChannelNotifier, Route, TracingNotifier};
//! # async fn example(db: sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
//! let (sender, mut received) = tokio::sync::mpsc::channel(100);
//! let worker = AlertWorker::builder()
//!     .route(Route::new("log", TracingNotifier::new()).at_least(Severity::Low))
//!     .route(Route::new("on-call", ChannelNotifier::new(sender)).at_least(Severity::High))
//!     .build()?;
//! let task = worker.start(db); // or `worker.run_once(&db)` from a scheduler of your own
//! while let Some(alert) = received.recv().await {
//!     println!("{}: {}", alert.violation.what.severity, alert.violation.what.description);
//! }
//! task.stop().await;
//! # Ok(()) }
//! ```
//!
//! # What is promised
//! - **Nothing is lost.** What is to be sent stands in the table `audit_alert`, so it outlives restarts. Violations are found by
//!   not being there, so those that commit late, or were recorded while no worker ran, are found as well. A route begins
//!   with the moment when a worker first had it, or with [`Route::since`].
//! - **Once, as far as that can be.** However many workers run, on one database, each alert is sent by one of them at a time:
//!   it takes a lease on it. A receiver gets one twice if a worker was killed after it had sent it and before it could say
//!   so, if the database was away at that moment, or if the receiver took it but didn't answer in time. [`Alert::delivery`] is
//!   then the same, and tells the receiver. Clocks of the workers' machines may differ by less than the lease is longer than
//!   the timeout.
//! - **Tried again.** What fails is due again after a random time within a [window](Backoff) that doubles each time. After the
//!   last attempt it is dead: [`dead_letters`] lists those, [`revive`] begins anew.
//! - **In no order.** What is tried again comes later than what came after it.

mod backoff;
mod notifier;
mod queue;
mod route;
#[cfg(feature = "webhook")]
mod webhook;
mod worker;

pub use backoff::Backoff;
pub use notifier::{Alert, ChannelNotifier, Notifier, NotifyError, TracingNotifier};
pub use queue::{dead_letters, revive};
pub use route::Route;
#[cfg(feature = "webhook")]
pub use webhook::{
    BodyFormat, SignatureError, Webhook, WebhookBuilder, verify_signature, verify_signature_at,
};
pub use worker::{AlertWorker, AlertWorkerBuilder, Pass};
