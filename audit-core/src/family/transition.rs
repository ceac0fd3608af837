//! What becomes of violations and system events.

use uuid::Uuid;

use super::family;
use crate::record::words;

words! {
    /// Where the handling of a violation or a system event stands.
    ViolationStatus, "status of a violation" {
        /// Nobody looks at it yet.
        Open = "open",
        /// Somebody looks at it.
        Investigating = "investigating",
        /// Settled; may be taken up again.
        Resolved = "resolved",
        /// Settled for good.
        Closed = "closed",
    }
}

impl ViolationStatus {
    /// What may follow.
    ///
    /// | from | to |
    /// |---|---|
    /// | open | investigating, resolved |
    /// | investigating | resolved |
    /// | resolved | closed, or investigating again |
    /// | closed | - |
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Open => &[Self::Investigating, Self::Resolved],
            Self::Investigating => &[Self::Resolved],
            Self::Resolved => &[Self::Closed, Self::Investigating],
            Self::Closed => &[],
        }
    }
}

family! {
    /// A step in the handling of a violation or a system event. The last one says where it stands.
    Transition in "audit_transition" {
        /// Table of the record: `audit_violation` or `audit_system_event`.
        record_table: String = name(64),
        /// Id of the record.
        record_id: Uuid = word,
        /// 1 for the first step of this record, and so on without gaps: of two that are taken at once one fails.
        step: i32 = word,
        /// Where it stands from now on.
        status: ViolationStatus = word,
        /// Why, or what was found out.
        notes: Option<String> = text,
    }
}

impl Transition {
    /// A step of the record with this id.
    pub fn new(record_table: impl Into<String>, record_id: Uuid, step: i32, status: ViolationStatus) -> Self {
        Self { record_table: record_table.into(), record_id, step, status, notes: None }
    }

    /// Says why, or what was found out.
    #[must_use]
    pub fn notes(mut self, notes: impl Into<String>) -> Self {
        self.notes = Some(notes.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r3_closed_is_the_end_and_nothing_leads_back_to_open() {
        assert!(ViolationStatus::Closed.next().is_empty());
        for status in ViolationStatus::ALL {
            assert!(!status.next().contains(&ViolationStatus::Open));
            assert!(!status.next().contains(status));
        }
    }
}
