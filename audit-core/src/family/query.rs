//! The record of one read.

use super::{Recorded, family};
use crate::{Classification, QueryType, ResourcePolicy, Status};

family! {
    /// One read of one resource: what was asked for, by which conditions, and how much came back.
    ///
    /// A statement that reads several audited resources makes one for each. The values that were read aren't in it; those of
    /// the conditions are, as far as the fields' policies allow.
    Query in "audit_query" {
        /// What was asked for.
        query_type: QueryType = word,
        /// Functional area.
        module: Option<String> = name(100),
        /// Type of what was read, such as `"BankAccount"`.
        resource_type: String = name(255),
        /// JSON of the conditions: `{"field":"age","op":">=","value":18}`, put together by `and`, `or` and `not`. `None`:
        /// there was none.
        filters: Option<String> = json,
        /// Names of the fields whose values were read. Empty for counts and for whether there is a row.
        fields: Vec<String> = word,
        /// How many rows came back; of a [`Count`](QueryType::Count) the number that was counted, of an
        /// [`Exists`](QueryType::Exists) 0 or 1. `None` if that isn't known, as of a read within a write.
        record_count: Option<i64> = word,
        /// How long it took in microseconds, for a stream up to its last row.
        duration_us: i64 = word,
        /// How it ended; `Warning`: a stream was dropped before its end, and only the rows up to there were read.
        status: Status = word,
        /// Compliance frameworks that the read counts for.
        frameworks: Vec<String> = word,
        /// Classification of the resource.
        classification: Classification = word,
        /// Whether secret fields were read or the data is restricted.
        is_sensitive: bool = word,
        /// Of a failed read, the sort of error.
        details: Option<String> = text,
    }
}

/// The record of a read.
pub type QueryEntry = Recorded<Query>;

impl Query {
    /// A read of this resource.
    pub fn new(query_type: QueryType, resource_type: impl Into<String>) -> Self {
        Self {
            query_type,
            module: None,
            resource_type: resource_type.into(),
            filters: None,
            fields: Vec::new(),
            record_count: None,
            duration_us: 0,
            status: Status::Success,
            frameworks: Vec::new(),
            classification: Classification::default(),
            is_sensitive: false,
            details: None,
        }
    }

    /// Sets the conditions, as JSON of any shape. Values under secret names are replaced.
    #[must_use]
    pub fn filters(mut self, filters: impl Into<serde_json::Value>) -> Self {
        self.filters = Some(crate::Value::Json(filters.into()).to_json());
        self
    }

    /// Names the fields whose values were read.
    #[must_use]
    pub fn fields<I: IntoIterator>(mut self, fields: I) -> Self
    where
        I::Item: Into<String>,
    {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Says how many rows came back.
    #[must_use]
    pub fn record_count(mut self, count: i64) -> Self {
        self.record_count = Some(count);
        self
    }

    /// Says how long it took.
    #[must_use]
    pub fn duration(mut self, duration: std::time::Duration) -> Self {
        self.duration_us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        self
    }

    /// Says that it failed, and with what sort of error.
    #[must_use]
    pub fn failed(mut self, error: impl Into<String>) -> Self {
        self.status = Status::Failed;
        self.details = Some(error.into());
        self
    }

    /// Adds what the policy says of the resource.
    #[must_use]
    pub fn with_policy(mut self, policy: &ResourcePolicy) -> Self {
        self.module.clone_from(&policy.module);
        self.frameworks.clone_from(&policy.frameworks);
        self.classification = policy.classification;
        let secret = |name: &String| policy.fields.iter().any(|field| field.name == *name && field.sensitive);
        self.is_sensitive =
            policy.classification >= Classification::Restricted || self.fields.iter().any(secret);
        self
    }
}
