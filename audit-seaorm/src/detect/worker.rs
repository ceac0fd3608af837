//! The worker's work: new records past all rules, findings into the table of violations.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use audit_core::detect::{Finding, Observation, Rule, State};
use audit_core::{Config, Error, Family as _, Recorded, Violation};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect, SqliteTransactionMode,
    TransactionOptions, TransactionSession, TransactionTrait,
};
use tokio::sync::Mutex;

use super::observe::{SOURCES, observation, select};
use super::states::States;
use crate::Audit;
use crate::db_error::query_error;
use crate::entity::{StoredFamily, audit_violation};
use crate::store::batches;
use crate::tail::{self, Place};
use crate::worker::{Batched, Stop, WorkerTask, all_batches, in_background};

const TABLE: &str = "audit_detector";

/// Lets rules look at the log, and records what they find as violations. Clones share what is remembered in memory.
#[derive(Clone, Debug)]
#[must_use = "nothing is looked at before `run_once` or `start`"]
pub struct Detector {
    rules: Arc<[Rule]>,
    batch: u64,
    settle_after: Duration,
    every: Duration,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    states: States,
    /// The run after which this was so. If there has been another since, somebody else went on.
    run: i64,
}

/// States that a batch forgets, at most, besides as many as it stores.
const FORGOTTEN: u64 = 1_000;

/// No run has this number, nor comes after it.
const UNCERTAIN: i64 = i64::MIN;

/// What a run has done.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Detected {
    /// Records that were looked at.
    pub observations: u64,
    /// What was found, each of which is a violation now.
    pub findings: Vec<Finding>,
    /// Whether records may still be committed below the place that was reached.
    pub waiting: bool,
}

impl Detector {
    /// A worker with the rules of the configuration, which are [`Rule::defaults`] where it says nothing else.
    ///
    /// ```
    /// # use audit_seaorm::{Config, Error};
    /// # use audit_seaorm::detect::Detector;
    /// # let text = r#"
    /// [audit.rules.mass_deletion]
    /// severity = "critical"
    /// check.burst = { of = { action = "delete" }, per = "actor", threshold = 10, window = "1h" }
    ///
    /// [audit.rules.other_tenant]
    /// enabled = false
    /// # "#;
    /// let config = Config::from_toml(text)?; // or that of the audit, `audit.config()`
    /// let detector = Detector::from_config(&config)?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        Self::new(config.rules.clone())
    }

    /// A worker with these rules, which looks at up to 5,000 records of each table in a transaction, and in the background every
    /// ten seconds.
    ///
    /// # Errors
    /// [`Error::Registration`] if a rule makes no sense, or two have one name.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Error> {
        let mut names = HashSet::new();
        for rule in &rules {
            rule.check()?;
            if !names.insert(&rule.name) {
                return Err(Error::Registration(format!("two rules are called `{}`", rule.name)));
            }
        }
        Ok(Self {
            rules: rules.into(),
            batch: 5_000,
            settle_after: Duration::from_secs(24 * 3600),
            every: Duration::from_secs(10),
            memory: Arc::default(),
        })
    }

    /// So many records of each table in a transaction, from 1 on.
    pub fn batch_size(mut self, records: u64) -> Self {
        self.batch = Ord::max(records, 1);
        self
    }

    /// So long between two runs in the background.
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }

    /// How long a transaction may take from writing a record to its commit, where the database doesn't tell which are still open:
    /// on MySQL and MariaDB, if the user lacks the privilege `PROCESS`. A day, unless it is said.
    pub fn settle_after(mut self, longest: Duration) -> Self {
        self.settle_after = longest;
        self
    }

    /// Looks at all records that haven't been looked at yet. If its future is dropped, the batch that it is at is done to its end.
    ///
    /// `db` is a connection, of which each batch gets a clone; within a transaction, nothing could be seen of what others commit.
    ///
    /// # Errors
    /// [`Error::Query`] if the database doesn't take it. What was found until then stays found.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn run_once<C>(&self, db: &C) -> Result<Detected, Error>
    where
        C: ConnectionTrait + TransactionTrait + Clone + Send + Sync + 'static,
    {
        all_batches(self, &Arc::new(db.clone()), &Stop::default()).await
    }

    /// Runs in the background until it is stopped: at once, and then again and again. A run that fails is logged, and tried again
    /// at the next turn. Findings are violations, and are logged as warnings. What is found is cleared by the sanitiser of the audit
    /// that is in force here.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start<C>(self, db: C) -> WorkerTask
    where
        C: ConnectionTrait + TransactionTrait + Send + Sync + 'static,
    {
        in_background("detection", self.every, self, db, |done| {
            for finding in done.findings {
                tracing::warn!(rule = finding.rule, count = finding.count, "suspicious activity");
            }
        })
    }

    async fn run_batch<C>(&self, db: &C, memory: &mut Memory) -> Result<(Detected, bool), DbErr>
    where
        C: ConnectionTrait + TransactionTrait,
    {
        let options = TransactionOptions {
            isolation_level: tail::isolation(db),
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let txn = db.begin_with_options(options).await?;
        let (mut places, run) = take_turn(&txn).await?;
        if memory.run != run - 1 {
            memory.states.clear();
        }
        // Until this run is committed: it may panic, or end with its runtime, and then memory has gone on and the database hasn't.
        memory.run = UNCERTAIN;
        let now = Utc::now().timestamp();
        let settle_after = i64::try_from(self.settle_after.as_secs()).unwrap_or(i64::MAX);
        let (mut seen, mut more): (Vec<Observation>, bool) = (Vec::new(), false);
        for (source, table) in SOURCES {
            let from = tail::Source { table, select: select(source, table) };
            let place = places.entry(table.to_owned()).or_default();
            let (rows, rest) = place.take(&txn, &from, self.batch, now, settle_after).await?;
            for row in &rows {
                seen.push(observation(source, row)?);
            }
            more |= rest;
        }
        seen.sort_by_key(|seen| (seen.at, seen.source, seen.id));

        let keys = seen.iter().flat_map(|seen| self.rules.iter().filter_map(|rule| State::key(rule, seen)));
        memory.states.load(&txn, keys.collect()).await?;
        let mut findings = Vec::new();
        for seen in &seen {
            for (number, rule) in self.rules.iter().enumerate() {
                let Some(key) = State::key(rule, seen) else { continue };
                if let Some(state) = memory.states.get(key, number) {
                    findings.extend(state.observe(rule, seen));
                }
            }
        }
        let stored = memory.states.store(&txn, &self.rules).await?;
        // What is looked at next isn't older than the oldest of these, but for what comes late. More go than came.
        let reached = seen.first().map_or(now, |oldest| Ord::min(now, oldest.at.timestamp()));
        memory.states.forget(&txn, &self.rules, reached, FORGOTTEN + stored).await?;
        record(&txn, &mut findings).await?;
        let waiting = places.values().any(Place::has_gaps);
        put_place(&txn, &places).await?;
        txn.commit().await?;
        memory.run = run;
        Ok((Detected { observations: seen.len() as u64, findings, waiting }, more))
    }
}

impl<C> Batched<C> for Detector
where
    C: ConnectionTrait + TransactionTrait + Send + Sync + 'static,
{
    type Done = Detected;

    async fn batch(self, db: Arc<C>) -> Result<(Detected, bool), Error> {
        let mut memory = self.memory.lock().await;
        let done = self.run_batch(&*db, &mut memory).await;
        done.map_err(|error| {
            // It went on in memory, and not in the database.
            memory.states.clear();
            query_error(&error)
        })
    }

    fn add(all: &mut Detected, done: Detected) {
        all.observations += done.observations;
        all.findings.extend(done.findings);
        all.waiting = done.waiting;
    }
}

/// Waits for its turn, and says how far all workers together have come, and which run this is.
async fn take_turn<C: ConnectionTrait>(db: &C) -> Result<(BTreeMap<String, Place>, i64), DbErr> {
    let of_all = || Expr::col("id").eq(1);
    let run = Expr::col("runs").add(1);
    db.execute(&Query::update().table(TABLE).value("runs", run).and_where(of_all()).take()).await?;
    let select = Query::select().columns(["place", "runs"]).from(TABLE).and_where(of_all()).take();
    let Some(row) = db.query_one(&select).await? else {
        return Err(DbErr::RecordNotFound(format!("`{TABLE}` has no row")));
    };
    let place: String = row.try_get("", "place")?;
    let places = serde_json::from_str(&place)
        .map_err(|_| DbErr::Custom(format!("the place in `{TABLE}` is of another version")))?;
    Ok((places, row.try_get("", "runs")?))
}

async fn put_place<C: ConnectionTrait>(db: &C, places: &BTreeMap<String, Place>) -> Result<(), DbErr> {
    let text = serde_json::to_string(places)
        .map_err(|_| DbErr::Custom("the place can't be written as JSON".into()))?;
    let update = Query::update().table(TABLE).value("place", text).and_where(Expr::col("id").eq(1)).take();
    db.execute(&update).await.map(|_| ())
}

/// Writes the violations of findings. One that is recorded already, as after a rule's state was lost, is left out.
async fn record<C: ConnectionTrait>(db: &C, findings: &mut Vec<Finding>) -> Result<(), DbErr> {
    let (audit, now) = (Audit::current(), Utc::now());
    let mut found: Vec<(Finding, Recorded<Violation>)> = findings
        .drain(..)
        .map(|finding| {
            let record = violation(&audit, now, &finding);
            (finding, record)
        })
        .collect();
    let mut known = HashSet::new();
    let column = audit_violation::Column::Finding;
    for some in found.chunks(500) {
        let names = some.iter().filter_map(|(_, record)| record.what.finding.as_deref());
        let asked = audit_violation::Entity::find().select_only().column(column);
        let asked = asked.filter(column.is_in(names));
        known.extend(asked.into_tuple::<String>().all(db).await?);
    }
    // As it is stored, which isn't always as the finding says it.
    found.retain(|(_, record)| record.what.finding.clone().is_none_or(|name| known.insert(name)));
    let records: Vec<Recorded<Violation>>;
    (*findings, records) = found.into_iter().unzip();
    for batch in batches(&records) {
        let rows = batch.iter().map(<Violation as StoredFamily>::row);
        audit_violation::Entity::insert_many(rows).exec_without_returning(db).await?;
    }
    Ok(())
}

fn violation(audit: &Audit, now: DateTime<Utc>, finding: &Finding) -> Recorded<Violation> {
    let mut what = finding.violation();
    what.sanitise(audit.sanitizer());
    let mut record = Recorded::new(now, what);
    let last = &finding.last;
    record.tenant.clone_from(&last.tenant);
    record.actor.clone_from(&last.actor);
    record.ip_address.clone_from(&last.ip_address);
    record.user_agent.clone_from(&last.user_agent);
    record.finish();
    record
}
