//! The rows of an UPDATE that sets their keys, under the keys that they are going to get.

use std::ops::Range;

use sea_orm::{DbErr, QueryResult, Statement, Value};

use super::super::catalogue::quoted;
use super::super::sql::Update;
use super::super::text::quote;
use super::{BACKEND, Look};
use crate::registry::Row;

impl Look<'_> {
    /// The key columns that an UPDATE sets to something else, with the values' texts.
    pub(super) fn rekeyed(&self, update: &Update) -> Vec<(String, Option<Range<usize>>)> {
        let is_key = |name: &String| self.keys().any(|column| column.eq_ignore_ascii_case(name));
        let itself = |name: &String, value: &Option<Range<usize>>| {
            let text = value.clone().and_then(|value| self.sql.get(value)).unwrap_or_default();
            text.trim().trim_matches('`').eq_ignore_ascii_case(name)
        };
        update
            .assigned
            .iter()
            .filter(|assignment| is_key(&assignment.column) && !itself(&assignment.column, &assignment.value))
            .map(|assignment| (assignment.column.clone(), assignment.value.clone()))
            .collect()
    }

    /// Reads a row under the key that it is going to get.
    pub(super) fn moved(
        &self,
        row: &QueryResult,
        old: &Row,
        rekeyed: &[(String, Option<Range<usize>>)],
    ) -> Result<Statement, DbErr> {
        let alias = quote(BACKEND, &self.facts.id.1);
        let mut text = self.select(&alias, false);
        text.push(" FROM ").push(&quoted(BACKEND, &self.audited.policy.table)).push(" WHERE ");
        let mut added = Vec::new();
        for (at, (column, value)) in self.audited.key(&**old).into_iter().enumerate() {
            let value = match rekeyed.iter().position(|(name, _)| name.eq_ignore_ascii_case(&column)) {
                None => value,
                Some(position) => self.typed(&column, row.try_get("", &format!("audit_k{position}"))?)?,
            };
            text.push(if at == 0 { "" } else { " AND " });
            text.push(&format!("{alias}.{} = ", quote(BACKEND, &column))).added(added.len());
            added.push(value);
        }
        text.push(" FOR UPDATE");
        Ok(text.with(&[], &added))
    }

    /// The value of a key column that the database has given as a text.
    fn typed(&self, column: &str, text: Option<String>) -> Result<Value, DbErr> {
        let facts = self.facts.columns.iter().find(|facts| facts.name.eq_ignore_ascii_case(column));
        let kind = facts.map(|facts| facts.type_name.as_str()).unwrap_or_default();
        let Some(text) = text else { return Err(self.refused("it sets its key to NULL")) };
        match kind {
            // Compared as a text a number would lose its last digits.
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => {
                match (text.parse::<i64>(), text.parse::<u64>()) {
                    (Ok(number), _) => Ok(number.into()),
                    (_, Ok(number)) => Ok(number.into()),
                    _ => Err(self.refused("it sets its key to something that is no number")),
                }
            }
            "char" | "varchar" | "text" | "enum" => Ok(text.into()),
            _ => Err(self.refused(&format!("it computes its key column `{column}`; pass the new value"))),
        }
    }
}
