//! Who is told, and what.

use std::fmt::Debug;
use std::time::Duration;

use audit_core::{Recorded, Severity, Violation};
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

/// A violation on its way to a notifier.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// Id of this delivery: the same each time that this violation is sent to this notifier.
    pub delivery: Uuid,
    /// 1 for the first time that it is sent, and so on. An attempt counts also if its worker was killed.
    pub attempt: u32,
    /// When it is sent, by the worker's clock.
    pub sent_at: DateTime<Utc>,
    /// The violation as it was recorded, with secrets replaced.
    pub violation: Recorded<Violation>,
}

impl Alert {
    /// A first alert about this violation, for tests of your own notifiers.
    pub fn new(violation: Recorded<Violation>) -> Self {
        Self { delivery: violation.id, attempt: 1, sent_at: violation.timestamp, violation }
    }
}

/// Passes violations on to somebody.
///
/// Contract: idempotent by [`Alert::delivery`], or by the violation's id: it may be called again with an alert that it
/// took before, after a crash or a timeout. May be called by several tasks at once, and its future may be dropped at any
/// point. `Ok` means that the receiver has it: it isn't sent again. An error means that it may be sent again, unless it is
/// [permanent](NotifyError::permanent). The worker sets a limit of time around it.
#[async_trait::async_trait]
pub trait Notifier: Debug + Send + Sync + 'static {
    /// Passes one alert on.
    ///
    /// # Errors
    /// Whatever kept the receiver from having it.
    async fn notify(&self, alert: &Alert) -> Result<(), NotifyError>;
}

/// Why a receiver hasn't got an alert. The reason stands in the table `audit_alert` and in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotifyError {
    reason: String,
    permanent: bool,
    after: Option<Duration>,
}

impl NotifyError {
    /// An attempt that failed. The reason must contain no secret and nothing of the alert.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), permanent: false, after: None }
    }

    /// Says that it is of no use to try again: the alert is dead at once.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// Says that the receiver asked to be left alone for so long. It is, but no longer than [`Backoff`](super::Backoff)
    /// waits at most.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.after = Some(wait);
        self
    }

    pub(super) fn is_permanent(&self) -> bool {
        self.permanent
    }

    pub(super) fn wait(&self) -> Option<Duration> {
        self.after
    }
}

/// Writes alerts to the log of the program: `ERROR` for high and critical ones, `WARN` for medium and `INFO` for low ones,
/// with the target `audit_seaorm::alerts`. An [`EventLayer`](crate::EventLayer) makes no system event of them, since they are
/// recorded already.
#[cfg_attr(not(feature = "tracing-subscriber"), allow(rustdoc::broken_intra_doc_links))]
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TracingNotifier;

impl TracingNotifier {
    /// The notifier. It has nothing to be set.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait::async_trait]
impl Notifier for TracingNotifier {
    async fn notify(&self, alert: &Alert) -> Result<(), NotifyError> {
        let Recorded { id, tenant, actor, what, .. } = &alert.violation;
        macro_rules! tell {
            ($level:ident) => {
                tracing::event!(
                    target: "audit_seaorm::alerts",
                    tracing::Level::$level,
                    violation = %id,
                    violation_type = what.violation_type,
                    severity = what.severity.as_str(),
                    tenant,
                    actor = actor.id,
                    resource_type = what.resource_type,
                    resource_id = what.resource_id,
                    "{}",
                    what.description
                )
            };
        }
        match what.severity {
            Severity::Critical | Severity::High => tell!(ERROR),
            Severity::Medium => tell!(WARN),
            Severity::Low => tell!(INFO),
        }
        Ok(())
    }
}

/// Sends alerts into a channel of the program.
///
/// While the channel is full it waits, up to the worker's limit. An alert counts as delivered when it is in the channel: what
/// is in there when the program ends is lost, so let the receiver do its work soon. A closed channel is an error, tried
/// again like any other: the next start of the program has a new one.
#[derive(Clone, Debug)]
pub struct ChannelNotifier(mpsc::Sender<Alert>);

impl ChannelNotifier {
    /// Sends into this channel.
    pub fn new(sender: mpsc::Sender<Alert>) -> Self {
        Self(sender)
    }
}

#[async_trait::async_trait]
impl Notifier for ChannelNotifier {
    async fn notify(&self, alert: &Alert) -> Result<(), NotifyError> {
        let sent = self.0.send(alert.clone()).await;
        sent.map_err(|_| NotifyError::new("the channel is closed"))
    }
}
