//! Records into their tables, each once.

use std::collections::HashSet;

use audit_core::{Entry, QueryEntry, Record};
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
    let mut entries: Vec<&Entry> = Vec::new();
    let mut queries: Vec<&QueryEntry> = Vec::new();
    for record in records {
        match record {
            Record::Entry(entry) => entries.push(entry),
            Record::Query(query) => queries.push(query),
            other => return Err(DbErr::Custom(format!("no table for the record {}", other.id()))),
        }
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
