//! What most files that use the audit log need: `use audit_seaorm::prelude::*;`.

pub use crate::entity::audit_log;
pub use crate::{
    Audit, AuditContext, AuditTask, Auditable, LogFilter, Operation, Resource, Severity, Status,
    audit_action, audited, get_audit_logs,
};
