//! Options that are missing, unknown, given twice, or without the value they need.

use audit_seaorm::audit_action;

#[audit_action]
async fn nothing() {}

#[audit_action(action = "escalate")]
async fn no_type() {}

#[audit_action(entity = "alert", action = "escalate", id = 5, severty = "low")]
async fn unknown() {}

#[audit_action(entity_type = "alert", entity_type = "alarm", action = "escalate", severity = "urgent")]
async fn twice() {}

#[audit_action(entity_type = "", action = 5, module = format!("m"), entity_id, entity_name =, db, severity = low)]
async fn values() {}

#[audit_action("alert", "escalate")]
async fn unnamed() {}

fn main() {}
