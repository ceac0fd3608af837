//! Records into their tables, each once.

use std::collections::HashSet;

use audit_core::{
    Entry, Error, Export, LoginAttempt, Query, Record, Recorded, Sink, SystemEvent, Transition, Violation,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
    QuerySelect, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use uuid::Uuid;

use crate::entity::{StoredFamily, audit_log, audit_violation};
use crate::store::{batches, insert};

/// Ids in one question.
const ASKED: usize = 500;

/// Writes records in a transaction of their own, and says how many. `again`: some of them may be there already; they are
/// left out.
///
/// # Errors
/// As the database says; then none of them is written, unless the connection broke as it committed.
pub(super) async fn deliver(
    db: &DatabaseConnection,
    records: &[Record],
    again: bool,
) -> Result<usize, DbErr> {
    // On SQLite a lock that a read has to be raised to is refused if another writer came in between.
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = db.begin_with_options(options).await?;
    let written = write(&transaction, records, again).await?;
    transaction.commit().await?;
    Ok(written)
}

/// Writes records within a transaction, and says how many.
///
/// # Errors
/// As the database says.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    records: &[Record],
    again: bool,
) -> Result<usize, DbErr> {
    let mut entries: Vec<&Entry> = records.iter().filter_map(Record::as_entry).collect();
    if again {
        let known =
            there::<audit_log::Entity>(transaction, audit_log::Column::Id, ids(&entries, |e| e.id)).await?;
        entries.retain(|entry| !known.contains(&entry.id));
    }
    for batch in batches(&entries) {
        transaction.execute_raw(insert(transaction.get_database_backend(), batch)).await?;
    }
    Ok(entries.len()
        + write_family::<Query>(transaction, records, again).await?
        + write_family::<Export>(transaction, records, again).await?
        + write_violations(transaction, records, again).await?
        + write_family::<LoginAttempt>(transaction, records, again).await?
        + write_family::<SystemEvent>(transaction, records, again).await?
        + write_family::<Transition>(transaction, records, again).await?)
}

/// There is one violation for each finding, whoever finds it.
async fn write_violations(
    transaction: &DatabaseTransaction,
    records: &[Record],
    again: bool,
) -> Result<usize, DbErr> {
    let mut violations: Vec<&Recorded<Violation>> = records.iter().filter_map(Violation::of).collect();
    let mut known = HashSet::new();
    for violation in &violations {
        if let Some(finding) = &violation.what.finding {
            let column = audit_violation::Column::Finding;
            let asked =
                audit_violation::Entity::find().select_only().column(column).filter(column.eq(finding));
            known.extend(asked.into_tuple::<String>().one(transaction).await?);
        }
    }
    violations.retain(|violation| violation.what.finding.clone().is_none_or(|finding| known.insert(finding)));
    write_all(transaction, violations, again).await
}

async fn write_family<F: StoredFamily>(
    transaction: &DatabaseTransaction,
    records: &[Record],
    again: bool,
) -> Result<usize, DbErr> {
    write_all(transaction, records.iter().filter_map(F::of).collect(), again).await
}

async fn write_all<F: StoredFamily>(
    transaction: &DatabaseTransaction,
    mut records: Vec<&Recorded<F>>,
    again: bool,
) -> Result<usize, DbErr> {
    if again {
        let known = there::<F::Entity>(transaction, F::id(), ids(&records, |record| record.id)).await?;
        records.retain(|record| !known.contains(&record.id));
    }
    for batch in batches(&records) {
        let rows = batch.iter().map(|record| F::row(record));
        F::Entity::insert_many(rows).exec_without_returning(transaction).await?;
    }
    Ok(records.len())
}

/// Hands records to a sink. After a failure it may get some a second time; their ids tell.
///
/// # Errors
/// As the sink says.
pub(super) async fn deliver_to(sink: &dyn Sink, records: &[Record]) -> Result<(), Error> {
    let entries: Vec<Entry> = records.iter().filter_map(Record::as_entry).cloned().collect();
    let others: Vec<Record> = records.iter().filter(|record| record.as_entry().is_none()).cloned().collect();
    if !entries.is_empty() {
        sink.record(&entries).await?;
    }
    if !others.is_empty() {
        sink.record_others(&others).await?;
    }
    Ok(())
}

fn ids<T>(records: &[&T], id: impl Fn(&T) -> Uuid) -> Vec<Uuid> {
    records.iter().map(|record| id(record)).collect()
}

/// Which of these ids are in a table.
async fn there<E: EntityTrait>(
    db: &DatabaseTransaction,
    column: E::Column,
    ids: Vec<Uuid>,
) -> Result<HashSet<Uuid>, DbErr> {
    let mut there = HashSet::new();
    for ids in ids.chunks(ASKED) {
        let asked = E::find().select_only().column(column).filter(column.is_in(ids.iter().copied()));
        there.extend(asked.into_tuple::<Uuid>().all(db).await?);
    }
    Ok(there)
}
