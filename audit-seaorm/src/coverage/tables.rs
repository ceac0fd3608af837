//! The tables that a database has, by its own catalogue.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};

/// A table as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    /// Whether its bare name means it, and no table of another schema.
    pub(super) bare: bool,
    /// Those that can be written: generated ones follow from others.
    pub(super) columns: Vec<String>,
}

impl Table {
    /// As statements have to name it.
    pub(super) fn shown(&self) -> String {
        if self.bare { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }
}

/// The tables of the current schema and of some others. Views aren't tables; partitions belong to their parent; what the
/// database and its extensions keep for themselves is left out.
#[derive(Debug, Default)]
pub(super) struct Tables {
    all: Vec<Table>,
    /// Whether names that differ by case alone mean one table.
    any_case: bool,
    /// The same of columns.
    columns_any_case: bool,
}

impl Tables {
    /// Reads them; `schemas` are looked through besides the current one.
    pub(super) async fn load<C: ConnectionTrait>(db: &C, schemas: &[String]) -> Result<Self, DbErr> {
        match db.get_database_backend() {
            DbBackend::Postgres => postgres(db, schemas).await,
            DbBackend::MySql => mysql(db, schemas).await,
            DbBackend::Sqlite => sqlite(db, schemas).await,
            _ => Err(DbErr::Custom("the catalogue of this database isn't known to the audit".into())),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.all.iter()
    }

    /// The table that this name, with a schema or without, means.
    pub(super) fn find(&self, name: &str) -> Option<&Table> {
        let bare = self.all.iter().find(|table| table.bare && self.same(&table.name, name));
        bare.or_else(|| {
            let (schema, name) = name.split_once('.')?;
            self.all.iter().find(|table| self.same(&table.schema, schema) && self.same(&table.name, name))
        })
    }

    /// Whether two columns' names mean one column.
    pub(super) fn same_column(&self, one: &str, other: &str) -> bool {
        if self.columns_any_case { one.eq_ignore_ascii_case(other) } else { one == other }
    }

    fn same(&self, one: &str, other: &str) -> bool {
        if self.any_case { one.eq_ignore_ascii_case(other) } else { one == other }
    }

    /// Adds a column of a table; the rows come ordered by table.
    fn push(&mut self, (schema, name, column): (String, String, String), bare: bool) {
        match self.all.last_mut() {
            Some(last) if last.schema == schema && last.name == name => last.columns.push(column),
            _ => self.all.push(Table { schema, name, bare, columns: vec![column] }),
        }
    }
}

async fn postgres<C: ConnectionTrait>(db: &C, schemas: &[String]) -> Result<Tables, DbErr> {
    const TABLES: &str = "\
        SELECT n.nspname::text AS s, c.relname::text AS t, a.attname::text AS c, pg_catalog.pg_table_is_visible(c.oid) AS bare \
        FROM pg_catalog.pg_class c \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
        WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't' \
          AND (n.nspname = ANY (pg_catalog.current_schemas(false)) OR n.nspname = ANY ($1::text[])) \
          AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
            AND d.objid = c.oid AND d.deptype = 'e') \
        ORDER BY n.nspname, c.relname, a.attnum";
    let statement =
        Statement::from_sql_and_values(DbBackend::Postgres, TABLES, [Value::from(schemas.to_vec())]);
    let mut tables = Tables::default();
    for row in db.query_all_raw(statement).await? {
        // A table without columns has none, and is a table all the same.
        let column = row.try_get::<Option<String>>("", "c")?.unwrap_or_default();
        tables.push((row.try_get("", "s")?, row.try_get("", "t")?, column), row.try_get("", "bare")?);
    }
    Ok(tables)
}

async fn mysql<C: ConnectionTrait>(db: &C, schemas: &[String]) -> Result<Tables, DbErr> {
    // What the catalogue calls its columns depends on the server's version: hence the names given here.
    const TABLES: &str = "\
        SELECT t.table_schema AS s, t.table_name AS t, c.column_name AS c, \
          t.table_schema = DATABASE() AS bare, @@lower_case_table_names <> 0 AS any_case \
        FROM information_schema.tables t JOIN information_schema.columns c \
          ON c.table_schema = t.table_schema AND c.table_name = t.table_name \
          AND (c.extra NOT LIKE '%GENERATED%' OR c.extra LIKE '%DEFAULT_GENERATED%') \
        WHERE t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND t.table_schema IN (COALESCE(DATABASE(), '')";
    const ORDER: &str = ") ORDER BY t.table_schema, t.table_name, c.ordinal_position";
    let statement = Statement::from_sql_and_values(
        DbBackend::MySql,
        format!("{TABLES}{}{ORDER}", ", ?".repeat(schemas.len())),
        schemas.iter().map(|schema| Value::from(schema.clone())),
    );
    let mut tables = Tables { columns_any_case: true, ..Tables::default() };
    for row in db.query_all_raw(statement).await? {
        tables.any_case = row.try_get::<i64>("", "any_case")? != 0;
        let bare = row.try_get::<Option<i64>>("", "bare")?.is_some_and(|bare| bare != 0);
        tables.push((row.try_get("", "s")?, row.try_get("", "t")?, row.try_get("", "c")?), bare);
    }
    Ok(tables)
}

async fn sqlite<C: ConnectionTrait>(db: &C, schemas: &[String]) -> Result<Tables, DbErr> {
    // Hidden columns are those of virtual tables that aren't stored, and generated ones.
    const TABLES: &str = "\
        SELECT l.schema AS s, l.name AS t, c.name AS c FROM pragma_table_list l, pragma_table_xinfo(l.name, l.schema) c \
        WHERE l.type IN ('table', 'virtual') AND l.schema <> 'temp' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
          AND c.hidden = 0 ORDER BY l.schema, l.name, c.cid";
    let mut tables = Tables { any_case: true, columns_any_case: true, ..Tables::default() };
    for row in db.query_all_raw(Statement::from_string(DbBackend::Sqlite, TABLES)).await? {
        let schema: String = row.try_get("", "s")?;
        let bare = schema == "main";
        if bare || schemas.iter().any(|wanted| wanted.eq_ignore_ascii_case(&schema)) {
            tables.push((schema, row.try_get("", "t")?, row.try_get("", "c")?), bare);
        }
    }
    Ok(tables)
}
