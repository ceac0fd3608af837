//! Writing entries to the table.

mod insert;

use std::borrow::Borrow;

use audit_core::{Entry, Error, FailurePolicy};
use sea_orm::sea_query::{Expr, ExprTrait, InsertStatement, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseExecutor, DatabaseTransaction, DbBackend,
    DbErr, EntityTrait, RuntimeErr,
};

pub(crate) use self::insert::insert;
use crate::Audit;
use crate::capture::{AuditConnection, AuditTransaction};
use crate::db_error::{aborts_transaction, describe, is_retryable};
use crate::entity::audit_log;
use crate::writer::{Fate, Tickets};

/// Most rows in one statement: an entry has 31 parameters, and SQLite takes 32,766.
const BATCH: usize = 512;

/// Cuts `all` into batches of few different sizes. A statement for another number of rows is another text, which the
/// database has to prepare; and MySQL's driver pays for each one that its cache gives up with a wait of 40 ms.
pub(crate) fn batches<T>(all: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let size = match rest.len() {
            0 => return None,
            few @ 1..=8 => few,
            more => (1_usize << more.ilog2()).min(BATCH),
        };
        let (batch, others) = rest.split_at(size);
        rest = others;
        Some(batch)
    })
}

impl Audit {
    /// Finishes and writes the entries of one operation over `db`, so that they share its fate.
    ///
    /// Each resource's policy counts for its own entries; those that must not be lost go first.
    ///
    /// # Errors
    /// [`Error::Store`] if an entry can't be written whose resource's policy is [`FailurePolicy::Block`]. Under
    /// [`FailurePolicy::BestEffort`] the loss is logged and counted, and counts as done; under [`FailurePolicy::Outbox`] the
    /// entry goes to the spool, and only if that fails it is an error.
    pub(crate) async fn write<C: ConnectionTrait>(&self, db: &C, entries: Vec<Entry>) -> Result<(), Error> {
        self.write_with(db, entries, With::Nothing, fate_over::<C>()).await.map(|_| ())
    }

    /// Like [`write`](Self::write) in a transaction whose end these tickets are told.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn write_within<C: ConnectionTrait>(
        &self,
        db: &C,
        entries: Vec<Entry>,
        tickets: &Tickets,
    ) -> Result<(), Error> {
        self.write_with(db, entries, With::Nothing, Fate::Of(tickets)).await.map(|_| ())
    }

    /// Like [`write`](Self::write), unless this is so in the database: the condition goes along with the entry, and saves a
    /// statement of its own. Tells whether it was so; then nothing is written.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn write_unless<C: ConnectionTrait>(
        &self,
        db: &C,
        entry: Entry,
        condition: Expr,
    ) -> Result<bool, Error> {
        self.write_with(db, vec![entry], With::Unless(condition), fate_over::<C>()).await
    }

    /// Like [`write_within`](Self::write_within); on SQLite, where one call may have several statements, followed by these.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) async fn write_then<C: ConnectionTrait>(
        &self,
        db: &C,
        entries: Vec<Entry>,
        statements: &'static str,
        tickets: &Tickets,
    ) -> Result<(), Error> {
        let refused = |error: &DbErr| store_error(&[], error);
        let apart = self.sink().is_some() || entries.iter().any(|entry| !self.blocks(entry));
        if apart || entries.is_empty() {
            self.write_within(db, entries, tickets).await?;
            return db.execute_unprepared(statements).await.map(|_| ()).map_err(|error| refused(&error));
        }
        self.write_with(db, entries, With::Statements(statements), Fate::Of(tickets)).await.map(|_| ())
    }

    /// What becomes of an operation whose entry can't even be made.
    ///
    /// # Errors
    /// This one, unless the resource's policy lets the operation go on.
    pub(crate) fn without_entry(&self, resource: &str, error: Error) -> Result<(), Error> {
        self.lose(self.on_failure(resource), 1, error)
    }

    async fn write_with<C: ConnectionTrait>(
        &self,
        db: &C,
        entries: Vec<Entry>,
        with: With,
        fate: Fate<'_>,
    ) -> Result<bool, Error> {
        let policy = |entry: &Entry| self.on_failure(&entry.resource.kind);
        let Some(first) = entries.first().map(policy) else { return Ok(false) };
        if entries.iter().all(|entry| policy(entry) == first) {
            return self.write_under(first, db, entries, with, fate).await;
        }
        // Each policy for itself; what goes along goes with the last.
        let mut rest = self.in_order_of_writing(entries);
        while let Some(first) = rest.first().map(policy) {
            let end = rest.iter().position(|entry| policy(entry) != first).unwrap_or(rest.len());
            let others = rest.split_off(end);
            if others.is_empty() {
                return self.write_under(first, db, rest, with, fate).await;
            }
            self.write_under(first, db, rest, With::Nothing, fate).await?;
            rest = others;
        }
        Ok(false)
    }

    /// Those of the strictest policy first.
    pub(crate) fn in_order_of_writing(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        entries.sort_by_key(|entry| self.on_failure(&entry.resource.kind));
        entries
    }

    fn blocks(&self, entry: &Entry) -> bool {
        self.on_failure(&entry.resource.kind) == FailurePolicy::Block
    }

    /// Writes entries of one policy.
    async fn write_under<C: ConnectionTrait>(
        &self,
        policy: FailurePolicy,
        db: &C,
        mut entries: Vec<Entry>,
        with: With,
        fate: Fate<'_>,
    ) -> Result<bool, Error> {
        entries.iter_mut().for_each(Entry::finish);
        let failed = |error: &DbErr| store_error(&entries, error);
        if let Some(sink) = self.sink() {
            if let With::Unless(condition) = with
                && ask(db, condition).await.map_err(|error| failed(&error))?
            {
                return Ok(true);
            }
            return match sink.record(&entries).await {
                Ok(()) => Ok(false),
                Err(error) => self.give_up(policy, entries, error, fate).await.map(|()| false),
            };
        }
        let mut written = 0;
        if policy == FailurePolicy::Block {
            return write_all(db, &entries, with, &mut written).await.map_err(|error| failed(&error));
        }
        // A failed statement would poison PostgreSQL's transaction, and the business write with it. Elsewhere it may have
        // ended the whole transaction: whether it is still there, its savepoint tells.
        let savepoint = set_savepoint(db).await.map_err(|error| failed(&error))?;
        let error = match write_all(db, &entries, with, &mut written).await {
            Ok(answer) => {
                if savepoint {
                    db.execute_unprepared(RELEASE).await.map_err(|error| failed(&error))?;
                }
                return Ok(answer);
            }
            Err(error) => error,
        };
        if savepoint {
            let gone = aborts_transaction(&error)
                || db.execute_unprepared(ROLL_BACK).await.is_err()
                || db.execute_unprepared(RELEASE).await.is_err();
            if gone {
                // The business write is gone with the entry: no policy may hide that.
                return Err(failed(&error));
            }
            written = 0;
        }
        let error = failed(&error);
        self.give_up(policy, entries.split_off(written), error, fate).await.map(|()| false)
    }

    /// What becomes of entries that couldn't be written.
    async fn give_up(
        &self,
        policy: FailurePolicy,
        entries: Vec<Entry>,
        error: Error,
        fate: Fate<'_>,
    ) -> Result<(), Error> {
        if policy != FailurePolicy::Outbox {
            return self.lose(policy, entries.len(), error);
        }
        tracing::warn!(%error, spooled = entries.len(), "audit entries go to the spool");
        self.writer().outbox(entries, fate).await
    }

    fn lose(&self, policy: FailurePolicy, entries: usize, error: Error) -> Result<(), Error> {
        if policy != FailurePolicy::BestEffort {
            return Err(error);
        }
        self.counters().lose(entries);
        tracing::error!(%error, lost = entries, "audit entries lost; the policy is best effort");
        Ok(())
    }
}

const SAVEPOINT: &str = "SAVEPOINT audit_entry";
pub(crate) const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT audit_entry";
pub(crate) const RELEASE: &str = "RELEASE SAVEPOINT audit_entry";

/// Sets a savepoint, if `db` is in a transaction.
pub(crate) async fn set_savepoint<C: ConnectionTrait>(db: &C) -> Result<bool, DbErr> {
    if is_transaction::<C>() {
        return db.execute_unprepared(SAVEPOINT).await.map(|_| true);
    }
    // The migrator's connection doesn't tell what it is; PostgreSQL refuses a savepoint outside of a transaction.
    let migrator = typeid::of::<C>() == typeid::of::<DatabaseExecutor<'static>>();
    let asks = migrator && db.get_database_backend() == DbBackend::Postgres;
    Ok(asks && db.execute_unprepared(SAVEPOINT).await.is_ok())
}

/// Whether what is written over a connection of this type is known to share a transaction's fate.
pub(crate) fn is_transaction<C>() -> bool {
    let connection = typeid::of::<C>();
    connection == typeid::of::<DatabaseTransaction>() || connection == typeid::of::<AuditTransaction>()
}

/// Whether a connection of this type is known to take a statement as it is: a restricted one wants to see what is in it.
fn takes_raw<C>() -> bool {
    let connection = typeid::of::<C>();
    is_transaction::<C>()
        || connection == typeid::of::<DatabaseConnection>()
        || connection == typeid::of::<AuditConnection>()
}

/// What is known of the fate of what is written over a connection of this type, without a transaction's own word.
fn fate_over<C>() -> Fate<'static> {
    let migrator = typeid::of::<C>() == typeid::of::<DatabaseExecutor<'static>>();
    if migrator || is_transaction::<C>() { Fate::Unknown } else { Fate::Committed }
}

/// What goes to the database along with entries.
enum With {
    Nothing,
    /// The condition under which they aren't written.
    Unless(Expr),
    Statements(&'static str),
}

/// Writes entries, and counts those that were written before a failure. Tells whether a condition stood against it.
async fn write_all<C: ConnectionTrait>(
    db: &C,
    entries: &[Entry],
    with: With,
    written: &mut usize,
) -> Result<bool, DbErr> {
    for batch in batches(entries) {
        let last = *written + batch.len() == entries.len();
        if let With::Unless(condition) = &with {
            for entry in batch {
                if db.execute(&insert_unless(entry, condition)?).await?.rows_affected() == 0 {
                    return Ok(true);
                }
                *written += 1;
            }
            continue;
        }
        if !takes_raw::<C>() {
            let rows = batch.iter().map(audit_log::ActiveModel::from);
            audit_log::Entity::insert_many(rows).exec_without_returning(db).await?;
            *written += batch.len();
            continue;
        }
        let mut insert = insert(db.get_database_backend(), batch);
        if let (With::Statements(statements), true) = (&with, last) {
            insert.sql.push_str("; ");
            insert.sql.push_str(statements);
        }
        db.execute_raw(insert).await?;
        *written += batch.len();
    }
    Ok(false)
}

/// The insertion of an entry, which does nothing if this is so.
fn insert_unless(entry: &Entry, condition: &Expr) -> Result<InsertStatement, DbErr> {
    let mut values = Query::select();
    for (column, value) in audit_log::FILLED.into_iter().zip(audit_log::values(entry)) {
        values.expr(column.save_as(Expr::val(value)));
    }
    values.and_where(condition.clone().not());
    let mut insert = Query::insert();
    insert.into_table(audit_log::Entity).columns(audit_log::FILLED);
    insert.select_from(values).map_err(|error| DbErr::Query(RuntimeErr::Internal(error.to_string())))?;
    Ok(insert)
}

/// The question by itself, where no entry goes to the database.
async fn ask<C: ConnectionTrait>(db: &C, question: Expr) -> Result<bool, DbErr> {
    let row = db.query_one(&Query::select().expr(question).to_owned()).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index(0))
}

fn store_error(entries: &[Entry], error: &DbErr) -> Error {
    let (action, resource) = entries
        .first()
        .map_or_else(Default::default, |entry| (entry.action.to_string(), entry.resource.kind.to_string()));
    Error::Store { action, resource, reason: describe(error).to_owned(), retryable: is_retryable(error) }
}

/// The audit's error as one of SeaORM's, with its message, for code that has both kinds; [`is_audit_error`] still tells them apart.
///
/// ```
/// use audit_seaorm::{Error, is_audit_error, to_db_err};
///
/// let recorded: Result<(), Error> = Err(Error::Refused("why".into()));
/// let error = recorded.map_err(to_db_err).unwrap_err();
/// assert!(is_audit_error(&error));
/// ```
pub fn to_db_err(error: impl Borrow<Error>) -> DbErr {
    DbErr::Custom(format!("{PREFIX}{}", error.borrow()))
}

const PREFIX: &str = "audit: ";

/// Whether a SeaORM error means that an operation was refused or undone because it couldn't be recorded.
pub fn is_audit_error(error: &DbErr) -> bool {
    matches!(error, DbErr::Custom(text) if text.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::batches;

    #[test]
    fn batches_have_few_sizes_and_leave_nothing_out() {
        let sizes = |count: usize| batches(&vec![(); count]).map(<[()]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(0), [0; 0]);
        assert_eq!(sizes(7), [7]);
        assert_eq!(sizes(29), [16, 8, 5]);
        assert_eq!(sizes(1500), [512, 512, 256, 128, 64, 16, 8, 4]);
    }
}
