//! One entry as history reads it: fewer columns than it has, and its changes by field.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit_core::{Actor, Error, ResourcePolicy, Status, action};
use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::entity::audit_log::{Column, Entity};

/// The columns of an entry that matter for what became of a row.
#[derive(Clone, Debug, FromQueryResult)]
pub(crate) struct Line {
    pub(crate) id: Uuid,
    pub(crate) seq: i64,
    pub(crate) timestamp: DateTime<Utc>,
    pub(crate) actor_id: Option<String>,
    pub(crate) actor_type: String,
    pub(crate) actor_name: Option<String>,
    pub(crate) actor_email: Option<String>,
    pub(crate) action: String,
    pub(crate) resource_type: String,
    pub(crate) resource_id: Option<String>,
    pub(crate) status: String,
    pub(crate) changes: Option<String>,
    pub(crate) old_data: Option<String>,
    pub(crate) new_data: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) transaction_id: Option<String>,
}

/// Entries about changes of rows, as [`Line`]s, in their order; of this tenant, if there is one.
///
/// What failed or was refused changed nothing. A warning is a change of which it isn't known whether it was committed.
pub(crate) fn lines(tenant: Option<&str>) -> Select<Entity> {
    Entity::find()
        .select_only()
        .columns([
            Column::Id,
            Column::Seq,
            Column::Timestamp,
            Column::ActorId,
            Column::ActorType,
            Column::ActorName,
            Column::ActorEmail,
            Column::Action,
            Column::ResourceType,
            Column::ResourceId,
            Column::Status,
            Column::Changes,
            Column::OldData,
            Column::NewData,
            Column::Reason,
            Column::TransactionId,
        ])
        .filter(changes().add_option(tenant.map(|tenant| Column::Tenant.eq(tenant))))
        .order_by_asc(Column::Seq)
}

/// What is true of entries about changes of rows.
pub(super) fn changes() -> Condition {
    Condition::all()
        .add(Column::Action.is_in([action::CREATE, action::UPDATE, action::DELETE]))
        .add(Column::Status.is_in([Status::Success.as_str(), Status::Warning.as_str()]))
}

/// What an entry did to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Created,
    Updated,
    Deleted,
    /// The row got another key: under the one that is asked for it ended.
    Moved,
}

/// A field on both sides of a change, as recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sides {
    pub(crate) old: Option<Arc<str>>,
    pub(crate) new: Option<Arc<str>>,
}

/// An entry, read.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) line: Arc<Line>,
    pub(crate) kind: Kind,
    /// By the names that the fields have now; those of dropped columns as they are.
    pub(crate) fields: BTreeMap<Arc<str>, Sides>,
    /// The names of the fields that changed.
    pub(crate) changed: Vec<String>,
    /// From when on it counts: no earlier than those before it, whatever the clocks of several servers say.
    pub(crate) when: DateTime<Utc>,
    /// What came before it was another row.
    pub(crate) starts: bool,
}

#[derive(serde::Deserialize)]
struct Written<'a> {
    #[serde(borrow, default, deserialize_with = "there")]
    old: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    new: Option<&'a RawValue>,
}

/// A side that is `null` is there.
fn there<'de, D: serde::Deserializer<'de>>(side: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue as serde::Deserialize>::deserialize(side).map(Some)
}

impl Event {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`Error::Format`] if its changes or snapshots are no JSON objects.
    pub(crate) fn read(line: Line, policy: &ResourcePolicy) -> Result<Self, Error> {
        let kind = match line.action.as_str() {
            action::CREATE => Kind::Created,
            action::DELETE => Kind::Deleted,
            _ => Kind::Updated,
        };
        let name = |name: String| match policy.field_of_name(&name).and_then(|at| policy.fields.get(at)) {
            Some(field) => Arc::<str>::from(field.name.as_str()),
            None => name.into(),
        };
        let mut fields: BTreeMap<Arc<str>, Sides> = BTreeMap::new();
        let mut changed = Vec::new();
        if let Some(text) = &line.changes {
            for (field, written) in members::<Written<'_>>("changes", text)? {
                let field = name(field);
                changed.push(field.to_string());
                let side = |raw: Option<&RawValue>| raw.map(|raw| Arc::<str>::from(raw.get()));
                fields.insert(field, Sides { old: side(written.old), new: side(written.new) });
            }
        }
        changed.sort_by_key(|name| policy.field_of_name(name));
        // A snapshot tells what else was there.
        for (text, is_old) in [(&line.old_data, true), (&line.new_data, false)] {
            let Some(text) = text else { continue };
            for (field, raw) in members::<&RawValue>("snapshot", text)? {
                let sides = fields.entry(name(field)).or_default();
                let side = if is_old { &mut sides.old } else { &mut sides.new };
                side.get_or_insert_with(|| raw.get().into());
            }
        }
        Ok(Self { when: line.timestamp, line: Arc::new(line), kind, fields, changed, starts: false })
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor {
            kind: self.line.actor_type.clone().into(),
            id: self.line.actor_id.clone(),
            name: self.line.actor_name.clone(),
            email: self.line.actor_email.clone(),
        }
    }

    /// The key that the row had before, if this changed it: its parts as recorded, by field.
    pub(crate) fn old_key(&self, policy: &ResourcePolicy) -> Option<Vec<(Arc<str>, Arc<str>)>> {
        if self.kind != Kind::Updated {
            return None;
        }
        let parts: Vec<_> = policy
            .fields
            .iter()
            .filter(|field| field.key)
            .filter_map(|field| {
                let (name, sides) = self.fields.get_key_value(field.name.as_str())?;
                let (old, new) = (sides.old.as_ref()?, sides.new.as_ref()?);
                (old != new).then(|| (Arc::clone(name), Arc::clone(old)))
            })
            .collect();
        (!parts.is_empty()).then_some(parts)
    }
}

fn members<'a, T: serde::Deserialize<'a>>(what: &str, text: &'a str) -> Result<Vec<(String, T)>, Error> {
    let members: BTreeMap<String, T> = serde_json::from_str(text)
        .map_err(|_| Error::Format(format!("`{what}` of an entry isn't what the record format says")))?;
    Ok(members.into_iter().collect())
}
