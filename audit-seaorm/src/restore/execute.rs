//! Doing what a plan says.

use std::sync::Arc;

use audit_core::{AuditContext, Error, Severity};
use sea_orm::{ConnectionTrait, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use uuid::Uuid;

use super::compose::count;
use super::plan::{Plan, Step, StepAction};
use super::{refused, rows};
use crate::capture::AuditTransaction;
use crate::db_error::{describe, is_retryable, without_values};
use crate::{AuditConnection, Operation, is_audit_error, scope};

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The entries of the restore carry this `transaction_id`; it can be given to
    /// [`Restore::transaction`](super::Restore::transaction) to take the restore back.
    pub transaction_id: String,
    /// How many rows came back, changed or went.
    pub rows: usize,
}

impl Plan {
    /// Does what the plan says, in one transaction, or nothing.
    ///
    /// # Errors
    /// [`Error::Restore`] if something stands against it: a conflict that isn't forced, or a row that has changed since the plan was
    /// made; then make a new one. Also if the database refuses it. [`Error::Store`] if it can't be recorded.
    pub async fn execute(&self, db: &AuditConnection) -> Result<Restored, Error> {
        let obstacles: Vec<String> = self.obstacles().map(ToString::to_string).collect();
        if !obstacles.is_empty() {
            return Err(refused(obstacles.join("; ")));
        }
        let audit = db.audit();
        let base = match db.over().1 {
            Some(context) => Arc::clone(context),
            None => audit.context(self.action, &self.about.kind)?,
        };
        let base = match &self.reason {
            Some(reason) => AuditContext::clone(&base).reason(reason.clone()),
            None => AuditContext::clone(&base),
        };
        // The context differs from step to step: that of the task counts where the connection has none.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction =
            db.without_context().begin_with_options(options).await.map_err(|error| failed(&error))?;
        let id = base.transaction_id.clone().unwrap_or_else(|| transaction.transaction_id().to_owned());
        match self.execute_in(&transaction, &base, &id, db).await {
            Ok(()) => transaction.commit().await.map_err(|error| failed(&error))?,
            Err(error) => {
                // What failed is the news, not that the rest is undone.
                _ = transaction.rollback().await;
                return Err(error);
            }
        }
        let rows = self.steps.iter().filter(|step| !step.work.deferred).count();
        Ok(Restored { transaction_id: id, rows })
    }

    async fn execute_in(
        &self,
        transaction: &AuditTransaction,
        base: &AuditContext,
        id: &str,
        db: &AuditConnection,
    ) -> Result<(), Error> {
        for step in self.steps.iter().filter(|step| !step.work.deferred) {
            let now = rows::current(transaction, &step.work.audited, &step.work.key, true).await?;
            if now.map(|now| now.columns) != step.work.before {
                return Err(refused(format!(
                    "{} {} has changed since the plan was made; make a new one",
                    step.resource, step.id
                )));
            }
        }
        for step in &self.steps {
            let context = base.clone().with("restores", restores(step.entries.iter()));
            scope(context, perform(transaction, step)).await?;
        }
        let summary = self.summary(id);
        let audit = db.audit();
        let entry = scope(base.clone(), async { summary.entry(audit) }).await?;
        if let Some(mut entry) = entry {
            entry.transaction_id = Some(id.to_owned());
            entry.resource.clone_from(&self.about);
            audit.write(transaction, vec![entry]).await?;
        }
        Ok(())
    }

    fn summary(&self, id: &str) -> Operation {
        let mut operation = Operation::new(self.action, self.about.kind.clone())
            .severity(Severity::Medium)
            .with("restores", restores(self.steps.iter().flat_map(|step| &step.entries)))
            .with("steps", self.steps.len())
            .with("forced", self.forced)
            .with("transaction", id);
        if let Some(reverted) = &self.reverted {
            operation = operation.with("reverted_transaction", reverted.as_str());
        }
        if let Some(module) = &self.module {
            operation = operation.module(module);
        }
        operation
    }
}

/// One id by itself, several as a list.
fn restores<'a>(entries: impl Iterator<Item = &'a Uuid>) -> serde_json::Value {
    let mut ids: Vec<String> = entries.map(Uuid::to_string).collect();
    if ids.len() == 1 { ids.pop().into() } else { ids.into() }
}

async fn perform(transaction: &AuditTransaction, step: &Step) -> Result<(), Error> {
    let (codec, work) = (step.work.audited.codec(), &step.work);
    for (table, select) in &work.referrers {
        let rows = count(transaction, select).await?;
        if rows > 0 {
            return Err(refused(format!(
                "{} {} is referred to by rows of `{table}`, which came after the plan was made",
                step.resource, step.id
            )));
        }
    }
    let result = match step.action {
        StepAction::Insert => transaction.execute(&(codec.insert)(&work.values)).await,
        StepAction::Update => transaction.execute(&(codec.update)(&work.key, &work.values)).await,
        StepAction::Delete => transaction.execute(&(codec.delete)(&work.key)).await,
    };
    let affected = result.map_err(|error| failed(&error))?.rows_affected();
    if affected != 1 {
        return Err(refused(format!("{} {} changed {affected} rows instead of one", step.resource, step.id)));
    }
    Ok(())
}

/// What the database said, without values.
fn failed(error: &DbErr) -> Error {
    let reason = if is_audit_error(error) || error.sql_err().is_some() {
        without_values(&error.to_string())
    } else {
        describe(error).to_owned()
    };
    let again = if is_retryable(error) { "; it may succeed when it is tried again" } else { "" };
    refused(format!("nothing was restored: {reason}{again}"))
}
