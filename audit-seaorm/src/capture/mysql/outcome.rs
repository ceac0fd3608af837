//! Whether an INSERT has done what the rows that were found for it say. A generated column, a trigger or the conversion of a value
//! may make a key that nobody looked for: the row in the way by it would be deleted or changed unseen.

use sea_orm::DbErr;

use super::super::cascades::{self, Change};
use super::super::request::Answer;
use super::super::sql::{Conflict, Insert, Source};
use super::super::text::{Text, quote};
use super::{BACKEND, Look, is_weak};

/// The column with the digest of a row.
pub(super) const DIGEST: &str = "audit_digest";

/// Why a statement is refused whose outcome isn't what was found.
pub(super) const UNSEEN: &str = "a row was in its way that its values don't name, by a key that a conversion, a trigger or a generated column makes; pass values as the column holds them, or UPDATE and DELETE such rows";

/// What became of the rows, in numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Outcome {
    /// Rows that the statement has values for.
    pub(super) proposed: u64,
    /// Rows that were there before under one of the keys.
    pub(super) before: u64,
    /// Those of them that are still there.
    pub(super) left: u64,
    /// Those of them in which anything has changed.
    pub(super) changed: u64,
    /// New rows.
    pub(super) created: u64,
}

impl Look<'_> {
    /// Compares the outcome with the number of rows that the database says were affected.
    pub(super) async fn check_outcome(
        &self,
        insert: &Insert,
        answer: &Answer,
        outcome: Outcome,
    ) -> Result<(), DbErr> {
        let Outcome { proposed, before, left, changed, created } = outcome;
        let affected = match answer {
            Answer::Executed(result) => Some(result.rows_affected()),
            Answer::Rows(_) => None,
        };
        let comes_to = match (&insert.conflict, affected) {
            _ if matches!(insert.source, Source::Query(_)) => true,
            (Conflict::None, _) => created == proposed,
            (_, None) => created <= proposed,
            (Conflict::Nothing, Some(affected)) => affected == created,
            // Each new row counts, and each that was deleted for it.
            (Conflict::Replace, Some(affected)) => {
                let counted = (2 * proposed + before).saturating_sub(left + created);
                // A row that is replaced by the same counts once if there is no other key; one that a foreign key of the table
                // itself has deleted before doesn't.
                let fewer = self.facts.unique.len() == 1
                    || cascades::any(self.work.catalogue, &self.facts.id, &Change::Deleted);
                affected == counted || (fewer && affected < counted)
            }
            // A row that is changed counts twice, one that is left as it is once: the driver asks for the rows that are found.
            (_, Some(affected)) => affected == proposed + changed,
        };
        if comes_to {
            return Ok(());
        }
        Err(if is_weak(self.work).await? { self.in_between() } else { self.refused(UNSEEN) })
    }

    /// Without a count of the rows it has to be certain before that no row is in the way unseen: each value of a key is held as it is
    /// passed.
    pub(super) fn check_uncounted(&self, insert: &Insert) -> Result<(), DbErr> {
        if !matches!(insert.conflict, Conflict::Replace | Conflict::Update { .. })
            || self.facts.unique.len() < 2
        {
            return Ok(());
        }
        let Source::Values(rows) = &insert.source else { return Ok(()) };
        let given = self.given(insert);
        for column in self.facts.columns.iter().filter(|column| {
            self.facts.unique.iter().flatten().any(|unique| unique.eq_ignore_ascii_case(&column.name))
        }) {
            let at = given.iter().position(|name| name.eq_ignore_ascii_case(&column.name));
            let values = at.into_iter().flat_map(|at| rows.iter().filter_map(move |row| row.get(at)));
            let held = values.into_iter().all(|value| self.is_held(&column.type_name, value));
            let set = self.facts.set_by_insert.contains(&column.name.to_lowercase());
            if column.generated || set || !held {
                return Err(self.refused(&format!(
                    "with RETURNING nothing tells whether a row was in its way by `{}`; leave out RETURNING",
                    column.name
                )));
            }
        }
        Ok(())
    }

    /// Appends a digest of all columns, also of those that the entity doesn't have, to a list of columns.
    pub(super) fn digest(&self, text: &mut Text, alias: &str) {
        text.push(", SHA2(CONCAT_WS(','");
        for column in &self.facts.columns {
            let single = column.type_name.eq_ignore_ascii_case("float");
            let column = format!("{alias}.{}", quote(BACKEND, &column.name));
            // As a text it has six digits, which may be those of another number.
            let column = if single { format!("{column} + 0e0") } else { column };
            text.push(&format!(", COALESCE(HEX(CONCAT('', {column})), '-')"));
        }
        text.push(&format!("), 256) AS {DIGEST}"));
    }
}
