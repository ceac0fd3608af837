//! How the rows of an INSERT are found: by the keys that it gives, or by the numbers that the database gave.

use std::ops::Range;

use sea_orm::{ConnectionTrait, DbErr, Statement, Value};

use super::super::catalogue::quoted;
use super::super::request::Answer;
use super::super::sql::{Conflict, Insert, Source};
use super::super::text::{Text, quote};
use super::literal::{self, Form};
use super::outcome::UNSEEN;
use super::{BACKEND, Look};
use crate::registry::Row;

/// How the rows of an INSERT are found.
pub(super) enum Sought {
    /// By the keys that the statement gives.
    Keys(Text),
    /// By the numbers that the database gives.
    Numbered,
}

impl Look<'_> {
    /// How the rows of an INSERT will be found.
    pub(super) fn sought(&self, insert: &Insert) -> Result<Sought, DbErr> {
        let names = self.given(insert);
        let position = |column: &String| names.iter().position(|name| name.eq_ignore_ascii_case(column));
        let numbered = self.facts.columns.iter().find(|column| column.auto_increment);
        let alias = quote(BACKEND, &self.facts.id.1);
        let rows = match &insert.source {
            Source::Values(rows) => rows,
            Source::Default => {
                return if numbered.is_some() { Ok(Sought::Numbered) } else { Err(self.unknown_key()) };
            }
            Source::Query(_) => {
                let given = self.keys().any(|column| position(&column).is_some());
                if given || numbered.is_none() || !matches!(insert.conflict, Conflict::None) {
                    return Err(
                        self.refused("it inserts what a query yields under keys that only the query knows")
                    );
                }
                return Ok(Sought::Numbered);
            }
        };
        let mut text = self.select(&alias, false);
        if matches!(insert.conflict, Conflict::Update { .. }) {
            self.digest(&mut text, &alias);
        }
        text.push(" FROM ").push(&quoted(BACKEND, &self.audited.policy.table)).push(" WHERE ");
        let mut any = false;
        let mut keyed = 0;
        for row in rows {
            let mut found = false;
            for unique in &self.facts.unique {
                let is_key = self.keys().all(|column| unique.contains(&column));
                if matches!(insert.conflict, Conflict::None) && !is_key {
                    continue;
                }
                let mut parts = Vec::with_capacity(unique.len());
                for column in unique {
                    let value = position(column).map(|at| row.get(at));
                    match value {
                        Some(Some(value)) => match self.plain_for(column, value) {
                            Plain::Value => parts.push((column, Some(value.clone()))),
                            Plain::Default if is_key && !self.is_numbered(column) => {
                                return Err(self.unknown_key());
                            }
                            Plain::Default if self.is_generated(column) => break,
                            Plain::Default if !self.is_numbered(column) => parts.push((column, None)),
                            Plain::Null | Plain::Default => break,
                            Plain::Zero if self.is_numbered(column) => break,
                            Plain::Zero => parts.push((column, Some(value.clone()))),
                            Plain::Computed => {
                                return Err(self.refused(&format!(
                                    "the value of its key column `{column}` is computed by the statement; compute it before and pass it"
                                )));
                            }
                        },
                        Some(None) => return Err(self.refused("its rows have different lengths")),
                        None if self.is_numbered(column) => break,
                        None if is_key => return Err(self.unknown_key()),
                        // Whoever is in the way by it is told by the number of affected rows.
                        None if self.is_generated(column) => break,
                        None => parts.push((column, None)),
                    }
                }
                if parts.len() < unique.len() {
                    continue;
                }
                found = true;
                text.push(if any { " OR (" } else { "(" });
                any = true;
                for (at, (column, value)) in parts.into_iter().enumerate() {
                    let is_text = self.is_text(column);
                    let column = format!("{alias}.{}", quote(BACKEND, column));
                    text.push(if at == 0 { "" } else { " AND " }).push(&column).push(" = ");
                    match value {
                        // A text and a number would be compared as numbers, by which '05' is 5.
                        Some(value) if is_text && !self.is_string(&value) => {
                            text.push("CONCAT('', ").piece(self.sql, &self.step.parsed, &value).push(")");
                        }
                        Some(value) => _ = text.piece(self.sql, &self.step.parsed, &value),
                        None => _ = text.push(&format!("DEFAULT({column})")),
                    }
                }
                text.push(")");
            }
            keyed += usize::from(found);
        }
        if !any {
            return if numbered.is_some() { Ok(Sought::Numbered) } else { Err(self.unknown_key()) };
        }
        if keyed < rows.len() {
            return Err(
                self.refused("some of its rows have their keys given, and others don't; insert them apart")
            );
        }
        text.push(" FOR UPDATE");
        Ok(Sought::Keys(text))
    }

    /// The columns that a row of values is for, in their order.
    pub(super) fn given(&self, insert: &Insert) -> Vec<String> {
        let names = self.facts.columns.iter().map(|column| &column.name);
        let shown = || names.filter(|name| !self.facts.invisible.contains(*name)).cloned().collect();
        insert.columns.clone().unwrap_or_else(shown)
    }

    fn unknown_key(&self) -> DbErr {
        self.refused("its key is made by the database in a way that can't be asked for; pass the key")
    }

    fn is_numbered(&self, column: &str) -> bool {
        self.facts.columns.iter().any(|c| c.auto_increment && c.name.eq_ignore_ascii_case(column))
    }

    fn is_generated(&self, column: &str) -> bool {
        self.facts.columns.iter().any(|c| c.generated && c.name.eq_ignore_ascii_case(column))
    }

    /// Whether an expression may have another value the next time.
    pub(super) fn is_computed(&self, range: &Range<usize>) -> bool {
        self.plain(range) == Plain::Computed
    }

    /// What sort of value an expression is.
    fn plain(&self, range: &Range<usize>) -> Plain {
        let text = self.sql.get(range.clone()).unwrap_or_default().trim();
        if let Some(param) = self.step.parsed.params.iter().find(|param| param.range == *range) {
            return match self.values.get(param.index) {
                Some(value) if is_null(value) => Plain::Null,
                Some(Value::String(Some(text))) if text.trim().parse::<f64>() == Ok(0.0) => Plain::Zero,
                Some(Value::String(_) | Value::Bytes(_) | Value::Uuid(_)) => Plain::Value,
                Some(value) if is_zero(value) => Plain::Zero,
                _ => Plain::Value,
            };
        }
        match text {
            _ if text.eq_ignore_ascii_case("null") => Plain::Null,
            _ if text.eq_ignore_ascii_case("default") => Plain::Default,
            _ if text.eq_ignore_ascii_case("false") => Plain::Zero,
            _ if text.trim_matches('\'').trim().parse::<f64>() == Ok(0.0) => Plain::Zero,
            _ if literal::form(text).is_some() => Plain::Value,
            _ => Plain::Computed,
        }
    }

    /// What sort of value an expression is for a column.
    fn plain_for(&self, column: &str, range: &Range<usize>) -> Plain {
        let plain = self.plain(range);
        let facts = self.facts.columns.iter().find(|facts| facts.name.eq_ignore_ascii_case(column));
        let kind = facts.map(|facts| facts.type_name.as_str()).unwrap_or_default();
        let fits = match self.form(range) {
            // Anything else compares them in a way of its own.
            Some(Form::Day) => is_text(kind) || matches!(kind, "date" | "datetime" | "timestamp"),
            Some(Form::Time) => is_text(kind) || kind == "time",
            _ => true,
        };
        if fits { plain } else { Plain::Computed }
    }

    /// How a value is written, if the statement itself has it.
    fn form(&self, range: &Range<usize>) -> Option<Form> {
        if self.step.parsed.params.iter().any(|param| param.range == *range) {
            return None;
        }
        literal::form(self.sql.get(range.clone()).unwrap_or_default().trim())
    }

    /// Whether a column is of characters or bytes.
    fn is_text(&self, column: &str) -> bool {
        let facts = self.facts.columns.iter().find(|facts| facts.name.eq_ignore_ascii_case(column));
        facts.is_some_and(|facts| is_text(&facts.type_name))
    }

    /// Whether a value is passed as a string.
    fn is_string(&self, range: &Range<usize>) -> bool {
        match self.step.parsed.params.iter().find(|param| param.range == *range) {
            Some(param) => matches!(
                self.values.get(param.index),
                Some(Value::String(_) | Value::Bytes(_) | Value::Uuid(_))
            ),
            None => matches!(self.form(range), Some(Form::Text | Form::Bytes)),
        }
    }

    /// Whether a value is of characters that no column cuts or fills: blanks at the end it may.
    fn is_kept(&self, type_name: &str, range: &Range<usize>) -> bool {
        let value = self.step.parsed.params.iter().find(|param| param.range == *range);
        match value.map(|param| self.values.get(param.index)) {
            Some(Some(Value::String(Some(text)))) => type_name != "binary" && !text.ends_with(' '),
            Some(Some(Value::Bytes(Some(bytes)))) if type_name == "binary" => bytes.len() == 16,
            Some(Some(Value::Uuid(_))) => true,
            Some(Some(Value::Bytes(_))) => type_name == "varbinary",
            Some(_) => false,
            None => {
                let text = self.sql.get(range.clone()).unwrap_or_default().trim();
                let blank = text.trim_end_matches('\'').ends_with(' ');
                match self.form(range) {
                    Some(Form::Text) => type_name != "binary" && !blank,
                    // Compared with characters they are bytes.
                    Some(Form::Bytes) => type_name == "varbinary",
                    _ => false,
                }
            }
        }
    }

    /// Whether a value is passed as an integer.
    fn is_integer(&self, range: &Range<usize>) -> bool {
        match self.step.parsed.params.iter().find(|param| param.range == *range) {
            Some(param) => self.values.get(param.index).is_some_and(is_integer),
            None => {
                let text = self.sql.get(range.clone()).unwrap_or_default().trim();
                text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit())
            }
        }
    }

    /// Whether a column of this type holds a value just as it is passed, and isn't another one by it.
    pub(super) fn is_held(&self, type_name: &str, range: &Range<usize>) -> bool {
        match self.plain(range) {
            Plain::Null | Plain::Default => true,
            Plain::Computed => false,
            Plain::Value | Plain::Zero if type_name.ends_with("int") => self.is_integer(range),
            Plain::Value | Plain::Zero => is_text(type_name) && self.is_kept(type_name, range),
        }
    }

    /// The rows that got their numbers from the database: the first one's is known, and one statement's follow on it.
    pub(super) async fn numbered(&self, insert: &Insert, answer: &Answer) -> Result<Vec<Row>, DbErr> {
        let column = self.facts.columns.iter().find(|column| column.auto_increment);
        let Some(column) = column else { return Ok(Vec::new()) };
        let (first, count) = match answer {
            Answer::Executed(result) => (result.last_insert_id(), result.rows_affected()),
            Answer::Rows(rows) => {
                let ask = Statement::from_string(BACKEND, "SELECT LAST_INSERT_ID() AS id");
                let row = self.work.db.query_one_raw(ask).await?;
                (row.map_or(Ok(0), |row| row.try_get::<u64>("", "id"))?, rows.len() as u64)
            }
        };
        if count == 0 {
            return Ok(Vec::new());
        }
        let count = match &insert.source {
            Source::Values(rows) => rows.len() as u64,
            Source::Default => 1,
            Source::Query(_) => count,
        };
        let alias = quote(BACKEND, &self.facts.id.1);
        let mut text = self.select(&alias, false);
        text.push(" FROM ").push(&quoted(BACKEND, &self.audited.policy.table));
        let column = format!("{alias}.{}", quote(BACKEND, &column.name));
        text.push(&format!(" WHERE {column} >= ")).added(0);
        text.push(&format!(" AND {column} < ")).added(0).push(" + ").added(1);
        text.push(" * @@auto_increment_increment FOR UPDATE");
        let found = self.work.db.query_all_raw(text.with(&[], &[first.into(), count.into()])).await?;
        let rows: Vec<Row> =
            found.iter().map(|row| self.audited.decode(row, "")).collect::<Result<_, _>>()?;
        match &insert.conflict {
            _ if rows.len() as u64 == count => Ok(rows),
            Conflict::None => Err(self.in_between()),
            // They have got no number, because they met rows that are there.
            _ => Err(self.refused(UNSEEN)),
        }
    }
}

/// What sort of value an expression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Value,
    Null,
    Zero,
    Default,
    /// By a function or an operator: it may be another one the next time.
    Computed,
}

/// Whether a type is of characters or bytes.
fn is_text(type_name: &str) -> bool {
    ["char", "text", "binary", "blob"].iter().any(|end| type_name.ends_with(end))
}

fn is_null(value: &Value) -> bool {
    *value == value.as_null()
}

fn is_integer(value: &Value) -> bool {
    matches!(
        value,
        Value::TinyInt(_)
            | Value::SmallInt(_)
            | Value::Int(_)
            | Value::BigInt(_)
            | Value::TinyUnsigned(_)
            | Value::SmallUnsigned(_)
            | Value::Unsigned(_)
            | Value::BigUnsigned(_)
            | Value::Bool(_)
    )
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::TinyInt(Some(n)) => *n == 0,
        Value::SmallInt(Some(n)) => *n == 0,
        Value::Int(Some(n)) => *n == 0,
        Value::BigInt(Some(n)) => *n == 0,
        Value::TinyUnsigned(Some(n)) => *n == 0,
        Value::SmallUnsigned(Some(n)) => *n == 0,
        Value::Unsigned(Some(n)) => *n == 0,
        Value::BigUnsigned(Some(n)) => *n == 0,
        Value::Float(Some(n)) => *n == 0.0,
        Value::Double(Some(n)) => *n == 0.0,
        Value::Bool(Some(truth)) => !truth,
        Value::Decimal(Some(n)) => n.is_zero(),
        _ => false,
    }
}
