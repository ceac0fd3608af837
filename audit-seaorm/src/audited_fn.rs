//! What `#[audit_action]` runs around a function.

use std::fmt::Display;
use std::marker::PhantomData;
use std::time::Duration;

use audit_core::{Entry, Error};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};
use tokio::sync::oneshot;

use crate::Audit;
use crate::capture::bound::within;
pub use crate::log::Operation;
use crate::store::{is_transaction, to_db_err};

/// Records what a function did. `error`: what it failed with.
///
/// A success is recorded over `db`, so that it shares the fate of the function's transaction; without `db`, over the
/// audit's own connection. A failure is recorded apart from the transaction, which is about to be rolled back: over the
/// audit's own connection, in a task of its own as long as the transaction is open.
///
/// # Errors
/// As [`Operation::log`]; [`Error::Store`] if there is no connection to write over.
pub async fn record<C: ConnectionTrait>(
    operation: Operation,
    db: Option<&C>,
    error: Option<String>,
) -> Result<(), Error> {
    let work = record_in_force(operation, db, error);
    match db {
        Some(db) => within(db, work).await,
        None => work.await,
    }
}

async fn record_in_force<C: ConnectionTrait>(
    operation: Operation,
    db: Option<&C>,
    error: Option<String>,
) -> Result<(), Error> {
    let audit = Audit::current();
    let failed = error.is_some();
    if failed && !audit.config().log_failures {
        return Ok(());
    }
    let operation = match error {
        Some(error) => operation.failed(error),
        None => operation,
    };
    let Some(entry) = operation.entry(&audit)? else { return Ok(()) };
    let in_transaction = is_transaction::<C>();
    match (db, audit.own_store()) {
        (Some(_), Some(store)) if failed && in_transaction => {
            _ = defer(&audit, store.clone(), entry);
            Ok(())
        }
        (_, Some(store)) if failed || db.is_none() => audit.write(store, vec![entry]).await,
        (Some(db), _) => {
            if failed && in_transaction {
                tracing::warn!(
                    action = %entry.action,
                    "a failure is recorded within the failing transaction, and lost with it; give the audit a connection of its own by `AuditBuilder::store`"
                );
            }
            audit.write(db, vec![entry]).await
        }
        (None, _) if audit.sink().is_some() => {
            audit.write(&sea_orm::DatabaseConnection::default(), vec![entry]).await
        }
        (None, _) => connected(),
    }
}

/// Whether a function that names no connection can be recorded.
///
/// # Errors
/// [`Error::Registration`] if the audit has no connection of its own either.
pub fn connected() -> Result<(), Error> {
    let audit = Audit::current();
    if audit.own_store().is_some() || audit.sink().is_some() || !audit.config().enabled {
        return Ok(());
    }
    Err(Error::Registration(
        "an `#[audit_action]` has no connection to be recorded over: name one by `db = ..` (an argument `db`, `conn` or `txn` that is a reference is found by itself), or give the audit its own by `AuditBuilder::store`"
            .to_owned(),
    ))
}

/// Writes the entry over a connection apart from the caller's transaction, as soon as that is possible. On SQLite, or with
/// a pool of one connection, that is after the transaction has ended; waiting for it here would wait for ourselves. What is
/// returned ends with it.
pub(crate) fn defer(audit: &Audit, store: DatabaseConnection, entry: Entry) -> oneshot::Receiver<()> {
    const PATIENCE: u32 = 20;
    let task_audit = audit.clone();
    let (ends, end) = oneshot::channel();
    let task = tokio::spawn(async move {
        let _ends = ends;
        for attempt in 1..=PATIENCE {
            match task_audit.write(&store, vec![entry.clone()]).await {
                Ok(()) => return,
                Err(error) if error.is_retryable() && attempt < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50) * attempt).await;
                }
                Err(error) => {
                    task_audit.counters().lose(1);
                    tracing::error!(%error, "the entry of a failed operation is lost");
                    return;
                }
            }
        }
    });
    audit.defer(task);
    end
}

/// The outcome of a function, seen through a reference.
#[derive(Debug)]
pub struct Outcome<'a, T>(pub &'a T);

/// Outcomes that may be errors; first choice of method resolution.
pub trait ResultOutcome {
    /// The error's text, if it is one.
    fn error(&self) -> Option<String>;
}

impl<T, E: Display> ResultOutcome for &Outcome<'_, Result<T, E>> {
    fn error(&self) -> Option<String> {
        self.0.as_ref().err().map(ToString::to_string)
    }
}

/// Results whose errors have no text, and other outcomes.
pub trait OtherOutcome {
    /// None: it is a success.
    fn error(&self) -> Option<String>;
}

impl<T> OtherOutcome for Outcome<'_, T> {
    fn error(&self) -> Option<String> {
        None
    }
}

/// A function's outcome that could not be recorded.
#[derive(Debug, Default)]
pub struct Unrecorded<T>(PhantomData<T>);

impl<T> Unrecorded<T> {
    /// For functions that return a `T`.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// Functions whose error can say that the audit failed; first choice of method resolution.
pub trait FailUnrecorded<R> {
    /// The outcome of a function that isn't run, because it couldn't be recorded.
    fn refuse(&self, error: Error) -> Option<R>;

    /// The outcome that takes the place of a success that couldn't be recorded.
    fn convert(&self, error: Error, outcome: &R) -> Option<R>;
}

impl<T, E: From<DbErr>> FailUnrecorded<Result<T, E>> for &Unrecorded<Result<T, E>> {
    fn refuse(&self, error: Error) -> Option<Result<T, E>> {
        Some(Err(E::from(to_db_err(&error))))
    }

    fn convert(&self, error: Error, outcome: &Result<T, E>) -> Option<Result<T, E>> {
        if outcome.is_err() {
            tracing::error!(%error, "a failed action could not be recorded");
            return None;
        }
        Some(Err(E::from(to_db_err(&error))))
    }
}

/// Functions whose outcome has no place for it.
pub trait LogUnrecorded<R> {
    /// None: the function runs all the same; that it won't be recorded is logged.
    fn refuse(&self, error: Error) -> Option<R>;

    /// None: the outcome stands; the loss is logged.
    fn convert(&self, error: Error, outcome: &R) -> Option<R>;
}

impl<T> LogUnrecorded<T> for Unrecorded<T> {
    fn refuse(&self, error: Error) -> Option<T> {
        tracing::error!(%error, "an action will not be recorded, and its error type can't say so (it needs `From<DbErr>`)");
        None
    }

    fn convert(&self, error: Error, _outcome: &T) -> Option<T> {
        tracing::error!(%error, "an action could not be recorded, and its error type can't say so (it needs `From<DbErr>`)");
        None
    }
}
