//! One statement of a text, as it is planned.

use std::sync::{Arc, OnceLock};

use audit_core::action;

use crate::capture::postgres;
use crate::capture::sql::{Conflict, Parsed, TableName, What};
use crate::registry::Audited;

/// One statement of a text.
#[derive(Debug)]
pub(in crate::capture) struct Step {
    pub(in crate::capture) parsed: Parsed,
    /// What the table that it names is audited as; `None` if it isn't.
    pub(super) target: Option<Arc<Audited>>,
    /// The audited tables that it changes as a whole.
    pub(super) others: Vec<Arc<Audited>>,
    /// Whether there is something to record.
    pub(super) captured: bool,
    /// Whether there is nothing to record, and only capture's triggers have to be out of its way (SQLite).
    pub(in crate::capture) needs_way: bool,
    /// The statement as PostgreSQL gets it, once it was needed.
    pub(in crate::capture) rewritten: OnceLock<Result<postgres::Rewritten, String>>,
}

impl Step {
    /// What the table that the statement changes is audited as.
    pub(in crate::capture) fn target(&self) -> Option<&Arc<Audited>> {
        self.target.as_ref()
    }

    /// All audited tables that it is known to change.
    pub(in crate::capture) fn audited(&self) -> impl Iterator<Item = &Arc<Audited>> {
        self.target.iter().chain(&self.others)
    }

    /// The schema that it names for that table.
    pub(in crate::capture) fn schema(&self) -> Option<&str> {
        target_of(&self.parsed)?.schema.as_deref()
    }

    /// The audited tables that a statement changes as a whole.
    pub(in crate::capture) fn others(&self) -> &[Arc<Audited>] {
        &self.others
    }

    /// Whether what other reads find may decide which rows it changes.
    pub(in crate::capture) fn chooses_by_reads(&self) -> bool {
        matches!(self.parsed.what, What::Update(_) | What::Delete(_)) && !self.parsed.reads.is_empty()
    }

    /// Whether rows that it doesn't change decide which it does.
    pub(in crate::capture) fn chooses_by_others(&self) -> bool {
        let limited = match &self.parsed.what {
            What::Update(update) => update.tail.is_some(),
            What::Delete(delete) => delete.tail.is_some(),
            _ => false,
        };
        limited || self.chooses_by_reads()
    }

    /// Whether it changes rows that are in the way of new ones.
    pub(in crate::capture) fn is_upsert(&self) -> bool {
        matches!(&self.parsed.what, What::Insert(insert) if matches!(insert.conflict, Conflict::Update { .. }))
    }

    /// Whether it deletes rows that are in the way of new ones.
    pub(in crate::capture) fn replaces(&self) -> bool {
        match &self.parsed.what {
            What::Insert(insert) => insert.conflict == Conflict::Replace,
            What::Update(update) => update.or == Conflict::Replace,
            _ => false,
        }
    }

    /// Whether rows may change by it.
    pub(in crate::capture) fn is_write(&self) -> bool {
        !matches!(self.parsed.what, What::Read | What::Transaction | What::Setting(_) | What::Upkeep)
    }

    /// What it does to what, for errors.
    pub(in crate::capture) fn subject(&self) -> (&'static str, &str) {
        let action = match self.parsed.what {
            What::Insert(_) => action::CREATE,
            What::Update(_) => action::UPDATE,
            What::Delete(_) => action::DELETE,
            _ => "write",
        };
        (action, self.target.as_ref().map_or("an audited table", |audited| &audited.policy.resource))
    }
}

/// Whether what the statement does to the table's rows makes entries.
pub(super) fn is_wanted(what: &What, target: &Audited) -> bool {
    let operations = target.policy.operations;
    match what {
        What::Insert(insert) if matches!(insert.conflict, Conflict::None) => operations.create,
        What::Update(update) if matches!(update.or, Conflict::None) => operations.update,
        What::Delete(_) => operations.delete,
        _ => operations.create || operations.update || operations.delete,
    }
}

/// The table that a statement names as the one that it changes.
pub(in crate::capture) fn target_of(parsed: &Parsed) -> Option<&TableName> {
    match &parsed.what {
        What::Insert(insert) => Some(&insert.target.name),
        What::Update(update) => Some(&update.target.name),
        What::Delete(delete) => Some(&delete.target.name),
        _ => None,
    }
}
