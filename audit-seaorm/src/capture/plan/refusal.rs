//! Statements that can't be captured, and what is recorded of them if they are done all the same.

use std::sync::Arc;

use audit_core::Unplannable;

use crate::capture::unplanned::Unplanned;
use crate::registry::Audited;

/// Why a statement can't be captured.
#[derive(Debug)]
pub(in crate::capture) struct Refusal {
    /// Which table, and why.
    pub(in crate::capture) reason: String,
    /// Why, whichever table it is.
    pub(super) why: String,
    /// The audited tables that it may change, as far as its text tells.
    pub(super) tables: Vec<Arc<Audited>>,
    /// All audited tables, if its text doesn't tell. With none of either, it must not be done at all.
    pub(super) any: Vec<Arc<Audited>>,
    /// What it would change.
    pub(in crate::capture) about: About,
}

/// What a refused statement would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum About {
    /// Rows.
    Rows,
    /// What is the audit's own.
    Own,
    /// A setting of the connection, which would keep it.
    Setting,
}

impl Refusal {
    /// What is to be recorded of it, if it may be done.
    pub(in crate::capture) fn recorded(&self) -> Option<Unplanned> {
        let Self { why, tables, any, .. } = self;
        let unplanned = || Unplanned { tables: tables.clone(), any: any.clone(), reason: why.clone() };
        may_record(tables.iter().chain(any)).then(unplanned)
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { why: reason.clone(), reason, tables: Vec::new(), any: Vec::new(), about: About::Rows }
    }
}

/// Whether statements that can't be recorded row by row may change these tables. There has to be one.
pub(in crate::capture) fn may_record<'a>(tables: impl IntoIterator<Item = &'a Arc<Audited>>) -> bool {
    let mut tables = tables.into_iter().peekable();
    tables.peek().is_some() && tables.all(|audited| audited.policy.unplannable == Unplannable::Record)
}
