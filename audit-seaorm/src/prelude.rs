//! What most files that use the audit log need: `use audit_seaorm::prelude::*;`.

pub use crate::entity::{audit_log, audit_query};
pub use crate::{
    Actor, Audit, AuditConnection, AuditContext, AuditTask, Auditable, AuditedEntity, Config, EntityOptions,
    LogFilter, Operation, Resource, Restore, Severity, Status, audit_action, audited, current,
    get_audit_logs, scope, spawn,
};
