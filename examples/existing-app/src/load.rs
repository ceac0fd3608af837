//! Creates the tables and fills them from a script.

use std::path::Path;

use audit_seaorm::{AuditContext, scope, suspended};
use sea_orm::prelude::{DateTime, Decimal};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ColumnType, ConnectionTrait, DatabaseConnection, DatabaseTransaction,
    EntityTrait, IdenStatic, IntoActiveModel, Iterable, PrimaryKeyToColumn, QuerySelect, Schema,
    TransactionTrait, Value,
};
use sea_orm_migration::SchemaManager;

use crate::Error;
use crate::entities::prelude::*;
use crate::entities::{
    album, artist, customer, employee, genre, invoice, invoice_line, media_type, playlist, playlist_track,
    track,
};
use crate::script::{self, Insert, Literal, Row};

/// The script that [`Data::read`] looks for.
pub const SCRIPT: &str = "Chinook_PostgreSql_SerialPKs.sql";

/// The tables, each after those that it refers to.
pub const TABLES: [&str; 11] = [
    "genre",
    "media_type",
    "artist",
    "album",
    "track",
    "employee",
    "customer",
    "invoice",
    "invoice_line",
    "playlist",
    "playlist_track",
];

/// Rows in one INSERT of the quiet mode: nine parameters each, and SQLite takes 32,766.
const BATCH: usize = 500;

/// How rows are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Row by row through the hooks, so that the log begins with the data.
    Recorded,
    /// Many rows at once and without entries: the data isn't the business of anybody who acts here.
    Quiet,
}

/// How far the loading is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Table that is being filled.
    pub table: &'a str,
    /// Rows that all tables together have.
    pub rows: usize,
    /// Rows that they will have.
    pub total: usize,
}

/// The rows of all tables.
#[derive(Clone, Debug)]
pub struct Data {
    name: String,
    inserts: Vec<Insert>,
}

impl Data {
    /// Reads [`SCRIPT`] in this folder.
    ///
    /// # Errors
    /// [`Error::File`] if it can't be read, [`Error::Script`] if it doesn't fill the eleven tables.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(SCRIPT);
        let script =
            std::fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        Self::of_script(path.display().to_string(), &script)
    }

    /// A made-up set of a few rows.
    ///
    /// # Errors
    /// None, unless somebody edited the set.
    pub fn tiny() -> Result<Self, Error> {
        Self::of_script("tiny.sql".to_owned(), include_str!("tiny.sql"))
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.inserts.iter().map(|insert| insert.rows.len()).sum()
    }

    fn of_script(name: String, script: &str) -> Result<Self, Error> {
        let inserts = script::inserts(script).map_err(|error| Error::script(&name, &error))?;
        let wrong = |reason: String| Err(Error::Script { name: name.clone(), reason });
        if let Some(insert) = inserts.iter().find(|insert| !TABLES.contains(&insert.table.as_str())) {
            return wrong(format!("line {}: `{}` is no table of the store", insert.line, insert.table));
        }
        if let Some(table) = TABLES.iter().find(|table| inserts.iter().all(|insert| insert.table != **table))
        {
            return wrong(format!("it has no rows for the table `{table}`"));
        }
        Ok(Self { name, inserts })
    }
}

/// Creates the eleven tables from the entities, with their keys and foreign keys.
///
/// # Errors
/// [`Error::NotEmpty`] if one of them is there already; then nothing has been done.
pub async fn create_tables(db: &DatabaseConnection) -> Result<(), Error> {
    let manager = SchemaManager::new(db);
    let mut present = Vec::new();
    for table in TABLES {
        if manager.has_table(table).await? {
            present.push(table);
        }
    }
    if !present.is_empty() {
        return Err(Error::NotEmpty(present.join(", ")));
    }
    let schema = Schema::new(db.get_database_backend());
    for table in [
        schema.create_table_from_entity(Genre),
        schema.create_table_from_entity(MediaType),
        schema.create_table_from_entity(Artist),
        schema.create_table_from_entity(Album),
        schema.create_table_from_entity(Track),
        schema.create_table_from_entity(Employee),
        schema.create_table_from_entity(Customer),
        schema.create_table_from_entity(Invoice),
        schema.create_table_from_entity(InvoiceLine),
        schema.create_table_from_entity(Playlist),
        schema.create_table_from_entity(PlaylistTrack),
    ] {
        db.execute(&table).await?;
    }
    Ok(())
}

/// Fills the empty tables, all or nothing.
///
/// # Errors
/// [`Error::Script`] if a value doesn't fit its column or a row got another id than its place in the script says: then
/// rows that refer to it would refer to another.
pub async fn load(
    db: &DatabaseConnection,
    data: &Data,
    mode: Mode,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<(), Error> {
    match mode {
        Mode::Recorded => {
            scope(AuditContext::service("import").tenant(crate::TENANT), fill(db, data, mode, progress)).await
        }
        Mode::Quiet => suspended(fill(db, data, mode, progress)).await,
    }
}

async fn fill(
    db: &DatabaseConnection,
    data: &Data,
    mode: Mode,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<(), Error> {
    let transaction = db.begin().await?;
    let mut filling = Filling { db: &transaction, data, mode, progress, rows: 0 };
    for insert in &data.inserts {
        match insert.table.as_str() {
            "genre" => filling.table::<genre::Entity>(insert).await?,
            "media_type" => filling.table::<media_type::Entity>(insert).await?,
            "artist" => filling.table::<artist::Entity>(insert).await?,
            "album" => filling.table::<album::Entity>(insert).await?,
            "track" => filling.table::<track::Entity>(insert).await?,
            "employee" => filling.table::<employee::Entity>(insert).await?,
            "customer" => filling.table::<customer::Entity>(insert).await?,
            "invoice" => filling.table::<invoice::Entity>(insert).await?,
            "invoice_line" => filling.table::<invoice_line::Entity>(insert).await?,
            "playlist" => filling.table::<playlist::Entity>(insert).await?,
            "playlist_track" => filling.table::<playlist_track::Entity>(insert).await?,
            other => return Err(Error::Missing(format!("entity for the table `{other}`"))),
        }
    }
    transaction.commit().await?;
    Ok(())
}

struct Filling<'a> {
    db: &'a DatabaseTransaction,
    data: &'a Data,
    mode: Mode,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
    rows: usize,
}

impl Filling<'_> {
    async fn table<E>(&mut self, insert: &Insert) -> Result<(), Error>
    where
        E: EntityTrait,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        let columns = self.columns::<E>(insert)?;
        for batch in insert.rows.chunks(if self.mode == Mode::Quiet { BATCH } else { 100 }) {
            let rows: Vec<_> =
                batch.iter().map(|row| self.row::<E>(&columns, row)).collect::<Result<_, _>>()?;
            match self.mode {
                Mode::Quiet => _ = E::insert_many(rows).exec_without_returning(self.db).await?,
                Mode::Recorded => {
                    for row in rows {
                        row.insert(self.db).await?;
                    }
                }
            }
            self.rows += batch.len();
            (self.progress)(Progress { table: &insert.table, rows: self.rows, total: self.data.rows() });
        }
        self.check_ids::<E>(insert).await
    }

    fn columns<E: EntityTrait>(&self, insert: &Insert) -> Result<Vec<E::Column>, Error> {
        let find = |name: &String| {
            E::Column::iter()
                .find(|column| column.as_str() == name)
                .ok_or_else(|| self.wrong(insert.line, &format!("`{}` has no column `{name}`", insert.table)))
        };
        insert.columns.iter().map(find).collect()
    }

    fn row<E: EntityTrait>(&self, columns: &[E::Column], row: &Row) -> Result<E::ActiveModel, Error> {
        let mut model = <E::ActiveModel as ActiveModelTrait>::default();
        for (column, literal) in columns.iter().zip(&row.values) {
            let definition = column.def();
            let value = match typed(definition.get_column_type(), literal) {
                Some(value) if *literal != Literal::Null || definition.is_null() => value,
                _ => {
                    let found = match literal {
                        Literal::Null => "NULL",
                        Literal::Number(text) | Literal::Text(text) => text,
                    };
                    return Err(self.wrong(row.line, &format!("`{}` can't be {found}", column.as_str())));
                }
            };
            model.try_set(*column, value)?;
        }
        Ok(model)
    }

    /// The script numbers its rows by their order; so do the three databases, as long as nobody has used the table.
    async fn check_ids<E: EntityTrait>(&self, insert: &Insert) -> Result<(), Error> {
        let [key] = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect::<Vec<_>>()[..] else {
            return Ok(());
        };
        let count_and_last =
            E::find().select_only().column_as(key.count(), "rows").column_as(key.max(), "last");
        match count_and_last.into_tuple::<(i64, Option<i32>)>().one(self.db).await? {
            Some((rows, Some(last))) if rows == i64::from(last) => Ok(()),
            _ => Err(self.wrong(insert.line, "the rows got other ids than their numbers in the script")),
        }
    }

    fn wrong(&self, line: usize, reason: &str) -> Error {
        Error::Script { name: self.data.name.clone(), reason: format!("line {line}: {reason}") }
    }
}

/// The literal as a value of that type; `None` if it isn't one.
fn typed(column: &ColumnType, literal: &Literal) -> Option<Value> {
    let (text, number) = match literal {
        Literal::Null => (None, None),
        Literal::Text(text) => (Some(text), None),
        Literal::Number(number) => (None, Some(number)),
    };
    let null = *literal == Literal::Null;
    match column {
        ColumnType::Integer if null => Some(Value::Int(None)),
        ColumnType::Integer => number?.parse::<i32>().ok().map(Value::from),
        ColumnType::Decimal(_) if null => Some(Value::Decimal(None)),
        ColumnType::Decimal(_) => Decimal::from_str_exact(number?).ok().map(Value::from),
        ColumnType::String(_) if null => Some(Value::String(None)),
        ColumnType::String(_) => Some(Value::from(text?.clone())),
        ColumnType::DateTime if null => Some(Value::ChronoDateTime(None)),
        ColumnType::DateTime => day(text?).map(Value::from),
        _ => None,
    }
}

/// `2009/1/31`, at midnight.
fn day(text: &str) -> Option<DateTime> {
    sea_orm::prelude::Date::parse_from_str(text, "%Y/%m/%d").ok()?.and_hms_opt(0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_become_values_of_their_column() {
        let text = |text: &str| Literal::Text(text.to_owned());
        let number = |text: &str| Literal::Number(text.to_owned());
        let decimal = ColumnType::Decimal(Some((10, 2)));
        let midnight = day("2009/1/31").unwrap();
        assert_eq!(midnight.to_string(), "2009-01-31 00:00:00");
        assert_eq!(typed(&ColumnType::DateTime, &text("2009/1/31")), Some(midnight.into()));
        assert_eq!(typed(&ColumnType::Integer, &number("-7")), Some(Value::Int(Some(-7))));
        assert_eq!(typed(&decimal, &number("0.90")).map(|v| v.to_string()), Some("0.90".to_owned()));
        assert_eq!(typed(&decimal, &Literal::Null), Some(Value::Decimal(None)));
        for (column, wrong) in [
            (ColumnType::Integer, number("2147483648")),
            (ColumnType::Integer, number("1.0")),
            (ColumnType::Integer, text("1")),
            (ColumnType::DateTime, text("2009/2/29")),
            (ColumnType::DateTime, number("2009")),
            (ColumnType::string(None), number("1")),
        ] {
            assert_eq!(typed(&column, &wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_tiny_set_is_complete() {
        let tiny = Data::tiny().unwrap();
        assert!((40..100).contains(&tiny.rows()));
    }

    #[test]
    fn a_script_for_something_else_is_refused() {
        let error = |script: &str| Data::of_script("x.sql".to_owned(), script).unwrap_err().to_string();
        assert_eq!(
            error("\nINSERT INTO cake (a) VALUES (1);"),
            "x.sql: line 2: `cake` is no table of the store"
        );
        assert_eq!(error("CREATE TABLE genre (x int);"), "x.sql: it has no rows for the table `genre`");
        assert_eq!(error("INSERT genre"), "x.sql: line 1: expected `INTO`, found `genre`");
        let folder = Path::new("no such folder");
        let message = Data::read(folder).unwrap_err().to_string();
        assert!(message.contains("no such folder") && message.contains(SCRIPT), "{message}");
    }
}
