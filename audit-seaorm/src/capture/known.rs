//! What is known of the database, and of the texts that are sent to it: read when it is asked for, kept until tables change.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

use super::begin::to_the_end;
use super::catalogue::Catalogue;
use super::plan::{Plan, Planned, Step, is_harmless};
use super::sql;
use super::transaction::State;
use super::work::{Capture, Over};

/// So many `search_path`s are kept apart; one that is set in each transaction of a tenant, say.
const PATHS: usize = 256;

/// What is known of the database.
#[derive(Default)]
pub(super) struct Known {
    pub(super) catalogue: Option<Arc<Catalogue>>,
    /// What is known where names mean what they mean by another `search_path`.
    by_path: HashMap<String, Arc<Catalogue>>,
    /// How often it was forgotten because tables had changed.
    forgotten: u64,
}

/// Forgets what was known of the database when it is dropped.
pub(super) struct ForgetsAfter {
    capture: Arc<Capture>,
    state: Option<Arc<State>>,
}

impl Drop for ForgetsAfter {
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            state.defines();
        }
        self.capture.forget();
    }
}

/// What decides which tables names mean on PostgreSQL.
async fn path_of(db: &DatabaseTransaction) -> Result<String, DbErr> {
    let sql = "SELECT pg_catalog.array_to_string(pg_catalog.current_schemas(TRUE), ',')";
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map_or_else(|| Ok(String::new()), |row| row.try_get_by_index(0))
}

impl Capture {
    pub(super) async fn plan(&self, over: &Over<'_>, sql: &str) -> Result<Arc<Planned>, DbErr> {
        let shared = !over.has_defined() && over.renamed().is_none();
        if shared && let Some(plan) = self.plans.known(sql) {
            return Ok(plan);
        }
        let forgotten = self.known().forgotten;
        let plan = self.made(over, sql, shared).await?;
        if self.known().forgotten != forgotten {
            // It is of what was known before.
            self.plans.drop(sql);
        }
        Ok(plan)
    }

    async fn made(&self, over: &Over<'_>, sql: &str, shared: bool) -> Result<Arc<Planned>, DbErr> {
        let script = sql::read(sql, self.backend);
        if let Some(doubt) = self.plans.doubt(sql, &script) {
            return Ok(self.plans.keep(sql, Plan::Refuse(doubt), Vec::new(), &script, shared));
        }
        if script.statements.iter().all(|parsed| is_harmless(&parsed.what)) {
            let catalogue = match self.plans.may_read_unnamed(&script) {
                true => Some(self.catalogue(over).await?),
                false => None,
            };
            let reads = self.plans.reads(sql, &script, catalogue.as_deref());
            return Ok(self.plans.keep(sql, Plan::Pass, reads, &script, shared));
        }
        self.lock_before_reading(over).await;
        let catalogue = self.catalogue(over).await?;
        let plan = self.plans.make(sql, script.clone(), &catalogue, shared);
        let missing = |step: &Step| step.target().is_some_and(|audited| catalogue.table(audited).is_none());
        if !plan.plan.steps().iter().any(missing) {
            return Ok(plan);
        }
        // The table may have been made since.
        self.forget();
        let catalogue = self.catalogue(over).await?;
        let plan = self.plans.make(sql, script, &catalogue, shared);
        if plan.plan.steps().iter().any(|step| step.target().is_some_and(|a| catalogue.table(a).is_none())) {
            // Nor must it be remembered that it isn't there.
            self.forget();
        }
        Ok(plan)
    }

    /// What is known of the database; read when a write comes by for the first time.
    pub(super) async fn catalogue(&self, over: &Over<'_>) -> Result<Arc<Catalogue>, DbErr> {
        // What a transaction has defined, others don't see, and may never see.
        let shared = !over.has_defined();
        let renamed = over.renamed().filter(|_| shared);
        let path = match renamed {
            Some((db, state)) => {
                let (share, db) = (state.share().await, Arc::clone(db));
                let asked = to_the_end(async move {
                    let path = path_of(&db).await;
                    drop(db);
                    drop(share);
                    path
                });
                Some(asked.await?)
            }
            None => None,
        };
        let forgotten = {
            let known = self.known();
            let catalogue = path.as_ref().map_or(known.catalogue.as_ref(), |path| known.by_path.get(path));
            if let (true, Some(catalogue)) = (shared, catalogue) {
                return Ok(Arc::clone(catalogue));
            }
            known.forgotten
        };
        // Without a lock, though several may read it then: to read it may mean to wait for a connection, and the transaction
        // that has it may be the next to ask here.
        let audit = self.audit.clone();
        let shown = |catalogue| (catalogue, None);
        let loaded = match *over {
            Over::Pool(db) if self.backend == DbBackend::MySql => {
                let db = db.clone();
                to_the_end(async move { Catalogue::load(&db, audit.registry()).await }).await.map(shown)
            }
            Over::Transaction(db, state) if self.backend != DbBackend::Sqlite => {
                let (share, db, by_path) = (state.share().await, Arc::clone(db), path.is_some());
                to_the_end(async move {
                    // In one turn with the look: another task may set another one.
                    let path = if by_path { Some(path_of(&db).await?) } else { None };
                    let loaded = Catalogue::load(&*db, audit.registry()).await?;
                    drop(db);
                    drop(share);
                    Ok((loaded, path))
                })
                .await
            }
            Over::Pool(db) => Catalogue::load(db, audit.registry()).await.map(shown),
            Over::Transaction(db, _) => Catalogue::load(&**db, audit.registry()).await.map(shown),
        };
        let (loaded, path) = loaded?;
        let loaded = Arc::new(loaded);
        let mut known = self.known();
        if shared && known.forgotten == forgotten {
            match path {
                None => known.catalogue = Some(Arc::clone(&loaded)),
                Some(path) => {
                    if known.by_path.len() >= PATHS {
                        known.by_path.clear();
                    }
                    known.by_path.insert(path, Arc::clone(&loaded));
                }
            }
        }
        Ok(loaded)
    }

    /// On SQLite, before the catalogue is read in a transaction that is about to write: the write lock, which would be refused to
    /// a deferred transaction that has read, if another one has written in between.
    pub(super) async fn lock_before_reading(&self, over: &Over<'_>) {
        if let (Some(engine), Over::Transaction(db, _)) = (&self.sqlite, over)
            && self.known().catalogue.is_none()
        {
            engine.lock_any(db).await;
        }
    }

    /// Forgets what was known of the database: its tables have changed.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        known.catalogue = None;
        known.by_path.clear();
        known.forgotten += 1;
        drop(known);
        self.plans.clear();
    }

    /// Forgets it when this is dropped: with a definition's end, however it ends. If the tables were changed in a transaction, it is
    /// forgotten once more when that ends: it may be rolled back, and until then others see them as they were.
    pub(super) fn forgets_after(self: &Arc<Self>, over: &Over<'_>) -> ForgetsAfter {
        let state = match over {
            Over::Pool(_) => None,
            Over::Transaction(_, state) => {
                // At once: what is planned while it is under way waits for its turn to look at the tables.
                state.defines();
                Some(Arc::clone(state))
            }
        };
        ForgetsAfter { capture: Arc::clone(self), state }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
