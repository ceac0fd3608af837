//! Requests to the application's interface, one entry each.

use std::time::Duration;

use audit_core::{Error, Record, Resource, Severity, Status, action};
use sea_orm::ConnectionTrait;

use super::Operation;
use crate::Audit;
use crate::capture::bound::within;

/// A request to the application's interface, and how it was answered.
///
/// ```
/// use audit_seaorm::{ApiAccess, Resource};
/// use std::time::Duration;
/// let access = ApiAccess::new("GET", "/api/alerts/7?verbose=1", 200)
///     .resource(Resource::new("alert").id(7))
///     .duration(Duration::from_millis(12));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request is recorded by `log_api_access`"]
pub struct ApiAccess {
    method: String,
    path: String,
    status_code: u16,
    duration: Option<Duration>,
    resource: Option<Resource>,
    module: Option<String>,
}

impl ApiAccess {
    /// A request with this method to this path, and the status code of its answer. A query string is left out, because
    /// values stand in it.
    pub fn new(method: impl Into<String>, path: impl AsRef<str>, status_code: u16) -> Self {
        let path = path.as_ref();
        Self {
            method: method.into(),
            path: path.split_once(['?', '#']).map_or(path, |(path, _)| path).to_owned(),
            status_code,
            duration: None,
            resource: None,
            module: None,
        }
    }

    /// Says how long the answer took.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Says which resource was asked for; otherwise it is the path, as a resource of type `api`.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Sets the functional area.
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.module = Some(module.into());
        self
    }

    fn operation(self) -> Operation {
        let resource = self.resource.unwrap_or_else(|| Resource::new("api").id(&self.path));
        let (status, severity) = match self.status_code {
            401 | 403 => (Status::Failed, Severity::Medium),
            400..=499 => (Status::Failed, Severity::Low),
            500.. => (Status::Failed, Severity::Medium),
            _ => (Status::Success, Severity::Low),
        };
        let mut operation = Operation::new(action::API_ACCESS, "").status(status).severity(severity);
        operation.resource = resource;
        if let Some(module) = self.module {
            operation = operation.module(module);
        }
        if let Some(duration) = self.duration {
            operation =
                operation.with("duration_us", u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        }
        operation.with("method", self.method).with("path", self.path).with("status_code", self.status_code)
    }
}

/// Records a request: an entry of the action `api_access`, with method, path, status code and duration as metadata.
///
/// It is written in the background, if the audit has a connection apart from `db` (its own, or the first that it was
/// [connected](Audit::connect) to), else over `db`.
///
/// # Errors
/// [`Error::Store`] if it can't be taken; [`Error::NoActor`] if a context is demanded and there is none.
pub async fn log_api_access<C: ConnectionTrait>(db: &C, access: ApiAccess) -> Result<(), Error> {
    let work = async {
        let audit = Audit::current();
        let Some(mut entry) = access.operation().entry(&audit)? else { return Ok(()) };
        if audit.sink().is_some() || !audit.writer().has_database() {
            return audit.write(db, vec![entry]).await;
        }
        entry.finish();
        audit.writer().send(Record::from(entry)).await
    };
    within(db, work).await
}
