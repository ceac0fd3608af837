//! What can be done at the bank. Who does it says the scope in which it is called.

use std::fmt::Write;
use std::path::Path;

use audit_seaorm::{
    AuditConnection, AuditTransaction, Classification, Export, Operation, Severity, Violation,
};
use sea_orm::prelude::*;
use sea_orm::{IntoActiveModel, Set, TransactionTrait};
use serde_json::json;

use crate::{Error, account};

/// Opens an account.
///
/// # Errors
/// If it can't be written or recorded: then there is neither an account nor an entry.
pub async fn open_account(
    db: &AuditConnection,
    tenant: &str,
    bank_name: &str,
    number: &str,
    balance: Decimal,
) -> Result<i64, Error> {
    let account = account::ActiveModel {
        tenant: Set(tenant.to_owned()),
        bank_name: Set(bank_name.to_owned()),
        account_number: Set(number.to_owned()),
        balance: Set(balance),
        is_active: Set(true),
        ..Default::default()
    };
    Ok(account.insert(db).await?.id)
}

/// The tenant's active accounts. That somebody looked is recorded, because the entity says `reads`.
///
/// # Errors
/// If they can't be read.
pub async fn list_accounts(db: &AuditConnection, tenant: &str) -> Result<Vec<account::Model>, Error> {
    let accounts = account::Entity::find()
        .filter(account::Column::Tenant.eq(tenant))
        .filter(account::Column::IsActive.eq(true));
    Ok(accounts.all(db).await?)
}

/// Moves money. Both balances and all entries commit together; if it fails, none of them does, but a violation stays.
///
/// # Errors
/// If an account isn't there, or has too little, or the database fails.
pub async fn transfer(db: &AuditConnection, from: i64, to: i64, amount: Decimal) -> Result<(), Error> {
    let transaction = db.begin().await?;
    let failed = match move_money(&transaction, from, to, amount).await {
        Ok(()) => return Ok(transaction.commit().await?),
        Err(error) => error,
    };
    transaction.rollback().await?;
    let details = json!({"from_account_id": from, "to_account_id": to, "amount": format!("{amount:.2}")});
    let violation = Violation::new("transfer_failed", format!("Money transfer failed: {failed}"))
        .severity(Severity::High)
        .module("finance")
        .details(details);
    db.service().log_violation(violation).await?;
    Err(failed)
}

async fn move_money(
    transaction: &AuditTransaction,
    from: i64,
    to: i64,
    amount: Decimal,
) -> Result<(), Error> {
    let (source, target) = (account(transaction, from).await?, account(transaction, to).await?);
    let balances = |from: Decimal, to: Decimal| json!({"from_account_balance": format!("{from:.2}"), "to_account_balance": format!("{to:.2}")});
    let (less, more) = (source.balance - amount, target.balance + amount);
    let operation = Operation::new("transfer", "BankTransfer")
        .id(format!("{from}-{to}"))
        .name(format!("Transfer from {} to {}", source.bank_name, target.bank_name))
        .module("finance")
        .old_data(balances(source.balance, target.balance))
        .new_data(balances(less, more))
        .framework("SOX")
        .classification(Classification::Confidential)
        .sensitive(true);
    transaction.service().log_operation(operation).await?;
    for (account, balance) in [(source, less), (target, more)] {
        let id = account.id;
        let mut account = account.into_active_model();
        account.balance = Set(balance);
        if account.update(transaction).await?.balance.is_sign_negative() {
            return Err(Error::NoFunds(id));
        }
    }
    Ok(())
}

async fn account(transaction: &AuditTransaction, id: i64) -> Result<account::Model, Error> {
    let account = account::Entity::find_by_id(id).filter(account::Column::IsActive.eq(true));
    account.one(transaction).await?.ok_or(Error::NoAccount(id))
}

/// Writes the tenant's accounts to a CSV file, and says under which id that is recorded.
///
/// # Errors
/// If it can't be recorded: then there is no file. Else if it can't be written.
pub async fn export_accounts(
    db: &AuditConnection,
    tenant: &str,
    folder: &Path,
) -> Result<Option<Uuid>, Error> {
    let accounts = list_accounts(db, tenant).await?;
    let mut csv = "id,bank_name,account_number,balance\n".to_owned();
    for account in &accounts {
        let account::Model { id, bank_name, account_number, balance, .. } = account;
        // Writing to a text can't fail.
        _ = writeln!(csv, "{id},{bank_name},{account_number},{balance:.2}");
    }
    let file = folder.join("accounts.csv");
    let size = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let export = Export::new("csv", "BankAccount")
        .export_type("account list")
        .filters(json!({"tenant": tenant, "is_active": true}))
        .fields(["id", "bank_name", "account_number", "balance"])
        .record_count(size(accounts.len()))
        .file(file.display().to_string(), size(csv.len()));
    let recorded = db.service().log_export(export).await?;
    std::fs::write(file, csv)?;
    Ok(recorded)
}
