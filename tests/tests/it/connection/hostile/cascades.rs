//! What foreign keys do along.

use std::collections::BTreeMap;

use audit_tests::db_test;
use sea_orm::{ConnectionTrait, EntityTrait};

use super::{faithful, knot, knots, run, shelves};
use crate::connection::cascades::is_too_deep;
use crate::connection::connect;
use crate::fixtures::{changes, entries};

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
    faithful(t, &connect(t), &[sql], t.pick(0, 1, 1)).await;
});

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
        if is_too_deep(t, "DELETE FROM hostile_knot WHERE id = 1").await {
            return;
        }
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
    faithful(t, &connect(t), &[sql], 1).await;
});
