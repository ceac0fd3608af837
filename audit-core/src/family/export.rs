//! The record of data that left the system.

use super::family;
use crate::{Classification, ResourcePolicy, Status};

family! {
    /// An export: what of which resource went where, in which form, and how much of it.
    ///
    /// ```
    /// use audit_core::Export;
    /// let export = Export::new("csv", "BankAccount").export_type("monthly statement").record_count(10).file("/tmp/export.csv", 1024);
    /// assert_eq!(export.file_size, Some(1024));
    /// ```
    Export in "audit_export" {
        /// What it is for people, such as `"user data"`.
        export_type: Option<String> = name(100),
        /// `"csv"`, `"xlsx"`, `"pdf"`, `"json"` or another.
        format: String = name(32),
        /// Functional area.
        module: Option<String> = name(100),
        /// Type of what was exported, such as `"BankAccount"`.
        resource_type: String = name(255),
        /// JSON of the conditions.
        filters: Option<String> = json,
        /// Names of the exported fields.
        fields: Vec<String> = word,
        /// How many records are in it.
        record_count: Option<i64> = word,
        /// Where it was put.
        file_path: Option<String> = text,
        /// Its size in bytes.
        file_size: Option<i64> = word,
        /// How it ended.
        status: Status = word,
        /// Compliance frameworks that it counts for.
        frameworks: Vec<String> = word,
        /// Classification of what was exported.
        classification: Classification = word,
        /// Whether secret fields were exported or the data is restricted.
        is_sensitive: bool = word,
        /// Anything said about it; of a failed export, the error.
        details: Option<String> = text,
    }
}

impl Export {
    /// An export in this format of this type of resource.
    pub fn new(format: impl Into<String>, resource_type: impl Into<String>) -> Self {
        Self {
            export_type: None,
            format: format.into(),
            module: None,
            resource_type: resource_type.into(),
            filters: None,
            fields: Vec::new(),
            record_count: None,
            file_path: None,
            file_size: None,
            status: Status::Success,
            frameworks: Vec::new(),
            classification: Classification::default(),
            is_sensitive: false,
            details: None,
        }
    }

    /// Says what it is for people.
    #[must_use]
    pub fn export_type(mut self, name: impl Into<String>) -> Self {
        self.export_type = Some(name.into());
        self
    }

    /// Sets the conditions, as JSON of any shape. Values under secret names are replaced.
    #[must_use]
    pub fn filters(mut self, filters: impl Into<serde_json::Value>) -> Self {
        self.filters = Some(crate::Value::Json(filters.into()).to_json());
        self
    }

    /// Names the exported fields.
    #[must_use]
    pub fn fields<I: IntoIterator>(mut self, fields: I) -> Self
    where
        I::Item: Into<String>,
    {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Says how many records are in it.
    #[must_use]
    pub fn record_count(mut self, count: i64) -> Self {
        self.record_count = Some(count);
        self
    }

    /// Says where it was put, and its size in bytes.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, bytes: i64) -> Self {
        self.file_path = Some(path.into());
        self.file_size = Some(bytes);
        self
    }

    /// Says anything about it.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Says that it failed, and why.
    #[must_use]
    pub fn failed(mut self, error: impl ToString) -> Self {
        self.status = Status::Failed;
        self.details = Some(error.to_string());
        self
    }

    /// Adds what the policy says of the resource. If no fields are named, all of them count.
    #[must_use]
    pub fn with_policy(mut self, policy: &ResourcePolicy) -> Self {
        self.module = self.module.or_else(|| policy.module.clone());
        if self.frameworks.is_empty() {
            self.frameworks.clone_from(&policy.frameworks);
        }
        self.classification = self.classification.max(policy.classification);
        let named = |name: &str| self.fields.is_empty() || self.fields.iter().any(|field| field == name);
        self.is_sensitive |= self.classification >= Classification::Restricted
            || policy.fields.iter().any(|field| field.sensitive && named(&field.name));
        self
    }
}
