//! What becomes of violations and system events: steps, each a row of its own, because the record never changes.

use audit_core::{Error, Family, Record, SystemEvent, Transition, Violation, ViolationStatus};
use sea_orm::{ConnectionTrait, EntityTrait, QuerySelect, SqlErr};
use uuid::Uuid;

use super::records::{make, of_tenant, unreadable};
use crate::Audit;
use crate::capture::bound::within;
use crate::entity::{StoredFamily, audit_status, audit_system_event, audit_transition, audit_violation};
use crate::store::is_transaction;

/// Where the handling of a violation or system event stands.
///
/// The tenant is that of the context in force: the one that the connection is [bound](crate::AuditConnection::with_context) to, or
/// else the task's ([`scope`](crate::scope)). For many records at once, see [`RecordReader::handling`](crate::RecordReader::handling).
///
/// # Errors
/// [`Error::NotFound`] if there is no such record, or it isn't the context's tenant's; [`Error::Store`] if it can't be read.
pub async fn status_of<C: ConnectionTrait>(db: &C, record: Uuid) -> Result<audit_status::Model, Error> {
    within(db, status_of_in_force(db, record)).await
}

async fn status_of_in_force<C: ConnectionTrait>(db: &C, record: Uuid) -> Result<audit_status::Model, Error> {
    let tenant = crate::current().tenant;
    let status = audit_status::Entity::find_by_id(record).one(db).await;
    let found = match status.map_err(|error| unreadable("audit_status", &error))? {
        Some(status) if is_visible(db, &status, tenant.as_deref()).await? => Some(status),
        _ => None,
    };
    found.ok_or_else(|| Error::NotFound {
        what: "violation or system event",
        id: record.to_string(),
        tenant: tenant.is_some(),
    })
}

/// Takes a step in the handling of a violation or system event, in the context in force (that which the connection is
/// [bound](crate::AuditConnection::with_context) to, or else the task's); what may follow what, says [`ViolationStatus::next`].
///
/// # Errors
/// [`Error::Transition`] if the step isn't possible, also because somebody else has just taken one; [`Error::NotFound`] if
/// there is no such record, or it isn't the context's tenant's; [`Error::Store`] if the step can't be written.
pub async fn set_status<C: ConnectionTrait>(
    db: &C,
    record: Uuid,
    to: ViolationStatus,
    notes: Option<&str>,
) -> Result<(), Error> {
    within(db, set_status_in_force(db, record, to, notes)).await
}

async fn set_status_in_force<C: ConnectionTrait>(
    db: &C,
    record: Uuid,
    to: ViolationStatus,
    notes: Option<&str>,
) -> Result<(), Error> {
    const PATIENCE: usize = 5;
    for _ in 0..PATIENCE {
        let now = status_of(db, record).await?;
        let from: ViolationStatus = now.status.parse()?;
        if !from.next().contains(&to) {
            let possible: Vec<_> = from.next().iter().map(|status| status.as_str()).collect();
            return Err(Error::Transition {
                what: if now.record_table == Violation::TABLE { "violation" } else { "system event" },
                from,
                to,
                possible: if possible.is_empty() { "nothing".to_owned() } else { possible.join(" or ") },
            });
        }
        let audit = Audit::current();
        let mut step = Transition::new(now.record_table.clone(), record, now.step.saturating_add(1), to);
        step.notes = notes.map(str::to_owned);
        let Some(step) = make(&audit, "transition", &now.record_table, step)? else {
            return Err(Error::Refused("the audit is switched off here, so nothing can be resolved".into()));
        };
        if let Some(sink) = audit.sink() {
            return sink.record_others(&[Record::from(step)]).await;
        }
        let row = <Transition as StoredFamily>::row(&step);
        match audit_transition::Entity::insert(row).exec_without_returning(db).await {
            Ok(_) => return Ok(()),
            // Somebody else took this step: what is possible now is another question.
            Err(error)
                if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
                    && !is_transaction::<C>() => {}
            Err(error) => {
                return Err(Error::Store {
                    action: to.as_str().to_owned(),
                    resource: Transition::TABLE.to_owned(),
                    reason: crate::db_error::describe(&error).to_owned(),
                    retryable: crate::db_error::is_retryable(&error),
                });
            }
        }
    }
    Err(Error::Store {
        action: to.as_str().to_owned(),
        resource: Transition::TABLE.to_owned(),
        reason: "others kept changing it".to_owned(),
        retryable: true,
    })
}

/// Resolves a violation, with what was found out.
///
/// # Errors
/// As [`set_status`].
pub async fn resolve_violation<C: ConnectionTrait>(
    db: &C,
    violation: Uuid,
    notes: &str,
) -> Result<(), Error> {
    within(db, resolve_violation_in_force(db, violation, notes)).await
}

async fn resolve_violation_in_force<C: ConnectionTrait>(
    db: &C,
    violation: Uuid,
    notes: &str,
) -> Result<(), Error> {
    of_table(db, violation, Violation::TABLE, "violation").await?;
    set_status(db, violation, ViolationStatus::Resolved, Some(notes)).await
}

/// Resolves a system event, with what was done about it.
///
/// # Errors
/// As [`set_status`].
pub async fn resolve_system_event<C: ConnectionTrait>(db: &C, event: Uuid, notes: &str) -> Result<(), Error> {
    within(db, resolve_system_event_in_force(db, event, notes)).await
}

async fn resolve_system_event_in_force<C: ConnectionTrait>(
    db: &C,
    event: Uuid,
    notes: &str,
) -> Result<(), Error> {
    of_table(db, event, SystemEvent::TABLE, "system event").await?;
    set_status(db, event, ViolationStatus::Resolved, Some(notes)).await
}

async fn of_table<C: ConnectionTrait>(
    db: &C,
    record: Uuid,
    table: &str,
    what: &'static str,
) -> Result<(), Error> {
    match status_of(db, record).await {
        Ok(status) if status.record_table == table => Ok(()),
        Ok(_) | Err(Error::NotFound { .. }) => {
            let tenant = crate::current().tenant.is_some();
            Err(Error::NotFound { what, id: record.to_string(), tenant })
        }
        Err(error) => Err(error),
    }
}

/// Whether the record that this is about is the tenant's.
async fn is_visible<C: ConnectionTrait>(
    db: &C,
    status: &audit_status::Model,
    tenant: Option<&str>,
) -> Result<bool, Error> {
    if tenant.is_none() {
        return Ok(true);
    }
    let id = status.record_id;
    let found = if status.record_table == Violation::TABLE {
        let column = audit_violation::Column::Tenant;
        let found = of_tenant(audit_violation::Entity::find_by_id(id), column, tenant);
        found.select_only().column(audit_violation::Column::Id).into_tuple::<Uuid>().one(db).await
    } else {
        let column = audit_system_event::Column::Tenant;
        let found = of_tenant(audit_system_event::Entity::find_by_id(id), column, tenant);
        found.select_only().column(audit_system_event::Column::Id).into_tuple::<Uuid>().one(db).await
    };
    found.map(|found| found.is_some()).map_err(|error| unreadable(&status.record_table, &error))
}
