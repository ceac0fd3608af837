//! I6: whichever way an entry is made, it is the same, byte for byte.

use audit_seaorm::{Audit, AuditContext, Entry, MemorySink, scope};
use audit_tests::{DbBackend, TestDb, db_test};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, ModelTrait, Schema, Set,
};
use serde_json::json;

use crate::fixtures::music::{self, band, disc};
use crate::fixtures::scalars::{self, Mood};
use crate::fixtures::{create_table, entries};

/// Rows of every content that all three databases can hold alike.
fn row() -> impl Strategy<Value = scalars::Model> {
    let text = || {
        prop_oneof![
            "[a-zA-Z0-9 äß€😀\"\\\\/'\n\t\u{1}]{0,30}",
            Just("card 4111 1111 1111 1111".to_owned()),
            Just("https://user:pw@example.org/?token=abc".to_owned()),
            Just("Bearer abcdefghijklmnop".to_owned()),
            Just("12345678901234567890".to_owned()),
            Just("basic ".to_owned()),
            Just("x".repeat(300)),
        ]
    };
    let micros = || -2_000_000_000_000_000_i64..4_000_000_000_000_000_i64;
    let time = || micros().prop_map(|m| chrono::DateTime::from_timestamp_micros(m).expect("a time"));
    // MariaDB's TIMESTAMP, which its driver sends, is narrower.
    let stamp = || {
        (100_000_000_000_i64..2_000_000_000_000_000)
            .prop_map(|m| chrono::DateTime::from_timestamp_micros(m).expect("a time"))
    };
    let float = || {
        prop_oneof![
            any::<f32>().prop_filter("finite", |f| f.is_finite() && (*f == 0.0 || f.abs() > 1e-30)),
            Just(0.0),
            Just(0.1)
        ]
    };
    let double = || {
        prop_oneof![
            any::<f64>().prop_filter("finite", |f| f.is_finite() && (*f == 0.0 || f.abs() > 1e-290)),
            Just(1e15),
            Just(0.1)
        ]
    };
    let mood = || prop_oneof![Just(Mood::Calm), Just(Mood::SoSo)];
    let first = (
        "[a-z/\\\\ä]{1,10}",
        text(),
        any::<bool>(),
        any::<i16>(),
        any::<Option<i32>>(),
        float(),
        proptest::option::of(double()),
        proptest::option::of(text()),
        proptest::collection::vec(any::<u8>(), 0..20),
    );
    let second = (
        time(),
        proptest::option::of(stamp()),
        stamp(),
        any::<Option<u128>>(),
        -10_000_000_000_i64..10_000_000_000,
        mood(),
        proptest::option::of(mood()),
    );
    let third = (
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(text()),
        any::<Option<i32>>(),
        any::<i32>(),
    );
    (first, second, third).prop_map(|(a, b, c)| scalars::Model {
        id: 7,
        part: a.0,
        title: a.1.chars().take(200).collect(),
        flag: a.2,
        small: a.3,
        int: a.4,
        single: a.5,
        double: a.6,
        text: a.7,
        bytes: a.8,
        date: b.0.date_naive(),
        time: b.1.map(|_| b.2.time()),
        naive: b.2.naive_utc(),
        utc: b.1,
        zoned: b.2.fixed_offset(),
        uuid: b.3.map(uuid::Uuid::from_u128),
        decimal: sea_orm::prelude::Decimal::new(b.4, 4),
        mood: b.5,
        other_mood: b.6,
        masked: c.0.map(|t| t.chars().take(200).collect()),
        api_token: c.1.map(|t| t.chars().take(200).collect()),
        excluded: c.2.map(|t| t.chars().take(200).collect()),
        silent: c.3,
        odd: c.4,
    })
}

/// Everything of an entry that doesn't depend on when it was made.
fn comparable(entry: &Entry) -> String {
    let mut entry = entry.clone();
    entry.id = uuid::Uuid::nil();
    entry.timestamp = chrono::DateTime::UNIX_EPOCH;
    entry.transaction_id = None;
    entry.integrity_hash = None;
    format!("{entry:#?}")
}

async fn life<C: ConnectionTrait>(
    db: &C,
    first: &scalars::Model,
    second: &scalars::Model,
) -> Result<(), DbErr> {
    let row = first.clone().into_active_model().reset_all().insert(db).await?;
    let mut change = second.clone().into_active_model().reset_all();
    change.id = Set(first.id);
    change.part = Set(first.part.clone());
    let row_after = change.update(db).await?;
    assert_eq!(row.id, row_after.id);
    row_after.delete(db).await.map(|_| ())
}

async fn prepare(t: &TestDb) {
    if t.db.get_database_backend() == DbBackend::Postgres {
        let mood = Schema::new(DbBackend::Postgres).create_enum_from_active_enum::<Mood>().expect("an enum");
        t.db.execute(&mood).await.expect("the type");
    }
    create_table(t, scalars::Entity).await;
}

db_test!(i6_every_path_writes_the_same_entry, async |t| {
    prepare(t).await;
    let context = AuditContext::user("a'b")
        .named("Ann \"x\" \\ 😀")
        .email("ann@example.org")
        .tenant("acme")
        .ip("2001:db8::7")
        .user_agent("agent 'x' \"y\" \\")
        .session_id("session-1")
        .request_id("request-1")
        .request_data(json!({"path": "/a", "password": "hunter2"}))
        .reason("because")
        .with("department", json!({"name": "treasury"}));
    let stored = Audit::builder().build().unwrap().connect(t.db.clone()).with_context(context.clone());
    let (travelled, hooked) = (MemorySink::new(), MemorySink::new());
    let through_rows = Audit::builder().sink(travelled.clone()).build().unwrap();
    let through_rows = through_rows.connect(t.db.clone()).with_context(context.clone());
    let hooks = Audit::builder().sink(hooked.clone()).build().unwrap();

    let mut runner = TestRunner::deterministic();
    let mut seen = 0;
    for case in 0..60 {
        let mut next = || row().new_tree(&mut runner).expect("a row").current();
        let (first, second) = (next(), next());
        life(&stored, &first, &second)
            .await
            .unwrap_or_else(|error| panic!("case {case}: {error}: {first:?}"));
        life(&through_rows, &first, &second).await.unwrap();
        hooks.within(scope(context.clone(), life(&t.db, &first, &second))).await.unwrap();

        let rows = entries(t).await.split_off(seen);
        seen += rows.len();
        for row in &rows {
            assert_eq!(row.hash_matches(), Some(true), "case {case}: {row:#?}");
        }
        let stored: Vec<String> = rows.into_iter().map(|row| comparable(&row.try_into().unwrap())).collect();
        let travelled: Vec<String> = travelled.take().iter().map(comparable).collect();
        let hooked: Vec<String> = hooked.take().iter().map(comparable).collect();
        assert_eq!(stored.len(), 3, "case {case}");
        for at in 0..3 {
            assert_eq!(stored[at], travelled[at], "case {case}, entry {at}: {first:?} {second:?}");
            assert_eq!(travelled[at], hooked[at], "case {case}, entry {at}: {first:?} {second:?}");
        }
    }
    assert_eq!(scalars::Entity::find().all(&t.db).await.unwrap(), []);
});

/// A band renamed, and a disc of it that begins, goes over to another band, gets another title, and ends.
async fn life_with_labels<C: ConnectionTrait>(db: &C, names: &[Option<String>; 2]) -> Result<(), DbErr> {
    for (id, name) in (1..).zip(names) {
        band::ActiveModel { id: Set(id), name: Set(name.clone()), ..Default::default() }.update(db).await?;
    }
    let disc = disc::Model {
        id: 9,
        title: "t".into(),
        band_id: Some(1),
        style: None,
        previous_id: None,
        producer_id: None,
    };
    let disc = disc.into_active_model().reset_all().insert(db).await?;
    let disc = disc::ActiveModel { band_id: Set(Some(2)), ..disc.into() }.update(db).await?;
    let disc = disc::ActiveModel { previous_id: Set(Some(9)), title: Set("u".into()), ..disc.into() };
    let disc = disc.update(db).await?;
    let disc = disc::ActiveModel { title: Set("v".into()), ..disc.into() }.update(db).await?;
    disc.delete(db).await.map(|_| ())
}

db_test!(i6_every_path_writes_the_same_labels, async |t| {
    for sql in music::TABLES.into_iter().chain(["INSERT INTO band (id, name) VALUES (1, 'a'), (2, 'b')"]) {
        t.execute(sql).await.unwrap();
    }
    let context = AuditContext::user(7);
    let stored = Audit::builder().build().unwrap().connect(t.db.clone()).with_context(context.clone());
    let (travelled, hooked) = (MemorySink::new(), MemorySink::new());
    let through_rows = Audit::builder().sink(travelled.clone()).build().unwrap();
    let through_rows = through_rows.connect(t.db.clone()).with_context(context.clone());
    let hooks = Audit::builder().sink(hooked.clone()).build().unwrap();
    let name = || {
        proptest::option::of(prop_oneof![
            "[a-zA-Z0-9 äß€😀\"\\\\/'\n\t\u{1}]{0,30}",
            Just("card 4111 1111 1111 1111".to_owned()),
            Just("https://user:pw@example.org/?token=abc".to_owned()),
            Just("  blanks  ".to_owned()),
        ])
    };
    let mut runner = TestRunner::deterministic();
    let mut seen = 0;
    for case in 0..20 {
        let mut next = || name().new_tree(&mut runner).expect("a name").current();
        let names = [next(), next()];
        let back = async || {
            t.execute("UPDATE band SET name = CASE id WHEN 1 THEN 'a' ELSE 'b' END").await.unwrap();
        };
        life_with_labels(&stored, &names).await.unwrap();
        back().await;
        life_with_labels(&through_rows, &names).await.unwrap();
        back().await;
        hooks.within(scope(context.clone(), life_with_labels(&t.db, &names))).await.unwrap();
        back().await;

        let rows = entries(t).await.split_off(seen);
        seen += rows.len();
        let stored: Vec<String> = rows.into_iter().map(|row| comparable(&row.try_into().unwrap())).collect();
        let travelled: Vec<String> = travelled.take().iter().map(comparable).collect();
        let hooked: Vec<String> = hooked.take().iter().map(comparable).collect();
        assert!(stored.len() >= 5, "case {case}");
        let labelled = stored.iter().filter(|entry| entry.contains("_label")).count();
        assert!(labelled >= 2, "case {case}: {stored:#?}");
        assert_eq!(stored, travelled, "case {case}: {names:?}");
        assert_eq!(travelled, hooked, "case {case}: {names:?}");
    }
});
