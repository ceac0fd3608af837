//! Statements that change a table as a whole: TRUNCATE and definitions.
//!
//! They have no rows to compare; one entry of severity high for each audited table says that it was done.

use audit_core::{Entry, Resource, Severity};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};

use super::plan::Step;
use super::request::{Answer, Ask, Request, send};
use super::sql::definition::definition;
use super::sql::{What, words_of_definition};
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
    let backend = ConnectionTrait::get_database_backend(work.db);
    // MySQL commits with the statement: what is written after it could be lost alone.
    let first = backend == DbBackend::MySql;
    let entries = entries(work, step, request.sql());
    let after = if first {
        work.write(entries).await?;
        Vec::new()
    } else {
        entries
    };
    work.state.begin_write(&work.context);
    let answer = send(work.db, request, ask).await.inspect_err(|_| work.state.end_write())?;
    work.write(after).await?;
    work.state.end_write();
    Ok(answer)
}

/// Whether a definition refuses to be within a transaction (PostgreSQL). Its entries are committed before it.
pub(super) fn stands_alone(step: &Step, sql: &str) -> bool {
    let text = sql.get(step.parsed.range.clone()).unwrap_or_default();
    matches!(step.parsed.what, What::Define(_))
        && words_of_definition(text).is_some_and(|words| words.iter().any(|word| word == "concurrently"))
}

/// What is to be recorded of the statement.
pub(super) fn entries(work: &Work<'_>, step: &Step, sql: &str) -> Vec<Entry> {
    let action = if matches!(step.parsed.what, What::Truncate(_)) { TRUNCATE } else { REDEFINE };
    // A text of several statements is sent in pieces that stand where they stood.
    let definition = match step.parsed.what {
        What::Define(_) => definition(sql, ConnectionTrait::get_database_backend(work.db), &step.parsed),
        _ => None,
    };
    let definition = definition.and_then(|definition| serde_json::to_value(definition).ok());
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
}
