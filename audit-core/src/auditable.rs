//! What `#[derive(Auditable)]` writes: the description of a resource, and its field-diff code.

use crate::{Classification, Diff, FailurePolicy, FieldValues};

/// A row type whose changes can be recorded field by field.
///
/// Implemented by `#[derive(Auditable)]`. The contract: `diff` and `values` visit the fields in the order of
/// [`ResourceSpec::fields`], each under its index there, and ask the visitor before they render a value, so that a
/// field that isn't tracked is never even read.
pub trait Auditable {
    /// The static description of the resource: what the attributes said.
    const RESOURCE: &'static ResourceSpec;

    /// Reports each field that differs between `self` (the row before) and `new` (the row after).
    fn diff(&self, new: &Self, diff: &mut Diff<'_>);

    /// Reports every field's value, for entries about rows that begin or end.
    fn values(&self, values: &mut FieldValues<'_>);
}

/// The attributes of a resource, as written; [`ResourcePolicy`](crate::ResourcePolicy) is what follows from them
/// together with registration and configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceSpec {
    /// Name of the resource in entries. `None`: the table's name.
    pub resource: Option<&'static str>,
    /// Functional area that the resource belongs to, such as `"finance"`.
    pub module: Option<&'static str>,
    /// Compliance frameworks whose rules apply, such as `"SOX"`.
    pub frameworks: &'static [&'static str],
    /// Classification of the resource. `None`: the highest of its fields.
    pub classification: Option<Classification>,
    /// Which operations make entries.
    pub operations: Operations,
    /// Whether entries carry the whole row before and after, besides the changed fields.
    pub snapshot: bool,
    /// What happens to an operation whose entry can't be written. `None`: the configuration decides.
    pub on_failure: Option<FailurePolicy>,
    /// Waived from auditing, with the reason given.
    pub skip: Option<&'static str>,
    /// The fields, in the order of declaration.
    pub fields: &'static [FieldSpec],
}

impl ResourceSpec {
    /// A description without fields and with nothing said; the start of struct-update syntax.
    pub const EMPTY: Self = Self {
        resource: None,
        module: None,
        frameworks: &[],
        classification: None,
        operations: Operations::WRITES,
        snapshot: false,
        on_failure: None,
        skip: None,
        fields: &[],
    };
}

/// Which operations on a resource make entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Operations {
    /// A row begins.
    pub create: bool,
    /// A row changes.
    pub update: bool,
    /// A row ends.
    pub delete: bool,
    /// Rows are read.
    pub read: bool,
}

impl Operations {
    /// Create, update and delete: the default.
    pub const WRITES: Self = Self { create: true, update: true, delete: true, read: false };
}

/// The attributes of a field, as written.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)]
pub struct FieldSpec {
    /// Name of the struct's field, without `r#`.
    pub ident: &'static str,
    /// Name in entries. `None`: the column's name.
    pub rename: Option<&'static str>,
    /// Whether and how the value is recorded.
    pub tracking: Tracking,
    /// Recorded together with other changes, but makes no entry alone.
    pub silent: bool,
    /// Gives the entry its resource name.
    pub name: bool,
    /// Whether the value is a secret. `None`: decided by the field's name.
    pub sensitive: Option<bool>,
    /// Classification. `None`: decided by the field's name and type.
    pub classification: Option<Classification>,
    /// Its value is recorded as a function makes it (`with = ..`): only the program can tell.
    pub transformed: bool,
    /// It refers to another row, whose readable name is recorded along; see [`LabelSource`](crate::LabelSource).
    pub label: Option<&'static str>,
    /// Names that older entries have for it.
    pub aliases: &'static [&'static str],
}

impl FieldSpec {
    /// A field with nothing said about it.
    pub const fn new(ident: &'static str) -> Self {
        Self {
            ident,
            rename: None,
            tracking: Tracking::Default,
            silent: false,
            name: false,
            sensitive: None,
            classification: None,
            transformed: false,
            label: None,
            aliases: &[],
        }
    }
}

/// Whether and how a field's value is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tracking {
    /// Nothing was said: recorded, unless some other field of the resource says [`Include`](Self::Include).
    Default,
    /// Recorded; fields that don't say so are not.
    Include,
    /// Never recorded; a change of it alone makes no entry.
    Exclude,
    /// That it changed is recorded; its value is not.
    Mask,
}
