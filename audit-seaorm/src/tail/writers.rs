//! Which transactions may still commit entries: how gaps are settled.
//!
//! **Contract:** what isn't among the [`Writers`] any more has ended before they were asked for, and what it committed is seen by
//! every statement after that.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use super::gaps::Gap;

/// On MySQL a number is taken an instant before its transaction shows. So it is asked for a gap only after this many seconds.
const AFTER: i64 = 2;

/// What names of MySQL's list of locks begin with.
const LOCK: &str = "lock ";

/// Transactions that write now.
#[derive(Debug)]
pub(crate) enum Writers {
    /// Nobody writes while somebody else has a number that isn't committed: SQLite.
    Nobody,
    /// These; whether who takes a number is among them from then on.
    These { names: BTreeSet<String>, at_once: bool },
    /// The database doesn't tell, or not just now; gaps are settled by their age.
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
            _ => return Ok(Self::ask_mysql(db, table).await),
        };
        let names = names(db.query_all_raw(Statement::from_string(backend, sql)).await?)?;
        Ok(Self::These { names, at_once: true })
    }

    /// MySQL shows who has inserted by the lock of the table, which takes the right to read `performance_schema`; its list of
    /// transactions can't be read (error 3854) while a statement with binary values or an emoji runs, such as an entry's. MariaDB
    /// has only the latter, and it takes the privilege PROCESS. What fails leaves the transaction as it is.
    ///
    /// The server keeps the list of transactions for as long as it is read again within a tenth of a second, by whomever. Whether it
    /// is of now is told by this very question being in it.
    async fn ask_mysql<C: ConnectionTrait>(db: &C, table: &str) -> Self {
        let ask = async |sql: String| {
            db.query_all_raw(Statement::from_string(DbBackend::MySql, sql)).await.and_then(names)
        };
        let locks = format!(
            "SELECT DISTINCT CONCAT('{LOCK}', engine_transaction_id) AS name FROM performance_schema.data_locks \
             WHERE object_schema = DATABASE() AND object_name = '{table}' AND lock_type = 'TABLE'"
        );
        // The connection and the start of its transaction: ids change when a transaction begins to write.
        let mark = uuid::Uuid::now_v7().simple().to_string();
        let transactions = format!(
            "SELECT CASE WHEN trx_mysql_thread_id <> CONNECTION_ID() THEN CONCAT(trx_mysql_thread_id, '@', trx_started) \
             WHEN LOCATE('{mark}', trx_query) > 0 THEN '{mark}' ELSE '' END AS name FROM information_schema.innodb_trx"
        );
        // Switched off, its tables are there and empty.
        let on = ask("SELECT CAST(@@performance_schema AS char) AS name".to_owned()).await;
        if matches!(on, Ok(on) if on.contains("1"))
            && let Ok(names) = ask(locks).await
        {
            return Self::These { names, at_once: false };
        }
        let Ok(mut names) = ask(transactions).await else { return Self::Unknown };
        if names.remove(&mark) { Self::These { names, at_once: false } } else { Self::Unknown }
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
                let of_locks = |name: &str| name.starts_with(LOCK);
                let one = writers.lines().next();
                if names.iter().next().zip(one).is_some_and(|(now, then)| of_locks(now) != of_locks(then)) {
                    // Another list than the last time, with other names in it.
                    return Some(Gap { writers: Some(joined(names)), ..gap });
                }
                let open = prepared || writers.lines().any(|name| names.contains(name));
                open.then_some(gap)
            }
            None if !at_once && age < AFTER => Some(gap),
            None if names.is_empty() => None,
            None => Some(Gap { writers: Some(joined(names)), ..gap }),
        }
    }
}

fn names(rows: Vec<QueryResult>) -> Result<BTreeSet<String>, DbErr> {
    rows.iter().map(|row| row.try_get::<String>("", "name")).collect()
}

fn joined(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(names: &[&str], at_once: bool) -> Writers {
        Writers::These { names: names.iter().map(ToString::to_string).collect(), at_once }
    }

    fn seen_at_mysql() -> Gap {
        Gap { first: 3, last: 4, noticed: 100, writers: Some("7@2026-01-01 00:00:00\n9@x".into()) }
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
        assert_eq!(
            these(&[], false).settle(gap.clone(), 101, 9),
            Some(gap.clone()),
            "who writes may not show yet"
        );
        assert_eq!(these(&[], false).settle(gap.clone(), 102, 9), None);
        let other = these(&["lock 5"], false).settle(seen_at_mysql(), 200, 9).unwrap();
        assert_eq!(other.writers.as_deref(), Some("lock 5"), "another list is no news of the first one's");
        assert_eq!(these(&["7@x"], false).settle(other, 200, 9).unwrap().writers.as_deref(), Some("7@x"));
        assert_eq!(Writers::Nobody.settle(gap.clone(), 100, 9), None);
        assert_eq!(Writers::Unknown.settle(gap.clone(), 108, 9), Some(gap.clone()));
        assert_eq!(Writers::Unknown.settle(gap, 109, 9), None);
    }
}
