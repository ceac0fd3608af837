//! The table `audit_violation`: one row for each violation. Where its handling stands is in
//! [`audit_status`](super::audit_status).

super::recorded::record_entity! {
    /// A violation as it is stored.
    Violation in "audit_violation", as_violation {
        /// Sort of violation.
        violation_type: String,
        /// `low`, `medium`, `high`, `critical`.
        severity: String,
        /// What happened, for people.
        #[sea_orm(column_type = "Text")]
        description: String,
        /// JSON of the circumstances.
        #[sea_orm(column_type = "Text", nullable)]
        details: Option<String>,
        /// Functional area.
        module: Option<String>,
        /// Type of the resource that it is about.
        resource_type: Option<String>,
        /// Id of that resource.
        resource_id: Option<String>,
        /// Tells one finding from another; there is one violation at most for each.
        finding: Option<String>,
    }
}

impl Model {
    /// The circumstances as JSON; `None` if there are none.
    ///
    /// # Errors
    /// [`Error::Format`] if the column isn't JSON.
    pub fn details_json(&self) -> Result<Option<serde_json::Value>, Error> {
        super::parse_json("details", self.details.as_deref())
    }
}
