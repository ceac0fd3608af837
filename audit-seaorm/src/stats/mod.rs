//! Summaries.
mod security;
pub(crate) use security::security_condition;
