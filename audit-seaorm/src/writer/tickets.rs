//! Entries in the spool that wait for the end of their transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::spool::Spool;
use super::{Writer, blocking};

/// The tickets of one transaction, or of one savepoint in it. Dropped without a word of its end, they are cancelled, because a
/// transaction that nobody commits is rolled back; unless the commit had begun: then nobody can tell.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    held: Mutex<Vec<(Writer, Uuid)>>,
    committing: AtomicBool,
}

/// Entries that were prepared in the spool. Dropped, because nobody waits for them any more, they are cancelled: whoever
/// wrote them can't commit.
#[derive(Debug)]
pub(super) struct Prepared(Option<(Writer, Uuid)>);

impl Prepared {
    pub(super) fn new(writer: Writer, ticket: Uuid) -> Self {
        Self(Some((writer, ticket)))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some((writer, ticket)) = self.0.take() {
            writer.cancel(ticket);
        }
    }
}

impl Tickets {
    pub(super) fn add(&self, mut prepared: Prepared) {
        self.lock().extend(prepared.0.take());
    }

    /// From here on the transaction may be committed.
    pub(crate) fn commit_begins(&self) {
        self.committing.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Writer, Uuid)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are, for [`cancel_from`](Self::cancel_from).
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn take_from(&self, first: usize) -> Vec<(Writer, Uuid)> {
        let mut held = self.lock();
        let first = first.min(held.len());
        held.split_off(first)
    }

    /// The savepoint was released: what becomes of its entries is for the transaction around it.
    pub(crate) fn pass_to(&self, outer: &Self) {
        let mut all = self.take_from(0);
        outer.lock().append(&mut all);
    }

    /// The transaction was committed.
    pub(crate) async fn confirm(&self) {
        self.settle(Spool::confirm).await;
    }

    /// Nobody knows whether the transaction was committed.
    pub(crate) async fn doubt(&self) {
        self.settle(Spool::doubt).await;
    }

    /// Tells the spool, all at once: who waits for it may go away.
    async fn settle(&self, how: fn(&Spool, Uuid)) {
        let all = self.take_from(0);
        if all.is_empty() {
            return;
        }
        let settled = blocking(move || {
            for (writer, ticket) in all {
                writer.settle(ticket, how);
            }
            Ok(())
        });
        if settled.await.is_err() {
            tracing::error!("the end of a transaction couldn't be noted in the spool");
        }
    }

    /// What came after the first so many was rolled back.
    pub(crate) fn cancel_from(&self, first: usize) {
        for (writer, ticket) in self.take_from(first) {
            writer.cancel(ticket);
        }
    }
}

impl Drop for Tickets {
    fn drop(&mut self) {
        if !*self.committing.get_mut() {
            return self.cancel_from(0);
        }
        for (writer, ticket) in self.take_from(0) {
            writer.settle(ticket, Spool::doubt);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use audit_core::{Config, Entry, Resource};
    use tokio::runtime::Runtime;

    use super::Tickets;
    use crate::writer::{Fate, Writer};

    fn writer(dir: &std::path::Path) -> Writer {
        let mut config = Config::default();
        config.spool_dir = Some(dir.to_owned());
        Writer::open(&config).unwrap()
    }

    fn entries() -> Vec<Entry> {
        vec![Entry::new(chrono::Utc::now(), "update", Resource::new("Shelf"))]
    }

    // It waited for the next start, which told it as of unknown outcome.
    #[test]
    fn c19_entries_of_a_dropped_future_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, tickets) = (writer(dir.path()), Tickets::default());
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let mut outbox = pin!(writer.outbox(entries(), Fate::Of(&tickets)));
            // They may be written at once; then there is nothing to be dropped.
            _ = outbox.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        // This waits for what was begun.
        drop(runtime);
        tickets.cancel_from(0);
        assert_eq!((writer.metrics().prepared, writer.metrics().spooled), (0, 0));
        drop((writer, tickets));
        assert_eq!(self::writer(dir.path()).metrics().spooled, 0, "nor is it there at the next start");
    }

    // It was forgotten, though the transaction may have been committed.
    #[test]
    fn c19_a_commit_that_nobody_waits_for_any_more_is_in_doubt() {
        let dir = tempfile::tempdir().unwrap();
        let writer = writer(dir.path());
        let runtime = Runtime::new().unwrap();
        for (begun, expected) in [(false, 0), (true, 1)] {
            let tickets = Tickets::default();
            runtime.block_on(writer.outbox(entries(), Fate::Of(&tickets))).unwrap();
            assert_eq!(writer.metrics().prepared, 1);
            if begun {
                tickets.commit_begins();
            }
            drop(tickets);
            assert_eq!((writer.metrics().prepared, writer.metrics().spooled), (0, expected));
        }
    }
}
