//! The table `audit_export`: one row for each export. Who fetched its file later are entries of the action `download`.

super::recorded::record_entity! {
    /// An export as it is stored.
    Export in "audit_export", as_export {
        /// What it is for people.
        export_type: Option<String>,
        /// `csv`, `xlsx`, `pdf`, `json` or another.
        format: String,
        /// Functional area.
        module: Option<String>,
        /// Type of what was exported.
        resource_type: String,
        /// JSON of the conditions.
        #[sea_orm(column_type = "Text", nullable)]
        filters: Option<String>,
        /// JSON list of the exported fields.
        #[sea_orm(column_type = "Text", nullable)]
        fields: Option<String>,
        /// How many records are in it.
        record_count: Option<i64>,
        /// Where it was put.
        #[sea_orm(column_type = "Text", nullable)]
        file_path: Option<String>,
        /// Its size in bytes.
        file_size: Option<i64>,
        /// `success`, `failed`, `warning`, `info`.
        status: String,
        /// JSON list of compliance frameworks.
        #[sea_orm(column_type = "Text", nullable)]
        frameworks: Option<String>,
        /// `public` .. `top_secret`.
        classification: String,
        /// Whether secret fields were exported or the data is restricted.
        is_sensitive: bool,
        /// Anything said about it; of a failed export, the error.
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
