//! The table `audit_system_event`: one row for each event. Where its handling stands is in
//! [`audit_status`](super::audit_status).

super::recorded::record_entity! {
    /// An event as it is stored.
    SystemEvent in "audit_system_event", as_event {
        /// `error`, `warning`, `info`, `security`, `performance`.
        event_type: String,
        /// What happened, in a line.
        #[sea_orm(column_type = "Text")]
        title: String,
        /// More of it.
        #[sea_orm(column_type = "Text", nullable)]
        description: Option<String>,
        /// Module of the program.
        module: Option<String>,
        /// Function, or the innermost span of `tracing`.
        function: Option<String>,
        /// File of the source.
        file: Option<String>,
        /// Line in the file.
        line: Option<i32>,
        /// Code of the error.
        error_code: Option<String>,
        /// What led to it.
        #[sea_orm(column_type = "Text", nullable)]
        stack_trace: Option<String>,
    }
}
