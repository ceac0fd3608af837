//! Capture on PostgreSQL: the statement itself is made to say what it changed.
//!
//! The user's statement becomes a part of a `WITH` that also returns the rows before and after. An UPDATE first locks
//! and reads its rows in the same statement (`audit_o`), so that the old values are those that it really replaces,
//! under any concurrency. What it returns to the user is selected from that.

use std::collections::BTreeSet;
use std::sync::Arc;

use audit_core::{AuditContext, Error, FailurePolicy};
use sea_orm::sea_query::{Expr, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};

use super::cascades::{self, Reached};
use super::catalogue::{Catalogue, TableFacts};
use super::images::{Image, current, entries, finds, key, without_columns};
use super::plan::Step;
use super::refusal::{in_between, moved, refused};
use super::request::{Answer, Ask, Request};
use super::sql::What;
use super::text::Text;
use super::work::Work;
use crate::Audit;
use crate::db_error::{describe, is_retryable};
use crate::registry::{Audited, Row};
use crate::store::to_db_err;

mod delete;
mod entry;
mod insert;
mod one_trip;
mod pieces;
mod rendering;
mod rewritten;
mod suspicion;
mod update;

use one_trip::{OneTrip, Ready};
use pieces::Pieces;
use rewritten::OLD;
pub(super) use rewritten::{Rewritten, chooses_by_volatile};

const BACKEND: DbBackend = DbBackend::Postgres;

/// What the protocol has room for in one statement.
const MOST_VALUES: usize = 65_535;

/// Runs a statement and its entries in one, if that is possible: it needs no transaction.
///
/// `None`: it has to be done in another way, and nothing has been done.
pub(super) async fn at_once<C: ConnectionTrait>(
    db: &C,
    audit: &Audit,
    catalogue: &Catalogue,
    step: &Step,
    request: &Request<'_>,
    ask: Ask,
    (context, transaction): (&AuditContext, &str),
) -> Result<Option<Answer>, DbErr> {
    let Some((audited, facts)) = super::indirect::known(catalogue, step) else { return Ok(None) };
    let Ok(rewritten) = Rewritten::of(step, request.sql(), audited, facts, catalogue) else {
        return Ok(None);
    };
    let usual = audit.sink().is_none() && audit.on_failure(&audited.policy.resource) == FailurePolicy::Block;
    let fits = |trip: &&OneTrip| usual && audit.records(trip.action) && trip.fits(MOST_VALUES);
    let Some(trip) = rewritten.one_trip.as_ref().filter(fits) else { return Ok(None) };
    let values = request.values();
    let piece = Pieces { step, sql: request.sql(), audited, facts, catalogue };
    let Some(Ready { texts, added }) = trip.ready(audit, context, transaction, piece, values) else {
        return Ok(None);
    };
    let failed = |error| match is_moved(&error) {
        true => moved(audited),
        false => store_failure(error, audited, trip.action),
    };
    let (answer, none) = match ask {
        Ask::Execute => {
            let result = db.execute_raw(texts.execute.with(values, &added)).await.map_err(failed)?;
            let none = result.rows_affected() == 0;
            (Answer::Executed(result), none)
        }
        // All rows, also where one is asked for: a read that stops half-way could stop the write as well.
        Ask::One | Ask::All => {
            let rows = db.query_all_raw(texts.query.with(values, &added)).await.map_err(failed)?;
            let none = rows.is_empty();
            (Answer::Rows(rows), none)
        }
    };
    Ok(if none && trip.guarded { None } else { Some(answer) })
}

/// Whose failure it is: an error of the entries' part names the table of the entries.
fn store_failure(error: DbErr, audited: &Audited, action: &str) -> DbErr {
    if !error.to_string().contains("\"audit_log\"") {
        return error;
    }
    to_db_err(&Error::Store {
        action: action.to_owned(),
        resource: audited.policy.resource.clone(),
        reason: describe(&error).to_owned(),
        retryable: is_retryable(&error),
    })
}

/// Runs a statement and records what it changed.
pub(super) async fn run(
    work: &Work<'_>,
    step: &Step,
    sql: &str,
    request: Request<'_>,
    ask: Ask,
) -> Result<Answer, DbErr> {
    if !work.alone {
        let within = (&*work.context, &*work.state.id);
        let done = at_once(work.db, work.audit, work.catalogue, step, &request, ask, within).await?;
        if let Some(answer) = done {
            return Ok(answer);
        }
    }
    let Some((audited, facts)) = super::indirect::known(work.catalogue, step) else {
        return super::indirect::run(work, step, sql, request, ask).await;
    };
    let values = request.values();
    let rewritten = Rewritten::of(step, sql, audited, facts, work.catalogue)
        .map_err(|reason| refused(&audited.policy.table, reason))?;
    let mut locked = None;
    let reached = match (&rewritten.before, &rewritten.change) {
        (Some(before), Some(change)) if cascades::any(work.catalogue, &facts.id, change) => {
            // Locked and read by itself, before anything happens.
            let rows = read(work, audited, before, values).await?;
            locked = Some(rows.iter().map(|row| key(audited, &**row)).collect::<BTreeSet<_>>());
            let origins = without_columns(finds(audited, &rows));
            drop(rows);
            let registry = work.registry;
            cascades::before(work.db, work.catalogue, registry, &facts.id, origins, change).await?
        }
        (None, Some(change)) if cascades::any(work.catalogue, &facts.id, change) => {
            let reason =
                "foreign keys reach further rows, and which rows it changes can't be asked for before";
            return Err(refused(&audited.policy.table, reason));
        }
        _ => Reached::default(),
    };
    let known = match (&rewritten.conflicting, &rewritten.before) {
        (Some(conflicting), _) => read(work, audited, conflicting, values).await?,
        // Triggers may do something else with a row than what the statement says, and leave it out.
        (None, Some(before)) if facts.before_triggers => read(work, audited, before, values).await?,
        (None, None) if facts.before_triggers && !matches!(step.parsed.what, What::Insert(_)) => {
            return Err(refused(&audited.policy.table, UNSEEN));
        }
        _ => Vec::new(),
    };

    work.state.begin_write(&work.context);
    let rows = match work.db.query_all_raw(rewritten.text.with(values, &[])).await {
        Ok(rows) => rows,
        Err(error) => {
            // The whole transaction has failed with it.
            work.state.end_write();
            if is_moved(&error) {
                return Err(moved(audited));
            }
            return Err(match (ask, error) {
                (Ask::Execute, DbErr::Query(cause)) => DbErr::Exec(cause),
                (_, error) => error,
            });
        }
    };
    let (mut images, left) = rewritten.images(audited, &rows, known)?;
    if step.is_upsert() && facts.partitioned {
        let new = images.iter().filter(|image| image.old.is_none()).filter_map(|image| image.new.as_ref());
        let finds = without_columns(finds(audited, new));
        made(work, audited, finds).await?;
    }
    let changed = |image: &Image| image.old.as_ref().map(|row| key(audited, &**row));
    if let Some(locked) = &locked
        && images.iter().filter_map(changed).any(|key| !locked.contains(&key))
    {
        return Err(in_between(&audited.policy.resource));
    }
    // Triggers, or foreign keys to the table itself, have changed rows since they were returned.
    if facts.after_triggers || locked.is_some() {
        as_they_are(work, audited, facts, &mut images).await?;
    }
    if facts.triggers {
        what_triggers_left(work, audited, &mut images, left).await?;
    }
    reached.after(work.db, &mut images).await?;
    work.label(&mut images).await?;
    let entries = entries(work, &images);
    drop(images);
    work.write(entries).await?;
    work.state.end_write();
    match ask {
        Ask::Execute => affected(work, rows.len()).await,
        _ => Ok(Answer::Rows(rows)),
    }
}

/// Reads anew the rows that are there after the statement.
async fn as_they_are(
    work: &Work<'_>,
    audited: &Audited,
    facts: &TableFacts,
    images: &mut [Image],
) -> Result<(), DbErr> {
    let finds = finds(audited, images.iter().filter_map(|image| image.new.as_ref()));
    let mut now = current(work.db, audited, finds).await?;
    for image in images {
        let Some(new) = &image.new else { continue };
        let found = now.remove(&key(audited, &**new));
        if found.is_none() && facts.after_triggers {
            return Err(refused(&audited.policy.table, GONE));
        }
        image.new = found;
    }
    Ok(())
}

/// Adds the rows that triggers have put back, and those (`left`) that they have left out of the statement.
async fn what_triggers_left(
    work: &Work<'_>,
    audited: &Arc<Audited>,
    images: &mut Vec<Image>,
    left: Vec<Row>,
) -> Result<(), DbErr> {
    let gone = images.iter().filter(|image| image.new.is_none());
    let back = finds(audited, gone.filter_map(|image| image.old.as_ref()));
    let mut now = current(work.db, audited, back).await?;
    for image in images.iter_mut().filter(|image| image.new.is_none()) {
        image.new = image.old.as_ref().and_then(|old| now.remove(&key(audited, &**old)));
    }
    let mut now = current(work.db, audited, finds(audited, &left)).await?;
    for old in left {
        let Some(new) = now.remove(&key(audited, &*old)) else {
            return Err(refused(&audited.policy.table, MOVED_BEFORE));
        };
        images.push(Image::new(audited, Some(old), Some(new)));
    }
    Ok(())
}

const UNSEEN: &str = "a trigger before it may do something else with its rows, and which rows a WITH chooses can't be asked for before";

const MOVED_BEFORE: &str = "a trigger before it has deleted a row of its own accord or given it another key, and nobody can tell which";

const GONE: &str =
    "a trigger of the table has deleted the row again or given it another key, and nobody can tell which";

/// That an upsert made the rows that weren't there before it, where it can't say so itself: what it updates it has locked
/// before, and a row keeps its locker.
async fn made(work: &Work<'_>, audited: &Audited, finds: Vec<SelectStatement>) -> Result<(), DbErr> {
    for mut select in finds {
        for row in work.db.query_all(select.expr(Expr::cust("xmax = 0"))).await? {
            if !row.try_get_by_index::<bool>(0)? {
                return Err(in_between(&audited.policy.resource));
            }
        }
    }
    Ok(())
}

/// What a statement says that hasn't found all the rows again that it had locked.
const MOVED: &str = "audit_moved";

fn is_moved(error: &DbErr) -> bool {
    error.to_string().contains(MOVED)
}

/// A result that says that so many rows were affected: it can't be made by hand.
async fn affected(work: &Work<'_>, count: usize) -> Result<Answer, DbErr> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let sql = "SELECT FROM pg_catalog.generate_series(1::bigint, $1)";
    work.db
        .execute_raw(Statement::from_sql_and_values(BACKEND, sql, [count.into()]))
        .await
        .map(Answer::Executed)
}

async fn read(work: &Work<'_>, audited: &Audited, text: &Text, values: &[Value]) -> Result<Vec<Row>, DbErr> {
    let rows = work.db.query_all_raw(text.with(values, &[])).await?;
    rows.iter().map(|row| audited.decode(row, OLD)).collect()
}
