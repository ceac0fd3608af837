//! C8, R1: everything that is known of who acts, from where and within what, is in the columns of every entry, whichever
//! way it was written.

use audit_seaorm::entity::audit_log;
use audit_seaorm::{Actor, Audit, AuditContext, Config, FailurePolicy, Operation, scope};
use audit_tests::{TestDb, db_test};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, ModelTrait, Set, TransactionTrait,
    prelude::Decimal,
};
use serde_json::{Value, json};

use crate::fixtures::{account, create_table, entries};

/// A context in which everything is set, with what has to be masked in it.
fn full() -> AuditContext {
    AuditContext::new(Actor::user("u'7"))
        .named("Ann \"A\" Ä")
        .email("ann@example.org")
        .tenant("acme")
        .ip("2001:db8::7")
        .user_agent("Firefox/128 (X11; \\ 'quoted')")
        .session_id("session-1")
        .request_id("request-1")
        .request_data(json!({"path": "/accounts", "password": "hunter2", "query": ["a", 1, null]}))
        .reason("month end")
        .transaction_id("transaction-1")
        .with("department", json!({"name": "treasury"}))
}

/// That every entry has all of it; and that there are this many.
async fn assert_full(t: &TestDb, seen: &mut usize, expected: usize, way: &str) {
    let new = entries(t).await.split_off(*seen);
    *seen += new.len();
    assert_eq!(new.len(), expected, "{way}");
    for entry in &new {
        let audit_log::Model { actor_id, actor_name, actor_email, tenant, .. } = entry;
        assert_eq!((entry.actor_type.as_str(), actor_id.as_deref()), ("user", Some("u'7")), "{way}");
        assert_eq!(actor_name.as_deref(), Some("Ann \"A\" Ä"), "{way}");
        assert_eq!(actor_email.as_deref(), Some("ann@example.org"), "{way}");
        assert_eq!(tenant.as_deref(), Some("acme"), "{way}");
        assert_eq!(entry.ip_address.as_deref(), Some("2001:db8::7"), "{way}");
        assert_eq!(entry.user_agent.as_deref(), Some("Firefox/128 (X11; \\ 'quoted')"), "{way}");
        assert_eq!(entry.session_id.as_deref(), Some("session-1"), "{way}");
        assert_eq!(entry.request_id.as_deref(), Some("request-1"), "{way}");
        assert_eq!(
            entry.request_data.as_deref(),
            Some(r#"{"password":"***","path":"/accounts","query":["a",1,null]}"#),
            "{way}"
        );
        assert_eq!(entry.reason.as_deref(), Some("month end"), "{way}");
        assert_eq!(entry.transaction_id.as_deref(), Some("transaction-1"), "{way}");
        let metadata: Value = serde_json::from_str(entry.metadata.as_deref().unwrap()).unwrap();
        assert_eq!(metadata["department"], json!({"name": "treasury"}), "{way}");
        assert_eq!(entry.hash_matches(), Some(true), "{way}");
    }
}

/// A row's life: three entries, one of them with a text that PostgreSQL can't be left alone with.
async fn life<C: ConnectionTrait>(db: &C) -> Result<(), DbErr> {
    let row = crate::fixtures::account("Ada", 1000).insert(db).await?;
    let change = account::ActiveModel {
        balance: Set(Decimal::new(1, 2)),
        note: Set(Some("pay 4111 1111 1111 1111".into())),
        ..row.into()
    };
    change.update(db).await?.delete(db).await.map(|_| ())
}

/// What only the connection sees: two rows, each made, changed and deleted.
async fn bulk_life<C: ConnectionTrait>(db: &C) -> Result<(), DbErr> {
    let rows = [crate::fixtures::account("Bob", 1), crate::fixtures::account("Cy", 2)];
    account::Entity::insert_many(rows).exec(db).await?;
    account::Entity::update_many().col_expr(account::Column::Overdraft, Expr::value(5)).exec(db).await?;
    db.execute_unprepared("DELETE FROM account").await.map(|_| ())
}

db_test!(c8_the_whole_context_is_stored_on_every_way, async |t| -> Result<(), DbErr> {
    create_table(t, account::Entity).await;
    let lenient = |policy| {
        let mut config = Config::default();
        config.on_failure = policy;
        Audit::builder().config(config).build().expect("an audit")
    };
    let mut seen = 0;
    for policy in [FailurePolicy::Block, FailurePolicy::BestEffort] {
        let audit = lenient(policy);
        let way = |way: &str| format!("{policy:?}, {way}");

        audit.within(scope(full(), life(&t.db))).await?;
        assert_full(t, &mut seen, 3, &way("hooks")).await;
        let transaction = t.db.begin().await?;
        audit.within(scope(full(), life(&transaction))).await?;
        transaction.commit().await?;
        assert_full(t, &mut seen, 3, &way("hooks in a transaction")).await;

        let db = audit.connect(t.db.clone());
        scope(full(), life(&db)).await?;
        assert_full(t, &mut seen, 3, &way("the connection, in the task's context")).await;
        let db = db.with_context(full());
        life(&db).await?;
        assert_full(t, &mut seen, 3, &way("the connection, in its own")).await;
        bulk_life(&db).await?;
        assert_full(t, &mut seen, 6, &way("bulk")).await;
        let transaction = db.begin().await?;
        life(&transaction).await?;
        bulk_life(&transaction).await?;
        transaction.commit().await?;
        assert_full(t, &mut seen, 9, &way("the connection's transaction")).await;
    }
    scope(full(), Operation::new("approve", "Account").log(&t.db)).await.unwrap();
    assert_full(t, &mut seen, 1, "by hand").await;
    Ok(())
});
