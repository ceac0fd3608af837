//! What became of entries, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of an [`Audit`](crate::Audit), since it was built.
///
/// ```
/// # fn main() -> Result<(), audit_seaorm::Error> {
/// let audit = audit_seaorm::Audit::builder().build()?;
/// assert_eq!(audit.metrics().lost, 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Entries that could not be written, and nothing failed for it: under
    /// [`FailurePolicy::BestEffort`](crate::FailurePolicy::BestEffort), and of operations that had failed already. Those of
    /// transactions that were rolled back afterwards count as well.
    pub lost: u64,
}

/// Where the numbers are kept.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    lost: AtomicU64,
}

impl Counters {
    pub(crate) fn lose(&self, entries: usize) {
        self.lost.fetch_add(entries as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Metrics {
        Metrics { lost: self.lost.load(Ordering::Relaxed) }
    }
}
