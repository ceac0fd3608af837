//! A statement on its way through capture: what is known of it and of the database, over what it goes, and whose turn it is.

use std::fmt;
use std::sync::{Arc, Mutex};

use audit_core::{AuditContext, Entry, Error, Resource, Severity, action};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, Statement};

use super::begin::to_the_end;
use super::catalogue::Catalogue;
use super::entries::Recorder;
use super::images::Image;
use super::known::Known;
use super::plan::{About, Plan, Planned, Plans, Refusal, Step, may_record};
use super::reads::Reading;
use super::refusal::{have_moved, reason_of_refusal};
use super::request::{Answer, Ask, Request, send};
use super::sql::What;
use super::transaction::{self, State};
use super::unplanned::Unplanned;
use super::{labels, sqlite};
use crate::registry::Audited;
use crate::scope::Scope;
use crate::store::to_db_err;
use crate::{Audit, Registry};

/// What all clones of a connection, and its transactions, share.
pub(super) struct Capture {
    pub(super) audit: Audit,
    pub(super) backend: DbBackend,
    pub(super) plans: Plans,
    pub(super) sqlite: Option<sqlite::Engine>,
    pub(super) known: Mutex<Known>,
}

/// Over what a statement goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Over<'a> {
    Pool(&'a DatabaseConnection),
    Transaction(&'a Arc<DatabaseTransaction>, &'a Arc<State>),
}

impl Over<'_> {
    fn is_mock(&self) -> bool {
        match self {
            Self::Pool(db) => db.is_mock_connection(),
            Self::Transaction(db, _) => db.is_mock_connection(),
        }
    }

    /// Whether a write was sent whose entries aren't written: nothing can be done instead of it any more.
    fn is_under_way(&self) -> bool {
        matches!(self, Self::Transaction(_, state) if state.has_unfinished())
    }

    /// Whether it is a transaction in which tables were defined.
    pub(super) fn has_defined(&self) -> bool {
        matches!(self, Self::Transaction(_, state) if state.has_defined())
    }

    /// The transaction, if names may mean other tables in it than elsewhere.
    pub(super) fn renamed(&self) -> Option<(&Arc<DatabaseTransaction>, &Arc<State>)> {
        match self {
            Self::Transaction(db, state) if state.has_renamed() => Some((db, state)),
            _ => None,
        }
    }

    /// How often something has changed in the transaction that plans go by.
    fn changes(&self) -> u64 {
        match self {
            Self::Pool(_) => 0,
            Self::Transaction(_, state) => state.changes(),
        }
    }

    async fn pass(self, request: Request<'_>, ask: Ask) -> Result<Answer, DbErr> {
        match self {
            Self::Pool(db) => send(db, request, ask).await,
            Self::Transaction(db, state) => {
                let _turn = state.turn().await;
                send(&**db, request, ask).await
            }
        }
    }

    /// [`pass`](Self::pass) of what was planned after so many `changes`.
    async fn pass_planned<'r>(
        self,
        request: Request<'r>,
        ask: Ask,
        changes: u64,
    ) -> Result<Written<'r>, DbErr> {
        let Self::Transaction(db, state) = self else {
            return self.pass(request, ask).await.map(Written::Done);
        };
        let _turn = state.turn().await;
        if state.changes() != changes {
            return Ok(Written::Outdated(request));
        }
        send(&**db, request, ask).await.map(Written::Done)
    }
}

/// What has become of a planned statement.
enum Written<'a> {
    Done(Answer),
    /// While it waited for its turn something has changed in its transaction: it has to be planned anew.
    Outdated(Request<'a>),
}

/// One audited write within a transaction.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) audit: &'a Audit,
    pub(super) registry: &'a Registry,
    pub(super) catalogue: &'a Catalogue,
    pub(super) db: &'a DatabaseTransaction,
    pub(super) state: &'a State,
    pub(super) context: Arc<AuditContext>,
    /// Whether capture began the transaction itself, for this write alone.
    pub(super) alone: bool,
}

impl Work<'_> {
    pub(super) fn recorder(&self) -> Recorder<'_> {
        Recorder::within(self.audit, Arc::clone(&self.context), Some(Arc::clone(&self.state.id)))
    }

    /// Writes entries, on SQLite, and runs these statements after it.
    pub(super) async fn write_then(
        &self,
        entries: Vec<Entry>,
        statements: &'static str,
    ) -> Result<(), DbErr> {
        let entries = self.audit.in_order_of_writing(entries);
        self.state.begin_entries(&entries);
        let tickets = &self.state.tickets;
        let done = self.audit.write_then(self.db, entries, statements, tickets).await;
        done.map_err(|error| to_db_err(&error))
    }

    /// Reads the labels of what the changed rows refer to.
    pub(super) async fn label(&self, images: &mut [Image]) -> Result<(), DbErr> {
        // A transaction of our own has seen nothing before its write.
        labels::complete(self.db, !self.alone, images).await
    }

    pub(super) async fn write(&self, entries: Vec<Entry>) -> Result<(), DbErr> {
        if entries.is_empty() {
            return Ok(());
        }
        let entries = self.audit.in_order_of_writing(entries);
        self.state.begin_entries(&entries);
        let written = self.audit.write_within(self.db, entries, &self.state.tickets).await;
        written.map_err(|error| to_db_err(&error))
    }
}

/// Whether a text that isn't planned may change what is known of the database.
fn may_define(sql: &str) -> bool {
    const VERBS: [&str; 5] = ["alter", "create", "drop", "rename", "truncate"];
    let mut words = sql.split(|c: char| !c.is_ascii_alphabetic());
    words.any(|word| VERBS.iter().any(|verb| word.eq_ignore_ascii_case(verb)))
}

/// The error of a statement that is refused.
fn refusal_of(refusal: &Refusal) -> DbErr {
    let around = match refusal.about {
        About::Rows => "; if it has to run, use `without_audit`, which leaves an entry that says so",
        // What it would destroy outlives the block.
        About::Own | About::Setting => "",
    };
    to_db_err(Error::Refused(format!("{}{around}", refusal.reason)))
}

impl Capture {
    pub(super) fn new(audit: Audit, backend: DbBackend) -> Self {
        Self {
            backend,
            plans: Plans::new(audit.registry(), backend),
            sqlite: (backend == DbBackend::Sqlite).then(|| sqlite::Engine::new(audit.registry())),
            known: Mutex::default(),
            audit,
        }
    }

    pub(super) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The audit that entries are made for: another one counts within [`Audit::within`](crate::Audit::within), as in
    /// tests that keep entries in memory. What is audited, and how, stays this connection's.
    pub(super) fn in_force(&self) -> Audit {
        Scope::audit().unwrap_or_else(|| self.audit.clone())
    }

    pub(super) fn work<'a>(
        &'a self,
        audit: &'a Audit,
        catalogue: &'a Catalogue,
        (db, state, alone): (&'a DatabaseTransaction, &'a State, bool),
        context: Arc<AuditContext>,
    ) -> Work<'a> {
        Work { audit, registry: self.audit.registry(), catalogue, db, state, context, alone }
    }

    /// Whether rows may arrive one by one, because nothing is written; with the read that is to be recorded, if it is.
    pub(super) async fn streams(
        &self,
        over: &Over<'_>,
        context: Option<&Arc<AuditContext>>,
        statement: &Statement,
    ) -> Result<Option<Option<Reading>>, DbErr> {
        if self.rests(over) {
            return Ok(Some(None));
        }
        let planned = self.plan(over, &statement.sql).await?;
        if !matches!(planned.plan, Plan::Pass) || (planned.writes && !planned.reads.is_empty()) {
            return Ok(None);
        }
        let values = statement.values.as_ref().map_or(&[][..], |values| &values.0);
        self.reading(&planned, over, context, values).map(Some)
    }

    /// The record of what a statement reads, to be completed when it has been read.
    fn reading(
        &self,
        planned: &Planned,
        over: &Over<'_>,
        context: Option<&Arc<AuditContext>>,
        values: &[sea_orm::Value],
    ) -> Result<Option<Reading>, DbErr> {
        let audit = self.in_force();
        if planned.reads.is_empty() || !audit.records(action::READ) {
            return Ok(None);
        }
        let context = match context {
            Some(context) => Arc::clone(context),
            None => {
                let resource = planned.reads.first().map_or("", |reads| reads.resource());
                audit.context(action::READ, resource).map_err(|error| to_db_err(&error))?
            }
        };
        let transaction = match over {
            Over::Pool(_) => None,
            Over::Transaction(_, state) => Some(&*state.id),
        };
        Ok(Some(Reading::begin(audit, &self.audit, &planned.reads, &context, transaction, values)))
    }

    fn rests(&self, over: &Over<'_>) -> bool {
        !self.audit.config().enabled || Scope::is_suspended() || over.is_mock()
    }

    /// Also while the audit rests, its own tables and guards aren't redefined.
    async fn keep_own(&self, over: &Over<'_>, sql: &str) -> Result<(), DbErr> {
        let names = |sql: &str| sql.as_bytes().windows(6).any(|word| word.eq_ignore_ascii_case(b"audit_"));
        if !self.audit.config().enabled || over.is_mock() || !names(sql) {
            return Ok(());
        }
        match &self.plan(over, sql).await?.plan {
            Plan::Refuse(refusal) if refusal.about == About::Own => Err(refusal_of(refusal)),
            _ => Ok(()),
        }
    }

    /// Runs a definition as it is. A server goes on with it though its future is dropped, and what was known is forgotten when it ends.
    async fn define(
        self: &Arc<Self>,
        over: Over<'_>,
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        let forgets = self.forgets_after(&over);
        if self.sqlite.is_some() {
            let answer = over.pass(request, ask).await;
            drop(forgets);
            return answer;
        }
        let request = request.into_owned();
        match over {
            Over::Pool(db) => {
                let db = db.clone();
                to_the_end(async move {
                    let answer = send(&db, request, ask).await;
                    drop(forgets);
                    answer
                })
                .await
            }
            Over::Transaction(db, state) => {
                let (share, db) = (state.share().await, Arc::clone(db));
                to_the_end(async move {
                    let answer = send(&*db, request, ask).await;
                    drop(forgets);
                    // Before the turn: whoever has that may end the transaction.
                    drop(db);
                    drop(share);
                    answer
                })
                .await
            }
        }
    }

    /// Runs a statement, with whatever capture adds to it.
    pub(super) async fn run(
        self: &Arc<Self>,
        over: Over<'_>,
        context: Option<&Arc<AuditContext>>,
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        let answer = self.run_planned(over, context, request, ask).await;
        // What capture asks before the statement fails as a query; the statement would have failed as itself.
        match (ask, answer) {
            (Ask::Execute, Err(DbErr::Query(cause))) => Err(DbErr::Exec(cause)),
            (_, answer) => answer,
        }
    }

    async fn run_planned(
        self: &Arc<Self>,
        over: Over<'_>,
        context: Option<&Arc<AuditContext>>,
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        if self.rests(&over) {
            if Scope::is_suspended() {
                self.keep_own(&over, request.sql()).await?;
                if let Over::Transaction(db, state) = over {
                    self.settle(db, state).await?;
                    if request.sql().to_ascii_lowercase().contains("search_path") {
                        state.renames();
                    }
                }
            }
            return match may_define(request.sql()) {
                true => self.define(over, request, ask).await,
                false => over.pass(request, ask).await,
            };
        }
        let mut changes = over.changes();
        let planned = self.plan(&over, request.sql()).await?;
        if planned.begins && matches!(over, Over::Pool(_)) {
            let why = "nobody can tell what is written in a transaction that is begun by SQL over a pool; use `begin()`";
            return Err(to_db_err(Error::Refused(why.into())));
        }
        if let (true, Over::Transaction(_, state)) = (planned.divides, &over) {
            // What is undone by that, or committed, isn't followed.
            state.doubt().await;
            if state.has_defined() {
                let answer = self.written(over, context, (&planned, changes), request, ask).await;
                self.forget();
                return answer;
            }
        }
        if let (true, Over::Transaction(_, state)) = (planned.renames, &over) {
            state.renames();
            // It goes by nothing that it changes itself.
            changes = over.changes();
        }
        if planned.reads.is_empty() {
            return self.written(over, context, (&planned, changes), request, ask).await;
        }
        let Some(mut reading) = self.reading(&planned, &over, context, request.values())? else {
            return self.written(over, context, (&planned, changes), request, ask).await;
        };
        if planned.writes {
            // What is written can't be taken back if its read can't be recorded.
            reading.reserve().await.map_err(|error| to_db_err(&error))?;
        }
        let answer = self.written(over, context, (&planned, changes), request, ask).await;
        match &answer {
            Ok(Answer::Rows(rows)) if matches!(planned.plan, Plan::Pass) => {
                reading.seen_none();
                rows.iter().for_each(|row| reading.seen(row));
            }
            Ok(_) => {}
            Err(_) => reading.failed(),
        }
        let recorded = reading.end().await;
        // What failed first is what the caller has to know.
        let answer = answer?;
        recorded.map_err(|error| to_db_err(&error))?;
        Ok(answer)
    }

    /// Runs what was planned after so many `changes`; plans it anew if there were more when its turn comes.
    async fn written(
        self: &Arc<Self>,
        over: Over<'_>,
        context: Option<&Arc<AuditContext>>,
        (planned, mut changes): (&Arc<Planned>, u64),
        mut request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        let mut planned = Arc::clone(planned);
        loop {
            match self.write(over, context, (&planned, changes), request, ask).await? {
                Written::Done(answer) => return Ok(answer),
                Written::Outdated(again) => request = again,
            }
            changes = over.changes();
            planned = self.plan(&over, request.sql()).await?;
        }
    }

    async fn write<'r>(
        self: &Arc<Self>,
        over: Over<'_>,
        context: Option<&Arc<AuditContext>>,
        (planned, changes): (&Arc<Planned>, u64),
        request: Request<'r>,
        ask: Ask,
    ) -> Result<Written<'r>, DbErr> {
        let plan = &planned.plan;
        match plan {
            Plan::Pass => return over.pass_planned(request, ask, changes).await,
            Plan::Redefine => return self.define(over, request, ask).await.map(Written::Done),
            Plan::Refuse(refusal) => {
                if let Some(done) = refusal.recorded() {
                    return self.unplanned(over, context, done, request, ask).await.map(Written::Done);
                }
                return Err(refusal_of(refusal));
            }
            Plan::Capture(_) => {}
        }
        let context = match context {
            Some(context) => Arc::clone(context),
            None if plan.steps().iter().all(|step| step.needs_way) => Arc::default(),
            None => {
                let (action, resource) = plan.steps().first().map_or(("write", ""), Step::subject);
                self.in_force().context(action, resource).map_err(|error| to_db_err(&error))?
            }
        };
        self.lock_before_reading(&over).await;
        let catalogue = self.catalogue(&over).await?;
        // Not to be left half-way: see `begin`; and on SQLite a setting of the connection has to be put back.
        let replaces = |step: &Step| {
            let by_definition =
                |audited: &Arc<Audited>| catalogue.table(audited).is_some_and(|facts| facts.replaces);
            step.replaces() || step.target().is_some_and(by_definition)
        };
        // PostgreSQL's driver at times waits for ever for the answer to a statement of a transaction that was dropped on its way.
        let in_transaction = matches!(over, Over::Transaction(..));
        let defines = plan.steps().iter().any(|step| matches!(step.parsed.what, What::Define(_)));
        let forgets = defines.then(|| self.forgets_after(&over));
        let outdated = |state: &State| !defines && state.changes() != changes;
        let shielded = match self.backend {
            DbBackend::MySql => true,
            DbBackend::Postgres => in_transaction || defines,
            _ => plan.steps().iter().any(replaces),
        };
        let again = may_record(plan.steps().iter().flat_map(Step::audited))
            .then(|| (request.clone().into_owned(), Arc::clone(&context)));
        let answer = match over {
            Over::Transaction(db, state) if shielded => {
                let share = state.share().await;
                if outdated(state) {
                    return Ok(Written::Outdated(request));
                }
                let (capture, db, state) = (Arc::clone(self), Arc::clone(db), Arc::clone(state));
                let (planned, request) = (Arc::clone(planned), request.into_owned());
                to_the_end(async move {
                    let steps = planned.plan.steps();
                    let over = (share, db, &*state);
                    let answer = capture.within(over, &catalogue, context, steps, request, ask).await;
                    drop(forgets);
                    answer
                })
                .await
            }
            Over::Transaction(db, state) => {
                let over = (state.share().await, Arc::clone(db), &**state);
                if outdated(state) {
                    return Ok(Written::Outdated(request));
                }
                let answer = self.within(over, &catalogue, context, plan.steps(), request, ask).await;
                drop(forgets);
                answer
            }
            Over::Pool(db) if shielded => {
                let (capture, db, planned) = (Arc::clone(self), db.clone(), Arc::clone(planned));
                let request = request.into_owned();
                to_the_end(async move {
                    let steps = planned.plan.steps();
                    let answer = capture.alone(&db, &catalogue, context, steps, request, ask).await;
                    drop(forgets);
                    answer
                })
                .await
            }
            Over::Pool(db) => {
                let answer = self.alone(db, &catalogue, context, plan.steps(), request, ask).await;
                drop(forgets);
                answer
            }
        };
        if let (Err(error), Some((request, context))) = (&answer, again)
            && let Some(reason) = reason_of_refusal(error)
            && !over.is_under_way()
        {
            let mut tables: Vec<_> = plan.steps().iter().flat_map(Step::audited).cloned().collect();
            tables.dedup_by(|a, b| Arc::ptr_eq(a, b));
            let done = Unplanned { tables, any: Vec::new(), reason };
            return self.unplanned(over, Some(&context), done, request, ask).await.map(Written::Done);
        }
        // Rows that are left out by a trigger which another program has made meanwhile look as if they had moved.
        let outdated = self.sqlite.as_ref().is_some_and(sqlite::Engine::take_outdated);
        if outdated || have_moved(&answer) {
            self.forget();
        }
        answer.map(Written::Done)
    }

    /// Completes what a dropped future left behind in a transaction.
    ///
    /// # Errors
    /// If that is not possible: then the transaction must not commit.
    pub(super) async fn complete(&self, db: &DatabaseTransaction, state: &State) -> Result<(), Error> {
        if !state.has_unfinished() {
            return Ok(());
        }
        // The write wasn't one of those for which the audit may rest now.
        Scope::enter(|scope| scope.suspended = false, self.complete_unfinished(db, state)).await
    }

    /// [`complete`](Self::complete) before something that isn't captured itself.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn settle(&self, db: &DatabaseTransaction, state: &State) -> Result<(), DbErr> {
        let _turn = state.turn().await;
        self.complete(db, state).await.map_err(|error| to_db_err(&error))
    }

    async fn complete_unfinished(&self, db: &DatabaseTransaction, state: &State) -> Result<(), Error> {
        // It stays until it is completed: this future may be dropped as well.
        let Some(unfinished) = state.unfinished() else { return Ok(()) };
        let known = self.known().catalogue.clone();
        if let (Some(engine), Some(catalogue)) = (&self.sqlite, known) {
            let context = Arc::clone(&unfinished.context);
            let audit = self.in_force();
            let over = (db, state, false);
            let work = self.work(&audit, &catalogue, over, context);
            if engine.complete(&work, &unfinished).await.is_ok_and(|done| done) {
                state.end_write();
                return Ok(());
            }
        }
        Err(transaction::unfinished())
    }

    /// The entry that says that capture rests for a while.
    pub(super) async fn record_suspension<C: ConnectionTrait>(
        &self,
        db: &C,
        context: Option<&Arc<AuditContext>>,
        state: Option<&State>,
        reason: String,
    ) -> Result<(), DbErr> {
        const ACTION: &str = "audit_suspended";
        let audit = self.in_force();
        if reason.trim().is_empty() {
            let wrong = "`without_audit` has no reason; say why the audit is to rest";
            return Err(to_db_err(Error::Refused(wrong.into())));
        }
        if !audit.config().enabled {
            return Ok(());
        }
        let context = match context {
            Some(context) => Arc::clone(context),
            None => audit.context(ACTION, "audit").map_err(|error| to_db_err(&error))?,
        };
        let mut entry = audit.entry(ACTION, Resource::new("audit"), &context);
        entry.severity = Severity::High;
        entry.reason = Some(audit.sanitizer().sanitize_text(&reason).into_owned());
        if let Some(state) = state {
            entry.transaction_id.get_or_insert_with(|| state.id.to_string());
        }
        audit.write(db, vec![entry]).await.map_err(|error| to_db_err(&error))
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("audit", &self.audit).finish_non_exhaustive()
    }
}
