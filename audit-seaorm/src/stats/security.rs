//! What counts as a security event.

use audit_core::{Severity, Status, action, module};
use sea_orm::{ColumnTrait, Condition};

use crate::entity::audit_log::Column;

const SEVERE: [Severity; 2] = [Severity::High, Severity::Critical];

/// Severity high or critical; an operation that was denied; a failed login, or another failure in the module `authentication`.
pub(super) fn is_security_event(action: &str, module: Option<&str>, status: &str, severity: &str) -> bool {
    let unauthenticated = action == action::LOGIN || module == Some(module::AUTHENTICATION);
    SEVERE.iter().any(|severe| severe.as_str() == severity)
        || action == action::DENIED
        || (status == Status::Failed.as_str() && unauthenticated)
}

/// [`is_security_event`] for the database.
pub(crate) fn security_condition() -> Condition {
    let unauthenticated =
        Condition::any().add(Column::Action.eq(action::LOGIN)).add(Column::Module.eq(module::AUTHENTICATION));
    Condition::any()
        .add(Column::Severity.is_in(SEVERE.map(Severity::as_str)))
        .add(Column::Action.eq(action::DENIED))
        .add(Condition::all().add(Column::Status.eq(Status::Failed.as_str())).add(unauthenticated))
}
