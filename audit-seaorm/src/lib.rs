//! Audit log for SeaORM: who changed which field from what to what.
//!
//! Derive [`Auditable`] on a model, put [`audited`] on its `ActiveModelBehavior`, create the tables with
//! `audit-migration`, and run your code within [`scope`]:
//!
//! ```
//! mod account {
//!     use audit_seaorm::prelude::*;
//!     use sea_orm::entity::prelude::*;
//!
//!     #[derive(Clone, Debug, PartialEq, DeriveEntityModel, Auditable)]
//!     #[sea_orm(table_name = "account")]
//!     pub struct Model {
//!         #[sea_orm(primary_key)]
//!         pub id: i64,
//!         pub balance: Decimal,
//!         #[audit(exclude)]
//!         pub cached_total: Decimal,
//!     }
//!
//!     #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
//!     pub enum Relation {}
//!
//!     #[audited]
//!     impl ActiveModelBehavior for ActiveModel {}
//! }
//! ```
//!
//! # What is captured
//! Over an [`AuditConnection`], which [`Audit::connect`] makes of a connection: every write to an audited table, whatever sends it,
//! with what foreign keys cascade to. What can't be recorded is refused.
//!
//! Over any other connection, by hooks: every save and delete that SeaORM sends through an active model: `insert`, `update`, `save`,
//! `delete`, `Model::delete`, `update_without_returning`, graphs of active models and their junction tables.
//!
//! The old values are read from the database, so they are true even if the model in memory is stale.
//!
//! # What is not
//! The connection doesn't see what functions do that a query calls, and, except on SQLite, what triggers write to other tables.
//!
//! Hooks don't see `insert_many`, `update_many`, `delete_many`, `Entity::insert/update/delete`, raw SQL, what foreign
//! keys cascade to, rows of junction tables that SeaORM deletes along with a row that they link, and
//! `ActiveModelTrait::update_without_returning` called through generic code. Outside of a transaction another writer may
//! come in between the reading of the old values and the write.
//!
//! # Guarantees
//! With the default policy a write whose entry can't be written fails, with an error that [`is_audit_error`] knows;
//! over an [`AuditConnection`], and by hooks within a transaction, both commit together or not at all. Values that are
//! excluded, masked or sensitive are in no record, error or log line.
//!
//! On SQLite, rows that a statement changes wait in a TEMP table of the connection, as they are, until their entries are
//! written. Of a larger statement SQLite moves them to a temporary file, which has no name and ends with
//! the connection; `PRAGMA temp_store = MEMORY` on your connections keeps them in memory.

// Libraries print nothing and don't panic; tests may.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod alerts;
mod audit;
#[doc(hidden)]
pub mod audited_fn;
pub mod capture;
pub mod coverage;
mod db_error;
mod decode;
pub mod detect;
pub mod entity;
#[cfg(feature = "tracing-subscriber")]
mod event_layer;
#[doc(hidden)]
pub mod field;
pub mod history;
mod log;
mod metrics;
pub mod prelude;
mod query;
mod registry;
pub mod restore;
mod scope;
pub mod stats;
mod store;
mod tail;
mod task;
#[allow(clippy::panic, reason = "assertions")]
pub mod testing;
mod worker;
mod writer;

pub use audit::{Audit, AuditBuilder};
pub use audit_core::*;
pub use audit_derive::{Auditable, audit_action, audited};
pub use capture::{AuditConnection, AuditStream, AuditTransaction};
#[cfg(feature = "rbac")]
pub use capture::{RestrictedAuditConnection, RestrictedAuditTransaction};
pub use coverage::Coverage;
#[cfg(feature = "tracing-subscriber")]
pub use event_layer::EventLayer;
pub use history::{AuditedEntity, FieldState, Unknown, UnknownFields, Version};
pub use log::{
    ApiAccess, AuditService, Operation, log_action, log_api_access, log_audit_event, log_download,
    log_export, log_failure, log_login, log_logout, log_manually, log_operation, log_query, log_system_event,
    log_violation, resolve_system_event, resolve_violation, set_status, status_of,
};
pub use metrics::Metrics;
pub use query::{
    Handled, LogFilter, LogReader, MAX_PAGE_SIZE, Page, PageRequest, Pagination, RecordFamily, RecordFilter,
    RecordReader, end_of_day, get_audit_logs, get_audit_trail, get_user_activity, parse_day, start_of_day,
};
pub use registry::{Audited, Registry};
pub use restore::Restore;
pub use scope::{current, scope, spawn, spawn_blocking, suspended, try_current};
pub use stats::get_audit_summary;
pub use store::{is_audit_error, to_db_err};
pub use task::AuditTask;
pub use worker::WorkerTask;

/// What the macros' code refers to. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use audit_core::{
        Auditable, Classification, Diff, FailurePolicy, FieldSpec, FieldValues, Operations, ResourceSpec,
        Severity, Tracking, Value,
    };
    pub use {async_trait, inventory, sea_orm};

    pub use crate::capture::hooks::{self, UserHooks};
    pub use crate::registry::{Declaration, Declared};
    pub use crate::{Operation, audited_fn as action, field};
}
