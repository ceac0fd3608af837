//! Who asks: everything, or what belongs to one tenant.

use audit_core::{Error, Resource, stored_tenant};
use chrono::TimeDelta;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::filter::{LogFilter, fit_id, in_period};
use super::page::{Page, PageRequest};
use super::text::without_nul;
use super::touching::touches;
use crate::capture::bound::audit_over;
use crate::db_error::query_error;
use crate::entity::audit_log::{Column, Entity, Model};
use crate::stats::bounds_of;

/// How far around an entry others of its transaction or request are looked for: only periods have an index.
const AROUND: TimeDelta = TimeDelta::days(1);

/// Asks the log, newest entries first.
///
/// A reader that is [bound to a tenant](Self::for_tenant) gets that tenant's entries and no others, whatever it asks: every
/// statement carries the tenant, and nothing that is said later takes it away.
///
/// ```
/// use audit_seaorm::{LogFilter, LogReader};
/// let reader = LogReader::for_tenant("acme");
/// let nothing = reader.logs(&LogFilter::new().tenant("other"))?;
/// # Ok::<(), audit_seaorm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogReader {
    tenant: Option<String>,
}

impl LogReader {
    /// A reader of everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader of what belongs to this tenant. Entries without a tenant belong to none.
    pub fn for_tenant(tenant: impl ToString) -> Self {
        Self { tenant: Some(stored_tenant(&tenant.to_string()).into_owned()) }
    }

    /// The tenant that the reader is bound to, [as entries have it](stored_tenant).
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// What every entry must fulfil that this reader may see.
    pub(crate) fn bounds(&self) -> Condition {
        Condition::all().add_option(self.tenant.as_deref().map(|tenant| Column::Tenant.eq(tenant)))
    }

    /// The entries that the filter finds, to go on with: `.limit(..)`, `.filter(..)`, `.all(db)`.
    ///
    /// # Errors
    /// [`Error::Filter`] if the question makes no sense: a period that ends before it starts or has no days, a text to search for
    /// of more than 1,000 characters.
    pub fn logs(&self, filter: &LogFilter) -> Result<Select<Entity>, Error> {
        Ok(self.find(filter.condition()?))
    }

    /// One page of the entries that the filter finds. A cursor belongs to the filter and to the reader's tenant.
    ///
    /// # Errors
    /// As [`logs`](Self::logs) and [`PageRequest::fetch`].
    pub async fn page<C: ConnectionTrait>(
        &self,
        db: &C,
        filter: &LogFilter,
        page: &PageRequest,
    ) -> Result<Page<Model>, Error> {
        let filter = filter.on_if_unsaid(db);
        let (start, end) = filter.period()?;
        let places = bounds_of(db, start, end).await.map_err(|error| query_error(&error))?;
        let select = match places {
            Some(places) => self.find(filter.condition_between(places)?),
            None => self.logs(&filter)?,
        };
        let question = Sha256::new().chain_update(filter.digest()).chain_update(format!("{:?}", self.tenant));
        page.fetch_for(db, select, &question.finalize().into()).await
    }

    /// The entry with this id.
    ///
    /// # Errors
    /// [`Error::Query`] if the database doesn't answer.
    pub async fn entry<C: ConnectionTrait>(&self, db: &C, id: Uuid) -> Result<Option<Model>, Error> {
        let select = self.find(Condition::all().add(Column::Id.eq(id)));
        select.one(db).await.map_err(|error| query_error(&error))
    }

    /// Everything that was recorded of one resource; composite ids as [`join_key`](audit_core::join_key) makes them.
    pub fn trail(&self, resource_type: impl Into<String>, id: impl ToString) -> Select<Entity> {
        self.find(is_resource(&resource_type.into(), &id.to_string()))
    }

    /// What the actor with this id did.
    pub fn activity(&self, actor: impl ToString) -> Select<Entity> {
        self.find(Condition::all().add(Column::ActorId.eq(without_nul(&actor.to_string()))))
    }

    /// The other entries of the same transaction, of the same request (within a day of this one), and of the same resource.
    pub fn related(&self, entry: &Model) -> Select<Entity> {
        let (transaction, request) = (&entry.transaction_id, &entry.request_id);
        let mut any = Condition::any();
        for (column, value) in [(Column::TransactionId, transaction), (Column::RequestId, request)] {
            if let Some(value) = value {
                let start = entry.timestamp.checked_sub_signed(AROUND);
                let end = entry.timestamp.checked_add_signed(AROUND);
                any = any.add(in_period(start, end).add(column.eq(value.as_str())));
            }
        }
        if let Some(id) = &entry.resource_id {
            any = any.add(is_resource(&entry.resource_type, id));
        }
        // An empty "any" would restrict nothing.
        let others = Condition::all().add(Column::Id.ne(entry.id));
        let found = if any.is_empty() { others.add(Column::Id.eq(entry.id)) } else { others.add(any) };
        self.find(found)
    }

    /// The other entries of the same transaction, within a day of this one. None, if it names no transaction.
    pub fn same_transaction(&self, entry: &Model) -> Select<Entity> {
        let alone = Model { request_id: None, resource_id: None, ..entry.clone() };
        self.related(&alone)
    }

    /// The other entries of the same request, within a day of this one. None, if it names no request.
    pub fn same_request(&self, entry: &Model) -> Select<Entity> {
        let alone = Model { transaction_id: None, resource_id: None, ..entry.clone() };
        self.related(&alone)
    }

    /// One timeline of several resources, each by its type and id; a resource without an id means all of its type.
    ///
    /// ```
    /// use audit_seaorm::{LogReader, Resource};
    /// let both = LogReader::new().timeline(&[Resource::new("Order").id(7), Resource::new("Invoice").id("2026-7")]);
    /// ```
    pub fn timeline(&self, resources: &[Resource]) -> Select<Entity> {
        let any = resources.iter().fold(Condition::any(), |any, resource| {
            any.add(match &resource.id {
                Some(id) => is_resource(&resource.kind, id),
                None => Condition::all().add(Column::ResourceType.eq(without_nul(&resource.kind))),
            })
        });
        self.find(if any.is_empty() { Condition::all().add(Column::Seq.is_null()) } else { any })
    }

    /// Everything that touches one resource: its own entries, and all entries of rows that refer or once referred to it by a
    /// foreign key, as the audit in force over the connection knows them: `belongs_to` relations of one column, to the resource's primary key, whose
    /// field isn't hidden.
    pub fn touching<C: ConnectionTrait>(
        &self,
        db: &C,
        resource_type: impl Into<String>,
        id: impl ToString,
    ) -> Select<Entity> {
        let (resource_type, id) = (resource_type.into(), id.to_string());
        let own = is_resource(&resource_type, &id);
        let audit = audit_over(db);
        let others =
            touches(audit.registry(), db.get_database_backend(), &resource_type, &id, &self.bounds());
        self.find(others.into_iter().fold(Condition::any().add(own), Condition::add))
    }

    fn find(&self, condition: Condition) -> Select<Entity> {
        Entity::find().filter(self.bounds()).filter(condition).order_by_desc(Column::Seq)
    }
}

fn is_resource(resource_type: &str, id: &str) -> Condition {
    Condition::all()
        .add(Column::ResourceType.eq(without_nul(resource_type)))
        .add(Column::ResourceId.eq(fit_id(id.to_owned())))
}

/// The entries that the filter finds, newest first, as a SeaORM `Select` to go on with: `.limit(..)`, `.paginate(..)`,
/// `.filter(..)`, `.all(db)`.
///
/// # Errors
/// As [`LogReader::logs`].
pub fn get_audit_logs(filter: &LogFilter) -> Result<Select<Entity>, Error> {
    LogReader::new().logs(filter)
}

/// Everything that was recorded of one resource, newest first; see [`LogReader::trail`].
///
/// ```
/// let trail = audit_seaorm::get_audit_trail("BankAccount", 7);
/// ```
pub fn get_audit_trail(resource_type: impl Into<String>, id: impl ToString) -> Select<Entity> {
    LogReader::new().trail(resource_type, id)
}

/// The newest `limit` entries of what the actor with this id did; see [`LogReader::activity`].
///
/// ```
/// let activity = audit_seaorm::get_user_activity(42, 100);
/// ```
pub fn get_user_activity(actor: impl ToString, limit: u64) -> Select<Entity> {
    LogReader::new().activity(actor).limit(limit)
}
