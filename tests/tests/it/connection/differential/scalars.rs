//! The types that PostgreSQL renders by itself.

use audit_tests::{DbBackend, db_test};
use proptest::prelude::*;
use sea_orm::{ConnectionTrait, Schema};

use super::compare;
use crate::fixtures::create_table;
use crate::fixtures::scalars::{self, Mood};

/// Rows of every content that all three databases can hold alike.
fn row() -> impl Strategy<Value = scalars::Model> {
    // Most are such that the database may write their entries by itself.
    let text = || {
        prop_oneof![
            12 => "[a-zA-Z0-9 äß€😀\"\\\\/'\n\t\u{1}]{0,30}",
            1 => Just("card 4111 1111 1111 1111".to_owned()),
            1 => Just("https://user:pw@example.org/?token=abc".to_owned()),
            1 => Just("Bearer abcdefghijklmnop".to_owned()),
            1 => Just("12345678901234567890".to_owned()),
            1 => Just("basic ".to_owned()),
            1 => Just("x".repeat(300)),
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
        any::<i64>(),
        any::<Option<i64>>(),
        "[a-z0-9 ]{0,6}",
        proptest::collection::vec(any::<u8>(), 4),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
    );
    (first, second, third).prop_map(|(a, b, c)| scalars::Model {
        id: 7,
        part: a.0,
        title: a.1.chars().take(200).collect(),
        flag: a.2,
        small: a.3,
        int: a.4,
        big: c.5,
        big_optional: c.6,
        fixed: c.7,
        binary: c.8,
        var_binary: c.9,
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

db_test!(i6_every_path_writes_the_same_entry, async |t| {
    if t.backend == DbBackend::Postgres {
        let mood = Schema::new(DbBackend::Postgres).create_enum_from_active_enum::<Mood>().expect("an enum");
        t.db.execute(&mood).await.expect("the type");
    }
    create_table(t, scalars::Entity).await;
    let cases = 60;
    let one_trip = compare(t, cases, row()).await;
    println!("{:?}: {one_trip:?} of {cases} in one trip", t.backend);
    // Both ways were taken, so that they were compared.
    for (what, count) in ["insert", "update", "delete"].into_iter().zip(one_trip) {
        if t.backend == DbBackend::Postgres {
            assert!((cases / 4..cases - 2).contains(&count), "{what}: {count} of {cases} in one trip");
        }
    }
});
