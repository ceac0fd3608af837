//! Capture on MySQL and MariaDB: the rows are read before and after the statement, which itself runs unchanged.
//!
//! There is no RETURNING that all of them have. The rows that an UPDATE or DELETE will change are selected by its own
//! condition, with locks, those of a join by the same join; what an INSERT made is found by its keys. Under
//! REPEATABLE READ, the default, the locks also cover the gaps, so that no row can come in between; under weaker levels
//! the number of affected rows tells. A statement with a LIMIT is held to the rows that were found. What a sub-select
//! reads is locked under SERIALIZABLE only, which a statement that stands alone is given.

mod inserted;
mod literal;
mod outcome;
mod pinned;
mod rekeyed;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use sea_orm::sea_query::{Alias, Expr, MysqlQueryBuilder, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, IsolationLevel, QueryResult, Statement, Value};

use self::inserted::Sought;
use self::outcome::{DIGEST, NOT_FOUND, Outcome};
pub(super) use self::pinned::is_limit;
use super::cascades::{self, Change, Reached};
use super::catalogue::TableFacts;
use super::images::{Image, current, entries, finds, key, without_columns};
use super::plan::Step;
use super::refusal::VARIES;
use super::request::{Answer, Ask, Request, send};
use super::sql::{Conflict, Delete, Insert, Source, Update, What};
use super::text::{Text, alias, quote, table};
use super::work::Work;
use crate::registry::{Audited, Row};

const BACKEND: DbBackend = DbBackend::MySql;

/// Runs a statement and records what it changed.
pub(super) async fn run(
    work: &Work<'_>,
    step: &Step,
    sql: &str,
    request: Request<'_>,
    ask: Ask,
) -> Result<Answer, DbErr> {
    let known = super::indirect::known(work.catalogue, step);
    let returns = match &step.parsed.what {
        What::Insert(insert) => known.is_some() && insert.returning.is_some(),
        What::Delete(delete) => delete.returning.is_some(),
        _ => false,
    };
    // What a statement with RETURNING has changed only its rows say, also to one who doesn't want them.
    let unwanted = returns && ask == Ask::Execute;
    let (request, ask) = match request {
        Request::Unprepared(sql) if unwanted => {
            (Request::Prepared(Statement::from_string(BACKEND, sql.into_owned())), Ask::All)
        }
        request if unwanted => (request, Ask::All),
        request => (request, ask),
    };
    let stopped = asks_clock(step, sql) && !is_stopped(work).await?;
    if stopped {
        work.db.execute_unprepared("SET timestamp = unix_timestamp(now(6))").await?;
    }
    let values = request.values().to_vec();
    let look = known.map(|(audited, facts)| Look { work, step, sql, audited, facts, values });
    let answer = match (&step.parsed.what, look) {
        (_, None) => super::indirect::run(work, step, sql, request, ask).await,
        (What::Insert(insert), Some(look)) => look.insert(insert, request, ask).await,
        (What::Update(update), Some(look)) => look.update(update, request, ask).await,
        (What::Delete(delete), Some(look)) => look.delete(delete, request, ask).await,
        (_, Some(look)) => Err(look.refused("it is neither INSERT, UPDATE nor DELETE")),
    };
    if stopped {
        // If the connection is lost, so is its clock.
        _ = work.db.execute_unprepared("SET timestamp = DEFAULT").await;
    }
    let answer = answer?;
    if unwanted {
        // Which says as little as the driver does of such a statement.
        return work.db.execute_unprepared("DO 0").await.map(Answer::Executed);
    }
    Ok(answer)
}

/// Whether rows are chosen by the time: then the session's clock is stopped, so that it says the same to the read of the rows and
/// to the statement.
fn asks_clock(step: &Step, sql: &str) -> bool {
    const CLOCK: [&str; 12] = [
        "now",
        "current_timestamp",
        "current_date",
        "current_time",
        "curdate",
        "curtime",
        "localtime",
        "localtimestamp",
        "utc_date",
        "utc_time",
        "utc_timestamp",
        "unix_timestamp",
    ];
    let pieces = match &step.parsed.what {
        What::Update(update) => [&update.condition, &update.tail, &update.join],
        What::Delete(delete) => [&delete.condition, &delete.tail, &delete.join],
        _ => return false,
    };
    pieces.into_iter().flatten().any(|range| {
        let text = sql.get(range.clone()).unwrap_or_default().to_ascii_lowercase();
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| CLOCK.contains(&word))
    })
}

/// Whether the user has stopped the session's clock: then it says the same twice, to the microsecond.
async fn is_stopped(work: &Work<'_>) -> Result<bool, DbErr> {
    let mut said: [Option<String>; 2] = [None, None];
    for said in &mut said {
        let ask = Statement::from_string(BACKEND, "SELECT CAST(@@timestamp AS CHAR)");
        *said = work.db.query_one_raw(ask).await?.map(|row| row.try_get_by_index(0)).transpose()?;
    }
    let [first, second] = said;
    Ok(first == second)
}

/// A condition that says something else when it is evaluated again, or that reads what the lock doesn't cover, can't
/// be asked for before.
pub(super) async fn check_condition(
    work: &Work<'_>,
    step: &Step,
    refused: impl Fn(&str) -> DbErr + Send + Sync,
    pieces: [&Option<Range<usize>>; 3],
) -> Result<(), DbErr> {
    const VARYING: [&str; 21] = [
        "rand",
        "uuid",
        "uuid_short",
        "uuid_v4",
        "uuid_v7",
        "sleep",
        "random_bytes",
        "nextval",
        "lastval",
        "setval",
        "sys_guid",
        "sysdate",
        "found_rows",
        "row_count",
        "benchmark",
        "encrypt",
        "get_lock",
        "is_free_lock",
        "is_used_lock",
        "release_lock",
        "release_all_locks",
    ];
    let called = step.parsed.functions.iter().map(|name| name.rsplit('.').next().unwrap_or(name));
    if called.clone().any(|name| VARYING.contains(&name)) {
        return Err(refused(VARIES));
    }
    if called.clone().any(|name| work.catalogue.computes(name)) {
        let reason = "it calls a stored function, which may read what no lock covers; pass its value";
        return Err(refused(reason));
    }
    if !work.alone && step.chooses_by_others() {
        if step.parsed.reads.iter().any(|table| work.catalogue.computes(&table.name)) {
            let reason = "a view in it may show an older state than the statement itself sees; run it without a transaction";
            return Err(refused(reason));
        }
        if is_weak(work).await? {
            let reason = "at this isolation other rows may become those that it chooses; run it without a transaction, or from REPEATABLE READ on";
            return Err(refused(reason));
        }
    }
    for range in pieces.into_iter().flatten() {
        let within = |places: &[usize]| places.iter().any(|at| range.contains(at));
        if within(&step.parsed.variables) {
            return Err(refused("its condition has a variable; pass the value"));
        }
        if !work.alone && within(&step.parsed.queries) {
            let reason = "a sub-select in its condition may see an older state than the statement itself; ask for the keys first, with a lock, or run it without a transaction";
            return Err(refused(reason));
        }
    }
    Ok(())
}

/// Whether the user's transaction lets rows come in between those that it has read: as it was begun, or else as the session begins
/// them.
async fn is_weak(work: &Work<'_>) -> Result<bool, DbErr> {
    if let Some(isolation) = work.state.isolation() {
        return Ok(matches!(isolation, IsolationLevel::ReadCommitted | IsolationLevel::ReadUncommitted));
    }
    // It has either name, by the server and its version.
    let sql = "SHOW SESSION VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')";
    let rows = work.db.query_all_raw(Statement::from_string(BACKEND, sql)).await?;
    for row in &rows {
        if row.try_get_by_index::<String>(1)?.starts_with("READ") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A statement and what has to be known to look at its rows.
struct Look<'a> {
    work: &'a Work<'a>,
    step: &'a Step,
    sql: &'a str,
    audited: &'a Arc<Audited>,
    facts: &'a TableFacts,
    values: Vec<Value>,
}

impl Look<'_> {
    async fn update(&self, update: &Update, request: Request<'_>, ask: Ask) -> Result<Answer, DbErr> {
        if update.from.is_some() || update.with.is_some() {
            return Err(self.refused("it selects its rows by WITH or FROM"));
        }
        if update.join.is_some() && update.tail.is_some() {
            return Err(self.refused("which rows of a join come first isn't said"));
        }
        if update.or != Conflict::None {
            return Err(self.refused("IGNORE leaves out rows without saying which"));
        }
        self.check_triggers(&self.facts.set_by_update)?;
        self.check_condition([&update.condition, &update.tail, &update.join]).await?;
        let alias = alias(BACKEND, self.sql, &update.target);
        let assigned: Vec<String> = update.assigned.iter().map(|a| a.column.clone()).collect();
        let rekeyed = self.rekeyed(update);
        if update.join.is_some() && !rekeyed.is_empty() {
            // A row may be met several times, each with another value.
            return Err(self.refused("it sets the key of rows of a join"));
        }
        let twice = self.keys().find(|column| {
            update.assigned.iter().filter(|a| a.column.eq_ignore_ascii_case(column)).count() > 1
        });
        if let Some(column) = twice {
            return Err(
                self.refused(&format!("it sets its key column `{column}` more than once; set it once"))
            );
        }
        let mut text = self.select(&alias, update.join.is_some());
        for (at, (_, value)) in rekeyed.iter().enumerate() {
            let Some(value) = value else { return Err(self.refused("it sets its key to a row of values")) };
            if update.assigned.len() > 1 && self.is_computed(value) {
                // Assignments are made from left to right, and each sees those before it.
                return Err(self.refused("it computes its key along with other columns; pass the new key"));
            }
            text.push(", CAST(")
                .piece(self.sql, &self.step.parsed, value)
                .push(&format!(" AS CHAR) AS audit_k{at}"));
        }
        text.push(" FROM ").push(&table(BACKEND, self.sql, &update.target));
        self.join(&mut text, update.join.as_ref());
        self.restrict(&mut text, update.condition.as_ref(), update.tail.as_ref());
        let found = self.work.db.query_all_raw(text.with(&self.values, &[])).await?;
        let mut old = Vec::with_capacity(found.len());
        let mut moved = Vec::new();
        for row in &found {
            let decoded = self.audited.decode(row, "")?;
            if !rekeyed.is_empty() {
                moved.push((key(self.audited, &*decoded), self.moved(row, &decoded, &rekeyed)?));
            }
            old.push(decoded);
        }
        drop(found);
        let reached = self.reached(finds(self.audited, &old), Change::Updated(assigned)).await?;
        let again = if rekeyed.is_empty() { finds(self.audited, &old) } else { Vec::new() };
        let request = self.pinned(request, &alias, update.condition.as_ref(), update.tail.as_ref(), &old)?;

        self.work.state.begin_write(&self.work.context);
        let answer = self.send(request, ask).await?;
        self.check(&answer, old.len())?;
        let mut images = Vec::with_capacity(old.len());
        let mut now = current(self.work.db, self.audited, again).await?;
        for (key, find) in moved {
            if let Some(row) = self.work.db.query_one_raw(find).await? {
                now.insert(key, self.audited.decode(&row, "")?);
            }
        }
        for old in old {
            let Some(new) = now.remove(&key(self.audited, &*old)) else {
                return Err(self.refused("a row isn't found again under its key; does a trigger change it?"));
            };
            images.push(Image::new(self.audited, Some(old), Some(new)));
        }
        self.record(images, reached).await?;
        Ok(answer)
    }

    async fn delete(&self, delete: &Delete, request: Request<'_>, ask: Ask) -> Result<Answer, DbErr> {
        if delete.using.is_some() || delete.with.is_some() {
            return Err(self.refused("it selects its rows by WITH or USING"));
        }
        if delete.or != Conflict::None {
            return Err(self.refused("IGNORE leaves out rows without saying which"));
        }
        self.check_condition([&delete.condition, &delete.tail, &delete.join]).await?;
        let alias = alias(BACKEND, self.sql, &delete.target);
        let mut text = self.select(&alias, delete.join.is_some());
        text.push(" FROM ").push(&table(BACKEND, self.sql, &delete.target));
        self.join(&mut text, delete.join.as_ref());
        self.restrict(&mut text, delete.condition.as_ref(), delete.tail.as_ref());
        let old = self.rows(&text).await?;
        let reached = self.reached(finds(self.audited, &old), Change::Deleted).await?;
        let request = self.pinned(request, &alias, delete.condition.as_ref(), delete.tail.as_ref(), &old)?;

        self.work.state.begin_write(&self.work.context);
        let answer = self.send(request, ask).await?;
        // Rows that foreign keys to the table itself have deleted before don't count as affected.
        let fewer = !cascades::any(self.work.catalogue, &self.facts.id, &Change::Deleted);
        if matches!(&answer, Answer::Executed(result) if fewer && result.rows_affected() < old.len() as u64) {
            return Err(self.in_between());
        }
        self.check(&answer, old.len())?;
        let images = old.into_iter().map(|old| Image::new(self.audited, Some(old), None)).collect();
        self.record(images, reached).await?;
        Ok(answer)
    }

    async fn insert(&self, insert: &Insert, request: Request<'_>, ask: Ask) -> Result<Answer, DbErr> {
        if let Conflict::Update { assigned, .. } = &insert.conflict {
            let change = Change::Updated(assigned.iter().map(|a| a.column.clone()).collect());
            if cascades::any(self.work.catalogue, &self.facts.id, &change) {
                return Err(
                    self.refused("it may change a column that foreign keys follow; UPDATE it instead")
                );
            }
            let moved = assigned.iter().find(|a| {
                let text = a.value.clone().and_then(|value| self.sql.get(value)).unwrap_or_default();
                let itself = text.trim().trim_matches('`').eq_ignore_ascii_case(&a.column);
                !itself && self.keys().any(|column| column.eq_ignore_ascii_case(&a.column))
            });
            if let Some(assignment) = moved {
                return Err(
                    self.refused(&format!("it sets the key column `{}`; leave it out", assignment.column))
                );
            }
        }
        if self.facts.prefix_keys && !matches!(insert.conflict, Conflict::None) {
            return Err(self.refused("a unique key of the table is of the beginnings of texts only"));
        }
        let sought = self.sought(insert)?;
        let plain = matches!((&insert.conflict, &sought), (Conflict::None, Sought::Keys(_)));
        if !plain {
            self.check_triggers(&self.facts.set_by_insert)?;
        }
        if matches!(insert.conflict, Conflict::Update { .. }) {
            self.check_triggers(&self.facts.set_by_update)?;
        }
        if insert.returning.is_some() {
            self.check_uncounted(insert)?;
        }
        // What is there already under one of the keys: only an upsert can meet it without an error.
        let before = match (&insert.conflict, &sought) {
            (Conflict::None, _) | (_, Sought::Numbered) => Vec::new(),
            (_, Sought::Keys(condition)) => self.digested(condition).await?,
        };
        // If a trigger may set keys, those that were given are the new rows' only if there was none under them.
        let taken = plain
            && self.check_triggers(&self.facts.set_by_insert).is_err()
            && matches!(&sought, Sought::Keys(condition) if !self.rows(condition).await?.is_empty());
        let replaced = match insert.conflict {
            Conflict::Replace => {
                let before = finds(self.audited, before.iter().map(|(row, _)| row));
                self.reached(before, Change::Deleted).await?
            }
            _ => Reached::default(),
        };

        self.work.state.begin_write(&self.work.context);
        let answer = self.send(request, ask).await?;
        let after = match &sought {
            Sought::Keys(condition) => self.digested(condition).await?,
            Sought::Numbered => {
                self.numbered(insert, &answer).await?.into_iter().map(|row| (row, None)).collect()
            }
        };
        if taken {
            self.check_triggers(&self.facts.set_by_insert)?;
        }
        let proposed = match &insert.source {
            Source::Values(rows) => rows.len(),
            Source::Default => 1,
            Source::Query(_) => 0,
        };
        if after.len() < proposed && matches!(insert.conflict, Conflict::None) {
            return Err(self.refused(NOT_FOUND));
        }
        let mut outcome = Outcome {
            proposed: proposed as u64,
            before: before.len() as u64,
            found: after.len() as u64,
            ..Outcome::default()
        };
        let mut now: HashMap<String, (Row, Option<String>)> =
            after.into_iter().map(|(row, digest)| (key(self.audited, &*row), (row, digest))).collect();
        // Rows whose keys an upsert has changed.
        let missing = before.iter().map(|(row, _)| row);
        let missing = missing.filter(|row| !now.contains_key(&key(self.audited, &***row)));
        let missing = current(self.work.db, self.audited, finds(self.audited, missing)).await?;
        now.extend(missing.into_iter().map(|(key, row)| (key, (row, None))));
        let mut images = Vec::with_capacity(now.len());
        for (old, digest) in before {
            let new = now.remove(&key(self.audited, &*old));
            outcome.left += u64::from(new.is_some());
            outcome.changed += u64::from(new.as_ref().is_some_and(|(_, new)| *new != digest));
            images.push(Image::new(self.audited, Some(old), new.map(|(new, _)| new)));
        }
        outcome.created = now.len() as u64;
        self.check_outcome(insert, &answer, outcome).await?;
        let mut created: Vec<(String, Row)> = now.into_iter().map(|(key, (row, _))| (key, row)).collect();
        created.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
        images.extend(created.into_iter().map(|(_, new)| Image::new(self.audited, None, Some(new))));
        self.record(images, replaced).await?;
        Ok(answer)
    }

    async fn check_condition(&self, pieces: [&Option<Range<usize>>; 3]) -> Result<(), DbErr> {
        check_condition(self.work, self.step, |reason| self.refused(reason), pieces).await
    }

    /// Rows whose keys a trigger sets are under others than the statement says.
    fn check_triggers(&self, set: &BTreeSet<String>) -> Result<(), DbErr> {
        match self.keys().find(|column| set.contains(&column.to_lowercase())) {
            None => Ok(()),
            Some(column) => Err(self.refused(&format!(
                "a trigger sets the key column `{column}`, so that no row is sure to be found under its key; let statements alone set it"
            ))),
        }
    }

    async fn reached(&self, old: Vec<SelectStatement>, change: Change) -> Result<Reached, DbErr> {
        if old.is_empty() || !cascades::any(self.work.catalogue, &self.facts.id, &change) {
            return Ok(Reached::default());
        }
        let (registry, origins) = (self.work.registry, without_columns(old));
        cascades::before(self.work.db, self.work.catalogue, registry, &self.facts.id, origins, &change).await
    }

    /// Sends the user's statement. If it fails nothing of it has happened.
    async fn send(&self, request: Request<'_>, ask: Ask) -> Result<Answer, DbErr> {
        // All rows, also where one is asked for: their number says how many there are.
        let ask = if ask == Ask::One { Ask::All } else { ask };
        send(self.work.db, request, ask).await.inspect_err(|_| self.work.state.end_write())
    }

    /// Rows that were changed but not read before came in between.
    fn check(&self, answer: &Answer, read: usize) -> Result<(), DbErr> {
        match answer {
            Answer::Executed(result) if result.rows_affected() > read as u64 => Err(self.in_between()),
            Answer::Rows(rows) if rows.len() > read => Err(self.in_between()),
            _ => Ok(()),
        }
    }

    fn in_between(&self) -> DbErr {
        super::refusal::in_between(&self.audited.policy.resource)
    }

    async fn record(&self, mut images: Vec<Image>, reached: Reached) -> Result<(), DbErr> {
        reached.after(self.work.db, &mut images).await?;
        self.work.label(&mut images).await?;
        let entries = entries(self.work, &images);
        drop(images);
        self.work.write(entries).await?;
        self.work.state.end_write();
        Ok(())
    }

    async fn rows(&self, text: &Text) -> Result<Vec<Row>, DbErr> {
        let rows = self.work.db.query_all_raw(text.with(&self.values, &[])).await?;
        rows.iter().map(|row| self.audited.decode(row, "")).collect()
    }

    /// Rows with their digests, if they are asked for.
    async fn digested(&self, text: &Text) -> Result<Vec<(Row, Option<String>)>, DbErr> {
        let rows = self.work.db.query_all_raw(text.with(&self.values, &[])).await?;
        let digest = |row: &QueryResult| row.try_get::<Option<String>>("", DIGEST).unwrap_or_default();
        rows.iter().map(|row| Ok((self.audited.decode(row, "")?, digest(row)))).collect()
    }

    /// `SELECT` and the entity's columns, each row once even if a join meets it several times.
    fn select(&self, alias: &str, joined: bool) -> Text {
        let source = |column: &str| Expr::col((Alias::new("audit_alias"), Alias::new(column)));
        let mut text = Text::new(BACKEND);
        for (at, (column, expr)) in self.audited.select(&source).into_iter().enumerate() {
            let expr = Query::select().expr(expr).to_string(MysqlQueryBuilder);
            let expr = expr.trim_start_matches("SELECT ").replace("`audit_alias`.", &format!("{alias}."));
            text.push(match (at, joined) {
                (0, false) => "SELECT ",
                (0, true) => "SELECT DISTINCT ",
                _ => ", ",
            });
            text.push(&format!("{expr} AS {}", quote(BACKEND, &column)));
        }
        text
    }

    /// The joins of the statement itself, whose rows are locked with those of the table: they choose the same rows again.
    fn join(&self, text: &mut Text, join: Option<&Range<usize>>) {
        if let Some(join) = join {
            text.push(" ").piece(self.sql, &self.step.parsed, join);
        }
    }

    fn restrict(&self, text: &mut Text, condition: Option<&Range<usize>>, tail: Option<&Range<usize>>) {
        if let Some(condition) = condition {
            text.push(" WHERE ").piece(self.sql, &self.step.parsed, condition);
        }
        if let Some(tail) = tail {
            text.push(" ").piece(self.sql, &self.step.parsed, tail);
        }
        text.push(" FOR UPDATE");
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        self.audited.policy.fields.iter().filter(|field| field.key).map(|field| field.column.clone())
    }

    fn refused(&self, reason: &str) -> DbErr {
        super::refusal::refused(&self.audited.policy.table, reason)
    }
}
