//! Operations that no row change shows: logged by hand, by attribute, by background jobs.

use audit_seaorm::{
    Actor, Audit, AuditContext, AuditTask, AuditedEntity, Classification, Config, Export, Operation,
    Resource, Severity, Status, Violation, ViolationStatus, audit_action, log_action, log_audit_event,
    log_download, log_export, log_failure, log_manually, log_operation, log_violation, scope, set_status,
    status_of, suspended,
};
use audit_tests::db_test;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, ExecResult, QueryResult, Statement, TransactionTrait,
};
use serde_json::json;

use crate::fixtures::{account, changes, create_table, entries, only_entry, set_balance};

db_test!(c9_an_operation_is_logged_with_everything_said_about_it, async |t| {
    let context = AuditContext::user(1)
        .tenant("acme")
        .ip("192.0.2.7")
        .user_agent("curl")
        .session_id("s")
        .request_id("r");
    let operation = Operation::new("transfer", "BankTransfer")
        .id("a-b")
        .name("Transfer from A to B")
        .module("finance")
        .old_data(json!({"from_balance": 1000.5, "same": 1, "password": "x"}))
        .new_data(json!({"from_balance": 900.5, "same": 1, "password": "y", "fee": null}))
        .framework("SOX")
        .classification(Classification::Confidential)
        .sensitive(true)
        .severity(Severity::High)
        .status(Status::Warning)
        .details("over the limit")
        .reason("by order")
        .with("department", "treasury");
    scope(context, log_operation(&t.db, operation)).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!(
        changes(&entry),
        json!({"from_balance": {"old": 1000.5, "new": 900.5}, "fee": {"new": null}}),
        "both passwords were the same three stars before they were compared"
    );
    assert_eq!(entry.changed_fields.as_deref(), Some(r#"["fee","from_balance"]"#));
    assert_eq!(entry.old_data.as_deref(), Some(r#"{"from_balance":1000.5,"password":"***","same":1}"#));
    assert_eq!(
        (entry.status.as_str(), entry.severity.as_str(), entry.classification.as_str(), entry.is_sensitive),
        ("warning", "high", "confidential", true)
    );
    assert_eq!(
        (entry.details.as_deref(), entry.reason.as_deref()),
        (Some("over the limit"), Some("by order"))
    );
    assert_eq!(entry.metadata.as_deref(), Some(r#"{"department":"treasury"}"#));
    assert_eq!(entry.ip_address.as_deref(), Some("192.0.2.7"));
    assert_eq!((entry.session_id.as_deref(), entry.request_id.as_deref()), (Some("s"), Some("r")));
    assert_eq!(entry.hash_matches(), Some(true));
});

db_test!(c9_the_documented_functions_log, async |t| {
    let resource = Resource::new("FinancialReport").id(4).name("Q4");
    let extra = json!({"format": "pdf"}).as_object().unwrap().clone();
    scope(AuditContext::user("ann").tenant("acme"), async {
        log_action(&t.db, "exported", resource, extra).await.unwrap();
        log_manually(&t.db, Actor::user("ben"), Operation::new("approved", "PurchaseOrder").id(7))
            .await
            .unwrap();
        log_audit_event(
            &t.db,
            "Port scan initiated",
            "192.168.1.0/24",
            audit_seaorm::module::SCANNING,
            Status::Success,
            Severity::Low,
            "1000 ports",
        )
        .await
        .unwrap();
    })
    .await;
    let all = entries(t).await;
    assert_eq!(all[0].metadata.as_deref(), Some(r#"{"format":"pdf"}"#));
    assert_eq!(all[0].resource_name.as_deref(), Some("Q4"));
    assert_eq!((all[1].actor_id.as_deref(), all[1].tenant.as_deref()), (Some("ben"), Some("acme")));
    assert_eq!(
        (all[2].resource_id.as_deref(), all[2].module.as_deref()),
        (Some("192.168.1.0/24"), Some("scanning"))
    );
});

#[derive(Debug)]
enum AppError {
    Refused(String),
    Database(DbErr),
}

impl std::fmt::Display for AppError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Database(error) => write!(f, "{error}"),
        }
    }
}

impl From<DbErr> for AppError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

#[audit_action(entity_type = "alert", action = "escalate", entity_id = alert_id, entity_name = format!("alert {alert_id}"), module = "administration", severity = "high")]
async fn escalate_alert(db: &DatabaseConnection, alert_id: i64, allowed: bool) -> Result<i64, AppError> {
    if !allowed {
        return Err(AppError::Refused(format!("{alert_id} is closed")));
    }
    account::Entity::find().all(db).await?;
    Ok(alert_id * 2)
}

struct Desk {
    db: DatabaseConnection,
    name: String,
}

impl Desk {
    #[audit_action(entity_type = "desk", action = "close", entity_id = self.name, db = self.db)]
    async fn close(&mut self, suffix: String) -> String {
        self.name.push_str(&suffix);
        std::mem::take(&mut self.name)
    }
}

db_test!(c11_a_function_is_logged_when_it_succeeds_and_when_it_fails, async |t| {
    create_table(t, account::Entity).await;
    scope(AuditContext::user("ann"), async {
        assert_eq!(escalate_alert(&t.db, 21, true).await.unwrap(), 42);
        let error = escalate_alert(&t.db, 22, false).await.unwrap_err();
        assert!(matches!(error, AppError::Refused(why) if why == "22 is closed"), "passed on unchanged");
    })
    .await;
    let all = entries(t).await;
    let seen = |at: usize| {
        let entry: &audit_seaorm::entity::audit_log::Model = &all[at];
        (entry.action.as_str(), entry.resource_id.as_deref(), entry.status.as_str(), entry.details.as_deref())
    };
    assert_eq!(seen(0), ("escalate", Some("21"), "success", None));
    assert_eq!(seen(1), ("escalate", Some("22"), "failed", Some("refused: 22 is closed")));
    assert_eq!(all[1].resource_name.as_deref(), Some("alert 22"));
    assert_eq!((all[0].severity.as_str(), all[0].actor_id.as_deref()), ("high", Some("ann")));
});

db_test!(c11_methods_and_plain_values_are_logged, async |t| {
    let mut desk = Desk { db: t.db.clone(), name: "front".into() };
    assert_eq!(desk.close("!".into()).await, "front!");
    let entry = only_entry(t).await;
    assert_eq!((entry.resource_type.as_str(), entry.resource_id.as_deref()), ("desk", Some("front")));
});

db_test!(c11_a_success_that_cannot_be_recorded_is_an_error, async |t| {
    create_table(t, account::Entity).await;
    crate::fixtures::drop_audit_table(t).await;
    let error = escalate_alert(&t.db, 1, true).await.unwrap_err();
    assert!(matches!(&error, AppError::Database(error) if audit_seaorm::is_audit_error(error)), "{error:?}");
    let error = escalate_alert(&t.db, 1, false).await.unwrap_err();
    assert!(matches!(error, AppError::Refused(_)), "its own error comes first");
});

#[audit_action(entity_type = "account", action = "overdraw", entity_id = id)]
async fn overdraw(txn: &DatabaseTransaction, id: i64) -> Result<(), DbErr> {
    set_balance(txn, id, -1).await?;
    Err(DbErr::Custom("not covered".into()))
}

db_test!(c12_a_failure_survives_the_rollback_of_its_transaction, async |t| {
    create_table(t, account::Entity).await;
    let row = crate::fixtures::quiet_account(&t.db, "Ada", 100).await;
    let audit = Audit::builder().store(t.connect().await.unwrap()).build().unwrap();
    audit
        .within(scope(AuditContext::user("ann"), async {
            let outcome =
                t.db.transaction::<_, (), DbErr>(|txn| Box::pin(async move { overdraw(txn, row.id).await }))
                    .await;
            assert!(outcome.unwrap_err().to_string().contains("not covered"));
            audit.flush().await.expect("flushed");
        }))
        .await;
    let entry = only_entry(t).await;
    assert_eq!((entry.action.as_str(), entry.status.as_str()), ("overdraw", "failed"));
    assert_eq!(entry.details.as_deref(), Some("Custom Error: not covered"));
    assert_eq!(entry.actor_id.as_deref(), Some("ann"));
});

db_test!(c12_failures_are_logged_by_hand_and_can_be_switched_off, async |t| {
    log_failure(&t.db, Operation::new("login", "session"), "wrong password").await.unwrap();
    let mut config = Config::default();
    config.log_failures = false;
    let audit = Audit::builder().config(config).build().unwrap();
    audit.within(log_failure(&t.db, Operation::new("login", "session"), "again")).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!((entry.status.as_str(), entry.severity.as_str()), ("failed", "medium"));
});

#[derive(Debug)]
struct JobError(String);

impl std::fmt::Display for JobError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DbErr> for JobError {
    fn from(error: DbErr) -> Self {
        Self(error.to_string())
    }
}

db_test!(c10_a_job_carries_actor_and_tenant_and_is_recorded, async |t| {
    create_table(t, account::Entity).await;
    let row = crate::fixtures::quiet_account(&t.db, "Ada", 100).await;
    let job = scope(AuditContext::user("ann").tenant("acme"), async {
        AuditTask::new("interest").resource_type("Account")
    })
    .await;
    // As it would travel in a queue's payload.
    let payload = serde_json::to_string(job.context()).unwrap();
    let job =
        AuditTask::with_context("interest", serde_json::from_str(&payload).unwrap()).resource_type("Account");
    job.run(&t.db, async {
        set_balance(&t.db, row.id, 101).await.map_err(|error| JobError(error.to_string()))
    })
    .await
    .unwrap();
    let failed: Result<(), JobError> = job.run(&t.db, async { Err(JobError("no rate".into())) }).await;
    assert_eq!(failed.unwrap_err().0, "no rate");
    job.log_action(&t.db, "cleanup", row.id).await.unwrap();
    let (db, id) = (t.db.clone(), row.id);
    job.spawn(async move { set_balance(&db, id, 102).await.unwrap() }).await.unwrap();
    let all = entries(t).await;
    let seen: Vec<_> = all.iter().map(|e| format!("{} {} {}", e.action, e.resource_type, e.status)).collect();
    assert_eq!(
        seen,
        [
            "update Account success",
            "run Account success",
            "run Account failed",
            "cleanup Account success",
            "update Account success"
        ]
    );
    for entry in &all {
        assert_eq!((entry.actor_id.as_deref(), entry.tenant.as_deref()), (Some("ann"), Some("acme")));
        assert_eq!(entry.metadata.as_deref(), Some(r#"{"task":"interest"}"#));
    }
});

mod seeding {
    //! A migration that changes data through the hooks.

    use sea_orm_migration::prelude::*;

    pub(super) struct Migrator;

    impl MigratorTrait for Migrator {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            vec![Box::new(Seed)]
        }
    }

    struct Seed;

    impl MigrationName for Seed {
        fn name(&self) -> &'static str {
            "m20260102_000001_seed"
        }
    }

    #[async_trait::async_trait]
    impl MigrationTrait for Seed {
        async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
            let db = manager.get_connection();
            let row = sea_orm::ActiveModelTrait::insert(crate::fixtures::account("seed", 1), db).await?;
            crate::fixtures::set_balance(db, row.id, 2).await?;
            sea_orm::ModelTrait::delete(row, db).await?;
            Ok(())
        }

        async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
            Ok(())
        }
    }
}

db_test!(c9_what_a_transactions_service_logs_carries_its_id, async |t| {
    create_table(t, account::Entity).await;
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let ann = AuditContext::user("ann").tenant("acme");
    let transaction = db.with_context(ann).begin().await.unwrap();
    transaction.service().log_operation(Operation::new("transfer", "BankTransfer").id(7)).await.unwrap();
    crate::fixtures::account("Ada", 1).insert(&transaction).await.unwrap();
    let ben = AuditContext::user("ben");
    let operation = || Operation::new("approve", "BankTransfer").id(7);
    transaction.service().with_context(ben).log_operation(operation()).await.unwrap();
    let named = AuditContext::user("eve").transaction_id("month end");
    transaction.service().with_context(named).log_operation(operation()).await.unwrap();
    let id = transaction.transaction_id().to_owned();
    transaction.commit().await.unwrap();
    let told: Vec<_> =
        entries(t).await.into_iter().map(|e| (e.actor_id.unwrap(), e.transaction_id.unwrap())).collect();
    let expected = [("ann", id.as_str()), ("ann", &id), ("ben", &id), ("eve", "month end")];
    assert_eq!(told, expected.map(|(who, id)| (who.to_owned(), id.to_owned())));
});

db_test!(c9_what_is_logged_over_an_audited_transaction_carries_its_id, async |t| {
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let transaction = db.begin().await.unwrap();
    let operation = || Operation::new("approve", "BankTransfer").id(7);
    scope(AuditContext::user("ann"), operation().log(&transaction)).await.unwrap();
    let nested = transaction.begin().await.unwrap();
    scope(AuditContext::user("ben"), log_operation(&nested, operation())).await.unwrap();
    nested.commit().await.unwrap();
    let named = AuditContext::user("eve").transaction_id("month end");
    scope(named, log_manually(&transaction, Actor::user("cleo"), operation())).await.unwrap();
    let id = transaction.transaction_id().to_owned();
    transaction.commit().await.unwrap();
    // Over the connection itself there is none.
    scope(AuditContext::user("dan"), operation().log(&db)).await.unwrap();
    let told: Vec<_> =
        entries(t).await.into_iter().map(|e| (e.actor_id.unwrap(), e.transaction_id)).collect();
    let expected =
        [("ann", Some(id.as_str())), ("ben", Some(&id)), ("cleo", Some("month end")), ("dan", None)];
    assert_eq!(told, expected.map(|(who, id)| (who.to_owned(), id.map(str::to_owned))));
});

/// As an application may wrap its connection.
struct Wrapped<C>(C);

#[async_trait::async_trait]
impl<C: ConnectionTrait> ConnectionTrait for Wrapped<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.0.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.0.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.0.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.0.query_all_raw(statement).await
    }

    fn is_mock_connection(&self) -> bool {
        self.0.is_mock_connection()
    }
}

db_test!(c8_functions_over_a_bound_connection_act_in_its_context, async |t| {
    let audit = Audit::builder().build().unwrap();
    let db = audit.connect(t.db.clone());
    let bound = db.with_context(AuditContext::user("ann").tenant("acme").request_id("r"));
    let operation = || Operation::new("approve", "BankTransfer").id(7);
    let outer = AuditContext::user("ben").tenant("globex");
    operation().log(&bound).await.unwrap();
    scope(outer.clone(), operation().log(&bound)).await.unwrap();
    scope(outer.clone(), operation().log(&Wrapped(bound.clone()))).await.unwrap();
    let transaction = bound.begin().await.unwrap();
    log_action(&transaction, "approve", Resource::new("BankTransfer"), serde_json::Map::new()).await.unwrap();
    transaction.commit().await.unwrap();
    // What is said for this very call counts instead.
    log_manually(&bound, Actor::user("cleo"), operation()).await.unwrap();
    let said = bound.service().with_context(AuditContext::user("dan"));
    said.log_operation(operation()).await.unwrap();
    said.log_manually(Actor::user("eve"), operation()).await.unwrap();
    scope(outer.clone(), operation().log(&db)).await.unwrap();
    let told: Vec<_> = entries(t)
        .await
        .into_iter()
        .map(|entry| (entry.actor_id.unwrap_or_default(), entry.tenant, entry.request_id))
        .collect();
    let acme = |who: &str| (who.to_owned(), Some("acme".to_owned()), Some("r".to_owned()));
    let ann = acme("ann");
    let (dan, eve) = (("dan".to_owned(), None, None), ("eve".to_owned(), None, None));
    let ben = ("ben".to_owned(), Some("globex".to_owned()), None);
    assert_eq!(told, [ann.clone(), ann.clone(), ann.clone(), ann, acme("cleo"), dan, eve, ben]);

    let violation = log_violation(&bound, Violation::new("odd", "acme's")).await.unwrap().unwrap();
    let export = log_export(&bound, Export::new("csv", "Thing")).await.unwrap().unwrap();
    scope(outer.clone(), status_of(&bound, violation)).await.unwrap();
    scope(outer.clone(), log_download(&bound, export)).await.unwrap();
    let globex = db.with_context(outer);
    status_of(&globex, violation).await.expect_err("it is acme's");
    log_download(&globex, export).await.expect_err("it is acme's");
    set_status(&globex, violation, ViolationStatus::Closed, None).await.expect_err("it is acme's");
});

db_test!(i7_a_history_over_a_bound_connection_is_of_its_tenant, async |t| {
    create_table(t, account::Entity).await;
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let acme = db.with_context(AuditContext::user(1).tenant("acme"));
    let globex = db.with_context(AuditContext::user(1).tenant("globex"));
    let row = crate::fixtures::account("Ada", 1).insert(&acme).await.unwrap();
    let history = account::Entity::history(row.id);
    assert_eq!(history.all(&acme).await.unwrap().len(), 1);
    assert_eq!(history.all(&globex).await.unwrap().len(), 0);
    let now = account::Entity::as_of(chrono::Utc::now());
    assert!(now.one(&globex, row.id).await.unwrap().is_none());
    assert_eq!((now.all(&globex).await.unwrap().len(), now.all(&acme).await.unwrap().len()), (0, 1));
    // Within a task of another tenant, too.
    let context = AuditContext::user(2).tenant("globex");
    assert_eq!(scope(context, history.all(&acme)).await.unwrap().len(), 1);
});

db_test!(c9_a_transactions_service_makes_up_no_actor, async |t| {
    for demanded in [false, true] {
        let mut config = Config::default();
        config.require_actor = demanded;
        let db = Audit::builder().config(config).build().unwrap().connect(t.db.clone());
        let transaction = db.begin().await.unwrap();
        let logged = transaction.service().log_operation(Operation::new("x", "y")).await;
        assert_eq!(logged.is_err(), demanded, "{logged:?}");
        transaction.commit().await.unwrap();
    }
    assert_eq!(only_entry(t).await.actor_type, "system");
});

#[audit_action(entity_type = "account", action = "review")]
async fn review(db: &impl ConnectionTrait) -> Result<(), audit_seaorm::Error> {
    _ = db;
    Ok(())
}

// They followed the installed audit, or the default settings, whatever the connection's were.
db_test!(s9_what_is_logged_by_hand_over_a_connection_follows_its_audit, async |t| {
    let mut config = Config::default();
    config.require_actor = true;
    config.skip_resources = vec!["skipped".to_owned()];
    let db = Audit::builder().config(config).build().unwrap().connect(t.db.clone());
    let transaction = db.begin().await.unwrap();
    let done = [
        Operation::new("approve", "order").log(&db).await,
        Operation::new("approve", "order").log(&transaction).await,
        log_export(&db, Export::new("order", "csv")).await.map(|_| ()),
        log_failure(&db, Operation::new("approve", "order"), "no").await,
    ];
    for (at, done) in done.into_iter().enumerate() {
        assert!(matches!(done, Err(audit_seaorm::Error::NoActor { .. })), "{at}: {done:?}");
    }
    // What was done is done, whether it can be recorded or not.
    review(&db).await.unwrap();
    transaction.commit().await.unwrap();
    let bound = db.with_context(AuditContext::user(7));
    for resource in ["skipped", "order"] {
        Operation::new("approve", resource).log(&bound).await.unwrap();
    }
    assert_eq!(only_entry(t).await.resource_type, "order");
});

db_test!(c13_migrations_are_not_logged, async |t| {
    use sea_orm_migration::MigratorTrait;
    create_table(t, account::Entity).await;
    seeding::Migrator::up(&t.db, None).await.unwrap();
    assert_eq!(entries(t).await, []);
    let mut config = Config::default();
    config.log_migrations = true;
    let audit = Audit::builder().config(config).build().unwrap();
    audit.within(seeding::Migrator::refresh(&t.db)).await.unwrap();
    assert_eq!(entries(t).await.len(), 3, "unless one wants them to be");
});

db_test!(c13_suspended_code_is_not_logged, async |t| {
    create_table(t, account::Entity).await;
    suspended(async {
        let row = crate::fixtures::account("Ada", 1).insert(&t.db).await.unwrap();
        set_balance(&t.db, row.id, 2).await.unwrap();
        Operation::new("x", "y").log(&t.db).await.unwrap();
    })
    .await;
    assert_eq!(entries(t).await, []);
});
