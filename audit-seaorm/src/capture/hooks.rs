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
use std::sync::Arc;
use std::sync::atomic::Ordering;

use audit_core::{Entry, Error, action, join_key};
use sea_orm::sea_query::ValueTuple;
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ConnectionTrait, DatabaseExecutor, DbErr, EntityTrait,
    IntoActiveModel, ModelTrait, UpdateResult,
};

use super::entries::Recorder;
use super::labels::{self, Labels};
use super::pending::{BeforeImages, Key, Write};
use super::{AuditConnection, AuditTransaction, render, stored, triggers};
use crate::Audit;
use crate::registry::Audited;
use crate::store::to_db_err;

pub(super) type ModelOf<A> = <<A as ActiveModelTrait>::Entity as EntityTrait>::Model;

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
    let Some((audit, audited)) = capture::<A::Entity, C>(action, db)? else { return Ok(model) };
    // Refused before anything is written, not after.
    audit.context(action, &audited.policy.resource).map_err(|error| to_db_err(&error))?;
    if !insert && let Some(row) = stored::before_write(&model, db, Write::Update, &audited).await? {
        let key = Key::new(db, TypeId::of::<A::Entity>(), key_of_row(&row));
        BeforeImages::of_process().put(&audit, key, Write::Update, row);
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
    let Some((audit, audited)) = capture::<A::Entity, C>(action, db)? else { return Ok(model) };
    if insert {
        record_creation::<A, C>(&audit, &audited, &model, db).await?;
        return Ok(model);
    }
    let stored = after_triggers::<A, C>(&audited, &model, db).await?;
    let row = stored.as_ref().unwrap_or(&model);
    let key = Key::new(db, TypeId::of::<A::Entity>(), key_of_row(row));
    let Some(old) = BeforeImages::of_process().take::<ModelOf<A>>(&key, Write::Update) else {
        return lost_image(&audit, &audited).map(|()| model);
    };
    let recorder = recorder(&audit, action, &audited)?;
    let snapshot = stored::may_be_of_an_old_snapshot(db);
    let confirmed = if snapshot && recorder.updated(&audited, &old, row, &Labels::default()).is_some() {
        stored::locked_again::<A, C>(row, db).await?
    } else {
        None
    };
    let current = confirmed.as_ref().unwrap_or(row);
    BeforeImages::of_process().renew(&key, || current.clone());
    let asked = labels::of_row(&audited, Some(&old), Some(current));
    let labels = asked.answer(db, snapshot).await?;
    let current = confirmed.as_ref().or(stored.as_ref()).unwrap_or(&model);
    let entry = recorder.updated(&audited, &old, current, &labels);
    drop((old, stored, recorder, confirmed));
    write(&audit, db, entry).await?;
    Ok(model)
}

/// Records a row that has come into being, with what triggers have made of it.
///
/// Whether there are any isn't known before the first row, and may change later. So as long as none were seen, the entry
/// is written on the condition that there are none, in the same statement; if there are, the row is read again.
async fn record_creation<A, C>(
    audit: &Audit,
    audited: &Arc<Audited>,
    created: &ModelOf<A>,
    db: &C,
) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
    ModelOf<A>: Send + 'static,
    C: ConnectionTrait,
{
    let snapshot = stored::may_be_of_an_old_snapshot(db);
    if let Some(has_triggers) = triggers::question(audited, db) {
        let labels = labels::of_row(audited, None, Some(created)).answer(db, snapshot).await?;
        let entry = recorder(audit, action::CREATE, audited)?.created(audited, created, &labels);
        if !audit.write_unless(db, entry, has_triggers).await.map_err(|error| to_db_err(&error))? {
            return Ok(());
        }
        audited.triggers.store(true, Ordering::Relaxed);
    }
    let stored = after_triggers::<A, C>(audited, created, db).await?;
    let asked = labels::of_row(audited, None, Some(stored.as_ref().unwrap_or(created)));
    let labels = asked.answer(db, snapshot).await?;
    let row = stored.as_ref().unwrap_or(created);
    let entry = recorder(audit, action::CREATE, audited)?.created(audited, row, &labels);
    drop(stored);
    write(audit, db, Some(entry)).await
}

/// The row as triggers have left it, if the table is known to have any: what a RETURNING shows is the row without what
/// AFTER triggers have made of it.
async fn after_triggers<A, C>(
    audited: &Audited,
    row: &ModelOf<A>,
    db: &C,
) -> Result<Option<ModelOf<A>>, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    let known = audited.triggers.load(Ordering::Relaxed);
    if known { stored::again::<A, C>(row, db).await } else { Ok(None) }
}

/// Before a delete: keeps the row as it is.
pub async fn before_delete<A, C>(model: A, db: &C) -> Result<A, DbErr>
where
    A: ActiveModelTrait + Send,
    ModelOf<A>: Send + 'static,
    C: ConnectionTrait,
{
    let Some((audit, audited)) = capture::<A::Entity, C>(action::DELETE, db)? else { return Ok(model) };
    audit.context(action::DELETE, &audited.policy.resource).map_err(|error| to_db_err(&error))?;
    if let Some(key) = delete_key(&model, db) {
        // That there is none is kept as well: else it couldn't be told from a row that was lost.
        let row = stored::before_write(&model, db, Write::Delete, &audited).await?;
        BeforeImages::of_process().put(&audit, key, Write::Delete, row);
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
    let Some((audit, audited)) = capture::<A::Entity, C>(action::DELETE, db)? else { return Ok(model) };
    let Some(key) = delete_key(&model, db) else { return Ok(model) };
    let entry = match BeforeImages::of_process().take::<Option<ModelOf<A>>>(&key, Write::Delete) {
        Some(Some(old)) => {
            BeforeImages::of_process().settle::<ModelOf<A>>(&key);
            let asked = labels::of_row(&audited, Some(&old), None);
            let labels = asked.answer(db, stored::may_be_of_an_old_snapshot(db)).await?;
            Some(recorder(&audit, action::DELETE, &audited)?.deleted(&audited, &old, &labels))
        }
        Some(None) => None,
        None => return lost_image(&audit, &audited).map(|()| model),
    };
    write(&audit, db, entry).await?;
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
    let read_back = capture::<A::Entity, C>(action::UPDATE, db)?.map(|found| (found, model.clone()));
    let result = A::Entity::update(model).exec_without_returning(db).await?;
    if let Some(((audit, audited), model)) = read_back
        && let Some(new) = stored::named_by(&model, db).await?
    {
        let key = Key::new(db, TypeId::of::<A::Entity>(), key_of_row(&new));
        let Some(old) = BeforeImages::of_process().take::<ModelOf<A>>(&key, Write::Update) else {
            return lost_image(&audit, &audited).map(|()| result);
        };
        BeforeImages::of_process().renew(&key, || new.clone());
        let asked = labels::of_row(&audited, Some(&old), Some(&new));
        let labels = asked.answer(db, stored::may_be_of_an_old_snapshot(db)).await?;
        let entry = recorder(&audit, action::UPDATE, &audited)?.updated(&audited, &old, &new, &labels);
        drop((old, new));
        write(&audit, db, entry).await?;
    }
    Ok(result)
}

/// The audit and the entity's part in it, or `None` if this write is none of the hooks' business: the entity isn't
/// audited, capture rests, or the connection is SeaORM's migrator's.
fn capture<E: EntityTrait, C: ConnectionTrait>(
    action: &'static str,
    db: &C,
) -> Result<Option<(Audit, Arc<Audited>)>, DbErr> {
    // There the statement itself is captured.
    if captures_statements::<C>() {
        return Ok(None);
    }
    let audit = Audit::current();
    // A mock answers the statements that the test expects, and no others.
    if db.is_mock_connection() || !audit.records(action) {
        return Ok(None);
    }
    let Some(audited) = audit.registry().get::<E>().map_err(|error| to_db_err(&error))? else {
        return Ok(None);
    };
    if is_migrator::<C>() && !audit.config().log_migrations {
        if !audited.migrated.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                resource = %audited.policy.resource,
                "a write over `DatabaseExecutor` is taken for a migration and not recorded; `log_migrations` records such writes"
            );
        }
        return Ok(None);
    }
    let operations = audited.policy.operations;
    let wanted = match action {
        action::CREATE => operations.create,
        action::UPDATE => operations.update,
        _ => operations.delete,
    };
    let audited = wanted.then(|| Arc::clone(audited));
    Ok(audited.map(|audited| (audit, audited)))
}

fn captures_statements<C>() -> bool {
    let connection = typeid::of::<C>();
    #[cfg(feature = "rbac")]
    if connection == typeid::of::<super::RestrictedAuditConnection>()
        || connection == typeid::of::<super::RestrictedAuditTransaction>()
    {
        return true;
    }
    connection == typeid::of::<AuditConnection>() || connection == typeid::of::<AuditTransaction>()
}

/// A migration's `manager.get_connection()` is of this type, and application code has little use for it.
fn is_migrator<C>() -> bool {
    typeid::of::<C>() == typeid::of::<DatabaseExecutor<'static>>()
}

/// The row as it was is not known: the change is refused, or lost to the record, as the entity's policy says.
fn lost_image(audit: &Audit, audited: &Audited) -> Result<(), DbErr> {
    let resource = audited.policy.resource.clone();
    let error = Error::BeforeImage {
        reason: "the row came into being between its reading and the write, or more writes were in flight than `pending_limit`",
        resource: resource.clone(),
    };
    audit.without_entry(&resource, error).map_err(|error| to_db_err(&error))
}

fn recorder<'a>(audit: &'a Audit, action: &str, audited: &Audited) -> Result<Recorder<'a>, DbErr> {
    Recorder::new(audit, action, audited).map_err(|error| to_db_err(&error))
}

async fn write<C: ConnectionTrait>(audit: &Audit, db: &C, entry: Option<Entry>) -> Result<(), DbErr> {
    match entry {
        Some(entry) => audit.write(db, vec![entry]).await.map_err(|error| to_db_err(&error)),
        None => Ok(()),
    }
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
