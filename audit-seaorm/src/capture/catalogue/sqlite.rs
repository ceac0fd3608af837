//! What SQLite's schema tells. SQLite captures what its foreign keys and triggers do by itself, once it is asked to: only which
//! statements may have such effects has to be known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{Action, Catalogue, Rule, TableFacts, View, action};
use crate::capture::sql::words_of_definition;
use crate::registry::Audited;

/// The number that SQLite counts up with each change of the schema.
pub(super) async fn schema_version<C: ConnectionTrait>(db: &C) -> Result<Option<i64>, DbErr> {
    let ask = Statement::from_string(DbBackend::Sqlite, "PRAGMA schema_version");
    db.query_one_raw(ask).await?.map(|row| row.try_get_by_index(0)).transpose()
}

/// A trigger.
struct Trigger {
    on: String,
    /// The tables and views that it names.
    names: Vec<String>,
    /// Whether it has a statement that replaces rows.
    replaces: bool,
    /// Whether it may do more than delete: then what a table's definition replaces is replaced.
    adds: bool,
}

/// Reads the catalogue.
pub(super) async fn load<C: ConnectionTrait>(db: &C, audited: &[&Arc<Audited>]) -> Result<Catalogue, DbErr> {
    const KEYS: &str = "\
        SELECT l.schema AS child_schema, l.name AS child, l.schema AS parent_schema, f.\"table\" AS parent, l.schema = 'main' AS parent_visible, \
          f.on_delete AS on_delete, f.on_update AS on_update, f.\"from\" AS child_columns, \
          coalesce(f.\"to\", '') AS parent_columns, 1 AS parent_may_change \
        FROM pragma_table_list l, pragma_foreign_key_list(l.name, l.schema) f WHERE l.type = 'table' AND l.schema <> 'temp'";
    const TABLES: &str = "SELECT type, tbl_name AS name, coalesce(sql, '') AS sql FROM sqlite_master WHERE type IN ('trigger', 'table', 'view')";
    // First: what changes while the rest is read makes it another one.
    let mut catalogue = Catalogue { version: schema_version(db).await?, ..Catalogue::default() };
    for row in db.query_all_raw(Statement::from_string(DbBackend::Sqlite, KEYS)).await? {
        let mut action = action(&row)?;
        for (_, name) in [&mut action.child, &mut action.parent] {
            *name = name.to_lowercase();
        }
        catalogue.actions.push(action);
    }
    for audited in audited {
        let (schema, name) = audited.policy.table.split_once('.').unwrap_or(("main", &audited.policy.table));
        let facts = TableFacts { id: (schema.to_owned(), name.to_lowercase()), ..TableFacts::default() };
        catalogue.tables.insert(audited.policy.table.clone(), facts);
    }
    let main = catalogue.tables.iter().filter(|(_, facts)| facts.id.0 == "main");
    let mut missing: BTreeMap<String, String> =
        main.map(|(table, facts)| (facts.id.1.clone(), table.clone())).collect();
    let (mut views, mut definitions, mut named) = (Vec::new(), Vec::new(), BTreeSet::new());
    for row in db.query_all_raw(Statement::from_string(DbBackend::Sqlite, TABLES)).await? {
        let (on, sql): (String, String) = (row.try_get("", "name")?, row.try_get("", "sql")?);
        let (on, kind) = (on.to_lowercase(), row.try_get::<String>("", "type")?);
        if kind == "table" {
            missing.remove(&on);
        }
        if kind != "trigger" {
            named.insert(on.clone());
        }
        if kind == "view" {
            views.push(View { schema: "main".into(), name: on, definition: sql.to_lowercase() });
            continue;
        }
        definitions.push((on, sql, kind == "trigger"));
    }
    named.extend(catalogue.tables.values().map(|facts| facts.id.1.clone()));
    let mut triggers = Vec::new();
    for (on, sql, is_trigger) in definitions {
        let words = words_of_definition(&sql);
        let has = |phrase: &[&str]| match &words {
            Some(words) => words.windows(phrase.len()).any(|words| words == phrase),
            None => phrase.iter().all(|word| sql.to_lowercase().contains(word)),
        };
        if is_trigger {
            // As if by foreign keys: what is written to one may change rows of the other, also by way of a third.
            let written: Vec<String> =
                named.iter().filter(|table| **table != on && has(&[table.as_str()])).cloned().collect();
            catalogue.actions.extend(written.iter().map(|table| Action {
                child: ("main".into(), table.clone()),
                child_columns: Vec::new(),
                parent: ("main".into(), on.clone()),
                parent_visible: true,
                parent_columns: Vec::new(),
                parent_may_change: true,
                on_delete: Rule::Cascade,
                on_update: Rule::Cascade,
                leaves: Vec::new(),
            }));
            let replaces = has(&["or", "replace"]) || has(&["replace", "into"]);
            let body = words.as_deref().and_then(|words| words.split(|word| word == "begin").nth(1));
            let adds = body.is_none_or(|words| words.iter().any(|word| word == "insert" || word == "update"));
            triggers.push(Trigger { on: on.clone(), names: written, replaces, adds });
        }
        for facts in catalogue.tables.values_mut().filter(|facts| facts.id.1 == on) {
            facts.triggers |= is_trigger;
            facts.replaces |= has(&["on", "conflict", "replace"]);
        }
    }
    find_triggering(&mut catalogue, &triggers);
    catalogue.missing = missing.into_values().collect();
    catalogue.find_views(&views, "");
    catalogue.find_reaching(audited);
    Ok(catalogue)
}

/// Finds the tables whose triggers write to audited ones, by way of others or not; and those of them whose triggers may
/// replace rows there.
fn find_triggering(catalogue: &mut Catalogue, triggers: &[Trigger]) {
    let audited = |name: &str| catalogue.tables.values().find(|facts| facts.id.1 == name);
    let writes = |trigger: &&Trigger| trigger.names.iter().any(|name| audited(name).is_some());
    let replaces = |trigger: &&Trigger| {
        let defined = || trigger.names.iter().filter_map(|name| audited(name)).any(|facts| facts.replaces);
        trigger.replaces || trigger.adds && defined()
    };
    let on = |trigger: &Trigger| trigger.on.clone();
    let mut triggering: BTreeSet<String> = triggers.iter().filter(writes).map(on).collect();
    let mut replacing: BTreeSet<String> = triggers.iter().filter(writes).filter(replaces).map(on).collect();
    loop {
        let before = triggering.len() + replacing.len();
        for trigger in triggers {
            if trigger.names.iter().any(|name| triggering.contains(name)) {
                triggering.insert(trigger.on.clone());
                if trigger.replaces {
                    replacing.insert(trigger.on.clone());
                }
            }
        }
        for action in catalogue.actions.iter().filter(|action| action.acts()) {
            if replacing.contains(&action.child.1) {
                replacing.insert(action.parent.1.clone());
            }
        }
        if triggering.len() + replacing.len() == before {
            break;
        }
    }
    (catalogue.triggering, catalogue.replacing) = (triggering, replacing);
}
