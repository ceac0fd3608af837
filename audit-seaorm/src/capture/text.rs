//! Statements put together from pieces of other statements.

use std::ops::Range;

use sea_orm::{DbBackend, Statement, Value};

use super::sql::{Parsed, Target};

/// A statement's text, with the places of its values in those of the statement that it was made of.
///
/// The text is made once; the values change with each use.
#[derive(Clone, Debug)]
pub(super) struct Text {
    backend: DbBackend,
    sql: String,
    /// For each placeholder the index of its value: below [`ADDED`] among the original's, else among the caller's.
    order: Vec<usize>,
}

/// Indexes from here on mean values that the caller adds.
const ADDED: usize = usize::MAX / 2;

impl Text {
    pub(super) fn new(backend: DbBackend) -> Self {
        Self { backend, sql: String::new(), order: Vec::new() }
    }

    /// Appends a text without placeholders.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.sql.push_str(text);
        self
    }

    /// Appends a piece of `sql`, which is what `parsed` was read from.
    pub(super) fn piece(&mut self, sql: &str, parsed: &Parsed, range: &Range<usize>) -> &mut Self {
        let mut from = range.start;
        for param in parsed.params.iter().filter(|param| within(&param.range, range)) {
            self.sql.push_str(sql.get(from..param.range.start).unwrap_or_default());
            self.placeholder(param.index);
            from = param.range.end;
        }
        self.sql.push_str(sql.get(from..range.end).unwrap_or_default());
        self
    }

    /// Appends a placeholder for the caller's value with this index.
    pub(super) fn added(&mut self, index: usize) -> &mut Self {
        self.placeholder(ADDED + index);
        self
    }

    /// Number of values that are sent.
    pub(super) fn width(&self) -> usize {
        self.order.len()
    }

    fn placeholder(&mut self, index: usize) {
        if self.backend == DbBackend::Postgres {
            // One value keeps one number: a cast in one place gives it its type in all.
            let known = self.order.iter().position(|known| *known == index);
            let number = known.unwrap_or_else(|| {
                self.order.push(index);
                self.order.len() - 1
            });
            self.sql.push_str(&format!("${}", number + 1));
        } else {
            self.order.push(index);
            self.sql.push('?');
        }
    }

    /// The statement with these values.
    pub(super) fn with(&self, values: &[Value], added: &[Value]) -> Statement {
        let values = self.order.iter().map(|index| {
            let value = match index.checked_sub(ADDED) {
                Some(index) => added.get(index),
                None => values.get(*index),
            };
            value.cloned().unwrap_or(Value::Bool(None))
        });
        Statement::from_sql_and_values(self.backend, self.sql.as_str(), values.collect::<Vec<_>>())
    }
}

fn within(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    inner.start >= outer.start && inner.end <= outer.end
}

/// A name in the database's quotes.
pub(super) fn quote(backend: DbBackend, name: &str) -> String {
    if backend == DbBackend::MySql {
        format!("`{}`", name.replace('`', "``"))
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// The table that a statement writes, as the statement names it, with its alias.
pub(super) fn table(backend: DbBackend, sql: &str, target: &Target) -> String {
    let only = if target.only && backend == DbBackend::Postgres { "ONLY " } else { "" };
    let name = sql.get(target.text.clone()).unwrap_or_default();
    match &target.alias {
        Some(alias) => format!("{only}{name} AS {}", sql.get(alias.clone()).unwrap_or_default()),
        None => format!("{only}{name}"),
    }
}

/// What that table's columns are qualified by in the statement.
pub(super) fn alias(backend: DbBackend, sql: &str, target: &Target) -> String {
    match &target.alias {
        Some(alias) => sql.get(alias.clone()).unwrap_or_default().to_owned(),
        None => quote(backend, &target.name.name),
    }
}
