//! Statements that can't be recorded row by row, where the configuration lets them be done.
//!
//! One entry of severity high for each audited table that may have changed says what sort of statement it was. None of its
//! values is in it: the digest is of the text with `?` for each.

use std::collections::BTreeSet;
use std::sync::Arc;

use audit_core::{AuditContext, Entry, Error, Resource, Severity, Value};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions,
};
use serde_json::json;

use super::begin::{Share, begin, roll_back, to_the_end};
use super::request::{Answer, Ask, Request, send};
use super::sql;
use super::transaction::State;
use super::work::{Capture, Over};
use crate::Audit;
use crate::registry::Audited;
use crate::store::to_db_err;

/// Something was done to the table, and how its rows changed isn't known.
const UNPLANNED: &str = "unplanned";

/// The resource where the text doesn't tell which it is.
const ANY: &str = "*";

/// A statement that is done though it can't be recorded row by row.
#[derive(Clone, Debug)]
pub(super) struct Unplanned {
    /// The audited tables that it may change, as far as its text tells.
    pub(super) tables: Vec<Arc<Audited>>,
    /// All audited tables, if its text doesn't tell.
    pub(super) any: Vec<Arc<Audited>>,
    /// Why it can't be recorded otherwise.
    pub(super) reason: String,
}

impl Unplanned {
    fn entries(
        &self,
        audit: &Audit,
        context: &AuditContext,
        transaction: &str,
        statement: &serde_json::Value,
    ) -> Vec<Entry> {
        if !audit.records(UNPLANNED) {
            return Vec::new();
        }
        let entry = |resource: &str| {
            let mut entry = audit.entry(UNPLANNED, Resource::new(resource.to_owned()), context);
            entry.severity = Severity::High;
            entry.details = Some(self.reason.clone());
            entry.add_metadata("statement", statement.clone());
            entry.transaction_id.get_or_insert_with(|| transaction.to_owned());
            entry
        };
        let mut entries = Vec::with_capacity(self.tables.len() + 1);
        for Audited { policy, .. } in self.tables.iter().map(|audited| &**audited) {
            let mut entry = entry(&policy.resource);
            entry.module.clone_from(&policy.module);
            entry.frameworks.clone_from(&policy.frameworks);
            entry.classification = policy.classification;
            entries.push(entry);
        }
        if !self.any.is_empty() {
            // As what is worst among them would be treated.
            let mut entry = entry(ANY);
            let policies = || self.any.iter().map(|audited| &audited.policy);
            let frameworks: BTreeSet<&String> = policies().flat_map(|policy| &policy.frameworks).collect();
            entry.frameworks = frameworks.into_iter().cloned().collect();
            entry.classification = policies().map(|policy| policy.classification).max().unwrap_or_default();
            entries.push(entry);
        }
        entries
    }
}

/// What may be said of a statement: its first word and the digest of its text without values. Of a text that isn't even made
/// of known tokens there is no digest, because nobody knows where its values are.
fn describe(sql: &str, backend: DbBackend) -> serde_json::Value {
    let outline = sql::outline(sql, backend);
    let digest = outline.text.map(|text| match Value::oversized(&text) {
        Value::Oversized { sha256, .. } => sha256,
        _ => String::new(),
    });
    json!({ "verb": outline.verb, "sha256": digest })
}

impl Capture {
    /// Runs the statement, and records that it was run, in one transaction.
    pub(super) async fn unplanned(
        self: &Arc<Self>,
        over: Over<'_>,
        context: Option<&Arc<AuditContext>>,
        done: Unplanned,
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        let context = match context {
            Some(context) => Arc::clone(context),
            None => {
                let resource = done.tables.first().map_or(ANY, |audited| &audited.policy.resource);
                self.in_force().context(UNPLANNED, resource).map_err(|error| to_db_err(&error))?
            }
        };
        let (capture, request) = (Arc::clone(self), request.into_owned());
        // As other writes: see `write`.
        let server = self.backend != DbBackend::Sqlite;
        // Nobody knows what it defines.
        let forgets = self.forgets_after(&over);
        match over {
            Over::Transaction(db, state) => {
                let (share, db, state) = (state.share().await, Arc::clone(db), Arc::clone(state));
                let work = async move {
                    capture.complete(&db, &state).await.map_err(|error| to_db_err(&error))?;
                    let answer = capture.run_unplanned((&db, &state), &context, &done, request, ask).await;
                    drop(forgets);
                    // Before the turn: whoever has that may end the transaction.
                    drop(db);
                    drop(share);
                    answer
                };
                if server { to_the_end(work).await } else { work.await }
            }
            Over::Pool(pool) => {
                let pool = pool.clone();
                let work = async move {
                    let options = TransactionOptions {
                        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                        ..TransactionOptions::default()
                    };
                    let state = State::new();
                    let db = begin(&pool, Share::none(), options).await?;
                    let answer = capture.run_unplanned((&db, &state), &context, &done, request, ask).await;
                    if answer.is_ok() {
                        state.tickets.commit_begins();
                        let result = db.commit().await;
                        state.committed(&result).await;
                        result?;
                    } else {
                        roll_back(db).await;
                        state.tickets.cancel_from(0);
                    }
                    drop(forgets);
                    answer
                };
                if server { to_the_end(work).await } else { work.await }
            }
        }
    }

    async fn run_unplanned(
        &self,
        (db, state): (&DatabaseTransaction, &State),
        context: &Arc<AuditContext>,
        done: &Unplanned,
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        if let Some(engine) = &self.sqlite {
            // Its triggers may be in the way of a definition. They come back with the next write.
            engine.uninstall(db).await?;
        }
        let audit = self.in_force();
        let statement = describe(request.sql(), self.backend);
        let entries = done.entries(&audit, context, &state.id, &statement);
        let write = async |entries| {
            let written: Result<(), Error> = audit.write_within(db, entries, &state.tickets).await;
            written.map_err(|error| to_db_err(&error))
        };
        if self.backend == DbBackend::MySql {
            // It may commit: what is written after it could be lost alone. And it may fail.
            db.execute_unprepared(&format!("SAVEPOINT {STATEMENT}")).await?;
            write(entries).await?;
            let answer = send(db, request, ask).await;
            if answer.is_err() {
                _ = db.execute_unprepared(&format!("ROLLBACK TO SAVEPOINT {STATEMENT}")).await;
            }
            // Nobody can tell whether it has committed what was before.
            state.doubt().await;
            return answer;
        }
        state.begin_write(context);
        let answer = send(db, request, ask).await.inspect_err(|_| state.end_write())?;
        write(entries).await?;
        state.end_write();
        Ok(answer)
    }
}

const STATEMENT: &str = "audit_statement";
