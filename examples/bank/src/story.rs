//! A day at the bank: Ann works, somebody tries her password, Chris of compliance has a look.

use std::path::Path;

use audit_seaorm::entity::audit_violation;
use audit_seaorm::{AuditConnection, AuditContext, LoginAttempt, ViolationStatus, scope};
use sea_orm::EntityTrait;
use sea_orm::prelude::Decimal;

use crate::{Error, bank};

/// Whose accounts they are.
pub const TENANT: &str = "north branch";

fn ann() -> AuditContext {
    AuditContext::user(1).named("Ann").tenant(TENANT).ip("192.0.2.7").session_id("s-1")
}

fn chris() -> AuditContext {
    AuditContext::user(2).named("Chris").tenant(TENANT).ip("192.0.2.8").reason("monthly review")
}

fn stranger() -> AuditContext {
    AuditContext::anonymous().tenant(TENANT).ip("203.0.113.9")
}

/// The whole day; files go to this folder.
///
/// # Errors
/// If anything fails that isn't meant to.
pub async fn tell(db: &AuditConnection, folder: &Path) -> Result<(), Error> {
    scope(stranger(), guess(db)).await?;
    scope(ann(), work(db)).await?;
    scope(chris(), review(db, folder)).await?;
    // Records of reads are written in the background.
    Ok(db.audit().flush().await?)
}

async fn guess(db: &AuditConnection) -> Result<(), Error> {
    for _ in 0..2 {
        db.service().log_login(LoginAttempt::failed("ann", "wrong password")).await?;
    }
    db.service().log_login(LoginAttempt::blocked("ann", "too many attempts from this address")).await?;
    Ok(())
}

async fn work(db: &AuditConnection) -> Result<(), Error> {
    db.service().log_login(LoginAttempt::success("ann")).await?;
    let savings =
        bank::open_account(db, TENANT, "Savings", "DE89370400440532013000", Decimal::new(100_000, 2)).await?;
    let giro =
        bank::open_account(db, TENANT, "Giro", "GB29NWBK60161331926819", Decimal::new(50_000, 2)).await?;
    bank::list_accounts(db, TENANT).await?;
    bank::transfer(db, savings, giro, Decimal::new(10_000, 2)).await?;
    match bank::transfer(db, giro, savings, Decimal::new(999_900, 2)).await {
        Err(Error::NoFunds(_)) => {} // What she is told; the violation is on record.
        other => other?,
    }
    Ok(db.service().log_logout().await?)
}

async fn review(db: &AuditConnection, folder: &Path) -> Result<(), Error> {
    if let Some(export) = bank::export_accounts(db, TENANT, folder).await? {
        db.service().log_download(export).await?;
    }
    for violation in audit_violation::Entity::find().all(db).await? {
        for (status, notes) in [
            (ViolationStatus::Investigating, "asked Ann what she was about to do"),
            (ViolationStatus::Resolved, "one zero too many; nothing was moved"),
        ] {
            db.service().set_status(violation.id, status, Some(notes)).await?;
        }
    }
    Ok(())
}
