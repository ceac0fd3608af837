//! What finds violations and sends them to their notifiers.

use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use audit_core::{Clock, Error, SystemClock};
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use sea_orm::ConnectionTrait;

use super::queue::{self, DEAD, DELIVERED, PENDING, Step};
use super::{Alert, Backoff, NotifyError, Route};
use crate::entity::audit_alert;
use crate::worker::{Stop, WorkerTask, to_the_end};

/// Alerts that are read at once.
const BATCH: u64 = 100;
/// A notifier that fails so often in a row is left alone until the next pass: each attempt may take as long as the timeout.
const PATIENCE: u32 = 3;

/// Sends violations to their notifiers; see the [module](super). Cheap to clone.
#[derive(Clone)]
pub struct AlertWorker(Arc<Inner>);

struct Inner {
    routes: Vec<Route>,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    timeout: Duration,
    lease: Duration,
    interval: Duration,
}

/// What a pass has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pass {
    /// Alerts made of new violations. On MySQL those that another worker made at the same moment count too.
    pub found: usize,
    /// Alerts that their notifiers took.
    pub delivered: usize,
    /// Alerts that failed and will be tried again.
    pub failed: usize,
    /// Alerts that failed and won't.
    pub dead: usize,
}

impl AddAssign for Pass {
    fn add_assign(&mut self, other: Self) {
        self.found += other.found;
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.dead += other.dead;
    }
}

impl AlertWorker {
    /// Starts the description of a worker.
    pub fn builder() -> AlertWorkerBuilder {
        AlertWorkerBuilder::default()
    }

    /// Makes alerts of new violations, and sends what is due: one pass, the routes side by side. If its future is dropped, each
    /// route's alert that is being sent is sent and marked; the others stay for the next pass.
    ///
    /// `db` is a connection, of which the pass gets a clone. It must not be a transaction: the leases that other workers must see, and what was delivered, commit at once.
    ///
    /// # Errors
    /// [`Error::Store`] if the database fails. What was to be sent is still there for the next pass. That a notifier fails isn't an
    /// error: it is in the result, in the table and in the log.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and if a notifier does.
    pub async fn run_once<C>(&self, db: &C) -> Result<Pass, Error>
    where
        C: ConnectionTrait + Clone + Send + Sync + 'static,
    {
        let (worker, db, stop) = (self.clone(), db.clone(), Stop::default());
        let _end = stop.when_dropped();
        to_the_end(async move { worker.pass(&db, &stop).await }).await
    }

    /// Runs pass after pass in the background until the task is stopped or dropped. A pass in which a notifier panics is logged;
    /// its alert is tried again when its lease ends. [Wake](WorkerTask::wake) it where a violation was recorded that can't wait.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<C: ConnectionTrait + Send + Sync + 'static>(&self, db: C) -> WorkerTask {
        let (worker, db) = (self.clone(), Arc::new(db));
        WorkerTask::start("alerts", self.0.interval, move |stop| {
            let (worker, db) = (worker.clone(), Arc::clone(&db));
            async move { worker.pass(&*db, &stop).await.map(|_| ()) }
        })
    }

    async fn pass<C: ConnectionTrait>(&self, db: &C, stop: &Stop) -> Result<Pass, Error> {
        let all = join_all(self.0.routes.iter().map(|route| self.0.serve(db, route, stop))).await;
        let mut whole = Pass::default();
        for pass in all {
            whole += pass?;
        }
        Ok(whole)
    }
}

impl Inner {
    async fn serve<C: ConnectionTrait>(&self, db: &C, route: &Route, stop: &Stop) -> Result<Pass, Error> {
        let mut pass = Pass { found: self.find(db, route, stop).await?, ..Pass::default() };
        let mut failures = 0;
        loop {
            let due = queue::due(db, &route.name, self.clock.now(), BATCH).await?;
            for alert in &due {
                if stop.is_asked() || failures == PATIENCE {
                    return Ok(pass);
                }
                match self.send(db, route, alert).await? {
                    None => {}
                    Some(Outcome::Delivered) => {
                        pass.delivered += 1;
                        failures = 0;
                    }
                    Some(Outcome::Failed) => {
                        pass.failed += 1;
                        failures += 1;
                    }
                    Some(Outcome::Dead) => {
                        pass.dead += 1;
                        failures += 1;
                    }
                }
            }
            if (due.len() as u64) < BATCH {
                return Ok(pass);
            }
        }
    }

    /// Makes alerts of the violations that this route hasn't been told of.
    async fn find<C: ConnectionTrait>(&self, db: &C, route: &Route, stop: &Stop) -> Result<usize, Error> {
        let now = self.clock.now();
        let since = match route.since {
            Some(moment) => moment,
            None => queue::start(db, &route.name, now).await?,
        };
        let look = route.look_back(since, now);
        let mut found = 0;
        loop {
            let new = queue::unknown(db, route, look.from, BATCH).await?;
            let last = (new.len() as u64) < BATCH;
            for violation in new {
                found += usize::from(queue::add(db, &route.name, violation, now).await?);
            }
            if last && look.all {
                route.swept(now);
            }
            if last || stop.is_asked() {
                return Ok(found);
            }
        }
    }

    /// Sends one alert and says what became of it; `None` if another worker has it.
    ///
    /// The order is the point: lease, send, mark. What ends in between is sent again when the lease has ended.
    async fn send<C: ConnectionTrait>(
        &self,
        db: &C,
        route: &Route,
        alert: &audit_alert::Model,
    ) -> Result<Option<Outcome>, Error> {
        let (now, seen) = (self.clock.now(), alert.attempts);
        let attempt = u32::try_from(seen).unwrap_or(0).saturating_add(1);
        let step = |state, attempts, due_at, last_error| Step { state, attempts, due_at, last_error };
        if attempt > self.backoff.attempts {
            // Its worker was killed in its last attempt, each time perhaps by what it sent.
            let reason = alert.last_error.clone().unwrap_or_else(|| "its workers were stopped".to_owned());
            let dead = queue::take(db, alert.id, seen, &step(DEAD, seen, now, Some(reason)), now).await?;
            return Ok(dead.then(|| self.bury(route, alert, "no attempts are left")));
        }
        let sending = seen.saturating_add(1);
        let lease = step(PENDING, sending, later(now, self.lease), alert.last_error.clone());
        if !queue::take(db, alert.id, seen, &lease, now).await? {
            return Ok(None);
        }
        let told = match queue::violation(db, alert.violation_id).await? {
            Some(violation) => {
                let alert = Alert { delivery: alert.id, attempt, sent_at: now, violation };
                let told = tokio::time::timeout(self.timeout, route.notifier.notify(&alert)).await;
                told.unwrap_or_else(|_| Err(NotifyError::new(format!("no end after {:?}", self.timeout))))
            }
            None => Err(NotifyError::new("the violation isn't there any more, or can't be read").permanent()),
        };
        let now = self.clock.now();
        let (end, outcome) = match told {
            Ok(()) => (step(DELIVERED, sending, now, None), Outcome::Delivered),
            Err(error) if error.is_permanent() || attempt == self.backoff.attempts => {
                let outcome = self.bury(route, alert, &error.to_string());
                (step(DEAD, sending, now, Some(error.to_string())), outcome)
            }
            Err(error) => {
                let due_at = later(now, self.backoff.wait(attempt, error.wait()));
                tracing::warn!(notifier = route.name, delivery = %alert.id, attempt, %error, "an alert failed; it will be tried again");
                (step(PENDING, sending, due_at, Some(error.to_string())), Outcome::Failed)
            }
        };
        if !queue::take(db, alert.id, sending, &end, now).await? {
            tracing::warn!(notifier = route.name, delivery = %alert.id, "the lease ended while an alert was being sent; it may be sent twice");
        }
        Ok(Some(outcome))
    }

    fn bury(&self, route: &Route, alert: &audit_alert::Model, error: &str) -> Outcome {
        tracing::error!(notifier = route.name, delivery = %alert.id, violation = %alert.violation_id, error, "an alert is dead; see `alerts::dead_letters`");
        Outcome::Dead
    }
}

enum Outcome {
    Delivered,
    Failed,
    Dead,
}

/// Durations are checked when the worker is built.
fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait)).unwrap_or(now)
}

impl fmt::Debug for AlertWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertWorker").field("routes", &self.0.routes).finish_non_exhaustive()
    }
}

/// The description of an [`AlertWorker`].
#[derive(Debug)]
#[must_use = "nothing is sent by a builder; call `build`"]
pub struct AlertWorkerBuilder {
    routes: Vec<Route>,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    timeout: Duration,
    lease: Duration,
    interval: Duration,
}

impl Default for AlertWorkerBuilder {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            clock: Arc::new(SystemClock),
            backoff: Backoff::default(),
            timeout: Duration::from_secs(30),
            lease: Duration::from_secs(120),
            interval: Duration::from_secs(5),
        }
    }
}

impl AlertWorkerBuilder {
    /// Adds a route.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Says when and how often what failed is tried again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Says how long a notifier may take; 30 seconds if nothing is said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Says how long an alert belongs to the worker that sends it, after which another one may take it over; 2 minutes if
    /// nothing is said. Must be longer than the timeout.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Says how long the [background task](AlertWorker::start) rests between two passes; 5 seconds if nothing is said.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Checks the description and makes the worker.
    ///
    /// # Errors
    /// [`Error::Registration`] if there is no route, two have one name, a name is empty or too long, there is no attempt, or a
    /// duration makes no sense.
    pub fn build(self) -> Result<AlertWorker, Error> {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let wrong = |text: String| Err(Error::Registration(text));
        if self.routes.is_empty() {
            return wrong("the alert worker has no route; add one by `AlertWorkerBuilder::route`".to_owned());
        }
        for (at, Route { name, .. }) in self.routes.iter().enumerate() {
            if name.trim().is_empty() || name.chars().count() > 100 {
                return wrong(format!("the name of a route must have 1 to 100 characters: `{name}`"));
            }
            if self.routes[..at].iter().any(|other| other.name == *name) {
                return wrong(format!("two routes are called `{name}`; what was sent is known by the name"));
            }
        }
        if self.backoff.attempts == 0 || i32::try_from(self.backoff.attempts).is_err() {
            return wrong("`Backoff::attempts` must be between 1 and 2,147,483,647".to_owned());
        }
        if self.timeout.is_zero() || self.lease <= self.timeout {
            return wrong(
                "the lease of an alert must be longer than the timeout, which must not be 0".to_owned(),
            );
        }
        if self.interval.is_zero() || self.lease.max(self.backoff.longest) > YEAR {
            return wrong("the interval must not be 0, lease and longest wait not above a year".to_owned());
        }
        let Self { routes, clock, backoff, timeout, lease, interval } = self;
        Ok(AlertWorker(Arc::new(Inner { routes, clock, backoff, timeout, lease, interval })))
    }
}
