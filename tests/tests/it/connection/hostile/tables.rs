//! Tables that are made, changed, named twice or shared.

use audit_seaorm::Audit;
use audit_tests::{DbBackend, db_test};
use sea_orm::{ConnectionTrait, Database, TransactionTrait};

use super::{faithful, replay, run, shelves, single};
use crate::connection::connect;
use crate::fixtures::{account, changes, create_table, entries, set_up_shelves};

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
        0,
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
        0,
    )
    .await;
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

db_test!(i2_a_definition_through_the_connection_is_noticed, on(postgres, mysql), async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    faithful(t, &db, &["UPDATE shelf SET label = 'warm' WHERE room = 'b'"], 0).await;
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

db_test!(i2_dropping_a_column, on(sqlite), async |t| {
    set_up_shelves(t).await;
    let db = single(t).await;
    db.execute_unprepared("UPDATE shelf SET label = 'warm'").await.unwrap();
    db.execute_unprepared("ALTER TABLE shelf DROP COLUMN label").await.unwrap();
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
        faithful(t, &two.0, &[&format!("UPDATE shelf SET label = 'x{round}' WHERE room = 'a'")], 0).await;
        faithful(t, &two.1, &[&format!("UPDATE shelf SET label = 'y{round}' WHERE room = 'a'")], 0).await;
    }
    faithful(t, &one, &["DELETE FROM shelf WHERE room = 'b'"], 0).await;
});

db_test!(i2_a_table_that_is_made_anew, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    faithful(t, &db, &["UPDATE shelf SET label = 'x' WHERE room = 'a'"], 0).await;
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
        0,
    )
    .await;
});
