//! How changes are seen: [`hooks`] on any connection.

pub mod hooks;
pub(crate) mod pending;
pub mod render;
mod triggers;
