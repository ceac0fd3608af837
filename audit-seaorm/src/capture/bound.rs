//! What an audited connection is bound to: its audit, its context, and the id of its transaction.
//!
//! Functions over any connection know it as a [`ConnectionTrait`], behind references and wrappers of the application's. One
//! of that trait's questions is answered at once and changes nothing, `is_mock_connection`: when it is put from here, audited
//! connections also leave on the thread what they are bound to. A wrapper has to pass it on.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

use audit_core::AuditContext;
use futures_util::future::Either;
use sea_orm::ConnectionTrait;

use crate::Audit;
use crate::scope::{Scope, try_current};

thread_local! {
    /// The answer, while somebody asks.
    static ANSWER: RefCell<Option<Bound>> = const { RefCell::new(None) };
}

/// What a connection is bound to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bound {
    /// What counts instead of the installed one.
    audit: Option<Audit>,
    /// What counts instead of the task's.
    pub(crate) context: Option<Arc<AuditContext>>,
    /// What entries of the transaction carry, unless the context names another.
    pub(crate) transaction: Option<Arc<str>>,
}

impl Bound {
    /// Asks a connection.
    pub(crate) fn of<C: ConnectionTrait>(db: &C) -> Self {
        ANSWER.set(Some(Self::default()));
        _ = db.is_mock_connection();
        ANSWER.take().unwrap_or_default()
    }

    /// Answers, if it is this that is asked.
    pub(super) fn tell(audit: &Audit, context: Option<&Arc<AuditContext>>, transaction: Option<&Arc<str>>) {
        ANSWER.with_borrow_mut(|answer| {
            if let Some(answer) = answer {
                *answer = Self {
                    audit: Some(audit.clone()),
                    context: context.cloned(),
                    transaction: transaction.cloned(),
                };
            }
        });
    }

    /// The context to record in, if it isn't that of the task; an actor isn't made up where one is demanded.
    pub(crate) fn context_of(self, audit: &Audit) -> Option<AuditContext> {
        let Self { context, transaction, .. } = self;
        let Some(transaction) = transaction else { return context.as_deref().cloned() };
        let may_be_none = !audit.config().require_actor;
        let context = context.or_else(try_current).as_deref().cloned();
        let mut context = context.or_else(|| may_be_none.then(AuditContext::system))?;
        context.transaction_id.get_or_insert_with(|| transaction.to_string());
        Some(context)
    }
}

/// The context in force over this connection.
pub(crate) fn context_over<C: ConnectionTrait>(db: &C) -> Option<Arc<AuditContext>> {
    if Scope::is_settled() {
        return try_current();
    }
    Bound::of(db).context.or_else(try_current)
}

/// The audit in force over this connection.
pub(crate) fn audit_over<C: ConnectionTrait>(db: &C) -> Audit {
    Scope::audit().or_else(|| Bound::of(db).audit).unwrap_or_else(Audit::current)
}

/// Runs what a function does for the audit and in the context in force over its connection, unless one of ours around it has seen to
/// that.
pub(crate) async fn within<C: ConnectionTrait, F: Future>(db: &C, future: F) -> F::Output {
    if Scope::is_settled() {
        return future.await;
    }
    let bound = Bound::of(db);
    let own = bound.audit.clone().filter(|_| Scope::audit().is_none());
    let audit = own.clone().unwrap_or_else(Audit::current);
    // In the heap: each layer around it would hold it once more.
    let future = Box::pin(future);
    let future = match bound.context_of(&audit) {
        Some(context) => Either::Left(Scope::settled(context, future)),
        None => Either::Right(future),
    };
    match own {
        Some(own) => own.within(future).await,
        None => future.await,
    }
}
