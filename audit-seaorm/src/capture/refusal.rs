//! Errors of capture itself: statements that it refuses, and writes that others got in the way of.

use audit_core::Error;
use sea_orm::DbErr;

use crate::registry::Audited;
use crate::store::{is_audit_error, to_db_err};

/// The error of a statement that can't be recorded.
pub(super) fn refused(table: &str, reason: &str) -> DbErr {
    to_db_err(Error::Refused(format!("`{table}` {REFUSED}: {reason}")))
}

/// The error of such a statement on a table that isn't audited itself.
pub(super) fn refused_parent(table: &str, reason: &str) -> DbErr {
    to_db_err(Error::Refused(format!(
        "audited rows follow `{table}`, and this statement can't be recorded: {reason}"
    )))
}

const REFUSED: &str = "is audited, and this statement can't be recorded";

/// Why a statement is refused whose rows are asked for more than once.
pub(super) const VARIES: &str = "a function in it says something else each time";

/// Why a statement was refused while it was on its way.
pub(super) fn reason_of_refusal(error: &DbErr) -> Option<String> {
    let text = error.to_string();
    let (_, reason) =
        text.split_once("refused: ").filter(|_| is_audit_error(error) && text.contains(REFUSED))?;
    Some(reason.to_owned())
}

/// The error of a write that met rows which weren't there when it looked for them.
pub(super) fn in_between(resource: &str) -> DbErr {
    to_db_err(&Error::BeforeImage { resource: resource.to_owned(), reason: IN_BETWEEN })
}

/// The error of a write that didn't find rows again under the keys that they have now.
pub(super) fn moved(audited: &Audited) -> DbErr {
    to_db_err(&Error::BeforeImage { resource: audited.policy.resource.clone(), reason: MOVED })
}

const IN_BETWEEN: &str = "another transaction inserted a row in between; try again";
const MOVED: &str = "another transaction gave a row another key in between; try again";

/// Whether a write failed because others got in its way, and may be tried again.
pub(super) fn may_try_again<T>(result: &Result<T, DbErr>) -> bool {
    failed_by(result, IN_BETWEEN) || have_moved(result)
}

/// Whether a write failed because rows had moved.
pub(super) fn have_moved<T>(result: &Result<T, DbErr>) -> bool {
    failed_by(result, MOVED)
}

fn failed_by<T>(result: &Result<T, DbErr>, reason: &str) -> bool {
    result.as_ref().is_err_and(|error| is_audit_error(error) && error.to_string().contains(reason))
}
