//! What `AuditConnection` captures.

mod bulk;
mod cascades;
mod cost;
mod differential;
mod fire;
mod hostile;
mod killed;
mod load;
mod peers;
mod raw;
mod transparent;

use audit_seaorm::{Audit, AuditConnection, AuditContext};
use audit_tests::TestDb;

/// A connection of Ann's, who works for acme, that audits everything.
fn connect(t: &TestDb) -> AuditConnection {
    let audit = Audit::builder().build().expect("an audit");
    audit.connect(t.db.clone()).with_context(AuditContext::user(7).named("Ann").tenant("acme"))
}
