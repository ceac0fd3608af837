//! SeaORM's role-based access control over captured statements.

use std::time::Duration;

use audit_seaorm::{Audit, AuditContext, Operation, RestrictedAuditConnection, entity::audit_log, scope};
use audit_tests::{TestDb, db_test};
use sea_orm::rbac::{RbacContext, RbacUserId, schema};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, Database, DatabaseConnection, DbErr, EntityTrait, ModelTrait, Set,
    Statement, TransactionTrait,
};
use tokio::time::timeout;

use crate::fixtures::shop::{self, line, order};
use crate::fixtures::{changes, entries, only_entry};

const CLERK: RbacUserId = RbacUserId(7);

/// An order with two lines; clerks may read everything, and create and update orders.
async fn set_up(t: &TestDb, db: &DatabaseConnection) -> Result<(), DbErr> {
    for table in shop::TABLES {
        t.execute(table).await?;
    }
    t.execute("INSERT INTO shop_order (id, state) VALUES (1, 'open')").await?;
    t.execute("INSERT INTO shop_line (id, order_id, article) VALUES (11, 1, 'tea'), (12, 1, 'cup')").await?;
    schema::create_tables(&t.db, Default::default()).await?;
    let mut rules = RbacContext::load(&t.db).await?;
    rules.add_tables(&t.db, &["shop_order", "shop_line", "*"]).await?;
    rules.add_crud_permissions(&t.db).await?;
    rules.add_roles(&t.db, &["clerk"]).await?;
    rules.assign_user_role(&t.db, &[(7, "clerk")]).await?;
    rules.add_role_permissions(&t.db, "clerk", &["select"], &["*"]).await?;
    rules.add_role_permissions(&t.db, "clerk", &["insert", "update"], &["shop_order"]).await?;
    db.load_rbac_from(&t.db).await
}

async fn connect(t: &TestDb) -> (Audit, RestrictedAuditConnection) {
    set_up(t, &t.db).await.expect("the rules");
    let audit = Audit::builder().build().expect("an audit");
    let db = audit.connect(t.db.clone()).with_context(AuditContext::user(7).named("Ann").tenant("acme"));
    (audit, db.restricted_for(CLERK).expect("rules"))
}

/// What an entry says of a denial; it must hold no values.
fn denial(entry: &audit_log::Model) -> String {
    assert_eq!((entry.status.as_str(), entry.severity.as_str()), ("failed", "high"));
    assert!(entry.changes.is_none() && entry.old_data.is_none() && entry.new_data.is_none(), "{entry:?}");
    let metadata: serde_json::Value = serde_json::from_str(entry.metadata.as_deref().unwrap()).unwrap();
    format!("{} {} {}", entry.action, metadata["permission"].as_str().unwrap(), entry.resource_type)
}

db_test!(c17_permitted_statements_are_captured_and_denied_ones_recorded, async |t| {
    let (audit, db) = connect(t).await;
    let order = order::Entity::find_by_id(1).one(&db).await.unwrap().unwrap();
    order::ActiveModel { id: Set(1), state: Set("paid".into()) }.update(&db).await.unwrap();
    let entry = only_entry(t).await;
    assert_eq!(
        (entry.action.as_str(), entry.actor_name.as_deref()),
        ("update", Some("Ann")),
        "once, not by hooks as well"
    );
    assert_eq!(changes(&entry)["state"]["new"], "paid");

    let error = order.delete(&db).await.unwrap_err();
    assert!(matches!(&error, DbErr::AccessDenied { permission, .. } if permission == "delete"), "{error}");
    let secret = line::ActiveModel { id: Set(90), order_id: Set(1), article: Set("very secret".into()) };
    assert!(matches!(secret.insert(&db).await.unwrap_err(), DbErr::AccessDenied { .. }));
    line::Entity::delete_many().exec(&db).await.unwrap_err();
    audit.flush().await.unwrap();
    let all = entries(t).await;
    assert_eq!(
        all[1..].iter().map(denial).collect::<Vec<_>>(),
        ["denied delete Order", "denied insert Line", "denied delete Line"]
    );
    assert_eq!((all[1].actor_id.as_deref(), all[1].tenant.as_deref()), (Some("7"), Some("acme")));
    assert!(all[1].hash_matches() == Some(true) && !format!("{all:?}").contains("very secret"));
    assert_eq!(t.value::<i64>("SELECT count(*) FROM shop_line").await.unwrap(), 2);
    assert_eq!(t.value::<i64>("SELECT count(*) FROM shop_order").await.unwrap(), 1);
});

// It waited for the only connection, which the transaction of the same task had, until the pool gave up.
db_test!(c17_a_denial_beside_an_open_transaction_is_answered_and_recorded, async |t| {
    let mut options = t.options();
    options.max_connections(1);
    let pool = Database::connect(options).await.unwrap();
    set_up(t, &pool).await.unwrap();
    let audit = Audit::builder().build().unwrap();
    let db = audit.connect(pool).restricted_for(CLERK).unwrap();
    let transaction = db.begin().await.unwrap();
    order::ActiveModel { id: Set(1), state: Set("paid".into()) }.update(&transaction).await.unwrap();
    let denied = timeout(Duration::from_secs(4), line::Entity::delete_by_id(11).exec(&db)).await;
    assert!(matches!(denied.expect("no answer").unwrap_err(), DbErr::AccessDenied { .. }));
    transaction.commit().await.unwrap();
    audit.flush().await.expect("flushed");
    let made: Vec<_> = entries(t).await.into_iter().map(|entry| entry.action).collect();
    assert_eq!((made, audit.metrics().lost), (vec!["update".into(), "denied".into()], 0));
});

db_test!(c12_a_denial_survives_the_rollback_of_its_transaction, async |t| {
    // One connection: what is written apart has to wait for the transaction, and the transaction not for it.
    let mut options = t.options();
    options.max_connections(1);
    let pool = Database::connect(options).await.unwrap();
    set_up(t, &pool).await.unwrap();
    let audit = Audit::builder().build().unwrap();
    let db = audit.connect(pool).restricted_for(CLERK).unwrap();
    let transaction = db.begin().await.unwrap();
    order::ActiveModel { id: Set(1), state: Set("paid".into()) }.update(&transaction).await.unwrap();
    let nested = transaction.begin().await.unwrap();
    line::Entity::delete_by_id(11).exec(&nested).await.unwrap_err();
    nested.rollback().await.unwrap();
    // Nothing was sent, so the transaction is as good as before.
    order::ActiveModel { id: Set(2), state: Set("new".into()) }.insert(&transaction).await.unwrap();
    transaction.rollback().await.unwrap();
    audit.flush().await.expect("flushed");
    let entry = only_entry(t).await;
    assert_eq!(denial(&entry), "denied delete Line");
    // Nobody said who acts: the user whom the rules are about.
    assert_eq!((entry.actor_id.as_deref(), audit.metrics().lost), (Some("7"), 0));

    let done = db
        .transaction::<_, _, DbErr>(|transaction| {
            Box::pin(async move {
                order::ActiveModel { id: Set(1), state: Set("sent".into()) }.update(transaction).await?;
                line::Entity::delete_by_id(11).exec(transaction).await
            })
        })
        .await;
    assert!(done.is_err());
    audit.flush().await.expect("flushed");
    let all: Vec<String> = entries(t).await.iter().map(denial).collect();
    assert_eq!(all, ["denied delete Line", "denied delete Line"]);
    assert_eq!(t.column::<String>("SELECT state FROM shop_order").await.unwrap(), ["open"]);
});

db_test!(c17_raw_sql_is_refused_and_its_values_are_kept_nowhere, async |t| {
    let (audit, db) = connect(t).await;
    let sql = "UPDATE shop_line SET article = 'very secret'";
    let statement = || Statement::from_string(t.backend, sql);
    for error in [
        db.execute_unprepared(sql).await.unwrap_err(),
        db.execute_raw(statement()).await.unwrap_err(),
        db.query_one_raw(statement()).await.unwrap_err(),
        db.query_all_raw(statement()).await.unwrap_err(),
    ] {
        assert!(matches!(&error, DbErr::RbacError(text) if !text.contains("secret")), "{error}");
    }
    audit.flush().await.unwrap();
    let all = entries(t).await;
    assert_eq!(all.iter().map(denial).collect::<Vec<_>>(), ["denied raw_sql Line"; 4]);
    assert!(!format!("{all:?}").contains("very secret"));
    assert_eq!(
        t.value::<i64>("SELECT count(*) FROM shop_line WHERE article = 'very secret'").await.unwrap(),
        0
    );
});

db_test!(c17_users_and_tables_that_the_rules_do_not_know_are_denied_and_recorded, async |t| {
    let (audit, db) = connect(t).await;
    // A table that no rule names, and a user without a role.
    crate::fixtures::account("Ada", 1).insert(&db).await.unwrap_err();
    let stranger = audit.connect(t.db.clone()).restricted_for(RbacUserId(99)).unwrap();
    let asked = scope(AuditContext::user("eve"), order::Entity::find().all(&stranger));
    assert!(matches!(asked.await.unwrap_err(), DbErr::RbacError(_)));
    audit.flush().await.unwrap();
    let all = entries(t).await;
    assert_eq!(all.iter().map(denial).collect::<Vec<_>>(), ["denied insert Account", "denied select Order"]);
    assert_eq!(all[1].actor_id.as_deref(), Some("eve"));
    assert!(all[1].metadata.as_deref().unwrap().contains("99"));
});

db_test!(c17_without_rules_there_is_no_restricted_connection, on(sqlite), async |t| {
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    assert!(db.restricted_for(CLERK).is_err());
});

db_test!(c17_who_may_insert_into_the_log_is_recorded_over_restricted_connections, async |t| {
    set_up(t, &t.db).await.unwrap();
    let mut rules = RbacContext::load(&t.db).await.unwrap();
    rules.add_tables(&t.db, &["audit_log"]).await.unwrap();
    rules.add_role_permissions(&t.db, "clerk", &["insert", "delete"], &["*"]).await.unwrap();
    t.db.load_rbac_from(&t.db).await.unwrap();
    // By hooks, over SeaORM's own.
    let db = t.db.restricted_for(CLERK).unwrap();
    let row = order::ActiveModel { id: Set(2), state: Set("new".into()) }.insert(&db).await.unwrap();
    let row = order::ActiveModel { state: Set("paid".into()), ..row.into() }.update(&db).await.unwrap();
    row.delete(&db).await.unwrap();
    let transaction = db.begin().await.unwrap();
    order::ActiveModel { id: Set(3), state: Set("new".into()) }.insert(&transaction).await.unwrap();
    transaction.commit().await.unwrap();
    // By hand, over both.
    Operation::new("approve", "order").id(1).log(&db).await.unwrap();
    let audited = Audit::builder().build().unwrap().connect(t.db.clone()).restricted_for(CLERK).unwrap();
    Operation::new("approve", "order").id(2).log(&audited).await.unwrap();
    let actions: Vec<String> = entries(t).await.into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["create", "update", "delete", "create", "approve", "approve"]);
});
