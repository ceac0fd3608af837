//! What is the audit's own in the database.

use super::{About, Refusal};
use crate::capture::sql::{Conflict, What, Words};

/// Whether it is a table or view of the audit, or a guard of one: who redefines these switches capture or its guards off.
pub(super) fn is_own(name: &str) -> bool {
    const GUARDS: [&str; 4] = ["append_only", "refuse_", "replace_guard", "truncate_guard"];
    let name = name.to_ascii_lowercase();
    // What capture has put on SQLite's connections.
    if name.starts_with("audit_capture_") {
        return true;
    }
    crate::entity::own().any(|own| {
        let rest = name.strip_prefix(own);
        rest == Some("")
            || rest
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(|rest| GUARDS.iter().any(|guard| rest.starts_with(guard)))
    })
}

/// The refusal of a change of what is the audit's own.
pub(super) fn own(name: &str) -> Refusal {
    let reason =
        format!("`{name}` is the audit's own; its migrations change it, over a connection of their own");
    Refusal { about: About::Own, ..reason.into() }
}

/// Whether this writes to a table of records what isn't a new one.
pub(super) fn rewrites(what: &What) -> Option<&str> {
    let target = match what {
        What::Insert(insert) if matches!(insert.conflict, Conflict::None | Conflict::Nothing) => return None,
        What::Insert(insert) => &insert.target,
        What::Update(update) => &update.target,
        What::Delete(delete) => &delete.target,
        _ => return None,
    };
    let name = target.name.name.as_str();
    crate::entity::append_only().any(|own| own.eq_ignore_ascii_case(name)).then_some(name)
}

/// The refusal of that.
pub(super) fn append_only(name: &str) -> Refusal {
    let reason = format!("`{name}` holds the audit's records, which are neither changed nor deleted");
    Refusal { about: About::Own, ..reason.into() }
}

/// Something of the audit's own that a text names which may redefine it, whatever it is: a block of code, say.
pub(super) fn redefined(words: &Words) -> Option<&String> {
    const VERBS: [&str; 5] = ["alter", "disable", "drop", "replace", "truncate"];
    let redefines = VERBS.iter().any(|verb| words.found.contains(*verb));
    words.found.iter().find(|word| redefines && is_own(word))
}
