//! I1 to I3 where what a statement doesn't change decides which rows it does: other tables, other rows, the time, triggers.

use std::collections::BTreeMap;

use audit_seaorm::entity::audit_log;
use audit_seaorm::is_audit_error;
use audit_tests::{TestDb, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, IsolationLevel, TransactionTrait};

use super::connect;
use super::sessions::{audited, single};
use crate::fixtures::keys::shelf;
use crate::fixtures::{changes, entries, set_up_shelves};

/// Labels by key.
type Shelves = BTreeMap<String, String>;

async fn shelves(t: &TestDb) -> Shelves {
    let all = shelf::Entity::find().all(&t.db).await.unwrap();
    all.into_iter().map(|row| (format!("{}/{}", row.room, row.number), row.label)).collect()
}

/// The shelves after these entries, each of which must meet the row that it says.
fn replayed(all: &[audit_log::Model], mut shelves: Shelves) -> Result<Shelves, String> {
    for entry in all {
        let (id, change) = (entry.resource_id.clone().unwrap_or_default(), changes(entry));
        let text = |side: &str| change.get("label")?.get(side)?.as_str().map(str::to_owned);
        let said = format!("{} {id} {change}", entry.action);
        let (room, number) = id.split_once('/').ok_or("a key")?;
        let before = |name: &str, now: &str| {
            let old = change.get(name).map(|change| change["old"].clone());
            old.map_or(now.to_owned(), |old| old.as_str().map_or(old.to_string(), str::to_owned))
        };
        let was = format!("{}/{}", before("room", room), before("number", number));
        let kept = match entry.action.as_str() {
            "create" => None,
            "delete" => shelves.remove(&id),
            _ => shelves.remove(&was),
        };
        if text("old").is_some_and(|old| kept.as_ref() != Some(&old)) {
            return Err(format!("{said}: it was {kept:?}"));
        }
        if entry.action == "delete" {
            continue;
        }
        let now = text("new").or(kept).ok_or(format!("{said}: it wasn't there"))?;
        if shelves.insert(id, now).is_some() {
            return Err(format!("{said}: another row was there"));
        }
    }
    Ok(shelves)
}

async fn assert_faithful(t: &TestDb, before: Shelves, sql: &str) {
    let all = entries(t).await;
    assert_eq!(replayed(&all, before), Ok(shelves(t).await), "{sql}: {all:#?}");
}

async fn assert_refused<C: ConnectionTrait>(db: &C, sql: &str, reason: &str) {
    let error = db.execute_unprepared(sql).await.expect_err(sql);
    assert!(is_audit_error(&error) && error.to_string().contains(reason), "{sql}: {error}");
}

db_test!(i2_rows_are_not_chosen_by_what_a_lock_does_not_cover, on(mysql), async |t| {
    set_up_shelves(t).await;
    for sql in [
        "CREATE TABLE chosen (room VARCHAR(100) NOT NULL PRIMARY KEY)",
        "INSERT INTO chosen VALUES ('a')",
        "CREATE VIEW picked AS SELECT room, count(*) AS n FROM chosen GROUP BY room",
        "CREATE FUNCTION chosen_room() RETURNS VARCHAR(100) CHARSET utf8mb4 READS SQL DATA RETURN (SELECT max(room) FROM chosen)",
    ] {
        t.execute(sql).await.unwrap();
    }
    let before = shelves(t).await;
    let db = connect(t);
    let stored = "UPDATE shelf SET label = 'x' WHERE room = chosen_room()";
    assert_refused(&db, stored, "stored function").await;
    let joined = "UPDATE shelf JOIN picked p ON p.room = shelf.room SET shelf.label = 'x'";
    let deleted = "DELETE shelf FROM shelf JOIN picked p ON p.room = shelf.room";
    let transaction = db.begin().await.unwrap();
    assert_refused(&transaction, stored, "stored function").await;
    for sql in [joined, deleted] {
        assert_refused(&transaction, sql, "a view in it may show an older state").await;
    }
    transaction.rollback().await.unwrap();
    // Alone, both read what is there.
    db.execute_unprepared(joined).await.unwrap();
    db.execute_unprepared(deleted).await.unwrap();
    assert_faithful(t, before, deleted).await;
});

db_test!(i2_rows_that_others_decide_on_take_more_than_read_committed, on(mysql), async |t| {
    set_up_shelves(t).await;
    t.execute("CREATE TABLE room (name VARCHAR(100) NOT NULL PRIMARY KEY)").await.unwrap();
    let before = shelves(t).await;
    let db = connect(t);
    for sql in [
        "UPDATE shelf s LEFT JOIN room r ON r.name = s.room SET s.label = 'x' WHERE r.name IS NULL",
        "UPDATE shelf SET label = 'y' WHERE number = 1 ORDER BY room LIMIT 1",
        "DELETE FROM shelf ORDER BY room LIMIT 1",
        "DELETE s FROM shelf s LEFT JOIN room r ON r.name = s.room WHERE r.name IS NULL",
    ] {
        let weak = db.begin_with_config(Some(IsolationLevel::ReadCommitted), None).await.unwrap();
        assert_refused(&weak, sql, "REPEATABLE READ").await;
        let within = weak.begin().await.unwrap();
        assert_refused(&within, sql, "REPEATABLE READ").await;
        within.rollback().await.unwrap();
        weak.rollback().await.unwrap();
        let strong = db.begin().await.unwrap();
        strong.execute_unprepared(sql).await.expect(sql);
        strong.commit().await.unwrap();
    }
    assert_faithful(t, before, "all").await;
    // Also where the session begins its transactions so.
    let pool = single(t).await;
    pool.execute_unprepared("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
    let weak = audited(&pool).begin().await.unwrap();
    assert_refused(&weak, "DELETE FROM shelf ORDER BY room LIMIT 1", "REPEATABLE READ").await;
    weak.rollback().await.unwrap();
});

db_test!(i2_a_condition_says_the_same_each_time_it_is_asked, on(mysql), async |t| {
    set_up_shelves(t).await;
    let before = shelves(t).await;
    let db = connect(t);
    for varying in ["sysdate(6) > now()", "number = found_rows()", "number = row_count()", "rand() > 0.5"] {
        let sql = format!("UPDATE shelf SET label = 'x' WHERE {varying}");
        assert_refused(&db, &sql, "says something else each time").await;
    }
    for n in 0..12 {
        let sql =
            format!("UPDATE shelf SET label = 'at {n}' WHERE number = 1 AND microsecond(now(6)) % 2 = 0");
        db.execute_unprepared(&sql).await.unwrap();
        let sql = format!(
            "UPDATE shelf SET label = 'first {n}' ORDER BY microsecond(CURRENT_TIMESTAMP(6)) % (number + 1) LIMIT 1"
        );
        db.execute_unprepared(&sql).await.unwrap();
    }
    assert_faithful(t, before, "by the time").await;
    // The clock goes on, also after an error.
    let one = db.begin().await.unwrap();
    one.execute_unprepared("UPDATE shelf SET label = 'z' WHERE now() > '2000-01-01'").await.unwrap();
    one.execute_unprepared("UPDATE shelf SET number = 1 WHERE now() > '2000-01-01'").await.unwrap_err();
    let clock = async || {
        let sql = sea_orm::Statement::from_string(t.backend, "SELECT CAST(now(6) AS CHAR) AS t");
        one.query_one_raw(sql).await.unwrap().unwrap().try_get::<String>("", "t").unwrap()
    };
    assert_ne!(clock().await, clock().await);
    one.rollback().await.unwrap();
});

db_test!(i2_a_trigger_that_changes_keys_is_no_deletion, on(mysql), async |t| {
    set_up_shelves(t).await;
    t.execute("CREATE TRIGGER moves BEFORE UPDATE ON shelf FOR EACH ROW SET NEW.number = OLD.number + 100")
        .await
        .unwrap();
    let before = shelves(t).await;
    let db = connect(t);
    assert_refused(&db, "UPDATE shelf SET label = 'x' WHERE room = 'a'", "under its key").await;
    assert_eq!(shelves(t).await, before);
});

db_test!(i2_changes_of_triggers_are_put_together_where_nothing_is_in_between, on(sqlite), async |t| {
    for (trigger, sql) in [
        (
            "AFTER UPDATE ON shelf WHEN NEW.label = 'x' BEGIN DELETE FROM shelf WHERE room = 'a' AND number = 2; \
             UPDATE shelf SET number = 2 WHERE room = NEW.room AND number = NEW.number; END",
            "UPDATE shelf SET label = 'x' WHERE room = 'a' AND number = 1",
        ),
        (
            "AFTER INSERT ON shelf BEGIN DELETE FROM shelf WHERE room = 'a' AND number = 1; \
             UPDATE shelf SET number = 1 WHERE room = NEW.room AND number = NEW.number; END",
            "INSERT INTO shelf VALUES ('a', 99, 'newest')",
        ),
        (
            "AFTER UPDATE ON shelf WHEN NEW.number = 1 BEGIN UPDATE shelf SET number = 2 WHERE number = 10; END",
            "UPDATE shelf SET number = CASE number WHEN 1 THEN 10 ELSE 1 END WHERE room = 'a'",
        ),
    ] {
        let t = &TestDb::new(t.backend).await;
        set_up_shelves(t).await;
        t.execute(&format!("CREATE TRIGGER m {trigger}")).await.unwrap();
        let before = shelves(t).await;
        connect(t).execute_unprepared(sql).await.unwrap();
        assert_faithful(t, before, sql).await;
    }
});
