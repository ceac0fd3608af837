//! What is announced at link time: an entity as its types describe it.

use std::any::{Any, TypeId};
use std::fmt;

use audit_core::{Auditable, Column, Diff, FieldKind, FieldValues, ResourceSpec};
use sea_orm::sea_query::{Expr, SelectStatement};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ColumnType, Condition, DbErr, EntityTrait, FromQueryResult, IdenStatic,
    Iterable, ModelTrait, PrimaryKeyToColumn, QueryFilter, QueryResult, QueryTrait,
};

use super::codec::Codec;
use super::references::Types;
use super::{Fate, Known};
use crate::capture::render;

/// What `#[derive(Auditable)]` and `#[audited]` announce at link time.
#[derive(Debug)]
pub struct Declaration {
    pub(super) module_path: &'static str,
    pub(super) declare: fn() -> Declared,
}

impl Declaration {
    /// An entity that lives in the module with this path.
    pub const fn new(module_path: &'static str, declare: fn() -> Declared) -> Self {
        Self { module_path, declare }
    }
}

inventory::collect!(Declaration);

/// A row of some entity: its `Model`.
pub(crate) type Row = Box<dyn Any + Send>;

type DiffFn = fn(&dyn Any, &dyn Any, &mut Diff<'_>);
type ValuesFn = fn(&dyn Any, &mut FieldValues<'_>);
type DecodeFn = fn(&QueryResult, &str) -> Result<Row, DbErr>;
type SelectFn = fn(&dyn Fn(&str) -> Expr) -> Vec<(String, Expr)>;
type KeyFn = fn(&dyn Any) -> Vec<(String, sea_orm::Value)>;
type FindFn = fn(&[&dyn Any]) -> SelectStatement;

/// An entity as its types describe it.
#[derive(Clone)]
pub struct Declared {
    pub(super) entity: TypeId,
    /// Path of the entity's type.
    pub(super) name: &'static str,
    pub(super) table: String,
    pub(super) columns: Vec<Column>,
    pub(super) spec: &'static ResourceSpec,
    pub(super) derived: bool,
    pub(super) hooked: bool,
    pub(super) diff: DiffFn,
    pub(super) values: ValuesFn,
    pub(super) decode: DecodeFn,
    pub(super) select: SelectFn,
    pub(super) key: KeyFn,
    pub(super) find: FindFn,
    pub(super) types: Types,
    pub(super) codec: Codec,
}

impl Declared {
    /// An entity whose model derives [`Auditable`]; `columns` belong to the fields of its description.
    pub fn derived<M>(columns: &[<M::Entity as EntityTrait>::Column]) -> Self
    where
        M: ModelTrait + Auditable + 'static,
    {
        Self {
            columns: columns.iter().map(|column| describe_column::<M::Entity>(*column)).collect(),
            spec: M::RESOURCE,
            derived: true,
            diff: |old, new, diff| {
                if let (Some(old), Some(new)) = (old.downcast_ref::<M>(), new.downcast_ref::<M>()) {
                    old.diff(new, diff);
                }
            },
            values: |row, values| {
                if let Some(row) = row.downcast_ref::<M>() {
                    row.values(values);
                }
            },
            ..Self::of_entity::<M::Entity>()
        }
    }

    /// An entity whose active model has the hooks, by SeaORM's description of it.
    pub fn hooked<A>() -> Self
    where
        A: ActiveModelTrait,
        <A::Entity as EntityTrait>::Model: 'static,
    {
        Self { hooked: true, ..Self::of_entity::<A::Entity>() }
    }

    pub(crate) fn of_entity<E>() -> Self
    where
        E: EntityTrait,
        E::Model: 'static,
    {
        let entity = E::default();
        let table = match entity.schema_name() {
            Some(schema) => format!("{schema}.{}", entity.table_name()),
            None => entity.table_name().to_owned(),
        };
        Self {
            entity: TypeId::of::<E>(),
            name: std::any::type_name::<E>(),
            table,
            columns: E::Column::iter().map(describe_column::<E>).collect(),
            spec: &ResourceSpec::EMPTY,
            derived: false,
            hooked: false,
            diff: |old, new, diff| {
                if let (Some(old), Some(new)) = (old.downcast_ref::<E::Model>(), new.downcast_ref()) {
                    diff_by_columns(old, new, diff);
                }
            },
            values: |row, values| {
                if let Some(row) = row.downcast_ref::<E::Model>() {
                    for (index, column) in E::Column::iter().enumerate() {
                        values.field(index, || render::value(row.get(column)));
                    }
                }
            },
            decode: |row, prefix| {
                E::Model::from_query_result(row, prefix).map(|row| -> Row { Box::new(row) })
            },
            select: |source| {
                E::Column::iter()
                    .map(|column| (column.as_str().to_owned(), column.select_as(source(column.as_str()))))
                    .collect()
            },
            types: Types::of::<E>(),
            codec: Codec::of::<E>(),
            key: |row| {
                let Some(row) = row.downcast_ref::<E::Model>() else { return Vec::new() };
                E::PrimaryKey::iter()
                    .map(|part| (part.into_column().as_str().to_owned(), row.get(part.into_column())))
                    .collect()
            },
            find: |rows| {
                let mut any = Condition::any();
                for row in rows.iter().filter_map(|row| row.downcast_ref::<E::Model>()) {
                    let mut key = Condition::all();
                    for part in E::PrimaryKey::iter() {
                        let column = part.into_column();
                        key = key.add(column.eq(row.get(column)));
                    }
                    any = any.add(key);
                }
                E::find().filter(any).into_query()
            },
        }
    }
}

impl Declared {
    /// The table, with its schema if it has one.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    pub(super) fn known(&self, fate: Fate) -> Known {
        self.known_as(self.spec.resource.unwrap_or(&self.table), fate)
    }

    pub(super) fn known_as(&self, resource: &str, fate: Fate) -> Known {
        Known { table: self.table.clone(), resource: resource.to_owned(), entity: self.name, fate }
    }
}

fn diff_by_columns<M: ModelTrait>(old: &M, new: &M, diff: &mut Diff<'_>) {
    for (index, column) in <M::Entity as EntityTrait>::Column::iter().enumerate() {
        let (old, new) = (old.get(column), new.get(column));
        diff.field(
            index,
            || render::same(&old, &new),
            || (render::value(old.clone()), render::value(new.clone())),
        );
    }
}

fn describe_column<E: EntityTrait>(column: E::Column) -> Column {
    Column {
        name: column.as_str().to_owned(),
        kind: kind_of(column.def().get_column_type()),
        scale: match column.def().get_column_type() {
            ColumnType::Decimal(Some((_, scale))) | ColumnType::Money(Some((_, scale))) => Some(*scale),
            _ => None,
        },
        key: E::PrimaryKey::iter().any(|key| key.into_column().as_str() == column.as_str()),
    }
}

fn kind_of(column_type: &ColumnType) -> FieldKind {
    match column_type {
        ColumnType::Char(_) | ColumnType::String(_) | ColumnType::Text | ColumnType::Enum { .. } => {
            FieldKind::Text
        }
        ColumnType::TinyInteger
        | ColumnType::SmallInteger
        | ColumnType::Integer
        | ColumnType::BigInteger
        | ColumnType::TinyUnsigned
        | ColumnType::SmallUnsigned
        | ColumnType::Unsigned
        | ColumnType::BigUnsigned
        | ColumnType::Float
        | ColumnType::Double => FieldKind::Number,
        ColumnType::Decimal(_) | ColumnType::Money(_) => FieldKind::Money,
        ColumnType::DateTime
        | ColumnType::Timestamp
        | ColumnType::TimestampWithTimeZone
        | ColumnType::Time
        | ColumnType::Date
        | ColumnType::Year
        | ColumnType::Interval(..) => FieldKind::Time,
        ColumnType::Binary(_) | ColumnType::VarBinary(_) | ColumnType::Blob => FieldKind::Binary,
        ColumnType::Boolean => FieldKind::Boolean,
        ColumnType::Json | ColumnType::JsonBinary => FieldKind::Json,
        ColumnType::Uuid => FieldKind::Uuid,
        ColumnType::Cidr | ColumnType::Inet | ColumnType::MacAddr => FieldKind::Network,
        _ => FieldKind::Other,
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Declared")
            .field("table", &self.table)
            .field("derived", &self.derived)
            .finish_non_exhaustive()
    }
}
