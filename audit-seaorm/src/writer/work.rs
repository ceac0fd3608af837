//! What the writer does in the background: batches out of the queue and the spool, into the tables.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use audit_core::{Record, Sink};
use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::spool::{Spool, Taken};
use super::{blocking, deliver, mark_doubtful};
use crate::db_error::{describe, is_about_the_record};
use crate::metrics::Counters;
use crate::store::to_db_err;

/// The first wait after a failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) spool: Option<Arc<Spool>>,
    pub(super) db: Mutex<Option<DatabaseConnection>>,
    /// Takes the place of the tables.
    pub(super) sink: OnceLock<Arc<dyn Sink>>,
    pub(super) queue: Mutex<Queue>,
    /// One permit for each place in the queue.
    pub(super) space: Semaphore,
    /// There is something to do.
    pub(super) wake: Arc<Notify>,
    /// Something is done.
    pub(super) done: Notify,
    /// Held by who writes: the task, or somebody who waits for it.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) counters: Counters,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) queue_limit: usize,
    pub(super) queue_wait: Duration,
    pub(super) batch_size: usize,
    pub(super) batch_wait: Duration,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Queued>,
    /// The batch that is being written.
    pub(super) batch: Vec<Queued>,
    /// Whether some of the batch may be in the database already.
    pub(super) again: bool,
    pub(super) failing: Option<Failing>,
    pub(super) task: Option<JoinHandle<()>>,
}

pub(super) struct Queued {
    pub(super) record: Record,
    pub(super) since: Instant,
    /// Whether it has a place of its own in the queue. A stream that was dropped can't wait for one.
    pub(super) counted: bool,
}

/// Since when nothing could be written.
#[derive(Debug, Clone)]
pub(super) struct Failing {
    pub(super) since: Instant,
    pub(super) attempts: u32,
    pub(super) retry: Instant,
    pub(super) reason: &'static str,
}

/// Writes until nobody is left who could send something.
pub(super) async fn run(shared: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let next = match shared.upgrade() {
            Some(shared) => quietly(shared.work(Effort::Batched)).await,
            None => return,
        };
        match next {
            Next::Again => {}
            Next::Wait => wake.notified().await,
            Next::Until(moment) => {
                _ = tokio::time::timeout_at(moment.into(), wake.notified()).await;
            }
        }
    }
}

/// Runs what writes records: what goes wrong there is logged, but makes no record, whose writing would go wrong as well.
#[cfg(feature = "tracing-subscriber")]
pub(super) async fn quietly<F: Future>(future: F) -> F::Output {
    crate::event_layer::writing(future).await
}

#[cfg(not(feature = "tracing-subscriber"))]
pub(super) async fn quietly<F: Future>(future: F) -> F::Output {
    future.await
}

/// How a batch is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// Waiting for more records, and for as long as it takes after a failure.
    Batched,
    /// Of what is there.
    Now,
}

/// What is to be done next.
pub(super) enum Next {
    Again,
    Wait,
    Until(Instant),
}

impl Shared {
    /// Writes one batch, of the queue or of the spool.
    pub(super) async fn work(&self, effort: Effort) -> Next {
        if effort == Effort::Batched
            && let Some(moment) = self.full_at()
        {
            // Who sends doesn't wake it, so that a batch gathers; a full one does by its size.
            let full = async {
                while !self.is_full() {
                    self.wake.notified().await;
                }
            };
            _ = tokio::time::timeout_at(moment.into(), full).await;
        }
        let _turn = self.turn.lock().await;
        let retry = self.queue().failing.as_ref().map(|failing| failing.retry);
        let resting = effort == Effort::Batched && retry.is_some_and(|retry| retry > Instant::now());
        let next = if self.fill_batch() {
            self.write_batch(resting).await
        } else if self.spool.as_ref().is_some_and(|spool| spool.has_due()) && !resting {
            self.write_spooled().await
        } else {
            Next::Wait
        };
        let retry = self.queue().failing.as_ref().map(|failing| failing.retry);
        match (next, retry) {
            (Next::Wait, Some(retry)) if self.has_work() => Next::Until(retry),
            (Next::Wait, _) => self.sync_later().await,
            (next, _) => next,
        }
    }

    /// When the batch that gathers is to be written.
    fn full_at(&self) -> Option<Instant> {
        let queue = self.queue();
        if !queue.batch.is_empty() || queue.waiting.len() >= self.settings.batch_size {
            return None;
        }
        queue.waiting.front().map(|first| first.since + self.settings.batch_wait)
    }

    fn is_full(&self) -> bool {
        self.queue().waiting.len() >= self.settings.batch_size.min(self.settings.queue_limit)
    }

    pub(super) fn is_waiting(&self) -> bool {
        let queue = self.queue();
        !queue.batch.is_empty() || !queue.waiting.is_empty()
    }

    pub(super) fn has_work(&self) -> bool {
        self.is_waiting() || self.spool.as_ref().is_some_and(|spool| spool.has_due())
    }

    /// Makes the next batch of the queue, unless there is one still; whether there is one.
    fn fill_batch(&self) -> bool {
        let mut queue = self.queue();
        if queue.batch.is_empty() {
            let count = queue.waiting.len().min(self.settings.batch_size);
            queue.batch = queue.waiting.drain(..count).collect();
            queue.again = false;
        }
        !queue.batch.is_empty()
    }

    /// Writes the batch, or spools it. `resting`: the database isn't to be asked now.
    async fn write_batch(&self, resting: bool) -> Next {
        let (records, again) = {
            let queue = self.queue();
            (queue.batch.iter().map(|queued| queued.record.clone()).collect::<Vec<_>>(), queue.again)
        };
        if resting && self.spool.is_none() {
            return Next::Wait;
        }
        if !resting {
            self.queue().again = true;
            match self.deliver(&records, again).await {
                Ok(()) => {
                    self.batch_done();
                    return Next::Again;
                }
                Err(error) => self.failed(&error),
            }
        }
        let Some(spool) = self.spool.clone() else { return Next::Wait };
        let count = records.len();
        match blocking(move || spool.append(&records)).await {
            Ok(()) => {
                self.counters.spool(count);
                self.batch_done();
                Next::Again
            }
            Err(error) => {
                tracing::error!(%error, "audit records can be written neither to the database nor to the spool");
                Next::Wait
            }
        }
    }

    /// Writes what has waited longest in the spool.
    async fn write_spooled(&self) -> Next {
        let Some(spool) = self.spool.clone() else { return Next::Wait };
        let limit = self.settings.batch_size;
        let from = Arc::clone(&spool);
        let taken = match blocking(move || from.take(limit)).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(%error, "the spool can't be read");
                self.fail("the spool can't be read");
                return Next::Wait;
            }
        };
        let Taken { records, doubtful, .. } = &taken;
        let records: Vec<_> = records
            .iter()
            .cloned()
            .map(|record| if doubtful.contains(&record.id()) { mark_doubtful(record) } else { record })
            .collect();
        match self.deliver(&records, true).await {
            Ok(()) => {
                _ = blocking(move || {
                    spool.done(&taken);
                    Ok(())
                })
                .await;
                self.done.notify_waiters();
                Next::Again
            }
            Err(error) => {
                self.failed(&error);
                Next::Wait
            }
        }
    }

    /// Writes records to their tables. What the database will never take is put aside, and doesn't hold up the others.
    async fn deliver(&self, records: &[Record], again: bool) -> Result<(), DbErr> {
        if let Some(sink) = self.sink.get() {
            deliver::deliver_to(&**sink, records).await.map_err(|error| to_db_err(&error))?;
            self.counters.deliver(records.len());
            self.queue().failing = None;
            return Ok(());
        }
        let db = self.db().clone().ok_or_else(|| {
            DbErr::Conn(sea_orm::RuntimeErr::Internal("the audit has no connection yet".into()))
        })?;
        let mut parts = vec![records];
        let (mut again, mut last) = (again, None);
        while let Some(part) = parts.pop() {
            match deliver::deliver(&db, part, again).await {
                Ok(written) => {
                    self.counters.deliver(written);
                    self.queue().failing = None;
                }
                Err(error) if is_about_the_record(&error) => match part {
                    // If it is there already, that is what the database doesn't like about it; also if somebody else has committed it,
                    // or the violation of the same finding, since it was asked for.
                    [record] if again && last == Some(record.id()) => {
                        self.reject(record, describe(&error)).await;
                        // It was asked, and has answered.
                        self.queue().failing = None;
                    }
                    [record] => {
                        (again, last) = (true, Some(record.id()));
                        parts.push(part);
                    }
                    _ => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first].into_iter().filter(|part| !part.is_empty()));
                        again = true;
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn reject(&self, record: &Record, reason: &'static str) {
        self.counters.reject();
        tracing::error!(id = %record.id(), reason, "the database will never take this audit record");
        let Some(spool) = self.spool.clone() else { return };
        let record = record.clone();
        if let Err(error) = blocking(move || spool.reject(&record, reason)).await {
            tracing::error!(%error, "nor could it be put aside");
        }
    }

    fn batch_done(&self) {
        let places = {
            let mut queue = self.queue();
            std::mem::take(&mut queue.batch).iter().filter(|queued| queued.counted).count()
        };
        self.space.add_permits(places);
        self.done.notify_waiters();
    }

    fn failed(&self, error: &DbErr) {
        self.fail(describe(error));
    }

    fn fail(&self, reason: &'static str) {
        let mut queue = self.queue();
        let (since, attempts) = match &queue.failing {
            Some(failing) => (failing.since, failing.attempts.saturating_add(1)),
            None => (Instant::now(), 0),
        };
        let wait = FIRST_WAIT.saturating_mul(1 << attempts.min(16)).min(LONGEST_WAIT);
        tracing::warn!(reason, attempts, "audit records can't be written now; trying again");
        queue.failing = Some(Failing { since, attempts, retry: Instant::now() + wait, reason });
    }

    /// What was spooled is forced onto the disk once nothing else has come for a while.
    async fn sync_later(&self) -> Next {
        let Some(spool) = self.spool.clone() else { return Next::Wait };
        match blocking(move || spool.sync_rest()).await {
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the spool can't be forced onto the disk"),
        }
        Next::Wait
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn db(&self) -> MutexGuard<'_, Option<DatabaseConnection>> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last one has gone: what is still in memory goes to the spool, or is lost.
impl Drop for Shared {
    fn drop(&mut self) {
        let queue = self.queue.get_mut().unwrap_or_else(PoisonError::into_inner);
        let rest: Vec<_> =
            queue.batch.drain(..).chain(queue.waiting.drain(..)).map(|queued| queued.record).collect();
        if !rest.is_empty() {
            let spooled = self.spool.as_ref().is_some_and(|spool| spool.append(&rest).is_ok());
            if !spooled {
                tracing::error!(
                    lost = rest.len(),
                    "audit records are lost: they were still in memory as the audit was dropped; call `Audit::shutdown` before"
                );
            }
        }
        self.wake.notify_one();
    }
}
