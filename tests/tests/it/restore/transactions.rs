//! Whole transactions, taken back.

use audit_seaorm::{AuditConnection, Restore};
use audit_tests::{TestDb, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder, TransactionTrait};

use super::{conflicts, restore, run, told};
use crate::connection::connect;
use crate::fixtures::{books, entries, keys::shelf, set_up_shelves};
use crate::random::Random;

type Library = (Vec<shelf::Model>, Vec<books::book::Model>, Vec<books::loan::Model>);

async fn library(t: &TestDb) -> Library {
    (
        shelf::Entity::find()
            .order_by_asc(shelf::Column::Room)
            .order_by_asc(shelf::Column::Number)
            .all(&t.db)
            .await
            .unwrap(),
        books::book::Entity::find().order_by_asc(books::book::Column::Id).all(&t.db).await.unwrap(),
        books::loan::Entity::find().order_by_asc(books::loan::Column::Id).all(&t.db).await.unwrap(),
    )
}

db_test!(q5_a_transaction_is_taken_back_and_that_as_well, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let shelves = async || {
        shelf::Entity::find()
            .order_by_asc(shelf::Column::Room)
            .order_by_asc(shelf::Column::Number)
            .all(&t.db)
            .await
            .unwrap()
    };
    let before = shelves().await;
    let transaction = db.begin().await.unwrap();
    for sql in [
        "UPDATE shelf SET label = 'x' WHERE room = 'a'",
        "UPDATE shelf SET label = 'y' WHERE number = 1",
        "DELETE FROM shelf WHERE room = 'b'",
        "INSERT INTO shelf (room, number, label) VALUES ('b', 1, 'again')",
        "INSERT INTO shelf (room, number, label) VALUES ('n', 1, 'new')",
        "INSERT INTO shelf (room, number, label) VALUES ('t', 1, 'short-lived')",
        "DELETE FROM shelf WHERE room = 't'",
        "UPDATE shelf SET number = 7 WHERE room = 'a' AND number = 2",
    ] {
        transaction.execute_unprepared(sql).await.unwrap();
    }
    let id = transaction.transaction_id().to_owned();
    transaction.commit().await.unwrap();
    let after = shelves().await;
    let plan = Restore::transaction(&id).plan(&db).await.unwrap();
    assert_eq!(conflicts(&plan), [""; 0]);
    assert_eq!(told(&plan).len(), 4, "{plan}");
    let restored = plan.execute(&db).await.unwrap();
    assert_eq!(shelves().await, before);
    restore(&db, Restore::transaction(restored.transaction_id)).await;
    assert_eq!(shelves().await, after);
});

/// One random change, if the keys allow it: the statement.
async fn change<C: ConnectionTrait>(random: &mut Random, db: &C) -> Option<String> {
    let rooms = ["a", "b", "c"];
    let (room, number) = (rooms[random.below(3) as usize], random.below(3).cast_signed());
    let id = random.below(6).cast_signed();
    let text = random.text().replace('\'', "''").replace('\\', "");
    let shelves = shelf::Entity::find().order_by_asc(shelf::Column::Room).order_by_asc(shelf::Column::Number);
    let shelves = shelves.all(db).await.unwrap();
    let shelved = shelves.iter().any(|shelf| (shelf.room.as_str(), shelf.number) == (room, number));
    let book = books::book::Entity::find_by_id(id).one(db).await.unwrap();
    let any = books::book::Entity::find().order_by_asc(books::book::Column::Id).one(db).await.unwrap();
    let loan = books::loan::Entity::find_by_id(id).one(db).await.unwrap();
    let sql = match random.below(11) {
        0 if !shelved => {
            format!("INSERT INTO shelf (room, number, label) VALUES ('{room}', {number}, '{text}')")
        }
        1 => format!("UPDATE shelf SET label = '{text}' WHERE room = '{room}'"),
        2 => format!("DELETE FROM shelf WHERE room = '{room}' AND number = {number}"),
        3 | 4 if shelved && book.is_none() => {
            format!("INSERT INTO book (id, room, number, title) VALUES ({id}, '{room}', {number}, '{text}')")
        }
        5 => format!("UPDATE book SET title = '{text}' WHERE id <= {id}"),
        6 => format!("DELETE FROM book WHERE id = {id}"),
        7 | 8 if shelved => format!("UPDATE book SET room = '{room}', number = {number} WHERE id = {id}"),
        9 if loan.is_none() => {
            let book = any.map_or("NULL".to_owned(), |book| book.id.to_string());
            format!("INSERT INTO loan (id, book_id, reader) VALUES ({id}, {book}, '{text}')")
        }
        10 => format!("UPDATE loan SET reader = '{text}' WHERE id <= {id}"),
        _ => return None,
    };
    db.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    Some(sql)
}

db_test!(q5_random_transactions_are_taken_back_exactly, async |t| {
    books::create_tables(t).await;
    let db: AuditConnection = connect(t);
    let mut random = Random(20_260_718);
    run(
        &db,
        &[
            "INSERT INTO shelf (room, number, label) VALUES ('a', 0, 'l'), ('a', 1, 'm'), ('b', 2, 'n')",
            "INSERT INTO book (id, room, number, title) VALUES (0, 'a', 0, 't'), (1, 'a', 1, 'u')",
            "INSERT INTO loan (id, book_id, reader) VALUES (0, 0, 'r')",
        ],
    )
    .await;
    let mut taken_back = 0;
    for round in 0..25 {
        let before = library(t).await;
        let transaction = db.begin().await.unwrap();
        let mut sent = Vec::new();
        for _ in 0..=random.below(6) {
            sent.extend(change(&mut random, &transaction).await);
        }
        let id = transaction.transaction_id().to_owned();
        transaction.commit().await.unwrap();
        if library(t).await == before {
            continue;
        }
        let plan =
            Restore::transaction(&id).plan(&db).await.unwrap_or_else(|error| panic!("{error}: {sent:#?}"));
        assert_eq!(conflicts(&plan), [""; 0], "round {round}: {sent:#?}\n{plan}");
        plan.execute(&db).await.unwrap_or_else(|error| panic!("round {round}: {error}: {sent:#?}\n{plan}"));
        assert_eq!(library(t).await, before, "round {round}: {sent:#?}\n{plan}");
        taken_back += 1;
        // And on from other contents.
        run(&db, &["UPDATE loan SET reader = 'again'"]).await;
        change(&mut random, &db).await;
    }
    assert!(taken_back > 10, "{taken_back}");
    assert!(entries(t).await.iter().all(|entry| entry.hash_matches() == Some(true)));
});
