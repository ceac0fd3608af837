//! Who acts, for whom, from where.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// Who performed an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Sort of actor: `"user"`, `"system"`, `"service"`, `"anonymous"` or one of your own.
    pub kind: Cow<'static, str>,
    /// Id in the application.
    pub id: Option<String>,
    /// Name for people.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
}

impl Actor {
    /// An actor of this kind without an id.
    pub fn new(kind: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: kind.into(), id: None, name: None, email: None }
    }

    /// A person with an account.
    pub fn user(id: impl ToString) -> Self {
        Self { id: Some(id.to_string()), ..Self::new("user") }
    }

    /// The application itself; what counts where no context says otherwise.
    pub fn system() -> Self {
        Self::new("system")
    }

    /// Another program or a background job, by name.
    pub fn service(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::new("service") }
    }

    /// Somebody who isn't logged in.
    pub fn anonymous() -> Self {
        Self::new("anonymous")
    }
}

/// What is known of the circumstances of an operation. It follows the task.
///
/// ```
/// use audit_core::AuditContext;
/// let context = AuditContext::user(42).named("Ann").tenant("acme").request_id("r-1").ip("192.0.2.7");
/// assert_eq!(context.actor.id.as_deref(), Some("42"));
/// assert_eq!(context.ip_address, Some("192.0.2.7".parse().unwrap()));
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditContext {
    /// Who acts.
    pub actor: Actor,
    /// Tenant that the operation belongs to; records have its [stored name](stored_tenant).
    pub tenant: Option<String>,
    /// Address that the request came from.
    pub ip_address: Option<IpAddr>,
    /// User agent of the request.
    pub user_agent: Option<String>,
    /// Session of the actor.
    pub session_id: Option<String>,
    /// Request that the operation belongs to.
    pub request_id: Option<String>,
    /// Data of the request. Sanitised when an entry is made.
    pub request_data: Option<serde_json::Value>,
    /// Why the operation is done.
    pub reason: Option<String>,
    /// Anything else; merged into the metadata of each entry. Sanitised when an entry is made.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Groups the entries of one transaction; hooks can't know it, so it is up to you.
    pub transaction_id: Option<String>,
}

impl AuditContext {
    /// A context in which this actor acts.
    pub fn new(actor: Actor) -> Self {
        Self {
            actor,
            tenant: None,
            ip_address: None,
            user_agent: None,
            session_id: None,
            request_id: None,
            request_data: None,
            reason: None,
            metadata: None,
            transaction_id: None,
        }
    }

    /// A context in which the user with this id acts.
    pub fn user(id: impl ToString) -> Self {
        Self::new(Actor::user(id))
    }

    /// A context in which the application itself acts.
    pub fn system() -> Self {
        Self::new(Actor::system())
    }

    /// A context in which a background job or another program acts.
    pub fn service(name: impl Into<String>) -> Self {
        Self::new(Actor::service(name))
    }

    /// A context in which somebody acts who isn't logged in.
    pub fn anonymous() -> Self {
        Self::new(Actor::anonymous())
    }

    /// Replaces the actor, keeping the rest: what an authentication layer does inside a request layer's context.
    #[must_use]
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// Sets the actor's name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.actor.name = Some(name.into());
        self
    }

    /// Sets the actor's e-mail address.
    #[must_use]
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.actor.email = Some(email.into());
        self
    }

    /// Sets the tenant. Of a name of more than 255 characters records have the first 100 characters and a digest; see [`stored_tenant`].
    #[must_use]
    pub fn tenant(mut self, tenant: impl ToString) -> Self {
        self.tenant = Some(tenant.to_string());
        self
    }

    /// Sets the address, as a server has it from the connection.
    #[must_use]
    pub fn ip_address(mut self, address: IpAddr) -> Self {
        self.ip_address = Some(address);
        self
    }

    /// Sets the address from a text. One that is no IP address leaves it unknown.
    #[must_use]
    pub fn ip(mut self, address: impl AsRef<str>) -> Self {
        self.ip_address = address.as_ref().parse().ok();
        self
    }

    /// Sets the user agent.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Sets the session.
    #[must_use]
    pub fn session_id(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = Some(session_id.into());
        self
    }

    /// Sets the request's id.
    #[must_use]
    pub fn request_id(mut self, request_id: impl Into<String>) -> Self {
        self.request_id = Some(request_id.into());
        self
    }

    /// Sets the request's data.
    #[must_use]
    pub fn request_data(mut self, data: serde_json::Value) -> Self {
        self.request_data = Some(data);
        self
    }

    /// Says why the operation is done.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Groups the entries made in this context under a transaction id.
    #[must_use]
    pub fn transaction_id(mut self, id: impl Into<String>) -> Self {
        self.transaction_id = Some(id.into());
        self
    }

    /// Adds a piece of metadata to each entry.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.metadata.get_or_insert_default().insert(key.into(), value.into());
        self
    }

    /// Adds metadata of a type of your own to each entry: the members of its JSON object.
    ///
    /// # Errors
    /// [`Error::Format`] if it isn't a JSON object.
    pub fn with_metadata<T: Serialize>(mut self, metadata: &T) -> Result<Self, Error> {
        self.metadata.get_or_insert_default().extend(metadata_of(metadata)?);
        Ok(self)
    }
}

/// Without the request's data and the metadata, which aren't sanitised yet.
impl fmt::Debug for AuditContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditContext")
            .field("actor", &self.actor)
            .field("tenant", &self.tenant)
            .field("ip_address", &self.ip_address)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Default for AuditContext {
    fn default() -> Self {
        Self::system()
    }
}

/// A tenant's name as records have it: itself, if it has at most 255 characters and no NUL, which PostgreSQL has no text for.
/// Of others it is the digest, so that no two tenants are one, behind the first 100 characters.
///
/// The stored name stands for itself: what this returns it leaves as it is.
///
/// ```
/// use audit_core::stored_tenant;
/// assert_eq!(stored_tenant("acme"), "acme");
/// assert!(stored_tenant(&"x".repeat(300)).starts_with("xxxxxxxxxx"));
/// assert_ne!(stored_tenant(&"x".repeat(300)), stored_tenant(&"x".repeat(301)));
/// ```
pub fn stored_tenant(name: &str) -> Cow<'_, str> {
    if !name.contains('\0') && name.chars().nth(MAX_TENANT).is_none() {
        return Cow::Borrowed(name);
    }
    let digest = crate::policy::hex(&Sha256::digest(name));
    let beginning: String =
        name.chars().take(BEGINNING).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
    Cow::Owned(format!("{beginning}\u{2026}sha256:{digest}"))
}

/// Makes a tenant's name that of records.
pub(crate) fn fit_tenant(name: &mut Option<String>) {
    if let Some(name) = name
        && let Cow::Owned(stored) = stored_tenant(name)
    {
        *name = stored;
    }
}

/// Longest name of a tenant that is stored as it is, in characters.
const MAX_TENANT: usize = 255;
/// So much of a longer one is kept before its digest, for people.
const BEGINNING: usize = 100;

/// The members of a value of your own, for metadata.
///
/// # Errors
/// [`Error::Format`] if it isn't a JSON object.
pub fn metadata_of<T: Serialize>(value: &T) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(members)) => Ok(members),
        Ok(_) => Err(Error::Format("metadata is a struct or a map, a JSON object".into())),
        // What serde says may quote a value.
        Err(_) => Err(Error::Format("the metadata can't be written as JSON".into())),
    }
}
