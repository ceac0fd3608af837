//! Updates: their rows are locked and read in the same statement, and found again by their keys.

use super::super::cascades::Change;
use super::super::sql::Update;
use super::super::text::{Text, alias, quote, table};
use super::one_trip::OneTrip;
use super::pieces::Pieces;
use super::rewritten::{NEW, OLD, Rewritten};
use super::{BACKEND, MOVED};

impl Pieces<'_> {
    pub(super) fn update(self, update: &Update) -> Result<Rewritten, String> {
        let parsed = &self.step.parsed;
        if update.tail.is_some() {
            return Err("ORDER BY or LIMIT in an UPDATE isn't PostgreSQL's".into());
        }
        let alias = alias(BACKEND, self.sql, &update.target);
        let assigned: Vec<String> =
            update.assigned.iter().map(|assignment| assignment.column.clone()).collect();
        let mut before = Text::new(BACKEND);
        self.old_rows(&mut before, update, &alias, &assigned);
        let mut text = Text::new(BACKEND);
        self.with(&mut text, update.with.as_ref());
        text.push("audit_o AS (");
        self.old_rows(&mut text, update, &alias, &assigned);
        text.push("), audit_n AS (UPDATE ").push(&table(BACKEND, self.sql, &update.target)).push(" SET ");
        text.piece(self.sql, parsed, &update.set).push(" FROM ");
        if let Some(from) = &update.from {
            text.piece(self.sql, parsed, from).push(", ");
        }
        text.push("audit_o WHERE ");
        if update.from.is_some()
            && let Some(condition) = &update.condition
        {
            text.push("(").piece(self.sql, parsed, condition).push(") AND ");
        }
        text.push(&self.same_key(&alias)).push(" RETURNING ");
        self.image(&mut text, &alias, NEW);
        for field in &self.audited.policy.fields {
            text.push(", audit_o.").push(&quote(BACKEND, &format!("{OLD}{}", field.column)));
        }
        let items = self.items(update.returning.as_ref(), &update.target)?;
        self.finish(&mut text, &items, [true, true], false);
        self.none_missed(&mut text, update, None);
        Ok(Rewritten {
            one_trip: OneTrip::of(self),
            text,
            old: true,
            new: true,
            before: update.with.is_none().then_some(before),
            change: Some(Change::Updated(assigned)),
            conflicting: None,
            tells_made: false,
        })
    }

    /// Locks and reads the rows that an UPDATE will change.
    pub(super) fn old_rows(self, text: &mut Text, update: &Update, alias: &str, assigned: &[String]) {
        text.push("SELECT ");
        self.image(text, alias, OLD);
        text.push(", ").push(&self.key_columns(alias));
        self.rows_of_update(text, update, alias, assigned);
    }

    /// `FROM` and so on for the rows that an UPDATE will change, with locks.
    pub(super) fn rows_of_update(self, text: &mut Text, update: &Update, alias: &str, assigned: &[String]) {
        let parsed = &self.step.parsed;
        text.push(" FROM ").push(&table(BACKEND, self.sql, &update.target));
        if let Some(from) = &update.from {
            text.push(", ").piece(self.sql, parsed, from);
        }
        if let Some(condition) = &update.condition {
            text.push(" WHERE ").piece(self.sql, parsed, condition);
        }
        // The lock that the UPDATE takes by itself: a stronger one would make the foreign-key checks of others wait.
        let keyed = self.facts.unique.iter().flatten().any(|column| assigned.contains(column));
        text.push(if keyed { " FOR UPDATE OF " } else { " FOR NO KEY UPDATE OF " }).push(alias);
    }

    /// The columns by which a row is found in `audit_o` again. Tables that inherit from the entity's have keys of their
    /// own, which may be those of its rows.
    pub(super) fn keys(self, alias: &str) -> Vec<String> {
        let keys = || self.audited.policy.fields.iter().filter(|field| field.key);
        let mut columns: Vec<String> =
            keys().map(|field| format!("{alias}.{}", quote(BACKEND, &field.column))).collect();
        let sure = |key: &Vec<String>| key.iter().all(|column| keys().any(|field| field.column == *column));
        if !self.facts.row_keys.iter().any(sure) {
            columns.push(format!("{alias}.tableoid"));
        }
        columns
    }

    /// They, as `audit_o` has them.
    pub(super) fn key_columns(self, alias: &str) -> String {
        let column = |(at, column)| format!("{column} AS audit_k{at}");
        self.keys(alias).into_iter().enumerate().map(column).collect::<Vec<_>>().join(", ")
    }

    /// That a row is one of those in `audit_o`.
    pub(super) fn same_key(self, alias: &str) -> String {
        let equal = |(at, column)| format!("{column} = audit_o.audit_k{at}");
        self.keys(alias).into_iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// That the statement has changed each row that it had locked. One that it had to wait for may have got another key
    /// meanwhile, by which its snapshot doesn't find it. `unless`: then it was to change nothing.
    pub(super) fn none_missed(self, text: &mut Text, update: &Update, unless: Option<&str>) {
        let found = if self.facts.leaves_out
            || (update.from.is_some() && !self.step.parsed.functions.is_empty())
        {
            // Some may be left out rightly: only those count that can't be found by their keys.
            let table = table(BACKEND, self.sql, &update.target);
            let same = self.same_key(&alias(BACKEND, self.sql, &update.target));
            format!("NOT EXISTS (SELECT FROM audit_o WHERE NOT EXISTS (SELECT FROM {table} WHERE {same}))")
        } else {
            let locked = match update.from {
                // A row may be joined to several.
                Some(_) => {
                    let keys = (0..self.keys("").len()).map(|at| format!("audit_k{at}")).collect::<Vec<_>>();
                    format!("(SELECT DISTINCT {} FROM audit_o) AS audit_d", keys.join(", "))
                }
                None => "audit_o".to_owned(),
            };
            format!("(SELECT count(*) FROM {locked}) = (SELECT count(*) FROM audit_n)")
        };
        text.push(" WHERE CASE WHEN ").push(&found);
        if let Some(unless) = unless {
            text.push(" OR ").push(unless);
        }
        // Nothing that the database could work out beforehand.
        text.push(" THEN TRUE ELSE CAST((SELECT '").push(MOVED);
        text.push(" ' || count(*) FROM audit_n) AS boolean) END");
    }
}
