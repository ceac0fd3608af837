//! A row as it was, as far as that is known.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use audit_core::Actor;
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, DbErr, EntityTrait, IdenStatic, Iterable, ModelTrait, TryIntoModel, Value};
use serde_json::Value as Json;
use uuid::Uuid;

use super::line::Event;
use super::timeline::{Known, State, States};
use crate::capture::render;
use crate::decode::{decode, exact_json, fit};
use crate::registry::Audited;

/// What is known of a field at a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldState {
    /// Its value, as entries record it (`docs/RECORD_FORMAT.md`).
    Known(Json),
    /// Why it isn't known.
    Unknown(Unknown),
}

/// How a value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// An entry set it.
    Recorded,
    /// A later entry found it there. True if nothing changed it unrecorded in between, as before auditing began.
    Inferred,
    /// The row has it now, and no entry says otherwise; only with `with_current`.
    Current,
}

/// Why a value isn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unknown {
    /// Masked or sensitive: entries say only that it changed.
    Masked,
    /// Excluded, not included, or not yet recorded when the row began.
    NotRecorded,
    /// Recorded as a function (`with = ..`) made it.
    Transformed,
    /// A secret inside of it was replaced, or it contains `***` itself.
    Sanitised,
    /// Over the size cap: only its length and digest are recorded.
    Oversized,
    /// No entry tells it: the row is older than its entries.
    BeforeFirstEntry,
    /// Silent: it may have changed since it was last recorded.
    Silent,
    /// The next entry found another value than the last one left: something changed it unrecorded.
    Contradicted,
    /// What is recorded doesn't fit the field's type any more.
    Unreadable,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Masked => "masked",
            Self::NotRecorded => "not recorded",
            Self::Transformed => "recorded as a function made it",
            Self::Sanitised => "a secret in it was replaced",
            Self::Oversized => "over the size cap",
            Self::BeforeFirstEntry => "before the first entry",
            Self::Silent => "silent, so it may have changed unrecorded",
            Self::Contradicted => "changed unrecorded",
            Self::Unreadable => "it doesn't fit the field's type",
        })
    }
}

/// The fields without which there is no model, each with the reason.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("not all of the row is known: {}; fill them in by `model_with`", list(.fields))]
pub struct UnknownFields {
    /// Names of the fields, as in entries.
    pub fields: Vec<(String, Unknown)>,
}

fn list(fields: &[(String, Unknown)]) -> String {
    fields.iter().map(|(name, why)| format!("`{name}` ({why})")).collect::<Vec<_>>().join(", ")
}

/// The entry that made a version.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecordedChange {
    /// Id of the entry.
    pub entry_id: Uuid,
    /// Its number.
    pub seq: i64,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// Who.
    pub actor: Actor,
    /// `create`, `update` or `delete`.
    pub action: String,
    /// The row's key after it, as text.
    pub resource_id: Option<String>,
    /// The fields that changed, by the names they have now.
    pub changed: Vec<String>,
    /// Why.
    pub reason: Option<String>,
    /// The transaction that it belongs to.
    pub transaction_id: Option<String>,
    /// Whether it is not known that the change was committed (an entry of status `warning`, after a lost connection).
    pub uncertain: bool,
}

impl From<&Event> for RecordedChange {
    fn from(event: &Event) -> Self {
        let line = &event.line;
        Self {
            entry_id: line.id,
            seq: line.seq,
            timestamp: line.timestamp,
            actor: event.actor(),
            action: line.action.clone(),
            resource_id: line.resource_id.clone(),
            changed: event.changed.clone(),
            reason: line.reason.clone(),
            transaction_id: line.transaction_id.clone(),
            uncertain: line.status == "warning",
        }
    }
}

/// A row as it was: after an entry, or at a moment. A deleted one is as it was before.
#[derive(Clone)]
pub struct Version<M> {
    pub(super) audited: Arc<Audited>,
    pub(super) change: Option<RecordedChange>,
    pub(super) states: States,
    pub(super) model: PhantomData<fn() -> M>,
}

/// Without values.
impl<M> fmt::Debug for Version<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("resource", &self.audited.policy.resource)
            .field("change", &self.change.as_ref().map(|change| (change.seq, &change.action)))
            .finish_non_exhaustive()
    }
}

impl<M> Version<M> {
    pub(super) fn new(audited: &Arc<Audited>, event: Option<&Event>, states: States) -> Self {
        let change = event.map(RecordedChange::from);
        Self { audited: Arc::clone(audited), change, states, model: PhantomData }
    }

    /// The entry that made the row what it is here. `None`: at this moment the row had no entry yet, and what is known of it
    /// is what later ones found.
    pub fn change(&self) -> Option<&RecordedChange> {
        self.change.as_ref()
    }

    /// Whether this is what the row was before it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.action == audit_core::action::DELETE)
    }

    /// What is known of a field; `name` is its name in entries, an alias of it or its column. Columns that have been dropped
    /// are there as well. `None`: there is no such field.
    pub fn get(&self, name: &str) -> Option<FieldState> {
        Some(match &self.known(name)?.state {
            State::Unknown(why) => FieldState::Unknown(*why),
            State::Known(recorded, _) => {
                exact_json(recorded).map_or(FieldState::Unknown(Unknown::Unreadable), FieldState::Known)
            }
        })
    }

    /// How the field's value is known. `None`: it isn't.
    pub fn source(&self, name: &str) -> Option<Source> {
        match self.known(name)?.state {
            State::Known(_, source) => Some(source),
            State::Unknown(_) => None,
        }
    }

    /// What was last recorded of a field of which it isn't known whether it still had that value: a silent one, or one that
    /// was changed unrecorded.
    pub fn last_recorded(&self, name: &str) -> Option<Json> {
        exact_json(self.known(name)?.last.as_ref()?)
    }

    /// All fields with what is known of them, by their names in entries.
    pub fn fields(&self) -> BTreeMap<String, FieldState> {
        self.states.keys().filter_map(|name| Some((name.to_string(), self.get(name)?))).collect()
    }

    fn known(&self, name: &str) -> Option<&Known> {
        let policy = &self.audited.policy;
        let field = policy.field_of_name(name).and_then(|at| policy.fields.get(at));
        self.states.get(field.map_or(name, |field| field.name.as_str()))
    }
}

impl<M> Version<M>
where
    M: ModelTrait,
    <M::Entity as EntityTrait>::ActiveModel: TryIntoModel<M>,
{
    /// The row as a model.
    ///
    /// # Errors
    /// [`UnknownFields`] if not all of it is known: a model can't say "unknown", and nothing is made up. See
    /// [`model_with`](Self::model_with).
    pub fn model(&self) -> Result<M, UnknownFields> {
        self.model_with(|_| None)
    }

    /// The row as a model; what isn't known is asked of `fill`, by the field's name in entries. It gives a SeaORM value or
    /// `None`.
    ///
    /// ```
    /// # use audit_seaorm::{Version, UnknownFields};
    /// # mod account {
    /// #     use audit_seaorm::prelude::*;
    /// #     use sea_orm::entity::prelude::*;
    /// #     #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
    /// #     #[sea_orm(table_name = "account")]
    /// #     pub struct Model { #[sea_orm(primary_key)] pub id: i64, #[audit(mask)] pub iban: String }
    /// #     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)] pub enum Relation {}
    /// #     #[audited] impl ActiveModelBehavior for ActiveModel {}
    /// # }
    /// fn as_it_was(version: &Version<account::Model>, now: &account::Model) -> Result<account::Model, UnknownFields> {
    ///     version.model_with(|field| (field == "iban").then(|| now.iban.clone().into()))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`UnknownFields`] for the fields that `fill` gives nothing for, or something of another type.
    pub fn model_with(&self, fill: impl Fn(&str) -> Option<Value>) -> Result<M, UnknownFields> {
        let mut row = <<M::Entity as EntityTrait>::ActiveModel as ActiveModelTrait>::default();
        let mut unknown = Vec::new();
        for column in <M::Entity as EntityTrait>::Column::iter() {
            let policy = &self.audited.policy;
            let field = policy.field_of_column(column.as_str()).and_then(|at| policy.fields.get(at));
            let name = field.map_or(column.as_str(), |field| field.name.as_str());
            let value = match self.states.get(name).map(|known| &known.state) {
                Some(State::Known(recorded, _)) => {
                    decode::<M::Entity>(column, recorded).ok_or(Unknown::Unreadable)
                }
                Some(State::Unknown(why)) => Err(*why),
                None => Err(Unknown::NotRecorded),
            };
            let value =
                value.or_else(|why| fill(name).and_then(|value| fit::<M::Entity>(column, value)).ok_or(why));
            match value {
                Ok(value) if row.try_set(column, value.clone()).is_ok() => {}
                Ok(_) => unknown.push((name.to_owned(), Unknown::Unreadable)),
                Err(why) => unknown.push((name.to_owned(), why)),
            }
        }
        let unreadable = |_: DbErr| UnknownFields { fields: Vec::new() };
        if unknown.is_empty() {
            row.try_into_model().map_err(unreadable)
        } else {
            Err(UnknownFields { fields: unknown })
        }
    }

    /// The row as a model, with what isn't known taken from `current`, the row as it is now or any other.
    ///
    /// # Errors
    /// [`UnknownFields`] never, unless `current` is of an entity with columns that its model doesn't have.
    pub fn model_or(&self, current: &M) -> Result<M, UnknownFields> {
        let policy = &self.audited.policy;
        self.model_with(|name| {
            let mut columns = <M::Entity as EntityTrait>::Column::iter();
            let field = policy.field_of_name(name).and_then(|at| policy.fields.get(at))?;
            Some(current.get(columns.find(|column| column.as_str() == field.column)?))
        })
    }
}

/// The rendering of a row's column, as entries have it.
pub(super) fn recorded_now<M: ModelTrait>(
    audited: &Audited,
    row: &M,
    column: <M::Entity as EntityTrait>::Column,
) -> Option<(Arc<str>, Arc<str>)> {
    let policy = &audited.policy;
    let field = policy.field_of_column(column.as_str()).and_then(|at| policy.fields.get(at))?;
    let value = policy.guard(field, render::value(row.get(column)));
    field.is_recorded_as_it_is().then(|| (field.name.as_str().into(), value.to_json().into()))
}
