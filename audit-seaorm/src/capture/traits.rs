//! What SeaORM's traits have in common for all that statements go over.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use sea_orm::{DbErr, TransactionError, TransactionSession};

/// `ConnectionTrait` for what has an `inner` of this type, and `run` for each statement.
macro_rules! sends {
    ($connection:ty, $inner:ty) => {
        impl $connection {
            /// Which database it is: as SeaORM's own has it, so that nobody has to say which of the traits is meant.
            pub fn get_database_backend(&self) -> DbBackend {
                <$inner as ConnectionTrait>::get_database_backend(&self.inner)
            }
        }

        #[async_trait::async_trait]
        impl ConnectionTrait for $connection {
            fn get_database_backend(&self) -> DbBackend {
                self.get_database_backend()
            }

            async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
                self.run(Request::Prepared(statement), Ask::Execute).await?.executed()
            }

            async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
                self.run(Request::Unprepared(sql.into()), Ask::Execute).await?.executed()
            }

            async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
                Ok(self.run(Request::Prepared(statement), Ask::One).await?.first())
            }

            async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
                Ok(self.run(Request::Prepared(statement), Ask::All).await?.rows())
            }

            fn support_returning(&self) -> bool {
                self.inner.support_returning()
            }

            fn is_mock_connection(&self) -> bool {
                self.tell_bound();
                self.inner.is_mock_connection()
            }
        }
    };
}

/// `TransactionTrait` for what has `start`, which begins a transaction of this type; and what SeaORM's own connections have beside it.
macro_rules! begins {
    ($connection:ty, $transaction:ty) => {
        impl $connection {
            /// Runs an async closure in a transaction, commits if it returns `Ok`, and else rolls back.
            ///
            /// # Errors
            /// As [`transaction`](sea_orm::TransactionTrait::transaction).
            pub async fn transaction_async<F, T, E>(
                &self,
                callback: F,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> AsyncFnOnce(&'c $transaction) -> Result<T, E> + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                let begun = sea_orm::TransactionTrait::begin(self).await;
                $crate::capture::traits::run_async(begun, callback).await
            }

            /// [`transaction_async`](Self::transaction_async) with an isolation level and an access mode.
            ///
            /// # Errors
            /// As there.
            pub async fn transaction_with_config_async<F, T, E>(
                &self,
                callback: F,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> AsyncFnOnce(&'c $transaction) -> Result<T, E> + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                let begun =
                    sea_orm::TransactionTrait::begin_with_config(self, isolation_level, access_mode).await;
                $crate::capture::traits::run_async(begun, callback).await
            }
        }

        #[async_trait::async_trait]
        impl sea_orm::TransactionTrait for $connection {
            type Transaction = $transaction;

            async fn begin(&self) -> Result<$transaction, sea_orm::DbErr> {
                self.start(sea_orm::TransactionOptions::default()).await
            }

            async fn begin_with_config(
                &self,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> Result<$transaction, sea_orm::DbErr> {
                let sqlite_transaction_mode = None;
                self.start(sea_orm::TransactionOptions {
                    isolation_level,
                    access_mode,
                    sqlite_transaction_mode,
                })
                .await
            }

            async fn begin_with_options(
                &self,
                options: sea_orm::TransactionOptions,
            ) -> Result<$transaction, sea_orm::DbErr> {
                self.start(options).await
            }

            async fn transaction<F, T, E>(&self, callback: F) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> FnOnce(
                        &'c $transaction,
                    )
                        -> std::pin::Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
                    + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                $crate::capture::traits::run(self.begin().await, callback).await
            }

            async fn transaction_with_config<F, T, E>(
                &self,
                callback: F,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> FnOnce(
                        &'c $transaction,
                    )
                        -> std::pin::Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
                    + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                let begun = self.begin_with_config(isolation_level, access_mode).await;
                $crate::capture::traits::run(begun, callback).await
            }
        }
    };
}

/// `TransactionSession` for a transaction that has the two as methods of its own.
macro_rules! ends {
    ($transaction:ty) => {
        #[async_trait::async_trait]
        impl sea_orm::TransactionSession for $transaction {
            async fn commit(self) -> Result<(), sea_orm::DbErr> {
                self.commit().await
            }

            async fn rollback(self) -> Result<(), sea_orm::DbErr> {
                self.rollback().await
            }
        }
    };
}

pub(super) use {begins, ends, sends};

/// Runs `callback` in the transaction, and commits or rolls back as it ends.
pub(super) async fn run<S, F, T, E>(begun: Result<S, DbErr>, callback: F) -> Result<T, TransactionError<E>>
where
    S: TransactionSession + Send + Sync,
    F: for<'c> FnOnce(&'c S) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send,
    T: Send,
    E: fmt::Display + fmt::Debug + Send,
{
    let transaction = begun.map_err(TransactionError::Connection)?;
    let result = callback(&transaction).await;
    end(transaction, result).await
}

/// [`run`] with an async closure.
pub(super) async fn run_async<S, F, T, E>(
    begun: Result<S, DbErr>,
    callback: F,
) -> Result<T, TransactionError<E>>
where
    S: TransactionSession + Send + Sync,
    F: for<'c> AsyncFnOnce(&'c S) -> Result<T, E> + Send,
    T: Send,
    E: fmt::Display + fmt::Debug + Send,
{
    let transaction = begun.map_err(TransactionError::Connection)?;
    let result = callback(&transaction).await;
    end(transaction, result).await
}

async fn end<S, T, E>(transaction: S, result: Result<T, E>) -> Result<T, TransactionError<E>>
where
    S: TransactionSession,
    E: fmt::Display + fmt::Debug,
{
    match result {
        Ok(result) => {
            transaction.commit().await.map_err(TransactionError::Connection)?;
            Ok(result)
        }
        Err(error) => {
            transaction.rollback().await.map_err(TransactionError::Connection)?;
            Err(TransactionError::Transaction(error))
        }
    }
}
