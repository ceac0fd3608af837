//! The worker's work: counting entries once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use audit_core::Error;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Func, OnConflict, Order, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, TransactionSession, TransactionTrait};

use super::quarters::{FINEST, GRAINS, quarter_of};
use super::report::Counts;
use super::tables::{
    AuditRollup as R, AuditRollupGap as G, AuditRollupPlace as P, Counted, Dimension, keyed,
};
use crate::db_error::query_error;
use crate::entity::audit_log::{Column, Entity};
use crate::store::batches;
use crate::tail::gaps::Gap;
use crate::tail::{self, Place, Source};
use crate::worker::{Batched, Stop, WorkerTask, all_batches, in_background, to_the_end};

/// Counts entries, so that [statistics](crate::LogReader::statistics) needn't.
///
/// Any number of processes may do it at the same time: they take turns. Where each has come to stands in the database, so nothing is
/// counted twice or left out, whenever one of them ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "nothing is counted before `run_once` or `start`"]
pub struct Rollups {
    batch: u64,
    settle_after: Duration,
    every: Duration,
}

impl Default for Rollups {
    fn default() -> Self {
        Self { batch: 20_000, settle_after: Duration::from_secs(24 * 3600), every: Duration::from_secs(10) }
    }
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RolledUp {
    /// Entries that were counted.
    pub entries: u64,
    /// Those among them that were committed after their place had been passed.
    pub late: u64,
    /// Runs of numbers whose entries may still come.
    pub gaps: u64,
}

impl Rollups {
    /// A worker that counts up to 20,000 entries in a transaction, and in the background every ten seconds.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many entries in a transaction, from 1 on.
    pub fn batch_size(mut self, entries: u64) -> Self {
        self.batch = Ord::max(entries, 1);
        self
    }

    /// So long between two runs in the background.
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }

    /// How long a transaction may take from writing an entry to its commit, where the database doesn't tell which are still open:
    /// on MariaDB, if the user lacks the privilege `PROCESS`; on MySQL, if it may read neither that nor
    /// `performance_schema.data_locks`. A day, unless it is said. An entry that is committed later
    /// than that is left out of statistics until [`rebuild`](Self::rebuild).
    pub fn settle_after(mut self, longest: Duration) -> Self {
        self.settle_after = longest;
        self
    }

    /// Counts all entries that haven't been counted yet. If its future is dropped, the batch that it is at is counted to its end.
    ///
    /// `db` is a connection, of which each batch gets a clone; within a transaction, nothing could be seen of what others commit.
    ///
    /// # Errors
    /// [`Error::Query`] if the database doesn't take it. What was counted until then stays counted.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn run_once<C>(&self, db: &C) -> Result<RolledUp, Error>
    where
        C: ConnectionTrait + TransactionTrait + Clone + Send + Sync + 'static,
    {
        all_batches(self, &Arc::new(db.clone()), &Stop::default()).await
    }

    /// Runs in the background until it is stopped: at once, and then again and again. A run that fails is logged, and tried again
    /// at the next turn.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<C>(self, db: C) -> WorkerTask
    where
        C: ConnectionTrait + TransactionTrait + Send + Sync + 'static,
    {
        in_background("roll-ups", self.every, self, db, |done| {
            tracing::debug!(entries = done.entries, late = done.late, "entries counted");
        })
    }

    /// Forgets all counts, and counts anew: after entries were deleted from the log. Statistics stay true meanwhile.
    ///
    /// # Errors
    /// As [`run_once`](Self::run_once).
    pub async fn rebuild<C>(&self, db: &C) -> Result<RolledUp, Error>
    where
        C: ConnectionTrait + TransactionTrait + Clone + Send + Sync + 'static,
    {
        let forgotten = db.clone();
        to_the_end(async move { forget(&forgotten).await.map_err(|error| query_error(&error)) }).await?;
        self.run_once(db).await
    }

    /// Counts one batch; whether there may be more.
    async fn run_batch<C>(&self, db: &C) -> Result<(RolledUp, bool), DbErr>
    where
        C: ConnectionTrait + TransactionTrait,
    {
        let txn = begin(db).await?;
        let before = read_place(&txn).await?;
        let mut place = before.clone();
        let now = Utc::now().timestamp();
        let settle_after = i64::try_from(self.settle_after.as_secs()).unwrap_or(i64::MAX);
        let source = Source { table: "audit_log", select: entries() };
        let (rows, more) = place.take(&txn, &source, self.batch, now, settle_after).await?;
        let seen: Vec<Seen> = rows.iter().map(Seen::of_row).collect::<Result<_, _>>()?;
        write_counts(&txn, &seen).await?;
        write_place(&txn, &before, &place).await?;
        txn.commit().await?;
        let late = seen.iter().filter(|entry| entry.seq <= before.through).count() as u64;
        Ok((RolledUp { entries: seen.len() as u64, late, gaps: place.gaps.len() as u64 }, more))
    }
}

impl<C> Batched<C> for Rollups
where
    C: ConnectionTrait + TransactionTrait + Send + Sync + 'static,
{
    type Done = RolledUp;

    async fn batch(self, db: Arc<C>) -> Result<(RolledUp, bool), Error> {
        self.run_batch(&*db).await.map_err(|error| query_error(&error))
    }

    fn add(all: &mut RolledUp, done: RolledUp) {
        all.entries += done.entries;
        all.late += done.late;
        all.gaps = done.gaps;
    }
}

/// A transaction that sees what others commit meanwhile, and has the place for itself.
async fn begin<C: ConnectionTrait + TransactionTrait>(db: &C) -> Result<C::Transaction, DbErr> {
    let txn = db.begin_with_config(tail::isolation(db), None).await?;
    let take = Query::update()
        .table(P::Table)
        .value(P::Runs, Expr::col(P::Runs).add(1))
        .and_where(Expr::col(P::Id).eq(1))
        .take();
    txn.execute(&take).await?;
    Ok(txn)
}

async fn forget<C: ConnectionTrait + TransactionTrait>(db: &C) -> Result<(), DbErr> {
    let txn = begin(db).await?;
    txn.execute(&Query::delete().from_table(R::Table).take()).await?;
    txn.execute(&Query::delete().from_table(G::Table).take()).await?;
    txn.execute(
        &Query::update().table(P::Table).value(P::Through, 0_i64).and_where(Expr::col(P::Id).eq(1)).take(),
    )
    .await?;
    txn.commit().await
}

/// What is needed of an entry.
#[derive(Debug)]
struct Seen {
    seq: i64,
    timestamp: DateTime<Utc>,
    tenant: Option<String>,
    counted: Counted,
}

impl Seen {
    fn of_row(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            seq: row.try_get("", "seq")?,
            timestamp: row.try_get("", "timestamp")?,
            tenant: row.try_get("", "tenant")?,
            counted: Counted {
                user: row.try_get("", "actor_id")?,
                module: row.try_get("", "module")?,
                status: row.try_get("", "status")?,
                severity: row.try_get("", "severity")?,
                action: row.try_get("", "action")?,
            },
        })
    }
}

fn entries() -> SelectStatement {
    let columns = [
        Column::Seq,
        Column::Timestamp,
        Column::Tenant,
        Column::ActorId,
        Column::Module,
        Column::Status,
        Column::Severity,
        Column::Action,
    ];
    Query::select().columns(columns.map(|column| (Entity, column))).from(Entity).take()
}

/// Scope, dimension, grain, start and value of a row.
type Key = (String, Dimension, i64, i64, String);

/// Adds the entries to the counts of every size of period they are in, of their tenant and of all.
async fn write_counts<C: ConnectionTrait>(db: &C, entries: &[Seen]) -> Result<(), DbErr> {
    let mut counts: BTreeMap<Key, (Counts, i64, i64)> = BTreeMap::new();
    for Seen { seq, timestamp, tenant, counted } in entries {
        let (quarter, one) = (quarter_of(*timestamp), counted.counts(1));
        let scopes = [Some(String::new()), tenant.as_deref().map(|tenant| keyed(Some(tenant)))];
        for scope in scopes.into_iter().flatten() {
            let mut add = |dimension, grain, value| {
                let key = (scope.clone(), dimension, grain, quarter.div_euclid(grain) * grain, keyed(value));
                let (counts, first, last) = counts.entry(key).or_insert((Counts::default(), *seq, *seq));
                counts.add(one);
                (*first, *last) = (Ord::min(*first, *seq), Ord::max(*last, *seq));
            };
            add(Dimension::Whole, FINEST, None);
            for grain in GRAINS {
                add(Dimension::Whole, grain, None);
                counted.values().for_each(|(dimension, value)| add(dimension, grain, value));
            }
        }
    }
    let rows: Vec<_> = counts.into_iter().collect();
    let columns = [
        R::Scope,
        R::Dimension,
        R::Grain,
        R::Start,
        R::Value,
        R::Total,
        R::Failed,
        R::Security,
        R::FirstSeq,
        R::LastSeq,
    ];
    for batch in batches(&rows) {
        let mut insert = Query::insert().into_table(R::Table).columns(columns).take();
        for ((scope, dimension, grain, start, value), (counts, first, last)) in batch {
            let number = |count: u64| Expr::val(i64::try_from(count).unwrap_or(i64::MAX));
            insert.values_panic([
                Expr::val(scope.as_str()),
                Expr::val(dimension.number()),
                Expr::val(*grain),
                Expr::val(*start),
                Expr::val(value.as_str()),
                number(counts.count),
                number(counts.failed),
                number(counts.security),
                Expr::val(*first),
                Expr::val(*last),
            ]);
        }
        insert.on_conflict(add_up(db.get_database_backend()));
        db.execute(&insert).await?;
    }
    Ok(())
}

fn add_up(backend: DbBackend) -> OnConflict {
    let mut conflict = OnConflict::columns([R::Scope, R::Dimension, R::Grain, R::Start, R::Value]);
    let old = |column: R| Expr::col((R::Table, column));
    let new = |column: R| match backend {
        DbBackend::MySql => Expr::expr(Func::cust("VALUES").arg(Expr::col(column))),
        _ => Expr::col(("excluded", column)),
    };
    for column in [R::Total, R::Failed, R::Security] {
        conflict.value(column, old(column).add(new(column)));
    }
    // SQLite's functions for the least and the greatest have other names than those of the others.
    let either =
        |column: R, new_one: Expr| CaseStatement::new().case(new_one, new(column)).finally(old(column));
    conflict.value(R::FirstSeq, either(R::FirstSeq, new(R::FirstSeq).lt(old(R::FirstSeq))));
    conflict.value(R::LastSeq, either(R::LastSeq, new(R::LastSeq).gt(old(R::LastSeq))));
    conflict
}

/// How far the roll-ups reach. In tables of its own, not as JSON: questions read it, and join its gaps where they are many.
async fn read_place<C: ConnectionTrait>(db: &C) -> Result<Place, DbErr> {
    let select = Query::select().column(P::Through).from(P::Table).and_where(Expr::col(P::Id).eq(1)).take();
    let Some(row) = db.query_one(&select).await? else {
        return Err(DbErr::RecordNotFound("`audit_rollup_place` has no row".into()));
    };
    let through = row.try_get_by_index(0)?;
    let select = Query::select()
        .columns([G::FirstSeq, G::LastSeq, G::Noticed, G::Writers])
        .from(G::Table)
        .order_by(G::FirstSeq, Order::Asc)
        .take();
    let gap = |row: &QueryResult| {
        Ok(Gap {
            first: row.try_get("", "first_seq")?,
            last: row.try_get("", "last_seq")?,
            noticed: row.try_get("", "noticed")?,
            writers: row.try_get("", "writers")?,
        })
    };
    let gaps = db.query_all(&select).await?.iter().map(gap).collect::<Result<_, DbErr>>()?;
    Ok(Place { through, gaps })
}

/// Writes what has changed of the place.
async fn write_place<C: ConnectionTrait>(db: &C, old: &Place, new: &Place) -> Result<(), DbErr> {
    let gone: Vec<i64> = old.gaps.iter().filter(|gap| !new.gaps.contains(gap)).map(|gap| gap.first).collect();
    for firsts in batches(&gone) {
        let firsts = Expr::col(G::FirstSeq).is_in(firsts.iter().copied());
        db.execute(&Query::delete().from_table(G::Table).and_where(firsts).take()).await?;
    }
    let added: Vec<&Gap> = new.gaps.iter().filter(|gap| !old.gaps.contains(gap)).collect();
    for gaps in batches(&added) {
        let mut insert = Query::insert()
            .into_table(G::Table)
            .columns([G::FirstSeq, G::LastSeq, G::Noticed, G::Writers])
            .take();
        for gap in gaps {
            insert.values_panic([
                gap.first.into(),
                gap.last.into(),
                gap.noticed.into(),
                gap.writers.clone().into(),
            ]);
        }
        db.execute(&insert).await?;
    }
    if new.through != old.through {
        let update = Query::update()
            .table(P::Table)
            .value(P::Through, new.through)
            .and_where(Expr::col(P::Id).eq(1))
            .take();
        db.execute(&update).await?;
    }
    Ok(())
}
