//! Everything that is logged by hand, in one place.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use audit_core::{
    Actor, AuditContext, Error, Export, LoginAttempt, Query, SystemEvent, Violation, ViolationStatus,
};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{ApiAccess, Operation};
use crate::capture::bound::Bound;
use crate::entity::audit_status;
use crate::scope::Scope;
use crate::{Audit, AuditConnection, AuditTransaction};

/// Logs by hand over one connection.
///
/// Each method does what the function of its name does, under this service's audit and, if it has one, in its context.
///
/// ```no_run
/// use audit_seaorm::{Audit, Export, Operation, Severity, Violation};
/// # async fn run(audit: Audit, db: sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
/// let service = audit.service(&db);
/// service.log_operation(Operation::new("approve", "Order").id(7)).await?;
/// service.log_export(Export::new("csv", "BankAccount").record_count(10).file("/tmp/export.csv", 1024)).await?;
/// service.log_violation(Violation::new("unauthorized_access", "access denied").severity(Severity::High)).await?;
/// # Ok(()) }
/// ```
pub struct AuditService<'a, C> {
    audit: Audit,
    /// The context, if it isn't the task's, and the id that is carried by what is logged within an audited transaction.
    bound: Bound,
    db: &'a C,
}

impl Audit {
    /// Logs by hand over this connection, in the context that it is [bound](AuditConnection::with_context) to or that in force.
    pub fn service<'a, C: ConnectionTrait>(&self, db: &'a C) -> AuditService<'a, C> {
        AuditService { audit: self.clone(), bound: Bound::of(db), db }
    }
}

impl AuditConnection {
    /// Logs by hand over this connection, under its audit and in its context.
    pub fn service(&self) -> AuditService<'_, Self> {
        self.audit().service(self)
    }
}

impl AuditTransaction {
    /// Logs by hand within this transaction, under its audit and in its context. What is logged carries its
    /// [id](Self::transaction_id), as the entries of its changes do.
    pub fn service(&self) -> AuditService<'_, Self> {
        self.audit().service(self)
    }
}

impl<C: ConnectionTrait> AuditService<'_, C> {
    /// The same in this context instead of that in force.
    #[must_use]
    pub fn with_context(mut self, context: AuditContext) -> Self {
        self.bound.context = Some(Arc::new(context));
        self
    }

    async fn within<F: Future>(&self, future: F) -> F::Output {
        match self.bound.clone().context_of(&self.audit) {
            Some(context) => self.audit.within(Scope::settled(context, future)).await,
            None => self.audit.within(future).await,
        }
    }

    /// Records an operation.
    ///
    /// # Errors
    /// As [`Operation::log`].
    pub async fn log_operation(&self, operation: Operation) -> Result<(), Error> {
        self.within(operation.log(self.db)).await
    }

    /// Records an operation of another actor than the context's.
    ///
    /// # Errors
    /// As [`Operation::log`].
    pub async fn log_manually(&self, actor: Actor, operation: Operation) -> Result<(), Error> {
        self.within(super::log_manually(self.db, actor, operation)).await
    }

    /// Records a failed operation so that it survives a rollback.
    ///
    /// # Errors
    /// As [`log_failure`](super::log_failure).
    pub async fn log_failure(&self, operation: Operation, error: impl ToString) -> Result<(), Error> {
        self.within(super::log_failure(self.db, operation, error)).await
    }

    /// Records a read.
    ///
    /// # Errors
    /// As [`log_query`](super::log_query).
    pub async fn log_query(&self, query: Query) -> Result<(), Error> {
        self.within(super::log_query(self.db, query)).await
    }

    /// Records an export, and says under which id.
    ///
    /// # Errors
    /// As [`log_export`](super::log_export).
    pub async fn log_export(&self, export: Export) -> Result<Option<Uuid>, Error> {
        self.within(super::log_export(self.db, export)).await
    }

    /// Records that the file of an export was fetched.
    ///
    /// # Errors
    /// As [`log_download`](super::log_download).
    pub async fn log_download(&self, export: Uuid) -> Result<(), Error> {
        self.within(super::log_download(self.db, export)).await
    }

    /// Records a violation, and says under which id.
    ///
    /// # Errors
    /// As [`log_violation`](super::log_violation).
    pub async fn log_violation(&self, violation: Violation) -> Result<Option<Uuid>, Error> {
        self.within(super::log_violation(self.db, violation)).await
    }

    /// Records an attempt to log in, and says under which id.
    ///
    /// # Errors
    /// As [`log_login`](super::log_login).
    pub async fn log_login(&self, attempt: LoginAttempt) -> Result<Option<Uuid>, Error> {
        self.within(super::log_login(self.db, attempt)).await
    }

    /// Records that the context's actor logged out.
    ///
    /// # Errors
    /// As [`Operation::log`].
    pub async fn log_logout(&self) -> Result<(), Error> {
        self.within(super::log_logout(self.db)).await
    }

    /// Records a system event, and says under which id.
    ///
    /// # Errors
    /// As [`log_system_event`](super::log_system_event).
    pub async fn log_system_event(&self, event: SystemEvent) -> Result<Option<Uuid>, Error> {
        self.within(super::log_system_event(self.db, event)).await
    }

    /// Records a request to the application's interface.
    ///
    /// # Errors
    /// As [`log_api_access`](super::log_api_access).
    pub async fn log_api_access(&self, access: ApiAccess) -> Result<(), Error> {
        self.within(super::log_api_access(self.db, access)).await
    }

    /// Takes a step in the handling of a violation or system event.
    ///
    /// # Errors
    /// As [`set_status`](super::set_status).
    pub async fn set_status(
        &self,
        record: Uuid,
        to: ViolationStatus,
        notes: Option<&str>,
    ) -> Result<(), Error> {
        self.within(super::set_status(self.db, record, to, notes)).await
    }

    /// Where the handling of a violation or system event stands.
    ///
    /// # Errors
    /// As [`status_of`](super::status_of).
    pub async fn status_of(&self, record: Uuid) -> Result<audit_status::Model, Error> {
        self.within(super::status_of(self.db, record)).await
    }

    /// Resolves a violation, with what was found out.
    ///
    /// # Errors
    /// As [`resolve_violation`](super::resolve_violation).
    pub async fn resolve_violation(&self, violation: Uuid, notes: &str) -> Result<(), Error> {
        self.within(super::resolve_violation(self.db, violation, notes)).await
    }

    /// Resolves a system event, with what was done about it.
    ///
    /// # Errors
    /// As [`resolve_system_event`](super::resolve_system_event).
    pub async fn resolve_system_event(&self, event: Uuid, notes: &str) -> Result<(), Error> {
        self.within(super::resolve_system_event(self.db, event, notes)).await
    }
}

impl<C> fmt::Debug for AuditService<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditService").field("bound", &self.bound).finish_non_exhaustive()
    }
}
