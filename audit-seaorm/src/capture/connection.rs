//! The connection that captures every statement.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use audit_core::AuditContext;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, Statement, StreamTrait,
    TransactionOptions,
};

use super::begin;
use super::bound::Bound;
use super::request::{Answer, Ask, Request};
use super::stream::AuditStream;
use super::traits::{begins, sends};
use super::transaction::AuditTransaction;
use super::work::{Capture, Over};
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
    /// The context that it is bound to, if there is one.
    pub fn context(&self) -> Option<&AuditContext> {
        self.context.as_deref()
    }

    /// The same connection with this context, which counts instead of the task's: for what is captured, and for this library's
    /// functions that get the connection (a wrapper of your own has to pass `is_mock_connection` on to it).
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
        // Nobody knows what it defines.
        let _forgets = self.capture.forgets_after(&Over::Pool(&self.inner));
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
        self.close_by_ref().await
    }

    /// [`close`](Self::close) for who has a reference only.
    ///
    /// # Errors
    /// As there.
    pub async fn close_by_ref(&self) -> Result<(), DbErr> {
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

    fn tell_bound(&self) {
        Bound::tell(self.capture.audit(), self.context.as_ref(), None);
    }

    async fn start(&self, options: TransactionOptions) -> Result<AuditTransaction, DbErr> {
        let isolation = options.isolation_level;
        let inner = begin::begin(&self.inner, begin::Share::none(), options).await?;
        Ok(AuditTransaction::begun(inner, Arc::clone(&self.capture), self.context.clone(), isolation))
    }

    async fn run(&self, request: Request<'_>, ask: Ask) -> Result<Answer, DbErr> {
        self.capture.run(Over::Pool(&self.inner), self.context.as_ref(), request, ask).await
    }
}

sends!(AuditConnection, DatabaseConnection);
begins!(AuditConnection, AuditTransaction);

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
