//! Where the time of an entry comes from.

use std::fmt::Debug;

use chrono::{DateTime, SubsecRound, Utc};

/// A source of the current time.
///
/// Contract: cheap, callable from any thread. It need not be monotonic: entries of one row are ordered by the
/// database, not by the clock.
pub trait Clock: Debug + Send + Sync {
    /// The current time. The record keeps microseconds.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}

/// A clock that stands where it was put, for tests.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub DateTime<Utc>);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.trunc_subsecs(6)
    }
}
