//! Settings, and transactions begun by SQL.

use sea_orm::DbBackend;

use crate::capture::sql::{Script, What, Words, outline};

/// Whether a text leaves a transaction open.
pub(super) fn begins(sql: &str, script: &Script, backend: DbBackend) -> bool {
    let mut begun = false;
    // SQLite's first savepoint begins one, which its release ends.
    let mut savepoints: Vec<String> = Vec::new();
    for parsed in script.statements.iter().filter(|parsed| matches!(parsed.what, What::Transaction)) {
        let text = sql.get(parsed.range.clone()).unwrap_or_default();
        let text = outline(text, backend).text.unwrap_or_default().to_ascii_uppercase();
        let words: Vec<&str> = text.split_whitespace().collect();
        let name = words.last().map(|name| name.trim_matches(['"', '`', '[', ']'])).unwrap_or_default();
        match words.first() {
            Some(&("BEGIN" | "START" | "XA")) => begun = true,
            Some(&"SAVEPOINT") if backend == DbBackend::Sqlite => savepoints.push(name.to_owned()),
            Some(&"RELEASE") => {
                let at = savepoints.iter().rposition(|savepoint| savepoint == name);
                savepoints.truncate(at.unwrap_or(savepoints.len()));
            }
            Some(&("COMMIT" | "END" | "ROLLBACK" | "ABORT")) if !words.contains(&"TO") => {
                begun = words.contains(&"CHAIN") && !words.contains(&"NO");
                savepoints.clear();
            }
            _ => {}
        }
    }
    begun || !savepoints.is_empty()
}

/// Whether a call of `set_config` in a text in lower case doesn't name its setting by a plain literal.
pub(super) fn sets_unnamed(text: &str) -> bool {
    text.split("set_config").skip(1).any(|rest| {
        let name =
            rest.trim_start_matches(['"', ' ', '\t', '\n', '\r']).strip_prefix('(').map(str::trim_start);
        let after = name.and_then(|name| name.strip_prefix('\'')).and_then(|name| name.split_once('\''));
        !after.is_some_and(|(_, after)| after.trim_start().starts_with(','))
    })
}

/// Why a text is refused that the server's settings give its meaning.
pub(super) const DEPENDS: &str = "what a backslash or a double quote means in this text depends on the server's settings; pass values as parameters";

/// Settings that change how a text is read, or switch off what capture stands on.
const CHANGES_MEANING: &[&str] = &[
    "count_changes",
    "extra_float_digits",
    "full_column_names",
    "recursive_triggers",
    "session_replication_role",
    "short_column_names",
    "sql_mode",
    "sql_select_limit",
    "standard_conforming_strings",
];

/// Whether names mean other tables after it (PostgreSQL).
pub(super) fn changes_names(what: &What) -> bool {
    matches!(what, What::Setting(names) if names.iter().any(|name| name == "search_path"))
}

/// The same of a function that a text calls.
pub(super) fn sets_names(sql: &str, script: &Script) -> bool {
    let mut called = script.statements.iter().flat_map(|parsed| &parsed.functions);
    called.any(|name| name.ends_with("set_config")) && sql.to_lowercase().contains("search_path")
}

/// One of these settings that capture relies on.
pub(super) fn changes_meaning(names: &[String]) -> Option<&String> {
    names.iter().find(|name| CHANGES_MEANING.contains(&name.as_str()))
}

/// Whether a text in lower case names a setting that capture relies on.
pub(super) fn names_one(text: &str) -> bool {
    CHANGES_MEANING.iter().any(|name| text.contains(name))
}

/// Whether a text that can't be read may end the transaction that its entry is in, or switch off capture.
pub(super) fn is_harmful(words: &Words) -> bool {
    let never = ["abort", "commit", "rollback", "set_config"].iter().chain(CHANGES_MEANING);
    never.into_iter().any(|word| words.found.contains(*word))
}

/// Whether nothing has to be known of the database to let a statement pass. Nothing may be asked before some settings, as that of a
/// transaction's isolation.
pub(in crate::capture) fn is_harmless(what: &What) -> bool {
    match what {
        What::Read | What::Transaction | What::Upkeep => true,
        What::Setting(names) => changes_meaning(names).is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::begins;
    use crate::capture::sql::read;
    use sea_orm::DatabaseBackend::{MySql, Postgres, Sqlite};

    #[test]
    fn c15_a_text_that_leaves_a_transaction_open_is_known() {
        for (sql, backend, open) in [
            ("BEGIN", Postgres, true),
            ("START TRANSACTION; COMMIT", MySql, false),
            ("BEGIN; COMMIT AND CHAIN", Postgres, true),
            ("BEGIN; COMMIT AND NO CHAIN", Postgres, false),
            ("BEGIN; SAVEPOINT a; ROLLBACK TO a", Postgres, true),
            ("SAVEPOINT a; ROLLBACK TO a; RELEASE a", Sqlite, false),
            ("SAVEPOINT a; SAVEPOINT b; RELEASE b", Sqlite, true),
            ("SAVEPOINT a; SAVEPOINT b; RELEASE SAVEPOINT \"A\"", Sqlite, false),
            ("SAVEPOINT a; SAVEPOINT a; RELEASE a", Sqlite, true),
            ("SAVEPOINT a; ROLLBACK", Sqlite, false),
            ("SAVEPOINT a", Postgres, false),
        ] {
            assert_eq!(begins(sql, &read(sql, backend), backend), open, "{sql}");
        }
    }
}
