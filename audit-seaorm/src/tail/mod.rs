//! Reading what is added to a table, each row once, though rows are committed in another order than that of their numbers.
//!
//! A worker keeps its [`Place`], as JSON or in tables: up to which number it has seen everything, but for gaps, whose transactions may not be committed
//! yet. Gaps are looked at again until nobody is left who could fill them.

pub(crate) mod gaps;
pub(crate) mod writers;

use sea_orm::sea_query::{Expr, ExprTrait, Order, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, IsolationLevel, QueryResult};
use serde::{Deserialize, Serialize};

use gaps::{Gap, NAMED, missing, within, without};
use writers::Writers;

/// How far a worker has come in one table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Up to here all numbers have been seen, or are in a gap.
    pub(crate) through: i64,
    /// In order.
    pub(crate) gaps: Vec<Gap>,
}

/// The isolation in which a worker sees what others commit meanwhile. SQLite has no other, and SeaORM warns of one that is asked for.
pub(crate) fn isolation<C: ConnectionTrait>(db: &C) -> Option<IsolationLevel> {
    (db.get_database_backend() != DbBackend::Sqlite).then_some(IsolationLevel::ReadCommitted)
}

/// Where rows come from: a table, and what is asked of it.
pub(crate) struct Source<'a> {
    /// Its name.
    pub(crate) table: &'a str,
    /// What is asked of it, `seq` included.
    pub(crate) select: SelectStatement,
}

impl Place {
    /// Takes rows that haven't been taken: of those that came late and of new ones up to so many each; whether there may be more.
    /// Those that came late are the ones with numbers up to the place that was.
    ///
    /// `now` in seconds since 1970. A gap is given up once it is `settle_after` seconds old where the database doesn't tell who still
    /// writes.
    ///
    /// # Errors
    /// As the database says; then the place hasn't moved.
    pub(crate) async fn take<C: ConnectionTrait>(
        &mut self,
        db: &C,
        source: &Source<'_>,
        limit: u64,
        now: i64,
        settle_after: i64,
    ) -> Result<(Vec<QueryResult>, bool), DbErr> {
        let mut rows: Vec<QueryResult> = Vec::new();
        let mut gaps = Vec::new();
        // Whether rows that came late are left for the next time.
        let mut full = false;
        if !self.gaps.is_empty() {
            // Before the gaps are looked at: see the contract of `Writers`.
            let writers = Writers::ask(db, source.table).await?;
            for some in self.gaps.chunks(NAMED) {
                if full {
                    gaps.extend_from_slice(some);
                    continue;
                }
                let mut select = source.select.clone();
                select.cond_where(within(some.iter().map(|gap| (gap.first, gap.last))));
                let rest = limit.saturating_sub(rows.len() as u64);
                let late = db.query_all(select.order_by("seq", Order::Asc).limit(rest)).await?;
                full = late.len() as u64 >= rest;
                let filled = seqs(&late)?;
                let left = some.iter().flat_map(|gap| without(gap, &filled));
                // What wasn't looked at to its end stays a gap.
                gaps.extend(
                    left.filter_map(
                        |gap| {
                            if full { Some(gap) } else { writers.settle(gap, now, settle_after) }
                        },
                    ),
                );
                rows.extend(late);
            }
        }
        let beyond = Expr::col("seq").gt(self.through);
        let mut select = source.select.clone();
        let new = db.query_all(select.and_where(beyond).order_by("seq", Order::Asc).limit(limit)).await?;
        let numbers = seqs(&new)?;
        // On SQLite nobody has a number while somebody else writes.
        if db.get_database_backend() != DbBackend::Sqlite {
            gaps.extend(missing(self.through, &numbers, now));
        }
        let more = full || new.len() as u64 >= limit;
        rows.extend(new);
        self.gaps = gaps;
        self.through = numbers.last().copied().unwrap_or(self.through);
        Ok((rows, more))
    }

    /// Whether something may still come below the place.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }
}

fn seqs(rows: &[QueryResult]) -> Result<Vec<i64>, DbErr> {
    rows.iter().map(|row| row.try_get("", "seq")).collect()
}
