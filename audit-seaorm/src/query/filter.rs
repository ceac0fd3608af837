//! Which entries to find.

use audit_core::{Error, Severity, Status, stored_tenant};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbBackend};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::json::member_is;
use super::span::{Moment, Span, period_methods, recorded_during, recorded_in};
use super::text::{search, without_nul};
use crate::entity::audit_log::Column;
use crate::stats::security_condition;

/// Most values of one sort: databases limit what a statement may carry.
pub(super) const MAX_VALUES: usize = 1_000;

/// Which entries to find. What isn't said doesn't restrict; everything said must hold, and where several values were given,
/// one of them.
///
/// ```
/// use audit_seaorm::{LogFilter, Status};
/// let filter = LogFilter::new().entity("BankAccount").entity_id(7).action("update").status(Status::Success).last_days(30);
/// let either = LogFilter::new().actions(["create", "delete"]).user("ann@example.com").search("50%");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a filter finds nothing by itself; give it to `get_audit_logs`"]
pub struct LogFilter {
    texts: Vec<(Field, Vec<String>)>,
    user: Option<String>,
    pub(super) span: Span,
    search: Option<String>,
    security: bool,
    metadata: Vec<(String, Value)>,
    backend: Option<DbBackend>,
}

/// A column that is compared with texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Entity,
    EntityId,
    Actor,
    ActorName,
    ActorEmail,
    Action,
    Tenant,
    Module,
    Status,
    Severity,
    Ip,
    Session,
    Request,
    Transaction,
}

impl Field {
    fn column(self) -> Column {
        match self {
            Self::Entity => Column::ResourceType,
            Self::EntityId => Column::ResourceId,
            Self::Actor => Column::ActorId,
            Self::ActorName => Column::ActorName,
            Self::ActorEmail => Column::ActorEmail,
            Self::Action => Column::Action,
            Self::Tenant => Column::Tenant,
            Self::Module => Column::Module,
            Self::Status => Column::Status,
            Self::Severity => Column::Severity,
            Self::Ip => Column::IpAddress,
            Self::Session => Column::SessionId,
            Self::Request => Column::RequestId,
            Self::Transaction => Column::TransactionId,
        }
    }
}

/// Methods for several values.
macro_rules! several {
    ($($several:ident, $one:ident, $field:ident;)+) => {
        impl LogFilter {$(
            #[doc = concat!("One of several, each as [`", stringify!($one), "`](Self::", stringify!($one), ") takes it. Of none, nothing is found.")]
            pub fn $several<I>(self, values: I) -> Self
            where
                I: IntoIterator<Item: ToString>,
            {
                self.with(Field::$field, values.into_iter().map(|value| value.to_string()).collect())
            }
        )+}
    };
}

several! {
    entities, entity, Entity;
    entity_ids, entity_id, EntityId;
    actors, actor, Actor;
    actions, action, Action;
    tenants, tenant, Tenant;
    modules, module, Module;
    statuses, status, Status;
    severities, severity, Severity;
    ips, ip, Ip;
    session_ids, session_id, Session;
    request_ids, request_id, Request;
    transaction_ids, transaction_id, Transaction;
}

/// As ids of resources are stored.
pub(super) fn fit_id(id: String) -> String {
    audit_core::Resource::new("").id(id).id.unwrap_or_default()
}

impl LogFilter {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resources of this type.
    pub fn entity(self, resource_type: impl Into<String>) -> Self {
        self.with(Field::Entity, vec![resource_type.into()])
    }

    /// The resource with this id; composite ids as [`join_key`](audit_core::join_key) makes them.
    pub fn entity_id(self, id: impl ToString) -> Self {
        self.with(Field::EntityId, vec![id.to_string()])
    }

    /// The actor with this id.
    pub fn actor(self, id: impl ToString) -> Self {
        self.with(Field::Actor, vec![id.to_string()])
    }

    /// The actor with this name.
    pub fn actor_name(self, name: impl Into<String>) -> Self {
        self.with(Field::ActorName, vec![name.into()])
    }

    /// The actor with this e-mail address.
    pub fn actor_email(self, email: impl Into<String>) -> Self {
        self.with(Field::ActorEmail, vec![email.into()])
    }

    /// The actor whose id, e-mail address or name this is. Where the id is known, [`actor`](Self::actor) is faster: only ids have
    /// an index.
    pub fn user(mut self, user: impl ToString) -> Self {
        self.user = Some(user.to_string());
        self
    }

    /// This action, as it was written. The set is open: of an action that there isn't, nothing is found, and that is no error.
    pub fn action(self, action: impl Into<String>) -> Self {
        self.with(Field::Action, vec![action.into()])
    }

    /// This tenant. To keep a reader to its tenant whatever it asks, use [`LogReader::for_tenant`](crate::LogReader::for_tenant).
    pub fn tenant(self, tenant: impl ToString) -> Self {
        self.with(Field::Tenant, vec![tenant.to_string()])
    }

    /// This functional area.
    pub fn module(self, module: impl Into<String>) -> Self {
        self.with(Field::Module, vec![module.into()])
    }

    /// This status.
    pub fn status(self, status: Status) -> Self {
        self.with(Field::Status, vec![status.to_string()])
    }

    /// This severity.
    pub fn severity(self, severity: Severity) -> Self {
        self.with(Field::Severity, vec![severity.to_string()])
    }

    /// This address.
    pub fn ip(self, address: impl ToString) -> Self {
        self.with(Field::Ip, vec![address.to_string()])
    }

    /// This session.
    pub fn session_id(self, id: impl Into<String>) -> Self {
        self.with(Field::Session, vec![id.into()])
    }

    /// This request.
    pub fn request_id(self, id: impl Into<String>) -> Self {
        self.with(Field::Request, vec![id.into()])
    }

    /// This transaction.
    pub fn transaction_id(self, id: impl Into<String>) -> Self {
        self.with(Field::Transaction, vec![id.into()])
    }
}

/// Periods, and what isn't the equality of a column.
impl LogFilter {
    period_methods!();

    /// Entries whose action, actor, resource or details contain this text, whatever its case. `%` and `_` mean
    /// themselves. Databases differ in what they know of letter case beyond ASCII.
    ///
    /// There is no index for it: the newest entries are looked at first, and the rarer the text, the more of them. On PostgreSQL a
    /// database's administrator may add one; its definition is in `docs/DESIGN.md` ("Why no full text or trigrams on PostgreSQL?").
    pub fn search(mut self, text: impl Into<String>) -> Self {
        self.search = Some(text.into());
        self
    }

    /// Security events alone: entries of severity high or critical, denied operations, failures in the module `authentication`.
    /// Logins and violations have tables of their own ([`LogReader::records`](super::LogReader::records)).
    pub fn security_events(mut self) -> Self {
        self.security = true;
        self
    }

    /// Entries whose metadata have this text, number, truth value or null under this key, at the top. Needs
    /// [`on`](Self::on): databases read JSON in different ways. If it is said several times, all must hold.
    ///
    /// ```
    /// # async fn ask(db: &sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
    /// use audit_seaorm::{LogFilter, get_audit_logs};
    /// let treasury = get_audit_logs(&LogFilter::new().metadata("department", "treasury").on(db))?;
    /// # Ok(()) }
    /// ```
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// Says which sort of database will be asked; only [`metadata`](Self::metadata) needs to know.
    pub fn on(mut self, db: &impl ConnectionTrait) -> Self {
        self.backend = Some(db.get_database_backend());
        self
    }

    pub(super) fn on_if_unsaid(&self, db: &impl ConnectionTrait) -> Self {
        if self.backend.is_some() { self.clone() } else { self.clone().on(db) }
    }

    pub(super) fn with(mut self, field: Field, values: Vec<String>) -> Self {
        let as_stored = |value: String| match field {
            Field::EntityId => fit_id(value),
            Field::Tenant => stored_tenant(&value).into_owned(),
            _ => without_nul(&value),
        };
        let values = values.into_iter().map(as_stored).collect();
        match self.texts.iter_mut().find(|(said, _)| *said == field) {
            Some(said) => said.1 = values,
            None => self.texts.push((field, values)),
        }
        self
    }

    /// What the entries have to fulfil.
    ///
    /// # Errors
    /// [`Error::Filter`] if the question makes no sense.
    pub(super) fn condition(&self) -> Result<Condition, Error> {
        let (start, end) = self.period()?;
        self.condition_in(in_period(start, end))
    }

    /// The same, where the period is known by its places in the order as well. Without the ids: PostgreSQL would plan a statement
    /// that it doesn't know the values of by their index, and sort the whole period for its first page.
    ///
    /// # Errors
    /// As [`condition`](Self::condition).
    pub(super) fn condition_between(&self, places: Condition) -> Result<Condition, Error> {
        let (start, end) = self.period()?;
        self.condition_in(during(start, end).add(places))
    }

    fn condition_in(&self, period: Condition) -> Result<Condition, Error> {
        let mut condition = Condition::all();
        for (field, values) in &self.texts {
            if values.len() > MAX_VALUES {
                return Err(Error::Filter(format!("more than {MAX_VALUES} values for `{field:?}`")));
            }
            let column = field.column();
            condition = condition.add(match values.as_slice() {
                [one] => column.eq(one.as_str()),
                several => column.is_in(several.iter().map(String::as_str)),
            });
        }
        if let Some(user) = self.user.as_deref().map(without_nul) {
            let columns = [Column::ActorId, Column::ActorEmail, Column::ActorName];
            condition = condition.add(
                columns.into_iter().fold(Condition::any(), |any, column| any.add(column.eq(user.as_str()))),
            );
        }
        condition = condition.add(period);
        for (key, value) in &self.metadata {
            let backend = self.backend.ok_or_else(|| {
                Error::Filter("`metadata` must know the database: say which by `.on(&db)`".into())
            })?;
            condition = condition.add(member_is(backend, Column::Metadata, key, value)?);
        }
        condition = condition.add_option(self.security.then(security_condition));
        Ok(condition.add_option(self.search.as_deref().map(search).transpose()?.flatten()))
    }

    /// Where the period begins and ends, if it does.
    ///
    /// # Errors
    /// [`Error::Filter`] if it makes no sense.
    pub(super) fn period(&self) -> Result<(Moment, Moment), Error> {
        self.span.moments()
    }

    /// What tells this question from others, the same at each call.
    pub(super) fn digest(&self) -> [u8; 32] {
        // Not the database, and not the moment at which "the last days" begin.
        let said = Self { backend: None, ..self.clone() };
        Sha256::digest(format!("{said:?}")).into()
    }
}

/// Entries from the one moment up to the other, which isn't part of it.
pub(crate) fn in_period(start: Moment, end: Moment) -> Condition {
    recorded_in(&Column::Timestamp, &Column::Id, start, end)
}

/// By the time alone, which has no index.
pub(crate) fn during(start: Moment, end: Moment) -> Condition {
    recorded_during(&Column::Timestamp, start, end)
}
