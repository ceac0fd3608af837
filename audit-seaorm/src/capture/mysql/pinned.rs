//! A statement with a LIMIT, held to the rows that were found for it.

use std::ops::Range;

use sea_orm::{DbErr, Value};

use super::super::request::Request;
use super::super::text::{Text, quote};
use super::{BACKEND, Look};
use crate::registry::Row;

/// How many values the server takes with one statement.
const VALUES: usize = u16::MAX as usize;

/// Whether what stands behind a condition takes some of its rows only.
pub(crate) fn is_limit(tail: &str) -> bool {
    tail.to_ascii_lowercase().contains("limit")
}

impl Look<'_> {
    /// The statement with the rows' keys in its condition, if it has a LIMIT: which rows come first is said by no order, or not to
    /// the end, and the read of the rows may take another index than the statement.
    pub(super) fn pinned<'r>(
        &self,
        request: Request<'r>,
        alias: &str,
        condition: Option<&Range<usize>>,
        tail: Option<&Range<usize>>,
        rows: &[Row],
    ) -> Result<Request<'r>, DbErr> {
        let (Some(tail), [.., last]) = (tail, rows) else { return Ok(request) };
        let (sql, parsed) = (self.sql, &self.step.parsed);
        if !is_limit(sql.get(tail.clone()).unwrap_or_default()) {
            return Ok(request);
        }
        let words = sql.get(tail.clone()).unwrap_or_default().to_ascii_lowercase();
        let words: Vec<_> = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let count = |word: &str| words.iter().filter(|other| **other == word).count();
        if matches!(request, Request::Unprepared(_)) && count("select") > count("from") {
            // MariaDB takes its value for the number of a column, once the statement is prepared.
            return Err(self.refused(
                "its ORDER BY has a sub-select without FROM, which a prepared statement can't have; write its value or leave it out",
            ));
        }
        let mut text = Text::new(BACKEND);
        let rest = match condition {
            Some(condition) => {
                text.piece(sql, parsed, &(parsed.range.start..condition.start)).push("(");
                text.piece(sql, parsed, condition).push(") AND (");
                condition.end..parsed.range.end
            }
            None => {
                text.piece(sql, parsed, &(parsed.range.start..tail.start)).push("WHERE (");
                tail.start..parsed.range.end
            }
        };
        let places = VALUES.saturating_sub(parsed.params.len()) / self.keys().count().max(1);
        if rows.len() > places {
            return Err(
                self.refused("its LIMIT takes more rows than can be named to it; take fewer at a time")
            );
        }
        // The last one several times, so that there are few different texts: each has to be prepared.
        let padded = rows.len().next_power_of_two().min(places);
        let mut added: Vec<Value> = Vec::new();
        // As a list and not as conditions: of those the server makes ranges one by one, in a time that grows with their square.
        for (at, row) in rows.iter().chain(std::iter::repeat(last)).take(padded).enumerate() {
            let key = self.audited.key(&**row);
            let (open, close) = if key.len() == 1 { ("", "") } else { ("(", ")") };
            if at == 0 {
                let names: Vec<_> =
                    key.iter().map(|(column, _)| format!("{alias}.{}", quote(BACKEND, column))).collect();
                text.push(&format!("{open}{}{close} IN (", names.join(", ")));
            }
            text.push(if at == 0 { "" } else { ", " }).push(open);
            for (at, (_, value)) in key.into_iter().enumerate() {
                text.push(if at == 0 { "" } else { ", " }).added(added.len());
                added.push(value);
            }
            text.push(close);
        }
        text.push(")) ").piece(sql, parsed, &rest);
        Ok(Request::Prepared(text.with(&self.values, &added)))
    }
}
