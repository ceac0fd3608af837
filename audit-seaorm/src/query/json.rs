//! Conditions on the texts that hold JSON, by the functions that each database has for it.
//!
//! Keys and values are bound; nothing of them becomes SQL.

use audit_core::Error;
use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait, Func, FunctionCall, Query};
use sea_orm::{ColumnTrait, Condition, DbBackend};
use serde_json::Value;

use super::text::{containing, without_nul};
use crate::entity::audit_log::Column;

fn call<const N: usize>(name: &'static str, args: [Expr; N]) -> FunctionCall {
    Func::cust(name).args(args)
}

fn text(column: Column) -> Expr {
    Expr::col(column.as_column_ref())
}

/// The column as `jsonb`, which has no NUL.
fn jsonb(column: Column) -> Expr {
    let replaced = call("replace", [text(column), Expr::val(r"\u0000"), Expr::val(r"\ufffd")]);
    Expr::expr(replaced).cast_as("jsonb")
}

/// `$."key"` or `$."key"."key"`, as MySQL reads paths.
fn path(keys: &[&str]) -> String {
    keys.iter().fold("$".to_owned(), |path, key| format!("{path}.{}", Value::from(*key)))
}

/// The condition, where the column holds an object; what isn't JSON must not make the statement fail.
fn if_object(backend: DbBackend, column: Column, condition: Condition) -> Condition {
    let is_object = match backend {
        DbBackend::Postgres => text(column).like("{%"),
        _ => Expr::expr(call("json_valid", [text(column)])).eq(1),
    };
    let case = CaseStatement::new().case(is_object, condition).finally(Expr::val(false));
    Condition::all().add(Expr::Case(Box::new(case)))
}

/// Whether the object in this column has this value under this key.
///
/// # Errors
/// [`Error::Filter`] if the value is a list or an object.
pub(super) fn member_is(
    backend: DbBackend,
    column: Column,
    key: &str,
    value: &Value,
) -> Result<Condition, Error> {
    let key = without_nul(key);
    if value.is_array() || value.is_object() {
        return Err(Error::Filter(
            "metadata is compared with a text, a number, a truth value or null; not with a list or an object"
                .into(),
        ));
    }
    let condition = match backend {
        DbBackend::Postgres => {
            let member = call("jsonb_extract_path", [jsonb(column), Expr::val(key)]);
            let wanted = Expr::val(without_nul_in(value).to_string()).cast_as("jsonb");
            Condition::all().add(Expr::expr(member).eq(wanted))
        }
        DbBackend::Sqlite => {
            let member = Query::select()
                .expr(Expr::val(1))
                .from_function(call("json_each", [text(column)]), "member")
                .cond_where(of_member(&key, value))
                .take();
            Condition::all().add(Expr::exists(member))
        }
        _ => mysql_member_is(column, &key, value),
    };
    Ok(if_object(backend, column, condition))
}

fn without_nul_in(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| Value::from(without_nul(text)))
}

/// What a row of SQLite's `json_each` has to say.
fn of_member(key: &str, value: &Value) -> Condition {
    let column = |name: &'static str| Expr::col(("member", name));
    let condition = Condition::all().add(column("key").eq(key));
    match value {
        Value::String(text) => condition.add(column("type").eq("text")).add(column("atom").eq(text.as_str())),
        Value::Number(number) => {
            condition.add(column("type").is_in(["integer", "real"])).add(column("atom").eq(bound(number)))
        }
        Value::Bool(value) => condition.add(column("type").eq(if *value { "true" } else { "false" })),
        _ => condition.add(column("type").eq("null")),
    }
}

fn bound(number: &serde_json::Number) -> Expr {
    match number.as_i64() {
        Some(number) => Expr::val(number),
        None => Expr::val(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// `JSON_CONTAINS` would find a value in a list as well; and MariaDB has no type for JSON, by which to compare.
fn mysql_member_is(column: Column, key: &str, value: &Value) -> Condition {
    let member = || Expr::expr(call("json_extract", [text(column), Expr::val(path(&[key]))]));
    let kind = || Expr::expr(call("json_type", [member()]));
    let condition = Condition::all();
    match value {
        Value::String(text) => {
            let unquoted = Expr::expr(call("json_unquote", [member()]));
            // Byte by byte: what JSON functions return is compared without regard to case on some servers.
            let same = unquoted.cast_as("binary").eq(Expr::val(text.as_str()).cast_as("binary"));
            condition.add(kind().eq("STRING")).add(same)
        }
        Value::Number(number) => condition
            .add(kind().is_in(["INTEGER", "UNSIGNED INTEGER", "DOUBLE", "DECIMAL"]))
            .add(member().eq(bound(number))),
        Value::Bool(value) => {
            let unquoted = Expr::expr(call("json_unquote", [member()]));
            condition.add(kind().eq("BOOLEAN")).add(unquoted.eq(if *value { "true" } else { "false" }))
        }
        _ => condition.add(kind().eq("NULL")),
    }
}

/// Whether the entry's changes show this text as the old or the new value of the field.
pub(super) fn change_shows(backend: DbBackend, field: &str, id: &str) -> Condition {
    let (field, id) = (without_nul(field), without_nul(id));
    let side = |side: &'static str| -> Expr {
        match backend {
            DbBackend::Postgres => {
                let changes = jsonb(Column::Changes);
                let keys = [changes, Expr::val(field.as_str()), Expr::val(side)];
                Expr::expr(call("jsonb_extract_path_text", keys)).eq(id.as_str())
            }
            DbBackend::Sqlite => {
                let inner = Query::select()
                    .expr(Expr::val(1))
                    .from_function(call("json_each", [text(Column::Changes)]), "member")
                    .and_where(Expr::col(("member", "key")).eq(field.as_str()))
                    .and_where(
                        Expr::expr(call(
                            "json_extract",
                            [Expr::col(("member", "value")), Expr::val(format!("$.{side}"))],
                        ))
                        .cast_as(Alias::new("text"))
                        .eq(id.as_str()),
                    )
                    .take();
                Expr::exists(inner)
            }
            _ => {
                let keys = [text(Column::Changes), Expr::val(path(&[&field, side]))];
                let value = Expr::expr(call("json_unquote", [Expr::expr(call("json_extract", keys))]));
                value.cast_as("binary").eq(Expr::val(id.as_str()).cast_as("binary"))
            }
        }
    };
    let shows = Condition::any().add(side("old")).add(side("new"));
    // Most entries don't name the field: those needn't be parsed.
    let named = text(Column::Changes).like(containing(&Value::from(field.as_str()).to_string()));
    Condition::all().add(named).add(if_object(backend, Column::Changes, shows))
}
