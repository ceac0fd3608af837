//! What PostgreSQL's catalogue tells.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use super::{Catalogue, ColumnFacts, OtherName, TableId, action, quoted, texts};
use crate::capture::text::quote;
use crate::registry::Audited;

/// The views of tables, and their partitions, children and parents. What is written to a child of a parent is no row of the table.
const RELATIVES: &str = "\
    WITH RECURSIVE wanted(name, oid) AS ( \
      SELECT w.name, pg_catalog.to_regclass(w.name)::oid FROM unnest($1::text[]) AS w(name)), \
    above(name, oid) AS ( \
      SELECT w.name, i.inhparent FROM wanted w JOIN pg_catalog.pg_inherits i ON i.inhrelid = w.oid \
      UNION SELECT a.name, i.inhparent FROM above a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.oid), \
    below(name, oid) AS ( \
      SELECT w.name, w.oid FROM wanted w \
      UNION SELECT b.name, i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid), \
    related(wanted, oid) AS ( \
      (SELECT a.name, a.oid FROM above a UNION SELECT b.name, b.oid FROM below b) \
      UNION SELECT r.wanted, w.ev_class FROM related r \
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refobjid = r.oid \
        JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid) \
    SELECT r.wanted, n.nspname::text AS schema, c.relname::text AS name, c.relkind NOT IN ('v', 'm') AS holds_rows, \
      c.relkind <> 'm' AS is_written, \
      c.relkind NOT IN ('v', 'm') AND c.relhasrules AS ruled, \
      c.relpersistence <> 't' AND COALESCE(pg_catalog.to_regclass(pg_catalog.quote_ident(c.relname)) <> c.oid, FALSE) AS hidden \
    FROM related r JOIN pg_catalog.pg_class c ON c.oid = r.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.oid <> pg_catalog.to_regclass(r.wanted)";

/// The tables that names mean. A view, or what else isn't a table, comes second to a table of its name that another schema of `search_path` has: what is written
/// to that table counts.
const MEANT: &str = "\
    SELECT w.name AS wanted, n.nspname::text AS schema, c.relname::text AS name FROM unnest($1::text[]) AS w(name) \
    JOIN pg_catalog.pg_class f ON f.oid = pg_catalog.to_regclass(w.name) \
    JOIN pg_catalog.pg_class c ON c.oid = COALESCE((SELECT t.oid FROM pg_catalog.pg_class t \
        JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace \
        WHERE f.relkind NOT IN ('r', 'p', 'f') AND strpos(w.name, '\".\"') = 0 AND t.relname = f.relname AND t.relkind IN ('r', 'p', 'f') \
          AND s.nspname = ANY (pg_catalog.current_schemas(TRUE)) \
        ORDER BY array_position(pg_catalog.current_schemas(TRUE), s.nspname) LIMIT 1), f.oid) \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace";

/// What a row of [`RELATIVES`] tells, with the name itself.
fn other_name(row: &QueryResult, table: &str, audited: bool) -> Result<(TableId, OtherName), DbErr> {
    let id: TableId = (row.try_get("", "schema")?, row.try_get("", "name")?);
    let other = OtherName {
        schema: id.0.to_lowercase(),
        exactly: Some(id.1.clone()),
        table: table.to_owned(),
        audited,
        holds_rows: row.try_get("", "holds_rows")?,
        ruled: row.try_get("", "ruled")?,
        hidden: row.try_get("", "hidden")?,
    };
    Ok((id, other))
}

/// Reads the catalogue.
pub(super) async fn load<C: ConnectionTrait>(db: &C, audited: &[&Arc<Audited>]) -> Result<Catalogue, DbErr> {
    // Triggers of the tables below fire as well. One before may write if its text has a word for that, or calls a function that may; and
    // one of a part that keeps a row out of it has deleted the row that was to move there.
    const TABLES: &str = "\
        WITH RECURSIVE below(root, oid) AS ( \
          SELECT r.oid, r.oid FROM (SELECT pg_catalog.to_regclass(w.name)::oid AS oid FROM unnest($1::text[]) AS w(name)) r \
          UNION SELECT b.root, i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid), \
        fired AS MATERIALIZED ( \
          SELECT b.root, bool_or(t.tgtype & 2 = 0) AS after, \
            bool_or(t.tgtype & 3 = 3 AND (l.lanname NOT IN ('plpgsql', 'sql') \
              OR p.prosrc ~* '\\m(insert|update|delete|merge|truncate|execute|perform|call|select)\\M' \
              OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc c WHERE c.provolatile = 'v' AND c.prokind = 'f' \
                AND c.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace AND c.prorettype <> 'pg_catalog.trigger'::pg_catalog.regtype \
                AND strpos(lower(p.prosrc), lower(c.proname)) > 0) \
              OR b.oid <> b.root AND t.tgtype & 4 = 4 AND p.prosrc ~* '\\mnull\\M')) AS before \
          FROM below b JOIN pg_catalog.pg_trigger t ON t.tgrelid = b.oid JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid \
          JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE NOT t.tgisinternal GROUP BY b.root) \
        SELECT w.name AS wanted, n.nspname::text AS schema, c.relname::text AS name, \
          COALESCE(f.after, FALSE) AS after, COALESCE(f.before, FALSE) AS before, \
          EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND c.relkind <> 'v') AS ruled, \
          f.root IS NOT NULL OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND c.relkind <> 'v') AS triggers, \
          c.relhassubclass \
            OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 2 = 2) \
            OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND c.relkind <> 'v') AS leaves_out, \
          c.relkind = 'p' AS partitioned, \
          a.attname::text AS \"column\", y.typname::text AS type, a.attgenerated <> '' AS generated, \
          CASE WHEN y.typname = 'numeric' AND a.atttypmod >= 4 THEN (a.atttypmod - 4) & 2047 END AS scale, \
          CASE WHEN y.typname = 'bpchar' AND a.atttypmod >= 4 THEN a.atttypmod - 4 END AS filled, \
          y.typtype = 'e' AS enumerated, a.attnotnull AS required, \
          (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d \
           WHERE d.adrelid = c.oid AND d.adnum = a.attnum) AS \"default\" \
        FROM unnest($1::text[]) AS w(name) \
        JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(w.name) \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
        JOIN pg_catalog.pg_type y ON y.oid = a.atttypid \
        LEFT JOIN fired f ON f.root = c.oid \
        ORDER BY w.name, a.attnum";
    const UNIQUE: &str = "\
        SELECT w.name AS wanted, \
          (SELECT string_agg(a.attname::text, chr(31) ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, n) \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.n <= i.indnkeyatts) AS columns, \
          i.indimmediate AND i.indisvalid AND (c.relkind = 'p' OR NOT c.relhassubclass) AS sure \
        FROM unnest($1::text[]) AS w(name) \
        JOIN pg_catalog.pg_index i ON i.indrelid = pg_catalog.to_regclass(w.name) \
        JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
        WHERE i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL";
    // A key of a table's part is one of the table itself, as far as that has its columns: what is written there may be rows of the part.
    const KEYS: &str = "\
        SELECT cn.nspname::text AS child_schema, cc.relname::text AS child, pn.nspname::text AS parent_schema, \
          pc.relname::text AS parent, pg_catalog.pg_table_is_visible(pc.oid)::int AS parent_visible, k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update, \
          (SELECT string_agg(COALESCE(o.attname::text, ''), chr(31) ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY AS u(number, n) \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number \
           LEFT JOIN pg_catalog.pg_attribute o ON o.attrelid = cc.oid AND o.attname = a.attname) AS child_columns, \
          (SELECT string_agg(COALESCE(o.attname::text, ''), chr(31) ORDER BY u.n) FROM unnest(k.confkey) WITH ORDINALITY AS u(number, n) \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number \
           LEFT JOIN pg_catalog.pg_attribute o ON o.attrelid = pc.oid AND o.attname = a.attname) AS parent_columns, \
          (EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attribute o ON o.attrelid = pc.oid AND o.attname = a.attname \
              WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey) AND (a.attgenerated <> '' OR o.attname IS NULL)) \
            OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t \
              WHERE t.tgrelid IN (WITH RECURSIVE below(oid) AS (SELECT k.confrelid UNION SELECT i.inhrelid FROM below b \
                  JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid) SELECT oid FROM below) \
              AND NOT t.tgisinternal AND t.tgtype & 19 = 19 AND EXISTS (SELECT 1 FROM pg_catalog.pg_proc p \
                JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.oid = t.tgfoid AND (l.lanname NOT IN ('plpgsql', 'sql') \
                OR p.prosrc ~* '\\mnew\\M\\s*:?=|\\mexecute\\M' OR EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a \
                  WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey) AND strpos(lower(p.prosrc), lower(a.attname::text)) > 0)))))::int AS parent_may_change, \
          (SELECT string_agg(COALESCE(a.attname::text, ''), chr(31)) FROM (WITH RECURSIVE above(oid) AS ( \
              SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = k.confrelid \
              UNION SELECT i.inhparent FROM above b JOIN pg_catalog.pg_inherits i ON i.inhrelid = b.oid) SELECT oid FROM above) u \
            JOIN pg_catalog.pg_partitioned_table d ON d.partrelid = u.oid CROSS JOIN LATERAL unnest(d.partattrs::int2[]) AS n(number) \
            LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = u.oid AND a.attnum = n.number AND n.number > 0) AS leaves \
        FROM pg_catalog.pg_constraint k \
        CROSS JOIN LATERAL (WITH RECURSIVE above(oid) AS (SELECT k.conrelid UNION SELECT i.inhparent FROM above b \
          JOIN pg_catalog.pg_inherits i ON i.inhrelid = b.oid) SELECT oid FROM above) AS c \
        CROSS JOIN LATERAL (WITH RECURSIVE above(oid) AS (SELECT k.confrelid UNION SELECT i.inhparent FROM above b \
          JOIN pg_catalog.pg_inherits i ON i.inhrelid = b.oid) SELECT oid FROM above) AS p \
        JOIN pg_catalog.pg_class cc ON cc.oid = c.oid JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace \
        JOIN pg_catalog.pg_class pc ON pc.oid = p.oid JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace \
        WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))";
    let asked: Vec<(String, &str)> = audited
        .iter()
        .map(|audited| (quoted(DbBackend::Postgres, &audited.policy.table), audited.policy.table.as_str()))
        .collect();
    let all: Vec<String> = asked.iter().map(|(quoted, _)| quoted.clone()).collect();
    let meant = Statement::from_sql_and_values(DbBackend::Postgres, MEANT, [Value::from(all)]);
    let mut names: Vec<(String, &str)> = Vec::with_capacity(asked.len());
    for row in db.query_all_raw(meant).await? {
        let wanted: String = row.try_get("", "wanted")?;
        let table = format!(
            "{}.{}",
            quote(DbBackend::Postgres, &row.try_get::<String>("", "schema")?),
            quote(DbBackend::Postgres, &row.try_get::<String>("", "name")?)
        );
        names
            .extend(asked.iter().filter(|(name, _)| *name == wanted).map(|(_, name)| (table.clone(), *name)));
    }
    let wanted: Vec<String> = names.iter().map(|(quoted, _)| quoted.clone()).collect();
    let table_of =
        |quoted: &str| names.iter().find(|(name, _)| name == quoted).map(|(_, table)| (*table).to_owned());
    let ask =
        |sql: &str| Statement::from_sql_and_values(DbBackend::Postgres, sql, [Value::from(wanted.clone())]);

    let mut catalogue = Catalogue { cased: true, ..Catalogue::default() };
    for row in db.query_all_raw(ask(TABLES)).await? {
        let Some(table) = table_of(&row.try_get::<String>("", "wanted")?) else { continue };
        let facts = catalogue.tables.entry(table).or_default();
        facts.id = (row.try_get("", "schema")?, row.try_get("", "name")?);
        facts.after_triggers = row.try_get("", "after")?;
        facts.before_triggers = row.try_get("", "before")?;
        facts.triggers = row.try_get("", "triggers")?;
        facts.ruled = row.try_get("", "ruled")?;
        facts.leaves_out = row.try_get("", "leaves_out")?;
        facts.partitioned = row.try_get("", "partitioned")?;
        facts.columns.push(ColumnFacts {
            name: row.try_get("", "column")?,
            type_name: row.try_get("", "type")?,
            generated: row.try_get("", "generated")?,
            scale: row.try_get("", "scale")?,
            filled: row.try_get("", "filled")?,
            enumerated: row.try_get("", "enumerated")?,
            required: row.try_get("", "required")?,
            default: row.try_get("", "default")?,
            auto_increment: false,
        });
    }
    for row in db.query_all_raw(ask(UNIQUE)).await? {
        let Some(table) = table_of(&row.try_get::<String>("", "wanted")?) else { continue };
        let (facts, key) = (catalogue.tables.entry(table).or_default(), texts(&row, "columns")?);
        if row.try_get("", "sure")? {
            facts.row_keys.push(key.clone());
        }
        facts.unique.push(key);
    }
    for row in db.query_all_raw(ask(RELATIVES)).await? {
        let Some(table) = table_of(&row.try_get::<String>("", "wanted")?) else { continue };
        let (id, other) = other_name(&row, &table, true)?;
        if !catalogue.tables.values().any(|facts| facts.id == id) {
            catalogue.views.entry(id.1.to_lowercase()).or_default().insert(table);
            // A materialized view is only read.
            if row.try_get("", "is_written")? {
                catalogue.others.add(&id.1, other);
            }
        }
    }
    for row in db.query_all_raw(Statement::from_string(DbBackend::Postgres, KEYS)).await? {
        let mut action = action(&row)?;
        let leaves = row.try_get::<Option<String>>("", "leaves")?;
        let columns = leaves.iter().flat_map(|columns| columns.split('\u{1f}'));
        action.leaves = columns.map(|name| (!name.is_empty()).then(|| name.to_owned())).collect();
        catalogue.actions.push(action);
    }
    const VOLATILE: &str =
        "SELECT DISTINCT lower(p.proname) AS name FROM pg_catalog.pg_proc p WHERE p.provolatile = 'v'";
    for row in db.query_all_raw(Statement::from_string(DbBackend::Postgres, VOLATILE)).await? {
        catalogue.volatile.insert(row.try_get("", "name")?);
    }
    let reached = catalogue.find_reaching(audited);
    find_leading(&mut catalogue, db, &reached).await?;
    Ok(catalogue)
}

/// Finds the relatives of tables that aren't audited and reach audited ones.
async fn find_leading<C: ConnectionTrait>(
    catalogue: &mut Catalogue,
    db: &C,
    reached: &BTreeSet<TableId>,
) -> Result<(), DbErr> {
    let known = |id: &TableId| catalogue.tables.values().any(|facts| facts.id == *id);
    let parents = reached.iter().filter(|id| !id.0.is_empty() && !known(id));
    let parents: BTreeMap<String, &str> = parents
        .map(|(schema, name)| {
            (
                format!("{}.{}", quote(DbBackend::Postgres, schema), quote(DbBackend::Postgres, name)),
                name.as_str(),
            )
        })
        .collect();
    if parents.is_empty() {
        return Ok(());
    }
    let wanted: Vec<String> = parents.keys().cloned().collect();
    let ask = Statement::from_sql_and_values(DbBackend::Postgres, RELATIVES, [Value::from(wanted)]);
    for row in db.query_all_raw(ask).await? {
        if !row.try_get::<bool>("", "is_written")? {
            continue;
        }
        let Some(parent) = parents.get(&row.try_get::<String>("", "wanted")?) else { continue };
        let (id, other) = other_name(&row, parent, false)?;
        if !reached.contains(&id) && catalogue.others.of(&id).is_none() {
            catalogue.others.add(&id.1, other);
        }
    }
    Ok(())
}
