//! Reading the entries of a row, also from before it got its key.

use std::collections::BTreeSet;

use audit_core::{Error, Resource, ResourcePolicy, Value as Recorded, join_key, split_key};
use sea_orm::sea_query::LikeExpr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::line::{Event, Kind, Line, changes, lines};
use super::timeline::Timeline;
use crate::capture::render;
use crate::db_error::{describe, is_retryable};
use crate::decode::marker;
use crate::entity::audit_log::{Column, Entity};
use crate::registry::Audited;

/// More changes of one row's key are not followed.
const HOPS: usize = 1_000;

/// Where entries are read from, and whose.
pub(crate) struct Log<'a, C> {
    pub(crate) db: &'a C,
    pub(crate) audited: &'a Audited,
    pub(crate) tenant: Option<&'a str>,
}

impl<C: ConnectionTrait> Log<'_, C> {
    fn policy(&self) -> &ResourcePolicy {
        &self.audited.policy
    }

    /// The entries of all rows.
    pub(crate) async fn all(&self) -> Result<Vec<Event>, Error> {
        self.read(Condition::all()).await
    }

    /// The entries of the row with this id, also of those under former keys.
    ///
    /// One query, and one more for each change of its key.
    pub(crate) async fn of(&self, id: &str) -> Result<Vec<Event>, Error> {
        let mut events = self.with_id(id, None).await?;
        let (mut at, mut followed) = (0, BTreeSet::new());
        while let Some(event) = events.get(at) {
            let former = id_before(event, self.policy()).filter(|_| followed.len() < HOPS);
            let Some(former) = former.filter(|_| followed.insert(event.line.seq)) else {
                at += 1;
                continue;
            };
            let mut earlier = last_life(self.with_id(&former, Some(event.line.seq)).await?, self.policy());
            // The row begins where its entries begin, not where it got its last key.
            if let Some(first) = earlier.first_mut() {
                first.starts = true;
            }
            if let Some(event) = events.get_mut(at) {
                event.starts = earlier.is_empty();
            }
            events.splice(at..at, earlier);
        }
        // Where another row took the key over, it is to be known what became of the one before.
        let mut at = 1;
        while let (Some(last), Some(event)) = (events.get(at - 1), events.get(at)) {
            let taken_over = event.starts || event.kind == Kind::Created;
            if taken_over && !matches!(last.kind, Kind::Deleted | Kind::Moved) {
                let (after, before) = (last.line.seq, Some(event.line.seq));
                if let Some(left) = self.departure(id, after, before).await? {
                    events.insert(at, left);
                    at += 1;
                }
            }
            at += 1;
        }
        Ok(events)
    }

    /// The entry by which the row with this id got another one, which is recorded under the new one. No index leads to it.
    pub(crate) async fn departure(
        &self,
        id: &str,
        after: i64,
        before: Option<i64>,
    ) -> Result<Option<Event>, Error> {
        let mut names = Condition::any();
        for field in self.policy().fields.iter().filter(|field| field.key) {
            for name in field.aliases.iter().chain([&field.name]) {
                let part = format!("{}:{{\"old\":", Recorded::Text(name.clone()).to_json());
                let escaped: String = part
                    .chars()
                    .flat_map(|c| matches!(c, '%' | '_' | '!').then_some('!').into_iter().chain([c]))
                    .collect();
                names = names.add(Column::Changes.like(LikeExpr::new(format!("%{escaped}%")).escape('!')));
            }
        }
        let range = Condition::all()
            .add(Column::Action.eq(audit_core::action::UPDATE))
            .add(Column::Seq.gt(after))
            .add_option(before.map(|before| Column::Seq.lt(before)))
            .add(names);
        let found = self.read(range).await?;
        Ok(found.into_iter().find(|event| id_before(event, self.policy()).as_deref() == Some(id)).map(
            |mut event| {
                event.kind = Kind::Moved;
                event
            },
        ))
    }

    /// Whether whoever changed the row with this id last belongs to the tenant; without a tenant everybody does.
    pub(crate) async fn is_own(&self, id: &str) -> Result<bool, Error> {
        let Some(tenant) = self.tenant else { return Ok(true) };
        let last = self.changes_of(Some(id)).column(Column::Tenant).order_by_desc(Column::Seq).limit(1);
        let last =
            last.into_tuple::<Option<String>>().one(self.db).await.map_err(|error| unreadable(&error))?;
        Ok(last.flatten().as_deref() == Some(tenant))
    }

    /// The ids, or this one of them, under which rows were changed by somebody outside of the tenant.
    pub(crate) async fn changed_by_others(&self, id: Option<&str>) -> Result<BTreeSet<String>, Error> {
        let Some(tenant) = self.tenant else { return Ok(BTreeSet::new()) };
        let others = Condition::any().add(Column::Tenant.is_null()).add(Column::Tenant.ne(tenant));
        let ids = self.changes_of(id).column(Column::ResourceId).distinct().filter(others);
        let ids =
            ids.into_tuple::<Option<String>>().all(self.db).await.map_err(|error| unreadable(&error))?;
        Ok(ids.into_iter().flatten().collect())
    }

    /// Changes of rows by anybody, to select columns from.
    fn changes_of(&self, id: Option<&str>) -> Select<Entity> {
        let about = changes()
            .add(Column::ResourceType.eq(self.policy().resource.as_str()))
            .add_option(id.map(|id| Column::ResourceId.eq(id)));
        Entity::find().select_only().filter(about)
    }

    async fn with_id(&self, id: &str, before: Option<i64>) -> Result<Vec<Event>, Error> {
        let id = Column::ResourceId.eq(id);
        self.read(Condition::all().add(id).add_option(before.map(|before| Column::Seq.lt(before)))).await
    }

    async fn read(&self, condition: Condition) -> Result<Vec<Event>, Error> {
        let select = lines(self.tenant)
            .filter(Column::ResourceType.eq(self.policy().resource.as_str()))
            .filter(condition);
        let lines = select.into_model::<Line>().all(self.db).await.map_err(|error| unreadable(&error))?;
        lines.into_iter().map(|line| Event::read(line, self.policy())).collect()
    }
}

/// The entries of all rows of a table, by row. Rows keep together over changes of their keys.
pub(crate) fn by_row(events: Vec<Event>, policy: &ResourcePolicy) -> Vec<(String, Timeline)> {
    let mut rows: std::collections::BTreeMap<String, Vec<Event>> = std::collections::BTreeMap::new();
    let mut gone = Vec::new();
    for event in events {
        let id = event.line.resource_id.clone().unwrap_or_default();
        if let Some(former) = id_before(&event, policy).filter(|former| *former != id) {
            let row = rows.remove(&former).unwrap_or_default();
            // What had the key before had to leave it.
            gone.extend(rows.insert(id.clone(), row).map(|row| (id.clone(), row)));
        }
        rows.entry(id).or_default().push(event);
    }
    gone.extend(rows);
    gone.into_iter().map(|(id, events)| (id, Timeline::new(events))).collect()
}

/// The entries since the last row with their key began.
fn last_life(mut events: Vec<Event>, policy: &ResourcePolicy) -> Vec<Event> {
    let begins = events.iter().rposition(|event| {
        matches!(event.kind, Kind::Created | Kind::Deleted) || id_before(event, policy).is_some()
    });
    match begins {
        None => events,
        Some(at) if events.get(at).is_some_and(|event| event.kind == Kind::Deleted) => {
            events.split_off(at + 1)
        }
        Some(at) => events.split_off(at),
    }
}

/// The id that the row had before this entry, if it changed the key and its former parts are recorded.
pub(crate) fn id_before(event: &Event, policy: &ResourcePolicy) -> Option<String> {
    let changed = event.old_key(policy)?;
    let keys: Vec<&str> =
        policy.fields.iter().filter(|field| field.key).map(|field| field.name.as_str()).collect();
    let id = event.line.resource_id.as_deref()?;
    let mut parts = if keys.len() == 1 { vec![id.to_owned()] } else { split_key(id) };
    if parts.len() != keys.len() {
        return None;
    }
    for (name, old) in changed {
        let at = keys.iter().position(|key| *key == &*name)?;
        *parts.get_mut(at)? = key_text(&old)?;
    }
    let id = if let [only] = parts.as_slice() { only.clone() } else { join_key(&parts) };
    Resource::new("").id(id).id
}

/// A part of a key as text, from its rendering.
fn key_text(recorded: &str) -> Option<String> {
    if marker(recorded).is_some() {
        return None;
    }
    Some(if recorded.starts_with('"') { serde_json::from_str(recorded).ok()? } else { recorded.to_owned() })
}

/// The id of the row with this key, as entries have it.
///
/// # Errors
/// [`Error::Filter`] if a part is missing, or is recorded as a function makes it.
pub(crate) fn id_of(audited: &Audited, key: &[(String, sea_orm::Value)]) -> Result<String, Error> {
    let policy = &audited.policy;
    let mut identity = Vec::with_capacity(key.len());
    for (index, field) in policy.fields.iter().enumerate().filter(|(_, field)| field.key) {
        let value = key.iter().find(|(column, _)| *column == field.column);
        let Some((_, value)) = value.filter(|_| !field.transformed) else {
            return Err(Error::Filter(format!(
                "`{}` is part of the key of `{}`, and its value isn't recorded as it is",
                field.column, policy.resource
            )));
        };
        identity.push((index, render::value(value.clone())));
    }
    Resource::of_row(policy, &identity).id.ok_or_else(|| {
        Error::Filter(format!("`{}` has no primary key that entries could name", policy.resource))
    })
}

pub(crate) fn unreadable(error: &DbErr) -> Error {
    Error::Query { reason: describe(error).to_owned(), retryable: is_retryable(error) }
}
