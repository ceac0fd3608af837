//! Records into their tables, each once.

use std::collections::HashSet;

use audit_core::{Entry, Error, QueryEntry, Record, Sink};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QuerySelect,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use uuid::Uuid;

use crate::entity::{audit_log, audit_query};
use crate::store::batches;

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
    let mut entries: Vec<&Entry> = records.iter().filter_map(Record::as_entry).collect();
    let mut queries: Vec<&QueryEntry> = records.iter().filter_map(Record::as_query).collect();
    if entries.len() + queries.len() < records.len() {
        return Err(DbErr::Custom("there is no table for a sort of record".into()));
    }
    // On SQLite a lock that a read has to be raised to is refused if another writer came in between.
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = db.begin_with_options(options).await?;
    if again {
        let known =
            there::<audit_log::Entity>(&transaction, audit_log::Column::Id, ids(&entries, |e| e.id)).await?;
        entries.retain(|entry| !known.contains(&entry.id));
        let known =
            there::<audit_query::Entity>(&transaction, audit_query::Column::Id, ids(&queries, |q| q.id))
                .await?;
        queries.retain(|query| !known.contains(&query.id));
    }
    for batch in batches(&entries) {
        let models = batch.iter().map(|entry| audit_log::ActiveModel::from(*entry));
        audit_log::Entity::insert_many(models).exec_without_returning(&transaction).await?;
    }
    for batch in batches(&queries) {
        let models = batch.iter().map(|query| audit_query::ActiveModel::from(*query));
        audit_query::Entity::insert_many(models).exec_without_returning(&transaction).await?;
    }
    transaction.commit().await?;
    Ok(entries.len() + queries.len())
}

/// Hands records to a sink. After a failure it may get some a second time; their ids tell.
///
/// # Errors
/// As the sink says.
pub(super) async fn deliver_to(sink: &dyn Sink, records: &[Record]) -> Result<(), Error> {
    let entries: Vec<Entry> = records.iter().filter_map(Record::as_entry).cloned().collect();
    let queries: Vec<QueryEntry> = records.iter().filter_map(Record::as_query).cloned().collect();
    if !entries.is_empty() {
        sink.record(&entries).await?;
    }
    if !queries.is_empty() {
        sink.record_queries(&queries).await?;
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
