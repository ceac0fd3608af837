//! The one statement that statistics are read by: roll-ups, what is beyond them, and what came late.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Func, Order, Query, SelectStatement, UnionType};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr, QueryResult};

use super::period::{Period, Stretch};
use super::quarters::{FINEST, GRAINS, Run, common_grain, cover, hour_from, hour_of, quarter_of, start_of};
use super::tables::{AuditRollup as R, AuditRollupGap as G, AuditRollupPlace as P, Dimension};
use crate::entity::audit_log::{Column, Entity};
use crate::query::{during, in_period};
use crate::tail::gaps::{NAMED, within};

/// What a row of the answer is: this, or the number of a [`Dimension`].
pub(super) const ENTRIES: i64 = -1;
pub(super) const PLACE: i64 = -2;

/// Most hours that are named in a statement because days begin within them: some more than a year has.
const DIVIDED: usize = 400;

/// How far the roll-ups reach, as it was a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) through: i64,
    /// Moves with every change of the roll-ups.
    pub(super) runs: i64,
    /// The numbers below it of which no entry was seen.
    pub(super) gaps: Gaps,
}

impl Place {
    /// Asks for it. There is always one, unless somebody deleted its row.
    pub(super) async fn read<C: ConnectionTrait>(db: &C) -> Result<Option<Self>, DbErr> {
        let some = Query::select().expr(Expr::val(1)).from(G::Table).take();
        let select = Query::select()
            .columns([P::Through, P::Runs])
            .expr_as(Expr::exists(some), "has_gaps")
            .from(P::Table)
            .and_where(Expr::col(P::Id).eq(1))
            .take();
        let Some(row) = db.query_one(&select).await? else { return Ok(None) };
        Ok(Some(Self {
            through: row.try_get("", "through")?,
            runs: row.try_get("", "runs")?,
            gaps: if row.try_get("", "has_gaps")? { Gaps::read(db).await? } else { Gaps::default() },
        }))
    }
}

/// The gaps, their first and last numbers in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps(Vec<(i64, i64)>);

impl Gaps {
    async fn read<C: ConnectionTrait>(db: &C) -> Result<Self, DbErr> {
        let select = Query::select()
            .columns([G::FirstSeq, G::LastSeq])
            .from(G::Table)
            .order_by(G::FirstSeq, Order::Asc)
            .take();
        let gap = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        db.query_all(&select).await?.iter().map(gap).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves of a question for entries those that are in the gaps, of which there must be some.
    pub(super) fn join(&self, entries: SelectStatement) -> SelectStatement {
        let mut entries = entries;
        if self.0.len() <= NAMED {
            return entries.cond_where(within(self.0.iter().copied())).take();
        }
        let seq = || Expr::col((Entity, Column::Seq));
        let of = |column| Expr::col((G::Table, column));
        let ends = self.0.first().zip(self.0.last());
        let around = ends.map(|((first, _), (_, last))| Column::Seq.between(*first, *last));
        entries
            .inner_join(G::Table, seq().gte(of(G::FirstSeq)).and(seq().lte(of(G::LastSeq))))
            .cond_where(Condition::all().add_option(around))
            .take()
    }
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) backend: DbBackend,
    pub(super) period: &'a Period,
    /// What entries must fulfil besides.
    pub(super) bounds: Condition,
    /// The roll-ups' scope; `None` if there are none for this question.
    pub(super) scope: Option<String>,
}

impl Question<'_> {
    /// The statement. Its rows have the columns `kind`, `quarter`, `value`, `module`, `status`, `severity`, `action`, `total`,
    /// `failed`, `security`; rows of entries, and those of roll-ups by [`Dimension`].
    pub(super) fn statement(&self, place: &Place) -> SelectStatement {
        let (start, end) = (self.period.start(), self.period.end());
        // The whole hours of the period; what is before and behind them is counted by itself.
        let (from, to) = (hour_from(start), hour_of(end));
        let scope = self.scope.as_ref().filter(|_| from < to);
        let Some(scope) = scope else { return self.entries(in_period(Some(start), Some(end))).take() };

        let (first, last) = (start_of(from), start_of(to));
        let mut statement = self.entries(beyond(place, first, last));
        let mut add = |part: SelectStatement| {
            statement.union(UnionType::All, part);
        };
        if !place.gaps.is_empty() {
            // Entries of numbers that were missing when their place was passed.
            add(place.gaps.join(self.entries(during(Some(first), Some(last)))));
        }
        for (start, end) in [(start, first), (last, end)] {
            if start < end {
                add(self.entries_among(in_period(Some(start), Some(end)), unindexed(self.bounds.clone())));
            }
        }
        for part in self.whole(scope, from, to) {
            add(part);
        }
        for run in cover(from, to) {
            add(self.rolled_up(scope, &Dimension::PARTS, run));
        }
        let none = || Expr::val(None::<String>);
        // Makes PostgreSQL read all parts in one process: to start others takes longer than the whole answer.
        let alone = (self.backend == DbBackend::Postgres).then(|| Expr::cust("pg_backend_pid() > 0"));
        add(Query::select()
            .expr(Expr::val(PLACE))
            .column(P::Runs)
            .exprs([none(), none(), none(), none(), none()])
            .exprs([Expr::val(0_i64), Expr::val(0_i64), Expr::val(0_i64)])
            .from(P::Table)
            .and_where(Expr::col(P::Id).eq(1))
            .and_where_option(alone)
            .take());
        statement
    }

    /// Entries that fulfil the condition, counted by everything that is counted.
    fn entries(&self, condition: Condition) -> SelectStatement {
        self.entries_among(condition, self.bounds.clone())
    }

    fn entries_among(&self, condition: Condition, bounds: Condition) -> SelectStatement {
        let column = |column: Column| Expr::col((Entity, column));
        let parts = [
            self.quarter(),
            column(Column::ActorId),
            column(Column::Module),
            column(Column::Status),
            column(Column::Severity),
            column(Column::Action),
        ];
        let [quarter, user, module, status, severity, action] = parts.clone();
        Query::select()
            .expr_as(Expr::val(ENTRIES), "kind")
            .expr_as(quarter, "quarter")
            .expr_as(user, "value")
            .expr_as(module, "module")
            .expr_as(status, "status")
            .expr_as(severity, "severity")
            .expr_as(action, "action")
            .expr_as(Func::count(column(Column::Seq)), "total")
            .expr_as(Expr::val(0_i64), "failed")
            .expr_as(Expr::val(0_i64), "security")
            .from(Entity)
            .cond_where(condition)
            .cond_where(bounds)
            .add_group_by(parts)
            .take()
    }

    /// Roll-ups of everything, by day, from the one hour up to the other.
    fn whole(&self, scope: &str, from: i64, to: i64) -> Vec<SelectStatement> {
        let whole = |grain| self.rolled_up(scope, &[Dimension::Whole], Run { grain, from, to });
        let borders =
            self.period.borders().map(quarter_of).filter(move |border| (from..=to).contains(border));
        let grain = common_grain([from, to].into_iter().chain(borders.clone()));
        let [hour, ..] = GRAINS;
        let mut divided: Vec<i64> = borders
            .filter(|border| border.rem_euclid(hour) != 0)
            .map(|border| border.div_euclid(hour) * hour)
            .collect();
        divided.dedup();
        if grain != FINEST || divided.len() > DIVIDED {
            return vec![whole(grain)];
        }
        // Days begin within these hours, and only these are read by the quarter.
        let quarters: Vec<i64> = divided.iter().flat_map(|start| *start..start + hour).collect();
        let start = || Expr::col(R::Start);
        vec![
            whole(hour).and_where(start().is_not_in(divided)).take(),
            whole(FINEST).and_where(start().is_in(quarters)).take(),
        ]
    }

    /// Roll-ups of these dimensions and periods.
    fn rolled_up(&self, scope: &str, dimensions: &[Dimension], run: Run) -> SelectStatement {
        // Added up by the database: days are fewer than the rows that they are made of.
        let day = (dimensions == [Dimension::Whole]).then(|| self.day());
        let none = || Expr::val(None::<String>);
        let sum = |column: R| Expr::expr(Func::sum(Expr::col(column))).cast_as(self.integer());
        let mut select = Query::select();
        select
            .expr(Expr::expr(Expr::col(R::Dimension)).cast_as(self.integer()))
            .expr(if day.is_some() { Expr::col(R::Start).min() } else { Expr::val(0_i64) })
            .column(R::Value)
            .exprs([none(), none(), none(), none()])
            .exprs([sum(R::Total), sum(R::Failed), sum(R::Security)])
            .from(R::Table)
            .and_where(Expr::col(R::Scope).eq(scope))
            .and_where(Expr::col(R::Dimension).is_in(dimensions.iter().map(|dimension| dimension.number())))
            .and_where(Expr::col(R::Grain).eq(run.grain))
            .and_where(Expr::col(R::Start).gte(run.from))
            .and_where(Expr::col(R::Start).lt(run.to))
            .group_by_columns([R::Dimension, R::Value]);
        select.add_group_by(day.flatten());
        select
    }

    /// What is the same for all roll-ups of a day of the period, and for no others: the quarter in which it begins. `None` if there
    /// is one day.
    fn day(&self) -> Option<Expr> {
        let start = || Expr::col(R::Start);
        let mut days = CaseStatement::new();
        let stretches = self.period.stretches();
        if stretches.is_empty() {
            return None;
        }
        for Stretch { from, to, day } in stretches {
            let within = start().gte(from).and(start().lt(to));
            days = days.case(within, start().sub(start().sub(from).modulo(day)));
        }
        let first = Expr::val(quarter_of(self.period.start()));
        Some(Expr::Case(Box::new(days.finally(first))))
    }

    /// A whole number, as `CAST` calls it.
    fn integer(&self) -> &'static str {
        match self.backend {
            DbBackend::Postgres => "bigint",
            DbBackend::Sqlite => "integer",
            _ => "signed",
        }
    }

    /// The quarter of an hour of an entry, as [`quarter_of`] computes it.
    fn quarter(&self) -> Expr {
        Expr::cust(match self.backend {
            DbBackend::Postgres => r#"CAST(floor(extract(epoch FROM "timestamp") / 900) AS bigint)"#,
            // Without the seconds: SQLite would round them to the next minute.
            DbBackend::Sqlite => r#"CAST(strftime('%s', substr("timestamp", 1, 16)) AS integer) / 900"#,
            _ => "timestampdiff(SECOND, '1970-01-01', `timestamp`) DIV 900",
        })
    }
}

/// The same, but no reason to use an index: SQLite would rather read all entries of a tenant than those of half an hour.
fn unindexed(condition: Condition) -> Condition {
    if condition.is_empty() {
        return condition;
    }
    let case = CaseStatement::new().case(condition, Expr::val(true)).finally(Expr::val(false));
    Condition::all().add(Expr::Case(Box::new(case)))
}

/// Entries that the roll-ups don't reach. The place is a number, not a sub-select: databases plan by it. And not by their ids,
/// which would lead them to read the whole period.
fn beyond(place: &Place, first: DateTime<Utc>, last: DateTime<Utc>) -> Condition {
    during(Some(first), Some(last)).add(Column::Seq.gt(place.through))
}
