//! What the information schema of MySQL and MariaDB tells.

mod assigned;

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};

use super::{Catalogue, ColumnFacts, OtherName, TableFacts, TableId, View, action, made_of, texts};
use crate::registry::Audited;

/// Reads the catalogue.
pub(super) async fn load<C: ConnectionTrait>(db: &C, audited: &[&Arc<Audited>]) -> Result<Catalogue, DbErr> {
    const COLUMNS: &str = "\
        SELECT table_schema AS s, table_name AS t, column_name AS c, data_type AS y, \
          extra LIKE '%GENERATED%' AND extra NOT LIKE '%DEFAULT_GENERATED%' AS g, extra LIKE '%auto_increment%' AS a, \
          extra LIKE '%INVISIBLE%' AS i \
        FROM information_schema.columns WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? ORDER BY ordinal_position";
    const UNIQUE: &str = "\
        SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR '\u{1f}') AS columns, \
          MAX(sub_part IS NOT NULL) AS prefix \
        FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND non_unique = 0 \
        GROUP BY index_name HAVING COUNT(*) = COUNT(column_name)";
    const TRIGGERS: &str = "\
        SELECT action_timing AS timing, event_manipulation AS event, action_statement AS text, \
          sql_mode LIKE '%NO_BACKSLASH_ESCAPES%' AS plain FROM information_schema.triggers WHERE event_object_schema = ? AND event_object_table = ?";
    const KEYS: &str = "\
        SELECT k.table_schema AS child_schema, k.table_name AS child, k.referenced_table_schema AS parent_schema, \
          k.referenced_table_name AS parent, IF(k.referenced_table_schema = DATABASE(), 1, 0) AS parent_visible, \
          r.delete_rule AS on_delete, r.update_rule AS on_update, \
          GROUP_CONCAT(k.column_name ORDER BY k.ordinal_position SEPARATOR '\u{1f}') AS child_columns, \
          GROUP_CONCAT(k.referenced_column_name ORDER BY k.ordinal_position SEPARATOR '\u{1f}') AS parent_columns, \
          IF(MAX((k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name) IN (SELECT table_schema, table_name, column_name \
              FROM information_schema.columns WHERE extra LIKE '%on update%' OR extra LIKE '%GENERATED%' AND extra NOT LIKE '%DEFAULT_GENERATED%')), \
            1, 0) AS parent_may_change \
        FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r \
          ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name \
        WHERE k.referenced_table_name IS NOT NULL AND (r.delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') \
          OR r.update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT')) AND k.table_schema NOT IN ('mysql', 'sys') \
        GROUP BY k.constraint_schema, k.constraint_name, k.table_name, k.table_schema, k.referenced_table_schema, \
          k.referenced_table_name, r.delete_rule, r.update_rule";
    const VIEWS: &str =
        "SELECT table_schema AS s, table_name AS name, view_definition AS text FROM information_schema.views";
    let backend = DbBackend::MySql;
    let mut catalogue = Catalogue::default();
    for audited in audited {
        let (schema, name) = match audited.policy.table.split_once('.') {
            Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
            None => (None, audited.policy.table.clone()),
        };
        let mut facts = TableFacts::default();
        let values = [Value::from(schema), Value::from(name)];
        for row in db.query_all_raw(Statement::from_sql_and_values(backend, COLUMNS, values)).await? {
            facts.id = (row.try_get("", "s")?, row.try_get("", "t")?);
            let name: String = row.try_get("", "c")?;
            if row.try_get::<i64>("", "i")? != 0 {
                facts.invisible.push(name.clone());
            }
            facts.columns.push(ColumnFacts {
                name,
                type_name: row.try_get("", "y")?,
                generated: row.try_get::<i64>("", "g")? != 0,
                scale: None,
                filled: None,
                enumerated: false,
                required: false,
                default: None,
                auto_increment: row.try_get::<i64>("", "a")? != 0,
            });
        }
        if facts.columns.is_empty() {
            continue;
        }
        let id = [Value::from(facts.id.0.clone()), Value::from(facts.id.1.clone())];
        for row in db.query_all_raw(Statement::from_sql_and_values(backend, UNIQUE, id.clone())).await? {
            facts.unique.push(texts(&row, "columns")?);
            facts.prefix_keys |= row.try_get::<i64>("", "prefix")? != 0;
        }
        for row in db.query_all_raw(Statement::from_sql_and_values(backend, TRIGGERS, id)).await? {
            facts.triggers = true;
            let before = row.try_get::<String>("", "timing")? == "BEFORE";
            facts.after_triggers |= !before;
            let text: Option<String> = row.try_get("", "text")?;
            let escapes = row.try_get::<i64>("", "plain")? == 0;
            let assigned = assigned::assigned(&text.unwrap_or_default(), escapes);
            match row.try_get::<String>("", "event")?.as_str() {
                "INSERT" if before => facts.set_by_insert.extend(assigned),
                "UPDATE" if before => facts.set_by_update.extend(assigned),
                _ => {}
            }
        }
        catalogue.tables.insert(audited.policy.table.clone(), facts);
    }
    let mut views = Vec::new();
    for row in db.query_all_raw(Statement::from_string(backend, VIEWS)).await? {
        // Nothing for who may not see it.
        let text: Option<String> = row.try_get("", "text")?;
        views.push(View {
            schema: row.try_get("", "s")?,
            name: row.try_get("", "name")?,
            definition: text.unwrap_or_default().to_lowercase(),
        });
    }
    let audited_views = catalogue.find_views(&views, "`");
    const FUNCTIONS: &str =
        "SELECT routine_name AS name FROM information_schema.routines WHERE routine_type = 'FUNCTION'";
    for row in db.query_all_raw(Statement::from_string(backend, FUNCTIONS)).await? {
        catalogue.computed.insert(row.try_get::<String>("", "name")?.to_lowercase());
    }
    catalogue.computed.extend(views.iter().map(|view| view.name.to_lowercase()));
    for row in db.query_all_raw(Statement::from_string(backend, KEYS)).await? {
        catalogue.actions.push(action(&row)?);
    }
    const SETTERS: &str = "\
        SELECT event_object_schema AS s, event_object_table AS t, action_statement AS text, \
          sql_mode LIKE '%NO_BACKSLASH_ESCAPES%' AS plain FROM information_schema.triggers \
        WHERE action_timing = 'BEFORE' AND event_manipulation = 'UPDATE' AND event_object_schema NOT IN ('mysql', 'sys')";
    for row in db.query_all_raw(Statement::from_string(backend, SETTERS)).await? {
        let (schema, name): (String, String) = (row.try_get("", "s")?, row.try_get("", "t")?);
        let text: Option<String> = row.try_get("", "text")?;
        let set = text.map(|text| -> Result<_, DbErr> {
            Ok(assigned::assigned(&text, row.try_get::<i64>("", "plain")? == 0))
        });
        let set = set.transpose()?;
        for action in &mut catalogue.actions {
            let (parent_schema, parent) = &action.parent;
            let is_its = parent_schema.eq_ignore_ascii_case(&schema) && parent.eq_ignore_ascii_case(&name);
            // Of a trigger whose text isn't shown anything may be true.
            let sets = |column: &String| set.as_ref().is_none_or(|set| set.contains(&column.to_lowercase()));
            action.parent_may_change |= is_its && action.parent_columns.iter().any(sets);
        }
    }
    let reached = catalogue.find_reaching(audited);
    let parents = reached.into_iter().filter(|(schema, _)| !schema.is_empty());
    let parents = parents.map(|id| (id.clone(), id.1)).collect();
    let leading = made_of(&views, &parents, "`");
    let leading = leading.into_iter().filter(|(view, _)| !audited_views.contains_key(view));
    let leading: Vec<_> = leading.map(|(view, tables)| (view, tables, false)).collect();
    let all: Vec<_> =
        audited_views.into_iter().map(|(view, tables)| (view, tables, true)).chain(leading).collect();
    let here = if all.is_empty() { Vec::new() } else { names_here(db).await? };
    for ((schema, view), tables, audited) in all {
        let hidden = here.iter().any(|(other, name)| *other != schema && name.eq_ignore_ascii_case(&view));
        for table in tables.into_iter().take(1) {
            let schema = schema.to_lowercase();
            let (holds_rows, ruled) = (false, false);
            let exactly = None;
            let other = OtherName { schema, exactly, table, audited, holds_rows, ruled, hidden };
            catalogue.others.add(&view, other);
        }
    }
    Ok(catalogue)
}

/// The tables and views of the database that is meant where none is said.
async fn names_here<C: ConnectionTrait>(db: &C) -> Result<Vec<TableId>, DbErr> {
    const HERE: &str = "\
        SELECT table_schema AS s, table_name AS t FROM information_schema.tables WHERE table_schema = DATABASE()";
    let rows = db.query_all_raw(Statement::from_string(DbBackend::MySql, HERE)).await?;
    rows.iter().map(|row| Ok((row.try_get("", "s")?, row.try_get("", "t")?))).collect()
}
