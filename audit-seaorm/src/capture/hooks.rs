//! What `#[audited]` runs around SeaORM's saves and deletes.
//!
//! The order is: the user's `before_*`, then ours, which reads and locks the row as it is; the write; ours again, which
//! compares and records, on the same connection; then the user's `after_*`. Our half of the after-hook comes first, so
//! that what the database holds is recorded before user code can fail.
//!
//! Within a transaction the row is locked from the reading on, and the record is exact. On a bare pool nothing holds
//! the row between the statements: another writer may come in between, and the record says so only as far as this
//! process knows. That is what `docs/ARCHITECTURE.md` means by "hooks belong in a transaction".

use std::any::TypeId;
use std::sync::atomic::Ordering;

use audit_core::{
    Changes, Diff, Entry, Error, FieldValues, Resource, ResourcePolicy, action, join_key, snapshot_json,
};
use sea_orm::sea_query::{LockType, ValueTuple};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, Condition, ConnectionTrait, DatabaseConnection, DatabaseExecutor,
    DbBackend, DbErr, EntityTrait, FromQueryResult, IntoActiveModel, Iterable, ModelTrait,
    PrimaryKeyToColumn, QueryFilter, QuerySelect, QueryTrait, UpdateResult,
};
use std::sync::Arc;

use super::pending::{BeforeImages, Key, Write};
use super::{render, triggers};
use crate::Audit;
use crate::registry::Audited;
use crate::store::to_db_err;

type ModelOf<A> = <<A as ActiveModelTrait>::Entity as EntityTrait>::Model;

/// The user's own hooks, as they stand in the `impl` that `#[audited]` was put on. Not to be implemented by hand.
#[async_trait::async_trait]
pub trait UserHooks: ActiveModelTrait {
    /// See [`ActiveModelBehavior::before_save`].
    async fn before_save<C>(self, _db: &C, _insert: bool) -> Result<Self, DbErr>
    where
        C: ConnectionTrait,
    {
        Ok(self)
    }

    /// See [`ActiveModelBehavior::after_save`].
    async fn after_save<C>(
        model: <Self::Entity as EntityTrait>::Model,
        _db: &C,
        _insert: bool,
    ) -> Result<<Self::Entity as EntityTrait>::Model, DbErr>
    where
        C: ConnectionTrait,
    {
        Ok(model)
    }

    /// See [`ActiveModelBehavior::before_delete`].
    async fn before_delete<C>(self, _db: &C) -> Result<Self, DbErr>
    where
        C: ConnectionTrait,
    {
        Ok(self)
    }

    /// See [`ActiveModelBehavior::after_delete`].
    async fn after_delete<C>(self, _db: &C) -> Result<Self, DbErr>
    where
        C: ConnectionTrait,
    {
        Ok(self)
    }
}

/// Before an insert or update: keeps the row as it is.
pub async fn before_save<A, C>(model: A, db: &C, insert: bool) -> Result<A, DbErr>
where
    A: ActiveModelTrait + Send,
    ModelOf<A>: Send + 'static,
    C: ConnectionTrait,
{
    let action = if insert { action::CREATE } else { action::UPDATE };
    let Some((audit, audited)) = capture::<A::Entity, C>(action)? else { return Ok(model) };
    // Refused before anything is written, not after.
    audit.context(action, &audited.policy.resource).map_err(|error| to_db_err(&error))?;
    if !insert && let Some(row) = stored_row::<A, C>(&model, db, Write::Update, Some(&audited)).await? {
        let key = Key::new(db, TypeId::of::<A::Entity>(), key_of_row(&row));
        BeforeImages::of_process().put(key, Write::Update, row, audit.config().pending_limit);
    }
    Ok(model)
}

/// After an insert or update: records the difference.
pub async fn after_save<A, C>(model: ModelOf<A>, db: &C, insert: bool) -> Result<ModelOf<A>, DbErr>
where
    A: ActiveModelTrait,
    ModelOf<A>: Send + 'static,
    C: ConnectionTrait,
{
    let action = if insert { action::CREATE } else { action::UPDATE };
    let Some((audit, audited)) = capture::<A::Entity, C>(action)? else { return Ok(model) };
    // What a RETURNING shows is the row without what AFTER triggers have made of it.
    let known = audited.triggers.load(Ordering::Relaxed);
    let stored = if known { stored_row_of::<A, C>(&model, db).await? } else { None };
    if insert {
        let entry =
            created(&audit, &audited, stored.as_ref().unwrap_or(&model)).map_err(|e| to_db_err(&e))?;
        drop(stored);
        let question = if known { None } else { triggers::question(&audited, db) };
        let found = audit.write_and_ask(db, vec![entry], question).await.map_err(|e| to_db_err(&e))?;
        if found {
            audited.triggers.store(true, Ordering::Relaxed);
            record_triggers_effect::<A, C>(&audit, &audited, &model, db).await?;
        }
        return Ok(model);
    }
    let row = stored.as_ref().unwrap_or(&model);
    let key = Key::new(db, TypeId::of::<A::Entity>(), key_of_row(row));
    let Some(old) = BeforeImages::of_process().take::<ModelOf<A>>(&key, Write::Update) else {
        let error = Error::BeforeImage {
            resource: audited.policy.resource.clone(),
            reason: "too many writes were in flight, see `pending_limit`",
        };
        return Err(to_db_err(&error));
    };
    BeforeImages::of_process().renew(&key, || row.clone());
    let entry = updated(&audit, &audited, &old, row);
    drop((old, stored));
    write(&audit, db, entry).await?;
    Ok(model)
}

/// The table turned out to have triggers after its row's creation was recorded: what they made of the row is recorded
/// as a change of its own. From the next row on they are known, and the creation shows it.
async fn record_triggers_effect<A, C>(
    audit: &Audit,
    audited: &Audited,
    created: &ModelOf<A>,
    db: &C,
) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
    ModelOf<A>: Send + 'static,
    C: ConnectionTrait,
{
    let Some(stored) = stored_row_of::<A, C>(created, db).await? else { return Ok(()) };
    let entry = updated(audit, audited, created, &stored);
    drop(stored);
    write(audit, db, entry).await
}

/// Before a delete: keeps the row as it is.
pub async fn before_delete<A, C>(model: A, db: &C) -> Result<A, DbErr>
where
    A: ActiveModelTrait + Send,
    ModelOf<A>: Send + 'static,
    C: ConnectionTrait,
{
    let Some((audit, audited)) = capture::<A::Entity, C>(action::DELETE)? else { return Ok(model) };
    audit.context(action::DELETE, &audited.policy.resource).map_err(|error| to_db_err(&error))?;
    if let Some(key) = delete_key(&model, db)
        && let Some(row) = stored_row::<A, C>(&model, db, Write::Delete, None).await?
    {
        BeforeImages::of_process().put(key, Write::Delete, row, audit.config().pending_limit);
    }
    Ok(model)
}

/// After a delete: records the row that ended. SeaORM calls this also when there was no such row; then there is no
/// entry.
pub async fn after_delete<A, C>(model: A, db: &C) -> Result<A, DbErr>
where
    A: ActiveModelTrait + Send,
    ModelOf<A>: Send + 'static,
    C: ConnectionTrait,
{
    let Some((audit, audited)) = capture::<A::Entity, C>(action::DELETE)? else { return Ok(model) };
    if let Some(key) = delete_key(&model, db)
        && let Some(old) = BeforeImages::of_process().take::<ModelOf<A>>(&key, Write::Delete)
    {
        let entry = deleted(&audit, &audited, &old);
        drop(old);
        write(&audit, db, Some(entry)).await?;
    }
    Ok(model)
}

/// SeaORM's `update_without_returning` runs `before_save` and then no `after_save`: the change would be lost.
/// `#[audited]` puts a method of the same name before it, which comes here and reads the row once more.
pub async fn update_without_returning<A, C>(model: A, db: &C) -> Result<UpdateResult, DbErr>
where
    A: ActiveModelBehavior + Send,
    ModelOf<A>: IntoActiveModel<A> + Send + 'static,
    C: ConnectionTrait,
{
    let model = ActiveModelBehavior::before_save(model, db, false).await?;
    let read_back = capture::<A::Entity, C>(action::UPDATE)?.map(|found| (found, model.clone()));
    let result = A::Entity::update(model).exec_without_returning(db).await?;
    if let Some(((audit, audited), model)) = read_back
        && let Some(new) = stored_row_again::<A, C>(&model, db).await?
    {
        let key = Key::new(db, TypeId::of::<A::Entity>(), key_of_row(&new));
        let entry = BeforeImages::of_process().take::<ModelOf<A>>(&key, Write::Update).and_then(|old| {
            BeforeImages::of_process().renew(&key, || new.clone());
            updated(&audit, &audited, &old, &new)
        });
        drop(new);
        write(&audit, db, entry).await?;
    }
    Ok(result)
}

/// The audit and the entity's part in it, or `None` if this write is none of the hooks' business: the entity isn't
/// audited, capture rests, or the connection is SeaORM's migrator's.
fn capture<E: EntityTrait, C>(action: &'static str) -> Result<Option<(Audit, Arc<Audited>)>, DbErr> {
    let audit = Audit::current();
    if !audit.records(action) || (is_migrator::<C>() && !audit.config().log_migrations) {
        return Ok(None);
    }
    let Some(audited) = audit.registry().get::<E>().map_err(|error| to_db_err(&error))? else {
        return Ok(None);
    };
    let operations = audited.policy.operations;
    let wanted = match action {
        action::CREATE => operations.create,
        action::UPDATE => operations.update,
        _ => operations.delete,
    };
    let audited = wanted.then(|| Arc::clone(audited));
    Ok(audited.map(|audited| (audit, audited)))
}

/// A migration's `manager.get_connection()` is of this type, and application code has little use for it.
fn is_migrator<C>() -> bool {
    typeid::of::<C>() == typeid::of::<DatabaseExecutor<'static>>()
}

fn created<M: 'static>(audit: &Audit, audited: &Audited, row: &M) -> Result<Entry, Error> {
    let policy = &audited.policy;
    let mut values = FieldValues::tracked(policy);
    audited.values(row, &mut values);
    let values = values.finish();
    let snapshot = policy.snapshot.then(|| snapshot_json(policy, &values));
    let mut entry = audit
        .entry(action::CREATE, resource_of(audited, row))?
        .with_changes(policy, &Changes::created(values));
    entry.new_data = snapshot;
    Ok(entry)
}

fn updated<M: 'static>(audit: &Audit, audited: &Audited, old: &M, new: &M) -> Option<Result<Entry, Error>> {
    let policy = &audited.policy;
    let mut diff = Diff::new(policy);
    audited.diff(old, new, &mut diff);
    let changes = diff.finish()?;
    let entry = audit.entry(action::UPDATE, resource_of(audited, new));
    Some(entry.map(|entry| {
        let mut entry = entry.with_changes(policy, &changes);
        if policy.snapshot {
            entry.old_data = Some(snapshot(policy, audited, old));
            entry.new_data = Some(snapshot(policy, audited, new));
        }
        entry
    }))
}

fn deleted<M: 'static>(audit: &Audit, audited: &Audited, row: &M) -> Result<Entry, Error> {
    let policy = &audited.policy;
    let mut values = FieldValues::tracked(policy);
    audited.values(row, &mut values);
    let values = values.finish();
    let snapshot = policy.snapshot.then(|| snapshot_json(policy, &values));
    let mut entry = audit
        .entry(action::DELETE, resource_of(audited, row))?
        .with_changes(policy, &Changes::deleted(values));
    entry.old_data = snapshot;
    Ok(entry)
}

fn snapshot<M: 'static>(policy: &ResourcePolicy, audited: &Audited, row: &M) -> String {
    let mut values = FieldValues::tracked(policy);
    audited.values(row, &mut values);
    snapshot_json(policy, &values.finish())
}

fn resource_of<M: 'static>(audited: &Audited, row: &M) -> Resource {
    let mut identity = FieldValues::identity(&audited.policy);
    audited.values(row, &mut identity);
    Resource::of_row(&audited.policy, &identity.finish())
}

async fn write<C: ConnectionTrait>(
    audit: &Audit,
    db: &C,
    entry: impl Into<Option<Result<Entry, Error>>>,
) -> Result<(), DbErr> {
    let Some(entry) = entry.into() else { return Ok(()) };
    let entry = entry.map_err(|error| to_db_err(&error))?;
    audit.write(db, vec![entry]).await.map_err(|error| to_db_err(&error))
}

/// The row that a write is about, as the database holds it, locked as the write itself will lock it. With `audited` it is
/// also found out whether the table has triggers.
async fn stored_row<A, C>(
    model: &A,
    db: &C,
    write: Write,
    audited: Option<&Audited>,
) -> Result<Option<ModelOf<A>>, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    // Without a whole key SeaORM will refuse the write with an error of its own.
    let Some(condition) = condition_of::<A::Entity>(|column| model.get(column).into_value()) else {
        return Ok(None);
    };
    // On a pool the lock would end with the statement; SQLite knows none.
    let on_pool = typeid::of::<C>() == typeid::of::<DatabaseConnection>();
    let lock = match db.get_database_backend() {
        _ if on_pool => None,
        DbBackend::Postgres if write == Write::Update => Some(LockType::NoKeyUpdate),
        DbBackend::Postgres | DbBackend::MySql => Some(LockType::Update),
        _ => None,
    };
    find::<A::Entity, C>(condition, db, lock, audited).await
}

async fn stored_row_again<A, C>(model: &A, db: &C) -> Result<Option<ModelOf<A>>, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    match condition_of::<A::Entity>(|column| model.get(column).into_value()) {
        Some(condition) => find::<A::Entity, C>(condition, db, None, None).await,
        None => Ok(None),
    }
}

/// The row again, as the database holds it now.
async fn stored_row_of<A, C>(row: &ModelOf<A>, db: &C) -> Result<Option<ModelOf<A>>, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    match condition_of::<A::Entity>(|column| Some(row.get(column))) {
        Some(condition) => find::<A::Entity, C>(condition, db, None, None).await,
        None => Ok(None),
    }
}

fn condition_of<E: EntityTrait>(value: impl Fn(E::Column) -> Option<sea_orm::Value>) -> Option<Condition> {
    let mut condition = Condition::all();
    for key in E::PrimaryKey::iter() {
        let column = key.into_column();
        condition = condition.add(sea_orm::ColumnTrait::eq(&column, value(column)?));
    }
    Some(condition)
}

async fn find<E, C>(
    condition: Condition,
    db: &C,
    lock: Option<LockType>,
    audited: Option<&Audited>,
) -> Result<Option<E::Model>, DbErr>
where
    E: EntityTrait,
    C: ConnectionTrait,
{
    let mut select = E::find().filter(condition);
    let question = audited.and_then(|audited| triggers::question(audited, db));
    let asked = question.is_some();
    if let Some(question) = question {
        select = select.expr_as(question, triggers::ANSWER);
    }
    if let Some(lock) = lock {
        select = select.lock(lock);
    }
    let Some(row) = db.query_one(&select.into_query()).await? else { return Ok(None) };
    if asked
        && row.try_get("", triggers::ANSWER)?
        && let Some(audited) = audited
    {
        audited.triggers.store(true, Ordering::Relaxed);
    }
    E::Model::from_query_result(&row, "").map(Some)
}

/// The key of a row as the database holds it: both halves of an update's hooks see the same text.
fn key_of_row<M: ModelTrait>(row: &M) -> String {
    key_text(row.get_primary_key_value())
}

/// Both halves of a delete's hooks see the same active model.
fn delete_key<A: ActiveModelTrait, C>(model: &A, db: &C) -> Option<Key> {
    let row = key_text(model.get_primary_key_value()?);
    Some(Key::new(db, TypeId::of::<A::Entity>(), row))
}

fn key_text(key: ValueTuple) -> String {
    let parts: Vec<String> = key.into_iter().map(|part| render::value(part).to_json()).collect();
    join_key(&parts)
}

/// Number of rows that wait for the second half of their hooks over this connection. For tests: it must not grow.
pub fn rows_waiting<C>(connection: &C) -> usize {
    BeforeImages::of_process().len_of(connection)
}
