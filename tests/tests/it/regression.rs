//! Faults that were found, each under its own name.

use audit_seaorm::{AuditContext, Operation, scope, testing};
use sea_orm::DatabaseConnection;

/// The inner scope was taken from where the future was made, not from where it ran: it lost what lay between.
#[tokio::test]
async fn a_scope_made_outside_of_another_nests_in_it() {
    let db = DatabaseConnection::default();
    let inner = scope(AuditContext::user("ann"), Operation::new("x", "y").log(&db));
    let (outcome, entries) = testing::capture(inner).await;
    outcome.unwrap();
    entries.only().assert_actor("ann");
}
