//! Which transactions may still commit entries: how gaps are settled.
//!
//! **Contract:** what isn't among the [`Writers`] any more has ended before they were asked for, and what it committed is seen by
//! every statement after that.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use super::gaps::Gap;

/// MySQL's list may be a tenth of a second old. So it is asked for a gap only after this many seconds.
const AFTER: i64 = 2;

/// Transactions that write now.
#[derive(Debug)]
pub(crate) enum Writers {
    /// Nobody writes while somebody else has a number that isn't committed: SQLite.
    Nobody,
    /// These; whether the list is of this very moment.
    These { names: BTreeSet<String>, at_once: bool },
    /// The database doesn't tell; gaps are settled by their age.
    Unknown,
}

impl Writers {
    /// Asks the database who may still commit rows of this table of ours.
    pub(crate) async fn ask<C: ConnectionTrait>(db: &C, table: &str) -> Result<Self, DbErr> {
        let backend = db.get_database_backend();
        let sql = match backend {
            DbBackend::Sqlite => return Ok(Self::Nobody),
            // Who has inserted holds this lock until its transaction has ended, and its effects are visible.
            DbBackend::Postgres => format!(
                "SELECT DISTINCT virtualtransaction AS name FROM pg_locks \
                 WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = '{table}'::regclass \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            // The connection and the start of its transaction: ids change when a transaction begins to write.
            _ => "SELECT CONCAT(trx_mysql_thread_id, '@', trx_started) AS name FROM information_schema.innodb_trx \
                 WHERE trx_mysql_thread_id <> CONNECTION_ID()".to_owned(),
        };
        let rows = match db.query_all_raw(Statement::from_string(backend, sql)).await {
            Ok(rows) => rows,
            // It takes the privilege PROCESS. The transaction goes on.
            Err(_) if backend == DbBackend::MySql => return Ok(Self::Unknown),
            Err(error) => return Err(error),
        };
        let name = |row: &QueryResult| row.try_get::<String>("", "name");
        let names = rows.iter().map(name).collect::<Result<_, _>>()?;
        Ok(Self::These { names, at_once: backend == DbBackend::Postgres })
    }

    /// What becomes of a gap that has been looked at since these were asked for: `None` if nothing will come any more.
    pub(crate) fn settle(&self, gap: Gap, now: i64, oldest: i64) -> Option<Gap> {
        let age = now.saturating_sub(gap.noticed);
        let (names, at_once) = match self {
            Self::Nobody => return None,
            Self::Unknown => return (age < oldest).then_some(gap),
            Self::These { names, at_once } => (names, *at_once),
        };
        // What is prepared to commit in two phases goes by another name than before.
        let prepared = names.iter().any(|name| name.starts_with('-'));
        match &gap.writers {
            Some(writers) => {
                let open = prepared || writers.lines().any(|name| names.contains(name));
                open.then_some(gap)
            }
            None if !at_once && age < AFTER => Some(gap),
            None if names.is_empty() => None,
            None => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Some(Gap { writers: Some(names.join("\n")), ..gap })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(names: &[&str], at_once: bool) -> Writers {
        Writers::These { names: names.iter().map(ToString::to_string).collect(), at_once }
    }

    #[test]
    fn q3_a_gap_is_settled_when_all_who_could_fill_it_have_ended() {
        let gap = Gap { first: 3, last: 4, noticed: 100, writers: None };
        let seen = these(&["3/45", "4/12"], true).settle(gap.clone(), 100, 9).unwrap();
        assert_eq!(seen.writers.as_deref(), Some("3/45\n4/12"));
        let still = these(&["4/12", "9/9"], true).settle(seen.clone(), 200, 9).unwrap();
        assert_eq!(still, seen, "those who came later don't count");
        assert_eq!(these(&["-1/77"], true).settle(seen.clone(), 200, 9), Some(seen.clone()));
        assert_eq!(these(&["3/46", "9/9"], true).settle(seen, 200, 9), None);
        assert_eq!(these(&[], true).settle(gap.clone(), 100, 9), None);
        assert_eq!(these(&[], false).settle(gap.clone(), 101, 9), Some(gap.clone()), "the list may be old");
        assert_eq!(these(&[], false).settle(gap.clone(), 102, 9), None);
        assert_eq!(Writers::Nobody.settle(gap.clone(), 100, 9), None);
        assert_eq!(Writers::Unknown.settle(gap.clone(), 108, 9), Some(gap.clone()));
        assert_eq!(Writers::Unknown.settle(gap, 109, 9), None);
    }
}
