//! In which order rows come and go: those that are referred to come first and go last.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::foreign_keys::{ForeignKeys, Table};
use super::plan::{Step, StepAction};

type Columns = BTreeMap<String, String>;

/// What has to be done before a step.
struct Waits {
    step: usize,
    /// The columns by which it refers to what that brings; none if it is about what that takes away.
    columns: Vec<String>,
}

/// Orders the steps: the last change first, as far as foreign keys allow it.
///
/// Where rows refer to each other in a circle, one of them comes without its reference, if that may be NULL, and gets it at
/// the end.
pub(super) fn order(mut steps: Vec<Step>, keys: &ForeignKeys) -> Vec<Step> {
    steps.sort_by_key(|step| std::cmp::Reverse(step.work.seq));
    let mut waits = waits(&steps, keys);
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (at, waits) in waits.iter().enumerate() {
        for wait in waits {
            if let Some(followers) = followers.get_mut(wait.step) {
                followers.push(at);
            }
        }
    }
    let mut free: BTreeSet<usize> =
        (0..steps.len()).filter(|at| waits.get(*at).is_none_or(Vec::is_empty)).collect();
    let mut open: BTreeMap<usize, Step> = steps.into_iter().enumerate().collect();
    let (mut ordered, mut late) = (Vec::with_capacity(open.len()), Vec::new());
    while let Some(first) = open.keys().next().copied() {
        let at = free.pop_first().unwrap_or_else(|| {
            let without = |(at, step): (&usize, &mut Step)| Some((*at, defer(step, waits.get(*at)?)?));
            let deferred = open.iter_mut().find_map(without);
            deferred.map_or(first, |(at, step)| {
                late.push(step);
                at
            })
        });
        ordered.extend(open.remove(&at));
        for follower in followers.get(at).into_iter().flatten() {
            if let Some(waits) = waits.get_mut(*follower) {
                waits.retain(|wait| wait.step != at);
                if waits.is_empty() && open.contains_key(follower) {
                    free.insert(*follower);
                }
            }
        }
    }
    ordered.extend(late);
    ordered
}

/// For each step what has to be done before it.
fn waits(steps: &[Step], keys: &ForeignKeys) -> Vec<Vec<Waits>> {
    let mut all: Vec<Vec<Waits>> = steps.iter().map(|_| Vec::new()).collect();
    let of = |table: &Table| {
        let matching = steps.iter().enumerate().filter(|(_, step)| table.is(&step.work.audited.policy.table));
        matching.collect::<Vec<_>>()
    };
    for key in keys.all() {
        let (parents, children) = (of(&key.parent), of(&key.child));
        if parents.is_empty() || children.is_empty() {
            continue;
        }
        let (mut brought, mut taken) = (HashMap::new(), HashMap::new());
        for (at, parent) in parents {
            let before = values(parent.work.before.as_ref(), &key.parent_columns);
            let after = values(parent.work.after.as_ref(), &key.parent_columns);
            if before != after {
                brought.extend(after.map(|after| (after, at)));
                taken.extend(before.map(|before| (before, at)));
            }
        }
        for (at, child) in children {
            let before = values(child.work.before.as_ref(), &key.child_columns);
            let after = values(child.work.after.as_ref(), &key.child_columns);
            let parent = after.as_ref().and_then(|after| brought.get(after)).filter(|parent| **parent != at);
            if let (Some(parent), Some(waits)) = (parent, all.get_mut(at)) {
                waits.push(Waits { step: *parent, columns: key.child_columns.clone() });
            }
            let left = before.filter(|before| Some(before) != after.as_ref());
            let parent = left.and_then(|before| taken.get(&before)).filter(|parent| **parent != at);
            if let Some(waits) = parent.and_then(|parent| all.get_mut(*parent)) {
                waits.push(Waits { step: at, columns: Vec::new() });
            }
        }
    }
    all
}

/// Lets a row come back without the references that it would have to wait for; the step that sets them later. `None`: it can't do
/// without them.
fn defer(step: &mut Step, waits: &[Waits]) -> Option<Step> {
    let optional = |column: &String| (step.work.audited.codec().optional)(column).0;
    let nullable = waits.iter().all(|wait| !wait.columns.is_empty() && wait.columns.iter().all(optional));
    if step.action != StepAction::Insert || !nullable || waits.is_empty() {
        return None;
    }
    let mut late = step.clone();
    late.action = StepAction::Update;
    late.work.deferred = true;
    let waiting = |column: &str| waits.iter().any(|wait| wait.columns.iter().any(|name| name == column));
    late.work.values.retain(|(column, _)| waiting(column));
    let policy = &late.work.audited.policy;
    let field_waits =
        |name: &str| policy.fields.iter().any(|field| field.name == name && waiting(&field.column));
    late.fields.retain(|field| field_waits(&field.name));
    late.unrestorable.clear();
    for (column, value) in step.work.values.iter_mut().filter(|(column, _)| waiting(column)) {
        *value = (late.work.audited.codec().decode)(column, "null")?;
    }
    step.fields.retain(|field| !field_waits(&field.name));
    Some(late)
}

/// The values of these columns; nothing if there is no row, or one of them is NULL: then it refers to nothing.
pub(super) fn values<'a>(row: Option<&'a Columns>, columns: &[String]) -> Option<Vec<&'a str>> {
    let value = |column: &String| {
        let row = row?;
        let found = row.get(column).or_else(|| {
            row.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, value)| value)
        });
        found.map(String::as_str).filter(|value| *value != "null")
    };
    columns.iter().map(value).collect()
}
