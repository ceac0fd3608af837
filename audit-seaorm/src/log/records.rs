//! Records of the families: made in the context in force, and written by the configured policy.

use audit_core::{
    AuditContext, Error, Export, FailurePolicy, Family as _, LoginAttempt, Query, Record, Recorded,
    SystemEvent, Violation, action, module, stored_tenant,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Select};
use uuid::Uuid;

use super::Operation;
use crate::Audit;
use crate::capture::bound::within;
use crate::db_error::{describe, is_retryable};
use crate::entity::{StoredFamily, audit_export, audit_violation};
use crate::store::{RELEASE, ROLL_BACK, is_transaction, set_savepoint};

/// Records a read that no `AuditConnection` saw. It is written in the background, apart from the caller's transaction.
///
/// # Errors
/// [`Error::Store`] if it can't be taken; [`Error::NoActor`] if a context is demanded and there is none.
pub async fn log_query<C: ConnectionTrait>(db: &C, query: Query) -> Result<(), Error> {
    within(db, query_in_force(db, query)).await
}

async fn query_in_force<C: ConnectionTrait>(db: &C, query: Query) -> Result<(), Error> {
    let audit = Audit::current();
    let query = match audit.registry().policy_of(&query.resource_type) {
        Some(policy) => query.with_policy(policy),
        None => query,
    };
    let resource = query.resource_type.clone();
    let Some(record) = make(&audit, action::READ, &resource, query)? else { return Ok(()) };
    apart(&audit, db, record).await
}

/// Records an export, and says under which id. What is known of the resource (module, frameworks, classification) is added.
///
/// # Errors
/// [`Error::Store`] if it can't be written: then nothing should leave the system. [`Error::NoActor`] if a context is
/// demanded and there is none.
pub async fn log_export<C: ConnectionTrait>(db: &C, export: Export) -> Result<Option<Uuid>, Error> {
    within(db, export_in_force(db, export)).await
}

async fn export_in_force<C: ConnectionTrait>(db: &C, export: Export) -> Result<Option<Uuid>, Error> {
    let audit = Audit::current();
    let mut export = match audit.registry().policy_of(&export.resource_type) {
        Some(policy) => export.with_policy(policy),
        None => export,
    };
    export.frameworks = audit.config().frameworks.applying(export.frameworks);
    let resource = export.resource_type.clone();
    let Some(record) = make(&audit, action::EXPORT, &resource, export)? else { return Ok(None) };
    let id = record.id;
    write(&audit, db, record).await.map(|()| Some(id))
}

/// Records that somebody fetched the file of an export: an entry of the action `download` on the resource `audit_export`.
/// How often and by whom it was fetched is that resource's trail.
///
/// It is looked for in the tenant of the context in force: that which the connection is [bound](crate::AuditConnection::with_context)
/// to, or else the task's.
///
/// # Errors
/// [`Error::NotFound`] if there is no such export, or not in the context's tenant; else as [`Operation::log`].
pub async fn log_download<C: ConnectionTrait>(db: &C, export: Uuid) -> Result<(), Error> {
    within(db, download_in_force(db, export)).await
}

async fn download_in_force<C: ConnectionTrait>(db: &C, export: Uuid) -> Result<(), Error> {
    let tenant = crate::current().tenant;
    let found =
        of_tenant(audit_export::Entity::find_by_id(export), audit_export::Column::Tenant, tenant.as_deref())
            .one(db)
            .await
            .map_err(|error| unreadable("audit_export", &error))?;
    let Some(found) = found else {
        return Err(Error::NotFound { what: "export", id: export.to_string(), tenant: tenant.is_some() });
    };
    let mut operation = Operation::new(action::DOWNLOAD, Export::TABLE)
        .id(export)
        .module(module::REPORTING)
        .sensitive(found.is_sensitive)
        .with("format", found.format)
        .with("resource_type", found.resource_type);
    if let Some(name) = found.export_type.or(found.file_path) {
        operation = operation.name(name);
    }
    operation.log(db).await
}

/// Records a violation, and says under which id; `None` if its [finding](Violation::finding) has been recorded before in the context's
/// tenant. In a tenant the column `finding` holds tenant and name, as a JSON list.
///
/// Outside of a transaction it is written at once, so that its handling may begin. Within one it is written in the background, apart
/// from it, so that it survives a rollback; until then it has no status.
///
/// # Errors
/// [`Error::Store`] if it can't be written, or would be lost with the transaction because the audit has no connection of its
/// own; [`Error::NoActor`] if a context is demanded and there is none.
pub async fn log_violation<C: ConnectionTrait>(db: &C, violation: Violation) -> Result<Option<Uuid>, Error> {
    within(db, violation_in_force(db, violation)).await
}

async fn violation_in_force<C: ConnectionTrait>(
    db: &C,
    mut violation: Violation,
) -> Result<Option<Uuid>, Error> {
    let audit = Audit::current();
    // What one tenant finds must not keep another's from being recorded.
    if let (Some(tenant), Some(finding)) = (crate::current().tenant, &mut violation.finding) {
        *finding = serde_json::json!([tenant, finding]).to_string();
    }
    let resource = violation.violation_type.clone();
    let Some(record) = make(&audit, action::VIOLATION, &resource, violation)? else { return Ok(None) };
    let id = record.id;
    if is_transaction::<C>() && audit.sink().is_none() {
        if !audit.writer().has_database() {
            return Err(Error::Store {
                action: action::VIOLATION.to_owned(),
                resource,
                reason: "it would be lost with a failing transaction; log it after the transaction, or give the audit a connection of its own by `AuditBuilder::store`".to_owned(),
                retryable: false,
            });
        }
        return audit.writer().send(Record::from(record)).await.map(|()| Some(id));
    }
    if let Some(finding) = record.what.finding.clone() {
        let known = audit_violation::Entity::find().filter(audit_violation::Column::Finding.eq(&finding));
        if audit.sink().is_none() && exists(db, known.clone()).await? {
            return Ok(None);
        }
        return match write(&audit, db, record).await {
            // Somebody else was faster.
            Err(_) if exists(db, known).await.unwrap_or(false) => Ok(None),
            written => written.map(|()| Some(id)),
        };
    }
    write(&audit, db, record).await.map(|()| Some(id))
}

/// Records an attempt to log in, with the place of its address if the audit knows [geography](audit_core::Geography).
///
/// Call it outside of transactions that may be rolled back.
///
/// # Errors
/// As [`log_export`].
pub async fn log_login<C: ConnectionTrait>(db: &C, attempt: LoginAttempt) -> Result<Option<Uuid>, Error> {
    within(db, login_in_force(db, attempt)).await
}

async fn login_in_force<C: ConnectionTrait>(
    db: &C,
    mut attempt: LoginAttempt,
) -> Result<Option<Uuid>, Error> {
    let audit = Audit::current();
    if !attempt.has_place()
        && let (Some(geography), Some(address)) = (audit.geography(), crate::current().ip_address)
        && let Some(place) = geography.place(address).await
    {
        attempt = attempt.place(place);
    }
    let Some(record) = make(&audit, action::LOGIN, "user", attempt)? else { return Ok(None) };
    let id = record.id;
    write(&audit, db, record).await.map(|()| Some(id))
}

/// Records that the context's actor logged out: an entry of the action `logout`.
///
/// # Errors
/// As [`Operation::log`].
pub async fn log_logout<C: ConnectionTrait>(db: &C) -> Result<(), Error> {
    within(db, logout_in_force(db)).await
}

async fn logout_in_force<C: ConnectionTrait>(db: &C) -> Result<(), Error> {
    let actor = crate::current().actor;
    let mut operation = Operation::new(action::LOGOUT, "user").module(module::AUTHENTICATION);
    if let Some(id) = actor.id {
        operation = operation.id(id);
    }
    if let Some(name) = actor.name {
        operation = operation.name(name);
    }
    operation.log(db).await
}

/// Records a system event, and says under which id.
///
/// Outside of a transaction it is written at once. Within one it is written in the background, apart from it, if the audit has a
/// connection of its own; else it shares the transaction's fate.
///
/// # Errors
/// As [`log_export`].
pub async fn log_system_event<C: ConnectionTrait>(db: &C, event: SystemEvent) -> Result<Option<Uuid>, Error> {
    within(db, system_event_in_force(db, event)).await
}

async fn system_event_in_force<C: ConnectionTrait>(
    db: &C,
    event: SystemEvent,
) -> Result<Option<Uuid>, Error> {
    let audit = Audit::current();
    let Some(record) = make(&audit, action::SYSTEM_EVENT, event.event_type.as_str(), event)? else {
        return Ok(None);
    };
    let id = record.id;
    if is_transaction::<C>() && audit.writer().has_database() {
        return audit.writer().send(Record::from(record)).await.map(|()| Some(id));
    }
    write(&audit, db, record).await.map(|()| Some(id))
}

/// The record of this moment in the context in force; `None` if records of this sort aren't made.
pub(crate) fn make<F: StoredFamily>(
    audit: &Audit,
    action: &str,
    resource: &str,
    what: F,
) -> Result<Option<Recorded<F>>, Error> {
    if !audit.records(action) || audit.config().skip_resources.iter().any(|name| name == resource) {
        return Ok(None);
    }
    let context = audit.context(action, resource)?;
    Ok(Some(make_in(audit, what, &context)))
}

/// The record of this moment in this context.
pub(crate) fn make_in<F: StoredFamily>(audit: &Audit, mut what: F, context: &AuditContext) -> Recorded<F> {
    what.sanitise(audit.sanitizer());
    let mut record = Recorded::new(audit.clock().now(), what).with_context(context, audit.sanitizer());
    record.finish();
    record
}

/// Writes a record over `db`, by the configured policy.
///
/// # Errors
/// [`Error::Store`], [`Error::Spool`] if it can't be written and the policy doesn't let that pass.
pub(crate) async fn write<F, C>(audit: &Audit, db: &C, record: Recorded<F>) -> Result<(), Error>
where
    F: StoredFamily,
    C: ConnectionTrait,
    Record: From<Recorded<F>>,
{
    if let Some(sink) = audit.sink() {
        return sink.record_others(&[Record::from(record)]).await;
    }
    let policy = audit.config().on_failure;
    let insert = F::Entity::insert(F::row(&record));
    let failed = |error: &sea_orm::DbErr| Error::Store {
        action: "record".to_owned(),
        resource: F::TABLE.to_owned(),
        reason: describe(error).to_owned(),
        retryable: is_retryable(error),
    };
    // A failed statement would poison PostgreSQL's transaction, and the business write with it.
    let savepoint = match policy {
        FailurePolicy::Block => false,
        _ => set_savepoint(db).await.map_err(|error| failed(&error))?,
    };
    let error = match insert.exec_without_returning(db).await {
        Ok(_) if savepoint => {
            return db.execute_unprepared(RELEASE).await.map(|_| ()).map_err(|error| failed(&error));
        }
        Ok(_) => return Ok(()),
        Err(error) => failed(&error),
    };
    if savepoint {
        for undo in [ROLL_BACK, RELEASE] {
            db.execute_unprepared(undo).await.map_err(|error| failed(&error))?;
        }
    }
    match policy {
        FailurePolicy::BestEffort => {
            audit.counters().lose(1);
            tracing::error!(%error, "an audit record is lost; the policy is best effort");
            Ok(())
        }
        FailurePolicy::Outbox => audit.writer().spool(Record::from(record)).await,
        _ => Err(error),
    }
}

/// Writes a record in the background; over `db`, if the audit knows no connection apart from the caller's.
pub(super) async fn apart<F, C>(audit: &Audit, db: &C, record: Recorded<F>) -> Result<(), Error>
where
    F: StoredFamily,
    C: ConnectionTrait,
    Record: From<Recorded<F>>,
{
    if audit.sink().is_none() && audit.writer().has_database() {
        return audit.writer().send(Record::from(record)).await;
    }
    write(audit, db, record).await
}

/// Only what is this tenant's, if there is one.
pub(super) fn of_tenant<E: EntityTrait>(
    select: Select<E>,
    column: E::Column,
    tenant: Option<&str>,
) -> Select<E> {
    match tenant {
        Some(tenant) => select.filter(column.eq(&*stored_tenant(tenant))),
        None => select,
    }
}

pub(super) fn unreadable(table: &str, error: &sea_orm::DbErr) -> Error {
    Error::Store {
        action: action::READ.to_owned(),
        resource: table.to_owned(),
        reason: describe(error).to_owned(),
        retryable: is_retryable(error),
    }
}

async fn exists<C: ConnectionTrait>(db: &C, known: Select<audit_violation::Entity>) -> Result<bool, Error> {
    let one =
        known.select_only().column(audit_violation::Column::Id).limit(1).into_tuple::<Uuid>().one(db).await;
    one.map(|found| found.is_some()).map_err(|error| unreadable("audit_violation", &error))
}
