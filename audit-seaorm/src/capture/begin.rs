//! Transactions that begin, and work that runs to its end, also if whoever waits for it is dropped.

use std::future::Future;
use std::sync::Arc;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, TransactionOptions,
    TransactionTrait,
};

/// Begins a transaction, or a nested one.
///
/// The drivers don't notice when the future of a BEGIN is dropped: MySQL's would give a connection with an open transaction back to the pool,
/// and PostgreSQL's at times one that waits for an answer for ever. So that BEGIN gets a task of its own. SQLite's is safe.
pub(super) async fn begin<D>(
    db: &D,
    outers: Vec<Arc<DatabaseTransaction>>,
    options: TransactionOptions,
) -> Result<DatabaseTransaction, DbErr>
where
    D: Begin + Clone + Send + Sync + 'static,
{
    if db.backend() == DbBackend::Sqlite {
        return db.begin(options).await;
    }
    let db = db.clone();
    to_the_end(async move {
        let begun = db.begin(options).await;
        drop(db);
        drop(outers);
        begun
    })
    .await
}

/// What a transaction can be begun on.
pub(super) trait Begin {
    fn backend(&self) -> DbBackend;
    fn begin(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<DatabaseTransaction, DbErr>> + Send;
}

impl Begin for DatabaseConnection {
    fn backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(self)
    }

    fn begin(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<DatabaseTransaction, DbErr>> + Send {
        self.begin_with_options(options)
    }
}

impl Begin for Arc<DatabaseTransaction> {
    fn backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(&**self)
    }

    fn begin(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<DatabaseTransaction, DbErr>> + Send {
        self.begin_with_options(options)
    }
}

/// Runs a future to its end in a task of its own, also if the one that waits for it is dropped.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, DbErr>> + Send + 'static,
) -> Result<T, DbErr> {
    let task = crate::spawn(work).await;
    task.map_err(|error| DbErr::Custom(format!("the task of the write has failed: {error}")))?
}
