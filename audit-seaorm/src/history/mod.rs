//! Rows as they were: the versions of one, and one or all of them at a moment.
//!
//! ```
//! # mod post {
//! #     use audit_seaorm::prelude::*;
//! #     use sea_orm::entity::prelude::*;
//! #     #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
//! #     #[sea_orm(table_name = "post")]
//! #     pub struct Model { #[sea_orm(primary_key)] pub id: i64, pub title: String }
//! #     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)] pub enum Relation {}
//! #     #[audited] impl ActiveModelBehavior for ActiveModel {}
//! # }
//! # async fn example(db: sea_orm::DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
//! use audit_seaorm::AuditedEntity;
//! use chrono::{TimeDelta, Utc};
//!
//! for version in post::Entity::history(7).all(&db).await? {
//!     let Some(change) = version.change() else { continue };
//!     println!("{} by {:?}: {:?}", change.timestamp, change.actor.name, version.model()?);
//! }
//! let yesterday = Utc::now() - TimeDelta::days(1);
//! let was = post::Entity::as_of(yesterday).one(&db, 7).await?;
//! let drafts = post::Entity::as_of(yesterday)
//!     .filter(|post| post.model().is_ok_and(|post| post.title.starts_with("Draft")))
//!     .all(&db)
//!     .await?;
//! let difference = post::Entity::history(7).diff_between(&db, yesterday, Utc::now()).await?;
//! # let _ = (was, drafts, difference); Ok(()) }
//! ```
//!
//! # What is known
//! A field is known by the last entry that set it, or else by what the first entry after that moment found in it. What was masked,
//! excluded, transformed, too large or changed unrecorded is [`Unknown`], and never made up; a [`Version`] says so field by field.
//!
//! # Time
//! Entries are taken in the order in which they were written (`seq`). Where the clocks of several servers disagree with it, an
//! entry counts from the latest time on that it or one before it of the same row carries. The moment of an entry is that
//! of the statement, which may be a little before that of its commit.
//!
//! # Keys
//! A row keeps its history when its key changes. [`AsOf::one`] finds the row that had the key at that moment, and if
//! there was none, the one that got it later.
//!
//! # Limits
//! Entries of status `warning` count as changes; [`RecordedChange::uncertain`] marks them. An entry that came late from the
//! outbox has a late number, so its change seems to be the last. Entries about rows that were recorded by hand with the actions
//! `create`, `update` and `delete` count as changes.
//! If the context in force has a tenant, only that tenant's entries are read: the context that the connection is
//! [bound](crate::AuditConnection::with_context) to, or else the task's ([`scope`](crate::scope)). `tenant(..)` names another.

mod as_of;
mod difference;
mod line;
pub(crate) mod load;
pub(crate) mod timeline;
mod version;

use std::marker::PhantomData;
use std::sync::Arc;

use audit_core::{Error, stored_tenant};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::IntoValueTuple;
use sea_orm::{
    ConnectionTrait, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn, PrimaryKeyTrait, Value,
};

pub use as_of::AsOf;
pub use difference::{Difference, FieldDifference};
pub(crate) use line::{Event, Kind, Line, lines};
pub use version::{FieldState, RecordedChange, Source, Unknown, UnknownFields, Version};

use crate::Audit;
use crate::capture::bound::{audit_over, context_over};
use crate::registry::Audited;
use load::Log;
use timeline::Timeline;

/// What every audited entity can be asked.
pub trait AuditedEntity: EntityTrait {
    /// The history of the row with this primary key.
    fn history<K>(id: K) -> History<Self>
    where
        K: Into<<Self::PrimaryKey as PrimaryKeyTrait>::ValueType>,
    {
        History { key: key_of::<Self>(id.into()), asked: Asked::default(), entity: PhantomData }
    }

    /// Rows as they were at this moment.
    fn as_of(moment: impl Into<DateTime<Utc>>) -> AsOf<Self> {
        AsOf::new(moment.into())
    }
}

impl<E: EntityTrait> AuditedEntity for E {}

/// Columns of the key with their values.
pub(crate) fn key_of<E: EntityTrait>(
    id: <E::PrimaryKey as PrimaryKeyTrait>::ValueType,
) -> Vec<(String, Value)> {
    let columns = E::PrimaryKey::iter().map(|part| part.into_column().as_str().to_owned());
    columns.zip(id.into_value_tuple()).collect()
}

/// Under which audit, and for which tenant.
#[derive(Clone, Debug, Default)]
struct Asked {
    audit: Option<Audit>,
    tenant: Option<String>,
}

impl Asked {
    fn audited<E: EntityTrait, C: ConnectionTrait>(&self, db: &C) -> Result<Arc<Audited>, Error> {
        let audit = self.audit.clone().unwrap_or_else(|| audit_over(db));
        let audited = audit.registry().get::<E>()?;
        audited.cloned().ok_or_else(|| {
            Error::Registration(format!(
                "`{}` isn't audited, so nothing is known of its past; derive `Auditable` or register it, or name the audit by `audit(..)`",
                E::default().table_name()
            ))
        })
    }

    /// As entries have it.
    fn tenant<C: ConnectionTrait>(&self, db: &C) -> Option<String> {
        let tenant = self.tenant.clone().or_else(|| context_over(db)?.tenant.clone());
        tenant.map(|tenant| stored_tenant(&tenant).into_owned())
    }
}

/// The history of one row; made by [`AuditedEntity::history`].
#[derive(Clone, Debug)]
#[must_use = "a history is read by `all`"]
pub struct History<E> {
    key: Vec<(String, Value)>,
    asked: Asked,
    entity: PhantomData<fn() -> E>,
}

impl<E: EntityTrait> History<E> {
    /// Reads under this audit's registration instead of the connection's, or else that in force.
    pub fn audit(mut self, audit: &Audit) -> Self {
        self.asked.audit = Some(audit.clone());
        self
    }

    /// Only entries of this tenant, instead of the context's.
    pub fn tenant(mut self, tenant: impl ToString) -> Self {
        self.asked.tenant = Some(tenant.to_string());
        self
    }

    /// The versions of the row, the oldest first: one for each entry. That of a deletion is the row as it was before.
    ///
    /// Reads the entries in one query; if the row isn't there any more and no entry says why, a second one looks for an entry
    /// under another key, through all later entries about this type of resource.
    ///
    /// # Errors
    /// [`Error::Registration`] if the entity isn't audited, [`Error::Query`] if the log can't be read, [`Error::Format`] if an
    /// entry isn't what this library writes.
    pub async fn all<C: ConnectionTrait>(&self, db: &C) -> Result<Vec<Version<E::Model>>, Error> {
        let audited = self.asked.audited::<E, _>(db)?;
        let timeline = self.timeline(db, &audited).await?;
        let version =
            |(at, event)| Version::new(&audited, Some(event), timeline.told_by(at, &audited.policy));
        Ok(timeline.events.iter().enumerate().map(version).collect())
    }

    /// How the row differs between two moments.
    ///
    /// # Errors
    /// As [`all`](Self::all); [`Error::Filter`] if `to` is before `from`.
    pub async fn diff_between<C: ConnectionTrait>(
        &self,
        db: &C,
        from: impl Into<DateTime<Utc>>,
        to: impl Into<DateTime<Utc>>,
    ) -> Result<Difference, Error> {
        let (from, to) = (from.into(), to.into());
        if to < from {
            return Err(Error::Filter(format!("the period ends ({to}) before it starts ({from})")));
        }
        let audited = self.asked.audited::<E, _>(db)?;
        let timeline = self.timeline(db, &audited).await?;
        Ok(Difference::between(&audited, &timeline, from, to))
    }

    async fn timeline<C: ConnectionTrait>(&self, db: &C, audited: &Audited) -> Result<Timeline, Error> {
        let tenant = self.asked.tenant(db);
        let log = Log { db, audited, tenant: tenant.as_deref() };
        timeline_of(&log, &self.key).await
    }
}

/// The entries of the row with this key, up to that by which it got another key.
pub(crate) async fn timeline_of<C: ConnectionTrait>(
    log: &Log<'_, C>,
    key: &[(String, Value)],
) -> Result<Timeline, Error> {
    let id = load::id_of(log.audited, key)?;
    let mut events = log.of(&id).await?;
    let ended = events.last().is_none_or(|last| last.kind == Kind::Deleted);
    if !ended && !is_there(log, key).await? {
        let after = events.last().map_or(0, |last| last.line.seq);
        events.extend(log.departure(&id, after, None).await?);
    }
    Ok(Timeline::new(events))
}

/// Whether the table has the row.
async fn is_there<C: ConnectionTrait>(log: &Log<'_, C>, key: &[(String, Value)]) -> Result<bool, Error> {
    let find = (log.audited.codec().find)(key);
    let row = log.db.query_one(&find).await.map_err(|error| load::unreadable(&error))?;
    Ok(row.is_some())
}
