//! Q5: rows brought back, changes taken back.

mod bad;
mod children;
mod conflicts;
mod given;
mod rows;
mod tenants;
mod transactions;

use audit_seaorm::entity::audit_log;
use audit_seaorm::restore::{Plan, Step, StepAction};
use audit_seaorm::{AuditConnection, Restore};
use audit_tests::TestDb;
use sea_orm::ConnectionTrait;

use crate::fixtures::entries;

pub(super) async fn run(db: &AuditConnection, statements: &[&str]) {
    for sql in statements {
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// The newest entry of a resource with this action.
pub(super) async fn newest(t: &TestDb, action: &str, resource: &str) -> audit_log::Model {
    let mut all = entries(t).await;
    all.retain(|entry| entry.action == action && entry.resource_type == resource);
    all.pop().unwrap_or_else(|| panic!("no {action} of {resource}"))
}

pub(super) fn told(plan: &Plan) -> Vec<String> {
    let told = |step: &Step| {
        let action = match step.action {
            StepAction::Insert => "insert",
            StepAction::Update => "update",
            StepAction::Delete => "delete",
        };
        format!("{action} {} {}", step.resource, step.id)
    };
    plan.steps().iter().map(told).collect()
}

pub(super) fn conflicts(plan: &Plan) -> Vec<String> {
    plan.conflicts().iter().map(ToString::to_string).collect()
}

/// Plans and executes, without conflicts.
pub(super) async fn restore(db: &AuditConnection, restore: Restore) -> Plan {
    let plan = restore.plan(db).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(conflicts(&plan), [""; 0]);
    plan.execute(db).await.unwrap_or_else(|error| panic!("{error}\n{plan}"));
    plan
}

/// Why there is no plan.
pub(super) async fn refusal(db: &AuditConnection, restore: Restore) -> String {
    match restore.plan(db).await {
        Ok(plan) => panic!("there is a plan:\n{plan}"),
        Err(error) => error.to_string(),
    }
}
