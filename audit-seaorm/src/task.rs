//! Background work that acts for somebody.

use std::future::Future;

use audit_core::{AuditContext, Error};
use sea_orm::{ConnectionTrait, DbErr};
use tokio::task::JoinHandle;

use crate::log::{Operation, log_failure};
use crate::scope::{current, scope, spawn};
use crate::store::to_db_err;

/// A background job under audit: it carries the actor and tenant of whoever started it, and each run is recorded.
///
/// ```no_run
/// # async fn example(db: sea_orm::DatabaseConnection) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use audit_seaorm::AuditTask;
/// let task = AuditTask::new("invoice-reminder").resource_type("Invoice");
/// task.run(&db, async {
///     // Every entry made in here names the actor who started the job, and the job.
///     Ok::<_, sea_orm::DbErr>(())
/// }).await?;
/// # Ok(()) }
/// ```
///
/// To carry it to another process, put [`context`](Self::context)`()` into the job's payload (it is serde-able) and
/// start there from [`with_context`](Self::with_context).
#[derive(Clone, Debug)]
pub struct AuditTask {
    name: String,
    resource_type: String,
    context: AuditContext,
}

impl AuditTask {
    /// A job with this name, started by whoever acts now; by the service of that name if nobody does.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let context = if crate::try_current().is_some() { current() } else { AuditContext::service(&name) };
        Self::with_context(name, context)
    }

    /// A job with this name in a context that was carried here.
    pub fn with_context(name: impl Into<String>, context: AuditContext) -> Self {
        let name = name.into();
        Self { context: context.with("task", name.clone()), resource_type: "task".to_owned(), name }
    }

    /// Sets the type of the resources that the job is about; `"task"` if nothing is said.
    #[must_use]
    pub fn resource_type(mut self, resource_type: impl Into<String>) -> Self {
        self.resource_type = resource_type.into();
        self
    }

    /// The context in which the job runs.
    pub fn context(&self) -> &AuditContext {
        &self.context
    }

    /// Runs the job in its context and records how it ended, as the action `run`. The job's result is passed on.
    ///
    /// # Errors
    /// The job's own; or, if it succeeded and that couldn't be recorded, the audit's.
    pub async fn run<C, F, T, E>(&self, db: &C, job: F) -> Result<T, E>
    where
        C: ConnectionTrait,
        F: Future<Output = Result<T, E>>,
        E: std::fmt::Display + From<DbErr>,
    {
        scope(self.context.clone(), async {
            let outcome = job.await;
            let operation = Operation::new("run", self.resource_type.clone()).id(&self.name).name(&self.name);
            match &outcome {
                Ok(_) => operation.log(db).await.map_err(|error| to_db_err(&error))?,
                Err(error) => {
                    if let Err(error) = log_failure(db, operation, error).await {
                        tracing::error!(%error, task = %self.name, "a failed job could not be recorded");
                    }
                }
            }
            outcome
        })
        .await
    }

    /// Runs a future in the job's context, in a task of its own, without recording the run as such.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn<F>(&self, job: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn(scope(self.context.clone(), job))
    }

    /// Records an action of the job on a resource.
    ///
    /// # Errors
    /// As [`Operation::log`].
    pub async fn log_action<C: ConnectionTrait>(
        &self,
        db: &C,
        action: impl Into<std::borrow::Cow<'static, str>>,
        resource_id: impl ToString,
    ) -> Result<(), Error> {
        let operation = Operation::new(action, self.resource_type.clone()).id(resource_id);
        scope(self.context.clone(), operation.log(db)).await
    }
}
