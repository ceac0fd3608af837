//! How changes are seen: by [`hooks`] on any connection, or by an [`AuditConnection`], which sees every statement.

mod attempt;
mod begin;
pub(crate) mod bound;
mod cascades;
mod catalogue;
mod connection;
mod entries;
pub mod hooks;
mod images;
mod indirect;
mod known;
mod labels;
mod mysql;
pub(crate) mod pending;
mod plan;
mod postgres;
mod reads;
mod refusal;
pub mod render;
mod request;
#[cfg(feature = "rbac")]
mod restricted;
mod sql;
mod sqlite;
mod stored;
mod stream;
mod text;
mod traits;
mod transaction;
mod triggers;
mod unplanned;
mod whole;
mod work;

pub use connection::AuditConnection;
#[cfg(feature = "rbac")]
pub use restricted::{RestrictedAuditConnection, RestrictedAuditTransaction};
pub use stream::AuditStream;
pub use transaction::AuditTransaction;
