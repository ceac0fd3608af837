//! R2 to R5, R10: exports, violations, logins, system events, and what becomes of them.

mod events;
mod exports;
mod logins;
mod service;
mod stored;
mod violations;

use audit_seaorm::{Audit, AuditContext};
use audit_tests::TestDb;

/// Ann of the tenant acme, with everything that a context may say.
fn ann() -> AuditContext {
    AuditContext::user(7)
        .named("Ann")
        .email("ann@example.org")
        .tenant("acme")
        .ip("192.0.2.7")
        .user_agent("Firefox/128")
        .session_id("s-1")
        .request_id("r-1")
        .reason("month end")
        .with("department", "treasury")
}

fn of_globex() -> AuditContext {
    AuditContext::user(8).tenant("globex")
}

fn audit() -> Audit {
    Audit::builder().build().expect("an audit")
}

/// An audit with a connection of its own.
fn audit_of(t: &TestDb) -> Audit {
    Audit::builder().store(t.db.clone()).build().expect("an audit")
}
