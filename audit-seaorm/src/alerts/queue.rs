//! The table `audit_alert`: what is to be sent, who is sending it, and what became of it.
//!
//! **Invariant:** an alert changes only by statements that name its state and the number of its attempts as they were seen, so
//! of two workers one does it. The number of attempts is the lease: who raised it owns the alert until `due_at`.

use audit_core::{Error, Recorded, Violation, stored_tenant};
use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

use super::route::Route;
use crate::capture::bound::context_over;
use crate::db_error::{describe, is_retryable};
use crate::entity::{audit_alert, audit_notifier, audit_violation};

pub(super) const PENDING: &str = "pending";
pub(super) const DELIVERED: &str = "delivered";
pub(super) const DEAD: &str = "dead";

/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 1000;

/// Alerts that nobody got, newest first, of all notifiers; only those of the tenant, if the context in force has one: the context
/// that the connection is [bound](crate::AuditConnection::with_context) to, or else the task's. It is a query, so go on with it:
/// filter, count, paginate.
///
/// ```no_run
/// # async fn example(db: sea_orm::DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
/// use audit_seaorm::alerts::{dead_letters, revive};
/// for dead in dead_letters(&db).all(&db).await? {
///     println!("{} to {}: {}", dead.violation_id, dead.notifier, dead.last_error.unwrap_or_default());
///     revive(&db, dead.id).await?;
/// }
/// # Ok(()) }
/// ```
pub fn dead_letters<C: ConnectionTrait>(db: &C) -> Select<audit_alert::Entity> {
    let dead = audit_alert::Entity::find()
        .filter(audit_alert::Column::State.eq(DEAD))
        .order_by_desc(audit_alert::Column::ChangedAt)
        .order_by_desc(audit_alert::Column::Id);
    match context_over(db).and_then(|context| context.tenant.clone()) {
        Some(tenant) => dead.filter(audit_alert::Column::Tenant.eq(&*stored_tenant(&tenant))),
        None => dead,
    }
}

/// Makes a dead alert due again, with all attempts before it. Its delivery keeps its id.
///
/// # Errors
/// [`Error::NotFound`] if there is no such alert, it isn't dead, or it isn't the context's tenant's; [`Error::Store`] if it can't
/// be written.
pub async fn revive<C: ConnectionTrait>(db: &C, delivery: Uuid) -> Result<(), Error> {
    let (tenant, now) =
        (context_over(db).and_then(|context| context.tenant.clone()), crate::Audit::current().clock().now());
    let mut update = audit_alert::Entity::update_many()
        .col_expr(audit_alert::Column::State, Expr::val(PENDING))
        .col_expr(audit_alert::Column::Attempts, Expr::val(0))
        .col_expr(audit_alert::Column::DueAt, Expr::val(now))
        .col_expr(audit_alert::Column::ChangedAt, Expr::val(now))
        .filter(audit_alert::Column::Id.eq(delivery))
        .filter(audit_alert::Column::State.eq(DEAD));
    if let Some(tenant) = &tenant {
        update = update.filter(audit_alert::Column::Tenant.eq(&*stored_tenant(tenant)));
    }
    match update.exec(db).await.map_err(|error| failed("revive", &error))?.rows_affected {
        0 => Err(Error::NotFound { what: "dead alert", id: delivery.to_string(), tenant: tenant.is_some() }),
        _ => Ok(()),
    }
}

/// Since when this notifier is told; from now on, if it is new.
pub(super) async fn start<C: ConnectionTrait>(
    db: &C,
    name: &str,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Error> {
    let find = || audit_notifier::Entity::find_by_id(name).one(db);
    let read = |error: DbErr| failed("read", &error);
    if let Some(known) = find().await.map_err(read)? {
        return Ok(known.since);
    }
    let new = audit_notifier::ActiveModel { name: Set(name.to_owned()), since: Set(now) };
    // Another worker may be faster; then its moment counts.
    audit_notifier::Entity::insert(new)
        .on_conflict(
            OnConflict::column(audit_notifier::Column::Name)
                .do_nothing_on([audit_notifier::Column::Name])
                .to_owned(),
        )
        .exec_without_returning(db)
        .await
        .map_err(|error| failed("insert", &error))?;
    Ok(find().await.map_err(read)?.map_or(now, |known| known.since))
}

/// The oldest violations that this route has no alert for, with their tenants.
pub(super) async fn unknown<C: ConnectionTrait>(
    db: &C,
    route: &Route,
    from: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<(Uuid, Option<String>)>, Error> {
    let alerted = Query::select()
        .expr(Expr::val(1))
        .from(audit_alert::Entity)
        .and_where(
            Expr::col((audit_alert::Entity, audit_alert::Column::ViolationId))
                .equals((audit_violation::Entity, audit_violation::Column::Id)),
        )
        .and_where(Expr::col((audit_alert::Entity, audit_alert::Column::Notifier)).eq(route.name.as_str()))
        .take();
    let mut find = audit_violation::Entity::find()
        .select_only()
        .columns([audit_violation::Column::Id, audit_violation::Column::Tenant])
        // There is no index by time, but ids begin with it.
        .filter(audit_violation::Column::Id.gte(first_id(from)))
        .filter(audit_violation::Column::Timestamp.gte(from))
        .filter(audit_violation::Column::Severity.is_in(route.severities()))
        .filter(Expr::exists(alerted).not())
        .order_by_asc(audit_violation::Column::Seq)
        .limit(limit);
    if let Some(tenant) = &route.tenant {
        find = find.filter(audit_violation::Column::Tenant.eq(tenant));
    }
    find.into_tuple().all(db).await.map_err(|error| failed("read", &error))
}

/// The lowest UUID v7 of this moment.
fn first_id(moment: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(moment.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(u128::from(millis) << 80)
}

/// Makes an alert of a violation; whether it was new.
pub(super) async fn add<C: ConnectionTrait>(
    db: &C,
    notifier: &str,
    (violation, tenant): (Uuid, Option<String>),
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    use audit_alert::Column::{Notifier, ViolationId};
    let alert = audit_alert::ActiveModel {
        id: Set(Uuid::now_v7()),
        violation_id: Set(violation),
        notifier: Set(notifier.to_owned()),
        tenant: Set(tenant),
        state: Set(PENDING.to_owned()),
        attempts: Set(0),
        due_at: Set(now),
        last_error: Set(None),
        created_at: Set(now),
        changed_at: Set(now),
    };
    // Another worker may be faster.
    let known =
        OnConflict::columns([ViolationId, Notifier]).do_nothing_on([audit_alert::Column::Id]).to_owned();
    let added = audit_alert::Entity::insert(alert).on_conflict(known).exec_without_returning(db).await;
    added.map(|rows| rows > 0).map_err(|error| failed("insert", &error))
}

/// What this notifier is to be told now, longest overdue first.
pub(super) async fn due<C: ConnectionTrait>(
    db: &C,
    notifier: &str,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<audit_alert::Model>, Error> {
    let due = audit_alert::Entity::find()
        .filter(audit_alert::Column::State.eq(PENDING))
        .filter(audit_alert::Column::Notifier.eq(notifier))
        .filter(audit_alert::Column::DueAt.lte(now))
        .order_by_asc(audit_alert::Column::DueAt)
        .order_by_asc(audit_alert::Column::Id)
        .limit(limit);
    due.all(db).await.map_err(|error| failed("read", &error))
}

/// What becomes of an alert.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) state: &'static str,
    pub(super) attempts: i32,
    pub(super) due_at: DateTime<Utc>,
    pub(super) last_error: Option<String>,
}

/// Takes a step with an alert that has these attempts; whether nobody else had taken one.
pub(super) async fn take<C: ConnectionTrait>(
    db: &C,
    id: Uuid,
    attempts: i32,
    step: &Step,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    const TRIES: usize = 3;
    let reason = step.last_error.as_ref().map(|reason| reason.chars().take(MAX_REASON).collect::<String>());
    let update = audit_alert::Entity::update_many()
        .col_expr(audit_alert::Column::State, Expr::val(step.state))
        .col_expr(audit_alert::Column::Attempts, Expr::val(step.attempts))
        .col_expr(audit_alert::Column::DueAt, Expr::val(step.due_at))
        .col_expr(audit_alert::Column::LastError, Expr::val(reason))
        .col_expr(audit_alert::Column::ChangedAt, Expr::val(now))
        .filter(audit_alert::Column::Id.eq(id))
        .filter(audit_alert::Column::State.eq(PENDING))
        .filter(audit_alert::Column::Attempts.eq(attempts));
    let mut tries = 1;
    loop {
        match update.clone().exec(db).await {
            Ok(done) => return Ok(done.rows_affected > 0),
            // An alert that was sent, and can't be marked so, would be sent twice.
            Err(error) if is_retryable(&error) && tries < TRIES => tries += 1,
            Err(error) => return Err(failed("update", &error)),
        }
    }
}

/// The violation that an alert is about; `None` if it isn't there, or can't be understood.
pub(super) async fn violation<C: ConnectionTrait>(
    db: &C,
    id: Uuid,
) -> Result<Option<Recorded<Violation>>, Error> {
    let found =
        audit_violation::Entity::find_by_id(id).one(db).await.map_err(|error| failed("read", &error))?;
    Ok(found.and_then(|row| Recorded::try_from(row).ok()))
}

fn failed(action: &str, error: &DbErr) -> Error {
    Error::Store {
        action: action.to_owned(),
        resource: "audit_alert".to_owned(),
        reason: describe(error).to_owned(),
        retryable: is_retryable(error),
    }
}
