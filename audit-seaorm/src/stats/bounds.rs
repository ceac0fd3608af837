//! Between which places in the order the entries of a period are: the roll-ups know.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr};

use super::quarters::{FINEST, GRAINS, Run, cover, quarter_of, start_of};
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
    end: Option<DateTime<Utc>>,
) -> Result<Option<Condition>, DbErr> {
    if start.is_none() && end.is_none() {
        return Ok(None);
    }
    let Some(place) = Place::read(db).await? else { return Ok(None) };
    // What isn't counted yet is beyond the place, or in the gaps. A period without an end has no bound that could leave out the former.
    let none = || Expr::val(false);
    let beyond = end.map_or_else(none, |end| {
        Expr::exists(entries(during(start, Some(end)).add(Column::Seq.gt(place.through))))
    });
    let late = match place.gaps.is_empty() {
        true => none(),
        false => Expr::exists(place.gaps.join(entries(during(start, end)))),
    };
    // To the quarter of an hour: what lies within the bounds and not within the period is read in vain.
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
        .cond_where(quarters(start, end).into_iter().fold(Condition::any(), within))
        .take();
    let runs = Query::select().column(P::Runs).from(P::Table).and_where(Expr::col(P::Id).eq(1)).take();
    days.expr_as(Expr::SubQuery(None, Box::new(runs.into())), "runs")
        .expr_as(beyond, "beyond")
        .expr_as(late, "late");
    let Some(row) = db.query_one(&days).await? else { return Ok(None) };
    let elsewhere = row.try_get::<bool>("", "beyond")? || row.try_get::<bool>("", "late")?;
    if elsewhere || row.try_get::<i64>("", "runs")? != place.runs {
        return Ok(None);
    }
    let (first, last): (Option<i64>, Option<i64>) =
        (row.try_get("", "first_seq")?, row.try_get("", "last_seq")?);
    let from = first.map(|first| Condition::all().add(Column::Seq.gte(first)));
    Ok(match end {
        None => from,
        Some(_) => from.zip(last).map(|(from, last)| from.add(Column::Seq.lte(last))),
    })
}

/// The fewest roll-ups that make up the quarters of an hour in which the period lies; at least one.
fn quarters(start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Vec<Run> {
    let day = GRAINS[GRAINS.len() - 1];
    let from = start.map(quarter_of);
    let Some(end) = end else {
        // From the next day on by days, however far clocks have gone ahead.
        let border = from.map_or(i64::MIN, |from| from.div_euclid(day).saturating_add(1).saturating_mul(day));
        let mut runs = start.map(|start| quarters(Some(start), Some(start_of(border)))).unwrap_or_default();
        runs.push(Run { grain: day, from: border, to: i64::MAX });
        return runs;
    };
    // The first quarter that doesn't begin before the end, and one at least.
    let to = quarter_of(end) + i64::from(start_of(quarter_of(end)) != end);
    let to = Ord::max(to, from.map_or(i64::MIN, |from| from.saturating_add(1)));
    let Some(from) = from else {
        let border = to.div_euclid(day) * day;
        let mut runs = Vec::new();
        if border < to {
            runs = quarters(Some(start_of(border)), Some(start_of(to)));
        }
        runs.push(Run { grain: day, from: i64::MIN, to: border });
        return runs;
    };
    let hour = GRAINS[0];
    let (first, last) = (from.div_euclid(hour) * hour, to.div_euclid(hour) * hour);
    let first = if first < from { first + hour } else { first };
    if first >= last {
        return vec![Run { grain: FINEST, from, to }];
    }
    let mut runs = cover(first, last);
    runs.extend([(from, first), (last, to)].map(|(from, to)| Run { grain: FINEST, from, to }));
    runs.retain(|run| run.from < run.to);
    runs
}

fn entries(condition: Condition) -> SelectStatement {
    Query::select().expr(Expr::val(1)).from(Entity).cond_where(condition).take()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn q1_bounds_are_of_all_quarters_of_the_period(from in 0_i64..4_000_000, length in 0_i64..4_000_000, open in 0..3) {
            let at = |seconds| DateTime::from_timestamp(1_700_000_000 + seconds, 0).expect("a moment");
            let (start, end) = (at(from), at(from + length));
            let runs = quarters((open != 1).then_some(start), (open != 2).then_some(end));
            let is_in = |quarter: i64| runs.iter().filter(|run| (run.from..run.to).contains(&quarter)).count();
            for run in &runs {
                prop_assert!(run.from == i64::MIN || run.from.rem_euclid(run.grain) == 0);
                prop_assert!(run.to == i64::MAX || run.to.rem_euclid(run.grain) == 0);
            }
            for quarter in quarter_of(start) - 100..=quarter_of(end) + 100 {
                let begun = open == 1 || quarter >= quarter_of(start);
                let not_ended = open == 2 || start_of(quarter) < end || (open == 0 && quarter == quarter_of(start));
                prop_assert_eq!(is_in(quarter), usize::from(begun && not_ended), "{}", quarter);
            }
        }
    }
}
