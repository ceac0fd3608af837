//! Who asks for records: everything, or what belongs to one tenant.

use std::fmt;
use std::marker::PhantomData;

use audit_core::{Error, stored_tenant};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Select};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::page::{Page, PageRequest};
use super::super::reader::LogReader;
use super::families::RecordFamily;
use super::filter::{RecordFilter, column};
use crate::db_error::query_error;

/// A row of a family's table.
type Row<F> = <<F as crate::entity::StoredFamily>::Entity as EntityTrait>::Model;

/// Asks for the records of a family besides the log, newest first: reads, exports, violations, logins, system events.
///
/// A reader that is [bound to a tenant](Self::for_tenant) gets that tenant's records and no others, whatever it asks: every
/// statement carries the tenant, and nothing that is said later takes it away.
///
/// ```
/// # async fn ask(db: &sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
/// use audit_seaorm::{LogReader, PageRequest, RecordFilter, RecordReader, Violation, ViolationStatus};
/// let violations = RecordReader::<Violation>::for_tenant("acme"); // or `reader.records::<Violation>()` of a `LogReader`
/// let open = RecordFilter::<Violation>::new().status(ViolationStatus::Open);
/// let first = violations.page(db, &open, &PageRequest::new().page_size(20)).await?;
/// let all = violations.find(&open)?; // a SeaORM `Select`, to go on with
/// # Ok(()) }
/// ```
pub struct RecordReader<F> {
    tenant: Option<String>,
    family: PhantomData<fn() -> F>,
}

impl<F> Clone for RecordReader<F> {
    fn clone(&self) -> Self {
        Self { tenant: self.tenant.clone(), family: PhantomData }
    }
}

impl<F: RecordFamily> fmt::Debug for RecordReader<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader").field("table", &F::TABLE).field("tenant", &self.tenant).finish()
    }
}

impl<F> Default for RecordReader<F> {
    fn default() -> Self {
        Self { tenant: None, family: PhantomData }
    }
}

impl LogReader {
    /// The same reader for the records of a family besides the log, bound to the same tenant if this one is.
    ///
    /// ```
    /// use audit_seaorm::{LogReader, LoginAttempt, RecordFilter};
    /// let logins = LogReader::for_tenant("acme").records::<LoginAttempt>().find(&RecordFilter::new().username("ann"))?;
    /// # Ok::<(), audit_seaorm::Error>(())
    /// ```
    pub fn records<F: RecordFamily>(&self) -> RecordReader<F> {
        RecordReader { tenant: self.tenant().map(str::to_owned), family: PhantomData }
    }
}

impl<F: RecordFamily> RecordReader<F> {
    /// A reader of everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader of what belongs to this tenant. Records without a tenant belong to none.
    pub fn for_tenant(tenant: impl ToString) -> Self {
        Self { tenant: Some(stored_tenant(&tenant.to_string()).into_owned()), family: PhantomData }
    }

    /// The tenant that the reader is bound to, [as records have it](stored_tenant).
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// What every record must fulfil that this reader may see.
    pub(super) fn bounds(&self) -> Result<Condition, Error> {
        let tenant = column::<F>("tenant")?;
        Ok(Condition::all().add_option(self.tenant.as_deref().map(|name| tenant.eq(name))))
    }

    /// The records that the filter finds, to go on with: `.limit(..)`, `.filter(..)`, `.all(db)`.
    ///
    /// # Errors
    /// [`Error::Filter`] if the question makes no sense: a period that ends before it starts or has no days, more than 1,000 values
    /// of one filter.
    pub fn find(&self, filter: &RecordFilter<F>) -> Result<Select<F::Entity>, Error> {
        let select = F::Entity::find().filter(self.bounds()?).filter(filter.condition()?);
        Ok(select.order_by_desc(column::<F>("seq")?))
    }

    /// One page of the records that the filter finds. A cursor belongs to the family, the filter and the reader's tenant.
    ///
    /// # Errors
    /// As [`find`](Self::find) and [`PageRequest::fetch`].
    pub async fn page<C: ConnectionTrait>(
        &self,
        db: &C,
        filter: &RecordFilter<F>,
        page: &PageRequest,
    ) -> Result<Page<Row<F>>, Error> {
        let question = Sha256::new().chain_update(filter.digest()).chain_update(format!("{:?}", self.tenant));
        page.fetch_for(db, self.find(filter)?, &question.finalize().into()).await
    }

    /// The record with this id.
    ///
    /// # Errors
    /// [`Error::Query`] if the database doesn't answer.
    pub async fn record<C: ConnectionTrait>(&self, db: &C, id: Uuid) -> Result<Option<Row<F>>, Error> {
        let select = F::Entity::find().filter(self.bounds()?).filter(column::<F>("id")?.eq(id));
        select.one(db).await.map_err(|error| query_error(&error))
    }
}
