//! Whether a table has triggers that may change a row after it was written.
//!
//! Their effect is not in what `RETURNING` shows. Looking at every row twice would cost a statement for each save, so
//! the question goes along with a statement that is sent anyway, before an update's row is compared or a create's entry is
//! written, and a yes is remembered.

use sea_orm::sea_query::Expr;
use sea_orm::{ConnectionTrait, DbBackend};

use crate::registry::Audited;

/// Name of the column with the answer.
pub(super) const ANSWER: &str = "audit_has_triggers";

/// The question whether the entity's table has such triggers; `None` where there is nothing to ask: SeaORM reads the
/// row after the write anyway, or the answer is known.
pub(super) fn question<C: ConnectionTrait>(audited: &Audited, db: &C) -> Option<Expr> {
    if audited.triggers.load(std::sync::atomic::Ordering::Relaxed) || !db.support_returning() {
        return None;
    }
    let table = &audited.policy.table;
    match db.get_database_backend() {
        // In the schema of the table, or of the connection, in which ours are as well.
        DbBackend::Sqlite => {
            let (schema, name) = match table.split_once('.') {
                Some((schema, name)) => (format!("\"{}\".", schema.replace('"', "\"\"")), name),
                None => (String::new(), table.as_str()),
            };
            let triggers = format!(
                "EXISTS (SELECT 1 FROM {schema}sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE) \
                 OR EXISTS (SELECT 1 FROM sqlite_temp_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE \
                   AND name NOT GLOB 'audit_capture_*')"
            );
            Some(Expr::cust_with_values(triggers, [name, name]))
        }
        // Triggers that aren't internal (foreign keys are), of any sort but BEFORE, whose bit is 2.
        DbBackend::Postgres => Some(Expr::cust_with_values(
            "EXISTS (SELECT 1 FROM pg_catalog.pg_trigger WHERE (tgrelid = pg_catalog.to_regclass($1) OR tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass($2)))) AND NOT tgisinternal AND tgtype & 2 = 0)",
            [quoted(table), quoted(table)],
        )),
        _ => None,
    }
}

/// `schema.table` as PostgreSQL reads names from a text.
fn quoted(table: &str) -> String {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    match table.split_once('.') {
        Some((schema, table)) => format!("{}.{}", quote(schema), quote(table)),
        None => quote(table),
    }
}
