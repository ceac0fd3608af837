//! The context that follows the task.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use audit_core::AuditContext;
use tokio::task::JoinHandle;

use crate::Audit;
use crate::capture::pending::BeforeImages;

tokio::task_local! {
    static SCOPE: Scope;
}

/// What is in force in a task: who acts, under which audit, and whether capture rests.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Unique within the process: tells apart operations that run at the same time.
    pub(crate) id: u64,
    pub(crate) audit: Option<Audit>,
    pub(crate) context: Option<Arc<AuditContext>>,
    pub(crate) suspended: bool,
    /// Whether the context counts also over connections that are bound to another.
    settled: bool,
}

impl Scope {
    pub(crate) fn empty() -> Self {
        Self { id: 0, audit: None, context: None, suspended: false, settled: false }
    }

    pub(crate) fn current() -> Option<Self> {
        SCOPE.try_with(Clone::clone).ok()
    }

    /// Id of the current scope without cloning it.
    pub(crate) fn current_id() -> Option<u64> {
        SCOPE.try_with(|scope| scope.id).ok()
    }

    /// Whether capture rests in this task.
    pub(crate) fn is_suspended() -> bool {
        SCOPE.try_with(|scope| scope.suspended).unwrap_or(false)
    }

    /// Whether a function of ours has found out which context counts.
    pub(crate) fn is_settled() -> bool {
        SCOPE.try_with(|scope| scope.settled).unwrap_or(false)
    }

    /// Runs `future`, a function of ours, in the context that counts for it, whatever its connection is bound to.
    pub(crate) fn settled<F: Future>(context: AuditContext, future: F) -> impl Future<Output = F::Output> {
        let change = |scope: &mut Self| (scope.context, scope.settled) = (Some(Arc::new(context)), true);
        Self::enter(change, future)
    }

    pub(crate) fn audit() -> Option<Audit> {
        SCOPE.try_with(|scope| scope.audit.clone()).ok().flatten()
    }

    /// Runs `future` in a scope that differs by `change` from the one in which it is first polled: scopes nest as the
    /// futures do, whatever the order in which those were made.
    pub(crate) fn enter<F: Future>(
        change: impl FnOnce(&mut Self),
        future: F,
    ) -> impl Future<Output = F::Output> {
        // Boxed here: each async function that a future passes through holds it twice, and scopes nest.
        let future = Box::pin(future);
        async move {
            let mut scope = Self::current().unwrap_or_else(Self::empty);
            change(&mut scope);
            scope.run(future).await
        }
    }

    /// The same under an id of its own.
    fn renumbered(self) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), ..self }
    }

    /// Runs `future` in this scope, under a new id.
    pub(crate) async fn run<F: Future>(self, future: F) -> F::Output {
        let scope = self.renumbered();
        let end = End(scope.id);
        SCOPE
            .scope(scope, async move {
                let _end = end;
                future.await
            })
            .await
    }
}

/// The end of a scope, also by cancellation or panic.
struct End(u64);

impl Drop for End {
    fn drop(&mut self) {
        BeforeImages::of_process().end_scope(self.0);
    }
}

/// Runs `future` in this context: every entry made in it carries the context's actor, tenant and request.
///
/// Scopes nest. The inner one replaces the outer one's context as a whole, and when it ends, however it ends, the
/// outer one counts again; to keep parts of it, start from [`current`]. The context is bound to the future, not to a
/// thread: tasks that run at the same time don't see each other's. A task made by `tokio::spawn` starts without a
/// context; use [`spawn`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use audit_seaorm::{AuditContext, current, scope};
/// scope(AuditContext::user("ann").tenant("acme"), async {
///     assert_eq!(current().actor.id.as_deref(), Some("ann"));
///     scope(current().reason("correction"), async {
///         assert_eq!(current().tenant.as_deref(), Some("acme"));
///     }).await;
///     assert_eq!(current().reason, None);
/// }).await;
/// # }
/// ```
pub fn scope<F: Future>(context: AuditContext, future: F) -> impl Future<Output = F::Output> {
    Scope::enter(|scope| scope.context = Some(Arc::new(context)), future)
}

/// A copy of the context in force; of the system actor if there is none.
pub fn current() -> AuditContext {
    try_current().map_or_else(AuditContext::system, |context| AuditContext::clone(&context))
}

/// The context in force, if there is one.
pub fn try_current() -> Option<Arc<AuditContext>> {
    SCOPE.try_with(|scope| scope.context.clone()).ok().flatten()
}

/// `tokio::spawn` that carries the current context into the new task.
///
/// # Panics
/// Outside of a tokio runtime, as `tokio::spawn` does.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // Taken now: the new task has no scope of its own to start from.
    let scope = Scope::current().unwrap_or_else(Scope::empty);
    tokio::spawn(scope.run(Box::pin(future)))
}

/// `tokio::task::spawn_blocking` that carries the current context into the closure.
///
/// # Panics
/// Outside of a tokio runtime, as tokio's own function does.
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let scope = Scope::current().unwrap_or_else(Scope::empty).renumbered();
    tokio::task::spawn_blocking(move || {
        let _end = End(scope.id);
        SCOPE.sync_scope(scope, work)
    })
}

/// Runs `future` without capture, and **leaves no trace of it**: for data changes that are no business operations, such as seeding a
/// new database. It holds for everything that the future does, over an [`AuditConnection`](crate::AuditConnection) too; only the audit's
/// own tables can't be redefined over one even so.
///
/// Where it is to be known that something was done and why, there is [`without_audit`](crate::AuditConnection::without_audit). For
/// migrations of your own there is `audit_migration::suspended`, which takes their list.
pub fn suspended<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Scope::enter(|scope| scope.suspended = true, future)
}
