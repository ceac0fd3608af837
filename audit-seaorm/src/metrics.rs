//! What became of entries and records, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Numbers of an [`Audit`](crate::Audit): what waits to be written apart from a transaction, and what became of the rest
/// since it was built.
///
/// ```
/// # fn main() -> Result<(), audit_seaorm::Error> {
/// let audit = audit_seaorm::Audit::builder().build()?;
/// assert_eq!(audit.metrics().lost, 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Records that wait in memory.
    pub queued: usize,
    /// How long the oldest of them has waited.
    pub oldest_queued: Option<Duration>,
    /// Records that wait in the spool.
    pub spooled: usize,
    /// Entries in the spool whose transactions haven't ended.
    pub prepared: usize,
    /// Size of the spool's files, in bytes.
    pub spool_bytes: u64,
    /// Age of the oldest record in the spool.
    pub oldest_spooled: Option<Duration>,
    /// Since when the database has taken nothing.
    pub failing_for: Option<Duration>,
    /// Why it takes nothing; never contains a value.
    pub reason: Option<&'static str>,
    /// Records written to their tables since the start.
    pub delivered: u64,
    /// Records that went to the spool since the start.
    pub spooled_total: u64,
    /// Records that the database will never take; they are in `rejected.jsonl` of the spool, or lost if there is none.
    pub rejected: u64,
    /// Entries and records that could not be written, and nothing failed for it: under
    /// [`FailurePolicy::BestEffort`](crate::FailurePolicy::BestEffort), and of operations that had failed already. Those of
    /// transactions that were rolled back afterwards count as well.
    pub lost: u64,
}

/// Where the numbers are kept.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    delivered: AtomicU64,
    spooled: AtomicU64,
    rejected: AtomicU64,
    lost: AtomicU64,
}

impl Counters {
    pub(crate) fn deliver(&self, records: usize) {
        self.delivered.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn spool(&self, records: usize) {
        self.spooled.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn reject(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lose(&self, records: usize) {
        self.lost.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            delivered: read(&self.delivered),
            spooled_total: read(&self.spooled),
            rejected: read(&self.rejected),
            lost: read(&self.lost),
            ..Metrics::default()
        }
    }
}
