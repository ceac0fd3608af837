//! Rows of the tables as observations.

use audit_core::detect::{Observation, Source};
use audit_core::{Actor, LoginStatus, Status, action};
use sea_orm::sea_query::{Alias, CaseStatement, Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{DbErr, QueryResult};
use serde::Deserialize;

/// The tables that are looked at.
pub(super) const SOURCES: [(Source, &str); 4] = [
    (Source::Entry, "audit_log"),
    (Source::Login, "audit_login_attempt"),
    (Source::Export, "audit_export"),
    (Source::Read, "audit_query"),
];

/// What is asked of a table.
pub(super) fn select(source: Source, table: &'static str) -> SelectStatement {
    let mut select = Query::select();
    select.from(table).columns([
        "seq",
        "id",
        "timestamp",
        "tenant",
        "actor_type",
        "actor_id",
        "actor_name",
        "actor_email",
        "ip_address",
        "user_agent",
        "status",
    ]);
    match source {
        Source::Entry => {
            select.columns(["action", "resource_type", "resource_id", "changed_fields"]);
            // Only of requests it says something to rules.
            let request = Expr::col("action").eq(action::API_ACCESS);
            let metadata = CaseStatement::new().case(request, Expr::col("metadata"));
            select.expr_as(metadata, Alias::new("request"));
        }
        Source::Login => {
            select.column("username");
        }
        Source::Export => {
            select.columns(["resource_type", "record_count"]);
        }
        Source::Read => {
            select.columns(["resource_type", "record_count", "duration_us"]);
        }
    }
    select
}

/// What the metadata of an `api_access` says.
#[derive(Default, Deserialize)]
struct Request {
    path: Option<String>,
    duration_us: Option<i64>,
}

/// The observation that a row is.
pub(super) fn observation(source: Source, row: &QueryResult) -> Result<Observation, DbErr> {
    let status: String = row.try_get("", "status")?;
    let action = match source {
        Source::Entry => row.try_get("", "action")?,
        Source::Login => action::LOGIN.to_owned(),
        Source::Export => action::EXPORT.to_owned(),
        Source::Read => action::READ.to_owned(),
    };
    let mut seen = Observation::new(source, row.try_get("", "id")?, row.try_get("", "timestamp")?, action);
    seen.failed = status == Status::Failed.as_str() || status == LoginStatus::Blocked.as_str();
    seen.tenant = row.try_get("", "tenant")?;
    seen.actor = Actor {
        kind: row.try_get::<String>("", "actor_type")?.into(),
        id: row.try_get("", "actor_id")?,
        name: row.try_get("", "actor_name")?,
        email: row.try_get("", "actor_email")?,
    };
    seen.ip_address = row.try_get("", "ip_address")?;
    seen.user_agent = row.try_get("", "user_agent")?;
    match source {
        Source::Entry => {
            seen.resource_type = row.try_get("", "resource_type")?;
            seen.resource_id = row.try_get("", "resource_id")?;
            let fields: Option<String> = row.try_get("", "changed_fields")?;
            seen.changed_fields =
                fields.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            let request: Option<String> = row.try_get("", "request")?;
            let request: Request =
                request.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            (seen.path, seen.duration_us) = (request.path, request.duration_us);
        }
        Source::Login => seen.username = row.try_get("", "username")?,
        Source::Export => {
            seen.resource_type = row.try_get("", "resource_type")?;
            seen.records = row.try_get("", "record_count")?;
        }
        Source::Read => {
            seen.resource_type = row.try_get("", "resource_type")?;
            seen.records = row.try_get("", "record_count")?;
            seen.duration_us = row.try_get("", "duration_us")?;
        }
    }
    Ok(seen)
}
