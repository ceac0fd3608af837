//! Where entries can go besides the audit tables.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Entry, Error, QueryEntry, Record};

/// A destination for entries.
///
/// Contract: when `record` returns `Ok`, the entries are as durable as this sink makes anything, and all of them are
/// in; on an error none of them counts as recorded, and the operation that they belong to fails under the default
/// policy. Calls may come from many tasks at once. A sink may see an entry twice if a caller retries: the entry's id
/// tells.
#[async_trait::async_trait]
pub trait Sink: Debug + Send + Sync {
    /// Takes the entries of one operation, in their order.
    async fn record(&self, entries: &[Entry]) -> Result<(), Error>;

    /// Takes records of the other families: reads, exports, violations, logins, system events, transitions. The contract is
    /// the same.
    async fn record_others(&self, records: &[Record]) -> Result<(), Error>;
}

/// Keeps entries and other records in memory, in the order of their arrival. For tests and tools.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    entries: Arc<Mutex<Vec<Entry>>>,
    others: Arc<Mutex<Vec<Record>>>,
}

impl MemorySink {
    /// An empty sink. Clones share their entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of what has been recorded so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Takes what has been recorded so far, leaving the sink empty.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.lock())
    }

    /// A copy of the records of reads so far.
    pub fn queries(&self) -> Vec<QueryEntry> {
        self.others().iter().filter_map(Record::as_query).cloned().collect()
    }

    /// A copy of the records of all families but entries so far.
    pub fn others(&self) -> Vec<Record> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of entries recorded so far.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no entry has been recorded.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        // A panic elsewhere while the lock was held can't have left the vector half written.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Sink for MemorySink {
    async fn record(&self, entries: &[Entry]) -> Result<(), Error> {
        self.lock().extend_from_slice(entries);
        Ok(())
    }

    async fn record_others(&self, records: &[Record]) -> Result<(), Error> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(records);
        Ok(())
    }
}
