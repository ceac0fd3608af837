//! Items that don't run.

use audit_seaorm::audit_action;

#[audit_action(entity_type = "alert", action = "escalate")]
struct Alert;

trait Escalate {
    #[audit_action(entity_type = "alert", action = "escalate")]
    async fn escalate(&self);
}

#[audit_action(entity_type = "alert", action = "escalate")]
impl Alert {}

fn main() {}
