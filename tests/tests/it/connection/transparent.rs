//! I4: through the connection everything comes back as without it.

use std::sync::Arc;
use std::time::Duration;

use audit_seaorm::{Audit, AuditContext};
use audit_tests::{DbBackend, db_test};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, ModelTrait,
    PaginatorTrait, QueryFilter, QueryOrder, Set, Statement, TransactionTrait,
};

use super::connect;
use crate::fixtures::{account, changes, create_table, entries, keys, quiet_account, set_up_shelves};

/// What a user sees of a result.
pub(super) fn outcome<T: std::fmt::Debug>(result: Result<T, DbErr>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => {
            let kind = format!("{error:?}");
            let kind = kind.split('(').next().unwrap_or_default().to_owned();
            format!("{kind} {:?}", error.sql_err())
        }
    }
}

/// One operation; `None` after the last.
async fn operation<C>(db: &C, number: usize) -> Option<String>
where
    C: ConnectionTrait + TransactionTrait,
{
    use keys::shelf::{ActiveModel, Column, Entity, Model};
    let shelf =
        |room: &str, number: i32, label: &str| Model { room: room.into(), number, label: label.into() };
    let new =
        |room: &str, number: i32, label: &str| shelf(room, number, label).into_active_model().reset_all();
    let backend = db.get_database_backend();
    let placeholder =
        |n: usize| if backend == DbBackend::Postgres { format!("${n}") } else { "?".to_owned() };
    Some(match number {
        0 => outcome(new("a", 1, "one").insert(db).await),
        1 => outcome(new("a", 1, "again").insert(db).await),
        2 => outcome(Entity::insert(new("a", 2, "two")).exec(db).await.map(|r| r.last_insert_id)),
        3 => outcome(
            Entity::insert_many([new("b", 1, "three"), new("b", 2, "four")])
                .exec(db)
                .await
                .map(|r| r.last_insert_id),
        ),
        4 => outcome(
            Entity::insert_many([new("b", 3, "five"), new("b", 1, "dup")])
                .exec(db)
                .await
                .map(|r| r.last_insert_id),
        ),
        5 => outcome(Entity::insert_many([new("b", 4, "six")]).exec_without_returning(db).await),
        6 => outcome(ActiveModel { label: Set("new".into()), ..new("a", 1, "x") }.update(db).await),
        7 => outcome(ActiveModel { label: Set("none".into()), ..new("zz", 1, "x") }.update(db).await),
        8 => outcome(
            Entity::update_many()
                .col_expr(Column::Label, Expr::value("many"))
                .filter(Column::Room.eq("b"))
                .exec(db)
                .await,
        ),
        9 => outcome(
            Entity::update_many()
                .col_expr(Column::Number, Expr::col(Column::Number).add(0))
                .filter(Column::Room.eq("none"))
                .exec(db)
                .await,
        ),
        10 => outcome(Entity::delete_by_id(("b".to_owned(), 4)).exec(db).await),
        11 => outcome(Entity::delete_by_id(("b".to_owned(), 4)).exec(db).await),
        12 => outcome(
            Entity::insert(new("a", 1, "conflict"))
                .on_conflict(
                    OnConflict::columns([Column::Room, Column::Number])
                        .update_column(Column::Label)
                        .to_owned(),
                )
                .exec(db)
                .await
                .map(|r| r.last_insert_id),
        ),
        13 => outcome(
            Entity::insert(new("a", 1, "nothing"))
                .on_conflict(
                    OnConflict::columns([Column::Room, Column::Number])
                        .do_nothing_on([Column::Room])
                        .to_owned(),
                )
                .exec_without_returning(db)
                .await,
        ),
        14 => {
            if backend == DbBackend::MySql {
                "no RETURNING".to_owned()
            } else {
                outcome(
                    Entity::insert(new("a", 1, "given"))
                        .on_conflict(
                            OnConflict::columns([Column::Room, Column::Number])
                                .update_column(Column::Label)
                                .to_owned(),
                        )
                        .exec_with_returning(db)
                        .await,
                )
            }
        }
        15 => outcome(Entity::find().order_by_asc(Column::Room).order_by_asc(Column::Number).all(db).await),
        16 => outcome(Entity::find().count(db).await),
        17 => outcome(
            db.execute_unprepared("UPDATE shelf SET label = NULL WHERE room = 'a'")
                .await
                .map(|r| r.rows_affected()),
        ),
        18 => outcome(db.execute_unprepared("UPDATE shelf SET nothing = 1").await.map(|r| r.rows_affected())),
        19 => outcome(
            db.execute_unprepared("UPDATE shelf SET label = 'same' WHERE room = 'a'")
                .await
                .map(|r| r.rows_affected()),
        ),
        20 => outcome(
            db.execute_unprepared("UPDATE shelf SET label = 'same' WHERE room = 'a'")
                .await
                .map(|r| r.rows_affected()),
        ),
        21 => {
            let sql = format!("UPDATE shelf SET label = {} WHERE room = {}", placeholder(1), placeholder(2));
            let values = ["by value".into(), "a".into()];
            outcome(
                db.execute_raw(Statement::from_sql_and_values(backend, sql, values))
                    .await
                    .map(|r| r.rows_affected()),
            )
        }
        22 => outcome(Entity::find_by_id(("a".to_owned(), 1)).one(db).await),
        23 => match Entity::find_by_id(("a".to_owned(), 2)).one(db).await {
            Ok(Some(model)) => outcome(model.delete(db).await),
            other => outcome(other.map(|_| ())),
        },
        24 => {
            let done = db.transaction::<_, (), DbErr>(|transaction| {
                Box::pin(async move {
                    transaction.execute_unprepared("DELETE FROM shelf").await?;
                    Err(DbErr::Custom("back".into()))
                })
            });
            format!("{:?}", done.await.map_err(|error| error.to_string()))
        }
        25 => outcome(
            async {
                let transaction = db.begin().await?;
                let first = transaction
                    .execute_unprepared("UPDATE shelf SET label = 'in' WHERE room = 'a'")
                    .await?
                    .rows_affected();
                let nested = transaction.begin().await?;
                let second =
                    nested.execute_unprepared("UPDATE shelf SET label = 'nested'").await?.rows_affected();
                sea_orm::TransactionSession::rollback(nested).await?;
                sea_orm::TransactionSession::commit(transaction).await?;
                Ok((first, second))
            }
            .await,
        ),
        26 => outcome(Entity::update(new("b", 1, "entity")).exec(db).await),
        27 => outcome(new("c", 1, "saved").insert(db).await),
        28 => outcome(Entity::delete_many().filter(Column::Room.is_in(["b", "c"])).exec(db).await),
        _ => return None,
    })
}

db_test!(i4_results_and_errors_are_the_databases, async |t| {
    let mut outcomes: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    let mut left = Vec::new();
    for (side, outcomes) in outcomes.iter_mut().enumerate() {
        create_table(t, keys::shelf::Entity).await;
        let db = connect(t);
        for number in 0.. {
            let outcome = if side == 0 {
                audit_seaorm::suspended(operation(&t.db, number)).await
            } else {
                operation(&db, number).await
            };
            match outcome {
                Some(outcome) => outcomes.push(format!("{number}: {outcome}")),
                None => break,
            }
        }
        left.push(keys::shelf::Entity::find().all(&t.db).await.unwrap());
        t.execute("DROP TABLE shelf").await.unwrap();
    }
    let [plain, audited] = outcomes;
    assert_eq!(plain, audited);
    assert_eq!(left[0], left[1]);
    assert!(entries(t).await.len() > 15);
});

db_test!(i4_a_column_numbered_by_the_database_comes_back, async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let row = crate::fixtures::account("Ada", 100).insert(&db).await.unwrap();
    let result = account::Entity::insert(crate::fixtures::account("Bob", 100)).exec(&db).await.unwrap();
    assert_eq!((row.id, result.last_insert_id), (1, 2));
    let rows = [crate::fixtures::account("Cy", 1), crate::fixtures::account("Di", 1)];
    account::Entity::insert_many(rows).exec(&db).await.unwrap();
    let ids: Vec<_> = entries(t).await.into_iter().filter_map(|entry| entry.resource_id).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
});

db_test!(i3_concurrent_increments_make_an_unbroken_chain, async |t| {
    create_table(t, account::Entity).await;
    let row = quiet_account(&t.db, "Ada", 0).await;
    let db = connect(t);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    account::Entity::update_many()
                        .col_expr(account::Column::Overdraft, Expr::col(account::Column::Overdraft).add(1))
                        .exec(&db)
                        .await
                        .expect("an increment");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entries = entries(t).await;
    assert_eq!(entries.len(), 200);
    for (at, entry) in entries.iter().enumerate() {
        let at = 100 + at as i64;
        assert_eq!(changes(entry)["db_limit"], serde_json::json!({"old": at, "new": at + 1}));
    }
    assert_eq!(account::Entity::find_by_id(row.id).one(&t.db).await.unwrap().unwrap().overdraft, 300);
});

db_test!(c15_a_write_needs_one_connection_only, async |t| {
    set_up_shelves(t).await;
    let mut options = t.options();
    options.max_connections(1).acquire_timeout(Duration::from_secs(5));
    let one = sea_orm::Database::connect(options).await.unwrap();
    let db = Audit::builder().build().unwrap().connect(one);
    db.execute_unprepared("UPDATE shelf SET label = upper(label)").await.unwrap();
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("DELETE FROM shelf").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(entries(t).await.len(), 6);
});

db_test!(c15_a_write_that_is_dropped_half_way_leaves_nothing_half_done, async |t| {
    set_up_shelves(t).await;
    let db = Arc::new(connect(t));
    for round in 0..60_u64 {
        let write = db.execute_unprepared("UPDATE shelf SET label = concat(label, 'x') WHERE number = 1");
        _ = tokio::time::timeout(Duration::from_micros(round * 40), write).await;
    }
    // In a transaction that goes on after it.
    for round in 0..60_u64 {
        let transaction = db.begin().await.unwrap();
        let write =
            transaction.execute_unprepared("UPDATE shelf SET label = concat(label, 'y') WHERE number = 1");
        _ = tokio::time::timeout(Duration::from_micros(round * 40), write).await;
        _ = transaction.commit().await;
    }
    // Nothing is locked, and the entries tell how the labels came about.
    tokio::time::timeout(Duration::from_secs(20), t.execute("UPDATE shelf SET number = 5 WHERE number = 2"))
        .await
        .unwrap()
        .unwrap();
    for (room, number, first) in [("a", 1, "one"), ("b", 1, "three")] {
        let mut label = first.to_owned();
        for entry in entries(t)
            .await
            .iter()
            .filter(|entry| entry.resource_id.as_deref() == Some(&format!("{room}/{number}")))
        {
            let change = &changes(entry)["label"];
            assert_eq!(change["old"], label.as_str());
            label = change["new"].as_str().unwrap().to_owned();
        }
        let now =
            keys::shelf::Entity::find_by_id((room.to_owned(), number)).one(&t.db).await.unwrap().unwrap();
        assert_eq!(now.label, label);
    }
});

db_test!(c8_the_context_of_the_connection_counts_else_the_tasks, async |t| {
    set_up_shelves(t).await;
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let as_task = audit_seaorm::scope(AuditContext::user("task"), async {
        db.execute_unprepared("UPDATE shelf SET label = 'a' WHERE number = 2").await.unwrap();
        db.with_context(AuditContext::user("bound"))
            .execute_unprepared("UPDATE shelf SET label = 'b' WHERE number = 2")
            .await
            .unwrap();
    });
    as_task.await;
    db.execute_unprepared("UPDATE shelf SET label = 'c' WHERE number = 2").await.unwrap();
    let actors: Vec<_> =
        entries(t).await.into_iter().map(|entry| entry.actor_id.unwrap_or(entry.actor_type)).collect();
    assert_eq!(actors, ["task", "bound", "system"]);
});

db_test!(c17_a_block_without_audit_leaves_an_entry, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    db.without_audit("data repair #12", async |db| {
        db.execute_unprepared("UPDATE shelf SET label = 'q'").await
    })
    .await
    .unwrap()
    .unwrap();
    let all = entries(t).await;
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].action.as_str(), all[0].severity.as_str()), ("audit_suspended", "high"));
    assert_eq!(all[0].reason.as_deref(), Some("data repair #12"));
});

db_test!(i4_upserts_that_race_succeed, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    let upsert =
        async |db: &audit_seaorm::AuditConnection, round: i32, label: String, in_transaction: bool| {
            use keys::shelf::{Column, Entity, Model};
            let row = Model { room: "r".into(), number: round, label }.into_active_model().reset_all();
            let conflict =
                OnConflict::columns([Column::Room, Column::Number]).update_column(Column::Label).to_owned();
            let insert = Entity::insert_many([row]).on_conflict(conflict);
            if in_transaction {
                let transaction = db.begin().await?;
                insert.exec_without_returning(&transaction).await?;
                transaction.commit().await
            } else {
                insert.exec_without_returning(db).await.map(|_| ())
            }
        };
    for round in 0..30 {
        let all = (0..6).map(|task| upsert(&db, round, format!("{task}"), task % 2 == 0));
        for result in futures_util::future::join_all(all).await {
            // MariaDB answers some such races with a deadlock, with audit or without.
            match result {
                Err(error) if t.db.get_database_backend() == DbBackend::MySql => {
                    assert!(error.to_string().contains("eadlock"), "{error}");
                }
                other => other.unwrap(),
            }
        }
    }
    let mut labels = std::collections::BTreeMap::new();
    for entry in entries(t).await {
        let change = changes(&entry)["label"].clone();
        let before = labels.insert(entry.resource_id, change["new"].clone());
        assert_eq!(before.unwrap_or_default(), change["old"]);
    }
    assert_eq!(labels.len(), 30);
});

db_test!(i4_a_failed_upsert_fails_the_transaction_as_without_audit, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("DELETE FROM shelf WHERE room = 'b'").await.unwrap();
    let bad = "INSERT INTO shelf VALUES ('a', 1, NULL) ON CONFLICT (room, number) DO UPDATE SET label = NULL";
    transaction.execute_unprepared(bad).await.unwrap_err();
    let error = transaction.execute_unprepared("DELETE FROM shelf").await.unwrap_err();
    assert!(error.to_string().contains("aborted"), "{error}");
    _ = transaction.commit().await;
    assert_eq!(
        t.column::<String>("SELECT label FROM shelf ORDER BY label").await.unwrap(),
        ["one", "three", "two"]
    );
    assert_eq!(entries(t).await, []);
});

db_test!(i4_a_refused_upsert_does_not_fail_the_transaction, on(postgres), async |t| {
    set_up_shelves(t).await;
    t.execute("ALTER TABLE shelf ADD CONSTRAINT labels UNIQUE (label)").await.unwrap();
    let db = connect(t);
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("UPDATE shelf SET label = 'before' WHERE room = 'b'").await.unwrap();
    for refused in [
        "INSERT INTO shelf VALUES ('a', 1, 'x') ON CONFLICT ON CONSTRAINT labels DO UPDATE SET label = 'y'",
        "INSERT INTO shelf VALUES ('a', 1, 'x') ON CONFLICT (room, number) DO UPDATE SET number = 9",
        "INSERT INTO shelf (room, number, label) VALUES ('a', floor(random() * 9), 'x') ON CONFLICT (room, number) DO UPDATE SET label = 'y'",
    ] {
        let error = transaction.execute_unprepared(refused).await.unwrap_err();
        assert!(audit_seaorm::is_audit_error(&error), "{error}");
    }
    let upsert = "INSERT INTO shelf VALUES ('a', 1, 'upsert') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label";
    transaction.execute_unprepared(upsert).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(
        t.column::<String>("SELECT label FROM shelf ORDER BY label").await.unwrap(),
        ["before", "two", "upsert"]
    );
    assert_eq!(entries(t).await.len(), 2);
});

db_test!(i1_an_upsert_whose_entry_is_refused_does_not_fail_the_transaction, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    t.execute("ALTER TABLE audit_log ADD CONSTRAINT no_one CHECK (resource_id <> 'a/1')").await.unwrap();
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("UPDATE shelf SET label = 'before' WHERE room = 'b'").await.unwrap();
    let upsert = |number: i32| {
        format!(
            "INSERT INTO shelf VALUES ('a', {number}, 'v4lue') ON CONFLICT (room, number) DO UPDATE SET label = excluded.label"
        )
    };
    let error = transaction.execute_unprepared(&upsert(1)).await.unwrap_err();
    assert!(audit_seaorm::is_audit_error(&error) && !error.to_string().contains("v4lue"), "{error}");
    transaction.execute_unprepared(&upsert(2)).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(
        t.column::<String>("SELECT label FROM shelf ORDER BY number, label").await.unwrap(),
        ["before", "one", "v4lue"]
    );
    assert_eq!(entries(t).await.len(), 2);
});

db_test!(s10_entries_of_the_connection_can_be_kept_in_memory, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (done, entries) = audit_seaorm::testing::capture(async {
        db.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'a' AND number = 1").await
    })
    .await;
    done.unwrap();
    entries.only().assert_action("update").assert_resource("shelf", "a/1");
    assert_eq!(crate::fixtures::entries(t).await, []);
});
