//! SeaORM entities of the audit tables.

pub mod audit_log;
