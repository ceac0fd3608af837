//! References with labels: which table, key and column `#[audit(label = "..")]` leads to.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use audit_core::{
    Config, EntityOptions, Error, FieldKind, FieldPolicy, LabelSource, ResourcePolicy, Sanitizer,
};
use sea_orm::sea_query::{SelectStatement, TableRef};
use sea_orm::{
    ColumnTrait, EntityTrait, IdenStatic, Identity, Iterable, ModelTrait, QueryFilter, QuerySelect,
    QueryTrait, RelationTrait,
};

use super::Declared;

/// A `belongs_to` of an entity.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BelongsTo {
    name: String,
    columns: Vec<String>,
    table: String,
    keys: Vec<String>,
}

/// What has to be known of an entity's types to follow references; a part of [`Declared`].
#[derive(Clone, Copy)]
pub(super) struct Types {
    belongs_to: fn() -> Vec<BelongsTo>,
    get: fn(&dyn Any, &str) -> Option<sea_orm::Value>,
    lookup: fn(&str, &str, sea_orm::Value) -> Option<SelectStatement>,
}

impl Types {
    pub(super) fn of<E>() -> Self
    where
        E: EntityTrait,
        E::Model: 'static,
    {
        Self {
            belongs_to: || E::Relation::iter().filter_map(|relation| belongs_to(&relation)).collect(),
            get: |row, name| Some(row.downcast_ref::<E::Model>()?.get(column::<E>(name)?)),
            lookup: |key, label, value| {
                let (key, label) = (column::<E>(key)?, column::<E>(label)?);
                Some(
                    E::find()
                        .select_only()
                        .column_as(as_read(label), "label")
                        .filter(key.eq(value))
                        .into_query(),
                )
            },
        }
    }

    /// Columns of the entity that refer by themselves to the key column of this table.
    pub(super) fn columns_to(&self, table: &str, key: &str) -> Vec<String> {
        let mut relations = (self.belongs_to)();
        relations.retain(|relation| relation.table == table && relation.keys == [key]);
        let mut columns: Vec<String> = relations.into_iter().flat_map(|relation| relation.columns).collect();
        columns.sort();
        columns.dedup();
        columns
    }

    /// The value of the column with this name.
    pub(super) fn get(&self, row: &dyn Any, column: &str) -> Option<sea_orm::Value> {
        (self.get)(row, column)
    }
}

fn column<E: EntityTrait>(name: &str) -> Option<E::Column> {
    E::Column::iter().find(|column| column.as_str() == name)
}

fn as_read<C: ColumnTrait>(column: C) -> sea_orm::sea_query::Expr {
    column.select_as(column.into_expr())
}

fn belongs_to<R: RelationTrait>(relation: &R) -> Option<BelongsTo> {
    let def = relation.def();
    let names = |identity: &Identity| identity.iter().map(ToString::to_string).collect::<Vec<String>>();
    let table = match &def.to_tbl {
        TableRef::Table(table, _) => match &table.0 {
            Some(schema) => format!("{}.{}", schema.1, table.1),
            None => table.1.to_string(),
        },
        _ => return None,
    };
    (!def.is_owner).then(|| BelongsTo {
        name: relation.name(),
        columns: names(&def.from_col),
        table,
        keys: names(&def.to_col),
    })
}

/// A field that refers to a row of another table, or of its own, whose label is recorded along.
#[derive(Clone)]
pub(crate) struct Reference {
    /// Index of the field in the policy.
    pub(crate) field: usize,
    /// The field's column.
    pub(crate) column: String,
    /// The table that it refers to, with its schema if it has one.
    pub(crate) table: String,
    /// The column that it refers to.
    pub(crate) key: String,
    /// The column with the label.
    pub(crate) label: String,
    types: Types,
}

impl Reference {
    /// Selects the label of the row with this key, under the name `label`.
    pub(crate) fn lookup(&self, key: sea_orm::Value) -> Option<SelectStatement> {
        (self.types.lookup)(&self.key, &self.label, key)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({} -> {}.{} as {})", self.column, self.table, self.key, self.label)
    }
}

/// All entities that are known, audited or not, with what their registration says.
pub(super) struct Announced<'a> {
    pub(super) entities: Vec<(&'a Declared, Option<&'a EntityOptions>)>,
    pub(super) config: &'a Config,
    pub(super) sanitizer: &'a Arc<Sanitizer>,
}

impl Announced<'_> {
    /// What the labels of an entity's references lead to. Raises the classification of its entries to that of the labels, if
    /// it isn't `fixed` by what was said of the entity.
    ///
    /// # Errors
    /// If a label leads nowhere, to several columns, or to one that must not be shown.
    pub(super) fn references(
        &self,
        policy: &mut ResourcePolicy,
        declared: &Declared,
        fixed: bool,
    ) -> Result<Vec<Reference>, Error> {
        let mut references = Vec::new();
        let mut classification = policy.classification;
        for (at, field) in policy.fields.iter().enumerate() {
            let Some(source) = &field.label else { continue };
            let refused = |why: String| {
                Error::Registration(format!(
                    "`{source}` of `{}` of `{}` {why}; accepted are {}",
                    field.column,
                    policy.resource,
                    LabelSource::FORMS
                ))
            };
            let found = relation(&(declared.types.belongs_to)(), source, &field.column).map_err(refused)?;
            let (reference, target) = self.target(&found, source, at, field).map_err(refused)?;
            classification = classification.max(target.classification);
            references.push(reference);
        }
        if !fixed {
            policy.classification = classification;
        }
        Ok(references)
    }

    /// The column that a label is in. Where several entities share the table, none of them may hide it.
    fn target(
        &self,
        found: &BelongsTo,
        source: &LabelSource,
        at: usize,
        field: &FieldPolicy,
    ) -> Result<(Reference, FieldPolicy), String> {
        let sharing = self.entities.iter().filter(|(declared, _)| declared.table == found.table);
        let mut sharing: Vec<&(&Declared, Option<&EntityOptions>)> = sharing.collect();
        // As among those that stand for a table: the one with the derive and the most columns.
        sharing.sort_by_key(|(declared, _)| std::cmp::Reverse((declared.derived, declared.columns.len())));
        let mut result: Option<(Reference, FieldPolicy)> = None;
        for (declared, options) in sharing {
            let none = EntityOptions::default();
            let policy = ResourcePolicy::resolve(
                &declared.table,
                &declared.columns,
                declared.spec,
                options.unwrap_or(&none),
                self.config,
                self.sanitizer,
            )
            .map_err(|error| format!("leads to `{}`, which is wrong itself ({error})", found.table))?;
            let column = match (&source.column, &result) {
                (Some(column), _) => column.clone(),
                (None, Some((reference, _))) => reference.label.clone(),
                (None, None) => match policy.name_field.and_then(|at| policy.fields.get(at)) {
                    Some(name) => name.column.clone(),
                    None => {
                        return Err(format!(
                            "leads to `{}`, none of whose fields has `#[audit(name)]`; name a column of it",
                            found.table
                        ));
                    }
                },
            };
            let position = policy.field_of_column(&column);
            let Some((position, target)) = position.and_then(|at| Some((at, policy.fields.get(at)?))) else {
                if result.is_some() {
                    continue;
                }
                let columns: Vec<_> = policy.fields.iter().map(|field| field.column.as_str()).collect();
                return Err(format!(
                    "leads to `{}`, which has no column `{column}`; its columns are {}",
                    found.table,
                    columns.join(", ")
                ));
            };
            if !target.is_recorded_as_it_is() {
                return Err(format!(
                    "leads to `{column}` of `{}`, which entries about that table don't show as it is: it is excluded, not included, masked, sensitive or transformed; choose another column",
                    found.table
                ));
            }
            let text = declared.columns.get(position).is_some_and(|column| column.kind == FieldKind::Text);
            if !text {
                return Err(format!(
                    "leads to `{column}` of `{}`, which isn't a column of texts; choose another column",
                    found.table
                ));
            }
            if result.is_none() {
                let reference = Reference {
                    field: at,
                    column: field.column.clone(),
                    table: found.table.clone(),
                    key: found.keys.first().cloned().unwrap_or_default(),
                    label: column,
                    types: declared.types,
                };
                result = Some((reference, target.clone()));
            }
        }
        result.ok_or_else(|| {
            format!(
                "leads to `{}`, of which no entity is known here; derive `Auditable` on it (with `#[audit(skip)]` if it isn't to be audited) or register it",
                found.table
            )
        })
    }
}

/// The relation that a label follows.
fn relation(all: &[BelongsTo], source: &LabelSource, column: &str) -> Result<BelongsTo, String> {
    let list = |relations: &[&BelongsTo]| {
        let names: Vec<_> = relations.iter().map(|relation| format!("`{}`", relation.name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let from: Vec<&BelongsTo> =
        all.iter().filter(|relation| relation.columns.iter().any(|name| name == column)).collect();
    let chosen: Vec<&BelongsTo> = match &source.relation {
        Some(name) => from.iter().copied().filter(|relation| relation.name == *name).collect(),
        None => from.clone(),
    };
    // Two relations that lead to the same are one.
    let leads =
        |a: &BelongsTo, b: &BelongsTo| (&a.table, &a.keys, &a.columns) == (&b.table, &b.keys, &b.columns);
    let Some((first, others)) = chosen.split_first() else {
        return Err(match &source.relation {
            Some(_) => format!(
                "names no `belongs_to` relation that begins at the column; those that do are {}",
                list(&from)
            ),
            None => format!(
                "needs a `belongs_to` relation that begins at the column; the entity's `belongs_to` relations are {}",
                list(&all.iter().collect::<Vec<_>>())
            ),
        });
    };
    if others.iter().any(|other| !leads(first, other)) {
        return Err(format!("may mean several relations: {}; name one of them", list(&chosen)));
    }
    if first.columns.len() != 1 || first.keys.len() != 1 {
        return Err(format!(
            "follows `{}`, which refers by several columns together; labels follow references of one column",
            first.name
        ));
    }
    Ok((*first).clone())
}
