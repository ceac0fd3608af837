//! Capture on PostgreSQL: the statement itself is made to say what it changed.
//!
//! The user's statement becomes a part of a `WITH` that also returns the rows before and after. An UPDATE first locks
//! and reads its rows in the same statement (`audit_o`), so that the old values are those that it really replaces,
//! under any concurrency. What it returns to the user is selected from that.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use audit_core::{AuditContext, Error, FailurePolicy};
use sea_orm::sea_query::{Alias, Expr, PostgresQueryBuilder, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use super::cascades::{self, Change, Reached};
use super::catalogue::{Catalogue, TableFacts};
use super::images::{Image, current, entries, finds, key, without_columns};
use super::plan::Step;
use super::refusal::{VARIES, in_between, moved, refused};
use super::request::{Answer, Ask, Request};
use super::sql::{Assignment, Conflict, Delete, Insert, Output, Returning, Source, Target, Update, What};
use super::text::{Text, alias, quote, table};
use super::work::Work;
use crate::Audit;
use crate::db_error::{describe, is_retryable};
use crate::registry::{Audited, Row};
use crate::store::to_db_err;

mod entry;
mod one_trip;
mod rendering;
mod suspicion;

use one_trip::{OneTrip, Ready};

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
        let finds = finds(audited, images.iter().filter_map(|image| image.new.as_ref()));
        let mut now = current(work.db, audited, finds).await?;
        for image in &mut images {
            let Some(new) = &image.new else { continue };
            let found = now.remove(&key(audited, &**new));
            if found.is_none() && facts.after_triggers {
                return Err(refused(&audited.policy.table, GONE));
            }
            image.new = found;
        }
    }
    if facts.triggers {
        // Rows that triggers have put back, and those that they have left out of the statement.
        let gone = |image: &&mut Image| image.new.is_none();
        let back = finds(
            audited,
            images.iter().filter(|image| image.new.is_none()).filter_map(|image| image.old.as_ref()),
        );
        let mut now = current(work.db, audited, back).await?;
        for image in images.iter_mut().filter(gone) {
            image.new = image.old.as_ref().and_then(|old| now.remove(&key(audited, &**old)));
        }
        let mut now = current(work.db, audited, finds(audited, &left)).await?;
        for old in left {
            let new = now.remove(&key(audited, &*old));
            images.push(Image::new(audited, Some(old), new));
        }
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

/// Whether a function that may say something else each time chooses the rows.
pub(super) fn chooses_by_volatile(step: &Step, sql: &str, catalogue: &Catalogue) -> bool {
    let pieces = match &step.parsed.what {
        What::Update(update) => [&update.from, &update.condition],
        What::Delete(delete) => [&delete.using, &delete.condition],
        _ => return false,
    };
    let pieces = pieces.into_iter().flatten();
    let texts: Vec<String> =
        pieces.map(|range| sql.get(range.clone()).unwrap_or_default().to_lowercase()).collect();
    let names = |text: &str, name: &str| {
        // With escapes for letters a name isn't seen.
        text.contains("u&")
            || text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').any(|word| word == name)
    };
    let called = step.parsed.functions.iter().map(|name| name.rsplit('.').next().unwrap_or(name));
    called.filter(|name| catalogue.varies(name)).any(|name| texts.iter().any(|text| names(text, name)))
}

async fn read(work: &Work<'_>, audited: &Audited, text: &Text, values: &[Value]) -> Result<Vec<Row>, DbErr> {
    let rows = work.db.query_all_raw(text.with(values, &[])).await?;
    rows.iter().map(|row| audited.decode(row, OLD)).collect()
}

/// Prefixes of the columns of images.
const OLD: &str = "o.";
const NEW: &str = "n.";
/// Whether an upsert made the row.
const MADE: &str = "audit_made";

/// A user's statement that also says what it changed.
#[derive(Debug)]
pub(super) struct Rewritten {
    /// The same, if the statement can write its entries as well.
    one_trip: Option<OneTrip>,
    text: Text,
    old: bool,
    new: bool,
    /// Reads and locks the rows that it will change.
    before: Option<Text>,
    /// What it does to them.
    change: Option<Change>,
    /// Reads and locks the rows that an upsert may update.
    conflicting: Option<Text>,
    /// Whether an upsert's rows say whether it made them.
    tells_made: bool,
}

impl Rewritten {
    /// The rewritten form of a plan's statement; made once.
    fn of<'a>(
        step: &'a Step,
        sql: &str,
        audited: &Audited,
        facts: &TableFacts,
        catalogue: &Catalogue,
    ) -> Result<&'a Self, &'a str> {
        let rewritten = step.rewritten.get_or_init(|| {
            let piece = Pieces { step, sql, audited, facts, catalogue };
            piece.check()?;
            let mut rewritten = match &step.parsed.what {
                What::Insert(insert) => piece.insert(insert),
                What::Update(update) => piece.update(update),
                What::Delete(delete) => piece.delete(delete),
                _ => Err("it is none that can be rewritten".into()),
            }?;
            let reaches =
                rewritten.change.as_ref().is_some_and(|change| cascades::any(catalogue, &facts.id, change));
            if reaches {
                rewritten.one_trip = None;
            }
            // Before the statement, or for the rows before it and for itself.
            let twice = reaches || matches!(&step.parsed.what, What::Update(update) if update.from.is_some());
            if twice && chooses_by_volatile(step, sql, catalogue) {
                return Err(VARIES.into());
            }
            Ok(rewritten)
        });
        rewritten.as_ref().map_err(String::as_str)
    }

    /// The rows as they were and are, and those known before that the statement doesn't tell of.
    fn images(
        &self,
        audited: &Arc<Audited>,
        rows: &[QueryResult],
        known: Vec<Row>,
    ) -> Result<(Vec<Image>, Vec<Row>), DbErr> {
        let mut known: HashMap<String, Row> =
            known.into_iter().map(|row| (key(audited, &*row), row)).collect();
        let mut images = Vec::with_capacity(rows.len());
        for row in rows {
            let mut old = if self.old { Some(audited.decode(row, OLD)?) } else { None };
            let new = if self.new { Some(audited.decode(row, NEW)?) } else { None };
            if self.conflicting.is_some()
                && let Some(new) = &new
            {
                old = known.remove(&key(audited, &**new));
                if self.tells_made && old.is_none() && !row.try_get::<bool>("", MADE)? {
                    // Somebody inserted it after the look at what is there.
                    return Err(in_between(&audited.policy.resource));
                }
            }
            if let Some(old) = &old {
                known.remove(&key(audited, &**old));
            }
            images.push(Image::new(audited, old, new));
        }
        let mut left: Vec<(String, Row)> = known.into_iter().collect();
        left.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
        Ok((images, left.into_iter().map(|(_, row)| row).collect()))
    }
}

/// What a rewritten statement is made of.
#[derive(Clone, Copy)]
struct Pieces<'a> {
    step: &'a Step,
    sql: &'a str,
    audited: &'a Audited,
    facts: &'a TableFacts,
    catalogue: &'a Catalogue,
}

impl Pieces<'_> {
    /// Refuses what can't be a part of a `WITH` with further parts.
    fn check(self) -> Result<(), String> {
        if self.facts.ruled {
            return Err("a rule of the table rewrites what is written to it; use a trigger".into());
        }
        let (target, with) = match &self.step.parsed.what {
            What::Insert(insert) => (&insert.target, &insert.with),
            What::Update(update) => (&update.target, &update.with),
            What::Delete(delete) => (&delete.target, &delete.with),
            _ => return Ok(()),
        };
        let hides = |with: &super::sql::With| with.names.contains(&target.name.name);
        if target.name.schema.is_none() && with.as_ref().is_some_and(hides) {
            return Err("a part of its WITH has the name of the table; give it another".into());
        }
        Ok(())
    }

    /// Whether a function of the statement's that may say something else each time stands in this piece of it.
    fn calls(self, text: &str) -> bool {
        let text = text.to_lowercase();
        let called = self.step.parsed.functions.iter().map(|name| name.rsplit('.').next().unwrap_or(name));
        called.into_iter().any(|name| self.catalogue.varies(name) && text.contains(name))
    }

    /// Whether an expression calls a function that may say something else each time.
    fn varies(self, text: &str) -> bool {
        let mut before = text.split('(');
        // What is behind the last bracket isn't called.
        _ = before.next_back();
        let called = before.filter_map(|text| {
            let text = text.trim_end().trim_end_matches('"');
            text.rsplit(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').next()
        });
        called.into_iter().any(|name| self.catalogue.varies(name))
    }

    fn insert(self, insert: &Insert) -> Result<Rewritten, String> {
        let parsed = &self.step.parsed;
        let body = insert.body.start..end_of_body(&insert.body, insert.returning.as_ref());
        let alias = alias(BACKEND, self.sql, &insert.target);
        let conflicting = match &insert.conflict {
            // A trigger before it may change or replace the row that is there.
            Conflict::None | Conflict::Nothing if self.facts.before_triggers => {
                let fields = self.audited.policy.fields.iter().filter(|field| field.key);
                let columns: Vec<String> = fields.map(|field| field.column.clone()).collect();
                self.conflicting(insert, &columns, &alias).ok()
            }
            Conflict::None | Conflict::Nothing => None,
            Conflict::Update { columns, assigned, .. } => {
                let is_key = |column: &String| {
                    self.audited.policy.fields.iter().any(|field| field.key && field.column == *column)
                };
                // `SET id = excluded.id`, where `id` is what the conflict is about, changes nothing.
                let itself = |assignment: &Assignment| {
                    let text =
                        assignment.value.clone().and_then(|value| self.sql.get(value)).unwrap_or_default();
                    let text = text.replace('"', "").to_lowercase();
                    columns.contains(&assignment.column)
                        && text.trim() == format!("excluded.{}", assignment.column.to_lowercase())
                };
                if let Some(moved) = assigned.iter().find(|a| is_key(&a.column) && !itself(a)) {
                    return Err(format!(
                        "its ON CONFLICT sets the key column `{}`; leave it out",
                        moved.column
                    ));
                }
                Some(self.conflicting(insert, columns, &alias)?)
            }
            Conflict::Replace | Conflict::Abort => return Err("it isn't PostgreSQL's".into()),
        };
        let mut text = Text::new(BACKEND);
        self.with(&mut text, insert.with.as_ref());
        text.push("audit_n AS (").piece(self.sql, parsed, &body).push(" RETURNING ");
        self.image(&mut text, &alias, NEW);
        let tells_made = matches!(insert.conflict, Conflict::Update { .. }) && !self.facts.partitioned;
        if tells_made {
            text.push(", (").push(&alias).push(".xmax = 0) AS ").push(MADE);
        }
        let items = self.items(insert.returning.as_ref(), &insert.target)?;
        self.finish(&mut text, &items, [false, true], tells_made);
        let one_trip = if conflicting.is_none() { OneTrip::of(self) } else { None };
        let change = match &insert.conflict {
            Conflict::Update { assigned, .. } => {
                Some(Change::Updated(assigned.iter().map(|assignment| assignment.column.clone()).collect()))
            }
            _ => None,
        };
        Ok(Rewritten { one_trip, text, old: false, new: true, before: None, change, conflicting, tells_made })
    }

    fn update(self, update: &Update) -> Result<Rewritten, String> {
        let parsed = &self.step.parsed;
        if update.tail.is_some() {
            return Err("ORDER BY or LIMIT in an UPDATE isn't PostgreSQL's".into());
        }
        let alias = alias(BACKEND, self.sql, &update.target);
        let assigned: Vec<String> =
            update.assigned.iter().map(|assignment| assignment.column.clone()).collect();
        let mut before = Text::new(BACKEND);
        self.old_rows(&mut before, update, &alias, &assigned);
        let mut text = Text::new(BACKEND);
        self.with(&mut text, update.with.as_ref());
        text.push("audit_o AS (");
        self.old_rows(&mut text, update, &alias, &assigned);
        text.push("), audit_n AS (UPDATE ").push(&table(BACKEND, self.sql, &update.target)).push(" SET ");
        text.piece(self.sql, parsed, &update.set).push(" FROM ");
        if let Some(from) = &update.from {
            text.piece(self.sql, parsed, from).push(", ");
        }
        text.push("audit_o WHERE ");
        if update.from.is_some()
            && let Some(condition) = &update.condition
        {
            text.push("(").piece(self.sql, parsed, condition).push(") AND ");
        }
        text.push(&self.same_key(&alias)).push(" RETURNING ");
        self.image(&mut text, &alias, NEW);
        for field in &self.audited.policy.fields {
            text.push(", audit_o.").push(&quote(BACKEND, &format!("{OLD}{}", field.column)));
        }
        let items = self.items(update.returning.as_ref(), &update.target)?;
        self.finish(&mut text, &items, [true, true], false);
        self.none_missed(&mut text, update, None);
        Ok(Rewritten {
            one_trip: OneTrip::of(self),
            text,
            old: true,
            new: true,
            before: update.with.is_none().then_some(before),
            change: Some(Change::Updated(assigned)),
            conflicting: None,
            tells_made: false,
        })
    }

    fn delete(self, delete: &Delete) -> Result<Rewritten, String> {
        let parsed = &self.step.parsed;
        if delete.tail.is_some() {
            return Err("ORDER BY or LIMIT in a DELETE isn't PostgreSQL's".into());
        }
        let alias = alias(BACKEND, self.sql, &delete.target);
        let mut before = Text::new(BACKEND);
        before.push("SELECT ");
        self.image(&mut before, &alias, OLD);
        self.rows_of_delete(&mut before, delete, &alias);
        let body = delete.body.start..end_of_body(&delete.body, delete.returning.as_ref());
        let mut text = Text::new(BACKEND);
        self.with(&mut text, delete.with.as_ref());
        text.push("audit_n AS (").piece(self.sql, parsed, &body).push(" RETURNING ");
        self.image(&mut text, &alias, OLD);
        let items = self.items(delete.returning.as_ref(), &delete.target)?;
        self.finish(&mut text, &items, [true, false], false);
        Ok(Rewritten {
            one_trip: OneTrip::of(self),
            text,
            old: true,
            new: false,
            before: delete.with.is_none().then_some(before),
            change: Some(Change::Deleted),
            conflicting: None,
            tells_made: false,
        })
    }

    /// The columns by which a row is found in `audit_o` again. Tables that inherit from the entity's have keys of their
    /// own, which may be those of its rows.
    fn keys(self, alias: &str) -> Vec<String> {
        let keys = || self.audited.policy.fields.iter().filter(|field| field.key);
        let mut columns: Vec<String> =
            keys().map(|field| format!("{alias}.{}", quote(BACKEND, &field.column))).collect();
        let sure = |key: &Vec<String>| key.iter().all(|column| keys().any(|field| field.column == *column));
        if !self.facts.row_keys.iter().any(sure) {
            columns.push(format!("{alias}.tableoid"));
        }
        columns
    }

    /// They, as `audit_o` has them.
    fn key_columns(self, alias: &str) -> String {
        let column = |(at, column)| format!("{column} AS audit_k{at}");
        self.keys(alias).into_iter().enumerate().map(column).collect::<Vec<_>>().join(", ")
    }

    /// That a row is one of those in `audit_o`.
    fn same_key(self, alias: &str) -> String {
        let equal = |(at, column)| format!("{column} = audit_o.audit_k{at}");
        self.keys(alias).into_iter().enumerate().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// That the statement has changed each row that it had locked. One that it had to wait for may have got another key
    /// meanwhile, by which its snapshot doesn't find it. `unless`: then it was to change nothing.
    fn none_missed(self, text: &mut Text, update: &Update, unless: Option<&str>) {
        let found = if self.facts.leaves_out
            || (update.from.is_some() && !self.step.parsed.functions.is_empty())
        {
            // Some may be left out rightly: only those count that can't be found by their keys.
            let table = table(BACKEND, self.sql, &update.target);
            let same = self.same_key(&alias(BACKEND, self.sql, &update.target));
            format!("NOT EXISTS (SELECT FROM audit_o WHERE NOT EXISTS (SELECT FROM {table} WHERE {same}))")
        } else {
            let locked = match update.from {
                // A row may be joined to several.
                Some(_) => {
                    let keys = (0..self.keys("").len()).map(|at| format!("audit_k{at}")).collect::<Vec<_>>();
                    format!("(SELECT DISTINCT {} FROM audit_o) AS audit_d", keys.join(", "))
                }
                None => "audit_o".to_owned(),
            };
            format!("(SELECT count(*) FROM {locked}) = (SELECT count(*) FROM audit_n)")
        };
        text.push(" WHERE CASE WHEN ").push(&found);
        if let Some(unless) = unless {
            text.push(" OR ").push(unless);
        }
        // Nothing that the database could work out beforehand.
        text.push(" THEN TRUE ELSE CAST((SELECT '").push(MOVED);
        text.push(" ' || count(*) FROM audit_n) AS boolean) END");
    }

    /// `FROM` and so on for the rows that a DELETE will delete, with locks.
    fn rows_of_delete(self, text: &mut Text, delete: &Delete, alias: &str) {
        let parsed = &self.step.parsed;
        text.push(" FROM ").push(&table(BACKEND, self.sql, &delete.target));
        if let Some(using) = &delete.using {
            text.push(", ").piece(self.sql, parsed, using);
        }
        if let Some(condition) = &delete.condition {
            text.push(" WHERE ").piece(self.sql, parsed, condition);
        }
        text.push(" FOR UPDATE OF ").push(alias);
    }

    /// Locks and reads the rows that an UPDATE will change.
    fn old_rows(self, text: &mut Text, update: &Update, alias: &str, assigned: &[String]) {
        text.push("SELECT ");
        self.image(text, alias, OLD);
        text.push(", ").push(&self.key_columns(alias));
        self.rows_of_update(text, update, alias, assigned);
    }

    /// `FROM` and so on for the rows that an UPDATE will change, with locks.
    fn rows_of_update(self, text: &mut Text, update: &Update, alias: &str, assigned: &[String]) {
        let parsed = &self.step.parsed;
        text.push(" FROM ").push(&table(BACKEND, self.sql, &update.target));
        if let Some(from) = &update.from {
            text.push(", ").piece(self.sql, parsed, from);
        }
        if let Some(condition) = &update.condition {
            text.push(" WHERE ").piece(self.sql, parsed, condition);
        }
        // The lock that the UPDATE takes by itself: a stronger one would make the foreign-key checks of others wait.
        let keyed = self.facts.unique.iter().flatten().any(|column| assigned.contains(column));
        text.push(if keyed { " FOR UPDATE OF " } else { " FOR NO KEY UPDATE OF " }).push(alias);
    }

    /// Locks and reads the rows that an upsert may update: those with the conflict key of a proposed row.
    fn conflicting(self, insert: &Insert, columns: &[String], alias: &str) -> Result<Text, String> {
        let parsed = &self.step.parsed;
        if columns.is_empty() {
            return Err(
                "its ON CONFLICT names a constraint or an expression; name the columns of the key".into()
            );
        }
        let names: Vec<String> = match &insert.columns {
            Some(names) => names.clone(),
            None => self.facts.columns.iter().map(|column| column.name.clone()).collect(),
        };
        let positions: Vec<Option<usize>> =
            columns.iter().map(|column| names.iter().position(|name| name == column)).collect();
        // What a column is given that the statement leaves out; `None` if no row can have it already, or else the race is found out
        // afterwards: a number from a sequence, say.
        let default = |column: &String| {
            let facts = self.facts.columns.iter().find(|facts| facts.name == *column)?;
            facts.default.as_deref().filter(|default| !self.varies(default))
        };
        let generated = |name: &&String| self.facts.columns.iter().any(|c| c.generated && c.name == **name);
        if let Some(name) = columns.iter().find(generated) {
            return Err(format!(
                "its ON CONFLICT names `{name}`, which the database generates; UPDATE such rows instead"
            ));
        }
        let mut text = Text::new(BACKEND);
        if let Some(with) = &insert.with {
            text.push(if with.recursive { "WITH RECURSIVE " } else { "WITH " });
            text.piece(self.sql, parsed, &with.text).push(" ");
        }
        text.push("SELECT ");
        self.image(&mut text, alias, OLD);
        text.push(" FROM ").push(&table(BACKEND, self.sql, &insert.target)).push(" WHERE ");
        let column = |name: &String| format!("{alias}.{}", quote(BACKEND, name));
        match &insert.source {
            Source::Default => _ = text.push("FALSE"),
            Source::Values(rows) => {
                let mut any = false;
                for row in rows {
                    let mut parts = Vec::with_capacity(columns.len());
                    for (name, position) in columns.iter().zip(&positions) {
                        let value = match position {
                            Some(at) => Some(row.get(*at).ok_or("its rows have different lengths")?),
                            None => None,
                        };
                        let given = value.and_then(|value| self.sql.get(value.clone())).unwrap_or("default");
                        if self.varies(given) && self.calls(given) {
                            return Err(format!(
                                "the value of its key column `{name}` is another one each time; ask for it before, and pass it"
                            ));
                        }
                        match value {
                            _ if given.trim().eq_ignore_ascii_case("default") => {
                                parts.extend(default(name).map(|default| (name, None, default)));
                            }
                            value => parts.push((name, value, given)),
                        }
                    }
                    if parts.len() < columns.len() {
                        continue;
                    }
                    text.push(if any { ") OR (" } else { "(" });
                    any = true;
                    for (at, (name, value, given)) in parts.into_iter().enumerate() {
                        text.push(if at == 0 { "" } else { " AND " }).push(&column(name)).push(" = ");
                        match value {
                            Some(value) => _ = text.piece(self.sql, parsed, value),
                            None => _ = text.push(given),
                        }
                    }
                }
                text.push(if any { ")" } else { "FALSE" });
            }
            Source::Query(_) if positions.iter().any(Option::is_none) => _ = text.push("FALSE"),
            Source::Query(query) => {
                let list = |of: &str| -> String {
                    let names: Vec<String> =
                        columns.iter().map(|name| format!("{of}.{}", quote(BACKEND, name))).collect();
                    names.join(", ")
                };
                text.push("(")
                    .push(&list(alias))
                    .push(") IN (SELECT ")
                    .push(&list("audit_p"))
                    .push(" FROM (");
                text.piece(self.sql, parsed, query).push(") AS audit_p (");
                let all: Vec<String> = names.iter().map(|name| quote(BACKEND, name)).collect();
                text.push(&all.join(", ")).push("))");
            }
        }
        text.push(" FOR UPDATE OF ").push(alias);
        Ok(text)
    }

    fn with(self, text: &mut Text, with: Option<&super::sql::With>) {
        match with {
            None => _ = text.push("WITH "),
            Some(with) => {
                text.push(if with.recursive { "WITH RECURSIVE " } else { "WITH " });
                text.piece(self.sql, &self.step.parsed, &with.text).push(", ");
            }
        }
    }

    /// The entity's columns of a row, as SeaORM reads them, named behind a prefix.
    fn image(self, text: &mut Text, alias: &str, prefix: &str) {
        let source = |column: &str| Expr::col((Alias::new("audit_alias"), Alias::new(column)));
        for (at, (column, expr)) in self.audited.select(&source).into_iter().enumerate() {
            let expr = Query::select().expr(expr).to_string(PostgresQueryBuilder);
            let expr = expr.trim_start_matches("SELECT ").replace("\"audit_alias\".", &format!("{alias}."));
            let name = quote(BACKEND, &format!("{prefix}{column}"));
            text.push(&format!("{}{expr} AS {name}", if at == 0 { "" } else { ", " }));
        }
    }

    /// What the user's RETURNING asks for: expressions with the names of their columns.
    fn items(self, returning: Option<&Returning>, target: &Target) -> Result<Vec<Item>, String> {
        let joined = match &self.step.parsed.what {
            What::Update(update) => update.from.is_some(),
            What::Delete(delete) => delete.using.is_some(),
            _ => false,
        };
        let mut items = Vec::new();
        let alias = alias(BACKEND, self.sql, target);
        for item in returning.iter().flat_map(|returning| &returning.items) {
            let all = match &item.output {
                Output::Named(name) => {
                    items.push(Item { source: ItemSource::Piece(item.text.clone()), name: name.clone() });
                    continue;
                }
                // It would have the columns of the other tables as well.
                Output::All => !joined,
                Output::AllOf(of) => quote(BACKEND, of) == alias || *of == alias,
                Output::Unknown => false,
            };
            if !all {
                return Err("its RETURNING has columns whose names aren't known here; list them, and name expressions by AS".into());
            }
            for column in &self.facts.columns {
                let source = ItemSource::Text(format!("{alias}.{}", quote(BACKEND, &column.name)));
                items.push(Item { source, name: column.name.clone() });
            }
        }
        Ok(items)
    }

    /// The part of a RETURNING that is the user's.
    fn returned(self, text: &mut Text, items: &[Item]) {
        for (at, item) in items.iter().enumerate() {
            text.push(", ");
            match &item.source {
                ItemSource::Piece(range) => _ = text.piece(self.sql, &self.step.parsed, range),
                ItemSource::Text(source) => _ = text.push(source),
            }
            text.push(&format!(" AS audit_r{at}"));
        }
    }

    /// Selects what is the user's.
    fn select(self, text: &mut Text, items: &[Item]) {
        let column = |(at, item): (usize, &Item)| format!("audit_r{at} AS {}", quote(BACKEND, &item.name));
        let columns: Vec<String> = items.iter().enumerate().map(column).collect();
        text.push("SELECT ").push(&columns.join(", ")).push(" FROM audit_n");
    }

    fn finish(self, text: &mut Text, items: &[Item], [old, new]: [bool; 2], upsert: bool) {
        self.returned(text, items);
        text.push(") SELECT ");
        let mut columns: Vec<String> = items
            .iter()
            .enumerate()
            .map(|(at, item)| format!("audit_r{at} AS {}", quote(BACKEND, &item.name)))
            .collect();
        for (there, prefix) in [(old, OLD), (new, NEW)] {
            if there {
                let fields = &self.audited.policy.fields;
                columns.extend(fields.iter().map(|f| quote(BACKEND, &format!("{prefix}{}", f.column))));
            }
        }
        if upsert {
            columns.push(MADE.to_owned());
        }
        text.push(&columns.join(", ")).push(" FROM audit_n");
    }
}

/// A column that the user asked for.
struct Item {
    source: ItemSource,
    name: String,
}

enum ItemSource {
    Piece(std::ops::Range<usize>),
    Text(String),
}

fn end_of_body(body: &std::ops::Range<usize>, returning: Option<&Returning>) -> usize {
    returning.map_or(body.end, |returning| returning.clause.start)
}
