//! The table `audit_query`: one row for each recorded read.

super::recorded::record_entity! {
    /// A read as it is stored. JSON columns hold the very text that was hashed.
    Query in "audit_query", as_query {
        /// `select`, `count`, `aggregate`, `exists`.
        query_type: String,
        /// Functional area.
        module: Option<String>,
        /// Type of what was read.
        resource_type: String,
        /// JSON of the conditions.
        #[sea_orm(column_type = "Text", nullable)]
        filters: Option<String>,
        /// JSON list of the fields whose values were read.
        #[sea_orm(column_type = "Text", nullable)]
        fields: Option<String>,
        /// How many rows came back, or what was counted.
        record_count: Option<i64>,
        /// How long it took, in microseconds.
        duration_us: i64,
        /// `success`, `failed`, `warning`, `info`.
        status: String,
        /// JSON list of compliance frameworks.
        #[sea_orm(column_type = "Text", nullable)]
        frameworks: Option<String>,
        /// `public` .. `top_secret`.
        classification: String,
        /// Whether secret fields were read or the data is restricted.
        is_sensitive: bool,
        /// Of a failed read, the sort of error.
        #[sea_orm(column_type = "Text", nullable)]
        details: Option<String>,
    }
}

impl Model {
    /// The conditions as JSON; `None` if there were none.
    ///
    /// # Errors
    /// [`Error::Format`] if the column isn't JSON.
    pub fn filters_json(&self) -> Result<Option<serde_json::Value>, Error> {
        super::parse_json("filters", self.filters.as_deref())
    }
}
