//! Helpers for the tests of applications.

use std::future::Future;
use std::ops::Deref;

use audit_core::{Actor, Entry, MemorySink, QueryEntry};

use crate::scope::{current, scope};
use crate::{Audit, AuditBuilder};

/// Runs `future` and keeps the entries that it makes in memory instead of in the table, which need not exist.
///
/// The audit in force for it audits all announced entities under the default configuration; see [`capture_with`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use audit_seaorm::{Operation, testing};
/// # let db = sea_orm::DatabaseConnection::default();
/// let (_, entries) = testing::capture(async {
///     Operation::new("approve", "PurchaseOrder").id(7).log(&db).await.unwrap();
/// }).await;
/// entries.only().assert_action("approve").assert_resource("PurchaseOrder", "7");
/// # }
/// ```
///
/// # Panics
/// If the announced entities contradict each other, with the message that says how.
pub async fn capture<F: Future>(future: F) -> (F::Output, Captured) {
    capture_with(Audit::builder(), future).await
}

/// [`capture`] under an audit of your own.
///
/// # Panics
/// If the audit can't be built, with the message that says why.
#[allow(clippy::panic, reason = "a test that can't be set up fails")]
pub async fn capture_with<F: Future>(audit: AuditBuilder, future: F) -> (F::Output, Captured) {
    let sink = MemorySink::new();
    let audit = match audit.sink(sink.clone()).build() {
        Ok(audit) => audit,
        Err(error) => panic!("{error}"),
    };
    let output = audit.within(future).await;
    if let Err(error) = audit.flush().await {
        panic!("{error}");
    }
    (output, Captured { entries: sink.take(), queries: sink.queries() })
}

/// Runs `future` as this actor, keeping the rest of the context.
pub fn acting_as<F: Future>(actor: Actor, future: F) -> impl Future<Output = F::Output> {
    let future = Box::pin(future);
    async move { scope(current().actor(actor), future).await }
}

/// Runs `future` for this tenant, keeping the rest of the context.
pub fn in_tenant<F: Future>(tenant: impl ToString, future: F) -> impl Future<Output = F::Output> {
    let (tenant, future) = (tenant.to_string(), Box::pin(future));
    async move { scope(current().tenant(tenant), future).await }
}

/// Entries that were captured, in the order in which they were made.
#[derive(Clone, Debug, PartialEq)]
pub struct Captured {
    entries: Vec<Entry>,
    queries: Vec<QueryEntry>,
}

impl Captured {
    /// The records of reads.
    pub fn queries(&self) -> &[QueryEntry] {
        &self.queries
    }

    /// The one entry.
    ///
    /// # Panics
    /// If there is none, or more than one; the message lists them.
    #[track_caller]
    pub fn only(&self) -> Found<'_> {
        assert!(self.entries.len() == 1, "expected one entry, found {}", self.summary());
        Found(&self.entries[0])
    }

    /// The entries about this type of resource, and the records of its reads.
    pub fn of(&self, resource_type: &str) -> Self {
        let entries =
            self.entries.iter().filter(|entry| entry.resource.kind == resource_type).cloned().collect();
        let queries =
            self.queries.iter().filter(|query| query.what.resource_type == resource_type).cloned().collect();
        Self { entries, queries }
    }

    /// The entries with this action.
    pub fn with_action(&self, action: &str) -> Self {
        let entries = self.entries.iter().filter(|entry| entry.action == action).cloned().collect();
        Self { entries, queries: Vec::new() }
    }

    /// Asserts that nothing was recorded.
    ///
    /// # Panics
    /// If something was; the message lists it.
    #[track_caller]
    pub fn assert_none(&self) {
        assert!(self.entries.is_empty(), "expected no entries, found {}", self.summary());
    }

    fn summary(&self) -> String {
        let mut out = format!("{}:", self.entries.len());
        for entry in &self.entries {
            let id = entry.resource.id.as_deref().unwrap_or("-");
            out.push_str(&format!(
                "\n  {} {} {id} {:?}",
                entry.action, entry.resource.kind, entry.changed_fields
            ));
        }
        out
    }
}

impl Deref for Captured {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

/// One entry, to assert on. Each assertion gives the entry back for the next.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a>(&'a Entry);

impl Found<'_> {
    /// Asserts the action.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn assert_action(self, action: &str) -> Self {
        assert_eq!(self.0.action, action, "action: recorded (left), asserted (right)");
        self
    }

    /// Asserts type and id of the resource.
    ///
    /// # Panics
    /// If they are others.
    #[track_caller]
    pub fn assert_resource(self, resource_type: &str, id: &str) -> Self {
        assert_eq!(self.0.resource.kind, resource_type, "resource type: recorded (left), asserted (right)");
        assert_eq!(self.0.resource.id.as_deref(), Some(id), "resource id: recorded (left), asserted (right)");
        self
    }

    /// Asserts the actor's id.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn assert_actor(self, id: &str) -> Self {
        assert_eq!(self.0.actor.id.as_deref(), Some(id), "actor: recorded (left), asserted (right)");
        self
    }

    /// Asserts that this field changed, and from what to what. `None`: there is no such side.
    ///
    /// # Panics
    /// If it didn't, or otherwise.
    #[track_caller]
    pub fn assert_change(
        self,
        field: &str,
        old: Option<serde_json::Value>,
        new: Option<serde_json::Value>,
    ) -> Self {
        let changes = self.0.changes_json().unwrap_or_default();
        let Some(change) = changes.get(field) else {
            panic!("`{field}` is not among the changed fields {:?}", self.0.changed_fields)
        };
        assert_eq!(change.get("old"), old.as_ref(), "old value of `{field}`");
        assert_eq!(change.get("new"), new.as_ref(), "new value of `{field}`");
        self
    }

    /// Asserts what the rows were called that this reference referred to and refers to. `None`: there is no label.
    ///
    /// # Panics
    /// If they were called otherwise, or the field didn't change.
    #[track_caller]
    pub fn assert_labels(self, field: &str, old: Option<&str>, new: Option<&str>) -> Self {
        let changes = self.0.changes_json().unwrap_or_default();
        let Some(change) = changes.get(field) else {
            panic!("`{field}` is not among the changed fields {:?}", self.0.changed_fields)
        };
        let label = |side: &str| change.get(side).and_then(serde_json::Value::as_str);
        assert_eq!(label("old_label"), old, "old label of `{field}`");
        assert_eq!(label("new_label"), new, "new label of `{field}`");
        self
    }

    /// Asserts that exactly these fields changed, in this order.
    ///
    /// # Panics
    /// If others did.
    #[track_caller]
    pub fn assert_changed_fields(self, fields: &[&str]) -> Self {
        assert_eq!(self.0.changed_fields, fields, "changed fields: recorded (left), asserted (right)");
        self
    }
}

impl Deref for Found<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        self.0
    }
}
