//! What capture has to know of the database's own description of its tables.

mod mysql;
mod names;
mod postgres;
mod sqlite;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult};

use super::sql::{TableName, Words};
use super::text::quote;
use crate::Registry;
use crate::registry::Audited;
pub(super) use names::OtherName;
use names::OtherNames;

/// A table's schema and name.
pub(super) type TableId = (String, String);

/// The audited tables as the database has them, and the foreign keys between all tables.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// By [`ResourcePolicy::table`](crate::ResourcePolicy::table); tables that aren't there are missing.
    tables: HashMap<String, TableFacts>,
    actions: Vec<Action>,
    /// Views of audited tables, and their partitions, children and parents; and those of tables whose changes reach audited ones by
    /// foreign keys (PostgreSQL and MySQL).
    others: OtherNames,
    /// On SQLite, tables whose triggers write to audited ones, and those of them whose triggers may replace rows there.
    triggering: BTreeSet<String>,
    replacing: BTreeSet<String>,
    /// By the name of a view the audited tables that it is made of.
    views: BTreeMap<String, BTreeSet<String>>,
    /// On SQLite, where they are in `tables` all the same, the audited tables that aren't there.
    missing: BTreeSet<String>,
    /// On MySQL the names of all views and of all stored functions, in lower case.
    computed: BTreeSet<String>,
    /// On PostgreSQL the names, in lower case, of functions that may say something else each time.
    volatile: BTreeSet<String>,
    /// Names, in lower case, of tables whose changes may reach an audited one by a foreign key.
    reaching: BTreeSet<String>,
    /// On SQLite, which schema this is of.
    version: Option<i64>,
    /// Whether names that differ by case alone are those of different tables (PostgreSQL).
    cased: bool,
}

/// An audited table as the database has it.
#[derive(Debug, Default)]
pub(super) struct TableFacts {
    pub(super) id: TableId,
    /// All its columns, in their order.
    pub(super) columns: Vec<ColumnFacts>,
    /// Those of them that have no place in a list of values without names (MySQL).
    pub(super) invisible: Vec<String>,
    /// The columns of each unique key that has no condition and no expression in it; the primary key is one of them.
    pub(super) unique: Vec<Vec<String>>,
    /// Those of them by which there is never more than one row (PostgreSQL): neither deferrable, nor of a table with
    /// children, whose rows have keys of their own.
    pub(super) row_keys: Vec<Vec<String>>,
    /// Whether triggers of the user's run after a write: their effect is not in what the write returns.
    pub(super) after_triggers: bool,
    /// Whether triggers of the user's run before the write of a row, and may write by themselves what the statement then doesn't: their
    /// text has a word for that, or names a function that may; or keep a row out of the part that it moves to (PostgreSQL).
    pub(super) before_triggers: bool,
    /// Whether rules rewrite what is written (PostgreSQL).
    pub(super) ruled: bool,
    /// Whether triggers of the user's run before or after a write, or rules rewrite it.
    pub(super) triggers: bool,
    /// The columns that triggers before an INSERT and before an UPDATE give other values, in lower case (MySQL).
    pub(super) set_by_insert: BTreeSet<String>,
    pub(super) set_by_update: BTreeSet<String>,
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
    fn id(&self) -> TableId {
        (self.schema.clone(), self.name.clone())
    }

    /// Whether the definition names this table. That of another schema it names in full.
    fn names(&self, schema: &str, name: &str, quote: &str) -> bool {
        let name = format!("{quote}{}{quote}", name.to_lowercase());
        let schema_before = format!("{quote}{}{quote}.", schema.to_lowercase());
        let here = schema.eq_ignore_ascii_case(&self.schema);
        self.definition.match_indices(&name).any(|(at, _)| {
            let before = self.definition.get(..at).unwrap_or_default();
            if before.ends_with(&schema_before) || !here {
                return before.ends_with(&schema_before);
            }
            // Where names are in quotes, each column stands behind its table; behind AS it gets another name.
            quote.is_empty() || !(before.ends_with('.') || before.trim_end().ends_with(" as"))
        })
    }
}

/// The views that are made of these tables, directly or by way of others, as their definitions tell; with what the tables are known
/// as. `quote` is what stands around names there.
fn made_of(
    views: &[View],
    tables: &BTreeMap<TableId, String>,
    quote: &str,
) -> BTreeMap<TableId, BTreeSet<String>> {
    let mut known: BTreeMap<TableId, BTreeSet<String>> = BTreeMap::new();
    loop {
        let mut found = Vec::new();
        for view in views {
            let direct = tables.iter().filter(|((schema, name), _)| view.names(schema, name, quote));
            let direct = direct.map(|(_, table)| table.clone());
            let others = known.iter().filter(|((schema, name), _)| view.names(schema, name, quote));
            let made: BTreeSet<_> = direct.chain(others.flat_map(|(_, tables)| tables.clone())).collect();
            if !made.is_empty() && known.get(&view.id()).is_none_or(|known| !known.is_superset(&made)) {
                found.push((view.id(), made));
            }
        }
        if found.is_empty() {
            return known;
        }
        for (view, tables) in found {
            // Only ever more, so that this ends even if two definitions name each other.
            known.entry(view).or_default().extend(tables);
        }
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
    /// Whether they may change though no statement sets them: computed by the database, or by a trigger before the update.
    pub(super) parent_may_change: bool,
    /// When the row that is referred to is deleted.
    pub(super) on_delete: Rule,
    /// When a column that is referred to changes.
    pub(super) on_update: Rule,
    /// The columns by which a row may leave the part of its table that is referred to: for the foreign key it is deleted then
    /// (PostgreSQL). `None` among them is an expression.
    pub(super) leaves: Vec<Option<String>>,
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
        match db.get_database_backend() {
            DbBackend::Postgres => postgres::load(db, &audited).await,
            DbBackend::MySql => mysql::load(db, &audited).await,
            DbBackend::Sqlite => sqlite::load(db, &audited).await,
            _ => Ok(Self::default()),
        }
    }

    /// What is known of the database as it is now, if SQLite's schema is another one by now.
    pub(super) async fn renewed<C: ConnectionTrait>(
        &self,
        db: &C,
        registry: &Registry,
    ) -> Result<Option<Self>, DbErr> {
        if sqlite::schema_version(db).await? == self.version {
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

    /// What is written under this name, if it is another one than the table's own.
    pub(super) fn other(&self, name: &TableName) -> Option<&OtherName> {
        self.others.get(name)
    }

    /// A name in this text under which other rows are written: that of a view, say.
    pub(super) fn other_in(&self, words: &Words) -> Option<(&str, &OtherName)> {
        self.others.find_in(words)
    }

    /// The audited table of which this one, which isn't a view, holds rows, or which holds rows of this one.
    pub(super) fn part_of(&self, table: &TableId) -> Option<&str> {
        let other = self.others.of(table).filter(|other| other.audited && other.holds_rows);
        other.map(|other| other.table.as_str())
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

    /// Whether a function of this name may say something else each time, on PostgreSQL.
    pub(super) fn varies(&self, name: &str) -> bool {
        self.volatile.contains(&name.to_lowercase())
    }

    /// The audited tables whose rows are read under this name: of a view all those that it is made of.
    pub(super) fn read_by(&self, name: &str) -> impl Iterator<Item = &str> {
        self.views.get(&name.to_lowercase()).into_iter().flatten().map(String::as_str)
    }

    /// Finds the views that are made of audited tables. One too many does no harm: it only makes a record of a read.
    fn find_views(&mut self, views: &[View], quote: &str) -> BTreeMap<TableId, BTreeSet<String>> {
        let audited = self.tables.iter().map(|(table, facts)| (facts.id.clone(), table.clone())).collect();
        let found = made_of(views, &audited, quote);
        for ((_, view), tables) in &found {
            self.views.entry(view.to_lowercase()).or_default().extend(tables.clone());
        }
        found
    }

    /// The table of this name that foreign keys refer to, if there is one.
    pub(super) fn parent(&self, name: &TableName) -> Option<&TableId> {
        let meant = self.actions.iter().find(|action| {
            let (schema, table) = &action.parent;
            let same = |one: &str, other: &str| match self.cased {
                true => one == other,
                false => one.eq_ignore_ascii_case(other),
            };
            same(table, &name.name)
                && match &name.schema {
                    Some(named) => same(named, schema),
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
                if reached.contains(&action.child) || self.part_of(&action.child).is_some() {
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
}

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
        parent_may_change: row.try_get::<i32>("", "parent_may_change")? != 0,
        on_delete: Rule::of(&row.try_get::<String>("", "on_delete")?),
        on_update: Rule::of(&row.try_get::<String>("", "on_update")?),
        leaves: Vec::new(),
    })
}

/// `schema.table`, each in quotes.
pub(super) fn quoted(backend: DbBackend, table: &str) -> String {
    match table.split_once('.') {
        Some((schema, table)) => format!("{}.{}", quote(backend, schema), quote(backend, table)),
        None => quote(backend, table),
    }
}
