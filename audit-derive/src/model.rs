//! What the attributes of a struct said.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{ExprPath, Generics, LitStr, Path, Type};

/// A struct that derives `Auditable`.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) container: Container,
    /// The columns, in the order of declaration. Fields that aren't columns are left out.
    pub(crate) fields: Vec<Field>,
}

/// `#[audit(..)]` on the struct.
#[derive(Default)]
pub(crate) struct Container {
    /// Names of the options, as written; for messages.
    pub(crate) options: Vec<Ident>,
    pub(crate) resource: Option<LitStr>,
    pub(crate) module: Option<LitStr>,
    pub(crate) frameworks: Vec<LitStr>,
    pub(crate) classification: Option<Classification>,
    /// `on(..)`; never empty.
    pub(crate) on: Option<Vec<Ident>>,
    pub(crate) reads: Option<Ident>,
    pub(crate) snapshot: bool,
    pub(crate) on_failure: Option<FailurePolicy>,
    pub(crate) skip: Option<Ident>,
    pub(crate) reason: Option<LitStr>,
    pub(crate) library: Library,
    /// Whether SeaORM renames all columns of the struct.
    pub(crate) renames_columns: bool,
}

/// A column's field.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    /// Variant of the column enum, named by SeaORM's own rule.
    pub(crate) variant: Ident,
    /// Name of the column, as far as the field tells.
    pub(crate) column: String,
    pub(crate) said: FieldOptions,
}

/// `#[audit(..)]` on a field.
#[derive(Default)]
pub(crate) struct FieldOptions {
    /// Names of the options, as written; for messages.
    pub(crate) options: Vec<Ident>,
    pub(crate) exclude: bool,
    pub(crate) include: bool,
    pub(crate) mask: bool,
    pub(crate) silent: bool,
    pub(crate) name: Option<Ident>,
    pub(crate) label: Option<Label>,
    pub(crate) rename: Option<LitStr>,
    /// Names that older entries have for it.
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) sensitive: Option<bool>,
    pub(crate) classification: Option<Classification>,
    pub(crate) with: Option<ExprPath>,
}

/// `label`, which names a column, a relation, both or neither.
pub(crate) struct Label {
    /// As written; empty for `label` alone.
    pub(crate) text: String,
    /// The variant of `Relation` that it names, at its place.
    pub(crate) relation: Option<Ident>,
}

/// `audit_core::Classification`, which this crate doesn't depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Classification {
    Public,
    Internal,
    Confidential,
    Restricted,
    TopSecret,
}

impl Classification {
    /// The words of the attribute.
    pub(crate) const WORDS: &'static [(&'static str, Self)] = &[
        ("public", Self::Public),
        ("internal", Self::Internal),
        ("confidential", Self::Confidential),
        ("restricted", Self::Restricted),
        ("top_secret", Self::TopSecret),
    ];
}

/// `audit_core::FailurePolicy`, which this crate doesn't depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailurePolicy {
    Block,
    Outbox,
    BestEffort,
}

impl FailurePolicy {
    /// The words of the attribute.
    pub(crate) const WORDS: &'static [(&'static str, Self)] =
        &[("block", Self::Block), ("outbox", Self::Outbox), ("best_effort", Self::BestEffort)];
}

/// Where the generated code finds the library.
#[derive(Clone, Default)]
pub(crate) enum Library {
    /// `::audit_seaorm`.
    #[default]
    Default,
    /// `crate = ..`.
    At(Path),
    /// `crate = ..` with a mistake in it: nothing can be generated that wouldn't be a mistake as well.
    Unknown,
}

impl Library {
    /// The path of the module with everything that generated code uses.
    pub(crate) fn private(&self) -> Option<TokenStream> {
        match self {
            Self::Default => Some(quote!(::audit_seaorm::__private)),
            Self::At(path) => Some(quote!(#path::__private)),
            Self::Unknown => None,
        }
    }
}
