//! What `AuditConnection` captures.

mod alike;
mod builders;
mod bulk;
mod by_triggers;
mod cascades;
mod cascading;
mod chosen;
pub(crate) mod contention;
mod cost;
mod defined;
mod differential;
mod fire;
mod hostile;
mod interrupted;
mod joins;
mod killed;
mod literals;
mod load;
mod lost;
mod modes;
mod moved;
mod mutated;
mod names;
mod odd_mysql;
mod partitions;
mod peers;
mod raw;
mod reached;
pub(crate) mod refusing;
pub(crate) mod sessions;
mod transparent;
mod twice;
mod unplanned;
mod workers;

use audit_seaorm::{Audit, AuditConnection, AuditContext};
use audit_tests::TestDb;

/// A connection of Ann's, who works for acme, that audits everything.
pub(crate) fn connect(t: &TestDb) -> AuditConnection {
    let audit = Audit::builder().build().expect("an audit");
    audit.connect(t.db.clone()).with_context(AuditContext::user(7).named("Ann").tenant("acme"))
}
