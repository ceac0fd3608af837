//! The connection that captures every statement.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use audit_core::AuditContext;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, IsolationLevel,
    QueryResult, Statement, StreamTrait, TransactionError, TransactionOptions, TransactionTrait,
};

use super::stream::AuditStream;
use super::transaction::{self, AuditTransaction};
use super::work::{self, Answer, Ask, Capture, Over, Request};
use crate::Audit;
use crate::store::to_db_err;

/// A [`DatabaseConnection`] that captures every write to an audited table, whatever sends it: active models,
/// `Entity::insert/update/delete`, `insert_many`, `update_many`, `delete_many`, upserts, raw SQL, and what foreign keys
/// cascade to. Change and entries are committed together or not at all.
///
/// Everything that takes SeaORM's connection takes this one; its results and errors are the database's. Clones share
/// everything and are cheap. Hooks on an entity stand back on it, so that one change makes one entry.
///
/// ```
/// # async fn example(db: sea_orm::DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use audit_seaorm::{Audit, AuditContext};
/// let db = Audit::builder().build()?.connect(db);
/// let for_ann = db.with_context(AuditContext::user(42).named("Ann"));
/// # let _ = for_ann; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct AuditConnection {
    inner: DatabaseConnection,
    capture: Arc<Capture>,
    context: Option<Arc<AuditContext>>,
}

impl Audit {
    /// Makes a connection that captures every write over `connection`.
    ///
    /// Make one at start-up and clone it: what it learns of the database and of statements is shared by its clones.
    pub fn connect(&self, connection: DatabaseConnection) -> AuditConnection {
        self.writer().deliver_to(&connection);
        let capture = Capture::new(self.clone(), connection.get_database_backend());
        AuditConnection { inner: connection, capture: Arc::new(capture), context: None }
    }
}

impl AuditConnection {
    /// The same connection with this context, which counts instead of the task's.
    pub fn with_context(&self, context: AuditContext) -> Self {
        Self { context: Some(Arc::new(context)), ..self.clone() }
    }

    /// The audit that this connection writes for.
    pub fn audit(&self) -> &Audit {
        self.capture.audit()
    }

    /// Runs `block` over the connection without capture, and records that it was done, with the reason, in an entry of
    /// severity high that is written first.
    ///
    /// # Errors
    /// If that entry can't be written; then `block` doesn't run.
    pub async fn without_audit<T>(
        &self,
        reason: impl Into<String>,
        block: impl AsyncFnOnce(&DatabaseConnection) -> T,
    ) -> Result<T, DbErr> {
        self.capture.record_suspension(&self.inner, self.context.as_ref(), None, reason.into()).await?;
        Ok(crate::suspended(block(&self.inner)).await)
    }

    /// Checks that the database answers.
    ///
    /// # Errors
    /// As [`DatabaseConnection::ping`].
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.inner.ping().await
    }

    /// Writes what is outstanding and closes the connection, for all clones.
    ///
    /// # Errors
    /// As [`DatabaseConnection::close`].
    pub async fn close(self) -> Result<(), DbErr> {
        let flushed = self.audit().flush().await;
        self.inner.close_by_ref().await?;
        flushed.map_err(|error| to_db_err(&error))
    }

    /// The connection itself, and the context that is bound to it.
    pub(crate) fn over(&self) -> (&DatabaseConnection, Option<&Arc<AuditContext>>) {
        (&self.inner, self.context.as_ref())
    }

    /// The same connection in the task's context.
    pub(crate) fn without_context(&self) -> Self {
        Self { context: None, ..self.clone() }
    }

    /// What a restricted connection is made of.
    #[cfg(feature = "rbac")]
    pub(super) fn parts(&self) -> (&DatabaseConnection, &Arc<Capture>, Option<&Arc<AuditContext>>) {
        (&self.inner, &self.capture, self.context.as_ref())
    }

    async fn run(&self, request: Request<'_>, ask: Ask) -> Result<Answer, DbErr> {
        self.capture.run(Over::Pool(&self.inner), self.context.as_ref(), request, ask).await
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for AuditConnection {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
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
        self.inner.is_mock_connection()
    }
}

impl StreamTrait for AuditConnection {
    type Stream<'a> = AuditStream<'a>;

    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        Box::pin(async move {
            let over = Over::Pool(&self.inner);
            let reading = self.capture.streams(&over, self.context.as_ref(), &statement).await?;
            if let Some(reading) = reading {
                return AuditStream::of_pool(self.inner.stream_raw(statement).await, reading).await;
            }
            let rows = self.run(Request::Prepared(statement), Ask::All).await?.rows();
            Ok(AuditStream::of_rows(rows))
        })
    }
}

#[async_trait::async_trait]
impl TransactionTrait for AuditConnection {
    type Transaction = AuditTransaction;

    async fn begin(&self) -> Result<AuditTransaction, DbErr> {
        self.begin_with_options(TransactionOptions::default()).await
    }

    async fn begin_with_config(
        &self,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<AuditTransaction, DbErr> {
        let options = TransactionOptions { isolation_level, access_mode, sqlite_transaction_mode: None };
        self.begin_with_options(options).await
    }

    async fn begin_with_options(&self, options: TransactionOptions) -> Result<AuditTransaction, DbErr> {
        let inner = work::begin(&self.inner, options).await?;
        Ok(AuditTransaction::begun(inner, Arc::clone(&self.capture), self.context.clone()))
    }

    async fn transaction<F, T, E>(&self, callback: F) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Self::Transaction) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        transaction::run(self.begin().await, callback).await
    }

    async fn transaction_with_config<F, T, E>(
        &self,
        callback: F,
        isolation_level: Option<IsolationLevel>,
        access_mode: Option<AccessMode>,
    ) -> Result<T, TransactionError<E>>
    where
        F: for<'c> FnOnce(&'c Self::Transaction) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>
            + Send,
        T: Send,
        E: std::fmt::Display + std::fmt::Debug + Send,
    {
        transaction::run(self.begin_with_config(isolation_level, access_mode).await, callback).await
    }
}
