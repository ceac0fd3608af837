//! Which names databases give to what a list of expressions gives.

use sqlparser::ast::{
    DataType, ExactNumberInfo, Expr, ObjectNamePart, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TimezoneInfo,
};

use super::Output;
use super::lex::Lang;
use super::piece::{fold, fold_ident};
use super::tree::names;

/// What an item is called.
pub(super) fn output(lang: Lang, item: &SelectItem) -> Output {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Output::Named(fold_ident(lang, alias)),
        SelectItem::UnnamedExpr(expr) => match lang {
            Lang::Pg => match pg(expr) {
                Found::Name(name) | Found::Weak(name) => Output::Named(name),
                Found::Nothing => Output::Named("?column?".to_owned()),
                Found::Unsure => Output::Unknown,
            },
            // Other expressions are called by their text, more or less.
            _ => match expr {
                Expr::Identifier(ident) => Output::Named(ident.value.clone()),
                Expr::CompoundIdentifier(idents) => {
                    idents.last().map_or(Output::Unknown, |ident| Output::Named(ident.value.clone()))
                }
                _ => Output::Unknown,
            },
        },
        SelectItem::Wildcard(_) => Output::All,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            match names(lang, name).and_then(|mut names| names.pop()) {
                Some(name) => Output::AllOf(name),
                None => Output::Unknown,
            }
        }
        SelectItem::QualifiedWildcard(..) | SelectItem::ExprWithAliases { .. } => Output::Unknown,
    }
}

/// What PostgreSQL finds in an expression.
enum Found {
    /// A name.
    Name(String),
    /// A name that gives way to that of a type around it.
    Weak(String),
    /// Nothing to call it by.
    Nothing,
    /// Depends on the version.
    Unsure,
}

/// PostgreSQL's `FigureColname`.
fn pg(expr: &Expr) -> Found {
    match expr {
        Expr::Identifier(ident) => Found::Name(fold_ident(Lang::Pg, ident)),
        Expr::CompoundIdentifier(idents) => {
            idents.last().map_or(Found::Unsure, |ident| Found::Name(fold_ident(Lang::Pg, ident)))
        }
        Expr::Function(function) => match function.name.0.last() {
            Some(ObjectNamePart::Identifier(ident)) => {
                let name = fold_ident(Lang::Pg, ident);
                // Some of these are syntax rather than functions, and are called differently by version.
                const OWN: &[&str] = &["extract", "json", "normalize", "overlay", "position", "trim", "xml"];
                if ident.quote_style.is_none() && OWN.iter().any(|own| name.starts_with(own)) {
                    Found::Unsure
                } else {
                    Found::Name(name)
                }
            }
            _ => Found::Unsure,
        },
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => pg(inner),
        Expr::Cast { expr: inner, data_type, .. } => match pg(inner) {
            Found::Name(name) => Found::Name(name),
            Found::Unsure => Found::Unsure,
            Found::Weak(_) | Found::Nothing => type_name(data_type).map_or(Found::Unsure, Found::Weak),
        },
        Expr::Case { else_result: Some(last), .. } => match pg(last) {
            Found::Name(name) => Found::Name(name),
            Found::Unsure => Found::Unsure,
            Found::Weak(_) | Found::Nothing => Found::Weak("case".to_owned()),
        },
        Expr::Case { else_result: None, .. } => Found::Weak("case".to_owned()),
        Expr::Exists { .. } => Found::Name("exists".to_owned()),
        Expr::Array(_) => Found::Name("array".to_owned()),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::ExprWithAlias { alias, .. }) => Found::Name(fold_ident(Lang::Pg, alias)),
                Some(SelectItem::UnnamedExpr(expr)) => match pg(expr) {
                    Found::Name(name) | Found::Weak(name) => Found::Name(name),
                    Found::Nothing | Found::Unsure => Found::Unsure,
                },
                _ => Found::Unsure,
            },
            _ => Found::Unsure,
        },
        // TRUE and FALSE were casts once.
        Expr::Value(value) => match value.value {
            sqlparser::ast::Value::Boolean(_) => Found::Unsure,
            _ => Found::Nothing,
        },
        Expr::BinaryOp { .. }
        | Expr::UnaryOp { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::InList { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. } => Found::Nothing,
        _ => Found::Unsure,
    }
}

/// The name that PostgreSQL's parser gives a type, for those where it is beyond doubt.
fn type_name(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Custom(name, _) => match name.0.last()? {
            ObjectNamePart::Identifier(ident) => {
                return Some(fold(Lang::Pg, &ident.value, ident.quote_style.is_some()));
            }
            ObjectNamePart::Function(_) => return None,
        },
        DataType::Array(sqlparser::ast::ArrayElemTypeDef::SquareBracket(inner, _)) => {
            return type_name(inner);
        }
        DataType::Text => "text",
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::SmallInt(None) => "int2",
        DataType::Int(None) | DataType::Integer(None) => "int4",
        DataType::BigInt(None) => "int8",
        DataType::Int2(None) => "int2",
        DataType::Int4(None) => "int4",
        DataType::Int8(None) => "int8",
        DataType::Real => "float4",
        DataType::DoublePrecision => "float8",
        DataType::Float4 => "float4",
        DataType::Float8 => "float8",
        DataType::Numeric(ExactNumberInfo::None | ExactNumberInfo::PrecisionAndScale(..)) => "numeric",
        DataType::Decimal(ExactNumberInfo::None | ExactNumberInfo::PrecisionAndScale(..)) => "numeric",
        DataType::Boolean | DataType::Bool => "bool",
        DataType::Uuid => "uuid",
        DataType::Date => "date",
        DataType::Bytea => "bytea",
        DataType::JSON => "json",
        DataType::JSONB => "jsonb",
        DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "timestamp",
        DataType::Timestamp(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => "timestamptz",
        DataType::Time(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "time",
        _ => return None,
    };
    Some(name.to_owned())
}
