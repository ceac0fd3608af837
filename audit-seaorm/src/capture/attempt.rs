//! A planned write in its transaction, tried again where others get in its way, and sent to its database's way of capturing.

use std::sync::Arc;

use audit_core::{AuditContext, Error};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use super::begin::{Share, begin, roll_back};
use super::catalogue::Catalogue;
use super::plan::Step;
use super::refusal::may_try_again;
use super::request::{Answer, Ask, Request, send};
use super::sql::{What, words_of_definition};
use super::transaction::State;
use super::work::{Capture, Work};
use super::{mysql, postgres, whole};
use crate::store::{is_audit_error, to_db_err};

/// How often a write is tried that others get in the way of.
const ATTEMPTS: usize = 8;

impl Capture {
    /// Runs a statement in the user's transaction.
    pub(super) async fn within(
        &self,
        (share, db, state): (Share, Arc<DatabaseTransaction>, &State),
        catalogue: &Catalogue,
        context: Arc<AuditContext>,
        steps: &[Step],
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        self.complete(&db, state).await.map_err(|error| to_db_err(&error))?;
        let answer = if steps.iter().any(Step::is_upsert) && self.backend == DbBackend::Postgres {
            self.tried(&db, state, catalogue, context, steps, request, ask).await
        } else {
            let audit = self.in_force();
            let over = (&*db, state, false);
            let work = self.work(&audit, catalogue, over, context);
            self.capture(&work, steps, request, ask).await
        };
        // Before the turn: whoever has that may end the transaction.
        drop(db);
        drop(share);
        answer
    }

    /// Runs an upsert in a user's transaction, which must survive that somebody comes in between.
    #[allow(clippy::too_many_arguments, reason = "they are what a statement consists of")]
    async fn tried(
        &self,
        db: &DatabaseTransaction,
        state: &State,
        catalogue: &Catalogue,
        context: Arc<AuditContext>,
        steps: &[Step],
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        for _ in 1..ATTEMPTS {
            let nested = db.begin().await?;
            let context = Arc::clone(&context);
            let audit = self.in_force();
            let over = (&nested, state, false);
            let tickets = state.tickets.len();
            let work = self.work(&audit, catalogue, over, context);
            let answer = self.capture(&work, steps, request.clone(), ask).await;
            if !may_try_again(&answer) {
                match &answer {
                    Ok(_) => nested.commit().await?,
                    Err(error) => {
                        // What failed first is what the caller has to know.
                        _ = nested.rollback().await;
                        state.tickets.cancel_from(tickets);
                        state.end_write();
                        if !is_audit_error(error) {
                            // By the statement alone the whole transaction would have failed, and nobody could commit it.
                            _ = db.execute_unprepared("SELECT 1 / 0").await;
                        }
                    }
                }
                return answer;
            }
            nested.rollback().await?;
            state.tickets.cancel_from(tickets);
            state.end_write();
        }
        let audit = self.in_force();
        let over = (db, state, false);
        let work = self.work(&audit, catalogue, over, context);
        self.capture(&work, steps, request, ask).await
    }

    /// Runs a statement that stands for itself in a transaction of its own.
    pub(super) async fn alone(
        &self,
        pool: &DatabaseConnection,
        catalogue: &Catalogue,
        context: Arc<AuditContext>,
        steps: &[Step],
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        let options = TransactionOptions {
            // The write lock is had at once or waited for, as by the statement alone; a lock that a read has to be
            // raised to is refused if another writer came in between.
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            // What a sub-select reads is locked by the statement itself, but by the read of its rows before only at this level, and
            // only from REPEATABLE READ on no row can become the first of some: else both might choose other rows.
            isolation_level: (self.backend == DbBackend::MySql && steps.iter().any(Step::chooses_by_others))
                .then_some(IsolationLevel::Serializable),
            ..TransactionOptions::default()
        };
        let state = State::new();
        if self.backend == DbBackend::Postgres
            && let [step] = steps
        {
            let within = (&*context, &*state.id);
            let done =
                postgres::at_once(pool, &self.in_force(), catalogue, step, &request, ask, within).await;
            if !may_try_again(&done)
                && let Some(answer) = done?
            {
                return Ok(answer);
            }
        }
        if self.backend == DbBackend::Postgres
            && let [step] = steps
            && whole::stands_alone(step, request.sql())
        {
            let db = begin(pool, Share::none(), options).await?;
            let audit = self.in_force();
            let work = self.work(&audit, catalogue, (&db, &state, true), context);
            work.write(whole::entries(&work, step, request.sql())).await?;
            state.tickets.commit_begins();
            let result = db.commit().await;
            state.committed(&result).await;
            result?;
            return send(pool, request, ask).await;
        }
        // SQLite has one writer: there nobody gets in the way, and the request need not be kept for another try.
        let attempts = if self.sqlite.is_some() { 1 } else { ATTEMPTS };
        let mut request = Some(request);
        let mut attempt = 1;
        loop {
            let sent = if attempt == attempts { request.take() } else { request.clone() };
            let Some(sent) = sent else { return Err(DbErr::Custom("no statement".into())) };
            let db = begin(pool, Share::none(), options).await?;
            let context = Arc::clone(&context);
            let audit = self.in_force();
            let over = (&db, &state, true);
            let work = self.work(&audit, catalogue, over, context);
            let answer = self.capture(&work, steps, sent, ask).await;
            if answer.is_ok() {
                state.tickets.commit_begins();
                let result = db.commit().await;
                state.committed(&result).await;
                result?;
                return answer;
            }
            roll_back(db).await;
            state.tickets.cancel_from(0);
            if attempt == attempts || !may_try_again(&answer) {
                return answer;
            }
            attempt += 1;
        }
    }

    async fn capture(
        &self,
        work: &Work<'_>,
        steps: &[Step],
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        if let [step] = steps {
            let sql = request.sql().to_owned();
            return self.capture_one(work, step, &sql, request, ask).await;
        }
        if let Some(engine) = &self.sqlite {
            // It sees what they all do.
            return engine.run(work, steps, request, ask).await;
        }
        // Several statements in one text, which only unprepared execution can send: one by one, in one transaction. The result is the
        // last one's: of SeaORM's results no sum can be made.
        let text = request.sql().to_owned();
        let mut last = None;
        for step in steps {
            let statement = text.get(step.parsed.range.clone()).unwrap_or_default();
            // The pieces of a statement are known by their places in the whole text.
            let padded = format!("{}{statement}", " ".repeat(step.parsed.range.start));
            let request = Request::Unprepared(padded.into());
            last = Some(self.capture_one(work, step, &text, request, ask).await?);
        }
        last.ok_or_else(|| DbErr::Custom("no statement".into()))
    }

    async fn capture_one(
        &self,
        work: &Work<'_>,
        step: &Step,
        sql: &str,
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        if let What::Truncate(_) | What::Define(_) = step.parsed.what {
            let dropped = || {
                let words = step.parsed.range.clone();
                words_of_definition(sql.get(words).unwrap_or_default())
                    .is_some_and(|words| words.starts_with(&["drop".to_owned(), "table".to_owned()]))
            };
            if let Some(engine) = &self.sqlite {
                if step.others().is_empty() && dropped() {
                    return engine.run(work, std::slice::from_ref(step), request, ask).await;
                }
                // Its triggers come back with the next write.
                engine.make_way(work.db).await?;
            }
            return whole::run(work, step, request, ask).await;
        }
        if !step.is_write() {
            return send(work.db, request, ask).await;
        }
        match (&self.sqlite, self.backend) {
            (Some(engine), _) => engine.run(work, std::slice::from_ref(step), request, ask).await,
            (None, DbBackend::Postgres) => postgres::run(work, step, sql, request, ask).await,
            (None, DbBackend::MySql) => mysql::run(work, step, sql, request, ask).await,
            _ => Err(to_db_err(Error::Refused("this database isn't one that capture knows".into()))),
        }
    }
}
