//! What capture has to know of the database's own description of its tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use super::sql::{TableName, Words, words_of_definition};
use super::text::quote;
use crate::Registry;
use crate::registry::Audited;

/// A table's schema and name.
pub(super) type TableId = (String, String);

/// The audited tables as the database has them, and the foreign keys between all tables.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// By [`ResourcePolicy::table`](crate::ResourcePolicy::table); tables that aren't there are missing.
    tables: HashMap<String, TableFacts>,
    actions: Vec<Action>,
    /// Views of audited tables, and their partitions, children and parents, by name in lower case.
    relatives: BTreeMap<String, String>,
    /// Those of them that hold rows: not the views.
    parts: BTreeSet<String>,
    /// Views of tables whose changes reach audited ones by foreign keys, and their partitions, children and parents, by name in lower
    /// case (PostgreSQL and MySQL).
    leading: BTreeMap<String, String>,
    /// On SQLite, tables whose triggers write to audited ones, and those of them whose triggers may replace rows there.
    triggering: BTreeSet<String>,
    replacing: BTreeSet<String>,
    /// By the name of a view the audited tables that it is made of.
    views: BTreeMap<String, BTreeSet<String>>,
    /// On SQLite, where they are in `tables` all the same, the audited tables that aren't there.
    missing: BTreeSet<String>,
    /// On MySQL the names of all views and of all stored functions, in lower case.
    computed: BTreeSet<String>,
    /// Names, in lower case, of tables whose changes may reach an audited one by a foreign key.
    reaching: BTreeSet<String>,
    /// On SQLite, which schema this is of.
    version: Option<i64>,
}

/// An audited table as the database has it.
#[derive(Debug, Default)]
pub(super) struct TableFacts {
    pub(super) id: TableId,
    /// All its columns, in their order.
    pub(super) columns: Vec<ColumnFacts>,
    /// The columns of each unique key that has no condition and no expression in it; the primary key is one of them.
    pub(super) unique: Vec<Vec<String>>,
    /// Those of them by which there is never more than one row (PostgreSQL): neither deferrable, nor of a table with
    /// children, whose rows have keys of their own.
    pub(super) row_keys: Vec<Vec<String>>,
    /// Whether triggers of the user's run after a write: their effect is not in what the write returns.
    pub(super) after_triggers: bool,
    /// Whether triggers of the user's run before or after a write, or rules rewrite it.
    pub(super) triggers: bool,
    /// Whether a write may leave out rows that its condition names (PostgreSQL): triggers before it and rules can, also those of
    /// tables below it.
    pub(super) leaves_out: bool,
    /// Whether its rows are in tables below it, so that there are no system columns of what a write returns (PostgreSQL).
    pub(super) partitioned: bool,
    /// Whether a unique key of MySQL's is of the beginnings of texts.
    pub(super) prefix_keys: bool,
    /// Whether a constraint of SQLite's deletes the rows in the way of a new one.
    pub(super) replaces: bool,
}

/// A column as the database has it.
#[derive(Debug)]
pub(super) struct ColumnFacts {
    pub(super) name: String,
    /// The type's name in the database's catalogue.
    pub(super) type_name: String,
    /// Computed by the database from other columns.
    pub(super) generated: bool,
    /// Digits after the point, where the type declares them.
    pub(super) scale: Option<i32>,
    /// Characters to which shorter texts are filled up with blanks, where the type does that (PostgreSQL).
    pub(super) filled: Option<i32>,
    /// Of a type with named values.
    pub(super) enumerated: bool,
    /// Never NULL.
    pub(super) required: bool,
    /// The expression of its default.
    pub(super) default: Option<String>,
    /// Numbered by the database (MySQL's `AUTO_INCREMENT`).
    pub(super) auto_increment: bool,
}

/// A view, with its definition in lower case.
struct View {
    schema: String,
    name: String,
    definition: String,
}

impl View {
    /// Whether the definition names this table. That of another schema it names in full.
    fn names(&self, schema: &str, name: &str, quote: &str) -> bool {
        let name = format!("{quote}{}{quote}", name.to_lowercase());
        if schema.eq_ignore_ascii_case(&self.schema) {
            return self.definition.contains(&name);
        }
        self.definition.contains(&format!("{quote}{}{quote}.{name}", schema.to_lowercase()))
    }
}

/// What a foreign key does to its rows when the row that they refer to changes.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) child: TableId,
    pub(super) child_columns: Vec<String>,
    pub(super) parent: TableId,
    /// Whether the other table is the one that is meant where no schema is said.
    pub(super) parent_visible: bool,
    pub(super) parent_columns: Vec<String>,
    /// When the row that is referred to is deleted.
    pub(super) on_delete: Rule,
    /// When a column that is referred to changes.
    pub(super) on_update: Rule,
}

/// What becomes of a referring row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing; the change of the other row is refused instead.
    Nothing,
    /// It follows: it is deleted, or its columns change along.
    Cascade,
    /// Its columns become NULL or their default.
    Set,
}

impl Action {
    fn acts(&self) -> bool {
        self.on_delete != Rule::Nothing || self.on_update != Rule::Nothing
    }
}

impl Rule {
    fn of(word: &str) -> Self {
        match word {
            "c" | "CASCADE" => Self::Cascade,
            "n" | "d" | "SET NULL" | "SET DEFAULT" => Self::Set,
            _ => Self::Nothing,
        }
    }
}

impl Catalogue {
    /// Reads the database's catalogue.
    pub(super) async fn load<C: ConnectionTrait>(db: &C, registry: &Registry) -> Result<Self, DbErr> {
        let audited: Vec<&Arc<Audited>> = registry.tables().values().flatten().collect();
        let mut catalogue = match db.get_database_backend() {
            DbBackend::Postgres => postgres(db, &audited).await?,
            DbBackend::MySql => mysql(db, &audited).await?,
            DbBackend::Sqlite => sqlite(db, &audited).await?,
            _ => Self::default(),
        };
        let reached = catalogue.find_reaching(&audited);
        if db.get_database_backend() == DbBackend::Postgres {
            catalogue.find_leading(db, &reached).await?;
        }
        Ok(catalogue)
    }

    /// What is known of the database as it is now, if SQLite's schema is another one by now.
    pub(super) async fn renewed<C: ConnectionTrait>(
        &self,
        db: &C,
        registry: &Registry,
    ) -> Result<Option<Self>, DbErr> {
        if schema_version(db).await? == self.version {
            return Ok(None);
        }
        Self::load(db, registry).await.map(Some)
    }

    /// An audited table, or `None` if the database doesn't have it.
    pub(super) fn table(&self, audited: &Audited) -> Option<&TableFacts> {
        self.tables.get(&audited.policy.table)
    }

    /// What this table is audited as.
    pub(super) fn audited<'a>(&self, registry: &'a Registry, table: &TableId) -> Option<&'a Arc<Audited>> {
        let (name, _) = self.tables.iter().find(|(_, facts)| facts.id == *table)?;
        registry.tables().get(name)?.as_ref().ok()
    }

    /// The audited table whose rows are written under this name as well.
    pub(super) fn stands_for(&self, name: &str) -> Option<&str> {
        self.relatives.get(&name.to_lowercase()).map(String::as_str)
    }

    /// The audited table of which this one, which isn't a view, holds rows, or which holds rows of this one.
    pub(super) fn part_of(&self, name: &str) -> Option<&str> {
        let name = name.to_lowercase();
        self.parts.get(&name).and_then(|name| self.relatives.get(name)).map(String::as_str)
    }

    /// The table that is written under this name, if audited rows follow it by foreign keys.
    pub(super) fn leads_to(&self, name: &str) -> Option<&str> {
        self.leading.get(&name.to_lowercase()).map(String::as_str)
    }

    /// The tables in this text whose changes may reach an audited one, and these.
    pub(super) fn reaching_in(&self, words: &Words) -> impl Iterator<Item = &String> {
        self.reaching.iter().filter(|name| words.has(name))
    }

    /// Whether triggers of this table, on SQLite, write to audited tables; and whether they may replace rows there.
    pub(super) fn triggers_write(&self, table: &str) -> [bool; 2] {
        let table = table.to_lowercase();
        [self.triggering.contains(&table), self.replacing.contains(&table)]
    }

    /// Whether the entity's table is there.
    pub(super) fn has(&self, audited: &Audited) -> bool {
        self.table(audited).is_some() && !self.missing.contains(&audited.policy.table)
    }

    /// Whether the name is that of a view, or of a stored function, on MySQL: what they read, a lock doesn't cover.
    pub(super) fn computes(&self, name: &str) -> bool {
        self.computed.contains(&name.to_lowercase())
    }

    /// The audited tables whose rows are read under this name: of a view all those that it is made of.
    pub(super) fn read_by(&self, name: &str) -> impl Iterator<Item = &str> {
        self.views.get(&name.to_lowercase()).into_iter().flatten().map(String::as_str)
    }

    /// Finds the views that are made of audited tables, directly or by way of others, in their definitions. `quote` is what
    /// stands around names there. One too many does no harm: it only makes a record of a read.
    fn find_views(&mut self, views: &[View], quote: &str) {
        let mut known: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
        loop {
            let mut found = Vec::new();
            for view in views {
                let direct =
                    self.tables.iter().filter(|(_, facts)| view.names(&facts.id.0, &facts.id.1, quote));
                let direct = direct.map(|(table, _)| table.clone());
                let others = known.iter().filter(|((schema, name), _)| view.names(schema, name, quote));
                let tables: BTreeSet<_> =
                    direct.chain(others.flat_map(|(_, tables)| tables.clone())).collect();
                let id = (view.schema.as_str(), view.name.as_str());
                if !tables.is_empty() && known.get(&id).is_none_or(|known| !known.is_superset(&tables)) {
                    found.push((id, tables));
                }
            }
            if found.is_empty() {
                break;
            }
            for (view, tables) in found {
                // Only ever more, so that this ends even if two definitions name each other.
                known.entry(view).or_default().extend(tables);
            }
        }
        for ((_, view), tables) in known {
            self.views.entry(view.to_lowercase()).or_default().extend(tables);
        }
    }

    /// The table of this name that foreign keys refer to, if there is one.
    pub(super) fn parent(&self, name: &TableName) -> Option<&TableId> {
        let meant = self.actions.iter().find(|action| {
            let (schema, table) = &action.parent;
            table.eq_ignore_ascii_case(&name.name)
                && match &name.schema {
                    Some(named) => named.eq_ignore_ascii_case(schema),
                    // Other schemas, and on MySQL other databases of the server, may have tables of the same name.
                    None => action.parent_visible,
                }
        });
        meant.map(|action| &action.parent)
    }

    /// Whether changes of a table that isn't audited may reach one that is.
    pub(super) fn reaches(&self, table: &str) -> bool {
        self.reaching.contains(&table.to_lowercase())
    }

    /// The foreign keys that do something to their rows when rows of this table change.
    pub(super) fn actions_on<'a>(&'a self, parent: &'a TableId) -> impl Iterator<Item = &'a Action> {
        self.actions.iter().filter(move |action| action.parent == *parent)
    }

    fn find_reaching(&mut self, audited: &[&Arc<Audited>]) -> BTreeSet<TableId> {
        let mut reached: BTreeSet<TableId> = self.tables.values().map(|facts| facts.id.clone()).collect();
        reached.extend(audited.iter().map(|audited| (String::new(), audited.policy.table.clone())));
        loop {
            let before = reached.len();
            for action in self.actions.iter().filter(|action| action.acts()) {
                if reached.contains(&action.child) || self.part_of(&action.child.1).is_some() {
                    reached.insert(action.parent.clone());
                }
            }
            if reached.len() == before {
                break;
            }
        }
        self.reaching.extend(reached.iter().map(|(_, name)| name.to_lowercase()));
        reached
    }

    /// Finds the relatives of tables that aren't audited and reach audited ones (PostgreSQL).
    async fn find_leading<C: ConnectionTrait>(
        &mut self,
        db: &C,
        reached: &BTreeSet<TableId>,
    ) -> Result<(), DbErr> {
        let known = |id: &TableId| self.tables.values().any(|facts| facts.id == *id);
        let parents = reached.iter().filter(|id| !id.0.is_empty() && !known(id));
        let parents: Vec<String> =
            parents.map(|(schema, name)| quoted(DbBackend::Postgres, &format!("{schema}.{name}"))).collect();
        if parents.is_empty() {
            return Ok(());
        }
        let ask = Statement::from_sql_and_values(DbBackend::Postgres, RELATIVES, [Value::from(parents)]);
        for row in db.query_all_raw(ask).await? {
            let name = row.try_get::<String>("", "name")?.to_lowercase();
            if !self.reaching.contains(&name) && !self.relatives.contains_key(&name) {
                self.leading.insert(name, row.try_get("", "wanted")?);
            }
        }
        Ok(())
    }

    /// Finds the tables of SQLite's whose triggers write to audited ones, by way of others or not; and those of them whose triggers may
    /// replace rows there.
    fn find_triggering(&mut self, triggers: &[Trigger]) {
        let audited = |name: &str| self.tables.values().find(|facts| facts.id.1 == name);
        let writes = |trigger: &&Trigger| trigger.names.iter().any(|name| audited(name).is_some());
        let replaces = |trigger: &&Trigger| {
            trigger.replaces
                || trigger.names.iter().filter_map(|name| audited(name)).any(|facts| facts.replaces)
        };
        let on = |trigger: &Trigger| trigger.on.clone();
        let mut triggering: BTreeSet<String> = triggers.iter().filter(writes).map(on).collect();
        let mut replacing: BTreeSet<String> =
            triggers.iter().filter(writes).filter(replaces).map(on).collect();
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
            for action in self.actions.iter().filter(|action| action.acts()) {
                if replacing.contains(&action.child.1) {
                    replacing.insert(action.parent.1.clone());
                }
            }
            if triggering.len() + replacing.len() == before {
                break;
            }
        }
        (self.triggering, self.replacing) = (triggering, replacing);
    }
}

/// A trigger of SQLite's.
struct Trigger {
    on: String,
    /// The tables and views that it names.
    names: Vec<String>,
    /// Whether it has a statement that replaces rows.
    replaces: bool,
}

/// The views of tables, and their partitions, children and parents, on PostgreSQL.
const RELATIVES: &str = "\
    WITH RECURSIVE related(wanted, oid) AS ( \
      SELECT w.name, pg_catalog.to_regclass(w.name)::oid FROM unnest($1::text[]) AS w(name) \
      UNION \
      SELECT r.wanted, x.oid FROM related r CROSS JOIN LATERAL ( \
        SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.oid \
        UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = r.oid \
        UNION SELECT w.ev_class FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid \
          WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refobjid = r.oid) AS x(oid)) \
    SELECT r.wanted, c.relname::text AS name, c.relkind NOT IN ('v', 'm') AS holds_rows \
    FROM related r JOIN pg_catalog.pg_class c ON c.oid = r.oid WHERE c.oid <> pg_catalog.to_regclass(r.wanted)";

fn texts(row: &QueryResult, column: &str) -> Result<Vec<String>, DbErr> {
    // Joined by the unit separator: the one form that all three databases can send.
    let joined: String = row.try_get("", column)?;
    Ok(joined.split('\u{1f}').map(str::to_owned).collect())
}

fn action(row: &QueryResult) -> Result<Action, DbErr> {
    Ok(Action {
        child: (row.try_get("", "child_schema")?, row.try_get("", "child")?),
        child_columns: texts(row, "child_columns")?,
        parent: (row.try_get("", "parent_schema")?, row.try_get("", "parent")?),
        parent_visible: row.try_get::<i32>("", "parent_visible")? != 0,
        parent_columns: texts(row, "parent_columns")?,
        on_delete: Rule::of(&row.try_get::<String>("", "on_delete")?),
        on_update: Rule::of(&row.try_get::<String>("", "on_update")?),
    })
}

async fn postgres<C: ConnectionTrait>(db: &C, audited: &[&Arc<Audited>]) -> Result<Catalogue, DbErr> {
    const TABLES: &str = "\
        SELECT w.name AS wanted, n.nspname::text AS schema, c.relname::text AS name, \
          EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE (t.tgrelid = c.oid OR t.tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid))) AND NOT t.tgisinternal AND t.tgtype & 2 = 0) AS after, \
          EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE (t.tgrelid = c.oid OR t.tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid))) AND NOT t.tgisinternal) \
            OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND c.relkind <> 'v') AS triggers, \
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
    const KEYS: &str = "\
        SELECT cn.nspname::text AS child_schema, cc.relname::text AS child, pn.nspname::text AS parent_schema, \
          pc.relname::text AS parent, pg_catalog.pg_table_is_visible(pc.oid)::int AS parent_visible, k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update, \
          (SELECT string_agg(a.attname::text, chr(31) ORDER BY u.n) FROM unnest(k.conkey) WITH ORDINALITY AS u(number, n) \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number) AS child_columns, \
          (SELECT string_agg(a.attname::text, chr(31) ORDER BY u.n) FROM unnest(k.confkey) WITH ORDINALITY AS u(number, n) \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number) AS parent_columns \
        FROM pg_catalog.pg_constraint k \
        JOIN pg_catalog.pg_class cc ON cc.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace \
        JOIN pg_catalog.pg_class pc ON pc.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace \
        WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))";
    let names: Vec<(String, &str)> = audited
        .iter()
        .map(|audited| (quoted(DbBackend::Postgres, &audited.policy.table), audited.policy.table.as_str()))
        .collect();
    let wanted: Vec<String> = names.iter().map(|(quoted, _)| quoted.clone()).collect();
    let table_of =
        |quoted: &str| names.iter().find(|(name, _)| name == quoted).map(|(_, table)| (*table).to_owned());
    let ask =
        |sql: &str| Statement::from_sql_and_values(DbBackend::Postgres, sql, [Value::from(wanted.clone())]);

    let mut catalogue = Catalogue::default();
    for row in db.query_all_raw(ask(TABLES)).await? {
        let Some(table) = table_of(&row.try_get::<String>("", "wanted")?) else { continue };
        let facts = catalogue.tables.entry(table).or_default();
        facts.id = (row.try_get("", "schema")?, row.try_get("", "name")?);
        facts.after_triggers = row.try_get("", "after")?;
        facts.triggers = row.try_get("", "triggers")?;
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
        let name: String = row.try_get("", "name")?;
        if !catalogue.tables.values().any(|facts| facts.id.1 == name) {
            let name = name.to_lowercase();
            if row.try_get("", "holds_rows")? {
                catalogue.parts.insert(name.clone());
            }
            catalogue.views.entry(name.clone()).or_default().insert(table.clone());
            catalogue.relatives.insert(name, table);
        }
    }
    for row in db.query_all_raw(Statement::from_string(DbBackend::Postgres, KEYS)).await? {
        catalogue.actions.push(action(&row)?);
    }
    Ok(catalogue)
}

async fn mysql<C: ConnectionTrait>(db: &C, audited: &[&Arc<Audited>]) -> Result<Catalogue, DbErr> {
    const COLUMNS: &str = "\
        SELECT table_schema AS s, table_name AS t, column_name AS c, data_type AS y, \
          extra LIKE '%GENERATED%' AND extra NOT LIKE '%DEFAULT_GENERATED%' AS g, extra LIKE '%auto_increment%' AS a \
        FROM information_schema.columns WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? ORDER BY ordinal_position";
    const UNIQUE: &str = "\
        SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR '\u{1f}') AS columns, \
          MAX(sub_part IS NOT NULL) AS prefix \
        FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? AND non_unique = 0 GROUP BY index_name";
    const TRIGGERS: &str = "\
        SELECT action_timing AS timing FROM information_schema.triggers WHERE event_object_schema = ? AND event_object_table = ?";
    const KEYS: &str = "\
        SELECT k.table_schema AS child_schema, k.table_name AS child, k.referenced_table_schema AS parent_schema, \
          k.referenced_table_name AS parent, IF(k.referenced_table_schema = DATABASE(), 1, 0) AS parent_visible, \
          r.delete_rule AS on_delete, r.update_rule AS on_update, \
          GROUP_CONCAT(k.column_name ORDER BY k.ordinal_position SEPARATOR '\u{1f}') AS child_columns, \
          GROUP_CONCAT(k.referenced_column_name ORDER BY k.ordinal_position SEPARATOR '\u{1f}') AS parent_columns \
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
            facts.columns.push(ColumnFacts {
                name: row.try_get("", "c")?,
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
            facts.after_triggers |= row.try_get::<String>("", "timing")? == "AFTER";
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
    catalogue.find_views(&views, "`");
    const FUNCTIONS: &str =
        "SELECT routine_name AS name FROM information_schema.routines WHERE routine_type = 'FUNCTION'";
    for row in db.query_all_raw(Statement::from_string(backend, FUNCTIONS)).await? {
        catalogue.computed.insert(row.try_get::<String>("", "name")?.to_lowercase());
    }
    catalogue.computed.extend(views.iter().map(|view| view.name.to_lowercase()));
    for (view, tables) in &catalogue.views {
        catalogue.relatives.extend(tables.first().map(|table| (view.clone(), table.clone())));
    }
    for row in db.query_all_raw(Statement::from_string(backend, KEYS)).await? {
        catalogue.actions.push(action(&row)?);
    }
    let reached = catalogue.find_reaching(audited);
    loop {
        let known = catalogue.leading.len();
        for view in &views {
            let name = view.name.to_lowercase();
            let parent = reached.iter().find(|(schema, table)| view.names(schema, table, "`"));
            let other = views.iter().find(|other| {
                catalogue.leading.contains_key(&other.name.to_lowercase())
                    && view.names(&other.schema, &other.name, "`")
            });
            let parent = parent.map(|(_, table)| table).or(other.map(|other| &other.name));
            if let Some(parent) = parent
                && !catalogue.relatives.contains_key(&name)
            {
                catalogue.leading.insert(name, parent.clone());
            }
        }
        if catalogue.leading.len() == known {
            break;
        }
    }
    Ok(catalogue)
}

/// SQLite captures what its foreign keys and triggers do by itself, once it is asked to: only which statements may have
/// such effects has to be known.
async fn schema_version<C: ConnectionTrait>(db: &C) -> Result<Option<i64>, DbErr> {
    let ask = Statement::from_string(DbBackend::Sqlite, "PRAGMA schema_version");
    db.query_one_raw(ask).await?.map(|row| row.try_get_by_index(0)).transpose()
}

async fn sqlite<C: ConnectionTrait>(db: &C, audited: &[&Arc<Audited>]) -> Result<Catalogue, DbErr> {
    const KEYS: &str = "\
        SELECT l.schema AS child_schema, l.name AS child, l.schema AS parent_schema, f.\"table\" AS parent, l.schema = 'main' AS parent_visible, \
          f.on_delete AS on_delete, f.on_update AS on_update, f.\"from\" AS child_columns, \
          coalesce(f.\"to\", '') AS parent_columns \
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
                on_delete: Rule::Cascade,
                on_update: Rule::Cascade,
            }));
            let replaces = has(&["or", "replace"]) || has(&["replace", "into"]);
            triggers.push(Trigger { on: on.clone(), names: written, replaces });
        }
        for facts in catalogue.tables.values_mut().filter(|facts| facts.id.1 == on) {
            facts.triggers |= is_trigger;
            facts.replaces |= has(&["on", "conflict", "replace"]);
        }
    }
    catalogue.find_triggering(&triggers);
    catalogue.missing = missing.into_values().collect();
    catalogue.find_views(&views, "");
    Ok(catalogue)
}

/// `schema.table`, each in quotes.
pub(super) fn quoted(backend: DbBackend, table: &str) -> String {
    match table.split_once('.') {
        Some((schema, table)) => format!("{}.{}", quote(backend, schema), quote(backend, table)),
        None => quote(backend, table),
    }
}
