//! The right actor and the right old values, whatever runs at the same time.

use audit_seaorm::{AuditContext, capture::hooks, entity::audit_log, scope};
use audit_tests::{DbBackend, db_test};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel, Set,
    TransactionTrait, prelude::Decimal,
};
use serde_json::json;

use crate::fixtures::{account, changes, create_table, entries, quiet_account, set_balance, watched};

const TASKS: i64 = 200;
const FAMILIES: i64 = 60;

/// SQLite and MariaDB may refuse a write for a lock that another task holds; it is tried again, as an application would.
macro_rules! retry {
    ($write:expr) => {{
        let mut left = 200;
        loop {
            let outcome: Result<_, DbErr> = $write.await;
            match outcome {
                Ok(value) => break value,
                Err(error) if left > 0 && error.to_string().contains("lock") => {
                    left -= 1;
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }};
}

db_test!(c8_two_hundred_tasks_at_once_keep_their_actors, async |t| {
    create_table(t, account::Entity).await;
    let mut ids = Vec::new();
    for task in 0..TASKS {
        ids.push(quiet_account(&t.db, &format!("owner {task}"), task).await.id);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (task, id) in (0..TASKS).zip(ids.iter().copied()) {
        let db = t.db.clone();
        tasks.spawn(scope(AuditContext::user(task).tenant(task % 7), async move {
            // A failing save in between must leave nothing behind that a later one takes for its own.
            let failing = account::ActiveModel { id: Set(-1), note: Set(None), ..Default::default() };
            assert!(failing.update(&db).await.is_err());
            retry!(set_balance(&db, id, 1000 + task));
            tokio::task::yield_now().await;
            retry!(set_balance(&db, id, 2000 + task));
        }));
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap();
    }
    let all = entries(t).await;
    assert_eq!(all.len(), 2 * ids.len());
    for (task, id) in (0..TASKS).zip(ids) {
        let money = |cents: i64| Decimal::new(cents, 2).to_string();
        let own: Vec<_> = all.iter().filter(|e| e.resource_id.as_deref() == Some(&id.to_string())).collect();
        assert_eq!(own.len(), 2);
        for entry in &own {
            assert_eq!(entry.actor_id.as_deref(), Some(task.to_string().as_str()));
            assert_eq!(entry.tenant.as_deref(), Some((task % 7).to_string().as_str()));
        }
        assert_eq!(changes(own[0]), json!({"balance": {"old": money(task), "new": money(1000 + task)}}));
        assert_eq!(
            changes(own[1]),
            json!({"balance": {"old": money(1000 + task), "new": money(2000 + task)}})
        );
    }
});

/// Saves, in one transaction and at the same time, two children whose hook saves their parents, and an account.
async fn save_a_family(
    db: &DatabaseConnection,
    children: [i32; 2],
    account: i64,
    task: i64,
) -> Result<(), DbErr> {
    let transaction = begin(db).await?;
    let rename = async |id: i32, title: String| {
        let child = watched::Entity::find_by_id(id).one(&transaction).await?.expect("the child");
        watched::ActiveModel { title: Set(title), ..child.into_active_model() }.update(&transaction).await
    };
    let (a, b, c) = tokio::join!(
        rename(children[0], format!("{task} a")),
        // Somebody else's, in the middle of the others.
        scope(AuditContext::user(format!("{task}'s deputy")), rename(children[1], format!("{task} b"))),
        set_balance(&transaction, account, 1000 + task),
    );
    a.and(b)?;
    c?;
    assert_eq!(hooks::rows_waiting(&transaction), 0, "every image found its counterpart");
    transaction.commit().await
}

db_test!(c8_nested_and_joined_saves_of_many_tasks_keep_their_actors, async |t| {
    create_table(t, account::Entity).await;
    create_table(t, watched::Entity).await;
    let mut families = Vec::new();
    for task in 0..FAMILIES {
        let new = |title: &str, parent| watched::ActiveModel {
            id: NotSet,
            parent_id: Set(parent),
            title: Set(title.to_owned()),
            slug: NotSet,
            saves: Set(0),
        };
        let family = async {
            let (one, other) = (new("p", None).insert(&t.db).await?, new("p", None).insert(&t.db).await?);
            let a = new("a", Some(one.id)).insert(&t.db).await?;
            let b = new("b", Some(other.id)).insert(&t.db).await?;
            Ok::<_, DbErr>(([a.id, b.id], [one.id, other.id]))
        };
        let (children, parents) = audit_seaorm::suspended(family).await.unwrap();
        families.push((children, parents, quiet_account(&t.db, "Ada", task).await.id));
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (task, (children, _, account)) in (0..FAMILIES).zip(families.clone()) {
        let db = t.db.clone();
        tasks.spawn(scope(AuditContext::user(task).tenant(task % 7), async move {
            retry!(save_a_family(&db, children, account, task));
            assert_eq!(hooks::rows_waiting(&db), 0);
        }));
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap();
    }
    let all = entries(t).await;
    assert_eq!(all.len(), 5 * families.len());
    for (task, (children, parents, account)) in (0..FAMILIES).zip(families) {
        let of = |resource: &str, id: String| {
            let own = |e: &&audit_log::Model| {
                e.resource_type == resource && e.resource_id.as_deref() == Some(id.as_str())
            };
            let own: Vec<_> = all.iter().filter(own).collect();
            assert_eq!(own.len(), 1, "{resource} {id}");
            let actor = own[0].actor_id.clone().unwrap();
            (actor, own[0].tenant.clone(), changes(own[0]))
        };
        let (me, deputy) = (task.to_string(), format!("{task}'s deputy"));
        let tenant = Some((task % 7).to_string());
        for (at, (who, tenant, name)) in [(&me, &tenant, "a"), (&deputy, &None, "b")].into_iter().enumerate()
        {
            let (actor, of_tenant, change) = of("watched", children[at].to_string());
            assert_eq!((&actor, &of_tenant), (who, tenant));
            assert_eq!(change["title"], json!({"old": name, "new": format!("{task} {name}")}));
            // The save within the save.
            let (actor, of_tenant, change) = of("watched", parents[at].to_string());
            assert_eq!((&actor, &of_tenant), (who, tenant));
            assert_eq!(change, json!({"saves": {"old": 1, "new": 2}}));
        }
        let (actor, of_tenant, change) = of("Account", account.to_string());
        assert_eq!((actor, of_tenant), (me, tenant));
        let money = |cents: i64| Decimal::new(cents, 2).to_string();
        assert_eq!(change, json!({"balance": {"old": money(task), "new": money(1000 + task)}}));
    }
});

db_test!(i3_transactions_on_one_row_make_an_unbroken_chain, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 0).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let (db, id) = (t.db.clone(), row.id);
        tasks.spawn(scope(AuditContext::user(task), async move {
            for _ in 0..10 {
                retry!(add_a_cent(&db, id, task));
            }
        }));
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap();
    }
    let all = entries(t).await;
    assert_eq!(all.len(), 80);
    let mut note = json!(null);
    let mut balance = json!("0.00");
    for entry in &all {
        let change = changes(entry);
        assert_eq!(change["note"]["old"], note, "the chain is broken at seq {}", entry.seq);
        note = change["note"]["new"].clone();
        if let Some(change) = change.get("balance") {
            assert_eq!(change["old"], balance, "the chain is broken at seq {}", entry.seq);
            balance = change["new"].clone();
        }
    }
    let stored = account::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap();
    assert_eq!((json!(stored.note), json!(format!("{:.2}", stored.balance))), (note, balance));
});

async fn add_a_cent(db: &DatabaseConnection, id: i64, task: i32) -> Result<(), DbErr> {
    let transaction = begin(db).await?;
    let current = account::Entity::find_by_id(id).one(&transaction).await?.expect("the row");
    let mut change = current.clone().into_active_model();
    // Read without a lock: what the model says may be stale, what the entry says may not.
    change.balance = Set(current.balance + Decimal::new(1, 2));
    change.note = Set(Some(format!("{task} {}", uuid::Uuid::now_v7())));
    change.update(&transaction).await?;
    transaction.commit().await
}

async fn begin(db: &DatabaseConnection) -> Result<sea_orm::DatabaseTransaction, DbErr> {
    let mut options = sea_orm::TransactionOptions::default();
    if db.get_database_backend() == DbBackend::Sqlite {
        // A transaction that reads first and writes later can't wait for another writer on SQLite.
        options.sqlite_transaction_mode = Some(sea_orm::SqliteTransactionMode::Immediate);
    }
    db.begin_with_options(options).await
}

db_test!(c8_saves_joined_in_one_task_do_not_mix, async |t| {
    create_table(t, account::Entity).await;
    let (a, b, c) = (
        quiet_account(&t.db, "a", 1).await,
        quiet_account(&t.db, "b", 2).await,
        quiet_account(&t.db, "c", 3).await,
    );
    let transaction = t.db.begin().await.unwrap();
    // Three rows, and one of them twice at the same time, over one connection.
    let (a1, b1, c1, a2) = tokio::join!(
        scope(AuditContext::user("first"), set_balance(&transaction, a.id, 100)),
        scope(AuditContext::user("second"), set_balance(&transaction, b.id, 200)),
        set_balance(&transaction, c.id, 300),
        scope(AuditContext::user("fourth"), set_balance(&transaction, a.id, 400)),
    );
    for outcome in [a1, b1, c1, a2] {
        outcome.unwrap();
    }
    transaction.commit().await.unwrap();
    let all = entries(t).await;
    let of = |id: i64| -> Vec<_> {
        let own = all.iter().filter(|e| e.resource_id.as_deref() == Some(&id.to_string()));
        own.map(|e| (e.actor_id.clone().unwrap_or_default(), changes(e)["balance"].clone())).collect()
    };
    assert_eq!(of(b.id), [("second".to_owned(), json!({"old": "0.02", "new": "2.00"}))]);
    assert_eq!(of(c.id), [(String::new(), json!({"old": "0.03", "new": "3.00"}))]);
    let chain = of(a.id);
    assert_eq!(chain[0].1["old"], json!("0.01"));
    for pair in chain.windows(2) {
        assert_eq!(pair[0].1["new"], pair[1].1["old"]);
    }
    let stored = account::Entity::find_by_id(a.id).one(&t.db).await.unwrap().unwrap();
    assert_eq!(chain.last().unwrap().1["new"], json!(format!("{:.2}", stored.balance)));
});

db_test!(c8_same_row_joined_in_one_scope_makes_a_chain, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    let transaction = t.db.begin().await.unwrap();
    let saves = (2..12).map(|cents| set_balance(&transaction, row.id, cents));
    for outcome in futures_util::future::join_all(saves).await {
        outcome.unwrap();
    }
    transaction.commit().await.unwrap();
    let mut balance = json!("0.01");
    for entry in entries(t).await {
        let change = changes(&entry)["balance"].clone();
        assert_eq!(change["old"], balance);
        balance = change["new"].clone();
    }
    let stored = account::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap();
    assert_eq!(balance, json!(format!("{:.2}", stored.balance)));
});

db_test!(c8_failing_saves_leak_no_memory, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    for _ in 0..20 {
        scope(AuditContext::user(1), async {
            for _ in 0..10 {
                let failing = account::ActiveModel {
                    id: Set(row.id),
                    // No database takes an owner of ten digits of balance too many.
                    balance: Set("99999999999999999999999.99".parse().unwrap()),
                    note: Set(Some("x".into())),
                    ..Default::default()
                };
                if t.db.get_database_backend() == DbBackend::Sqlite {
                    // SQLite takes anything: let a trigger refuse it.
                    t.execute("CREATE TRIGGER IF NOT EXISTS no BEFORE UPDATE ON account BEGIN SELECT RAISE(ABORT, 'no'); END")
                        .await
                        .unwrap();
                }
                assert!(failing.update(&t.db).await.is_err());
            }
        })
        .await;
    }
    assert_eq!(hooks::rows_waiting(&t.db), 0, "rows wait for nothing");
    assert_eq!(entries(t).await, []);
});

db_test!(c8_the_outer_actor_counts_again_after_a_nested_scope, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "a", 1).await;
    scope(AuditContext::user("outer").tenant("acme"), async {
        set_balance(&t.db, row.id, 2).await.unwrap();
        scope(AuditContext::user("inner"), async { set_balance(&t.db, row.id, 3).await.unwrap() }).await;
        set_balance(&t.db, row.id, 4).await.unwrap();
        audit_seaorm::spawn({
            let (db, id) = (t.db.clone(), row.id);
            async move { set_balance(&db, id, 5).await.unwrap() }
        })
        .await
        .unwrap();
    })
    .await;
    set_balance(&t.db, row.id, 6).await.unwrap();
    let actors: Vec<_> =
        entries(t).await.into_iter().map(|e| format!("{:?} {:?}", e.actor_id, e.tenant)).collect();
    assert_eq!(
        actors,
        [
            r#"Some("outer") Some("acme")"#,
            r#"Some("inner") None"#,
            r#"Some("outer") Some("acme")"#,
            r#"Some("outer") Some("acme")"#,
            "None None",
        ]
    );
});
