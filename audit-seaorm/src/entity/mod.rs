//! SeaORM entities of the audit tables.

pub mod audit_alert;
pub mod audit_export;
pub mod audit_log;
pub mod audit_login_attempt;
pub mod audit_notifier;
pub mod audit_query;
pub mod audit_status;
pub mod audit_system_event;
pub mod audit_transition;
pub mod audit_violation;
mod recorded;

use audit_core::Error;
use sea_orm::{EntityTrait, IdenStatic, Iterable};

/// The tables that an audit writes, with their columns: those of all records, since each has a function that writes it by hand.
/// Those of workers aren't among them: they are made anew from these, and a worker without them says so.
pub(crate) fn needed() -> Vec<(&'static str, Vec<String>)> {
    vec![
        table(audit_log::Entity),
        table(audit_query::Entity),
        table(audit_export::Entity),
        table(audit_violation::Entity),
        table(audit_login_attempt::Entity),
        table(audit_system_event::Entity),
        table(audit_transition::Entity),
    ]
}

/// Names of the tables of records.
pub(crate) fn append_only() -> impl Iterator<Item = &'static str> {
    own().take(7)
}

/// Names of all tables and views of the audit, those of records first, that of its migrations among them.
pub(crate) fn own() -> impl Iterator<Item = &'static str> {
    [
        "audit_log",
        "audit_query",
        "audit_export",
        "audit_violation",
        "audit_login_attempt",
        "audit_system_event",
        "audit_transition",
        "audit_status",
        "audit_rollup",
        "audit_rollup_place",
        "audit_rollup_gap",
        "audit_alert",
        "audit_notifier",
        "audit_detector",
        "audit_detector_state",
        "audit_migrations",
    ]
    .into_iter()
}

fn table<E: EntityTrait>(entity: E) -> (&'static str, Vec<String>) {
    (entity.table_name(), E::Column::iter().map(|column| column.as_str().to_owned()).collect())
}

pub use recorded::StoredFamily;

fn parse_list(column: &str, text: Option<&str>) -> Result<Vec<String>, Error> {
    text.map_or_else(
        || Ok(Vec::new()),
        |text| {
            serde_json::from_str(text)
                .map_err(|_| Error::Format(format!("`{column}` isn't a JSON list of texts")))
        },
    )
}

fn parse_json<T: serde::de::DeserializeOwned>(column: &str, text: Option<&str>) -> Result<Option<T>, Error> {
    let parsed = text.map(serde_json::from_str).transpose();
    // What serde says may quote a value.
    parsed.map_err(|_| Error::Format(format!("`{column}` isn't JSON of the type that was asked for")))
}

fn parse_digest(bytes: Option<Vec<u8>>) -> Result<Option<[u8; 32]>, Error> {
    let digest = bytes.map(|bytes| bytes.try_into()).transpose();
    digest.map_err(|_| Error::Format("`integrity_hash` hasn't 32 bytes".into()))
}
