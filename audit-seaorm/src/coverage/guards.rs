//! Whether the tables of records still refuse changes: what the migrations put there for that can be dropped or switched off.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

/// The guards that a database has, as far as it shows them.
#[derive(Debug, Default)]
pub(super) struct Guards {
    /// What has to be there for each table, behind its name.
    needed: &'static [&'static str],
    /// Those that are there and switched on.
    found: BTreeSet<String>,
}

impl Guards {
    /// Reads them.
    pub(super) async fn load<C: ConnectionTrait>(db: &C) -> Result<Self, DbErr> {
        let backend = db.get_database_backend();
        let (needed, found): (&[&str], &str) = match backend {
            // Always: ordinary triggers are off under `session_replication_role`.
            DbBackend::Postgres => (
                &["append_only"],
                "SELECT tgname::text AS name FROM pg_catalog.pg_trigger WHERE tgenabled = 'A' AND NOT tgisinternal \
                 AND pg_catalog.pg_table_is_visible(tgrelid)",
            ),
            // Who may not see triggers sees none: then only what can be seen is said to be missing.
            DbBackend::MySql => (
                &["refuse_update", "refuse_delete"],
                "SELECT trigger_name AS name FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
            ),
            DbBackend::Sqlite => (
                &["refuse_update", "refuse_delete", "refuse_replace"],
                "SELECT name FROM main.sqlite_schema WHERE type = 'trigger'",
            ),
            _ => return Ok(Self::default()),
        };
        let rows = db.query_all_raw(Statement::from_string(backend, found)).await?;
        let found: BTreeSet<String> =
            rows.iter().map(|row| row.try_get("", "name")).collect::<Result<_, _>>()?;
        let shown = backend != DbBackend::MySql || !found.is_empty();
        Ok(Self { needed: if shown { needed } else { &[] }, found })
    }

    /// Those of a table that aren't there.
    pub(super) fn missing(&self, table: &str) -> Vec<String> {
        let names = self.needed.iter().map(|guard| format!("{table}_{guard}"));
        names.filter(|name| !self.found.contains(name)).collect()
    }
}
