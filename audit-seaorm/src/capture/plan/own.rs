//! What is the audit's own in the database.

use super::Refusal;
use crate::capture::sql::Words;

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
    let reason = format!("`{name}` is the audit's own; migrations change it, over another connection");
    Refusal { own: true, ..reason.into() }
}

/// Something of the audit's own that a text names which may redefine it, whatever it is: a block of code, say.
pub(super) fn redefined(words: &Words) -> Option<&String> {
    const VERBS: [&str; 5] = ["alter", "disable", "drop", "replace", "truncate"];
    let redefines = VERBS.iter().any(|verb| words.found.contains(*verb));
    words.found.iter().find(|word| redefines && is_own(word))
}
