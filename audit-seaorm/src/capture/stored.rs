//! Rows as the database holds them.

use std::sync::atomic::Ordering;

use sea_orm::sea_query::LockType;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, DbBackend, DbErr,
    EntityTrait, FromQueryResult, Iterable, ModelTrait, PrimaryKeyToColumn, QueryFilter, QuerySelect,
    QueryTrait,
};

use super::hooks::ModelOf;
use super::pending::Write;
use super::triggers;
use crate::registry::Audited;

/// The row that a write is about, locked as the write itself will lock it.
///
/// On the way it is found out whether the table has triggers, if an update will need to know.
pub(super) async fn before_write<A, C>(
    model: &A,
    db: &C,
    write: Write,
    audited: &Audited,
) -> Result<Option<ModelOf<A>>, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    // On a pool the lock would end with the statement; SQLite knows none.
    let on_pool = typeid::of::<C>() == typeid::of::<DatabaseConnection>();
    let lock = match db.get_database_backend() {
        _ if on_pool => None,
        // The lock that an UPDATE takes by itself: a stronger one would make the foreign-key checks of others wait.
        DbBackend::Postgres if write == Write::Update => Some(LockType::NoKeyUpdate),
        DbBackend::Postgres | DbBackend::MySql => Some(LockType::Update),
        _ => None,
    };
    let asking = (write == Write::Update).then_some(audited);
    find::<A::Entity, C>(|column| model.get(column).into_value(), db, lock, asking).await
}

/// The row that an active model names, as it is now even if the transaction sees an older snapshot.
pub(super) async fn named_by<A, C>(model: &A, db: &C) -> Result<Option<ModelOf<A>>, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    let lock = may_be_of_an_old_snapshot(db).then_some(LockType::Update);
    find::<A::Entity, C>(|column| model.get(column).into_value(), db, lock, None).await
}

/// This row again, as it is now.
pub(super) async fn again<A, C>(row: &ModelOf<A>, db: &C) -> Result<Option<ModelOf<A>>, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    find::<A::Entity, C>(|column| Some(row.get(column)), db, None, None).await
}

/// Whether what SeaORM returns from an update may be older than the update: MySQL has no `RETURNING`, so SeaORM reads the
/// row afterwards, and in a transaction that sees a snapshot a row that the update didn't really change is shown as it
/// was when the snapshot was taken.
pub(super) fn may_be_of_an_old_snapshot<C: ConnectionTrait>(db: &C) -> bool {
    db.get_database_backend() == DbBackend::MySql && typeid::of::<C>() != typeid::of::<DatabaseConnection>()
}

/// This row again, as it is now even if the transaction sees an older snapshot.
pub(super) async fn locked_again<A, C>(row: &ModelOf<A>, db: &C) -> Result<Option<ModelOf<A>>, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
{
    find::<A::Entity, C>(|column| Some(row.get(column)), db, Some(LockType::Update), None).await
}

/// The row with this primary key; `None` also if a part of the key is missing: SeaORM will refuse such a write with an
/// error of its own.
async fn find<E, C>(
    key: impl Fn(E::Column) -> Option<sea_orm::Value>,
    db: &C,
    lock: Option<LockType>,
    asking: Option<&Audited>,
) -> Result<Option<E::Model>, DbErr>
where
    E: EntityTrait,
    C: ConnectionTrait,
{
    let mut condition = Condition::all();
    for part in E::PrimaryKey::iter() {
        let column = part.into_column();
        let Some(value) = key(column) else { return Ok(None) };
        condition = condition.add(column.eq(value));
    }
    let mut select = E::find().filter(condition);
    let question = asking.and_then(|audited| triggers::question(audited, db));
    let asked = asking.filter(|_| question.is_some());
    if let Some(question) = question {
        select = select.expr_as(question, triggers::ANSWER);
    }
    if let Some(lock) = lock {
        select = select.lock(lock);
    }
    let select = select.into_query();
    let Some(row) = db.query_one(&select).await? else { return Ok(None) };
    if let Some(audited) = asked
        && row.try_get("", triggers::ANSWER)?
    {
        audited.triggers.store(true, Ordering::Relaxed);
    }
    E::Model::from_query_result(&row, "").map(Some)
}
