//! How many statements an audited write is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use audit_seaorm::Audit;
use audit_tests::db_test;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveModelTrait, EntityTrait, ModelTrait, Set};

use crate::fixtures::{account, create_table, entries};

db_test!(c18_an_audited_write_is_one_statement, on(postgres), async |t| {
    create_table(t, account::Entity).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut counted = t.db.clone();
    let counter = Arc::clone(&sent);
    counted.set_metric_callback(move |_| _ = counter.fetch_add(1, Ordering::Relaxed));
    let db = Audit::builder().build().unwrap().connect(counted);
    // What the catalogue says is asked once.
    let row = crate::fixtures::account("Ada", 100).insert(&db).await.unwrap();
    sent.store(0, Ordering::Relaxed);

    let second = crate::fixtures::account("Bob", 100).insert(&db).await.unwrap();
    assert_eq!(sent.swap(0, Ordering::Relaxed), 1);
    let change = account::ActiveModel { note: Set(Some("x".into())), ..row.into() };
    let row = change.update(&db).await.unwrap();
    assert_eq!(sent.swap(0, Ordering::Relaxed), 1);
    account::Entity::update_many()
        .col_expr(account::Column::Overdraft, Expr::value(7))
        .exec(&db)
        .await
        .unwrap();
    assert_eq!(sent.swap(0, Ordering::Relaxed), 1);
    row.delete(&db).await.unwrap();
    assert_eq!(sent.swap(0, Ordering::Relaxed), 1);
    assert_eq!(entries(t).await.len(), 6);

    // An old value that looks like a secret is for the program's sanitiser: not in one statement, but right.
    let secret = account::ActiveModel { note: Set(Some("pay 4111 1111 1111 1111".into())), ..second.into() };
    let row = secret.update(&db).await.unwrap();
    row.delete(&db).await.unwrap();
    assert!(sent.swap(0, Ordering::Relaxed) > 2);
    let recorded = entries(t).await.split_off(6);
    assert_eq!(recorded.len(), 2);
    assert!(
        recorded.iter().all(|entry| entry.changes.as_deref().unwrap().contains("pay ***")),
        "{recorded:#?}"
    );
});

db_test!(c18_a_table_that_is_not_audited_costs_nothing, async |t| {
    t.execute("CREATE TABLE other (id INT NOT NULL PRIMARY KEY)").await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let mut counted = t.db.clone();
    let counter = Arc::clone(&sent);
    counted.set_metric_callback(move |_| _ = counter.fetch_add(1, Ordering::Relaxed));
    let db = Audit::builder().build().unwrap().connect(counted);
    for n in 0..3 {
        let sql = format!("INSERT INTO other VALUES ({n})");
        let statement = sea_orm::Statement::from_string(t.backend, sql);
        sent.store(0, Ordering::Relaxed);
        sea_orm::ConnectionTrait::execute_raw(&db, statement).await.unwrap();
    }
    assert_eq!(sent.load(Ordering::Relaxed), 1);
    assert_eq!(entries(t).await, []);
});
