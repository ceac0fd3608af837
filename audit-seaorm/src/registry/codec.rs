//! An entity's rows made from values: what history and restore need of its types.

use std::fmt;

use sea_orm::sea_query::{
    DeleteStatement, Expr, ExprTrait, InsertStatement, SelectStatement, UpdateStatement,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn,
    QueryFilter, QueryTrait, Value,
};

use crate::decode;

/// Columns with their values.
pub(crate) type Values = [(String, Value)];

/// Statements and conversions for an entity's rows; a part of [`Declared`](super::Declared).
#[derive(Clone, Copy)]
pub(crate) struct Codec {
    /// The value of the column with this name from its rendering, if its type can hold it.
    pub(crate) decode: fn(&str, &str) -> Option<Value>,
    /// The value as the type of the column with this name has it, if it takes this one.
    pub(crate) fit: fn(&str, Value) -> Option<Value>,
    /// Whether the column with this name may be NULL, and whether it has a default.
    pub(crate) optional: fn(&str) -> (bool, bool),
    /// Reads the row with this primary key.
    pub(crate) find: fn(&Values) -> SelectStatement,
    pub(crate) insert: fn(&Values) -> InsertStatement,
    /// Sets values in the row with this primary key.
    pub(crate) update: fn(&Values, &Values) -> UpdateStatement,
    /// Deletes the row with this primary key.
    pub(crate) delete: fn(&Values) -> DeleteStatement,
}

impl Codec {
    pub(super) fn of<E: EntityTrait>() -> Self {
        Self {
            decode: |name, recorded| decode::decode::<E>(column::<E>(name)?, recorded),
            fit: |name, value| decode::fit::<E>(column::<E>(name)?, value),
            optional: |name| {
                column::<E>(name).map_or((false, false), |column| {
                    let definition = column.def();
                    (definition.is_null(), definition.get_column_default().is_some())
                })
            },
            find: |key| E::find().filter(is::<E>(key)).into_query(),
            insert: |values| E::insert(row::<E>(values)).into_query(),
            update: |key, values| E::update_many().set(row::<E>(values)).filter(is::<E>(key)).into_query(),
            delete: |key| E::delete_many().filter(is::<E>(key)).into_query(),
        }
    }
}

fn column<E: EntityTrait>(name: &str) -> Option<E::Column> {
    E::Column::iter().find(|column| column.as_str() == name)
}

fn is<E: EntityTrait>(key: &Values) -> Condition {
    let mut condition = Condition::all();
    for part in E::PrimaryKey::iter() {
        let column = part.into_column();
        condition = condition.add(match key.iter().find(|(name, _)| name == column.as_str()) {
            Some((_, value)) => column.eq(value.clone()),
            // Without its whole key no row is meant; least of all every one.
            None => Expr::val(1).eq(0),
        });
    }
    condition
}

/// The values are such as `fit` and `decode` gave: the row takes them.
fn row<E: EntityTrait>(values: &Values) -> E::ActiveModel {
    let mut row = <E::ActiveModel as ActiveModelTrait>::default();
    for (name, value) in values {
        if let Some(column) = column::<E>(name) {
            _ = row.try_set(column, value.clone());
        }
    }
    row
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}
