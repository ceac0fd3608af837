//! Deletes: they return their rows themselves.

use super::super::cascades::Change;
use super::super::sql::Delete;
use super::super::text::{Text, alias, table};
use super::BACKEND;
use super::one_trip::OneTrip;
use super::pieces::{Pieces, end_of_body};
use super::rewritten::{OLD, Rewritten};

impl Pieces<'_> {
    pub(super) fn delete(self, delete: &Delete) -> Result<Rewritten, String> {
        let parsed = &self.step.parsed;
        if delete.tail.is_some() {
            return Err("ORDER BY or LIMIT in a DELETE isn't PostgreSQL's".into());
        }
        let alias = alias(BACKEND, self.sql, &delete.target);
        let mut before = Text::new(BACKEND);
        before.push("SELECT ");
        self.image(&mut before, &alias, OLD);
        self.rows_of_delete(&mut before, delete, &alias);
        let body = delete.body.start..end_of_body(&delete.body, delete.returning.as_ref());
        let mut text = Text::new(BACKEND);
        self.with(&mut text, delete.with.as_ref());
        text.push("audit_n AS (").piece(self.sql, parsed, &body).push(" RETURNING ");
        self.image(&mut text, &alias, OLD);
        let items = self.items(delete.returning.as_ref(), &delete.target)?;
        self.finish(&mut text, &items, [true, false], false);
        Ok(Rewritten {
            one_trip: OneTrip::of(self),
            text,
            old: true,
            new: false,
            before: delete.with.is_none().then_some(before),
            change: Some(Change::Deleted),
            conflicting: None,
            tells_made: false,
        })
    }

    /// `FROM` and so on for the rows that a DELETE will delete, with locks.
    pub(super) fn rows_of_delete(self, text: &mut Text, delete: &Delete, alias: &str) {
        let parsed = &self.step.parsed;
        text.push(" FROM ").push(&table(BACKEND, self.sql, &delete.target));
        if let Some(using) = &delete.using {
            text.push(", ").piece(self.sql, parsed, using);
        }
        if let Some(condition) = &delete.condition {
            text.push(" WHERE ").piece(self.sql, parsed, condition);
        }
        text.push(" FOR UPDATE OF ").push(alias);
    }
}
