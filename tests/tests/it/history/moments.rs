//! Rows at a moment, and between two.

use audit_seaorm::history::Source;
use audit_seaorm::{Audit, AuditConnection, AuditedEntity, FieldState, Unknown};
use audit_tests::{TestDb, db_test};
use sea_orm::{ConnectionTrait, EntityTrait, TransactionTrait};
use serde_json::json;

use super::{Steps, at, moments};
use crate::fixtures::{account, create_table, keys::shelf, set_up_shelves};

fn connect(t: &TestDb) -> AuditConnection {
    Audit::builder().clock(Steps::new()).build().unwrap().connect(t.db.clone())
}

async fn run(db: &AuditConnection, statements: &[&str]) {
    for sql in statements {
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

fn row(room: &str, number: i32, label: &str) -> shelf::Model {
    shelf::Model { room: room.into(), number, label: label.into() }
}

db_test!(q6_one_row_at_every_moment, async |t| {
    create_table(t, shelf::Entity).await;
    let db = connect(t);
    run(
        &db,
        &[
            "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'one')", // 1
            "UPDATE shelf SET label = 'two'",                                 // 2
            "UPDATE shelf SET label = 'three'",                               // 3
            "DELETE FROM shelf",                                              // 4
            "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'back')", // 5
        ],
    )
    .await;
    let half = chrono::TimeDelta::milliseconds(500);
    for (second, expected) in [
        (0, None),
        (1, Some("one")),
        (2, Some("two")),
        (3, Some("three")),
        (4, None),
        (5, Some("back")),
        (99, Some("back")),
    ] {
        for moment in [at(second), at(second) + half] {
            let was = shelf::Entity::as_of(moment).one(&db, ("a".to_owned(), 1)).await.unwrap();
            let label = was.map(|was| was.model().unwrap().label);
            assert_eq!(label.as_deref(), expected, "at {second}");
        }
    }
    let two = shelf::Entity::as_of(at(2)).one(&db, ("a".to_owned(), 1)).await.unwrap().unwrap();
    assert_eq!(two.change().unwrap().timestamp, at(2));
});

db_test!(q6_what_was_before_the_first_entry_is_inferred, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    run(
        &db,
        &[
            "UPDATE shelf SET label = 'new' WHERE room = 'a' AND number = 1",
            "DELETE FROM shelf WHERE room = 'b'",
        ],
    )
    .await;
    let before = shelf::Entity::as_of(at(0));
    let updated = before.one(&db, ("a".to_owned(), 1)).await.unwrap().unwrap();
    assert_eq!(updated.get("label"), Some(FieldState::Known(json!("one"))));
    assert_eq!(updated.source("label"), Some(Source::Inferred));
    assert_eq!(updated.get("room"), Some(FieldState::Unknown(Unknown::BeforeFirstEntry)));
    assert!(updated.change().is_none());
    let deleted = before.one(&db, ("b".to_owned(), 1)).await.unwrap().unwrap();
    assert_eq!(deleted.model().unwrap(), row("b", 1, "three"));
    // Of a row that nothing is recorded of, the present row tells, if it is asked.
    assert!(before.one(&db, ("a".to_owned(), 2)).await.unwrap().is_none());
    let with_current = shelf::Entity::as_of(at(0)).with_current();
    let untouched = with_current.one(&db, ("a".to_owned(), 2)).await.unwrap().unwrap();
    assert_eq!(untouched.model().unwrap(), row("a", 2, "two"));
    assert_eq!(untouched.source("label"), Some(Source::Current));
    let updated = with_current.one(&db, ("a".to_owned(), 1)).await.unwrap().unwrap();
    assert_eq!(updated.model().unwrap(), row("a", 1, "one"));
    assert_eq!(updated.source("label"), Some(Source::Inferred));
    assert_eq!(updated.source("room"), Some(Source::Current));
    let all = with_current.all(&db).await.unwrap();
    let mut all: Vec<_> = all.iter().map(|version| version.model().unwrap()).collect();
    all.sort_by_key(|row| (row.room.clone(), row.number));
    assert_eq!(all, [row("a", 1, "one"), row("a", 2, "two"), row("b", 1, "three")]);
    // A row that ended isn't the one of today.
    run(&db, &["INSERT INTO shelf (room, number, label) VALUES ('b', 1, 'other')"]).await;
    let deleted = with_current.one(&db, ("b".to_owned(), 1)).await.unwrap().unwrap();
    assert_eq!(deleted.model().unwrap().label, "three");
});

db_test!(q6_a_whole_table_at_every_moment, async |t| {
    create_table(t, shelf::Entity).await;
    let db = connect(t);
    let steps = [
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'x')",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 2, 'y')",
        "UPDATE shelf SET label = 'z' WHERE number = 2",
        "UPDATE shelf SET number = 7 WHERE number = 1",
        "INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'new')",
        "UPDATE shelf SET number = 8 WHERE number = 7",
        "DELETE FROM shelf WHERE number = 2",
        "UPDATE shelf SET room = 'b' WHERE number = 8",
        "DELETE FROM shelf WHERE number = 8",
    ];
    let mut expected = Vec::new();
    for sql in steps {
        run(&db, &[sql]).await;
        expected.push(shelf::Entity::find().all(&t.db).await.unwrap());
    }
    assert_eq!(moments(t).await, (1..=9).map(at).collect::<Vec<_>>(), "one entry each");
    for (step, mut expected) in expected.into_iter().enumerate() {
        let as_of = shelf::Entity::as_of(at(i64::try_from(step).unwrap() + 1));
        let mut found: Vec<_> =
            as_of.all(&db).await.unwrap().iter().map(|version| version.model().unwrap()).collect();
        let key = |row: &shelf::Model| (row.room.clone(), row.number);
        found.sort_by_key(key);
        expected.sort_by_key(key);
        assert_eq!(found, expected, "after {}", steps[step]);
        // Each row by itself is the same.
        for row in &expected {
            let one = as_of.one(&db, key(row)).await.unwrap().expect("it was there");
            assert_eq!(one.model().unwrap(), *row);
        }
    }
    let as_of = shelf::Entity::as_of(at(5));
    let some =
        shelf::Entity::as_of(at(5)).ids([("a".to_owned(), 2), ("a".to_owned(), 99)]).all(&db).await.unwrap();
    assert_eq!(some.len(), 1);
    let filtered = as_of.filter(|version| version.get("label") == Some(FieldState::Known(json!("new"))));
    assert_eq!(filtered.all(&db).await.unwrap().len(), 1);
});

db_test!(q6_clocks_that_disagree_give_a_state_that_was, async |t| {
    create_table(t, shelf::Entity).await;
    /// The second server's clock is behind.
    #[derive(Debug)]
    struct Fixed(i64);
    impl audit_seaorm::Clock for Fixed {
        fn now(&self) -> chrono::DateTime<chrono::Utc> {
            at(self.0)
        }
    }
    let server = |second| Audit::builder().clock(Fixed(second)).build().unwrap().connect(t.db.clone());
    run(&server(10), &["INSERT INTO shelf (room, number, label) VALUES ('a', 1, 'first')"]).await;
    run(&server(5), &["UPDATE shelf SET label = 'second'"]).await;
    run(&server(12), &["UPDATE shelf SET label = 'third'"]).await;
    for (second, expected) in
        [(5, None), (9, None), (10, Some("second")), (11, Some("second")), (12, Some("third"))]
    {
        let was = shelf::Entity::as_of(at(second)).one(&t.db, ("a".to_owned(), 1)).await.unwrap();
        assert_eq!(was.map(|was| was.model().unwrap().label).as_deref(), expected, "at {second}");
    }
});

db_test!(q6_a_difference_names_what_is_not_known, async |t| {
    create_table(t, account::Entity).await;
    let db = connect(t);
    let mut account = crate::fixtures::account("Ada", 100);
    account.note = sea_orm::Set(Some("a".into()));
    let row = account::Entity::insert(account).exec_with_returning(&db).await.unwrap();
    for sql in [
        "UPDATE account SET balance = 2, iban = 'DE00', note = 'b'",
        "UPDATE account SET note = 'a'",
        "UPDATE account SET pin_hash = 'other'",
    ] {
        run(&db, &[sql]).await;
    }
    let history = account::Entity::history(row.id);
    let difference = history.diff_between(&db, at(1), at(9)).await.unwrap();
    assert!(difference.existed_before && difference.exists_after);
    let told: Vec<_> = difference
        .fields
        .iter()
        .map(|field| (field.name.as_str(), field.old.clone(), field.new.clone()))
        .collect();
    let known = |value| Some(FieldState::Known(value));
    let masked = Some(FieldState::Unknown(Unknown::Masked));
    assert_eq!(
        told,
        [("balance", known(json!("1.00")), known(json!("2.00"))), ("iban", masked.clone(), masked)],
        "the note is what it was; of an excluded field nothing is known to have changed"
    );
    let difference = history.diff_between(&db, at(0), at(1)).await.unwrap();
    assert!(!difference.existed_before && difference.exists_after);
    assert!(difference.fields.iter().any(|field| field.name == "owner" && field.old.is_none()));
    let error = history.diff_between(&db, at(2), at(1)).await.unwrap_err();
    assert!(error.to_string().contains("before it starts"), "{error}");
});

db_test!(q6_changes_at_the_same_time_make_one_chain, async |t| {
    set_up_shelves(t).await;
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let writers = (0..4).map(|writer| {
        let db = db.clone();
        tokio::spawn(async move {
            for n in 0..8 {
                let transaction = db.begin().await.unwrap();
                let sql = format!("UPDATE shelf SET label = 'w{writer}-{n}' WHERE room = 'a' AND number = 1");
                match transaction.execute_unprepared(&sql).await {
                    Ok(_) => transaction.commit().await.unwrap(),
                    // SQLite lets one write at a time.
                    Err(_) => transaction.rollback().await.unwrap(),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let versions = shelf::Entity::history(("a".to_owned(), 1)).all(&db).await.unwrap();
    assert!(versions.len() > 4, "{}", versions.len());
    let now = shelf::Entity::find_by_id(("a".to_owned(), 1)).one(&t.db).await.unwrap().unwrap();
    assert_eq!(versions.last().unwrap().get("label"), Some(FieldState::Known(json!(now.label))));
    // Nothing is contradicted: each entry found what the one before it left.
    assert!(versions.iter().all(|version| matches!(version.get("label"), Some(FieldState::Known(_)))));
    let all = moments(t).await;
    let last = all.iter().max().unwrap();
    let was = shelf::Entity::as_of(*last).one(&db, ("a".to_owned(), 1)).await.unwrap().unwrap();
    assert_eq!(was.get("label"), Some(FieldState::Known(json!(now.label))));
});

db_test!(q6_a_moment_among_a_thousand_changes_is_found, async |t| {
    set_up_shelves(t).await;
    let db = connect(t);
    let transaction = db.begin().await.unwrap();
    for n in 0..1000 {
        let sql = format!("UPDATE shelf SET label = 'label number {n}' WHERE room = 'b'");
        transaction.execute_unprepared(&sql).await.unwrap();
    }
    transaction.commit().await.unwrap();
    for n in [0, 1, 500, 1000] {
        let was = shelf::Entity::as_of(at(n)).one(&t.db, ("b".to_owned(), 1)).await.unwrap().unwrap();
        let label = if n == 0 { "three".to_owned() } else { format!("label number {}", n - 1) };
        assert_eq!(was.get("label"), Some(FieldState::Known(json!(label))));
    }
});
