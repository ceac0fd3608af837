//! I5: neither the errors of what can't be recorded nor the lines that are logged about it carry audited values.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use audit_seaorm::{Audit, AuditContext, Config, FailurePolicy, Operation, log_failure, scope};
use audit_tests::{DbBackend, db_test};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr,
    EntityTrait, ModelTrait, QueryFilter, Set, Statement, TransactionTrait,
};
use tracing::field::{Field, Visit};
use tracing::{Event, Id, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::fixtures::{account, create_table, drop_audit_table, patient, quiet_account};

/// Keeps what is logged, as target, level and fields; of spans their fields.
#[derive(Clone, Default)]
pub(crate) struct LogLines(Arc<Mutex<Vec<(String, String)>>>);

impl LogLines {
    /// The lines of targets that begin so.
    pub(crate) fn of(&self, target: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|(of, _)| of.starts_with(target)).map(|(_, line)| line.clone()).collect()
    }

    fn keep(&self, metadata: &tracing::Metadata<'_>, fields: Fields) {
        let line = (metadata.target().to_owned(), format!("{}{}", metadata.level(), fields.0));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl<S: tracing::Subscriber> Layer<S> for LogLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.keep(event.metadata(), fields);
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        self.keep(attributes.metadata(), fields);
    }
}

/// Runs this on a thread of its own, whose every task logs to these lines.
async fn logged<F: Future<Output = ()>>(lines: &LogLines, work: impl FnOnce() -> F + Send + 'static) {
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let thread = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tracing::subscriber::with_default(subscriber, || runtime.block_on(work()));
    };
    tokio::task::spawn_blocking(thread).await.expect("no panic");
}

const SECRET: &str = "value-in-log-ffff";

fn secret_account() -> account::ActiveModel {
    account::ActiveModel {
        note: Set(Some(SECRET.into())),
        pin_hash: Set(SECRET.into()),
        api_token: Set(Some(SECRET.into())),
        ..crate::fixtures::account(SECRET, 1)
    }
}

/// Where the errors go that are to be searched.
#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn expect<T: Debug>(&mut self, what: &str, outcome: Result<T, impl std::error::Error>) {
        let error = outcome.expect_err(what);
        self.0.push(format!("{what}: {error} {error:?}"));
    }
}

fn audit(policy: FailurePolicy, spool: Option<&std::path::Path>) -> Audit {
    let mut config = Config::default();
    config.on_failure = policy;
    config.spool_dir = spool.map(Into::into);
    Audit::builder().config(config).build().expect("an audit")
}

/// Everything that goes wrong when the table of entries isn't there, by way of hooks and of the connection.
async fn fail(db: &DatabaseConnection, errors: &mut Errors) -> Result<(), DbErr> {
    let strict = audit(FailurePolicy::Block, None);
    let captured = strict.connect(db.clone());
    for (way, outcome) in [
        ("hooks", strict.within(secret_account().insert(db)).await),
        ("connection", secret_account().insert(&captured).await),
    ] {
        errors.expect(way, outcome);
    }
    // The hooks' row stays on a bare pool: it is there to be changed and deleted.
    let row = account::Entity::find().one(db).await?.expect("the row");
    let change = || account::ActiveModel { note: Set(Some(format!("{SECRET} 2"))), ..row.clone().into() };
    let transaction = db.begin().await?;
    errors.expect("hooks, in a transaction", strict.within(change().update(&transaction)).await);
    transaction.rollback().await?;
    errors.expect("update", change().update(&captured).await);
    let transaction = captured.begin().await?;
    errors.expect("update in a transaction", change().update(&transaction).await);
    _ = transaction.rollback().await;
    errors.expect("delete", captured.execute_raw(by_note(db, "DELETE FROM account WHERE note =")).await);

    // What can't be recorded is refused, and what the database refuses is its own error.
    let literal = format!("UPDATE account SET note = '{SECRET}' WHERE owner = 'x' FROBNICATE");
    errors.expect("no SQL", captured.execute_unprepared(&literal).await);
    let literal = format!("SELECT set_note('{SECRET}'); UPDATE account SET note = '{SECRET}' , RETURNING");
    errors.expect("no SQL in several", captured.execute_unprepared(&literal).await);
    errors.expect(
        "by hand",
        scope(AuditContext::user(SECRET).reason(SECRET), Operation::new("x", "y").details(SECRET).log(db))
            .await,
    );
    let failed = Operation::new("x", "y").new_data(serde_json::json!({"note": SECRET}));
    errors.expect("a failure by hand", strict.within(log_failure(db, failed, SECRET)).await);

    // Lost, or put by: no error, but lines about it.
    for policy in [FailurePolicy::BestEffort, FailurePolicy::Outbox] {
        let spool = tempfile::tempdir().expect("a directory");
        let lenient = audit(policy, Some(spool.path()));
        lenient.within(secret_account().insert(db)).await?;
        let captured = lenient.connect(db.clone());
        let row = secret_account().insert(&captured).await?;
        let change = account::ActiveModel { note: Set(Some(format!("{SECRET} 3"))), ..row.into() };
        change.update(&captured).await?.delete(&captured).await?;
        // The spool's delivery fails as well.
        _ = lenient.shutdown().await;
    }
    // A read whose record finds no table.
    let reading = strict.connect(db.clone());
    patient::Entity::find().filter(patient::Column::Name.eq(SECRET)).all(&reading).await?;
    errors.expect("the record of a read", strict.flush().await);
    Ok(())
}

fn by_note(db: &DatabaseConnection, sql: &str) -> Statement {
    let backend = db.get_database_backend();
    let place = if backend == sea_orm::DbBackend::Postgres { "$1" } else { "?" };
    Statement::from_sql_and_values(backend, format!("{sql} {place}"), [SECRET.into()])
}

db_test!(i5_errors_and_log_lines_carry_no_values, async |t| {
    create_table(t, account::Entity).await;
    create_table(t, patient::Entity).await;
    quiet_account(&t.db, "Ada", 1).await;
    t.execute("DELETE FROM account").await.unwrap();
    drop_audit_table(t).await;
    for table in ["audit_query_truncate_guard", "audit_query"] {
        // The guard is MySQL's.
        _ = t.execute(&format!("DROP TABLE {table}")).await;
    }
    let lines = LogLines::default();
    let found = Arc::new(Mutex::new(Errors::default()));
    let (mut options, errors): (ConnectOptions, _) = (t.options(), Arc::clone(&found));
    // The driver's lines show every statement, ours among them.
    options.sqlx_logging(true);
    logged(&lines, move || async move {
        let db = Database::connect(options).await.expect("connected");
        let mut all = Errors::default();
        fail(&db, &mut all).await.expect("what should succeed does");
        *errors.lock().unwrap() = all;
    })
    .await;

    let errors = found.lock().unwrap();
    assert!(errors.0.len() >= 10, "{:#?}", errors.0);
    for error in &errors.0 {
        assert!(!error.contains(SECRET), "{error}");
    }
    let (all, ours) = (lines.of(""), lines.of("audit_seaorm"));
    // SQLite's driver works, and logs, on a thread of its own.
    let drivers = all.iter().any(|line| line.contains("INSERT INTO"));
    assert_eq!(drivers, t.backend != DbBackend::Sqlite, "the driver's lines are there");
    for part in ["audit entries lost", "audit entries go to the spool"] {
        assert!(ours.iter().any(|line| line.contains(part)), "{part}: {ours:#?}");
    }
    for line in all {
        assert!(!line.contains(SECRET), "{line}");
    }
});
