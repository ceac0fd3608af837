//! From rows to entries.

use std::any::Any;
use std::sync::Arc;

use audit_core::{
    AuditContext, Changes, Diff, Entry, Error, FieldValues, Resource, Value, action, snapshot_json,
};

use super::labels::Labels;
use crate::Audit;
use crate::registry::Audited;

/// Makes the entries of one operation: they share the context.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    audit: &'a Audit,
    context: Arc<AuditContext>,
    /// Groups the entries, unless the context does.
    transaction: Option<Arc<str>>,
}

impl<'a> Recorder<'a> {
    /// In the task's context.
    ///
    /// # Errors
    /// [`Error::NoActor`] if there is none and the configuration demands one.
    pub(super) fn new(audit: &'a Audit, action: &str, audited: &Audited) -> Result<Self, Error> {
        let context = audit.context(action, &audited.policy.resource)?;
        Ok(Self { audit, context, transaction: None })
    }

    /// In this context and transaction.
    pub(super) fn within(
        audit: &'a Audit,
        context: Arc<AuditContext>,
        transaction: Option<Arc<str>>,
    ) -> Self {
        Self { audit, context, transaction }
    }

    /// The entry of a row that began.
    pub(super) fn created(&self, audited: &Audited, row: &dyn Any, labels: &Labels) -> Entry {
        let values = tracked(audited, row);
        let snapshot = audited.policy.snapshot.then(|| snapshot_json(&audited.policy, &values));
        let entry = self.entry(action::CREATE, audited, row);
        let mut changes = Changes::created(values);
        labels.put(&audited.policy, &mut changes);
        let mut entry = entry.with_changes(&audited.policy, &changes);
        entry.new_data = snapshot;
        entry
    }

    /// The entry of a row that changed, or `None` if nothing did that makes one.
    pub(super) fn updated(
        &self,
        audited: &Audited,
        old: &dyn Any,
        new: &dyn Any,
        labels: &Labels,
    ) -> Option<Entry> {
        let policy = &audited.policy;
        let mut diff = Diff::new(policy);
        audited.diff(old, new, &mut diff);
        let mut changes = diff.finish()?;
        labels.put(policy, &mut changes);
        let entry = self.entry(action::UPDATE, audited, new);
        let mut entry = entry.with_changes(policy, &changes);
        if policy.snapshot {
            entry.old_data = Some(snapshot_json(policy, &tracked(audited, old)));
            entry.new_data = Some(snapshot_json(policy, &tracked(audited, new)));
        }
        Some(entry)
    }

    /// The entry of a row that ended.
    pub(super) fn deleted(&self, audited: &Audited, row: &dyn Any, labels: &Labels) -> Entry {
        let values = tracked(audited, row);
        let snapshot = audited.policy.snapshot.then(|| snapshot_json(&audited.policy, &values));
        let entry = self.entry(action::DELETE, audited, row);
        let mut changes = Changes::deleted(values);
        labels.put(&audited.policy, &mut changes);
        let mut entry = entry.with_changes(&audited.policy, &changes);
        entry.old_data = snapshot;
        entry
    }

    fn entry(&self, action: &'static str, audited: &Audited, row: &dyn Any) -> Entry {
        let mut entry = self.audit.entry(action, identify(audited, row), &self.context);
        if let Some(transaction) = &self.transaction {
            entry.transaction_id.get_or_insert_with(|| transaction.to_string());
        }
        entry
    }
}

fn tracked(audited: &Audited, row: &dyn Any) -> Vec<(usize, Value)> {
    let mut values = FieldValues::tracked(&audited.policy);
    audited.values(row, &mut values);
    values.finish()
}

fn identify(audited: &Audited, row: &dyn Any) -> Resource {
    let mut identity = FieldValues::identity(&audited.policy);
    audited.values(row, &mut identity);
    Resource::of_row(&audited.policy, &identity.finish())
}
