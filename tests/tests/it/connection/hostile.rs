//! Hostile and unusual statements: each is recorded truly, or refused and then not done.

use std::collections::BTreeMap;
use std::time::Duration;

use audit_seaorm::entity::audit_log;
use audit_seaorm::{Audit, AuditConnection, is_audit_error};
use audit_tests::{DbBackend, TestDb, db_test};
use sea_orm::{ConnectionTrait, Database, DbErr, EntityTrait, Statement, TransactionTrait, Value as V};

use super::connect;
use crate::fixtures::{account, changes, create_table, entries, keys, set_up_shelves};

#[allow(unreachable_pub)]
mod dated {
    use audit_seaorm::{Auditable, audited};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
    #[sea_orm(table_name = "hostile_dated")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub day: Date,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    #[audited]
    impl ActiveModelBehavior for ActiveModel {}
}

#[allow(unreachable_pub)]
mod knot {
    use audit_seaorm::{Auditable, audited};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Auditable)]
    #[sea_orm(table_name = "hostile_knot")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub a_id: Option<i32>,
        pub b_id: Option<i32>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    #[audited]
    impl ActiveModelBehavior for ActiveModel {}
}

/// Labels by room and number.
pub(super) type Shelves = BTreeMap<String, String>;

async fn shelves(t: &TestDb) -> Shelves {
    let all = keys::shelf::Entity::find().all(&t.db).await.unwrap();
    all.into_iter().map(|row| (format!("{}/{}", row.room, row.number), row.label)).collect()
}

/// I2, I3: what the entries make of the shelves.
async fn replay(t: &TestDb, table: Shelves, seen: usize) -> Result<Shelves, String> {
    told(&entries(t).await.split_off(seen), table)
}

/// What these entries make of the shelves.
pub(super) fn told(entries: &[audit_log::Model], mut table: Shelves) -> Result<Shelves, String> {
    for entry in entries.iter().filter(|entry| entry.resource_type == "shelf") {
        let (id, change) = (entry.resource_id.clone().unwrap_or_default(), changes(entry));
        let said = format!("{} {id} {change}", entry.action);
        let text = |name: &str, side: &str| change.get(name)?.get(side)?.as_str().map(str::to_owned);
        match entry.action.as_str() {
            "create" => {
                if table.insert(id, text("label", "new").unwrap_or_default()).is_some() {
                    return Err(format!("{said}: it is there already"));
                }
            }
            "delete" => {
                if table.remove(&id) != text("label", "old") {
                    return Err(format!("{said}: there was another"));
                }
            }
            _ => {
                let (room, number) = id.split_once('/').unwrap();
                let room = text("room", "old").unwrap_or(room.to_owned());
                let number = change.get("number").map_or(number.to_owned(), |n| n["old"].to_string());
                let Some(old) = table.remove(&format!("{room}/{number}")) else {
                    return Err(format!("{said}: it wasn't there"));
                };
                if text("label", "old").is_some_and(|label| label != old) {
                    return Err(format!("{said}: it was {old:?}"));
                }
                table.insert(id, text("label", "new").unwrap_or(old));
            }
        }
    }
    Ok(table)
}

/// Runs statements; the entries must tell what became of the table.
async fn faithful<C: ConnectionTrait>(t: &TestDb, db: &C, statements: &[&str]) {
    let mut wrong = Vec::new();
    for sql in statements {
        let (before, seen) = (shelves(t).await, entries(t).await.len());
        if let Err(error) = db.execute_unprepared(sql).await
            && !is_audit_error(&error)
        {
            wrong.push(format!("{sql}: ERROR audit={}: {error}", is_audit_error(&error)));
        }
        let after = shelves(t).await;
        match replay(t, before.clone(), seen).await {
            Ok(table) if table == after => {}
            Ok(table) => {
                wrong.push(format!("{sql}: entries give {table:?}, the table is {after:?}, was {before:?}"))
            }
            Err(error) => wrong.push(format!("{sql}: {error}; the table is {after:?}, was {before:?}")),
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

async fn run(t: &TestDb, statements: &[&str]) {
    for sql in statements {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

async fn single(t: &TestDb) -> AuditConnection {
    let mut options = t.options();
    options.max_connections(1).min_connections(1);
    Audit::builder().build().unwrap().connect(Database::connect(options).await.unwrap())
}

/// How an error looks to the user.
fn kind<T>(result: Result<T, DbErr>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(error) => format!("{error:?}").split('(').next().unwrap_or_default().to_owned(),
    }
}

// ---- silent writes

db_test!(i2_a_write_through_a_view, async |t| {
    set_up_shelves(t).await;
    run(t, &["CREATE VIEW shelf_view AS SELECT room, number, label FROM shelf"]).await;
    if t.db.get_database_backend() == DbBackend::Sqlite {
        run(t, &["CREATE TRIGGER v INSTEAD OF UPDATE ON shelf_view BEGIN UPDATE shelf SET label = NEW.label WHERE room = OLD.room AND number = OLD.number; END"]).await;
    }
    faithful(t, &connect(t), &["UPDATE shelf_view SET label = 'through a view' WHERE room = 'b'"]).await;
});

db_test!(i2_a_write_to_a_partition, on(postgres), async |t| {
    run(t, &[
        "CREATE TABLE shelf (room text NOT NULL, number int NOT NULL, label text NOT NULL, PRIMARY KEY (room, number)) PARTITION BY LIST (room)",
        "CREATE TABLE shelf_a PARTITION OF shelf FOR VALUES IN ('a')",
        "INSERT INTO shelf VALUES ('a', 1, 'one')",
    ]).await;
    faithful(t, &connect(t), &["UPDATE shelf_a SET label = 'partition'"]).await;
});

db_test!(i2_a_table_that_is_created_after_the_first_write, on(postgres, mysql), async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    db.execute_unprepared("UPDATE account SET note = 'x'").await.unwrap();
    set_up_shelves(t).await; // by a migrator over another connection
    faithful(
        t,
        &db,
        &[
            "UPDATE shelf SET label = 'x' WHERE room = 'b'",
            "INSERT INTO shelf VALUES ('q', 1, 'l')",
            "DELETE FROM shelf WHERE room = 'a'",
        ],
    )
    .await;
});

db_test!(i2_definitions_that_are_rolled_back, on(postgres), async |t| {
    set_up_shelves(t).await;
    create_table(t, account::Entity).await;
    let db = connect(t);
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("DROP TABLE shelf").await.unwrap();
    transaction.execute_unprepared("UPDATE account SET note = 'x'").await.unwrap();
    transaction.rollback().await.unwrap();
    faithful(
        t,
        &db,
        &["UPDATE shelf SET label = 'x' WHERE room = 'b'", "DELETE FROM shelf WHERE room = 'a'"],
    )
    .await;
});

db_test!(i2_an_upsert_whose_update_cascades, async |t| {
    run(t, &[
        "CREATE TABLE room (id INT NOT NULL PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE)",
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number), FOREIGN KEY (room) REFERENCES room (name) ON UPDATE CASCADE)",
        "INSERT INTO room VALUES (1, 'a')",
        "INSERT INTO shelf VALUES ('a', 1, 'one')",
    ]).await;
    let sql = t.pick(
        "INSERT INTO room (id, name) VALUES (1, 'z') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "INSERT INTO room (id, name) VALUES (1, 'z') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "INSERT INTO room (id, name) VALUES (1, 'z') ON DUPLICATE KEY UPDATE name = 'z'",
    );
    faithful(t, &connect(t), &[sql]).await;
});

db_test!(i2_a_table_of_an_attached_database, on(sqlite), async |t| {
    let db = single(t).await;
    db.execute_unprepared("ATTACH ':memory:' AS aux").await.unwrap();
    db.execute_unprepared(
        "CREATE TABLE aux.shelf (room TEXT, number INT, label TEXT, PRIMARY KEY (room, number))",
    )
    .await
    .unwrap();
    let result = db.execute_unprepared("INSERT INTO shelf VALUES ('a', 1, 'x')").await;
    assert!(result.is_err() || entries(t).await.len() == 1, "silently passed");
});

// ---- MySQL: what was inserted is looked for by other means than it was inserted

db_test!(i2_keys_that_the_column_rounds, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(t, &connect(t), &["INSERT INTO shelf VALUES ('z', 1.6, 'rounded')"]).await;
});

db_test!(i2_a_float_as_key, on(mysql), async |t| {
    run(t, &["CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, ratio FLOAT NOT NULL, stamp DATETIME NOT NULL UNIQUE DEFAULT '2020-01-01', PRIMARY KEY (room, number), UNIQUE (ratio))"]).await;
    faithful(t, &connect(t), &[
        "INSERT INTO shelf (room, number, label, ratio, stamp) VALUES ('a', 1, 'one', 0.1, '2021-01-01')",
        "INSERT INTO shelf (room, number, label, ratio, stamp) VALUES ('b', 1, 'two', 0.1, '2022-01-01') ON DUPLICATE KEY UPDATE label = 'by ratio'",
        "INSERT INTO shelf (room, number, label, ratio, stamp) VALUES ('c', 1, 'three', 0.7, '2021-01-01 00:00:00.4') ON DUPLICATE KEY UPDATE label = 'by stamp'",
    ]).await;
});

db_test!(i2_id_zero, on(mysql), async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let mut wrong = Vec::new();
    for (at, value) in [
        V::BigInt(Some(0)),
        V::BigUnsigned(Some(0)),
        V::SmallInt(Some(0)),
        V::TinyInt(Some(0)),
        V::from("0"),
        V::from(0.0_f64),
    ]
    .into_iter()
    .enumerate()
    {
        let shown = format!("{value:?}");
        let sql = "INSERT INTO account (id, owner, balance, iban, pin_hash) VALUES (?, 'o', 1, 'i', 'p')";
        let result = db.execute_raw(Statement::from_sql_and_values(DbBackend::MySql, sql, [value])).await;
        let count = entries(t).await.len();
        if result.is_ok() && count + wrong.len() != at + 1 {
            wrong.push(shown);
        }
    }
    for literal in ["0", "'0'", "00", "0.0", "-0"] {
        let (rows, seen) = (account::Entity::find().all(&t.db).await.unwrap().len(), entries(t).await.len());
        let sql = format!(
            "INSERT INTO account (id, owner, balance, iban, pin_hash) VALUES ({literal}, 'o', 1, 'i', 'p')"
        );
        _ = db.execute_unprepared(&sql).await;
        let (more, made) = (account::Entity::find().all(&t.db).await.unwrap().len(), entries(t).await.len());
        if more - rows != made - seen {
            wrong.push(literal.to_owned());
        }
    }
    assert!(wrong.is_empty(), "not recorded: {wrong:?}");
});

db_test!(i2_a_trigger_that_sets_the_key, on(mysql), async |t| {
    set_up_shelves(t).await;
    run(t, &["CREATE TRIGGER tr BEFORE INSERT ON shelf FOR EACH ROW SET NEW.number = NEW.number + 70"]).await;
    faithful(t, &connect(t), &["INSERT INTO shelf VALUES ('z', 1, 'x')"]).await;
});

db_test!(i2_a_unique_key_on_a_prefix, on(mysql), async |t| {
    run(t, &[
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, code VARCHAR(20) NOT NULL, PRIMARY KEY (room, number), UNIQUE (code(3)))",
        "INSERT INTO shelf VALUES ('a', 1, 'one', 'abcX')",
    ]).await;
    faithful(
        t,
        &connect(t),
        &["INSERT INTO shelf VALUES ('b', 1, 'two', 'abcY') ON DUPLICATE KEY UPDATE label = 'by prefix'"],
    )
    .await;
});

db_test!(i2_an_upsert_that_changes_the_primary_key, async |t| {
    set_up_shelves(t).await;
    let sql = t.pick(
        "INSERT INTO shelf VALUES ('a', 1, 'x') ON CONFLICT (room, number) DO UPDATE SET number = 50",
        "INSERT INTO shelf VALUES ('a', 1, 'x') ON CONFLICT (room, number) DO UPDATE SET number = 50",
        "INSERT INTO shelf VALUES ('a', 1, 'x') ON DUPLICATE KEY UPDATE number = 50",
    );
    faithful(t, &connect(t), &[sql]).await;
});

db_test!(i2_a_key_computed_from_a_column_that_was_set_before, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(
        t,
        &connect(t),
        &["UPDATE shelf SET label = 'abcdefghi', number = length(label) WHERE room = 'b'"],
    )
    .await;
});

db_test!(i2_update_ignore_of_a_key, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(t, &connect(t), &["UPDATE IGNORE shelf SET number = 2 WHERE room = 'a' AND number = 1"]).await;
});

db_test!(i2_delete_ignore, on(mysql), async |t| {
    set_up_shelves(t).await;
    run(t, &[
        "CREATE TABLE box (room VARCHAR(100) NOT NULL, number INT NOT NULL, FOREIGN KEY (room, number) REFERENCES shelf (room, number))",
        "INSERT INTO box VALUES ('a', 1)",
    ]).await;
    faithful(t, &connect(t), &["DELETE IGNORE FROM shelf"]).await;
});

db_test!(i2_rows_that_are_chosen_at_random, async |t| {
    create_table(t, keys::shelf::Entity).await;
    for number in 0..30 {
        t.execute(&format!("INSERT INTO shelf VALUES ('a', {number}, 'l')")).await.unwrap();
    }
    let db = connect(t);
    match t.db.get_database_backend() {
        DbBackend::MySql => {
            faithful(
                t,
                &db,
                &[
                    "UPDATE shelf SET label = 'won' ORDER BY rand() LIMIT 1",
                    "UPDATE shelf SET label = 'two' ORDER BY rand() LIMIT 1",
                    "DELETE FROM shelf ORDER BY rand() LIMIT 1",
                ],
            )
            .await
        }
        DbBackend::Postgres => {
            faithful(
                t,
                &db,
                &[
                    "UPDATE shelf SET label = 'won' WHERE random() < 0.5",
                    "UPDATE shelf SET label = 'two' FROM (SELECT 1) v WHERE random() < 0.5",
                    "DELETE FROM shelf WHERE random() < 0.5",
                ],
            )
            .await
        }
        _ => {
            faithful(
                t,
                &db,
                &[
                    "UPDATE shelf SET label = 'won' WHERE random() % 2 = 0",
                    "DELETE FROM shelf WHERE random() % 2 = 0",
                ],
            )
            .await
        }
    }
});

db_test!(i2_one_row_asked_for_of_an_insert_select, async |t| {
    create_table(t, account::Entity).await;
    run(t, &["INSERT INTO account (owner, balance, iban, pin_hash) VALUES ('a', 1, 'i', 'p'), ('b', 1, 'i', 'p')"]).await;
    let sql = "INSERT INTO account (owner, balance, iban, pin_hash) SELECT owner, balance, iban, pin_hash FROM account RETURNING id";
    connect(t).query_one_raw(Statement::from_string(t.db.get_database_backend(), sql)).await.unwrap();
    assert_eq!(account::Entity::find().all(&t.db).await.unwrap().len(), 4);
    assert_eq!(entries(t).await.len(), 2);
});

db_test!(i2_a_table_of_the_same_name_in_another_database, on(mysql), async |t| {
    set_up_shelves(t).await;
    let name: String = t.value("SELECT concat(database(), '_x')").await.unwrap();
    run(
        t,
        &[
            &format!("CREATE DATABASE {name}"),
            &format!("CREATE TABLE {name}.shelf LIKE shelf"),
            &format!("INSERT INTO {name}.shelf VALUES ('a', 1, 'theirs'), ('q', 1, 'theirs')"),
        ],
    )
    .await;
    let db = connect(t);
    let one = db.execute_unprepared(&format!("UPDATE {name}.shelf SET label = 'changed'")).await.map(|_| ());
    let two =
        db.execute_unprepared(&format!("INSERT INTO {name}.shelf VALUES ('a', 2, 'new')")).await.map(|_| ());
    run(t, &[&format!("DROP DATABASE {name}")]).await;
    let found: Vec<_> =
        entries(t).await.iter().map(|e| format!("{} {:?} {}", e.action, e.resource_id, changes(e))).collect();
    assert!(
        !found.iter().any(|f| f.starts_with("delete") || f.contains("two") || f.contains("one")),
        "{one:?} {two:?} {found:#?}"
    );
});

db_test!(i2_insert_ignore_that_cuts_the_key, on(mysql), async |t| {
    set_up_shelves(t).await;
    let sql = format!("INSERT IGNORE INTO shelf VALUES ('{}', 1, 'cut')", "r".repeat(150));
    faithful(t, &connect(t), &[&sql]).await;
});

db_test!(i2_nested_write_dropped_and_outer_committed, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    for round in 0..60_u64 {
        let transaction = db.begin().await.unwrap();
        let nested = transaction.begin().await.unwrap();
        let write = nested.execute_unprepared("UPDATE shelf SET label = concat(label, 'y') WHERE room = 'b'");
        _ = tokio::time::timeout(Duration::from_micros(round * 50), write).await;
        drop(nested);
        _ = transaction.commit().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

// ---- cascades

fn twice(all: &[audit_seaorm::entity::audit_log::Model]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    for entry in all {
        *seen
            .entry(format!("{} {}", entry.action, entry.resource_id.clone().unwrap_or_default()))
            .or_insert(0) += 1;
    }
    seen.into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(what, count)| format!("{what}: {count} times"))
        .collect()
}

async fn knots(t: &TestDb, first: &str, second: &str) {
    run(t, &[
        &format!("CREATE TABLE hostile_knot (id INT NOT NULL PRIMARY KEY, a_id INT NULL, b_id INT NULL, CONSTRAINT k1 FOREIGN KEY ({first}) REFERENCES hostile_knot (id) ON DELETE {}, CONSTRAINT k2 FOREIGN KEY ({second}) REFERENCES hostile_knot (id) ON DELETE {})",
            if first == "a_id" { "SET NULL" } else { "CASCADE" }, if second == "a_id" { "SET NULL" } else { "CASCADE" }),
    ]).await;
}

db_test!(i2_deleting_parents_and_children_at_once, async |t| {
    knots(t, "a_id", "b_id").await;
    run(
        t,
        &[
            "INSERT INTO hostile_knot VALUES (1, NULL, NULL)",
            "INSERT INTO hostile_knot VALUES (2, NULL, 1)",
            "INSERT INTO hostile_knot VALUES (3, NULL, 2)",
        ],
    )
    .await;
    connect(t).execute_unprepared("DELETE FROM hostile_knot").await.unwrap();
    let all = entries(t).await;
    assert_eq!(twice(&all), [""; 0]);
    assert_eq!(all.len(), 3);
});

db_test!(i2_a_row_that_refers_to_itself, async |t| {
    knots(t, "a_id", "b_id").await;
    run(t, &["INSERT INTO hostile_knot VALUES (1, NULL, 1)"]).await;
    connect(t).execute_unprepared("DELETE FROM hostile_knot WHERE id = 1").await.unwrap();
    assert_eq!(twice(&entries(t).await), [""; 0]);
});

db_test!(i2_two_paths_to_a_row_with_children, async |t| {
    let mut wrong = Vec::new();
    for (first, second) in [("a_id", "b_id"), ("b_id", "a_id")] {
        knots(t, first, second).await;
        run(
            t,
            &[
                "INSERT INTO hostile_knot VALUES (1, NULL, NULL)",
                "INSERT INTO hostile_knot VALUES (2, 1, 1)",
                "INSERT INTO hostile_knot VALUES (3, NULL, 2)",
            ],
        )
        .await;
        let seen = entries(t).await.len();
        connect(t).execute_unprepared("DELETE FROM hostile_knot WHERE id = 1").await.unwrap();
        let left = knot::Entity::find().all(&t.db).await.unwrap().len();
        let all = entries(t).await.split_off(seen);
        let deletes = all.iter().filter(|e| e.action == "delete").count();
        if deletes + left != 3 {
            wrong.push(format!("{first} first: {deletes} deletes, {left} left"));
        }
        run(t, &["DROP TABLE hostile_knot"]).await;
    }
    assert_eq!(wrong, [""; 0]);
});

db_test!(i2_an_update_of_a_key_that_cascades_within_the_table, on(sqlite, postgres), async |t| {
    run(t, &[
        "CREATE TABLE hostile_knot (id INT NOT NULL PRIMARY KEY, a_id INT NULL REFERENCES hostile_knot (id) ON UPDATE CASCADE, b_id INT NULL)",
        "INSERT INTO hostile_knot VALUES (1, NULL, NULL)", "INSERT INTO hostile_knot VALUES (2, 1, NULL)",
    ]).await;
    connect(t).execute_unprepared("UPDATE hostile_knot SET id = id + 100").await.unwrap();
    let all: Vec<_> = entries(t).await.iter().map(changes).collect();
    for (column, old) in [("id", 1), ("id", 2), ("a_id", 1)] {
        let count = all
            .iter()
            .filter(|c| c.get(column).is_some_and(|c| c["old"] == old && c["new"] == old + 100))
            .count();
        assert_eq!(count, 1, "{column} {old}: {all:#?}");
    }
});

// ---- transparency

db_test!(i2_kinds_of_errors, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let mut wrong = Vec::new();
    for sql in [
        "UPDATE shelf SET label = 'x' WHERE nothing = 1",
        "DELETE FROM shelf WHERE nothing = 1",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'dup')",
        "INSERT INTO shelf (room, number, label) SELECT room, number, label FROM shelf WHERE room = 'b'",
        "INSERT INTO shelf (room, number, label) SELECT nothing, number, label FROM shelf",
        "UPDATE shelf SET number = 1",
        "UPDATE shelf SET number = NULL",
    ] {
        let (plain, audited) = (kind(t.db.execute_unprepared(sql).await), db.execute_unprepared(sql).await);
        if audited.as_ref().is_err_and(is_audit_error) {
            continue; // refused
        }
        let audited = kind(audited);
        if plain != audited {
            wrong.push(format!("{sql}: {plain} becomes {audited}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
});

db_test!(i2_the_error_of_a_lock_that_is_not_had, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let set = t.pick("", "SET LOCAL lock_timeout = '300ms'", "SET innodb_lock_wait_timeout = 1");
    let other = t.db.begin().await.unwrap();
    other.execute_unprepared("UPDATE shelf SET label = 'held'").await.unwrap();
    let sql = "UPDATE shelf SET label = 'x' WHERE room = 'a'";
    let plain = t.db.begin().await.unwrap();
    plain.execute_unprepared(set).await.unwrap();
    let expected = kind(plain.execute_unprepared(sql).await);
    plain.rollback().await.unwrap();
    let audited = db.begin().await.unwrap();
    audited.execute_unprepared(set).await.unwrap();
    let found = kind(audited.execute_unprepared(sql).await);
    other.rollback().await.unwrap();
    assert_eq!(expected, found);
});

db_test!(i2_all_columns_of_a_join_come_back, on(postgres, sqlite), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let backend = t.db.get_database_backend();
    for sql in [
        "UPDATE shelf AS s SET label = 'q' FROM (SELECT 'a' AS vroom, 5 AS extra) AS v WHERE s.room = v.vroom RETURNING *",
        "DELETE FROM shelf USING (SELECT 'a' AS vroom, 5 AS extra) AS v WHERE shelf.room = v.vroom RETURNING *",
    ] {
        if backend == DbBackend::Sqlite && sql.starts_with("DELETE") {
            continue;
        }
        let plain = t.db.begin().await.unwrap();
        let expected = plain.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
        plain.rollback().await.unwrap();
        let found = match db.query_all_raw(Statement::from_string(backend, sql)).await {
            Err(error) if is_audit_error(&error) => continue,
            other => other.unwrap(),
        };
        assert_eq!(expected[0].column_names(), found[0].column_names(), "{sql}");
    }
});

db_test!(i2_a_row_whose_key_changes_while_the_update_waits, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let other = t.db.begin().await.unwrap();
    other.execute_unprepared("UPDATE shelf SET number = 10 WHERE room = 'b'").await.unwrap();
    let waiting = tokio::spawn({
        let db = db.clone();
        async move { db.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'b'").await }
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    other.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().rows_affected(), 1);
    assert_eq!(shelves(t).await["b/10"], "x");
});

db_test!(i2_upserts_that_plain_postgres_takes, on(postgres), async |t| {
    run(t, &[
        "CREATE TABLE shelf (room text NOT NULL DEFAULT 'a', number int NOT NULL DEFAULT 1, label text NOT NULL, code int, low text GENERATED ALWAYS AS (lower(room)) STORED, PRIMARY KEY (room, number))",
        "CREATE UNIQUE INDEX c ON shelf (code) NULLS NOT DISTINCT",
        "CREATE UNIQUE INDEX l ON shelf (low, number)",
        "CREATE UNIQUE INDEX p ON shelf (label) WHERE room = 'p'",
        "INSERT INTO shelf VALUES ('a', 1, 'one', 1), ('b', 1, 'two', NULL), ('p', 1, 'part', 7)",
    ]).await;
    faithful(t, &connect(t), &[
        "INSERT INTO shelf (label, code) VALUES ('default', 5) ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES (DEFAULT, 1, 'word', 5) ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES ('x', 1, 'null', NULL) ON CONFLICT (code) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES ('a', 1.2, 'rounded', 5) ON CONFLICT (room, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES ('A', 1, 'generated', 6) ON CONFLICT (low, number) DO UPDATE SET label = excluded.label",
        "INSERT INTO shelf (room, number, label, code) VALUES ('p', 2, 'part', 8) ON CONFLICT (label) WHERE room = 'p' DO UPDATE SET code = excluded.code",
        "INSERT INTO shelf (room, number, label, code) VALUES ('a', 1, 'where', 8) ON CONFLICT (room, number) DO UPDATE SET label = excluded.label WHERE shelf.label = 'nope'",
    ]).await;
});

db_test!(i2_a_definition_through_the_connection_is_noticed, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    faithful(t, &db, &["UPDATE shelf SET label = 'warm' WHERE room = 'b'"]).await;
    if t.db.get_database_backend() == DbBackend::Postgres {
        run(t, &["CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE shelf SET label = NEW.label || '!' WHERE room = NEW.room AND number = NEW.number AND pg_trigger_depth() = 1; RETURN NULL; END $$"]).await;
        db.execute_unprepared("CREATE TRIGGER tr AFTER UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION f()")
            .await
            .unwrap();
    } else {
        db.execute_unprepared(
            "CREATE TRIGGER tr BEFORE UPDATE ON shelf FOR EACH ROW SET NEW.label = concat(NEW.label, '!')",
        )
        .await
        .unwrap();
    }
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    db.execute_unprepared("UPDATE shelf SET label = 'warm2' WHERE room = 'b'").await.unwrap();
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_races_of_upserts, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    let on = t.pick(
        "ON CONFLICT (room, number) DO UPDATE SET label = shelf.label || 'x'",
        "ON CONFLICT (room, number) DO UPDATE SET label = shelf.label || 'x'",
        "ON DUPLICATE KEY UPDATE label = concat(label, 'x')",
    );
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut failed = Vec::new();
                for number in 0..15 {
                    let sql = format!("INSERT INTO shelf VALUES ('a', {number}, 'new') {on}");
                    if let Err(error) = db.execute_unprepared(&sql).await {
                        failed.push(error.to_string());
                    }
                }
                failed
            })
        })
        .collect();
    let mut failed = Vec::new();
    for task in tasks {
        failed.extend(task.await.unwrap());
    }
    assert_eq!(replay(t, Shelves::new(), 0).await, Ok(shelves(t).await));
    let ours: Vec<_> = failed.iter().filter(|error| error.contains("audit")).collect();
    println!("{} of {} errors are the library's", ours.len(), failed.len());
    assert!(ours.is_empty(), "{} failed: {:?}", ours.len(), ours.first());
});

// ---- SQLite

db_test!(i2_insert_or_fail_in_a_transaction, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let transaction = db.begin().await.unwrap();
    transaction
        .execute_unprepared("INSERT OR FAIL INTO shelf VALUES ('n', 1, 'stays'), ('a', 1, 'dup')")
        .await
        .unwrap_err();
    transaction.commit().await.unwrap();
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_several_statements_of_which_the_second_fails_in_a_transaction, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let transaction = db.begin().await.unwrap();
    transaction
        .execute_unprepared(
            "UPDATE shelf SET label = 'stays' WHERE room = 'b'; INSERT INTO shelf VALUES ('a', 1, 'dup')",
        )
        .await
        .unwrap_err();
    _ = transaction.commit().await;
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_a_write_dropped_while_triggers_are_armed, on(sqlite), async |t| {
    use std::future::Future;
    set_up_shelves(t).await;
    let db = single(t).await;
    db.execute_unprepared("UPDATE shelf SET label = 'warm'").await.unwrap();
    let mut wrong = Vec::new();
    for polls in 1..14 {
        let (before, seen) = (shelves(t).await, entries(t).await.len());
        let transaction = db.begin().await.unwrap();
        {
            let mut write = Box::pin(
                transaction.execute_unprepared("UPDATE shelf SET label = label || 'y' WHERE room = 'b'"),
            );
            for _ in 0..polls {
                let done =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx).is_ready()))
                        .await;
                if done {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        let committed = transaction.commit().await;
        // Not for the record.
        db.without_audit("test", async |db| {
            db.execute_unprepared("UPDATE shelf SET label = 'quiet' WHERE room = 'a'").await
        })
        .await
        .unwrap()
        .unwrap();
        db.execute_unprepared("DELETE FROM shelf WHERE room = 'nobody'").await.unwrap();
        db.execute_unprepared("UPDATE shelf SET label = label || 'z' WHERE room = 'b'").await.unwrap();
        let mut after = shelves(t).await;
        for key in ["a/1", "a/2"] {
            after.insert(key.into(), before[key].clone());
        }
        let found = replay(t, before, seen).await;
        if found != Ok(after.clone()) {
            wrong.push(format!("{polls} polls ({committed:?}): {found:?} but {after:?}"));
        }
        db.without_audit("test", async |db| {
            db.execute_unprepared(&format!("UPDATE shelf SET label = 'q{polls}' WHERE room = 'a'")).await
        })
        .await
        .unwrap()
        .unwrap();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
});

db_test!(i2_dropping_a_column, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = single(t).await;
    db.execute_unprepared("UPDATE shelf SET label = 'warm'").await.unwrap();
    db.execute_unprepared("ALTER TABLE shelf DROP COLUMN label").await.unwrap();
});

// ---- secrets

async fn search(t: &TestDb, secret: &str) -> Vec<String> {
    entries(t).await.iter().map(|e| format!("{e:?}")).filter(|e| e.contains(secret)).collect()
}

db_test!(i2_texts_put_together_by_the_statement, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let mysql = t.db.get_database_backend() == DbBackend::MySql;
    let mut leaks = Vec::new();
    for sql in [
        "UPDATE shelf SET label = 'password=hunter2' WHERE room = 'a'",
        "UPDATE shelf SET label = CAST('' AS text) || 'password=hunter2' WHERE room = 'b'",
        "UPDATE shelf SET label = ''::text || 'password=hunter2x' WHERE room = 'b'",
        "INSERT INTO shelf (room, number, label) VALUES ('n', 1, ''::text || 'password=hunter2')",
        "INSERT INTO shelf (room, number, label) VALUES ('n', 2, 'password=hunter2')",
        "INSERT INTO shelf (room, number, label) VALUES ('password=hunter2', 2, 'x')",
        "UPDATE shelf SET number = 77 WHERE room = 'password=hunter2'",
        "DELETE FROM shelf",
    ] {
        let sql = if mysql {
            sql.replace("''::text || ", "").replace("CAST('' AS text) || ", "")
        } else {
            sql.to_owned()
        };
        let sql = if t.db.get_database_backend() == DbBackend::Sqlite {
            sql.replace("''::text", "''")
        } else {
            sql
        };
        let before = search(t, "hunter2").await.len();
        if let Err(error) = db.execute_unprepared(&sql).await {
            panic!("{sql}: {error}");
        }
        if search(t, "hunter2").await.len() > before {
            leaks.push(sql);
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
});

db_test!(i2_a_number_that_is_cast_to_a_text, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let sql = "UPDATE shelf SET label = ($1::bigint)::text WHERE room = 'b'";
    let other = "UPDATE shelf SET label = CAST($1::int8 AS text) WHERE room = 'a'";
    for sql in [sql, other] {
        db.execute_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            sql,
            [V::BigInt(Some(4_111_111_111_111_111))],
        ))
        .await
        .unwrap();
    }
    assert_eq!(search(t, "4111111111111111").await, [""; 0]);
});

db_test!(i2_secrets_in_rows_that_are_chosen_at_random, on(postgres), async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    for number in 0..40 {
        t.execute(&format!("INSERT INTO shelf VALUES ('a', {number}, 'password=hunter2')")).await.unwrap();
        db.execute_unprepared(&format!(
            "DELETE FROM shelf WHERE room = 'a' AND number = {number} AND random() < 0.5"
        ))
        .await
        .unwrap();
    }
    assert_eq!(search(t, "hunter2").await, [""; 0]);
});

db_test!(i2_dates_after_9999, on(postgres), async |t| {
    create_table(t, dated::Entity).await;
    let db = connect(t);
    for sql in [
        "INSERT INTO hostile_dated VALUES (1, '12000-01-01')",
        "UPDATE hostile_dated SET day = '12001-01-01'",
        "UPDATE hostile_dated SET day = '2001-01-01'",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    let all: Vec<_> = entries(t).await.iter().map(|e| changes(e)["day"].clone()).collect();
    assert_eq!(all[0]["new"], all[1]["old"], "{all:?}");
    assert_eq!(all[1]["new"], all[2]["old"], "{all:?}");
});

db_test!(i2_ten_thousand_rows, async |t| {
    create_table(t, keys::shelf::Entity).await;
    let db = connect(t);
    let rows: Vec<String> = (0..10_000).map(|n| format!("('a', {n}, 'l')")).collect();
    let start = std::time::Instant::now();
    db.execute_unprepared(&format!("INSERT INTO shelf VALUES {}", rows.join(", "))).await.unwrap();
    assert_eq!(entries(t).await.len(), 10_000);
    db.execute_unprepared("UPDATE shelf SET number = number + 20000").await.unwrap();
    assert_eq!(entries(t).await.len(), 20_000);
    println!("{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
});

// ---- second round

db_test!(i2_a_default_that_is_computed_as_key, on(mysql), async |t| {
    run(t, &["CREATE TABLE shelf (room VARCHAR(100) NOT NULL DEFAULT (uuid()), number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))"]).await;
    faithful(t, &connect(t), &["INSERT INTO shelf (number, label) VALUES (1, 'x')"]).await;
});

db_test!(i2_a_table_of_the_same_name_in_another_schema, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let name = if t.db.get_database_backend() == DbBackend::MySql {
        t.value::<String>("SELECT concat(database(), '_y')").await.unwrap()
    } else {
        "elsewhere".to_owned()
    };
    run(
        t,
        &[
            &format!("CREATE SCHEMA {name}"),
            &format!("CREATE TABLE {name}.shelf (x INT NOT NULL PRIMARY KEY)"),
        ],
    )
    .await;
    let done = connect(t).execute_unprepared(&format!("INSERT INTO {name}.shelf (x) VALUES (1)")).await;
    if t.db.get_database_backend() == DbBackend::MySql {
        run(t, &[&format!("DROP DATABASE {name}")]).await;
    }
    done.unwrap();
});

db_test!(i2_forms_of_statements, on(postgres), async |t| {
    set_up_shelves(t).await;
    faithful(t, &connect(t), &[
        "UPDATE shelf SET label = v.l FROM (VALUES ('a', 'x'), ('a', 'y')) AS v (r, l) WHERE room = v.r",
        "UPDATE shelf AS s SET label = o.label || '+' FROM shelf AS o WHERE s.room = o.room AND o.number = 2",
        "UPDATE shelf SET (label, number) = (SELECT 'x', 70) WHERE room = 'b'",
        "UPDATE shelf SET (label) = ROW ('y') WHERE room = 'b'",
        "UPDATE ONLY shelf AS \"S\" SET label = \"S\".label || 'q' WHERE \"S\".room = 'a'",
        "INSERT INTO shelf AS s (room, number, label) VALUES ('a', 1, 'x') ON CONFLICT (number, room) DO UPDATE SET label = s.label || excluded.label",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) INSERT INTO shelf SELECT 'r', i, 'rec' FROM n",
        "UPDATE shelf SET label = 'deep' WHERE (room, number) IN (SELECT room, number FROM shelf WHERE room = 'r' ORDER BY number LIMIT 2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM shelf USING shelf AS o WHERE shelf.room = 'r' AND o.room = 'r' AND o.number > shelf.number",
        "UPDATE shelf SET label = DEFAULT WHERE false",
        "DELETE FROM shelf WHERE EXISTS (SELECT FROM shelf AS o WHERE o.number > 1000)",
    ]).await;
});

db_test!(i2_forms_of_statements_of_mysql, on(mysql), async |t| {
    set_up_shelves(t).await;
    faithful(t, &connect(t), &[
        "UPDATE shelf SET number = number + 1 WHERE room = 'a' ORDER BY number DESC",
        "UPDATE shelf SET label = 'max' WHERE number = (SELECT * FROM (SELECT max(number) FROM shelf) AS x)",
        "UPDATE shelf AS s SET s.label = 'alias' WHERE s.room = 'b'",
        "INSERT INTO shelf VALUES ('A', 2, 'case') ON DUPLICATE KEY UPDATE label = 'by case'",
        "UPDATE shelf SET room = 'A' WHERE room = 'a' AND number = 2",
        "REPLACE INTO shelf VALUES ('a', 2, 'replaced')",
        "INSERT INTO shelf VALUES ('Ä', 2, 'accent') ON DUPLICATE KEY UPDATE label = 'by accent'",
        "DELETE FROM shelf WHERE label = 'max' LIMIT 1",
    ]).await;
});

db_test!(i2_two_audits_over_one_pool, async |t| {
    set_up_shelves(t).await;
    let one = single(t).await;
    let two = {
        let mut options = t.options();
        options.max_connections(1);
        let pool = Database::connect(options).await.unwrap();
        (
            Audit::builder().build().unwrap().connect(pool.clone()),
            Audit::builder().exclude::<account::Entity>().build().unwrap().connect(pool),
        )
    };
    for round in 0..3 {
        faithful(t, &two.0, &[&format!("UPDATE shelf SET label = 'x{round}' WHERE room = 'a'")]).await;
        faithful(t, &two.1, &[&format!("UPDATE shelf SET label = 'y{round}' WHERE room = 'a'")]).await;
    }
    faithful(t, &one, &["DELETE FROM shelf WHERE room = 'b'"]).await;
});

db_test!(i2_a_table_that_is_made_anew, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    faithful(t, &db, &["UPDATE shelf SET label = 'x' WHERE room = 'a'"]).await;
    for sql in [
        "DROP TABLE shelf",
        // The same types: else PostgreSQL's cached plans of this test's own reads fail.
        t.pick(
            "CREATE TABLE shelf (number INT NOT NULL, room VARCHAR(100) NOT NULL, label VARCHAR NOT NULL, PRIMARY KEY (room, number))",
            "CREATE TABLE shelf (number INT NOT NULL, room VARCHAR(100) NOT NULL, label VARCHAR NOT NULL, PRIMARY KEY (room, number))",
            "CREATE TABLE shelf (number INT NOT NULL, room VARCHAR(100) NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))",
        ),
        "ALTER TABLE shelf ADD COLUMN more INT NULL",
    ] {
        db.execute_unprepared(sql).await.unwrap();
    }
    faithful(
        t,
        &db,
        &[
            "INSERT INTO shelf VALUES (1, 'a', 'one', 1), (2, 'b', 'two', NULL)",
            "UPDATE shelf SET label = 'y', more = 7 WHERE room = 'a'",
            "DELETE FROM shelf WHERE more IS NULL",
        ],
    )
    .await;
});

db_test!(i2_serialization_failures_and_read_only_transactions, on(postgres, mysql), async |t| {
    knots(t, "a_id", "b_id").await;
    set_up_shelves(t).await;
    run(
        t,
        &["INSERT INTO hostile_knot VALUES (1, NULL, NULL)", "INSERT INTO hostile_knot VALUES (2, NULL, 1)"],
    )
    .await;
    let db = connect(t);
    let mut wrong = Vec::new();
    for sql in [
        "DELETE FROM hostile_knot WHERE id = 1",
        "UPDATE shelf SET label = 'x' WHERE room = 'a'",
        "INSERT INTO shelf VALUES ('new', 1, 'x')",
        "INSERT INTO shelf SELECT 'new', 7, label FROM shelf WHERE number = 99",
    ] {
        let plain = t.db.begin_with_config(None, Some(sea_orm::AccessMode::ReadOnly)).await.unwrap();
        let expected = kind(plain.execute_unprepared(sql).await);
        plain.rollback().await.unwrap();
        let audited = db.begin_with_config(None, Some(sea_orm::AccessMode::ReadOnly)).await.unwrap();
        let found = audited.execute_unprepared(sql).await;
        let (refused, found) = (found.as_ref().is_err_and(is_audit_error), kind(found));
        audited.rollback().await.unwrap();
        if !refused && expected != found {
            wrong.push(format!("read only: {sql}: {expected} becomes {found}"));
        }
    }
    if t.db.get_database_backend() == DbBackend::Postgres {
        for (sql, other) in [
            ("DELETE FROM hostile_knot WHERE id = 1", "UPDATE hostile_knot SET a_id = NULL WHERE id = 1"),
            ("UPDATE shelf SET label = 'x' WHERE room = 'a'", "UPDATE shelf SET label = label || '!'"),
        ] {
            let level = Some(sea_orm::IsolationLevel::RepeatableRead);
            let plain = t.db.begin_with_config(level, None).await.unwrap();
            let audited = db.begin_with_config(level, None).await.unwrap();
            for tx in ["SELECT 1 FROM shelf"] {
                plain.execute_unprepared(tx).await.unwrap();
                audited.execute_unprepared(tx).await.unwrap();
            }
            t.execute(other).await.unwrap();
            let expected = kind(plain.execute_unprepared(sql).await);
            plain.rollback().await.unwrap();
            let found = kind(audited.execute_unprepared(sql).await);
            audited.rollback().await.unwrap();
            if expected != found {
                wrong.push(format!("repeatable read: {sql}: {expected} becomes {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
});

db_test!(i2_a_busy_database, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let other =
        t.db.begin_with_options(sea_orm::TransactionOptions {
            sqlite_transaction_mode: Some(sea_orm::SqliteTransactionMode::Immediate),
            ..Default::default()
        })
        .await
        .unwrap();
    let sql = "UPDATE shelf SET label = 'x'";
    let (plain, audited) = tokio::join!(t.db.execute_unprepared(sql), db.execute_unprepared(sql));
    other.rollback().await.unwrap();
    assert_eq!(kind(plain), kind(audited));
});

db_test!(i2_a_constraint_that_is_called_like_the_log, on(postgres), async |t| {
    set_up_shelves(t).await;
    run(t, &["CREATE UNIQUE INDEX like_audit_log ON shelf (label)"]).await;
    let sql = "INSERT INTO shelf VALUES ('q', 1, 'one')";
    let error = connect(t).execute_unprepared(sql).await.unwrap_err();
    assert!(error.sql_err().is_some(), "{error}");
});

db_test!(i2_nul_and_long_texts, on(sqlite, mysql), async |t| {
    run(t, &["CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label TEXT NOT NULL, PRIMARY KEY (room, number))"]).await;
    let db = connect(t);
    let backend = t.db.get_database_backend();
    for (room, label) in [("a", "x\0y".to_owned()), ("d", "\u{1F600}".repeat(5000))] {
        let values = [V::from(room), V::from(label)];
        db.execute_raw(Statement::from_sql_and_values(backend, "INSERT INTO shelf VALUES (?, 1, ?)", values))
            .await
            .unwrap();
        let values = [V::from("other"), V::from(room)];
        db.execute_raw(Statement::from_sql_and_values(
            backend,
            "UPDATE shelf SET label = ? WHERE room = ?",
            values,
        ))
        .await
        .unwrap();
    }
    assert_eq!(replay(t, Shelves::new(), 0).await, Ok(shelves(t).await));
});

db_test!(i2_insert_or_rollback, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = single(t).await;
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared("UPDATE shelf SET label = 'x' WHERE room = 'a'").await.unwrap();
    transaction.execute_unprepared("INSERT OR ROLLBACK INTO shelf VALUES ('a', 1, 'dup')").await.unwrap_err();
    _ = transaction.execute_unprepared("UPDATE shelf SET label = label || 'y' WHERE room = 'b'").await;
    _ = transaction.commit().await;
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_a_very_long_key, async |t| {
    run(t, &["CREATE TABLE shelf (room VARCHAR(700) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))"]).await;
    let db = connect(t);
    let room = "r".repeat(650);
    db.execute_unprepared(&format!("INSERT INTO shelf VALUES ('{room}', 1, 'x')")).await.unwrap();
    db.execute_unprepared(&format!("UPDATE shelf SET label = 'y' WHERE room = '{room}'")).await.unwrap();
    db.execute_unprepared("UPDATE shelf SET label = concat(label, 'z')").await.unwrap();
    db.execute_unprepared("DELETE FROM shelf").await.unwrap();
    let all = entries(t).await;
    let ids: std::collections::BTreeSet<_> = all.iter().map(|e| e.resource_id.clone()).collect();
    assert_eq!((all.len(), ids.len()), (4, 1), "{ids:?}");
    assert!(all.iter().all(|e| e.hash_matches() == Some(true)));
});

db_test!(i2_a_truncate_that_cascades, on(postgres), async |t| {
    run(t, &[
        "CREATE TABLE room (name VARCHAR(100) NOT NULL PRIMARY KEY)",
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL REFERENCES room (name), number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))",
        "INSERT INTO room VALUES ('a')",
        "INSERT INTO shelf VALUES ('a', 1, 'one')",
    ]).await;
    let done = connect(t).execute_unprepared("TRUNCATE room CASCADE").await;
    assert!(done.is_err() || entries(t).await.len() == 1, "silently emptied: {:?}", shelves(t).await);
});

db_test!(i2_settings_that_change_what_statements_mean, async |t| {
    set_up_shelves(t).await;
    let all: &[&str] = t.pick(
        &["PRAGMA recursive_triggers(1)", "PRAGMA main.recursive_triggers = 1"],
        &[
            "SET SESSION standard_conforming_strings TO off",
            "SET LOCAL standard_conforming_strings = off",
            "SELECT set_config('standard_conforming_strings', 'off', false)",
            "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
        ],
        &[
            "SET SESSION sql_mode = ''",
            "SET @@sql_mode = ''",
            "SET @@session.sql_mode = ''",
            "SET @x = 1, sql_mode = ''",
            "SET LOCAL sql_mode = ''",
        ],
    );
    let db = connect(t);
    let mut passed = Vec::new();
    for sql in all {
        let transaction = db.begin().await.unwrap();
        if transaction.execute_unprepared(sql).await.is_ok() {
            passed.push(*sql);
        }
        transaction.rollback().await.unwrap();
    }
    assert_eq!(passed, [""; 0]);
});

db_test!(i2_an_upsert_of_an_audited_table_whose_update_cascades, on(postgres, mysql), async |t| {
    run(t, &[
        "CREATE TABLE hostile_knot (id INT NOT NULL PRIMARY KEY, a_id INT NOT NULL UNIQUE, b_id INT NULL)",
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number), CONSTRAINT fk_n FOREIGN KEY (number) REFERENCES hostile_knot (a_id) ON UPDATE CASCADE)",
        "INSERT INTO hostile_knot VALUES (1, 5, NULL)",
        "INSERT INTO shelf VALUES ('a', 5, 'one')",
    ]).await;
    let sql = t.pick(
        "",
        "INSERT INTO hostile_knot VALUES (1, 6, 1) ON CONFLICT (id) DO UPDATE SET a_id = 6",
        "INSERT INTO hostile_knot VALUES (1, 6, 1) ON DUPLICATE KEY UPDATE a_id = 6",
    );
    faithful(t, &connect(t), &[sql]).await;
});

db_test!(i2_a_text_that_reads_otherwise_after_set_config, on(postgres), async |t| {
    set_up_shelves(t).await;
    let db = single(t).await;
    let (before, seen) = (shelves(t).await, entries(t).await.len());
    _ = db.execute_unprepared("SELECT set_config('standard_conforming_strings', 'off', false)").await;
    _ = db.execute_unprepared(r"SELECT 'x\'', ''; DELETE FROM shelf; --'").await;
    assert_eq!(replay(t, before, seen).await, Ok(shelves(t).await));
});

db_test!(i2_a_replace_that_is_dropped_half_way, on(sqlite), async |t| {
    set_up_shelves(t).await;
    assert_nothing_is_left_on(t, "REPLACE INTO shelf VALUES ('a', 1, 'r')").await;
});

db_test!(i2_a_replace_by_definition_that_is_dropped_half_way, on(sqlite), async |t| {
    run(t, &[
        "CREATE TABLE shelf (room TEXT NOT NULL, number INT NOT NULL, label TEXT NOT NULL, PRIMARY KEY (room, number) ON CONFLICT REPLACE)",
        "INSERT INTO shelf VALUES ('a', 1, 'one')",
    ]).await;
    assert_nothing_is_left_on(t, "INSERT INTO shelf VALUES ('a', 1, 'r')").await;
});

db_test!(i4_recursive_triggers_stay_on, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let mut options = t.options();
    options.max_connections(1).map_sqlx_sqlite_opts(|options| {
        // The same as all of the harness's, and triggers that fire triggers.
        options.foreign_keys(true).pragma("recursive_triggers", "1")
    });
    let db = Audit::builder().build().unwrap().connect(Database::connect(options).await.unwrap());
    faithful(t, &db, &["REPLACE INTO shelf VALUES ('a', 1, 'r')", "UPDATE OR REPLACE shelf SET number = 1"])
        .await;
    assert_eq!(recursive_triggers(&db).await, 1);
});

async fn recursive_triggers(db: &AuditConnection) -> i32 {
    let ask = "SELECT recursive_triggers AS n FROM pragma_recursive_triggers";
    let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, ask)).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// Drops a write at each of its await points: no setting of the connection stays changed.
async fn assert_nothing_is_left_on(t: &TestDb, sql: &str) {
    use std::future::Future;
    let db = single(t).await;
    db.execute_unprepared("UPDATE shelf SET label = 'warm'").await.unwrap();
    let mut wrong = Vec::new();
    for polls in 1..14 {
        let transaction = db.begin().await.unwrap();
        {
            let mut write = Box::pin(transaction.execute_unprepared(sql));
            for _ in 0..polls {
                let done =
                    std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx).is_ready()))
                        .await;
                if done {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        let done = transaction.commit().await;
        if recursive_triggers(&db).await != 0 {
            wrong.push(format!("{polls} polls: recursive_triggers is on ({done:?})"));
            _ = db
                .without_audit("test", async |db| {
                    db.execute_unprepared("PRAGMA recursive_triggers = 0").await
                })
                .await;
        }
        let row = db
            .query_one_raw(Statement::from_string(
                DbBackend::Sqlite,
                "SELECT armed AS n FROM temp.audit_capture_state",
            ))
            .await
            .unwrap()
            .unwrap();
        if row.try_get::<i32>("", "n").unwrap() != 0 {
            wrong.push(format!("{polls} polls: armed ({done:?})"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
