//! The batched writer: records that need not share a transaction with anything wait in memory, are written many at a
//! time, and go to the [spool](spool) while the database doesn't take them.
//!
//! **Invariant:** a record that was taken is written to its table, or to the spool, or its loss is logged and counted.
//!
//! What runs in the background owns nothing: queue and batch are in [`Shared`], and a task that ended with its runtime is
//! replaced by the next who has something to write.

mod deliver;
mod frame;
mod spool;
mod tickets;

pub(crate) use tickets::Tickets;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use audit_core::{Config, Entry, Error, Record, Sink, Status};
use chrono::Utc;
use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::db_error::{describe, is_about_the_record};
use crate::metrics::{Counters, Metrics};
use crate::store::to_db_err;
use spool::{Spool, Taken};

/// The first wait after a failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Writes records in the background.
#[derive(Clone)]
pub(crate) struct Writer(Arc<Shared>);

/// What becomes of the change that entries belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate<'a> {
    /// It is committed already.
    Committed,
    /// It is that of the transaction that holds these tickets.
    Of(&'a Tickets),
    /// It is that of a transaction whose end nobody tells.
    Unknown,
}

struct Shared {
    settings: Settings,
    spool: Option<Arc<Spool>>,
    db: Mutex<Option<DatabaseConnection>>,
    /// Takes the place of the tables.
    sink: OnceLock<Arc<dyn Sink>>,
    queue: Mutex<Queue>,
    /// One permit for each place in the queue.
    space: Semaphore,
    /// There is something to do.
    wake: Arc<Notify>,
    /// Held by who writes: the task, or somebody who waits for it.
    turn: tokio::sync::Mutex<()>,
    counters: Counters,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    queue_limit: usize,
    queue_wait: Duration,
    batch_size: usize,
    batch_wait: Duration,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Queued>,
    /// The batch that is being written.
    batch: Vec<Queued>,
    /// Whether some of the batch may be in the database already.
    again: bool,
    failing: Option<Failing>,
    task: Option<JoinHandle<()>>,
}

struct Queued {
    record: Record,
    since: Instant,
    /// Whether it has a place of its own in the queue. A stream that was dropped can't wait for one.
    counted: bool,
}

/// Since when nothing could be written.
#[derive(Debug, Clone)]
struct Failing {
    since: Instant,
    attempts: u32,
    retry: Instant,
    reason: &'static str,
}

impl Writer {
    /// A writer with these settings; it opens the spool.
    ///
    /// # Errors
    /// [`Error::Spool`] if the spool can't be used.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let limit = config.spool_limit_bytes as u64;
        let open = |dir| Spool::open(dir, config.spool_sync, limit);
        let spool = config.spool_dir.as_deref().map(open).transpose().map_err(|error| spool_error(&error))?;
        Ok(Self::new(config, spool))
    }

    /// A writer with these settings, but for the spool.
    pub(crate) fn without_spool(config: &Config) -> Self {
        Self::new(config, None)
    }

    fn new(config: &Config, spool: Option<Spool>) -> Self {
        Self(Arc::new(Shared {
            settings: Settings {
                queue_limit: config.queue_limit,
                queue_wait: Duration::from_millis(config.queue_wait_ms.into()),
                batch_size: config.batch_size,
                batch_wait: Duration::from_millis(config.batch_wait_ms.into()),
            },
            spool: spool.map(Arc::new),
            db: Mutex::default(),
            sink: OnceLock::new(),
            queue: Mutex::default(),
            space: Semaphore::new(config.queue_limit.min(Semaphore::MAX_PERMITS)),
            wake: Arc::default(),
            turn: tokio::sync::Mutex::default(),
            counters: Counters::default(),
        }))
    }

    /// Says where the tables are; the first who says so counts.
    pub(crate) fn deliver_to(&self, db: &DatabaseConnection) {
        self.0.db().get_or_insert_with(|| db.clone());
        if self.0.spool.as_ref().is_some_and(|spool| spool.has_due()) {
            self.start();
        }
    }

    /// Says that a sink takes the place of the tables.
    pub(crate) fn deliver_to_sink(&self, sink: &Arc<dyn Sink>) {
        self.0.sink.get_or_init(|| Arc::clone(sink));
    }

    /// Whether it was said where the tables are.
    pub(crate) fn has_database(&self) -> bool {
        self.0.db().is_some()
    }

    /// Takes a record.
    ///
    /// # Errors
    /// [`Error::Store`] if there is no place for it within the time that the configuration allows.
    pub(crate) async fn send(&self, record: Record) -> Result<(), Error> {
        let counted = match self.0.space.try_acquire() {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_) => match &self.0.spool {
                // The one who waits may hold the connection that the writer needs: it must not wait for the writer.
                Some(spool) => {
                    let spool = Arc::clone(spool);
                    blocking(move || spool.append(&[record])).await.map_err(|error| spool_error(&error))?;
                    self.0.counters.spool(1);
                    self.start();
                    self.0.wake.notify_one();
                    return Ok(());
                }
                None => self.wait_for_space(&record).await?,
            },
        };
        self.push(record, counted);
        self.start();
        Ok(())
    }

    async fn wait_for_space(&self, record: &Record) -> Result<bool, Error> {
        self.start();
        let wait = tokio::time::timeout(self.0.settings.queue_wait, self.0.space.acquire()).await;
        match wait {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(true)
            }
            _ => Err(full(record)),
        }
    }

    /// Takes a record from one who can't wait.
    pub(crate) fn send_now(&self, record: Record) {
        let counted = self.0.space.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok();
        self.push(record, counted);
        self.start();
    }

    fn push(&self, record: Record, counted: bool) {
        self.0.queue().waiting.push_back(Queued { record, since: Instant::now(), counted });
        self.0.wake.notify_one();
    }

    /// What became of records so far.
    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Spools entries that the database didn't take.
    ///
    /// # Errors
    /// [`Error::Spool`] if there is no spool, or it can't take them.
    pub(crate) async fn outbox(&self, entries: Vec<Entry>, fate: Fate<'_>) -> Result<(), Error> {
        let Some(spool) = self.0.spool.clone() else {
            return Err(Error::Spool("there is none; set `spool_dir`".into()));
        };
        let count = entries.len();
        match fate {
            Fate::Committed => {
                let records: Vec<_> = entries.into_iter().map(Record::from).collect();
                blocking(move || spool.append(&records)).await
            }
            Fate::Unknown => {
                let records: Vec<_> = entries.into_iter().map(|entry| mark_doubtful(entry.into())).collect();
                blocking(move || spool.append(&records)).await
            }
            Fate::Of(tickets) => {
                let ticket = Uuid::now_v7();
                let prepared = blocking(move || spool.prepare(ticket, entries)).await;
                prepared.map(|()| tickets.add(self.clone(), ticket))
            }
        }
        .map_err(|error| spool_error(&error))?;
        self.0.counters.spool(count);
        self.start();
        self.0.wake.notify_one();
        Ok(())
    }

    async fn settle(&self, how: impl FnOnce(&Spool) + Send + 'static) {
        let Some(spool) = self.0.spool.clone() else { return };
        let settled = blocking(move || {
            how(&spool);
            Ok(())
        });
        if settled.await.is_err() {
            tracing::error!("the end of a transaction couldn't be noted in the spool");
        }
        self.start();
        self.0.wake.notify_one();
    }

    /// The transaction of these entries was committed.
    async fn confirm(&self, ticket: Uuid) {
        self.settle(move |spool| spool.confirm(ticket)).await;
    }

    /// Nobody knows.
    async fn doubt(&self, ticket: Uuid) {
        self.settle(move |spool| spool.doubt(ticket)).await;
    }

    /// It was rolled back. Blocks for the time of a write to the disk.
    fn cancel(&self, ticket: Uuid) {
        if let Some(spool) = &self.0.spool {
            spool.cancel(ticket);
        }
    }

    /// What is in the queue and the spool, and what has become of the rest.
    pub(crate) fn metrics(&self) -> Metrics {
        let contents = self.0.spool.as_ref().map(|spool| spool.contents()).unwrap_or_default();
        let queue = self.0.queue();
        let oldest = queue.batch.iter().chain(&queue.waiting).map(|queued| queued.since).min();
        Metrics {
            queued: queue.batch.len() + queue.waiting.len(),
            oldest_queued: oldest.map(|since| since.elapsed()),
            spooled: contents.due,
            prepared: contents.prepared,
            spool_bytes: contents.bytes,
            oldest_spooled: contents.oldest.map(|since| (Utc::now() - since).to_std().unwrap_or_default()),
            failing_for: queue.failing.as_ref().map(|failing| failing.since.elapsed()),
            reason: queue.failing.as_ref().map(|failing| failing.reason),
            ..self.0.counters.read()
        }
    }

    /// Waits until what is in the queue now is written, or spooled, or couldn't be.
    ///
    /// # Errors
    /// [`Error::Store`] if some of it is still in memory: the database took nothing, and there is no spool.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        while self.0.is_waiting() {
            self.work_now().await?;
            let queue = self.0.queue();
            if let Some(failing) = &queue.failing
                && !(queue.waiting.is_empty() && queue.batch.is_empty())
            {
                return Err(undelivered(queue.waiting.len() + queue.batch.len(), failing.reason));
            }
        }
        Ok(())
    }

    /// Writes what is in queue and spool.
    ///
    /// # Errors
    /// [`Error::Store`] if the database doesn't take all of it. Nothing is lost by that.
    pub(crate) async fn deliver(&self) -> Result<(), Error> {
        self.flush().await?;
        while let Some(spool) = self.0.spool.as_ref().filter(|spool| spool.has_due()) {
            self.work_now().await?;
            if let Some(failing) = &self.0.queue().failing {
                return Err(undelivered(spool.contents().due, failing.reason));
            }
        }
        Ok(())
    }

    /// Writes one batch without waiting for more. In a task of its own, because who waits for it may go away, and a
    /// transaction that is begun must not be left half-way.
    async fn work_now(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.0);
        let work = tokio::spawn(async move { _ = shared.work(Effort::Now).await });
        work.await.map_err(|_| undelivered(self.metrics().queued, "the writer's task was cancelled"))
    }

    /// Makes sure that somebody writes.
    fn start(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut queue = self.0.queue();
        if queue.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (shared, wake) = (Arc::downgrade(&self.0), Arc::clone(&self.0.wake));
        queue.task = Some(runtime.spawn(run(shared, wake)));
    }
}

/// Writes until nobody is left who could send something.
async fn run(shared: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let next = match shared.upgrade() {
            Some(shared) => shared.work(Effort::Batched).await,
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

/// How a batch is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// Waiting for more records, and for as long as it takes after a failure.
    Batched,
    /// Of what is there.
    Now,
}

/// What is to be done next.
enum Next {
    Again,
    Wait,
    Until(Instant),
}

impl Shared {
    /// Writes one batch, of the queue or of the spool.
    async fn work(&self, effort: Effort) -> Next {
        if effort == Effort::Batched {
            if let Some(moment) = self.full_at() {
                // Who sends doesn't wake it, so that a batch gathers; a full one does by its size.
                let full = async {
                    while !self.is_full() {
                        self.wake.notified().await;
                    }
                };
                _ = tokio::time::timeout_at(moment.into(), full).await;
            }
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

    fn is_waiting(&self) -> bool {
        let queue = self.queue();
        !queue.batch.is_empty() || !queue.waiting.is_empty()
    }

    fn has_work(&self) -> bool {
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
        let mut again = again;
        while let Some(part) = parts.pop() {
            match deliver::deliver(&db, part, again).await {
                Ok(written) => {
                    self.counters.deliver(written);
                    self.queue().failing = None;
                }
                Err(error) if is_about_the_record(&error) => match part {
                    // If it is there already, that is what the database doesn't like about it.
                    [record] if again => self.reject(record, describe(&error)).await,
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

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn db(&self) -> MutexGuard<'_, Option<DatabaseConnection>> {
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

/// Says of an entry that its change may have been rolled back.
fn mark_doubtful(record: Record) -> Record {
    match record {
        Record::Entry(mut entry) => {
            entry.status = Status::Warning;
            let mut metadata: serde_json::Map<String, serde_json::Value> = entry
                .metadata
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            metadata.insert("commit".into(), "unknown".into());
            entry.metadata = Some(audit_core::Value::Json(serde_json::Value::Object(metadata)).to_json());
            entry.finish();
            Record::Entry(entry)
        }
        other => other,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn spool_error(error: &io::Error) -> Error {
    Error::Spool(error.to_string())
}

fn full(record: &Record) -> Error {
    let resource = match record {
        Record::Query(query) => query.resource_type.clone(),
        Record::Entry(entry) => entry.resource.kind.to_string(),
        _ => String::new(),
    };
    Error::Store {
        action: audit_core::action::READ.to_owned(),
        resource,
        reason: "the queue is full and the database doesn't take its records fast enough; a `spool_dir` would keep them".to_owned(),
        retryable: true,
    }
}

fn undelivered(records: usize, reason: &str) -> Error {
    Error::Store {
        action: "write".to_owned(),
        resource: format!("{records} audit records"),
        reason: reason.to_owned(),
        retryable: true,
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("metrics", &self.metrics()).finish()
    }
}
