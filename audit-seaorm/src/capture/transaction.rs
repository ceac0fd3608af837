//! A transaction in which every statement is captured.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use audit_core::{AuditContext, Entry, Error};
use sea_orm::prelude::Uuid;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, IsolationLevel, QueryResult,
    Statement, StreamTrait, TransactionOptions,
};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::begin::{self, Share, Turn};
use super::bound::Bound;
use super::request::{Answer, Ask, Request};
use super::stream::AuditStream;
use super::traits::{begins, ends, sends};
use super::work::{Capture, Over};
use crate::db_error::is_answer;
use crate::store::to_db_err;
use crate::writer::Tickets;

/// A [`DatabaseTransaction`] in which every write to an audited table is captured; see
/// [`AuditConnection`](super::AuditConnection). Its entries carry one `transaction_id` and share its fate; those of a
/// nested transaction share that one's.
#[derive(Debug)]
pub struct AuditTransaction {
    /// Shared with a write that goes on to its end though its future was dropped.
    inner: Arc<DatabaseTransaction>,
    /// Dropped after it.
    hold: Hold,
    /// Dropped after both.
    forgets: Forgets,
    capture: Arc<Capture>,
    context: Option<Arc<AuditContext>>,
    state: Arc<State>,
}

/// Keeps a transaction until its connection is free, however it is let go: SeaORM can't roll back one that is dropped while its
/// connection is in use, and panics. What is in use is that of a write, of a transaction around it, that was dropped before.
#[derive(Debug)]
struct Hold {
    inner: Option<Arc<DatabaseTransaction>>,
    state: Arc<State>,
}

impl Hold {
    fn of(inner: &Arc<DatabaseTransaction>, state: &Arc<State>) -> Self {
        Self { inner: Some(Arc::clone(inner)), state: Arc::clone(state) }
    }
}

/// Forgets what was known of the tables that were changed in a transaction, once it has ended, however it did.
#[derive(Debug)]
struct Forgets {
    state: Arc<State>,
    capture: Arc<Capture>,
}

impl Drop for Forgets {
    fn drop(&mut self) {
        if self.state.has_defined() {
            self.capture.forget();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A write of its own that is under way lets it go with its turn.
        let Some(inner) = self.inner.take().and_then(Arc::into_inner) else { return };
        let outers = self.state.outers();
        let mut turn = Box::pin(Arc::clone(&self.state.turn).lock_owned());
        // Asked for now: whoever asks later finds the transaction rolled back.
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => {
                drop(inner);
                drop(Share { outers, turn: Some(turn) });
            }
            Poll::Pending => {
                // A runtime that ends drops this task at any time, also while the connection is in use.
                let kept = ManuallyDrop::new((inner, outers));
                let free = |turn: Turn, kept| {
                    let (inner, outers) = ManuallyDrop::into_inner(kept);
                    drop::<DatabaseTransaction>(inner);
                    drop(Share { outers, turn: Some(turn) });
                };
                match Handle::try_current() {
                    Ok(runtime) => _ = runtime.spawn(async move { free(turn.await, kept) }),
                    // Outside of one, who drops it may wait.
                    Err(_) => {
                        drop(turn);
                        free(Arc::clone(&self.state.turn).blocking_lock_owned(), kept);
                    }
                }
            }
        }
    }
}

/// What capture has to remember of a transaction.
#[derive(Debug)]
pub(super) struct State {
    /// Names the outermost transaction in its entries.
    pub(super) id: Arc<str>,
    /// Held while a statement, with its entries, is under way: several tasks may share a transaction, and a nested one has the
    /// same connection.
    turn: Arc<Mutex<()>>,
    /// A write that is under way; what is left here when its future was dropped half-way.
    unfinished: StdMutex<Option<Unfinished>>,
    /// Whether there was a captured write before.
    written: AtomicBool,
    /// How often tables may have been changed, or made, in it.
    defined: AtomicU64,
    /// How often names may have come to mean other tables in it than elsewhere.
    renamed: AtomicU64,
    /// Its entries in the spool.
    pub(super) tickets: Tickets,
    /// Of a nested transaction, the one around it.
    outer: Option<Arc<State>>,
    /// The transaction itself.
    own: OnceLock<Weak<DatabaseTransaction>>,
    /// The isolation that it was begun with, if one was asked for.
    isolation: OnceLock<IsolationLevel>,
}

/// A write whose entries may not have been written.
#[derive(Clone, Debug)]
pub(super) struct Unfinished {
    pub(super) context: Arc<AuditContext>,
    /// The first and the last of its entries, once there was an attempt to write them.
    pub(super) entries: Option<[Uuid; 2]>,
    /// How many tickets there were before it.
    pub(super) tickets: usize,
}

impl State {
    pub(super) fn new() -> Self {
        Self::of(uuid::Uuid::now_v7().simple().to_string().into(), None)
    }

    fn of(id: Arc<str>, outer: Option<Arc<Self>>) -> Self {
        Self {
            id,
            turn: outer.as_ref().map_or_else(Arc::default, |outer| Arc::clone(&outer.turn)),
            unfinished: StdMutex::new(None),
            written: AtomicBool::new(false),
            defined: AtomicU64::new(0),
            renamed: AtomicU64::new(0),
            tickets: Tickets::default(),
            outer,
            own: OnceLock::new(),
            isolation: OnceLock::new(),
        }
    }

    /// The isolation that the outermost transaction was begun with; `None` if it is the session's.
    pub(super) fn isolation(&self) -> Option<IsolationLevel> {
        match &self.outer {
            Some(outer) => outer.isolation(),
            None => self.isolation.get().copied(),
        }
    }

    /// Waits until nothing is under way in the transaction. Whoever goes on though his future was dropped has to have it before:
    /// else the transaction might end, or go on, without him.
    pub(super) async fn turn(&self) -> Turn {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// What who goes on with a write though its future was dropped needs beside the transaction itself.
    pub(super) async fn share(&self) -> Share {
        let turn = Some(self.turn().await);
        Share { outers: self.outers(), turn }
    }

    /// The transactions around it.
    fn outers(&self) -> Vec<Arc<DatabaseTransaction>> {
        let states = std::iter::successors(self.outer.as_ref(), |state| state.outer.as_ref());
        states.filter_map(|state| state.own.get()?.upgrade()).collect()
    }

    /// Nobody can tell any more what becomes of the entries in the spool so far.
    pub(super) async fn doubt(&self) {
        self.tickets.doubt().await;
        let mut outer = self.outer.as_ref();
        while let Some(state) = outer {
            state.tickets.doubt().await;
            outer = state.outer.as_ref();
        }
    }

    /// Tells the entries in the spool how the commit ended.
    pub(super) async fn committed(&self, result: &Result<(), DbErr>) {
        match (result, &self.outer) {
            (Ok(()), Some(outer)) => self.tickets.pass_to(&outer.tickets),
            (Ok(()), None) => self.tickets.confirm().await,
            // The database says that it hasn't.
            (Err(error), _) if is_answer(error) => self.tickets.cancel_from(0),
            (Err(_), _) => self.tickets.doubt().await,
        }
    }

    /// It and those around it.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |state| state.outer.as_deref())
    }

    /// From here on what is known of the database may hold for this transaction alone.
    pub(super) fn defines(&self) {
        self.all().for_each(|state| _ = state.defined.fetch_add(1, Ordering::Relaxed));
    }

    /// Whether what is known of the database may hold for this transaction alone. A nested one sees what those around it have defined.
    pub(super) fn has_defined(&self) -> bool {
        self.all().any(|state| state.defined.load(Ordering::Relaxed) > 0)
    }

    /// From here on names may mean other tables.
    pub(super) fn renames(&self) {
        self.all().for_each(|state| _ = state.renamed.fetch_add(1, Ordering::Relaxed));
    }

    /// Whether names may mean other tables than elsewhere.
    pub(super) fn has_renamed(&self) -> bool {
        self.all().any(|state| state.renamed.load(Ordering::Relaxed) > 0)
    }

    /// How often either was said, as far as plans go by it.
    pub(super) fn changes(&self) -> u64 {
        let of = |state: &Self| state.defined.load(Ordering::Relaxed) + state.renamed.load(Ordering::Relaxed);
        self.all().map(of).sum()
    }

    /// Whether this is the first captured write.
    pub(super) fn first_write(&self) -> bool {
        !self.written.swap(true, Ordering::Relaxed)
    }

    /// From here on the database may hold a change without its entry.
    pub(super) fn begin_write(&self, context: &Arc<AuditContext>) {
        *self.lock() =
            Some(Unfinished { context: Arc::clone(context), entries: None, tickets: self.tickets.len() });
    }

    /// From here on some of the entries may have been written.
    pub(super) fn begin_entries(&self, entries: &[Entry]) {
        if let (Some(unfinished), [first, ..], [.., last]) = (&mut *self.lock(), entries, entries) {
            unfinished.entries = Some([first.id, last.id]);
        }
    }

    /// Change and entries are both there, or neither is.
    pub(super) fn end_write(&self) {
        *self.lock() = None;
    }

    pub(super) fn has_unfinished(&self) -> bool {
        self.lock().is_some()
    }

    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Unfinished>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditTransaction {
    pub(super) fn begun(
        inner: DatabaseTransaction,
        capture: Arc<Capture>,
        context: Option<Arc<AuditContext>>,
        isolation: Option<IsolationLevel>,
    ) -> Self {
        let (inner, state) = (Arc::new(inner), State::new());
        state.own.get_or_init(|| Arc::downgrade(&inner));
        if let Some(isolation) = isolation {
            state.isolation.get_or_init(|| isolation);
        }
        Self::of(inner, state, capture, context)
    }

    fn nested(&self, inner: DatabaseTransaction) -> Self {
        let (inner, state) =
            (Arc::new(inner), State::of(Arc::clone(&self.state.id), Some(Arc::clone(&self.state))));
        state.own.get_or_init(|| Arc::downgrade(&inner));
        Self::of(inner, state, Arc::clone(&self.capture), self.context.clone())
    }

    fn of(
        inner: Arc<DatabaseTransaction>,
        state: State,
        capture: Arc<Capture>,
        context: Option<Arc<AuditContext>>,
    ) -> Self {
        let state = Arc::new(state);
        let forgets = Forgets { state: Arc::clone(&state), capture: Arc::clone(&capture) };
        Self { hold: Hold::of(&inner, &state), forgets, inner, capture, context, state }
    }

    pub(crate) fn audit(&self) -> &crate::Audit {
        self.capture.audit()
    }

    /// What the entries of this transaction carry as `transaction_id`, unless the context names another.
    pub fn transaction_id(&self) -> &str {
        &self.state.id
    }

    /// Runs `block` over the transaction without capture, and records that it was done, with the reason, in an entry of
    /// severity high that is written first.
    ///
    /// # Errors
    /// If that entry can't be written; then `block` doesn't run.
    pub async fn without_audit<T>(
        &self,
        reason: impl Into<String>,
        block: impl AsyncFnOnce(&DatabaseTransaction) -> T,
    ) -> Result<T, DbErr> {
        self.capture.settle(&self.inner, &self.state).await?;
        self.capture
            .record_suspension(&*self.inner, self.context.as_ref(), Some(&self.state), reason.into())
            .await?;
        // Nobody knows what it defines.
        let _forgets = self.capture.forgets_after(&Over::Transaction(&self.inner, &self.state));
        Ok(crate::suspended(block(&self.inner)).await)
    }

    fn tell_bound(&self) {
        Bound::tell(self.capture.audit(), self.context.as_ref(), Some(&self.state.id));
    }

    async fn start(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        let share = self.state.share().await;
        // What a dropped write has left is of this transaction, not of the nested one's next write.
        self.capture.complete(&self.inner, &self.state).await.map_err(|error| to_db_err(&error))?;
        Ok(self.nested(begin::begin(&self.inner, share, options).await?))
    }

    async fn run(&self, request: Request<'_>, ask: Ask) -> Result<Answer, DbErr> {
        let over = Over::Transaction(&self.inner, &self.state);
        self.capture.run(over, self.context.as_ref(), request, ask).await
    }

    /// Commits, with the entries. Once it waits for the database it goes on to its end, also if its future is dropped.
    ///
    /// # Errors
    /// As [`DatabaseTransaction::commit`]; also if a write was cancelled half-way and its entries can't be completed:
    /// then everything is rolled back.
    pub async fn commit(self) -> Result<(), DbErr> {
        let share = self.state.share().await;
        // The drivers would send a rollback after the commit that they didn't see end. To a savepoint that is gone, that is an
        // error: of the next statement, or of a connection on its way back to the pool, which may then wait for ever to be closed.
        begin::to_the_end(async move {
            let result = self.commit_in_turn().await;
            drop(share);
            result
        })
        .await
    }

    async fn commit_in_turn(self) -> Result<(), DbErr> {
        let completed = self.capture.complete(&self.inner, &self.state).await;
        let Self { inner, state, hold, forgets: _forgets, .. } = self;
        let inner = own(inner, hold)?;
        match completed {
            Ok(()) => {
                // PostgreSQL answers the commit of a transaction that has failed before by rolling it back, without an error.
                let postgres = ConnectionTrait::get_database_backend(&inner) == DbBackend::Postgres;
                let asks = postgres && state.tickets.len() > 0;
                if asks && inner.execute_unprepared("SELECT 1").await.is_err() {
                    state.tickets.cancel_from(0);
                }
                state.tickets.commit_begins();
                let result = inner.commit().await;
                state.committed(&result).await;
                result
            }
            Err(error) => {
                inner.rollback().await?;
                Err(to_db_err(&error))
            }
        }
    }

    /// Rolls back, with the entries.
    ///
    /// # Errors
    /// As [`DatabaseTransaction::rollback`].
    pub async fn rollback(self) -> Result<(), DbErr> {
        let _turn = self.state.turn().await;
        let Self { inner, hold, forgets: _forgets, .. } = self;
        own(inner, hold)?.rollback().await
    }
}

/// The transaction itself. Whoever has the turn is the only one to have it: others give their share back before their turn ends.
fn own(inner: Arc<DatabaseTransaction>, hold: Hold) -> Result<DatabaseTransaction, DbErr> {
    drop(hold);
    Arc::into_inner(inner)
        .ok_or_else(|| DbErr::Custom("a write is still under way in the transaction".into()))
}

/// The error of a write whose entries can't be completed.
pub(super) fn unfinished() -> Error {
    Error::Refused(
        "a write in this transaction was cancelled before its entries were written; roll back and try again"
            .into(),
    )
}

sends!(AuditTransaction, DatabaseTransaction);
begins!(AuditTransaction, AuditTransaction);
ends!(AuditTransaction);

impl StreamTrait for AuditTransaction {
    type Stream<'a> = AuditStream<'a>;

    fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(&*self.inner)
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        Box::pin(async move {
            let over = Over::Transaction(&self.inner, &self.state);
            let reading = self.capture.streams(&over, self.context.as_ref(), &statement).await?;
            if let Some(reading) = reading {
                drop(self.state.turn().await);
                return AuditStream::of_transaction(self.inner.stream_raw(statement).await, reading).await;
            }
            let rows = self.run(Request::Prepared(statement), Ask::All).await?.rows();
            Ok(AuditStream::of_rows(rows))
        })
    }
}
