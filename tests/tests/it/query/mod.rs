//! Q1, Q2, I7: questions to the log.

mod filter;
mod neighbours;
mod page;
mod plans;
mod records;
mod tenant;
mod trail;

use audit_seaorm::entity::audit_log;
use audit_seaorm::{Entry, Resource};
use chrono::{DateTime, TimeZone, Utc};
use sea_orm::{ConnectionTrait, EntityTrait, Select};

use audit_tests::TestDb;

/// Noon of a day, so many seconds later.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    Utc.timestamp_opt(1_767_268_800 + seconds, 0).unwrap()
}

/// An entry about a thing with this id.
pub(crate) fn entry(id: impl ToString) -> Entry {
    Entry::new(at(0), "update", Resource::new("Thing").id(id))
}

/// Writes entries as they are.
pub(crate) async fn write<C: ConnectionTrait>(db: &C, entries: &[Entry]) {
    let mut rest = entries;
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(rest.len().min(500));
        let rows = batch.iter().map(audit_log::ActiveModel::from);
        audit_log::Entity::insert_many(rows).exec_without_returning(db).await.expect("the entries");
        rest = others;
    }
}

/// The resources' ids, oldest first.
async fn ids(t: &TestDb, select: Select<audit_log::Entity>) -> Vec<String> {
    let mut rows = select.all(&t.db).await.expect("the entries");
    rows.reverse();
    rows.into_iter().map(|row| row.resource_id.unwrap_or_default()).collect()
}
