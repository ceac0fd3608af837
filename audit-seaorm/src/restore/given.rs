//! Values that the caller gives, and whether they can be given.

use std::fmt;

use audit_core::{Error, closest_name};
use sea_orm::Value;

use super::refused;
use super::wanted::{Goal, Wanted};
use crate::history::timeline::State;

/// So many rows are named in an error.
const NAMED_ROWS: usize = 5;

/// A value that the caller gives, since entries don't tell it.
#[derive(Clone)]
pub(super) struct Given {
    /// Resource and id; none means the row that the restore is about.
    pub(super) of: Option<(String, String)>,
    pub(super) field: String,
    pub(super) value: Value,
}

/// Without the value.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("of", &self.of).field("field", &self.field).finish_non_exhaustive()
    }
}

impl Given {
    /// Whether it is a value of this row; `root` is that which the restore is about.
    pub(super) fn is_of(&self, wanted: &Wanted, root: bool) -> bool {
        match &self.of {
            None => root,
            Some((resource, id)) => *resource == wanted.audited.policy.resource && *id == wanted.id,
        }
    }
}

/// Refuses what would be given in vain: a row or a field that isn't there. Of values nothing is said.
///
/// # Errors
/// [`Error::Restore`] with what could be given.
pub(super) fn check(given: &[Given], wanted: &[Wanted]) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    for given in given {
        let row = wanted.iter().enumerate().find(|(at, wanted)| given.is_of(wanted, *at == 0));
        match (row, &given.of) {
            (Some((_, row)), _) => check_field(given, row, wanted.len() > 1)?,
            (None, Some((resource, id))) => {
                let rows = rows(wanted);
                return Err(refused(format!(
                    "`set_of` names {resource} {id}, and this restore has only {rows}"
                )));
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn check_field(given: &Given, row: &Wanted, has_others: bool) -> Result<(), Error> {
    let policy = &row.audited.policy;
    if policy.field_of_name(&given.field).is_some() {
        return Ok(());
    }
    let names: Vec<&str> = policy.fields.iter().map(|field| field.name.as_str()).collect();
    let call = if given.of.is_some() { "set_of" } else { "set" };
    let mut why =
        format!("`{call}` gives a value of `{}`, and {} has no such field; ", given.field, policy.resource);
    let values = match closest_name(&given.field, &names) {
        Some(meant) => {
            why.push_str(&format!("did you mean `{meant}`? "));
            "Values"
        }
        None => "values",
    };
    let open: Vec<String> = unknown_fields(row).map(|name| format!("`{name}`")).collect();
    if open.is_empty() {
        let values = if values == "Values" { "Its values" } else { "its values" };
        why.push_str(&format!("{values} are known, so none can be given"));
    } else {
        why.push_str(&format!("{values} can be given of {}", open.join(", ")));
    }
    if given.of.is_none() && has_others {
        why.push_str("; those of other rows by `set_of`");
    }
    Err(refused(why))
}

/// The fields of a row whose values no entry tells.
fn unknown_fields(row: &Wanted) -> impl Iterator<Item = &str> {
    let fields = row.audited.policy.fields.iter().filter(|field| !field.key);
    let unknown = fields.filter(|field| match &row.goal {
        Goal::Absent => false,
        Goal::Whole(goals) => !matches!(goals.get(field.name.as_str()), Some(State::Known(..))),
        Goal::Fields(goals) => matches!(goals.get(field.name.as_str()), Some(State::Unknown(_))),
    });
    unknown.map(|field| field.name.as_str())
}

fn rows(wanted: &[Wanted]) -> String {
    let name = |row: &Wanted| format!("{} {}", row.audited.policy.resource, row.id);
    let named: Vec<String> = wanted.iter().take(NAMED_ROWS).map(name).collect();
    match wanted.len().saturating_sub(NAMED_ROWS) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
