//! Statements on tables that aren't audited, whose foreign keys reach tables that are.

use std::ops::Range;
use std::sync::Arc;

use sea_orm::sea_query::{Alias, Expr, LockType, Query};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};

use super::cascades::{self, Change, Reached};
use super::catalogue::{Catalogue, TableFacts, TableId};
use super::images::entries;
use super::plan::Step;
use super::refusal::{VARIES, in_between, refused, refused_parent};
use super::request::{Answer, Ask, Request, send};
use super::sql::{Conflict, What};
use super::text::{Text, alias, table};
use super::work::Work;
use super::{mysql, postgres};
use crate::registry::Audited;

/// What is audited in the table that a statement names, and what the catalogue says of it. `None` if it is another one:
/// a table of the same name in another schema, or one that isn't there.
pub(super) fn known<'a>(
    catalogue: &'a Catalogue,
    step: &'a Step,
) -> Option<(&'a Arc<Audited>, &'a TableFacts)> {
    let audited = step.target()?;
    let facts = catalogue.table(audited)?;
    let named = step.schema().is_none_or(|schema| schema.eq_ignore_ascii_case(&facts.id.0));
    named.then_some((audited, facts))
}

/// Runs the statement unchanged, and records what it changed by foreign keys.
pub(super) async fn run(
    work: &Work<'_>,
    step: &Step,
    sql: &str,
    request: Request<'_>,
    ask: Ask,
) -> Result<Answer, DbErr> {
    let look = look(work, step, sql, request.values()).await?;
    // All rows, also where one is asked for: their number says how many there are.
    let ask = if look.is_some() && ask == Ask::One { Ask::All } else { ask };
    work.state.begin_write(&work.context);
    let answer = send(work.db, request, ask).await.inspect_err(|_| work.state.end_write())?;
    if let Some(audited) = step.target().filter(|audited| work.catalogue.table(audited).is_none()) {
        // The catalogue has no such table, and yet it could be written. It must not be committed.
        return Err(refused(&audited.policy.table, "the database's catalogue doesn't show it as a table"));
    }
    let mut images = Vec::new();
    if let Some(Look { parent, rows, reached }) = look {
        let changed = match &answer {
            Answer::Executed(result) => result.rows_affected(),
            Answer::Rows(rows) => rows.len() as u64,
        };
        if changed > rows {
            // What follows the others wasn't read before.
            return Err(in_between(&parent.1));
        }
        reached.after(work.db, &mut images).await?;
    }
    work.label(&mut images).await?;
    let entries = entries(work, &images);
    drop(images);
    work.write(entries).await?;
    work.state.end_write();
    Ok(answer)
}

/// What was seen before a statement: how many rows of its table it will change, and what they reach.
struct Look<'a> {
    parent: &'a TableId,
    rows: u64,
    reached: Reached,
}

/// Locks and reads what the statement will change, if audited rows may follow it.
async fn look<'a>(
    work: &Work<'a>,
    step: &Step,
    sql: &str,
    values: &[sea_orm::Value],
) -> Result<Option<Look<'a>>, DbErr> {
    let parsed = &step.parsed;
    let (target, others, condition, tail, with, change) = match &parsed.what {
        What::Delete(delete) => (
            &delete.target,
            delete.using.as_ref().or(delete.join.as_ref()),
            &delete.condition,
            &delete.tail,
            delete.with.is_some(),
            Change::Deleted,
        ),
        What::Update(update) => {
            let assigned = update.assigned.iter().map(|assignment| assignment.column.clone()).collect();
            (
                &update.target,
                update.from.as_ref().or(update.join.as_ref()),
                &update.condition,
                &update.tail,
                update.with.is_some(),
                Change::Updated(assigned),
            )
        }
        What::Insert(insert) => {
            let change = match &insert.conflict {
                Conflict::Replace => Change::Deleted,
                Conflict::Update { assigned, .. } => {
                    Change::Updated(assigned.iter().map(|assignment| assignment.column.clone()).collect())
                }
                _ => return Ok(None),
            };
            let parent = work.catalogue.parent(&insert.target.name);
            return match parent.filter(|parent| cascades::any(work.catalogue, parent, &change)) {
                None => Ok(None),
                Some(parent) => {
                    Err(refused_parent(&parent.1, "it replaces rows; UPDATE or DELETE them instead"))
                }
            };
        }
        _ => return Ok(None),
    };
    let Some(parent) = work.catalogue.parent(&target.name) else { return Ok(None) };
    if !cascades::any(work.catalogue, parent, &change) {
        return Ok(None);
    }
    if with || others.is_some() {
        return Err(refused_parent(
            &parent.1,
            "it selects its rows by a join or WITH; ask for their keys first, with a lock",
        ));
    }
    let backend = ConnectionTrait::get_database_backend(work.db);
    if backend == DbBackend::MySql {
        let refused = |reason: &str| refused_parent(&parent.1, reason);
        mysql::check_condition(work, step, refused, [condition, tail, &None]).await?;
        let limited = |tail: &Range<usize>| mysql::is_limit(sql.get(tail.clone()).unwrap_or_default());
        if tail.as_ref().is_some_and(limited) {
            let reason = "which rows its LIMIT takes isn't sure before; name them by a condition";
            return Err(refused_parent(&parent.1, reason));
        }
    } else if postgres::chooses_by_volatile(step, sql, work.catalogue) {
        return Err(refused_parent(&parent.1, VARIES));
    }
    let mut text = Text::new(backend);
    text.push(&alias(backend, sql, target)).push(".* FROM ").push(&table(backend, sql, target));
    if let Some(condition) = condition {
        text.push(" WHERE ").piece(sql, parsed, condition);
    }
    if let Some(tail) = tail {
        text.push(" ").piece(sql, parsed, tail);
    }
    let statement = text.with(values, &[]);
    let values = statement.values.map(|values| values.0).unwrap_or_default();
    let mut select = Query::select().expr(Expr::cust_with_values(statement.sql, values)).to_owned();
    select.lock(LockType::Update);
    // The rows themselves first, so that nobody comes to refer to them.
    let rows = work.db.query_all(&select).await?.len() as u64;
    let origin = Query::select().from_subquery(select, Alias::new(&parent.1)).to_owned();
    let (db, registry) = (work.db, work.registry);
    let reached = cascades::before(db, work.catalogue, registry, parent, vec![origin], &change).await?;
    Ok(Some(Look { parent, rows, reached }))
}
