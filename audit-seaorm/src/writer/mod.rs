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
mod work;

use tickets::Prepared;
pub(crate) use tickets::Tickets;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use audit_core::{Config, Entry, Error, Record, Sink, Status};
use chrono::Utc;
use sea_orm::DatabaseConnection;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use crate::metrics::{Counters, Metrics};
use spool::Spool;
use work::{Effort, Queued, Settings, Shared, run};

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

impl Writer {
    /// A writer with these settings; it opens the spool.
    ///
    /// # Errors
    /// [`Error::Spool`] if the spool can't be used.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let limit = config.spool_limit_bytes as u64;
        let open = |dir: &Path| {
            let spool = Spool::open(dir, config.spool_sync, limit);
            spool.map_err(|error| Error::Spool(format!("{}: {error}", dir.display())))
        };
        let spool = config.spool_dir.as_deref().map(open).transpose()?;
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
            done: Notify::new(),
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
        match self.wait_for(1).await {
            true => Ok(true),
            false => Err(full(resource_of(record))),
        }
    }

    /// Waits for so many places, and takes them.
    async fn wait_for(&self, places: u32) -> bool {
        self.start();
        let wait = tokio::time::timeout(self.0.settings.queue_wait, self.0.space.acquire_many(places)).await;
        match wait {
            Ok(Ok(permit)) => {
                permit.forget();
                true
            }
            _ => false,
        }
    }

    /// Takes places for records that are still to come, so that what they are about isn't done in vain.
    ///
    /// # Errors
    /// [`Error::Store`] if there are none within the time that the configuration allows.
    pub(crate) async fn reserve(&self, records: usize, resource: &str) -> Result<Places, Error> {
        // More than there are at all would never be free; those that come without a place are few.
        let wanted = u32::try_from(records.min(self.0.settings.queue_limit)).unwrap_or(u32::MAX);
        let held = match self.0.space.try_acquire_many(wanted) {
            Ok(permit) => {
                permit.forget();
                wanted
            }
            // See `send`: who waits may hold the connection that the writer needs.
            Err(_) if self.0.spool.is_some() => 0,
            Err(_) if self.wait_for(wanted).await => wanted,
            Err(_) => return Err(full(resource.to_owned())),
        };
        Ok(Places { writer: self.clone(), held: held as usize })
    }

    /// Takes a record from one who can't wait.
    pub(crate) fn send_now(&self, record: Record) {
        let counted = self.0.space.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok();
        self.push(record, counted);
        self.start();
    }

    /// Takes a record from one who can't wait, if there is a place for it; else it is lost, and counted.
    #[cfg(feature = "tracing-subscriber")]
    pub(crate) fn offer(&self, record: Record) {
        match self.0.space.try_acquire() {
            Ok(permit) => {
                permit.forget();
                self.push(record, true);
                self.start();
            }
            Err(_) => self.0.counters.lose(1),
        }
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
                let (ticket, writer) = (Uuid::now_v7(), self.clone());
                // Made where it is written: if nobody waits for it any more, it goes with the answer.
                let prepared =
                    blocking(move || spool.prepare(ticket, entries).map(|()| Prepared::new(writer, ticket)));
                prepared.await.map(|prepared| tickets.add(prepared))
            }
        }
        .map_err(|error| spool_error(&error))?;
        self.0.counters.spool(count);
        self.start();
        self.0.wake.notify_one();
        Ok(())
    }

    /// Spools a record that the database didn't take.
    ///
    /// # Errors
    /// [`Error::Spool`] if there is no spool, or it can't take it.
    pub(crate) async fn spool(&self, record: Record) -> Result<(), Error> {
        let Some(spool) = self.0.spool.clone() else {
            return Err(Error::Spool("there is none; set `spool_dir`".into()));
        };
        blocking(move || spool.append(&[record])).await.map_err(|error| spool_error(&error))?;
        self.0.counters.spool(1);
        self.start();
        self.0.wake.notify_one();
        Ok(())
    }

    /// Tells the spool how the transaction of these entries ended. Blocks for the time of a write to the disk.
    fn settle(&self, ticket: Uuid, how: fn(&Spool, Uuid)) {
        let Some(spool) = &self.0.spool else { return };
        how(spool, ticket);
        self.start();
        self.0.wake.notify_one();
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
    /// [`Error::Undelivered`] if some of it is still in memory: the database took nothing, and there is no spool.
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

    /// Waits until nothing is in queue and spool.
    pub(crate) async fn idle(&self) {
        loop {
            let mut done = std::pin::pin!(self.0.done.notified());
            // From here on it misses nothing.
            done.as_mut().enable();
            if !self.0.has_work() {
                return;
            }
            self.start();
            done.await;
        }
    }

    /// Writes what is in queue and spool.
    ///
    /// # Errors
    /// [`Error::Undelivered`] if the database doesn't take all of it. Nothing is lost by that.
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
        let work = tokio::spawn(async move { _ = work::quietly(shared.work(Effort::Now)).await });
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

/// Places in the queue for records that are still to come. What isn't used is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Places {
    writer: Writer,
    held: usize,
}

impl Places {
    /// Takes the records. It can't fail: what they are about is done.
    pub(crate) async fn fill(self, records: Vec<Record>) {
        let Some(spool) = self.writer.0.spool.clone().filter(|_| self.held == 0) else {
            return self.fill_now(records);
        };
        let (count, spooled) = (records.len(), records.clone());
        match blocking(move || spool.append(&spooled)).await {
            Ok(()) => {
                self.writer.0.counters.spool(count);
                self.writer.start();
                self.writer.0.wake.notify_one();
            }
            Err(error) => {
                tracing::error!(%error, "the spool takes no records; those of a statement that is done wait in memory");
                self.fill_now(records);
            }
        }
    }

    /// Takes the records of one who can't wait.
    pub(crate) fn fill_now(mut self, records: Vec<Record>) {
        for record in records {
            let counted = self.held > 0;
            self.held = self.held.saturating_sub(1);
            self.writer.push(record, counted);
        }
        self.writer.start();
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.writer.0.space.add_permits(self.held);
    }
}

/// Says of an entry that its change may have been rolled back.
fn mark_doubtful(record: Record) -> Record {
    match record {
        Record::Entry(mut entry) => {
            entry.status = Status::Warning;
            entry.add_metadata("commit", "unknown".into());
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

fn resource_of(record: &Record) -> String {
    match record {
        Record::Query(query) => query.what.resource_type.clone(),
        Record::Entry(entry) => entry.resource.kind.to_string(),
        other => other.table().to_owned(),
    }
}

fn full(resource: String) -> Error {
    Error::Store {
        action: "record".to_owned(),
        resource,
        reason: "the queue is full and the database doesn't take its records fast enough; a `spool_dir` would keep them".to_owned(),
        retryable: true,
    }
}

fn undelivered(records: usize, reason: &str) -> Error {
    Error::Undelivered { records, reason: reason.to_owned() }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("metrics", &self.metrics()).finish()
    }
}
