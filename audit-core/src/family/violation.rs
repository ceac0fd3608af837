//! The record of a breach of rules.

use super::family;
use crate::{Resource, Severity};

family! {
    /// A security violation or a breach of compliance. It begins as open; what becomes of it are
    /// [`Transition`](super::Transition)s, because the record itself never changes.
    ///
    /// ```
    /// use audit_core::{Severity, Violation};
    /// let violation = Violation::new("unauthorized_access", "read of an account of another tenant")
    ///     .severity(Severity::High)
    ///     .details(serde_json::json!({"account": 7}));
    /// assert_eq!(violation.details.as_deref(), Some(r#"{"account":7}"#));
    /// ```
    Violation in "audit_violation" {
        /// Sort of violation, such as `"unauthorized_access"`. The set is open.
        violation_type: String = name(100),
        /// How much it matters.
        severity: Severity = word,
        /// What happened, for people.
        description: String = text,
        /// JSON of the circumstances.
        details: Option<String> = json,
        /// Functional area.
        module: Option<String> = name(100),
        /// Type of the resource that it is about.
        resource_type: Option<String> = name(255),
        /// Id of that resource.
        resource_id: Option<String> = name(1024),
        /// Tells one finding from another: there is one violation at most for each. `None`: each stands for itself. If it has more
        /// than 255 characters, or a secret seems to be in it, its digest.
        finding: Option<String> = key(255),
    }
}

impl Violation {
    /// A violation of medium severity.
    pub fn new(violation_type: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            violation_type: violation_type.into(),
            severity: Severity::Medium,
            description: description.into(),
            details: None,
            module: None,
            resource_type: None,
            resource_id: None,
            finding: None,
        }
    }

    /// Says how much it matters.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Adds the circumstances, as JSON. Values under secret names are replaced.
    #[must_use]
    pub fn details(mut self, details: impl Into<serde_json::Value>) -> Self {
        self.details = Some(crate::Value::Json(details.into()).to_json());
        self
    }

    /// Sets the functional area.
    #[must_use]
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.module = Some(module.into());
        self
    }

    /// Says which resource it is about.
    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resource_type = Some(resource.kind.into_owned());
        self.resource_id = resource.id;
        self
    }

    /// Names the finding: a second violation with the same name in the same tenant isn't recorded.
    #[must_use]
    pub fn finding(mut self, name: impl Into<String>) -> Self {
        self.finding = Some(name.into());
        self
    }
}
