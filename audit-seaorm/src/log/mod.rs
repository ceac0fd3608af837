//! Logging by hand: operations, reads, exports, violations, logins and events that no statement shows.

mod access;
mod handling;
mod operation;
pub(crate) mod records;
mod service;

use std::borrow::Cow;

use audit_core::{Error, Resource, Severity, Status};
use sea_orm::ConnectionTrait;

use crate::capture::bound::{audit_over, within};
use crate::scope::Scope;
use crate::store::is_transaction;

pub use access::{ApiAccess, log_api_access};
pub use handling::{resolve_system_event, resolve_violation, set_status, status_of};
pub use operation::Operation;
pub use records::{
    log_download, log_export, log_login, log_logout, log_query, log_system_event, log_violation,
};
pub use service::AuditService;

/// Records an operation, described as a whole: `log_operation(db, Operation::new("transfer", "BankTransfer").id(7))`.
///
/// # Errors
/// As [`Operation::log`].
pub async fn log_operation<C: ConnectionTrait>(db: &C, operation: Operation) -> Result<(), Error> {
    operation.log(db).await
}

/// Records an action on a resource, with whatever else is to be kept as metadata.
///
/// # Errors
/// As [`Operation::log`].
pub async fn log_action<C: ConnectionTrait>(
    db: &C,
    action: impl Into<Cow<'static, str>>,
    resource: Resource,
    extra_data: serde_json::Map<String, serde_json::Value>,
) -> Result<(), Error> {
    let mut operation = Operation::new(action, "");
    operation.resource = resource;
    operation.metadata = extra_data;
    operation.log(db).await
}

/// Records an action of another actor than the context's, such as the user on whose behalf a job runs. The rest of the
/// context stays.
///
/// # Errors
/// As [`Operation::log`].
pub async fn log_manually<C: ConnectionTrait>(
    db: &C,
    actor: audit_core::Actor,
    operation: Operation,
) -> Result<(), Error> {
    within(db, async { Scope::settled(crate::current().actor(actor), operation.log(db)).await }).await
}

/// Records an event of the application: an action, what it was aimed at, and how it ended.
///
/// # Errors
/// As [`Operation::log`].
pub async fn log_audit_event<C: ConnectionTrait>(
    db: &C,
    action: impl Into<Cow<'static, str>>,
    target: impl ToString,
    module: impl Into<String>,
    status: Status,
    severity: Severity,
    details: impl Into<String>,
) -> Result<(), Error> {
    let module = module.into();
    Operation::new(action, module.clone())
        .id(target)
        .module(module)
        .status(status)
        .severity(severity)
        .details(details)
        .log(db)
        .await
}

/// Records a failed operation so that it survives the rollback of the transaction in which it failed.
///
/// Call it when that transaction has ended: while it is open, a write from outside may have to wait for it (on SQLite, or
/// with a pool of one connection). With [`AuditBuilder::store`](crate::AuditBuilder::store) the entry goes over the audit's
/// own connection, and `db` may also be the transaction: the entry is then written as soon as that is possible.
///
/// # Errors
/// As [`Operation::log`]; [`Error::Store`] if `db` is a transaction and the audit has no connection of its own: the entry
/// would be lost with it.
pub async fn log_failure<C: ConnectionTrait>(
    db: &C,
    operation: Operation,
    error: impl ToString,
) -> Result<(), Error> {
    let audit = audit_over(db);
    if is_transaction::<C>()
        && audit.own_store().is_none()
        && audit.sink().is_none()
        && audit.config().log_failures
    {
        return Err(Error::Store {
            action: operation.action.into_owned(),
            resource: operation.resource.kind.into_owned(),
            reason: "it would be lost with the failing transaction; log it after the rollback, or give the audit a connection of its own by `AuditBuilder::store`".to_owned(),
            retryable: false,
        });
    }
    crate::audited_fn::record(operation, Some(db), Some(error.to_string())).await
}
