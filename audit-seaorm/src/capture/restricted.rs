//! SeaORM's role-based access control over captured statements: what is permitted is captured, what is denied is recorded.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use audit_core::{AuditContext, Entry, Resource, Severity, Status, action};
use sea_orm::rbac::RbacUserId;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RestrictedConnection, Statement,
    StatementBuilder, TransactionOptions, TransactionTrait,
};

use super::sql::{self, What};
use super::traits::{begins, ends};
use super::work::Capture;
use super::{AuditConnection, AuditTransaction};
use crate::Audit;
use crate::scope;

/// An [`AuditConnection`] on which one user may do what SeaORM's RBAC permits.
///
/// As SeaORM's own [`RestrictedConnection`]: statements that SeaORM builds are checked by their tables, raw SQL is refused,
/// and there are no streams. A permitted write is captured. A denied statement isn't sent; it leaves an entry with the
/// action `denied`, status failed and severity high, which names table and permission and holds no values. That entry
/// doesn't share the fate of the transaction in which the statement was denied: it is written as soon as that is possible,
/// over [`AuditBuilder::store`](crate::AuditBuilder::store)'s connection if there is one, else over this one's. Outside of a
/// transaction that is before the denial is answered, unless it takes longer than a second; [`Audit::flush`] waits for it.
#[derive(Clone, Debug)]
pub struct RestrictedAuditConnection {
    inner: AuditConnection,
    guard: Guard,
}

/// An [`AuditTransaction`] on which one user may do what SeaORM's RBAC permits; see [`RestrictedAuditConnection`].
#[derive(Debug)]
pub struct RestrictedAuditTransaction {
    inner: AuditTransaction,
    guard: Guard,
}

impl AuditConnection {
    /// The same connection for one user, who may do what SeaORM's RBAC permits.
    ///
    /// # Errors
    /// If the rules haven't been loaded, by `DatabaseConnection::load_rbac` before the connection was made.
    pub fn restricted_for(&self, user_id: RbacUserId) -> Result<RestrictedAuditConnection, DbErr> {
        let (connection, capture, context) = self.parts();
        let guard = Guard {
            rules: connection.restricted_for(user_id)?,
            store: connection.clone(),
            capture: Arc::clone(capture),
            context: context.cloned(),
        };
        Ok(RestrictedAuditConnection { inner: self.clone(), guard })
    }
}

impl RestrictedAuditConnection {
    /// The user.
    pub fn user_id(&self) -> RbacUserId {
        self.guard.rules.user_id()
    }

    /// The user's permissions, to be asked without an attempt: nothing is recorded.
    pub fn rules(&self) -> &RestrictedConnection {
        &self.guard.rules
    }
}

impl RestrictedAuditTransaction {
    /// Commits, with the entries.
    ///
    /// # Errors
    /// As [`AuditTransaction::commit`].
    pub async fn commit(self) -> Result<(), DbErr> {
        self.inner.commit().await
    }

    /// Rolls back, with the entries; those of denied statements stay.
    ///
    /// # Errors
    /// As [`AuditTransaction::rollback`].
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.inner.rollback().await
    }
}

/// Asks the rules, and records what they deny.
#[derive(Clone)]
struct Guard {
    rules: RestrictedConnection,
    /// Where denials are recorded if the audit has no connection of its own.
    store: sea_orm::DatabaseConnection,
    capture: Arc<Capture>,
    context: Option<Arc<AuditContext>>,
}

/// How long a denied statement is answered after its entry only. What the entry waits for may be a transaction that is open in the
/// same task, and can't end before the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a statement was denied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    /// Within a transaction, which may hold what another write has to wait for.
    Transaction,
}

/// What was denied.
struct Denied {
    permission: String,
    table: Option<String>,
}

impl Guard {
    async fn check<S: StatementBuilder>(&self, statement: &S, place: Place) -> Result<(), DbErr> {
        let Err(error) = self.rules.user_can_run(statement) else { return Ok(()) };
        let denied = match &error {
            DbErr::AccessDenied { permission, resource } => {
                Denied { permission: permission.clone(), table: Some(resource.clone()) }
            }
            // The rules don't know the user, a table or the permission, or can't read the statement.
            _ => first_request(statement),
        };
        self.record(denied, &error, place).await;
        Err(error)
    }

    /// Refuses raw SQL, as SeaORM does; but without the text, which has values in it.
    async fn refuse<T>(&self, sql: &str, place: Place) -> Result<T, DbErr> {
        let error = DbErr::RbacError("Raw query is not supported on a restricted connection".to_owned());
        let script = sql::read(sql, self.store.get_database_backend());
        let table = script.statements.first().and_then(|parsed| match &parsed.what {
            What::Insert(insert) => Some(&insert.target.name),
            What::Update(update) => Some(&update.target.name),
            What::Delete(delete) => Some(&delete.target.name),
            What::Truncate(names) | What::Define(names) => names.first(),
            _ => None,
        });
        let table = table.map(|table| match &table.schema {
            Some(schema) => format!("{schema}.{}", table.name),
            None => table.name.clone(),
        });
        self.record(Denied { permission: "raw_sql".to_owned(), table }, &error, place).await;
        Err(error)
    }

    /// Records a denial. That it can't be recorded changes nothing: the statement isn't run.
    async fn record(&self, denied: Denied, error: &DbErr, place: Place) {
        let audit = self.capture.in_force();
        if !audit.records(action::DENIED) {
            return;
        }
        let entry = self.entry(&audit, denied, error);
        let store = audit.own_store().unwrap_or(&self.store);
        if audit.sink().is_none() {
            let end = crate::audited_fn::defer(&audit, store.clone(), entry);
            if place == Place::Alone {
                _ = tokio::time::timeout(PATIENCE, end).await;
            }
        } else if let Err(error) = audit.write(store, vec![entry]).await {
            audit.counters().lose(1);
            tracing::error!(%error, "the entry of a denied statement is lost");
        }
    }

    fn entry(&self, audit: &Audit, denied: Denied, error: &DbErr) -> Entry {
        let user = self.rules.user_id().0;
        // The rules are about this user, whoever the context says it is; where nobody says so, it is the actor.
        let context = self.context.clone().or_else(scope::try_current);
        let context = context.unwrap_or_else(|| Arc::new(AuditContext::user(user)));
        let audited = denied.table.as_deref().and_then(|table| {
            let tables = self.capture.audit().registry().tables();
            let bare = table.rsplit_once('.').map_or(table, |(_, bare)| bare);
            tables.get(table).or_else(|| tables.get(bare))?.as_ref().ok()
        });
        let kind = match (audited, &denied.table) {
            (Some(audited), _) => audited.policy.resource.clone(),
            (None, Some(table)) => table.clone(),
            (None, None) => "database".to_owned(),
        };
        let mut entry = audit.entry(action::DENIED, Resource::new(kind), &context);
        if let Some(audited) = audited {
            entry.module.clone_from(&audited.policy.module);
            entry.frameworks.clone_from(&audited.policy.frameworks);
            entry.classification = audited.policy.classification;
        }
        entry.status = Status::Failed;
        entry.severity = Severity::High;
        entry.details = Some(audit.sanitizer().sanitize_text(&error.to_string()).into_owned());
        let mut metadata = serde_json::Map::new();
        metadata.insert("permission".to_owned(), denied.permission.into());
        metadata.insert("rbac_user".to_owned(), user.into());
        entry.with_metadata(metadata, audit.sanitizer())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("user", &self.rules.user_id()).finish_non_exhaustive()
    }
}

/// The first write that a statement asks for, or the first read if it only reads.
fn first_request<S: StatementBuilder>(statement: &S) -> Denied {
    let requests = statement.audit().map(|audit| audit.requests).unwrap_or_default();
    let write = requests.iter().find(|request| request.access_type.as_str() != "select");
    match write.or_else(|| requests.first()) {
        None => Denied { permission: "unknown".to_owned(), table: None },
        Some(request) => {
            let table = request.schema_table.1.to_string();
            let table = match &request.schema_table.0 {
                Some(schema) => format!("{}.{table}", schema.1),
                None => table,
            };
            Denied { permission: request.access_type.as_str().to_owned(), table: Some(table) }
        }
    }
}

/// SeaORM's traits for both, which differ only in where a denial happens.
macro_rules! restricted {
    ($connection:ty, $place:expr) => {
        #[async_trait::async_trait]
        impl ConnectionTrait for $connection {
            fn get_database_backend(&self) -> DbBackend {
                ConnectionTrait::get_database_backend(&self.inner)
            }

            async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
                self.guard.refuse(&statement.sql, $place).await
            }

            async fn execute<S: StatementBuilder>(&self, statement: &S) -> Result<ExecResult, DbErr> {
                self.guard.check(statement, $place).await?;
                self.inner.execute(statement).await
            }

            async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
                self.guard.refuse(sql, $place).await
            }

            async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
                self.guard.refuse(&statement.sql, $place).await
            }

            async fn query_one<S: StatementBuilder>(
                &self,
                statement: &S,
            ) -> Result<Option<QueryResult>, DbErr> {
                self.guard.check(statement, $place).await?;
                self.inner.query_one(statement).await
            }

            async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
                self.guard.refuse(&statement.sql, $place).await
            }

            async fn query_all<S: StatementBuilder>(&self, statement: &S) -> Result<Vec<QueryResult>, DbErr> {
                self.guard.check(statement, $place).await?;
                self.inner.query_all(statement).await
            }

            fn support_returning(&self) -> bool {
                self.inner.support_returning()
            }

            fn is_mock_connection(&self) -> bool {
                self.inner.is_mock_connection()
            }
        }

        impl $connection {
            async fn start(&self, options: TransactionOptions) -> Result<RestrictedAuditTransaction, DbErr> {
                let inner = self.inner.begin_with_options(options).await?;
                Ok(RestrictedAuditTransaction { inner, guard: self.guard.clone() })
            }
        }

        begins!($connection, RestrictedAuditTransaction);
    };
}

restricted!(RestrictedAuditConnection, Place::Alone);
restricted!(RestrictedAuditTransaction, Place::Transaction);

ends!(RestrictedAuditTransaction);
