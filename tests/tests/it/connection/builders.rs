//! C5: what SeaORM's builders send besides the usual, and statements of hand that are close to it.

use std::collections::BTreeMap;

use audit_seaorm::is_audit_error;
use audit_tests::{DbBackend, TestDb, db_test};
use futures_util::TryStreamExt;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder,
    Set, Statement, StreamTrait,
};
use serde_json::{Map, Value, json};

use super::transparent::outcome;
use super::{connect, hostile};
use crate::fixtures::everything::arrays;
use crate::fixtures::{account, changes, create_table, entries, keys, set_up_shelves};

/// A table whose every column has a value of its own.
#[allow(unreachable_pub, reason = "as SeaORM generates it")]
mod blank {
    use audit_seaorm::{Auditable, audited};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
    #[sea_orm(table_name = "blank")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        pub note: Option<String>,
        #[sea_orm(default_value = 7)]
        pub amount: i32,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    #[audited]
    impl ActiveModelBehavior for ActiveModel {}
}

/// A table in another schema, or another database.
#[allow(unreachable_pub, reason = "as SeaORM generates it")]
mod crate_in {
    use audit_seaorm::{Auditable, audited};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
    #[sea_orm(schema_name = "audit_test_depot", table_name = "depot_crate")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i32,
        pub label: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    #[audited]
    impl ActiveModelBehavior for ActiveModel {}
}

/// One operation; `None` after the last.
async fn operation<C: ConnectionTrait>(db: &C, number: usize) -> Option<String> {
    use blank::{ActiveModel, Column, Entity};
    let with = |note: &str| ActiveModel { note: Set(Some(note.into())), ..Default::default() };
    let none: [ActiveModel; 0] = [];
    let default_values = match db.get_database_backend() {
        DbBackend::MySql => "INSERT INTO blank () VALUES ()",
        _ => "INSERT INTO blank DEFAULT VALUES",
    };
    Some(match number {
        0 => outcome(
            Entity::insert(<ActiveModel as Default>::default()).exec(db).await.map(|r| r.last_insert_id),
        ),
        1 => outcome(<ActiveModel as Default>::default().insert(db).await),
        2 => outcome(Entity::insert_many(none).exec(db).await.map(|r| r.last_insert_id)),
        3 => outcome(Entity::insert_many(none).exec_without_returning(db).await),
        4 => outcome(Entity::insert_many(none).exec_with_returning(db).await),
        5 => outcome(Entity::insert_many(none).exec_with_returning_keys(db).await),
        6 => outcome(
            Entity::insert_many([with("a"), with("b")]).exec(db).await.map(|r| r.last_insert_id.is_some()),
        ),
        7 => outcome(Entity::insert_many([with("c"), with("d")]).exec_with_returning(db).await),
        8 => outcome(Entity::insert_many([with("e"), with("f")]).exec_with_returning_keys(db).await),
        9 => outcome(Entity::insert(with("g")).exec_with_returning(db).await),
        10 => outcome(Entity::insert(with("h")).exec_with_returning_keys(db).await),
        11 => outcome(Entity::insert(with("i")).exec_with_returning_many(db).await),
        12 => outcome(db.execute_unprepared(default_values).await.map(|r| r.rows_affected())),
        13 => outcome(
            Entity::update_many()
                .col_expr(Column::Amount, Expr::col(Column::Amount).add(1))
                .filter(Column::Id.lte(3))
                .exec_with_returning(db)
                .await,
        ),
        14 => outcome(
            Entity::update_many()
                .set(with("many"))
                .filter(Column::Note.eq("none"))
                .exec_with_returning(db)
                .await,
        ),
        15 => outcome(Entity::update_many().exec(db).await),
        16 => outcome(Entity::delete_many().filter(Column::Id.lte(2)).exec_with_returning(db).await),
        17 => outcome(Entity::delete_by_id(3).exec_with_returning(db).await),
        18 => outcome(Entity::delete_by_id(99).exec_with_returning(db).await),
        19 => outcome(
            Entity::insert_many(none).on_conflict_do_nothing().exec_with_returning_keys(db).await.map(|_| ()),
        ),
        20 => outcome(Entity::find().order_by_asc(Column::Id).all(db).await),
        _ => return None,
    })
}

/// The rows that the entries make, by id.
async fn replayed(t: &TestDb) -> BTreeMap<String, Map<String, Value>> {
    let mut rows: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for entry in entries(t).await {
        let id = entry.resource_id.clone().expect("an id");
        if entry.action == "delete" {
            rows.remove(&id).expect("it is there");
            continue;
        }
        let row = rows.entry(id).or_default();
        assert_eq!(row.is_empty(), entry.action == "create", "{entry:?}");
        for (name, change) in entry.changes_json().expect("changes") {
            assert_eq!(row.get(&name), change.get("old"), "{entry:?}");
            row.insert(name, change["new"].clone());
        }
    }
    rows
}

db_test!(c5_every_kind_of_statement_of_the_builders_is_recorded, async |t| {
    let mut outcomes: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for (side, outcomes) in outcomes.iter_mut().enumerate() {
        create_table(t, blank::Entity).await;
        let db = connect(t);
        for number in 0.. {
            let seen = entries(t).await.len();
            let outcome = match side {
                0 => audit_seaorm::suspended(operation(&t.db, number)).await,
                _ => operation(&db, number).await,
            };
            let Some(outcome) = outcome else { break };
            let made = entries(t).await.len() - seen;
            assert!(side == 1 || made == 0, "{number}");
            outcomes.push(format!("{number}: {outcome}"));
        }
        if side == 1 {
            let table = blank::Entity::find().all(&t.db).await.unwrap();
            let table = table.into_iter().map(|row| {
                let json = json!({"id": row.id, "note": row.note, "amount": row.amount});
                (row.id.to_string(), json.as_object().expect("an object").clone())
            });
            assert_eq!(replayed(t).await, table.collect());
        }
        t.execute("DROP TABLE blank").await.unwrap();
    }
    let [plain, audited] = outcomes;
    assert_eq!(plain, audited);
    assert_eq!(audited.len(), 21);
});

db_test!(c5_arrays_are_recorded_of_updates_of_many_rows, on(postgres), async |t| {
    create_table(t, arrays::Entity).await;
    let db = connect(t);
    let row = |numbers: Vec<i32>| arrays::ActiveModel {
        numbers: Set(numbers),
        words: Set(None),
        ..Default::default()
    };
    arrays::Entity::insert_many([row(vec![1]), row(vec![2, 3]), row(vec![])]).exec(&db).await.unwrap();
    let seen = entries(t).await.len();
    assert_eq!(seen, 3);
    let changed = arrays::Entity::update_many()
        .col_expr(arrays::Column::Numbers, Expr::value(vec![4, 5]))
        .col_expr(arrays::Column::Words, Expr::value(vec!["a,\"b".to_owned(), String::new()]))
        .filter(arrays::Column::Numbers.ne(Vec::<i32>::new()))
        .exec_with_returning(&db)
        .await
        .unwrap();
    assert_eq!(changed.len(), 2);
    let set = arrays::ActiveModel { words: Set(None), ..Default::default() };
    let result = arrays::Entity::update_many()
        .set(set)
        .filter(arrays::Column::Numbers.eq(vec![4, 5]))
        .exec(&db)
        .await
        .unwrap();
    assert_eq!(result.rows_affected, 2);
    let all: Vec<_> = entries(t).await[seen..].iter().map(changes).collect();
    assert_eq!(
        all,
        [
            json!({"numbers": {"old": [1], "new": [4, 5]}, "words": {"old": null, "new": ["a,\"b", ""]}}),
            json!({"numbers": {"old": [2, 3], "new": [4, 5]}, "words": {"old": null, "new": ["a,\"b", ""]}}),
            json!({"words": {"old": ["a,\"b", ""], "new": null}}),
            json!({"words": {"old": ["a,\"b", ""], "new": null}}),
        ]
    );
});

db_test!(c5_rows_that_a_query_inserts_are_recorded, async |t| {
    create_table(t, account::Entity).await;
    set_up_shelves(t).await;
    let db = connect(t);
    let columns = "(owner, balance, iban, pin_hash)";
    // The database numbers the rows.
    for (sql, expected) in [
        (format!("INSERT INTO account {columns} SELECT label, number, room, 'p' FROM shelf"), 3),
        (
            match t.backend {
                // SQLite and PostgreSQL take it in front as well.
                DbBackend::MySql => format!(
                    "INSERT INTO account {columns} WITH w AS (SELECT * FROM shelf WHERE room = 'a') SELECT label, number, room, 'p' FROM w"
                ),
                _ => format!(
                    "WITH w AS (SELECT * FROM shelf WHERE room = 'a') INSERT INTO account {columns} SELECT label, number, room, 'p' FROM w"
                ),
            },
            2,
        ),
        (
            format!(
                "INSERT INTO account {columns} WITH w AS (SELECT * FROM shelf WHERE room = 'b') SELECT label, number, room, 'p' FROM w"
            ),
            1,
        ),
    ] {
        let (rows, seen) = (account::Entity::find().all(&t.db).await.unwrap().len(), entries(t).await.len());
        let done = db.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(done.rows_affected(), expected, "{sql}");
        let all = entries(t).await.split_off(seen);
        let table = account::Entity::find().order_by_asc(account::Column::Id).all(&t.db).await.unwrap();
        let ids: Vec<_> = table[rows..].iter().map(|row| Some(row.id.to_string())).collect();
        assert_eq!(all.iter().map(|e| e.resource_id.clone()).collect::<Vec<_>>(), ids, "{sql}");
        for (entry, row) in all.iter().zip(&table[rows..]) {
            assert_eq!(changes(entry)["owner"], json!({"new": row.owner}), "{sql}");
        }
    }
    // The query knows the keys.
    let seen = entries(t).await.len();
    for sql in [
        "INSERT INTO shelf (room, number, label) SELECT 'c', number, label FROM shelf WHERE room = 'a'",
        "INSERT INTO shelf (room, number, label) WITH w AS (SELECT * FROM shelf WHERE room = 'a') SELECT 'd', number, label FROM w",
    ] {
        let done = db.execute_unprepared(sql).await;
        if t.backend == DbBackend::MySql {
            let error = done.unwrap_err();
            assert!(is_audit_error(&error), "{error}");
            assert!(error.to_string().contains("shelf") && error.to_string().contains("keys"), "{error}");
        } else {
            assert_eq!(done.unwrap().rows_affected(), 2, "{sql}");
        }
    }
    let expected = if t.backend == DbBackend::MySql { 0 } else { 4 };
    assert_eq!(entries(t).await.len() - seen, expected);
    assert_eq!(keys::shelf::Entity::find().all(&t.db).await.unwrap().len(), 3 + expected);
});

db_test!(c5_deletes_of_a_join_are_recorded, on(postgres), async |t| {
    set_up_shelves(t).await;
    t.execute("CREATE TABLE closed (room TEXT NOT NULL, why TEXT NOT NULL)").await.unwrap();
    t.execute("INSERT INTO closed VALUES ('a', 'x'), ('a', 'y'), ('z', 'x')").await.unwrap();
    let db = connect(t);
    // Both rows of `closed` match: a row of the table is deleted, and recorded, once.
    for (sql, deleted) in [
        ("DELETE FROM shelf USING closed WHERE closed.room = shelf.room AND shelf.number = 2", vec!["a/2"]),
        (
            "DELETE FROM shelf AS s USING closed AS c, (SELECT 1 AS n) AS o WHERE c.room = s.room AND s.number = o.n RETURNING s.label, c.why",
            vec!["a/1"],
        ),
        ("DELETE FROM shelf USING closed WHERE closed.room = shelf.room", vec![]),
    ] {
        let seen = entries(t).await.len();
        let rows = db.query_all_raw(Statement::from_string(t.backend, sql)).await.unwrap();
        let columns = rows.first().map(|row| row.column_names()).unwrap_or_default();
        assert!(!sql.contains("RETURNING") || columns == ["label", "why"], "{columns:?}");
        let all = entries(t).await.split_off(seen);
        assert!(all.iter().all(|entry| entry.action == "delete"));
        let ids: Vec<_> = all.into_iter().filter_map(|entry| entry.resource_id).collect();
        assert_eq!(ids, deleted, "{sql}");
    }
    assert_eq!(keys::shelf::Entity::find().all(&t.db).await.unwrap().len(), 1);
});

db_test!(c5_streamed_writes_of_mariadb_are_recorded, on(mysql), async |t| {
    if !t.is_mariadb().await {
        println!("skipped: MySQL has no RETURNING");
        return;
    }
    set_up_shelves(t).await;
    let db = connect(t);
    for (sql, expected) in [
        ("INSERT INTO shelf VALUES ('c', 1, 'new'), ('c', 2, 'newer') RETURNING label", vec!["new", "newer"]),
        ("DELETE FROM shelf WHERE room = 'a' ORDER BY number RETURNING label", vec!["one", "two"]),
        ("DELETE FROM shelf WHERE room = 'nowhere' RETURNING label", vec![]),
    ] {
        let (before, seen) = (hostile::shelves(t).await, entries(t).await.len());
        let stream = db.stream_raw(Statement::from_string(t.backend, sql)).await.unwrap();
        let rows: Vec<_> = stream.try_collect().await.unwrap();
        let labels: Vec<String> = rows.iter().map(|row| row.try_get("", "label").unwrap()).collect();
        assert_eq!(labels, expected, "{sql}");
        let all = entries(t).await.split_off(seen);
        assert_eq!(all.len(), expected.len(), "{sql}");
        assert_eq!(hostile::told(&all, before), Ok(hostile::shelves(t).await), "{sql}");
    }
});

/// Rows of the table in the other schema begin, change and end.
async fn life_elsewhere(t: &TestDb) {
    use crate_in::{ActiveModel, Column, Entity};
    create_table(t, Entity).await;
    let db = connect(t);
    let new = |label: &str| ActiveModel { label: Set(label.into()), ..Default::default() };
    let row = new("one").insert(&db).await.unwrap();
    Entity::insert_many([new("two"), new("three")]).exec(&db).await.unwrap();
    let row = ActiveModel { label: Set("first".into()), ..row.into() }.update(&db).await.unwrap();
    Entity::update_many()
        .col_expr(Column::Label, Expr::value("many"))
        .filter(Column::Id.gt(row.id))
        .exec(&db)
        .await
        .unwrap();
    db.execute_unprepared("UPDATE audit_test_depot.depot_crate SET label = 'raw' WHERE id = 3")
        .await
        .unwrap();
    Entity::delete_many().exec(&db).await.unwrap();
    let all = entries(t).await;
    assert!(all.iter().all(|entry| entry.resource_type == "audit_test_depot.depot_crate"), "{all:#?}");
    let told: Vec<_> = all
        .iter()
        .map(|entry| format!("{} {}", entry.action, entry.resource_id.as_deref().expect("an id")))
        .collect();
    assert_eq!(
        told,
        [
            "create 1", "create 2", "create 3", "update 1", "update 2", "update 3", "update 3", "delete 1",
            "delete 2", "delete 3"
        ]
    );
    assert_eq!(changes(&all[6]), json!({"label": {"old": "many", "new": "raw"}}));
    assert_eq!(replayed(t).await, BTreeMap::new());
}

db_test!(c5_a_table_in_another_schema_is_recorded, on(postgres), async |t| {
    t.execute("CREATE SCHEMA audit_test_depot").await.unwrap();
    life_elsewhere(t).await;
});

db_test!(c5_a_table_in_another_database_is_recorded, on(mysql), async |t| {
    // The database has one name in all runs, so they take turns: the lock is the connection's.
    let mut options = t.options();
    options.max_connections(1).min_connections(1);
    let turn: DatabaseConnection = sea_orm::Database::connect(options).await.unwrap();
    let ask = Statement::from_string(t.backend, "SELECT GET_LOCK('audit_test_depot', 120) AS done");
    let row = turn.query_one_raw(ask).await.unwrap().unwrap();
    assert_eq!(row.try_get::<i32>("", "done").unwrap(), 1);
    turn.execute_unprepared("DROP DATABASE IF EXISTS audit_test_depot").await.unwrap();
    turn.execute_unprepared("CREATE DATABASE audit_test_depot").await.unwrap();
    life_elsewhere(t).await;
    turn.execute_unprepared("DROP DATABASE audit_test_depot").await.unwrap();
});
