//! The difference between two rows, as it is recorded.

use crate::policy::FieldPolicy;
use crate::value::write_text;
use crate::{ResourcePolicy, Value};

/// One field's change. A row that begins has only `new`, one that ends only `old`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Index of the field in [`ResourcePolicy::fields`].
    pub field: usize,
    /// The value before.
    pub old: Option<Value>,
    /// The value after.
    pub new: Option<Value>,
    /// The readable name of the row that the old value refers to.
    pub old_label: Option<Value>,
    /// The readable name of the row that the new value refers to.
    pub new_label: Option<Value>,
}

impl Change {
    fn new(field: usize, old: Option<Value>, new: Option<Value>) -> Self {
        Self { field, old, new, old_label: None, new_label: None }
    }
}

/// Collects the changes that [`Auditable::diff`](crate::Auditable::diff) reports.
///
/// A field that isn't tracked is neither compared nor rendered; a masked one is compared, not rendered; nothing is
/// allocated until a field differs.
#[derive(Debug)]
pub struct Diff<'a> {
    policy: &'a ResourcePolicy,
    changes: Vec<Change>,
    loud: bool,
}

impl<'a> Diff<'a> {
    /// An empty difference under this policy.
    pub fn new(policy: &'a ResourcePolicy) -> Self {
        Self { policy, changes: Vec::new(), loud: false }
    }

    /// Reports the field with this index. `same` compares; `values` renders old and new and is called only if they
    /// differ and may be recorded.
    #[inline]
    pub fn field(
        &mut self,
        index: usize,
        same: impl FnOnce() -> bool,
        values: impl FnOnce() -> (Value, Value),
    ) {
        if let Some(field) = self.policy.fields.get(index)
            && field.tracked
            && !same()
        {
            self.push(index, field, values);
        }
    }

    fn push(&mut self, index: usize, field: &FieldPolicy, values: impl FnOnce() -> (Value, Value)) {
        let (old, new) = if field.masked {
            (Value::Masked, Value::Masked)
        } else {
            let (old, new) = values();
            // A transform (`with = ..`) may make two different values one, the column's scale two decimals.
            // Equal isn't always alike: `0.0 == -0.0`.
            if old == new && old.to_json() == new.to_json() {
                return;
            }
            let (old, new) = (self.policy.guard(field, old), self.policy.guard(field, new));
            if old == new && matches!(old, Value::Decimal(_)) {
                return;
            }
            (old, new)
        };
        self.loud |= !field.silent;
        self.changes.push(Change::new(index, Some(old), Some(new)));
    }

    /// The changes, or `None` if they make no entry: nothing differs, or silent fields alone do.
    pub fn finish(self) -> Option<Changes> {
        self.loud.then_some(Changes(self.changes))
    }
}

/// Collects the values that [`Auditable::values`](crate::Auditable::values) reports.
#[derive(Debug)]
pub struct FieldValues<'a> {
    policy: &'a ResourcePolicy,
    raw: bool,
    values: Vec<(usize, Value)>,
}

impl<'a> FieldValues<'a> {
    /// The tracked fields, guarded, for an entry.
    pub fn tracked(policy: &'a ResourcePolicy) -> Self {
        Self { policy, raw: false, values: Vec::with_capacity(policy.fields.len()) }
    }

    /// The key fields and the naming field as they are, for the identity of a row. Never stored as such.
    pub fn identity(policy: &'a ResourcePolicy) -> Self {
        Self { policy, raw: true, values: Vec::with_capacity(2) }
    }

    /// Reports the field with this index; `value` is called only if it is wanted.
    #[inline]
    pub fn field(&mut self, index: usize, value: impl FnOnce() -> Value) {
        let Some(field) = self.policy.fields.get(index) else { return };
        if self.raw {
            if field.key || self.policy.name_field == Some(index) {
                self.values.push((index, value()));
            }
        } else if field.tracked {
            let value = if field.masked { Value::Masked } else { self.policy.guard(field, value()) };
            self.values.push((index, value));
        }
    }

    /// The values, each with its field's index.
    pub fn finish(self) -> Vec<(usize, Value)> {
        self.values
    }
}

/// The changes of one entry, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// The changes of a row that begins with these values.
    pub fn created(values: Vec<(usize, Value)>) -> Self {
        Self(values.into_iter().map(|(field, new)| Change::new(field, None, Some(new))).collect())
    }

    /// The changes of a row that ends with these values.
    pub fn deleted(values: Vec<(usize, Value)>) -> Self {
        Self(values.into_iter().map(|(field, old)| Change::new(field, Some(old), None)).collect())
    }

    /// Says what the rows are called that a reference, the field with this index, refers to. Kept with a side of the
    /// change that is there; a field that didn't change has no labels.
    pub fn label(&mut self, policy: &ResourcePolicy, field: usize, old: Option<String>, new: Option<String>) {
        if let Some(change) = self.0.iter_mut().find(|change| change.field == field) {
            let guard = |label: String| policy.guard_value(Value::Text(label), None);
            change.old_label = old.filter(|_| change.old.is_some()).map(guard);
            change.new_label = new.filter(|_| change.new.is_some()).map(guard);
        }
    }

    /// The changes, in the order of the fields.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.0.iter()
    }

    /// Number of fields that changed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a secret field is among them.
    pub fn touch_sensitive(&self, policy: &ResourcePolicy) -> bool {
        self.0.iter().any(|change| policy.fields.get(change.field).is_some_and(|field| field.sensitive))
    }

    /// The record: `{"price":{"old":"19.99","new":"24.99"}}`.
    pub fn to_json(&self, policy: &ResourcePolicy) -> String {
        let mut out = String::with_capacity(64 * self.0.len() + 2);
        out.push('{');
        for (at, change) in self.0.iter().enumerate() {
            let Some(field) = policy.fields.get(change.field) else { continue };
            if at > 0 {
                out.push(',');
            }
            write_text(&mut out, &field.name);
            out.push_str(":{");
            if let Some(old) = &change.old {
                out.push_str("\"old\":");
                old.write_json(&mut out);
            }
            if let Some(new) = &change.new {
                out.push_str(if change.old.is_some() { ",\"new\":" } else { "\"new\":" });
                new.write_json(&mut out);
            }
            for (name, label) in [("old_label", &change.old_label), ("new_label", &change.new_label)] {
                if let Some(label) = label {
                    out.push_str(",\"");
                    out.push_str(name);
                    out.push_str("\":");
                    label.write_json(&mut out);
                }
            }
            out.push('}');
        }
        out.push('}');
        out
    }

    /// The names of the fields that changed, in their order.
    pub fn field_names(&self, policy: &ResourcePolicy) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|change| policy.fields.get(change.field))
            .map(|field| field.name.clone())
            .collect()
    }
}

impl<'a> IntoIterator for &'a Changes {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A row as JSON, `{"id":1,"price":"24.99"}`: the record of a snapshot.
pub fn snapshot_json(policy: &ResourcePolicy, values: &[(usize, Value)]) -> String {
    let mut out = String::with_capacity(32 * values.len() + 2);
    out.push('{');
    let mut first = true;
    for (index, value) in values {
        let Some(field) = policy.fields.get(*index) else { continue };
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        write_text(&mut out, &field.name);
        out.push(':');
        value.write_json(&mut out);
    }
    out.push('}');
    out
}
