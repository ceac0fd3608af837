//! C5: writes to a table whose rows are chosen by others, and writes of MySQL's to one table of a join.

use audit_seaorm::is_audit_error;
use audit_tests::db_test;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{ConnectionTrait, EntityTrait, TransactionTrait};

use super::odd_mysql::execute;
use super::sessions::waiting;
use super::{connect, hostile};
use crate::fixtures::{entries, keys, set_up_shelves, tree};

/// A table that shelves are joined to.
const ROOMS: [&str; 2] = [
    "CREATE TABLE room (name VARCHAR(100) NOT NULL, floor INT NOT NULL, label VARCHAR(100) NULL)",
    // Of `a` there are two: whoever joins meets its shelves twice.
    "INSERT INTO room VALUES ('a', 1, 'low'), ('a', 2, NULL), ('b', 2, 'high'), ('c', 3, 'none')",
];

db_test!(c5_writes_to_one_table_of_a_join_are_recorded, on(mysql), async |t| {
    set_up_shelves(t).await;
    for sql in ROOMS {
        t.execute(sql).await.unwrap();
    }
    let plain = async |sql: &str| {
        let transaction = t.db.begin().await.unwrap();
        let done = transaction.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = keys::shelf::Entity::find().all(&transaction).await.unwrap();
        transaction.rollback().await.unwrap();
        (done.rows_affected(), rows)
    };
    let db = connect(t);
    for (sql, entries_made) in [
        (
            "UPDATE shelf JOIN room ON room.name = shelf.room AND room.floor = 1 SET shelf.label = room.label",
            2,
        ),
        // Each row once, though it is met twice.
        (
            "UPDATE shelf s INNER JOIN room AS r ON r.name = s.room SET s.label = concat(s.label, '+') WHERE r.floor < 3",
            3,
        ),
        (
            "UPDATE `shelf` AS `s` LEFT JOIN room r ON r.name = s.room AND r.floor = 2 SET `s`.`label` = 'left' WHERE r.label IS NULL",
            2,
        ),
        ("UPDATE shelf s JOIN shelf o ON o.room = s.room AND o.number > s.number SET s.label = o.number", 1),
        (
            "UPDATE shelf JOIN room ON room.name = shelf.room SET shelf.label = 'nobody' WHERE room.floor = 9",
            0,
        ),
        ("DELETE shelf FROM shelf JOIN room ON room.name = shelf.room WHERE shelf.number = 2", 1),
        (
            "DELETE s FROM shelf AS s LEFT JOIN room AS r ON r.name = s.room AND r.floor = 2 WHERE r.label = 'high'",
            1,
        ),
        ("DELETE s FROM shelf s JOIN room r ON r.name = s.room", 1),
    ] {
        for within in [true, false] {
            let (before, seen) = (hostile::shelves(t).await, entries(t).await.len());
            let expected = plain(sql).await;
            let found = if within {
                let transaction = db.begin().await.unwrap();
                let done = transaction.execute_unprepared(sql).await;
                let done = done.unwrap_or_else(|error| panic!("{sql}: {error}"));
                let rows = keys::shelf::Entity::find().all(&transaction).await.unwrap();
                transaction.rollback().await.unwrap();
                (done.rows_affected(), rows)
            } else {
                let done = db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
                let all = entries(t).await.split_off(seen);
                assert_eq!(all.len(), entries_made, "{sql}");
                assert_eq!(hostile::told(&all, before), Ok(hostile::shelves(t).await), "{sql}");
                (done.rows_affected(), keys::shelf::Entity::find().all(&t.db).await.unwrap())
            };
            assert_eq!(found, expected, "{sql}");
        }
    }
    assert_eq!(keys::shelf::Entity::find().all(&t.db).await.unwrap(), []);
});

db_test!(c5_updates_from_another_table_are_recorded, async |t| {
    set_up_shelves(t).await;
    for sql in ROOMS {
        t.execute(sql).await.unwrap();
    }
    let db = connect(t);
    // What the builder makes of `FROM` is a join on MySQL.
    let update = Query::update()
        .table(keys::shelf::Entity)
        .value(keys::shelf::Column::Label, Expr::col((Alias::new("room"), Alias::new("label"))))
        .from(Alias::new("room"))
        .cond_where(
            Expr::col((Alias::new("room"), Alias::new("name")))
                .equals((keys::shelf::Entity, keys::shelf::Column::Room))
                .and(Expr::col((Alias::new("room"), Alias::new("label"))).is_not_null())
                .and(Expr::col((keys::shelf::Entity, keys::shelf::Column::Number)).eq(1)),
        )
        .to_owned();
    let before = hostile::shelves(t).await;
    assert_eq!(db.execute(&update).await.unwrap().rows_affected(), 2);
    let after = hostile::shelves(t).await;
    assert_eq!((after["a/1"].as_str(), after["a/2"].as_str(), after["b/1"].as_str()), ("low", "two", "high"));
    assert_eq!(hostile::told(&entries(t).await, before), Ok(after));
});

db_test!(c17_writes_to_joins_that_cannot_be_followed_are_refused, on(mysql), async |t| {
    set_up_shelves(t).await;
    for sql in ROOMS {
        t.execute(sql).await.unwrap();
    }
    t.execute("CREATE TABLE other (shelf INT NOT NULL, label VARCHAR(100) NULL, room VARCHAR(100) NOT NULL)")
        .await
        .unwrap();
    let db = connect(t);
    for sql in [
        // Which table a column is of isn't said, or it is another's.
        "UPDATE shelf JOIN room ON room.name = shelf.room SET number = 7",
        "UPDATE shelf JOIN room ON room.name = shelf.room SET shelf.label = 'x', room.label = 'y'",
        "UPDATE room JOIN shelf ON room.name = shelf.room SET shelf.label = 'x'",
        "UPDATE shelf, room SET shelf.label = 'x' WHERE room.name = shelf.room",
        "UPDATE shelf RIGHT JOIN room ON room.name = shelf.room SET shelf.label = 'x'",
        "UPDATE shelf NATURAL JOIN other SET shelf.label = 'x'",
        // A row that is met twice gets one of two keys.
        "UPDATE shelf JOIN room ON room.name = shelf.room SET shelf.number = room.floor + 10",
        "UPDATE shelf JOIN room ON room.name = shelf.room AND rand() < 2 SET shelf.label = 'x'",
        "UPDATE IGNORE shelf JOIN room ON room.name = shelf.room SET shelf.label = 'x'",
        "UPDATE shelf s JOIN other AS S ON s.room = S.room SET s.label = 'x'",
        "DELETE shelf, room FROM shelf JOIN room ON room.name = shelf.room",
        "DELETE room FROM shelf JOIN room ON room.name = shelf.room",
        "DELETE FROM shelf USING shelf JOIN room ON room.name = shelf.room",
        "DELETE r FROM room AS s JOIN shelf AS r ON s.name = r.room",
    ] {
        let before = hostile::shelves(t).await;
        let error = db.execute_unprepared(sql).await.expect_err(sql);
        assert!(is_audit_error(&error) && error.to_string().contains('`'), "{sql}: {error}");
        assert_eq!(hostile::shelves(t).await, before, "{sql}");
    }
    // A sub-select may see an older state in a transaction that reads a snapshot.
    let transaction = db.begin().await.unwrap();
    let sql = "UPDATE shelf JOIN (SELECT name FROM room) AS r ON r.name = shelf.room SET shelf.label = 'x'";
    let error = transaction.execute_unprepared(sql).await.expect_err(sql);
    assert!(is_audit_error(&error) && error.to_string().contains("`shelf`"), "{error}");
    transaction.rollback().await.unwrap();
    assert_eq!(entries(t).await, []);
    // Joins of tables that aren't audited are nobody's business.
    db.execute_unprepared("UPDATE room JOIN other ON other.room = room.name SET room.label = 'x'")
        .await
        .unwrap();
    db.execute_unprepared("DELETE room, other FROM room JOIN other ON other.room = room.name").await.unwrap();
});

// What a sub-select finds must be the same for the read of the rows before as for the statement: it was not locked, and a change that
// came in between was recorded of other rows than those that were changed.
db_test!(i4_what_a_sub_select_finds_stays_until_the_statement_is_done, on(mysql), async |t| {
    set_up_shelves(t).await;
    t.execute("CREATE TABLE chosen (room VARCHAR(100) NOT NULL PRIMARY KEY)").await.unwrap();
    t.execute("INSERT INTO chosen VALUES ('a')").await.unwrap();
    let db = connect(t);
    for (sql, back) in [
        (
            "UPDATE shelf SET label = 'x' WHERE room IN (SELECT room FROM chosen)",
            "UPDATE shelf SET label = 'o'",
        ),
        (
            "UPDATE shelf JOIN (SELECT room FROM chosen) AS c ON c.room = shelf.room SET shelf.label = 'x'",
            "UPDATE shelf SET label = 'o'",
        ),
    ] {
        t.execute(back).await.unwrap();
        t.execute("UPDATE chosen SET room = 'a'").await.unwrap();
        let (before, seen) = (hostile::shelves(t).await, entries(t).await.len());
        // The statement has read what is chosen, and waits for a shelf.
        let held = t.db.begin().await.unwrap();
        held.execute_unprepared("SELECT * FROM shelf FOR UPDATE").await.unwrap();
        let writer = db.clone();
        let write = tokio::spawn(async move { writer.execute_unprepared(sql).await });
        waiting(t, 1).await;
        // Another choice: it is made at once, or after the statement.
        let other = t.db.clone();
        let mut choice =
            tokio::spawn(async move { other.execute_unprepared("UPDATE chosen SET room = 'b'").await });
        tokio::select! {
            done = &mut choice => { done.unwrap().unwrap(); }
            _ = waiting(t, 2) => {}
        }
        held.rollback().await.unwrap();
        write.await.unwrap().unwrap();
        if !choice.is_finished() {
            choice.await.unwrap().unwrap();
        }
        let all = entries(t).await.split_off(seen);
        assert!(!all.is_empty());
        assert_eq!(hostile::told(&all, before), Ok(hostile::shelves(t).await), "{sql}");
    }
});

// One table after all, in the words for several.
db_test!(c5_a_delete_that_names_its_table_twice_is_recorded, on(mysql), async |t| {
    set_up_shelves(t).await;
    execute(t, &tree::TABLES).await;
    execute(
        t,
        &[
            "INSERT INTO house VALUES (1, 'h'), (2, 'i')",
            "INSERT INTO wing VALUES (1, 1), (3, 2)",
            "INSERT INTO node (id, label, wing_id) VALUES (1, 'a', 1), (3, 'c', 3)",
        ],
    )
    .await;
    let db = connect(t);
    for (sql, rows, made) in [
        ("DELETE s FROM shelf s WHERE s.number = 2", 1, 1),
        ("DELETE shelf FROM shelf WHERE room = 'b'", 1, 1),
        ("DELETE `s` FROM shelf AS `s`", 1, 1),
        ("DELETE s FROM shelf s", 0, 0),
        ("DELETE h FROM house h WHERE h.id = 1", 1, 1),
        ("DELETE house FROM house", 1, 1),
    ] {
        let seen = entries(t).await.len();
        let done = db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!((done.rows_affected(), entries(t).await.len() - seen), (rows, made), "{sql}");
    }
    assert!(entries(t).await.iter().all(|entry| entry.action == "delete"));
    assert_eq!(keys::shelf::Entity::find().all(&t.db).await.unwrap(), []);
});
