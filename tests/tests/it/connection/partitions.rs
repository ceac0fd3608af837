//! PostgreSQL: tables whose rows are in partitions.

use audit_tests::{TestDb, db_test};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, EntityTrait, Set, TransactionTrait};

use super::sessions::{assert_told, audited, now, waiting};
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
