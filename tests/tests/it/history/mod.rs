//! Q6: rows as they were.

mod bad;
mod keys;
mod moments;
mod roundtrip;
mod unknown;
mod versions;

use audit_seaorm::entity::audit_log;
use audit_tests::TestDb;
use chrono::{DateTime, TimeDelta, Utc};

use crate::fixtures::entries;

/// The moments of all entries. The clock may give two of them the same: tests that ask by time wait for it to go on.
pub(super) async fn moments(t: &TestDb) -> Vec<DateTime<Utc>> {
    entries(t).await.iter().map(|entry: &audit_log::Model| entry.timestamp).collect()
}

/// A clock that goes on by a second each time it is asked.
#[derive(Debug)]
pub(super) struct Steps(std::sync::atomic::AtomicI64);

impl Steps {
    pub(super) fn new() -> Self {
        Self(0.into())
    }
}

impl audit_seaorm::Clock for Steps {
    fn now(&self) -> DateTime<Utc> {
        at(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1)
    }
}

/// The moment of the entry with this number under [`Steps`], from 1 on.
pub(super) fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(second)
}
