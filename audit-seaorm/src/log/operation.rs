//! An operation that no row change shows, as the application describes it.

use std::borrow::Cow;
use std::fmt;

use audit_core::{Classification, Entry, Error, Resource, Severity, Status, Value, list_json};
use sea_orm::ConnectionTrait;

use crate::Audit;
use crate::capture::bound::within;
use crate::db_error::without_values;

/// An operation as the application describes it.
///
/// ```
/// # use audit_seaorm::{Audit, AuditContext, MemorySink, Operation, scope};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), audit_seaorm::Error> {
/// # let sink = MemorySink::new();
/// # let audit = Audit::builder().sink(sink.clone()).build()?;
/// # let db = sea_orm::DatabaseConnection::default();
/// # audit.within(async {
/// scope(AuditContext::user("ann"), async {
///     Operation::new("transfer", "BankTransfer")
///         .id("a-b")
///         .name("Transfer from A to B")
///         .old_data(serde_json::json!({"from_balance": "1000.00"}))
///         .new_data(serde_json::json!({"from_balance": "900.00"}))
///         .framework("SOX")
///         .log(&db)
///         .await
/// })
/// # .await }).await?;
/// # assert_eq!(sink.entries()[0].changed_fields, ["from_balance"]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "an operation is recorded by `log`"]
pub struct Operation {
    pub(super) action: Cow<'static, str>,
    pub(super) resource: Resource,
    module: Option<String>,
    status: Option<Status>,
    severity: Option<Severity>,
    old: Option<serde_json::Value>,
    new: Option<serde_json::Value>,
    changed_fields: Option<Vec<String>>,
    frameworks: Vec<String>,
    classification: Option<Classification>,
    sensitive: Option<bool>,
    details: Option<String>,
    reason: Option<String>,
    pub(super) metadata: serde_json::Map<String, serde_json::Value>,
}

impl Operation {
    /// This action on a resource of this type. Actions are open: `"approve"` is as good as `"create"`.
    pub fn new(action: impl Into<Cow<'static, str>>, resource_type: impl Into<Cow<'static, str>>) -> Self {
        Self {
            action: action.into(),
            resource: Resource::new(resource_type),
            module: None,
            status: None,
            severity: None,
            old: None,
            new: None,
            changed_fields: None,
            frameworks: Vec::new(),
            classification: None,
            sensitive: None,
            details: None,
            reason: None,
            metadata: serde_json::Map::new(),
        }
    }

    /// Sets the resource's id.
    pub fn id(mut self, id: impl ToString) -> Self {
        self.resource = self.resource.id(id);
        self
    }

    /// Sets the resource's name for people.
    pub fn name(mut self, name: impl ToString) -> Self {
        self.resource = self.resource.name(name.to_string());
        self
    }

    /// Sets the functional area.
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.module = Some(module.into());
        self
    }

    /// Says how it ended; success if nothing is said.
    pub fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Says how much it matters. If nothing is said: low, or medium if it failed or is sensitive.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Gives the data before, a JSON object. Together with the data after it makes the changes.
    pub fn old_data(mut self, data: serde_json::Value) -> Self {
        self.old = Some(data);
        self
    }

    /// Gives the data after, a JSON object.
    pub fn new_data(mut self, data: serde_json::Value) -> Self {
        self.new = Some(data);
        self
    }

    /// Names the changed fields. If nothing is said, they follow from the data.
    pub fn changed_fields<I: IntoIterator>(mut self, fields: I) -> Self
    where
        I::Item: Into<String>,
    {
        self.changed_fields = Some(fields.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a compliance framework that the entry counts for.
    pub fn framework(mut self, name: impl Into<String>) -> Self {
        self.frameworks.push(name.into());
        self
    }

    /// Sets the classification.
    pub fn classification(mut self, classification: Classification) -> Self {
        self.classification = Some(classification);
        self
    }

    /// Says whether sensitive data was involved.
    pub fn sensitive(mut self, sensitive: bool) -> Self {
        self.sensitive = Some(sensitive);
        self
    }

    /// Says anything about it.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Says why; the context's reason if nothing is said.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Adds a piece of metadata.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds metadata of a type of your own: the members of its JSON object.
    ///
    /// ```
    /// use audit_seaorm::Operation;
    /// #[derive(serde::Serialize)]
    /// struct Approval { department: &'static str, level: u8 }
    /// # fn main() -> Result<(), audit_seaorm::Error> {
    /// Operation::new("approve", "Order").id(7).metadata(&Approval { department: "treasury", level: 2 })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Format`] if it isn't a JSON object.
    pub fn metadata<T: serde::Serialize>(mut self, metadata: &T) -> Result<Self, Error> {
        self.metadata.extend(audit_core::metadata_of(metadata)?);
        Ok(self)
    }

    /// Marks it as failed with this error. Values that a database quotes in its messages are left out.
    pub fn failed(mut self, error: impl ToString) -> Self {
        self.status = Some(Status::Failed);
        self.details = Some(without_values(&error.to_string()));
        self
    }

    /// Records the operation over `db`, in the context in force. Within a transaction it shares the transaction's fate;
    /// see [`log_failure`](crate::log_failure) for what must survive it.
    ///
    /// # Errors
    /// [`Error::Store`] if the entry can't be written, [`Error::NoActor`] if a context is demanded and there is none.
    pub async fn log<C: ConnectionTrait>(self, db: &C) -> Result<(), Error> {
        let work = async {
            let audit = Audit::current();
            match self.entry(&audit)? {
                Some(entry) => audit.write(db, vec![entry]).await,
                None => Ok(()),
            }
        };
        within(db, work).await
    }

    /// The entry of this operation in the context in force, or `None` if operations of this sort aren't recorded.
    pub(crate) fn entry(self, audit: &Audit) -> Result<Option<Entry>, Error> {
        let skipped = audit.config().skip_resources.iter().any(|name| *name == self.resource.kind);
        if skipped || !audit.records(&self.action) {
            return Ok(None);
        }
        let sanitizer = audit.sanitizer();
        let context = audit.context(&self.action, &self.resource.kind)?;
        let clean = |text: String| sanitizer.sanitize_text(&text).into_owned();
        let mut resource = self.resource;
        resource.name = resource.name.map(clean);
        resource.id = resource.id.map(clean);
        let mut entry = Entry::new(audit.clock().now(), self.action, resource);
        entry.reason = self.reason.map(clean);
        entry.details = self.details.map(clean);
        entry.module = self.module;
        entry.status = self.status.unwrap_or(Status::Success);
        let (old, new) = (
            self.old.map(|data| sanitizer.sanitize_json(data)),
            self.new.map(|data| sanitizer.sanitize_json(data)),
        );
        if let Some((changes, fields)) = json_changes(old.as_ref(), new.as_ref()) {
            entry.changes = Some(changes);
            entry.changed_fields = fields;
        }
        if let Some(fields) = self.changed_fields {
            entry.changed_fields = fields;
        }
        entry.old_data = old.map(|data| Value::Json(data).to_json());
        entry.new_data = new.map(|data| Value::Json(data).to_json());
        entry.frameworks = audit.config().frameworks.applying(self.frameworks);
        entry.classification = self.classification.unwrap_or_default();
        entry.is_sensitive = self.sensitive.unwrap_or(entry.classification >= Classification::Restricted);
        entry.severity = self.severity.unwrap_or(if entry.is_sensitive || entry.status == Status::Failed {
            Severity::Medium
        } else {
            Severity::Low
        });
        if !self.metadata.is_empty() {
            entry = entry.with_metadata(self.metadata, sanitizer);
        }
        Ok(Some(entry.with_context(&context, sanitizer)))
    }
}

/// Without the data, which isn't sanitised yet.
impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("action", &self.action)
            .field("resource", &self.resource.kind)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The changes between two JSON objects, in the form of the record, and the names of the fields.
fn json_changes(
    old: Option<&serde_json::Value>,
    new: Option<&serde_json::Value>,
) -> Option<(String, Vec<String>)> {
    let empty = serde_json::Map::new();
    let object = |data: Option<&serde_json::Value>| data.and_then(serde_json::Value::as_object).cloned();
    if old.is_none() && new.is_none() {
        return None;
    }
    let (old, new) = (object(old).unwrap_or_else(|| empty.clone()), object(new).unwrap_or(empty));
    let mut changes = serde_json::Map::new();
    for field in old.keys().chain(new.keys()) {
        let (before, after) = (old.get(field), new.get(field));
        if before != after {
            let mut change = serde_json::Map::new();
            change.extend(before.map(|value| ("old".to_owned(), value.clone())));
            change.extend(after.map(|value| ("new".to_owned(), value.clone())));
            changes.insert(field.clone(), serde_json::Value::Object(change));
        }
    }
    let fields: Vec<String> = changes.keys().cloned().collect();
    list_json(&fields)?;
    Some((Value::Json(serde_json::Value::Object(changes)).to_json(), fields))
}
