//! From rows to entries.

use audit_core::{Changes, Diff, Entry, Error, FieldValues, Resource, Value, action, snapshot_json};

use crate::Audit;
use crate::registry::Audited;

/// The entry of a row that began.
pub(super) fn created<M: 'static>(audit: &Audit, audited: &Audited, row: &M) -> Result<Entry, Error> {
    let values = tracked(audited, row);
    let snapshot = audited.policy.snapshot.then(|| snapshot_json(&audited.policy, &values));
    let entry = audit.entry(action::CREATE, identify(audited, row))?;
    let mut entry = entry.with_changes(&audited.policy, &Changes::created(values));
    entry.new_data = snapshot;
    Ok(entry)
}

/// The entry of a row that changed, or `None` if nothing did that makes one.
pub(super) fn updated<M: 'static>(
    audit: &Audit,
    audited: &Audited,
    old: &M,
    new: &M,
) -> Result<Option<Entry>, Error> {
    let policy = &audited.policy;
    let mut diff = Diff::new(policy);
    audited.diff(old, new, &mut diff);
    let Some(changes) = diff.finish() else { return Ok(None) };
    let entry = audit.entry(action::UPDATE, identify(audited, new))?;
    let mut entry = entry.with_changes(policy, &changes);
    if policy.snapshot {
        entry.old_data = Some(snapshot_json(policy, &tracked(audited, old)));
        entry.new_data = Some(snapshot_json(policy, &tracked(audited, new)));
    }
    Ok(Some(entry))
}

/// The entry of a row that ended.
pub(super) fn deleted<M: 'static>(audit: &Audit, audited: &Audited, row: &M) -> Result<Entry, Error> {
    let values = tracked(audited, row);
    let snapshot = audited.policy.snapshot.then(|| snapshot_json(&audited.policy, &values));
    let entry = audit.entry(action::DELETE, identify(audited, row))?;
    let mut entry = entry.with_changes(&audited.policy, &Changes::deleted(values));
    entry.old_data = snapshot;
    Ok(entry)
}

fn tracked<M: 'static>(audited: &Audited, row: &M) -> Vec<(usize, Value)> {
    let mut values = FieldValues::tracked(&audited.policy);
    audited.values(row, &mut values);
    values.finish()
}

fn identify<M: 'static>(audited: &Audited, row: &M) -> Resource {
    let mut identity = FieldValues::identity(&audited.policy);
    audited.values(row, &mut identity);
    Resource::of_row(&audited.policy, &identity.finish())
}
