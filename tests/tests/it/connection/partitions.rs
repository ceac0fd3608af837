//! PostgreSQL: tables whose rows are in partitions.

use audit_seaorm::is_audit_error;
use audit_tests::{TestDb, db_test};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, EntityTrait, Set, TransactionTrait};

use super::hostile::{shelves, told};
use super::sessions::{assert_told, audited, now, single, waiting};
use crate::fixtures::{entries, keys::shelf};

/// Shelves in partitions by room, one of them empty.
async fn parted_shelves(t: &TestDb) {
    for sql in [
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, \
         PRIMARY KEY (room, number)) PARTITION BY LIST (room)",
        "CREATE TABLE shelf_a PARTITION OF shelf FOR VALUES IN ('a')",
        "CREATE TABLE shelf_b PARTITION OF shelf FOR VALUES IN ('b')",
        "CREATE TABLE shelf_rest PARTITION OF shelf DEFAULT",
        "CREATE TABLE book (id INT NOT NULL PRIMARY KEY, room VARCHAR(100) NOT NULL, number INT NOT NULL, title VARCHAR(100) NOT NULL)",
        "CREATE TABLE loan (id INT NOT NULL PRIMARY KEY, book_id INT, reader VARCHAR(100) NOT NULL)",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'one'), ('a', 2, 'two'), ('b', 1, 'three')",
    ] {
        t.execute(sql).await.expect("the tables");
    }
}

db_test!(c5_upserts_into_partitions_say_what_they_made_and_what_they_changed, on(postgres), async |t| {
    parted_shelves(t).await;
    let before = now(t).await;
    let db = audited(&t.db);
    let upsert = "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'x'), ('b', 2, 'new'), ('z', 1, 'new') \
                  ON CONFLICT (room, number) DO UPDATE SET label = excluded.label";
    assert_eq!(db.execute_unprepared(upsert).await.unwrap().rows_affected(), 3);
    let said: Vec<_> = entries(t)
        .await
        .iter()
        .map(|e| format!("{} {}", e.action, e.resource_id.as_deref().unwrap()))
        .collect();
    assert_eq!(said, ["update a/1", "create b/2", "create z/1"]);

    let model = |room: &str, number: i32, label: &str| shelf::ActiveModel {
        room: Set(room.into()),
        number: Set(number),
        label: Set(label.into()),
    };
    let transaction = db.begin().await.unwrap();
    shelf::Entity::insert_many([model("b", 1, "y"), model("c", 1, "new")])
        .on_conflict(
            OnConflict::columns([shelf::Column::Room, shelf::Column::Number])
                .update_column(shelf::Column::Label)
                .to_owned(),
        )
        .exec_with_returning(&transaction)
        .await
        .unwrap();
    transaction
        .execute_unprepared("UPDATE shelf SET label = concat(label, '!') WHERE room = 'a'")
        .await
        .unwrap();
    transaction.execute_unprepared("DELETE FROM shelf WHERE room = 'z'").await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(entries(t).await.len(), 8);
    assert_told(t, &before).await;
});

db_test!(
    c5_an_upsert_that_meets_a_row_in_a_partition_in_between_tells_its_old_values,
    on(postgres),
    async |t| {
        parted_shelves(t).await;
        let before = now(t).await;
        let db = audited(&t.db);
        db.execute_unprepared("UPDATE shelf SET label = 'uno' WHERE room = 'a' AND number = 1")
            .await
            .unwrap();
        for (number, within) in [(5, false), (6, true)] {
            let other = db.begin().await.unwrap();
            other
                .execute_unprepared(&format!(
                    "INSERT INTO shelf (room, number, label) VALUES ('b', {number}, 'theirs')"
                ))
                .await
                .unwrap();
            let sql = format!(
                "INSERT INTO shelf (room, number, label) VALUES ('b', {number}, 'ours') \
                           ON CONFLICT (room, number) DO UPDATE SET label = excluded.label"
            );
            let ours = async {
                if within {
                    let transaction = db.begin().await?;
                    transaction.execute_unprepared(&sql).await?;
                    transaction.commit().await
                } else {
                    db.execute_unprepared(&sql).await.map(|_| ())
                }
            };
            let (ours, theirs) = tokio::join!(ours, async {
                waiting(t, 1).await;
                other.commit().await
            });
            theirs.unwrap();
            ours.unwrap();
        }
        assert_told(t, &before).await;
        let last = entries(t).await.pop().unwrap();
        assert_eq!(last.changes.as_deref(), Some(r#"{"label":{"old":"theirs","new":"ours"}}"#));
    }
);

/// Runs statements over a new connection each; the entries must tell what has become of shelves, books and loans.
async fn all_told(t: &TestDb, statements: &[&str]) {
    let before = now(t).await;
    for sql in statements {
        let db = audited(&single(t).await);
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_told(t, &before).await;
    }
}

// Only foreign keys between whole tables were followed.
db_test!(c16_foreign_keys_of_single_partitions_are_followed, on(postgres), async |t| {
    parted_shelves(t).await;
    for sql in [
        "ALTER TABLE shelf_a ADD UNIQUE (number)",
        // Ends at a partition; begins in one; by way of a partition of a table that isn't audited.
        "CREATE TABLE stand (id INT PRIMARY KEY)",
        "INSERT INTO stand VALUES (1), (2)",
        "INSERT INTO book VALUES (1, 'a', 1, 'first'), (2, 'a', 2, 'second'), (3, 'b', 1, 'third')",
        "ALTER TABLE book ADD FOREIGN KEY (room, number) REFERENCES shelf_a (room, number) ON DELETE CASCADE ON UPDATE CASCADE NOT VALID",
        "ALTER TABLE shelf_b ADD FOREIGN KEY (number) REFERENCES stand (id) ON DELETE CASCADE",
        "CREATE TABLE step (id INT NOT NULL, book_id INT, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
        "CREATE TABLE step_low PARTITION OF step FOR VALUES FROM (0) TO (10)",
        "INSERT INTO step VALUES (1, 1), (2, 2)",
        "ALTER TABLE step_low ADD FOREIGN KEY (id) REFERENCES stand (id) ON DELETE CASCADE",
        "INSERT INTO loan VALUES (1, 1, 'Ann'), (2, 2, 'Ben')",
        "ALTER TABLE loan ADD FOREIGN KEY (id) REFERENCES step_low (id) ON DELETE CASCADE",
    ] {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    all_told(
        t,
        &[
            "DELETE FROM shelf WHERE room = 'a' AND number = 1",
            "DELETE FROM stand WHERE id = 1",
            "DELETE FROM shelf",
            "DELETE FROM stand",
        ],
    )
    .await;
    assert_eq!(t.value::<i64>("SELECT count(*) FROM shelf").await.unwrap(), 0);
    assert_eq!(t.value::<i64>("SELECT count(*) FROM book").await.unwrap(), 1);
    assert_eq!(t.value::<i64>("SELECT count(*) FROM loan").await.unwrap(), 0);
});

// Foreign keys and triggers of the tables that inherit weren't looked at.
db_test!(c16_what_tables_that_inherit_have_of_their_own_is_followed, on(postgres), async |t| {
    for sql in [
        "CREATE TABLE shelf (room VARCHAR(100) NOT NULL, number INT NOT NULL, label VARCHAR(100) NOT NULL, PRIMARY KEY (room, number))",
        "CREATE TABLE special (extra INT UNIQUE, PRIMARY KEY (room, number)) INHERITS (shelf)",
        "CREATE TABLE book (id INT NOT NULL PRIMARY KEY, room VARCHAR(100) NOT NULL, number INT NOT NULL, title VARCHAR(100) NOT NULL, \
         FOREIGN KEY (room, number) REFERENCES special (room, number) ON DELETE CASCADE)",
        "CREATE TABLE loan (id INT NOT NULL PRIMARY KEY, book_id INT, reader VARCHAR(100) NOT NULL)",
        "INSERT INTO shelf VALUES ('a', 1, 'one')",
        "INSERT INTO special VALUES ('s', 1, 'special', 7), ('s', 2, 'other', 8), ('s', 3, 'third', 9)",
        "INSERT INTO book VALUES (1, 's', 1, 'first'), (2, 's', 2, 'second')",
        "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         UPDATE special SET label = NEW.label || '!' WHERE room = NEW.room AND number = NEW.number AND label NOT LIKE '%!'; RETURN NULL; END $$",
        "CREATE TRIGGER again AFTER UPDATE ON special FOR EACH ROW EXECUTE FUNCTION again()",
    ] {
        t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    all_told(
        t,
        &[
            "DELETE FROM shelf WHERE number = 1 AND room = 's'",
            "UPDATE shelf SET label = 'x' WHERE number = 2",
            "DELETE FROM shelf WHERE number = 2",
        ],
    )
    .await;
    assert_eq!(t.value::<i64>("SELECT count(*) FROM book").await.unwrap(), 0);

    // By a column that only the table below has.
    t.execute("ALTER TABLE loan ADD FOREIGN KEY (book_id) REFERENCES special (extra) ON DELETE CASCADE")
        .await
        .unwrap();
    let error =
        audited(&single(t).await).execute_unprepared("DELETE FROM shelf WHERE number = 3").await.unwrap_err();
    assert!(is_audit_error(&error) && error.to_string().contains("declare it on the whole table"), "{error}");
    assert_eq!(t.value::<i64>("SELECT count(*) FROM special").await.unwrap(), 1);
});

// Nothing was recorded of it: the statement returns no such row.
db_test!(c5_a_row_that_a_trigger_keeps_out_of_its_new_part_is_not_lost, on(postgres), async |t| {
    parted_shelves(t).await;
    for sql in [
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.number > 1 THEN RETURN NULL; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER t BEFORE INSERT ON shelf_rest FOR EACH ROW EXECUTE FUNCTION f()",
    ] {
        t.execute(sql).await.unwrap();
    }
    let before = shelves(t).await;
    let db = audited(&single(t).await);
    let refused = db.execute_unprepared("UPDATE shelf SET room = 'c' WHERE room = 'a'").await.unwrap_err();
    assert!(is_audit_error(&refused), "{refused}");
    db.execute_unprepared("UPDATE shelf SET room = 'c' WHERE room = 'a' AND number = 1").await.unwrap();
    let after = shelves(t).await;
    assert_ne!(after, before);
    assert_eq!(told(&entries(t).await, before), Ok(after));
});

// For a foreign key to a single part a row is deleted when it leaves that.
db_test!(c16_a_row_that_leaves_the_part_that_others_refer_to_takes_them_along, on(postgres), async |t| {
    for rule in ["CASCADE", "SET NULL"] {
        t.execute("DROP TABLE IF EXISTS zone, loan, book, shelf CASCADE").await.unwrap();
        parted_shelves(t).await;
        for sql in [
            "CREATE TABLE zone (id INT NOT NULL, kind TEXT NOT NULL, name TEXT, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind)",
            "CREATE TABLE zone_a PARTITION OF zone FOR VALUES IN ('a')",
            "CREATE TABLE zone_rest PARTITION OF zone DEFAULT",
            "ALTER TABLE zone_a ADD UNIQUE (id)",
            "INSERT INTO zone VALUES (1, 'a'), (2, 'a')",
            &format!("ALTER TABLE loan ADD FOREIGN KEY (book_id) REFERENCES zone_a (id) ON DELETE {rule}"),
            "INSERT INTO loan VALUES (1, 1, 'Ann'), (2, 2, 'Ben'), (3, NULL, 'Cid')",
        ] {
            t.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let (before, seen) = (now(t).await, entries(t).await.len());
        let db = audited(&single(t).await);
        db.execute_unprepared("UPDATE zone SET name = 'stays'").await.unwrap();
        assert_eq!(entries(t).await.len(), seen);
        db.execute_unprepared("UPDATE zone SET kind = 'b' WHERE id = 1").await.unwrap();
        let made = entries(t).await.split_off(seen);
        let said: Vec<_> =
            made.iter().map(|e| format!("{} {}", e.action, e.resource_id.as_deref().unwrap())).collect();
        assert_eq!(said, [if rule == "CASCADE" { "delete 1" } else { "update 1" }], "{rule}");
        assert_ne!(now(t).await, before);
    }
});
