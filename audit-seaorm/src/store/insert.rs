//! The statement that writes entries.
//!
//! Every write that is recorded needs it, so it is put together here and not by SeaORM's builder, and columns that are NULL are left
//! out: of 31 values a usual entry has 18, and each one is bound, sent and checked.

use std::borrow::Borrow;
use std::sync::{Mutex, PoisonError};

use audit_core::Entry;
use sea_orm::{DbBackend, IdenStatic, Statement, Value};

use crate::entity::audit_log::{FILLED, values};

/// How many sorts of statements there are: the database prepares each one, and keeps a limited number of them.
const MOST_SORTS: usize = 8;

/// The sorts that have been met.
static MET: Mutex<Vec<Present>> = Mutex::new(Vec::new());

/// Some of [`FILLED`]: a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Present(u32);

impl Present {
    const ALL: Self = Self(u32::MAX);

    fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    /// The sort of statement for rows in which these columns have values: this very one, or one with some columns more.
    fn sort(self, met: &mut Vec<Self>) -> Self {
        if met.contains(&self) {
            return self;
        }
        if met.len() < MOST_SORTS {
            met.push(self);
            return self;
        }
        let wider = met.iter().filter(|sort| sort.0 & self.0 == self.0);
        wider.min_by_key(|sort| sort.0.count_ones()).copied().unwrap_or(Self::ALL)
    }
}

/// Inserts these entries, whose number is that of a [batch](super::batches), by one statement.
pub(crate) fn insert<E: Borrow<Entry>>(backend: DbBackend, entries: &[E]) -> Statement {
    let mut all = Vec::with_capacity(entries.len() * FILLED.len());
    let mut present = Present(0);
    for entry in entries {
        let values = values(entry.borrow());
        for (at, value) in values.iter().enumerate() {
            if !matches!(value, Value::String(None) | Value::Bytes(None)) {
                present.0 |= 1 << at;
            }
        }
        all.extend(values);
    }
    let present = present.sort(&mut MET.lock().unwrap_or_else(PoisonError::into_inner));
    if present != Present::ALL {
        let mut place = (0..FILLED.len()).cycle();
        all.retain(|_| place.next().is_some_and(|at| present.has(at)));
    }
    Statement::from_sql_and_values(backend, text(backend, present, entries.len()), all)
}

fn text(backend: DbBackend, present: Present, rows: usize) -> String {
    let quote = if backend == DbBackend::MySql { '`' } else { '"' };
    let columns =
        FILLED.iter().enumerate().filter(|(at, _)| present.has(*at)).map(|(_, column)| column.as_str());
    let mut sql = String::with_capacity(640 + rows * 4 * FILLED.len());
    sql.push_str("INSERT INTO audit_log (");
    let mut width = 0;
    for column in columns {
        if width > 0 {
            sql.push_str(", ");
        }
        sql.extend([quote].into_iter().chain(column.chars()).chain([quote]));
        width += 1;
    }
    sql.push_str(") VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for at in 0..width {
            if at > 0 {
                sql.push_str(", ");
            }
            if backend == DbBackend::Postgres {
                sql.push('$');
                sql.push_str(&(row * width + at + 1).to_string());
            } else {
                sql.push('?');
            }
        }
        sql.push(')');
    }
    sql
}

#[cfg(test)]
mod tests {
    use audit_core::{Clock, Resource, SystemClock};

    use super::*;

    fn entry() -> Entry {
        let mut entry = Entry::new(SystemClock.now(), "create", Resource::new("account"));
        entry.finish();
        entry
    }

    #[test]
    fn columns_without_values_are_left_out() {
        let mut named = entry();
        named.resource.name = Some("Ada".to_owned());
        let statement = insert(DbBackend::Postgres, &[entry(), named]);
        let values = statement.values.map_or(0, |values| values.0.len());
        assert!(statement.sql.contains("\"resource_name\""), "{}", statement.sql);
        assert!(statement.sql.ends_with(&format!("${values})")), "{}", statement.sql);
        assert!(
            !statement.sql.contains("\"old_data\"") && !statement.sql.contains("seq"),
            "{}",
            statement.sql
        );
        let one = insert(DbBackend::MySql, &[entry()]);
        assert_eq!(one.sql.matches('?').count(), one.values.map_or(0, |values| values.0.len()));
        assert!(one.sql.starts_with("INSERT INTO audit_log (`id`, `timestamp`, "), "{}", one.sql);
    }

    #[test]
    fn there_are_few_sorts_of_statements() {
        let mut met = Vec::new();
        for sort in 0..20_u32 {
            _ = Present(1 << sort).sort(&mut met);
        }
        assert_eq!(met.len(), MOST_SORTS);
        assert_eq!(Present(1).sort(&mut met), Present(1));
        assert_eq!(Present(1 << 9).sort(&mut met), Present::ALL, "none of them has that column");
        let mut met = (0..8).map(|sort| Present(0b111 << sort)).collect();
        assert_eq!(Present(0b110).sort(&mut met), Present(0b111), "one with another column has it");
    }
}
