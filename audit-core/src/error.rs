//! Errors of the whole system. None of them ever contains an audited value.

/// Why something could not be recorded or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// A registration names something that isn't there, or contradicts another.
    #[error("audit registration: {0}")]
    Registration(String),
    /// No context says who acts, and the configuration demands one.
    #[error(
        "no audit context: {action} of {resource} refused, because `require_actor` is on; run the operation within `audit_seaorm::scope(context, ..)`, and start tasks by `audit_seaorm::spawn`, which carries the context along; migrations of your own rest by `audit_migration::suspended`"
    )]
    NoActor {
        /// The action that was refused.
        action: String,
        /// The resource that it was about.
        resource: String,
    },
    /// The entry could not be written. The operation that it belongs to must not succeed.
    #[error("the audit entry for {action} of {resource} could not be written: {reason}")]
    Store {
        /// The action of the entry.
        action: String,
        /// The resource of the entry.
        resource: String,
        /// The cause as the database named it, without values.
        reason: String,
        /// Whether the same operation may succeed when it is tried again.
        retryable: bool,
    },
    /// The row as it was before the change is not known, so that no true entry can be made.
    #[error("the former values of a {resource} row are not known ({reason}); the change can't be recorded")]
    BeforeImage {
        /// The resource.
        resource: String,
        /// Why they aren't known.
        reason: &'static str,
    },
    /// An operation was refused because it could not be recorded.
    #[error("refused: {0}")]
    Refused(String),
    /// Records that wait, in memory or in the spool, couldn't be written now. They are kept, and tried again.
    #[error("audit records not written yet: {records}, because {reason}")]
    Undelivered {
        /// How many.
        records: usize,
        /// The cause as the database named it, without values.
        reason: String,
    },
    /// There is no such record, or it isn't the tenant's.
    #[error("there is no {what} with the id {id}{}", if *.tenant { " in this tenant" } else { "" })]
    NotFound {
        /// What was looked for, such as `violation`.
        what: &'static str,
        /// The id that was asked for.
        id: String,
        /// Whether only one tenant's were looked at.
        tenant: bool,
    },
    /// A step in the handling of a violation or system event that isn't possible.
    #[error("a {what} that is {from} can't become {to}; it can become {possible}")]
    Transition {
        /// `violation` or `system event`.
        what: &'static str,
        /// Where it stands.
        from: crate::ViolationStatus,
        /// What was asked for.
        to: crate::ViolationStatus,
        /// What is possible, or `nothing`.
        possible: String,
    },
    /// Something can't be restored, or nothing of it is left to restore.
    #[error("restore: {0}")]
    Restore(String),
    /// A question makes no sense.
    #[error("filter: {0}")]
    Filter(String),
    /// The database didn't answer a question.
    #[error("the audit log could not be asked: {reason}")]
    Query {
        /// The cause as the database named it, without values.
        reason: String,
        /// Whether the same question may be answered when it is asked again.
        retryable: bool,
    },
    /// The spool can't be used.
    #[error("the audit spool can't be used: {0}")]
    Spool(String),
    /// Tables are neither audited nor waived. Lists them, each with what to do.
    #[error("{0}")]
    Coverage(String),
    /// A text does not follow the record format.
    #[error("not in the record format: {0}")]
    Format(String),
}

impl Error {
    /// Whether the same operation may succeed when it is tried again.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Store { retryable: true, .. }
                | Self::Query { retryable: true, .. }
                | Self::Undelivered { .. }
        )
    }
}
