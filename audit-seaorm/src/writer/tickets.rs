//! Entries in the spool that wait for the end of their transaction.

use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::Writer;

/// The tickets of one transaction, or of one savepoint in it. Dropped without a word of its end, they are cancelled: a
/// transaction that nobody commits is rolled back.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<Vec<(Writer, Uuid)>>);

impl Tickets {
    pub(super) fn add(&self, writer: Writer, ticket: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((writer, ticket));
    }

    /// How many there are, for [`cancel_from`](Self::cancel_from).
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take_from(&self, first: usize) -> Vec<(Writer, Uuid)> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = first.min(held.len());
        held.split_off(first)
    }

    /// The savepoint was released: what becomes of its entries is for the transaction around it.
    pub(crate) fn pass_to(&self, outer: &Self) {
        let mut all = self.take_from(0);
        outer.0.lock().unwrap_or_else(PoisonError::into_inner).append(&mut all);
    }

    /// The transaction was committed.
    pub(crate) async fn confirm(&self) {
        for (writer, ticket) in self.take_from(0) {
            writer.confirm(ticket).await;
        }
    }

    /// Nobody knows whether the transaction was committed.
    pub(crate) async fn doubt(&self) {
        for (writer, ticket) in self.take_from(0) {
            writer.doubt(ticket).await;
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
        self.cancel_from(0);
    }
}
