//! All foreign keys of a database, by its own catalogue: which rows have to be there before which.

use audit_core::Error;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};

use crate::history::load::unreadable;

/// A table as the catalogue names it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    /// Whether it is meant where no schema is said.
    visible: bool,
    exact: bool,
}

impl Table {
    /// Whether an entity's table, with its schema if it says one, is this.
    pub(super) fn is(&self, table: &str) -> bool {
        let same = |a: &str, b: &str| if self.exact { a == b } else { a.eq_ignore_ascii_case(b) };
        match table.split_once('.') {
            Some((schema, name)) => same(schema, &self.schema) && same(name, &self.name),
            None => self.visible && same(table, &self.name),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ForeignKey {
    pub(super) child: Table,
    pub(super) child_columns: Vec<String>,
    pub(super) parent: Table,
    pub(super) parent_columns: Vec<String>,
}

/// The foreign keys of a database.
#[derive(Clone, Debug, Default)]
pub(super) struct ForeignKeys(Vec<ForeignKey>);

impl ForeignKeys {
    /// Reads the catalogue.
    ///
    /// # Errors
    /// [`Error::Query`] if it can't be read.
    pub(super) async fn load<C: ConnectionTrait>(db: &C) -> Result<Self, Error> {
        let backend = db.get_database_backend();
        let sql = match backend {
            DbBackend::Postgres => POSTGRES,
            DbBackend::MySql => MYSQL,
            DbBackend::Sqlite => SQLITE,
            _ => return Ok(Self::default()),
        };
        let rows = db.query_all_raw(Statement::from_string(backend, sql)).await;
        let mut keys: Vec<(String, ForeignKey)> = Vec::new();
        for row in rows.map_err(|error| unreadable(&error))? {
            let column = |name: &str| row.try_get::<String>("", name).map_err(|error| unreadable(&error));
            let (name, child, parent) = (column("k")?, column("child_column")?, column("parent_column")?);
            let table = |side: &str| table(&row, side, backend).map_err(|error| unreadable(&error));
            match keys.last_mut().filter(|(known, _)| *known == name) {
                Some((_, key)) => {
                    key.child_columns.push(child);
                    key.parent_columns.push(parent);
                }
                None => keys.push((
                    name,
                    ForeignKey {
                        child: table("child")?,
                        child_columns: vec![child],
                        parent: table("parent")?,
                        parent_columns: vec![parent],
                    },
                )),
            }
        }
        Ok(Self(keys.into_iter().map(|(_, key)| key).collect()))
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &ForeignKey> {
        self.0.iter()
    }
}

fn table(row: &QueryResult, side: &str, backend: DbBackend) -> Result<Table, DbErr> {
    let visible: i32 = row.try_get("", &format!("{side}_visible"))?;
    Ok(Table {
        schema: row.try_get("", &format!("{side}_schema"))?,
        name: row.try_get("", side)?,
        visible: visible != 0,
        exact: backend == DbBackend::Postgres,
    })
}

const POSTGRES: &str = "\
    SELECT k.oid::text AS k, cn.nspname::text AS child_schema, cc.relname::text AS child, \
      pg_catalog.pg_table_is_visible(cc.oid)::int AS child_visible, \
      pn.nspname::text AS parent_schema, pc.relname::text AS parent, \
      pg_catalog.pg_table_is_visible(pc.oid)::int AS parent_visible, \
      ca.attname::text AS child_column, pa.attname::text AS parent_column \
    FROM pg_catalog.pg_constraint k \
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS u(child, parent, n) \
    JOIN pg_catalog.pg_class cc ON cc.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = cc.relnamespace \
    JOIN pg_catalog.pg_class pc ON pc.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace \
    JOIN pg_catalog.pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = u.child \
    JOIN pg_catalog.pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = u.parent \
    WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY k.oid, u.n";

const MYSQL: &str = "\
    SELECT CONCAT(k.constraint_schema, '.', k.table_name, '.', k.constraint_name) AS k, \
      k.table_schema AS child_schema, k.table_name AS child, \
      IF(k.table_schema = DATABASE(), 1, 0) AS child_visible, \
      k.referenced_table_schema AS parent_schema, k.referenced_table_name AS parent, \
      IF(k.referenced_table_schema = DATABASE(), 1, 0) AS parent_visible, \
      k.column_name AS child_column, k.referenced_column_name AS parent_column \
    FROM information_schema.key_column_usage k \
    WHERE k.referenced_table_name IS NOT NULL AND k.table_schema NOT IN ('mysql', 'sys') \
    ORDER BY k.constraint_schema, k.table_name, k.constraint_name, k.ordinal_position";

/// A key that names no columns means the primary key.
const SQLITE: &str = "\
    SELECT l.name || '.' || f.id AS k, l.schema AS child_schema, l.name AS child, l.schema = 'main' AS child_visible, \
      l.schema AS parent_schema, f.\"table\" AS parent, l.schema = 'main' AS parent_visible, \
      f.\"from\" AS child_column, \
      coalesce(f.\"to\", (SELECT p.name FROM pragma_table_info(f.\"table\", l.schema) p WHERE p.pk = f.seq + 1), '') AS parent_column \
    FROM pragma_table_list l, pragma_foreign_key_list(l.name, l.schema) f \
    WHERE l.type = 'table' AND l.schema <> 'temp' ORDER BY l.schema, l.name, f.id, f.seq";
