//! Statements that change a table as a whole: TRUNCATE and definitions.
//!
//! They have no rows to compare; one entry of severity high for each audited table says that it was done.

use audit_core::{Entry, Resource, Severity};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};

use super::plan::Step;
use super::request::{Answer, Ask, Request, send};
use super::sql::What;
use super::sql::definition::definition;
use super::work::Work;

/// All rows are gone.
pub(super) const TRUNCATE: &str = "truncate";
/// The table's definition changed.
pub(super) const REDEFINE: &str = "redefine";

/// Runs the statement and records it.
pub(super) async fn run(
    work: &Work<'_>,
    step: &Step,
    request: Request<'_>,
    ask: Ask,
) -> Result<Answer, DbErr> {
    let action = if matches!(step.parsed.what, What::Truncate(_)) { TRUNCATE } else { REDEFINE };
    let backend = ConnectionTrait::get_database_backend(work.db);
    // A text of several statements is sent in pieces that stand where they stood.
    let definition = match step.parsed.what {
        What::Define(_) => definition(request.sql(), backend, &step.parsed),
        _ => None,
    };
    let definition = definition.and_then(|definition| serde_json::to_value(definition).ok());
    let entries = || -> Vec<Entry> {
        let audited = step.others().iter().filter(|_| work.audit.records(action));
        audited
            .map(|audited| {
                let policy = &audited.policy;
                let resource = Resource::new(policy.resource.clone());
                let mut entry = work.audit.entry(action, resource, &work.context);
                entry.severity = Severity::High;
                entry.module.clone_from(&policy.module);
                entry.frameworks.clone_from(&policy.frameworks);
                entry.classification = policy.classification;
                if let Some(definition) = &definition {
                    entry.add_metadata("definition", definition.clone());
                }
                entry.transaction_id.get_or_insert_with(|| work.state.id.to_string());
                entry
            })
            .collect()
    };
    // MySQL commits with the statement: what is written after it could be lost alone.
    let first = backend == DbBackend::MySql;
    if first {
        work.write(entries()).await?;
    }
    work.state.begin_write(&work.context);
    let answer = send(work.db, request, ask).await.inspect_err(|_| work.state.end_write())?;
    if !first {
        work.write(entries()).await?;
    }
    work.state.end_write();
    Ok(answer)
}
