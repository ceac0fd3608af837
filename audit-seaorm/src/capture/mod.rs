//! How changes are seen: [`hooks`] on any connection.

mod entries;
pub mod hooks;
pub(crate) mod pending;
pub mod render;
mod stored;
mod triggers;
