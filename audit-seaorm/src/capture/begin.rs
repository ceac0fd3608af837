//! Transactions that begin and are rolled back, and work that runs to its end, also if whoever waits for it is dropped.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, TransactionOptions,
    TransactionTrait,
};
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

use crate::scope::Scope;

/// The right to use a transaction's connection, and that of all transactions around it and within it: held while a write and
/// its entries are under way.
pub(super) type Turn = OwnedMutexGuard<()>;

/// What who works in a transaction needs of those around it, let go in this order: whoever has the turn may end them.
#[expect(dead_code, reason = "to be held is all that they are for")]
pub(super) struct Share {
    /// If they were dropped while their connection is in use, they couldn't be rolled back (SeaORM panics), and the next statement
    /// would be outside of any transaction.
    pub(super) outers: Vec<Arc<DatabaseTransaction>>,
    pub(super) turn: Option<Turn>,
}

impl Share {
    /// Of a transaction with none around it.
    pub(super) fn none() -> Self {
        Self { outers: Vec::new(), turn: None }
    }
}

/// Begins a transaction, or a nested one.
///
/// The drivers don't notice when the future of a BEGIN is dropped: MySQL's would give a connection with an open transaction back to the pool,
/// and PostgreSQL's at times one that waits for an answer for ever; SQLite's would count a savepoint that nobody has, and the commit of the
/// transaction around it would release that and no more. So that BEGIN runs to its end.
pub(super) async fn begin<D>(
    db: &D,
    share: Share,
    options: TransactionOptions,
) -> Result<DatabaseTransaction, DbErr>
where
    D: Begin + Clone + Send + Sync + 'static,
{
    let db = db.clone();
    to_the_end(async move {
        let begun = db.begin(options).await;
        drop(db);
        // If nobody waits for it any more, what has begun is rolled back before the turn ends.
        begun.map(|begun| (begun, share))
    })
    .await
    .map(|(begun, _)| begun)
}

/// Rolls back a transaction that capture has begun for a write that failed. What failed first is what the caller has to know; a connection
/// that can't roll back is not reused.
pub(super) async fn roll_back(db: DatabaseTransaction) {
    if ConnectionTrait::get_database_backend(&db) == DbBackend::Sqlite {
        // A statement with OR ROLLBACK has ended SQLite's transaction, and not the driver's, whose rollback then fails: its
        // connection would stay in a transaction for ever. Within one that is still there, this does nothing.
        _ = db.execute_unprepared("BEGIN").await;
    }
    _ = db.rollback().await;
}

/// What a transaction can be begun on.
pub(super) trait Begin {
    fn begin(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<DatabaseTransaction, DbErr>> + Send;
}

impl Begin for DatabaseConnection {
    fn begin(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<DatabaseTransaction, DbErr>> + Send {
        self.begin_with_options(options)
    }
}

impl Begin for Arc<DatabaseTransaction> {
    fn begin(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<DatabaseTransaction, DbErr>> + Send {
        self.begin_with_options(options)
    }
}

/// Runs a future to its end, also if the one that waits for it is dropped: from then on in a task of its own. Until then it needs none,
/// which would have to be woken for each answer of the server.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, DbErr>> + Send + 'static,
) -> Result<T, DbErr> {
    let (scope, runtime) = (Scope::current(), Handle::try_current().ok());
    ToTheEnd { work: Some(Box::pin(work)), scope, runtime }.await
}

/// A future that isn't dropped before it has ended.
struct ToTheEnd<T: Send + 'static> {
    work: Option<BoxFuture<'static, Result<T, DbErr>>>,
    /// Taken when it was made: there may be none where it is dropped.
    scope: Option<Scope>,
    runtime: Option<Handle>,
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = Result<T, DbErr>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let failed = || Poll::Ready(Err(DbErr::Custom("the task of the write has failed".into())));
        let Some(work) = &mut self.work else { return failed() };
        // A panic of the driver's, by a value that it can't take, is an error of the write.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        if !matches!(polled, Ok(Poll::Pending)) {
            self.work = None;
        }
        polled.unwrap_or_else(|_| failed())
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        if let (Some(work), Some(runtime)) = (self.work.take(), &self.runtime) {
            let scope = self.scope.take().unwrap_or_else(Scope::empty);
            drop(runtime.spawn(scope.run(work)));
        }
    }
}
