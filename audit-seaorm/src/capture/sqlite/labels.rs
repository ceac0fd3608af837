//! Labels on SQLite: the triggers read them, as the change is made.
//!
//! By then a foreign key may have removed the row that is referred to, or changed its key: so a trigger of its own keeps
//! key and label of such a row before it changes. What is kept is of one captured statement; the next one clears it.

use std::fmt::Write as _;

use sea_orm::{DbErr, QueryResult};

use super::quote;
use crate::capture::labels::Labels;
use crate::registry::{Audited, Reference};

/// Keeps the labels of rows that change.
pub(super) const KEPT: &str = "\
    CREATE TEMP TABLE audit_capture_label (r, k, l, PRIMARY KEY (r, k)) WITHOUT ROWID; \
    CREATE TEMP TRIGGER audit_capture_label_clear INSTEAD OF INSERT ON audit_capture_arm \
      BEGIN DELETE FROM audit_capture_label; END";

/// A trigger on a table that references lead to.
#[derive(Debug, Hash)]
pub(super) struct Keeper {
    /// Schema and name of the table.
    pub(super) table: (String, String),
    pub(super) trigger: String,
}

/// The references of a table, the number of its first one among those of all tables, and what its triggers do for them.
#[derive(Debug, Default)]
pub(super) struct References {
    first: usize,
    references: Vec<Reference>,
}

/// Schema and name of a table.
fn split(table: &str) -> (String, String) {
    let (schema, name) = table.split_once('.').unwrap_or(("main", table));
    (schema.to_owned(), name.to_owned())
}

impl References {
    pub(super) fn new(audited: &Audited, first: usize) -> Self {
        Self { first, references: audited.references.clone() }
    }

    pub(super) fn len(&self) -> usize {
        self.references.len()
    }

    /// What a trigger adds to its columns and values.
    pub(super) fn read(&self, audited: &Audited, [old, new]: [bool; 2]) -> (String, String) {
        let (mut columns, mut values) = (String::new(), String::new());
        for (at, reference) in self.references.iter().enumerate() {
            let number = self.first + at;
            let own = quote(&reference.column);
            let (schema, table) = split(&reference.table);
            let is_self = reference.table == audited.policy.table;
            let label = |side: &str| {
                let now = format!(
                    "(SELECT CAST({} AS TEXT) FROM {}.{} WHERE {} = {side}.{own})",
                    quote(&reference.label),
                    quote(&schema),
                    quote(&table),
                    quote(&reference.key)
                );
                let kept = format!(
                    "(SELECT l FROM temp.audit_capture_label WHERE r = {number} AND k = {side}.{own})"
                );
                let label = match side {
                    "OLD" if is_self => format!("COALESCE({kept}, {now})"),
                    "OLD" => format!("COALESCE({now}, {kept})"),
                    _ => now,
                };
                if old && new {
                    format!("CASE WHEN OLD.{own} IS NOT NEW.{own} THEN {label} END")
                } else {
                    label
                }
            };
            for (side, letter, there) in [("OLD", 'o', old), ("NEW", 'n', new)] {
                if there {
                    _ = write!(columns, ", l{letter}{at}");
                    _ = write!(values, ", {}", label(side));
                }
            }
        }
        (columns, values)
    }

    /// The columns of an image's labels, for a `SELECT`.
    pub(super) fn columns(&self) -> String {
        (0..self.references.len()).map(|at| format!(", i.lo{at} AS lo{at}, i.ln{at} AS ln{at}")).collect()
    }

    /// The labels of an image.
    pub(super) fn labels(&self, audited: &Audited, row: &QueryResult) -> Result<Labels, DbErr> {
        let mut labels = Labels::default();
        for (at, reference) in self.references.iter().enumerate() {
            labels.old.push((reference.field, row.try_get("", &format!("lo{at}"))?));
            // A row may be named after the one that refers to it, in one statement: that is asked for after it.
            if reference.table != audited.policy.table {
                labels.new.push((reference.field, row.try_get("", &format!("ln{at}"))?));
            }
        }
        Ok(labels)
    }

    /// The triggers on the tables that the references lead to.
    pub(super) fn keepers(&self) -> Vec<Keeper> {
        let mut keepers = Vec::new();
        for (at, reference) in self.references.iter().enumerate() {
            let number = self.first + at;
            let table = split(&reference.table);
            let (key, label) = (quote(&reference.key), quote(&reference.label));
            for (letter, event) in [('d', "DELETE".to_owned()), ('u', format!("UPDATE OF {key}, {label}"))] {
                let trigger = format!(
                    "CREATE TEMP TRIGGER audit_capture_label_{letter}{number} BEFORE {event} ON {}.{} \
                     WHEN (SELECT armed FROM temp.audit_capture_state) AND OLD.{key} IS NOT NULL \
                     BEGIN INSERT INTO audit_capture_label SELECT {number}, OLD.{key}, CAST(OLD.{label} AS TEXT) \
                       WHERE NOT EXISTS (SELECT 1 FROM temp.audit_capture_label WHERE r = {number} AND k = OLD.{key}); END",
                    quote(&table.0),
                    quote(&table.1),
                );
                keepers.push(Keeper { table: table.clone(), trigger });
            }
        }
        keepers
    }
}
