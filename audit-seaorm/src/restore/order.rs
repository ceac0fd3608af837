//! In which order rows come and go: those that are referred to come first and go last.

use std::collections::BTreeMap;

use super::foreign_keys::ForeignKeys;
use super::plan::Step;

type Columns = BTreeMap<String, String>;

/// Orders the steps: the last change first, as far as foreign keys allow it.
///
/// Rows that refer to each other in a circle stay in the order of their changes.
pub(super) fn order(mut steps: Vec<Step>, keys: &ForeignKeys) -> Vec<Step> {
    steps.sort_by_key(|step| std::cmp::Reverse(step.work.seq));
    let mut waits: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (first, earlier) in steps.iter().enumerate() {
        for (second, later) in steps.iter().enumerate() {
            if first != second
                && goes_before(earlier, later, keys)
                && let Some(waits) = waits.get_mut(second)
            {
                waits.push(first);
            }
        }
    }
    let mut open: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(open.len());
    while open.iter().any(Option::is_some) {
        let free = (0..open.len()).find(|at| {
            let waited = waits
                .get(*at)
                .is_some_and(|waits| waits.iter().any(|other| matches!(open.get(*other), Some(Some(_)))));
            matches!(open.get(*at), Some(Some(_))) && !waited
        });
        let Some(at) = free.or_else(|| open.iter().position(Option::is_some)) else { break };
        ordered.extend(open.get_mut(at).and_then(Option::take));
    }
    ordered
}

/// Whether the one has to be done before the other.
fn goes_before(one: &Step, other: &Step, keys: &ForeignKeys) -> bool {
    let (mine, its) = (&one.work, &other.work);
    let (my_table, its_table) = (&mine.audited.policy.table, &its.audited.policy.table);
    // It refers to what I bring.
    let brought = keys.between(its_table, my_table).any(|key| {
        let new = values(mine.after.as_ref(), &key.parent_columns);
        new.is_some()
            && new != values(mine.before.as_ref(), &key.parent_columns)
            && new == values(its.after.as_ref(), &key.child_columns)
    });
    // I refer to what it takes away.
    let taken = keys.between(my_table, its_table).any(|key| {
        let old = values(its.before.as_ref(), &key.parent_columns);
        old.is_some()
            && old != values(its.after.as_ref(), &key.parent_columns)
            && old == values(mine.before.as_ref(), &key.child_columns)
            && old != values(mine.after.as_ref(), &key.child_columns)
    });
    brought || taken
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
