//! Rows at a moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use audit_core::Error;
use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, EntityTrait, Iterable, ModelTrait, PrimaryKeyToColumn, PrimaryKeyTrait, Value,
};

use super::load::{self, Log};
use super::timeline::{Known, State, States, Timeline};
use super::version::recorded_now;
use super::{Asked, Source, Unknown, Version, key_of, timeline_of};
use crate::Audit;
use crate::registry::Audited;

type Filter<M> = Box<dyn Fn(&Version<M>) -> bool + Send + Sync>;

/// Rows as they were at a moment; made by [`AuditedEntity::as_of`](super::AuditedEntity::as_of).
#[must_use = "rows are read by `one` or `all`"]
pub struct AsOf<E: EntityTrait> {
    moment: DateTime<Utc>,
    asked: Asked,
    current: bool,
    ids: Option<Vec<Vec<(String, Value)>>>,
    filters: Vec<Filter<E::Model>>,
}

impl<E: EntityTrait> fmt::Debug for AsOf<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsOf").field("moment", &self.moment).finish_non_exhaustive()
    }
}

impl<E: EntityTrait> AsOf<E> {
    pub(super) fn new(moment: DateTime<Utc>) -> Self {
        Self { moment, asked: Asked::default(), current: false, ids: None, filters: Vec::new() }
    }

    /// Reads under this audit's registration instead of that in force.
    pub fn audit(mut self, audit: &Audit) -> Self {
        self.asked.audit = Some(audit.clone());
        self
    }

    /// Only entries of this tenant, instead of the context's.
    pub fn tenant(mut self, tenant: impl ToString) -> Self {
        self.asked.tenant = Some(tenant.to_string());
        self
    }

    /// Takes what no entry tells from the row as it is now: if nothing was recorded of it since, it was the same then, provided
    /// that auditing had begun. Such values are [`Source::Current`]. Costs one more query.
    ///
    /// Within a tenant, one more again: only rows of which entries of the tenant tell, and none of others, are the tenant's for
    /// certain; of the rest nothing is taken.
    pub fn with_current(mut self) -> Self {
        self.current = true;
        self
    }

    /// Only the rows with these primary keys; each costs a query of its own.
    pub fn ids<I>(mut self, ids: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<<E::PrimaryKey as PrimaryKeyTrait>::ValueType>,
    {
        self.ids = Some(ids.into_iter().map(|id| key_of::<E>(id.into())).collect());
        self
    }

    /// Only rows of which this is true, as they were then. Filters are applied in the program.
    pub fn filter(mut self, filter: impl Fn(&Version<E::Model>) -> bool + Send + Sync + 'static) -> Self {
        self.filters.push(Box::new(filter));
        self
    }

    /// The row with this primary key. `None`: it wasn't there, as far as entries tell; a row of which nothing at all is
    /// recorded is found only [`with_current`](Self::with_current).
    ///
    /// Reads the row's entries in one query by the index on resources. If the last one doesn't end the row, it is looked whether
    /// the table still has it.
    ///
    /// # Errors
    /// As [`History::all`](super::History::all).
    pub async fn one<C, K>(&self, db: &C, id: K) -> Result<Option<Version<E::Model>>, Error>
    where
        C: ConnectionTrait,
        K: Into<<E::PrimaryKey as PrimaryKeyTrait>::ValueType>,
    {
        let audited = self.asked.audited::<E, _>(db)?;
        self.at_key(db, &audited, &key_of::<E>(id.into())).await
    }

    /// All rows that were there, ordered by their ids of today.
    ///
    /// Without [`ids`](Self::ids) this reads every entry about this type of resource and keeps them in memory while it works:
    /// meant for tables of moderate size and for reports, not for a request.
    ///
    /// # Errors
    /// As [`History::all`](super::History::all).
    pub async fn all<C: ConnectionTrait>(&self, db: &C) -> Result<Vec<Version<E::Model>>, Error> {
        let audited = self.asked.audited::<E, _>(db)?;
        let mut found = Vec::new();
        if let Some(ids) = &self.ids {
            for key in ids {
                found.extend(self.at_key(db, &audited, key).await?);
            }
        } else {
            let tenant = self.asked.tenant(db);
            let log = Log { db, audited: &audited, tenant: tenant.as_deref() };
            let rows = load::by_row(log.all().await?, &audited.policy);
            let mut current = self.current_rows(&log).await?;
            // Of those that had a key the last one has it today.
            for (id, timeline) in rows.iter().rev() {
                found.extend(self.version(&audited, timeline, current.remove(id).as_ref()));
            }
            found.reverse();
            if tenant.is_none() {
                for row in current.values() {
                    found.extend(self.version(&audited, &Timeline::default(), Some(row)));
                }
            }
        }
        found.retain(|version| self.filters.iter().all(|filter| filter(version)));
        Ok(found)
    }

    async fn at_key<C: ConnectionTrait>(
        &self,
        db: &C,
        audited: &Arc<Audited>,
        key: &[(String, Value)],
    ) -> Result<Option<Version<E::Model>>, Error> {
        let tenant = self.asked.tenant(db);
        let log = Log { db, audited, tenant: tenant.as_deref() };
        let timeline = timeline_of(&log, key).await?;
        let told = self.current
            && (tenant.is_none()
                || !timeline.events.is_empty()
                    && log.changed_by_others(Some(&load::id_of(audited, key)?)).await?.is_empty());
        let row = if told {
            let find = (audited.codec().find)(key);
            let row = db.query_one(&find).await.map_err(|error| load::unreadable(&error))?;
            let read = |row| <E::Model as sea_orm::FromQueryResult>::from_query_result(&row, "");
            row.map(read).transpose().map_err(|error| load::unreadable(&error))?
        } else {
            None
        };
        Ok(self.version(audited, &timeline, row.as_ref()))
    }

    fn version(
        &self,
        audited: &Arc<Audited>,
        timeline: &Timeline,
        row: Option<&E::Model>,
    ) -> Option<Version<E::Model>> {
        let applied = timeline.at(self.moment);
        let event = applied.checked_sub(1).and_then(|last| timeline.events.get(last));
        let mut states = match timeline.states(applied, &audited.policy) {
            Some(states) => states,
            None if timeline.events.is_empty() && row.is_some() => unknown(audited),
            None => return None,
        };
        // The row of today is the row of then, if nothing ended it in between.
        if let Some(row) = row.filter(|_| timeline.lasts(applied)) {
            for column in E::Column::iter() {
                let Some((name, recorded)) = recorded_now(audited, row, column) else { continue };
                let Some(known) = states.get_mut(&name) else { continue };
                if known.state == State::Unknown(Unknown::BeforeFirstEntry) {
                    known.state = super::timeline::shown(&recorded, Source::Current);
                }
            }
        }
        Some(Version::new(audited, event, states))
    }

    /// The rows as they are now, by their ids, without those that somebody outside of the tenant changed; none unless they are
    /// asked for.
    async fn current_rows<C: ConnectionTrait>(
        &self,
        log: &Log<'_, C>,
    ) -> Result<BTreeMap<String, E::Model>, Error> {
        if !self.current {
            return Ok(BTreeMap::new());
        }
        let others = log.changed_by_others(None).await?;
        let rows = E::find().all(log.db).await.map_err(|error| load::unreadable(&error))?;
        let mut current = BTreeMap::new();
        for row in rows {
            let key: Vec<(String, Value)> = E::PrimaryKey::iter()
                .map(|part| part.into_column())
                .map(|column| (sea_orm::IdenStatic::as_str(&column).to_owned(), row.get(column)))
                .collect();
            let id = load::id_of(log.audited, &key)?;
            if !others.contains(&id) {
                current.insert(id, row);
            }
        }
        Ok(current)
    }
}

/// Fields of which no entry tells anything.
fn unknown(audited: &Audited) -> States {
    Timeline::nothing(&audited.policy)
        .into_iter()
        .map(|(name, state)| (name, Known { state, last: None }))
        .collect()
}
