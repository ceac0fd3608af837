//! Between which places in the order the entries of a period are: the roll-ups know.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr};

use super::quarters::{GRAINS, Run, cover, hour_from, hour_of};
use super::statement::Place;
use super::tables::{AuditRollup as R, AuditRollupPlace as P, Dimension};
use crate::entity::audit_log::{Column, Entity};
use crate::query::during;

/// A condition on `seq` that every entry of the period fulfils, if one is known. Without it, a database that looks for old entries
/// in the order of `seq` reads all newer ones first.
///
/// It is true of what was committed when it was asked for; what is committed later may be left out by it.
pub(crate) async fn bounds_of<C: ConnectionTrait>(
    db: &C,
    start: Option<DateTime<Utc>>,
    end: DateTime<Utc>,
) -> Result<Option<Condition>, DbErr> {
    let Some(place) = Place::read(db).await? else { return Ok(None) };
    // What isn't counted yet is beyond the place, or in the gaps.
    let beyond = entries(during(start, Some(end)).add(Column::Seq.gt(place.through)));
    let mut late = Expr::val(false);
    if !place.gaps.is_empty() {
        late = Expr::exists(place.gaps.join(entries(during(start, Some(end)))));
    }
    // To the hour: what lies within the bounds and not within the period is read in vain.
    let within = |any: Condition, run: Run| {
        let start = Expr::col(R::Start);
        any.add(Expr::col(R::Grain).eq(run.grain).and(start.clone().gte(run.from)).and(start.lt(run.to)))
    };
    let mut days = Query::select()
        .expr_as(Expr::col(R::FirstSeq).min(), "first_seq")
        .expr_as(Expr::col(R::LastSeq).max(), "last_seq")
        .from(R::Table)
        .and_where(Expr::col(R::Scope).eq(""))
        .and_where(Expr::col(R::Dimension).eq(Dimension::Whole.number()))
        .cond_where(hours(start, end).into_iter().fold(Condition::any(), within))
        .take();
    let runs = Query::select().column(P::Runs).from(P::Table).and_where(Expr::col(P::Id).eq(1)).take();
    days.expr_as(Expr::SubQuery(None, Box::new(runs.into())), "runs")
        .expr_as(Expr::exists(beyond), "beyond")
        .expr_as(late, "late");
    let Some(row) = db.query_one(&days).await? else { return Ok(None) };
    let elsewhere = row.try_get::<bool>("", "beyond")? || row.try_get::<bool>("", "late")?;
    if elsewhere || row.try_get::<i64>("", "runs")? != place.runs {
        return Ok(None);
    }
    let (first, last): (Option<i64>, Option<i64>) =
        (row.try_get("", "first_seq")?, row.try_get("", "last_seq")?);
    let between = |(first, last)| Condition::all().add(Column::Seq.gte(first)).add(Column::Seq.lte(last));
    Ok(first.zip(last).map(between))
}

/// The fewest roll-ups that make up the hours in which the period lies; at least one.
fn hours(start: Option<DateTime<Utc>>, end: DateTime<Utc>) -> Vec<Run> {
    let (hour, day) = (GRAINS[0], GRAINS[GRAINS.len() - 1]);
    let to = Ord::max(hour_from(end), start.map_or(i64::MIN, |start| hour_of(start).saturating_add(hour)));
    match start {
        Some(start) => cover(hour_of(start), to),
        None => {
            let from = to.div_euclid(day) * day;
            let mut runs = cover(from, to);
            runs.push(Run { grain: day, from: i64::MIN, to: from });
            runs
        }
    }
}

fn entries(condition: Condition) -> SelectStatement {
    Query::select().expr(Expr::val(1)).from(Entity).cond_where(condition).take()
}
