//! Pages: by number, and by cursor.

use audit_core::Error;
use sea_orm::sea_query::{Expr, Func, Order, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IdenStatic, Iterable, ModelTrait, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait, Select, Value,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cursor::Cursor;
use crate::db_error::query_error;

/// Most rows on a page.
pub const MAX_PAGE_SIZE: u64 = 1_000;

const DEFAULT_PAGE_SIZE: u64 = 50;

/// What counting costs must not grow with the log, unless it is asked for.
const DEFAULT_COUNTED: u64 = 500;

/// Which page of an answer.
///
/// By number, a page is counted off from the newest row, so rows that arrive move the others on. By cursor, every row that was
/// there at the first page comes exactly once, however many arrive.
///
/// ```
/// # async fn ask(db: &sea_orm::DatabaseConnection) -> Result<(), audit_seaorm::Error> {
/// use audit_seaorm::{LogFilter, LogReader, PageRequest};
/// let (reader, filter) = (LogReader::new(), LogFilter::new().actor(42));
/// let first = reader.page(db, &filter, &PageRequest::new().page_size(20).without_count()).await?;
/// if let Some(cursor) = first.pagination.next_cursor {
///     let second = reader.page(db, &filter, &PageRequest::new().page_size(20).cursor(cursor)).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PageRequest {
    page: u64,
    page_size: u64,
    cursor: Option<String>,
    count_up_to: Option<u64>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { page: 1, page_size: DEFAULT_PAGE_SIZE, cursor: None, count_up_to: Some(DEFAULT_COUNTED) }
    }
}

impl PageRequest {
    /// The first page, of 50 rows, with the number of all rows, [counted up to](Self::count_up_to) 500.
    pub fn new() -> Self {
        Self::default()
    }

    /// The page with this number, from 1 on.
    #[must_use]
    pub fn page(mut self, page: u64) -> Self {
        self.page = page;
        self
    }

    /// So many rows on a page, from 1 on. More than [`MAX_PAGE_SIZE`] are capped, and the answer says so.
    #[must_use]
    pub fn page_size(mut self, rows: u64) -> Self {
        self.page_size = rows;
        self
    }

    /// The rows beyond this cursor, as an earlier answer to the same question gave it. The page's number doesn't count then.
    #[must_use]
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Leaves out the number of all rows.
    #[must_use]
    pub fn without_count(mut self) -> Self {
        self.count_up_to = None;
        self
    }

    /// Counts all rows up to this number. If there are more, the answer says so by
    /// [`total_count_capped`](Pagination::total_count_capped).
    #[must_use]
    pub fn count_up_to(mut self, rows: u64) -> Self {
        self.count_up_to = Some(rows);
        self
    }

    /// Counts all rows, however many: the database has to find them all, which takes the longer, the more there are.
    #[must_use]
    pub fn exact_count(self) -> Self {
        self.count_up_to(u64::MAX)
    }

    /// One page of what `select` finds, newest first, for any entity with a column `seq`. Its order, limit and offset don't count.
    /// A cursor belongs to the very statement, with all its values.
    ///
    /// # Errors
    /// [`Error::Filter`] for a page 0, a page size 0, and a cursor that is broken or belongs to another question;
    /// [`Error::Query`] if the database doesn't answer.
    pub async fn fetch<E, C>(&self, db: &C, select: Select<E>) -> Result<Page<E::Model>, Error>
    where
        E: EntityTrait,
        C: ConnectionTrait,
    {
        // The dialect doesn't matter; the same everywhere keeps cursors alive if it changes.
        let statement = select.as_query().build(sea_orm::sea_query::SqliteQueryBuilder);
        let question = Sha256::digest(format!("{statement:?}")).into();
        self.fetch_for(db, select, &question).await
    }

    /// Like [`fetch`](Self::fetch), with what tells the question from others.
    pub(super) async fn fetch_for<E, C>(
        &self,
        db: &C,
        select: Select<E>,
        question: &[u8; 32],
    ) -> Result<Page<E::Model>, Error>
    where
        E: EntityTrait,
        C: ConnectionTrait,
    {
        let filter = |text: &str| Error::Filter(text.to_owned());
        let seq = E::Column::iter()
            .find(|column| column.as_str() == "seq")
            .ok_or_else(|| filter("only tables with a column `seq` have pages"))?;
        if self.page_size == 0 {
            return Err(filter(&format!("a page has from 1 to {MAX_PAGE_SIZE} rows, not 0")));
        }
        if self.page == 0 {
            return Err(filter("pages are counted from 1 on; there is no page 0"));
        }
        let cursor = self.cursor.as_deref().map(|text| Cursor::decode(text, question)).transpose()?;
        let size = self.page_size.min(MAX_PAGE_SIZE);
        let mut select = select;
        QueryTrait::query(&mut select).clear_order_by().reset_limit().reset_offset();

        let skipped = match cursor {
            None => self.page.saturating_sub(1).saturating_mul(size),
            Some(_) => 0,
        };
        let older = cursor.is_none_or(|cursor| cursor.older);
        let mut page = select.clone().order_by(seq, if older { Order::Desc } else { Order::Asc });
        page = match cursor {
            Some(cursor) if older => page.filter(seq.lt(cursor.seq)),
            Some(cursor) => page.filter(seq.gt(cursor.seq)),
            // Beyond what databases can count to there is nothing.
            None => page.offset(skipped.min(i64::MAX.unsigned_abs())),
        };
        let mut rows = page.limit(size + 1).all(db).await.map_err(|error| query_error(&error))?;
        let beyond = rows.len() as u64 > size;
        rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        if !older {
            rows.reverse();
        }
        let counted = match self.count_up_to {
            // The last page, or the only one: it has told.
            Some(most) if cursor.is_none() && !beyond && (skipped == 0 || !rows.is_empty()) => {
                Some(Counted::of(skipped.saturating_add(rows.len() as u64), most))
            }
            Some(most) => Some(count(db, &select, seq, most).await?),
            None => None,
        };
        let total = counted.map(|counted| counted.rows);
        let (has_next, has_previous) = match cursor {
            None => (beyond, self.page > 1),
            Some(_) if older => (beyond, true),
            Some(_) => (true, beyond),
        };
        let place = |seq: i64, older: bool| Some(Cursor { seq, older }.encode(question));
        let at = |row: Option<&E::Model>| number(row?.get(seq));
        let (has_next, has_previous, next_cursor, previous_cursor) = match (at(rows.first()), at(rows.last()))
        {
            (Some(first), Some(last)) => (has_next, has_previous, place(last, true), place(first, false)),
            // Beyond either end the way leads back to the rows there are.
            _ => match cursor {
                Some(cursor) if cursor.older => {
                    (false, true, None, place(cursor.seq.saturating_sub(1), false))
                }
                Some(cursor) => (true, false, place(cursor.seq.saturating_add(1), true), None),
                None => {
                    let some =
                        has_previous && (total != Some(0) || counted.is_some_and(|counted| counted.capped));
                    (false, some, None, place(i64::MIN, false))
                }
            },
        };
        let (next_cursor, previous_cursor) =
            (next_cursor.filter(|_| has_next), previous_cursor.filter(|_| has_previous));
        let pagination = Pagination {
            current_page: cursor.is_none().then_some(self.page),
            page_size: size,
            page_size_capped: self.page_size > size,
            total_pages: total.map(|total| total.div_ceil(size)),
            total_count: total,
            total_count_capped: counted.is_some_and(|counted| counted.capped),
            has_next,
            has_previous,
            next_cursor,
            previous_cursor,
        };
        Ok(Page { rows, pagination })
    }
}

/// A column's value, where it is a whole number; other tables than ours may count in smaller ones.
fn number(value: Value) -> Option<i64> {
    match value {
        Value::BigInt(number) => number,
        Value::Int(number) => number.map(i64::from),
        Value::SmallInt(number) => number.map(i64::from),
        Value::TinyInt(number) => number.map(i64::from),
        Value::BigUnsigned(number) => number.and_then(|number| i64::try_from(number).ok()),
        Value::Unsigned(number) => number.map(i64::from),
        Value::SmallUnsigned(number) => number.map(i64::from),
        Value::TinyUnsigned(number) => number.map(i64::from),
        _ => None,
    }
}

/// How many rows were found, and whether there are more.
#[derive(Clone, Copy, Debug)]
struct Counted {
    rows: u64,
    capped: bool,
}

impl Counted {
    /// Of so many rows, or at least so many that there are more than `most`.
    fn of(rows: u64, most: u64) -> Self {
        Self { rows: rows.min(most), capped: rows > most }
    }
}

/// Counts the rows, up to `most`.
async fn count<E: EntityTrait, C: ConnectionTrait>(
    db: &C,
    select: &Select<E>,
    seq: E::Column,
    most: u64,
) -> Result<Counted, Error> {
    let mut rows = select.as_query().clone();
    // Not any value: the rows may be asked for without those that are the same.
    rows.clear_selects().column(seq.as_column_ref());
    // One more than that tells whether there are more. Beyond what databases can count to there is no limit.
    if let Some(limit) = most.checked_add(1).filter(|limit| i64::try_from(*limit).is_ok()) {
        rows.limit(limit);
        // In the order of the page: else PostgreSQL may look for some of them where there are none. Others would sort.
        if db.get_database_backend() == DbBackend::Postgres {
            rows.order_by(seq.as_column_ref(), Order::Desc);
        }
    }
    let count: SelectStatement =
        Query::select().expr_as(Func::count(Expr::val(1)), "total").from_subquery(rows, "found").take();
    let row = db.query_one(&count).await.map_err(|error| query_error(&error))?;
    let total: i64 =
        row.map_or(Ok(0), |row| row.try_get("", "total")).map_err(|error| query_error(&error))?;
    Ok(Counted::of(u64::try_from(total).unwrap_or(0), most))
}

/// Some rows of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Page<M> {
    /// The rows, newest first.
    pub rows: Vec<M>,
    /// Where they stand among the others.
    pub pagination: Pagination,
}

/// Where a page stands. Serialised: `{"current_page","page_size","total_pages","total_count","has_next","has_previous",
/// "next_cursor"}`, with null for what isn't known, and `"page_size_capped": true`, `"total_count_capped": true` if they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pagination {
    /// Number of the page, from 1 on; `None` beyond a cursor.
    pub current_page: Option<u64>,
    /// Most rows on a page, as it was applied.
    pub page_size: u64,
    /// Whether more rows were asked for than a page may have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub page_size_capped: bool,
    /// How many pages there are, if it was counted; at least so many if the count was capped.
    pub total_pages: Option<u64>,
    /// How many rows there are, if it was counted; at least so many if the count was capped.
    pub total_count: Option<u64>,
    /// Whether there are more rows than [were counted](PageRequest::count_up_to).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub total_count_capped: bool,
    /// Whether there are older rows.
    pub has_next: bool,
    /// Whether there are newer rows.
    pub has_previous: bool,
    /// For the rows after these, if there are any.
    pub next_cursor: Option<String>,
    /// For the rows before these, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_cursor: Option<String>,
}
