//! Whether an INSERT has done what the rows that were found for it say. A generated column, a trigger or the conversion of a value
//! may make a key that nobody looked for: the row in the way by it would be deleted or changed unseen.

use std::ops::Range;

use sea_orm::{ConnectionTrait, DbErr, Statement, Value};

use super::super::cascades::{self, Change};
use super::super::catalogue::ColumnFacts;
use super::super::request::Answer;
use super::super::sql::{Conflict, Insert, Source};
use super::super::text::{Text, quote};
use super::{BACKEND, Look, is_weak};

/// The column with the digest of a row.
pub(super) const DIGEST: &str = "audit_digest";

/// Why a statement is refused whose outcome isn't what was found.
pub(super) const UNSEEN: &str = "a row was in its way that its values don't name, by a key that a conversion, a trigger or a generated column makes; pass values as the column holds them, or UPDATE and DELETE such rows";

/// Why a statement is refused whose rows aren't where they should be.
pub(super) const NOT_FOUND: &str =
    "not all of its rows are found under the keys that it gives: the column or a trigger changes them";

/// Why one is refused of which rows meet each other.
const TWICE: &str = "two of its rows have the same key, or the column or a trigger changes one: what became of each can't be told; send those of the same key one after the other";

/// The same where others may come in between.
const TWICE_WEAK: &str = "two of its rows have the same key, or others came in between, and at this isolation that can't be told; send those of the same key one after the other, or all from REPEATABLE READ on";

/// What became of the rows, in numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Outcome {
    /// Rows that the statement has values for.
    pub(super) proposed: u64,
    /// Rows that were there before under one of the keys.
    pub(super) before: u64,
    /// Rows that are there after it under one of the keys.
    pub(super) found: u64,
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
        let Outcome { proposed, before, found, left, changed, created } = outcome;
        let affected = match answer {
            Answer::Executed(result) => Some(result.rows_affected()),
            // Of those that are left out it returns none.
            Answer::Rows(rows) if matches!(insert.conflict, Conflict::Nothing) => Some(rows.len() as u64),
            Answer::Rows(_) => None,
        };
        // Rows of the statement that meet each other leave fewer behind than it has.
        let (mut twice, mut possible) = (found < proposed, true);
        let comes_to = match (&insert.conflict, affected) {
            _ if matches!(insert.source, Source::Query(_)) => {
                twice = false;
                true
            }
            (Conflict::None, _) => created == proposed,
            (_, None) => created <= proposed,
            // What isn't new is left as it is, whatever it met.
            (Conflict::Nothing, Some(affected)) => affected == created,
            // Each new row counts, and each that was deleted for it.
            (Conflict::Replace, Some(affected)) => {
                let counted = (2 * proposed + before).saturating_sub(left + created);
                // A row that is replaced by the same counts once if there is no other key; one that a foreign key of the table
                // itself has deleted before doesn't.
                let fewer = self.facts.unique.len() == 1
                    || cascades::any(self.work.catalogue, &self.facts.id, &Change::Deleted);
                possible = affected == counted || (fewer && affected < counted);
                possible
            }
            // A row that is changed counts twice, one that is left as it is once: the driver asks for the rows that are found.
            (_, Some(affected)) => {
                let comes_to = affected == proposed + changed;
                if comes_to && created + changed == proposed {
                    // Each row of the statement has made or changed one of these.
                    twice = false;
                } else if comes_to && proposed > 1 && before > 0 && self.facts.unique.len() > 1 {
                    // Rows that are found by one of several keys may hide that another has been made somewhere else.
                    twice |= !self.is_placed(insert);
                }
                // One row may be changed several times, and a new one be changed further.
                possible = proposed + changed <= affected && affected + created <= 2 * proposed;
                twice |= !comes_to && proposed > 1;
                comes_to
            }
        };
        if comes_to && !twice {
            return Ok(());
        }
        let weak = is_weak(self.work).await?;
        if twice && possible {
            let certain = match insert.conflict {
                Conflict::Nothing => comes_to,
                _ => self.is_certain(insert).await?,
            };
            if certain && !weak {
                return Ok(());
            }
        }
        Err(match (weak, found < proposed || twice && possible) {
            (true, true) if possible => self.refused(TWICE_WEAK),
            (true, _) => self.in_between(),
            (false, true) if proposed > 1 => self.refused(TWICE),
            (false, true) => self.refused(NOT_FOUND),
            (false, false) => self.refused(UNSEEN),
        })
    }

    /// Whether no row can have been in the way of another, and none be somewhere else, than by the values of the statement: the
    /// keys' columns hold them as they are passed, and nothing else sets these.
    async fn is_certain(&self, insert: &Insert) -> Result<bool, DbErr> {
        let Source::Values(rows) = &insert.source else { return Ok(false) };
        let given = self.given(insert);
        for column in self.unique_columns() {
            let at = given.iter().position(|name| name.eq_ignore_ascii_case(&column.name));
            let mut values = at.into_iter().flat_map(|at| rows.iter().filter_map(move |row| row.get(at)));
            let (name, mut further) = (column.name.to_lowercase(), false);
            if let Conflict::Update { assigned, .. } = &insert.conflict {
                further = self.facts.set_by_update.contains(&name)
                    || assigned.iter().any(|assignment| {
                        assignment.column.eq_ignore_ascii_case(&name)
                            && !self.is_proposed(assignment.value.as_ref(), &name)
                    });
            }
            let set = further || column.generated || self.facts.set_by_insert.contains(&name);
            if set || !values.all(|value| self.is_held(&column.type_name, value)) {
                return Ok(false);
            }
        }
        // Not where the server cuts or fills values, nor by a key that has no columns.
        let ask = "SELECT CAST(@@SESSION.sql_mode LIKE '%STRICT_ALL_TABLES%' OR @@SESSION.sql_mode LIKE '%STRICT_TRANS_TABLES%' AS SIGNED) AS strict, \
            (SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND non_unique = 0 AND column_name IS NULL) AS hidden, \
            (SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = ? AND table_name = ? \
              AND (column_key <> '' AND data_type = 'binary' AND character_maximum_length <> 16 OR column_key <> '' AND extra LIKE '%on update%')) AS odd";
        let (schema, table) = (Value::from(self.facts.id.0.clone()), Value::from(self.facts.id.1.clone()));
        let values = [schema.clone(), table.clone(), schema, table];
        let ask = Statement::from_sql_and_values(BACKEND, ask, values);
        let Some(row) = self.work.db.query_one_raw(ask).await? else { return Ok(false) };
        let [strict, hidden, odd] = ["strict", "hidden", "odd"].map(|name| row.try_get::<i64>("", name));
        Ok(strict? == 1 && hidden? == 0 && odd? == 0)
    }

    /// Whether new rows are sure to be found by their keys.
    fn is_placed(&self, insert: &Insert) -> bool {
        let Source::Values(rows) = &insert.source else { return true };
        let given = self.given(insert);
        let position = |column: &str| given.iter().position(|name| name.eq_ignore_ascii_case(column));
        let by_key = self.keys().all(|column| position(&column).is_some());
        self.unique_columns()
            .filter(|column| !by_key || self.keys().any(|key| key.eq_ignore_ascii_case(&column.name)))
            .all(|column| {
                let at = position(&column.name);
                let mut values = at.into_iter().flat_map(|at| rows.iter().filter_map(move |row| row.get(at)));
                values.all(|value| self.is_held(&column.type_name, value))
            })
    }

    /// Whether an assignment gives a column the value that the row had for it: `VALUES(a)` for `a`.
    fn is_proposed(&self, value: Option<&Range<usize>>, name: &str) -> bool {
        let text = value.and_then(|value| self.sql.get(value.clone())).unwrap_or_default();
        let text: String = text.to_lowercase().chars().filter(|c| !c.is_whitespace() && *c != '`').collect();
        text.strip_prefix("values(").and_then(|rest| rest.strip_suffix(')')) == Some(name)
    }

    fn unique_columns(&self) -> impl Iterator<Item = &ColumnFacts> {
        let unique = |name: &String| self.facts.unique.iter().flatten().any(|u| u.eq_ignore_ascii_case(name));
        self.facts.columns.iter().filter(move |column| unique(&column.name))
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
        for column in self.unique_columns() {
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
