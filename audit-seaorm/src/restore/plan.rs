//! What a restore would do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use audit_core::Resource;
use sea_orm::Value;
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::history::Unknown;
use crate::registry::Audited;

/// What a restore would do, made by [`Restore::plan`](super::Restore::plan). Nothing has been done yet.
#[derive(Debug)]
pub struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) action: &'static str,
    pub(super) about: Resource,
    pub(super) module: Option<String>,
    pub(super) reverted: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) forced: bool,
}

/// What is done to one row.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What is done.
    pub action: StepAction,
    /// Type of the resource.
    pub resource: String,
    /// Id of the resource, as in entries.
    pub id: String,
    /// The fields that get another value, without those whose values entries hide.
    pub fields: Vec<StepField>,
    /// The fields whose former values aren't known, and what becomes of them.
    pub unrestorable: Vec<Unrestorable>,
    /// The entries that it takes back.
    pub entries: Vec<Uuid>,
    #[serde(skip)]
    pub(super) work: Work,
}

/// What is done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepAction {
    /// It comes back.
    Insert,
    /// Some of its fields change.
    Update,
    /// It goes.
    Delete,
}

impl StepAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A field that gets another value. Values are as entries record them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepField {
    /// Its name in entries.
    pub name: String,
    /// What it is now; nothing if the row isn't there.
    pub old: Option<Json>,
    /// What it will be; nothing if the row goes.
    pub new: Option<Json>,
}

/// A field whose former value isn't known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Unrestorable {
    /// Its name in entries.
    pub field: String,
    /// Why.
    #[serde(serialize_with = "shown")]
    pub why: Unknown,
    /// What becomes of it.
    pub effect: Effect,
}

fn shown<S: serde::Serializer>(why: &Unknown, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(why)
}

/// What becomes of a field whose former value isn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It stays what it is.
    Stays,
    /// It becomes NULL.
    BecomesNull,
    /// It gets the default of its column.
    BecomesDefault,
    /// It gets the value that the caller gave.
    Given,
    /// It must be given by the caller.
    Needed,
}

/// What stands against a restore.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Conflict {
    /// Type of the resource.
    pub resource: String,
    /// Id of the resource.
    pub id: String,
    /// What it is.
    pub kind: ConflictKind,
    /// Whether values of the row are given by `set_of`: the restore is about another one.
    #[serde(skip)]
    pub(super) by_row: bool,
}

/// What stands against a restore.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConflictKind {
    /// The field was changed later; forced, it is overwritten.
    Changed {
        /// Its name in entries.
        field: String,
        /// What the change that is taken back made it.
        expected: Option<Json>,
        /// What it is now.
        found: Option<Json>,
    },
    /// A row with this key is there again; forced, it is overwritten.
    Exists,
    /// The row is gone: its change can't be taken back; restore the row first.
    Gone,
    /// The row that it refers to isn't there: restore that first.
    MissingParent {
        /// The table that it refers to.
        table: String,
    },
    /// Other rows refer to it, which this restore is not about.
    Referenced {
        /// The table that they are in.
        table: String,
        /// How many; `None` for who is bound to a tenant, since some may be another's.
        rows: Option<u64>,
    },
    /// The field can't be empty, and no entry tells its value: give one by `set`, of another row than that which the restore is about
    /// by `set_of`.
    Needed {
        /// Its name in entries.
        field: String,
        /// Why no entry tells it.
        #[serde(serialize_with = "shown")]
        why: Unknown,
    },
}

impl Conflict {
    /// Whether [`Plan::force`] goes over it.
    pub fn is_forcible(&self) -> bool {
        matches!(self.kind, ConflictKind::Changed { .. } | ConflictKind::Exists)
    }
}

/// With what a step is executed.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) audited: Arc<Audited>,
    /// Where the row is, or will be.
    pub(super) key: Vec<(String, Value)>,
    /// What is written.
    pub(super) values: Vec<(String, Value)>,
    /// The row now and then: by column its rendering, with what entries hide. For comparison only.
    pub(super) before: Option<BTreeMap<String, String>>,
    pub(super) after: Option<BTreeMap<String, String>>,
    /// Rows of other tables that must not refer to the row when it goes: how they are counted.
    pub(super) referrers: Vec<(String, sea_orm::sea_query::SelectStatement)>,
    /// Number of the last entry that it takes back.
    pub(super) seq: i64,
    /// The row comes back by an earlier step.
    pub(super) deferred: bool,
}

/// Without values.
impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

impl Plan {
    /// What is done, in this order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What stands against it.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Overwrites what was changed later. Conflicts that are none of overwriting stay.
    pub fn force(mut self) -> Self {
        self.forced = true;
        self
    }

    /// The conflicts that still keep it from being executed.
    pub(super) fn obstacles(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts.iter().filter(|conflict| !(self.forced && conflict.is_forcible()))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<Json>| value.as_ref().map_or("-".to_owned(), Json::to_string);
        let id = self.about.id.as_deref().unwrap_or("-");
        writeln!(f, "{} {} {id}", self.action, self.about.kind)?;
        for step in &self.steps {
            writeln!(f, "  {} {} {}", step.action.as_str(), step.resource, step.id)?;
            for field in &step.fields {
                writeln!(f, "    {}: {} -> {}", field.name, side(&field.old), side(&field.new))?;
            }
            for field in &step.unrestorable {
                let effect = match field.effect {
                    Effect::Stays => "stays as it is",
                    Effect::BecomesNull => "becomes NULL",
                    Effect::BecomesDefault => "gets its default",
                    Effect::Given => "gets the value given",
                    Effect::Needed => "must be given",
                };
                writeln!(f, "    {}: {effect} ({})", field.field, field.why)?;
            }
        }
        for conflict in &self.conflicts {
            writeln!(f, "  conflict: {conflict}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.resource, self.id)?;
        match &self.kind {
            // Values are for the plan; this may end up in an error.
            ConflictKind::Changed { field, .. } => write!(f, "was changed later in `{field}`"),
            ConflictKind::Exists => f.write_str("is there again"),
            ConflictKind::Gone => f.write_str("is gone; restore it first"),
            ConflictKind::MissingParent { table } => {
                write!(f, "refers to a row of `{table}` that isn't there; restore that first")
            }
            ConflictKind::Referenced { table, rows } => {
                f.write_str("is referred to by ")?;
                if let Some(rows) = rows {
                    write!(f, "{rows} ")?;
                }
                write!(f, "rows of `{table}` that this restore is not about")
            }
            ConflictKind::Needed { field, why } => {
                write!(f, "needs a value of `{field}`, which isn't known ({why}); give it by ")?;
                if !self.by_row {
                    return f.write_str("`set`");
                }
                // As it would be written: a number by itself, anything else as a text.
                let is_number = self.id.parse::<i128>().is_ok_and(|number| number.to_string() == self.id);
                let id = if is_number { self.id.clone() } else { format!("{:?}", self.id) };
                write!(f, "`set_of({:?}, {id}, {field:?}, ..)`", self.resource)
            }
        }
    }
}
