//! Types and pure functions of the audit log: no database, no runtime, no I/O but to read a
//! configuration file.
//!
//! Data flows so: a [`Value`] of a field, the description of a resource
//! ([`Auditable`]) and the [`ResourcePolicy`] that follows from it, the [`Changes`] between two rows, the
//! [`AuditContext`] in which they happen, the [`Entry`] that records them, the [`Sink`] that takes it.
//!
//! Applications use this crate through `audit-seaorm`, which re-exports it.

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

mod auditable;
mod change;
mod classify;
mod clock;
mod compliance;
mod config;
mod context;
pub mod detect;
mod entry;
mod error;
mod family;
mod geography;
mod label;
mod policy;
mod record;
mod resource;
mod sanitize;
mod sink;
mod value;
mod words;

pub use auditable::{Auditable, FieldSpec, Operations, ResourceSpec, Tracking};
pub use change::{Change, Changes, Diff, FieldValues, snapshot_json};
pub use classify::{Classification, FieldKind, ParseClassificationError, classify, classify_field};
pub use clock::{Clock, FixedClock, SystemClock};
pub use compliance::{Framework, Frameworks};
#[doc(hidden)]
pub use config::closest_name;
pub use config::{Config, ConfigError, FailurePolicy, ResourceConfig, SpoolSync, Unplannable};
pub use context::{Actor, AuditContext, metadata_of, stored_tenant};
pub use entry::{Entry, action, module};
pub use error::Error;
pub use family::{
    EventKind, Export, Family, LoginAttempt, LoginStatus, Place, Query, QueryEntry, Recorded, SystemEvent,
    Transition, Violation, ViolationStatus,
};
pub use geography::Geography;
pub use label::LabelSource;
pub use policy::{Column, EntityOptions, FieldPolicy, ResourcePolicy};
pub use record::{QueryType, Record, Severity, Status, digest_field, list_json};
pub use resource::{KEY_SEPARATOR, MAX_ID_BYTES, Resource, join_key, split_key};
pub use sanitize::{MASK, Sanitizer, sanitize_data};
pub use sink::{MemorySink, Sink};
pub use value::Value;
