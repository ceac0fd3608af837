//! The types that not all databases have, or that PostgreSQL can't render by itself.

use audit_tests::{DbBackend, db_test};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sea_orm::prelude::Decimal;
use serde_json::json;

use super::compare;
use crate::fixtures::create_table;
use crate::fixtures::typed::{documents, integers, mysql, padded, postgres, signed};

/// Of forty cases every statement in one trip, but for the first of all, which asks for the catalogue.
const ALL: [usize; 3] = [39, 40, 40];

db_test!(i6_every_path_writes_the_same_texts_of_fixed_length, async |t| {
    create_table(t, padded::Entity).await;
    let rows = ("[a-z0-9 ]{0,8}", option::of(prop_oneof!["[a-z ]{0,4}", Just("a  b".to_owned())]));
    let rows = rows.prop_map(|(code, note)| padded::Model { id: 1, code, note });
    let one_trip = compare(t, 40, rows).await;
    if t.backend == DbBackend::Postgres {
        assert_eq!(one_trip, ALL);
    }
});

fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|v| json!(v)),
        any::<i64>().prop_map(|v| json!(v)),
        Just(json!(0.1)),
        Just(json!("card 4111 1111 1111 1111")),
        "[a-zA-Z äß€😀\"\\\\/'\n]{0,12}".prop_map(|v| json!(v)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|v| json!(v)),
            vec((prop_oneof!["[a-z]{1,5}", Just("password".to_owned())], inner), 0..4)
                .prop_map(|v| v.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

db_test!(i6_every_path_writes_the_same_documents, async |t| {
    create_table(t, documents::Entity).await;
    let rows = (document(), option::of(document()), vec(any::<u8>(), 0..40));
    let rows = rows.prop_map(|(json, json_binary, blob)| documents::Model { id: 1, json, json_binary, blob });
    let one_trip = compare(t, 40, rows).await;
    if t.backend == DbBackend::Postgres {
        assert_eq!(one_trip, [0; 3], "documents are compared by the program");
    }
});

db_test!(i6_every_path_writes_the_same_integers, on(sqlite, mysql), async |t| {
    create_table(t, integers::Entity).await;
    let rows = (
        any::<i8>(),
        any::<Option<i8>>(),
        any::<u8>(),
        any::<Option<u16>>(),
        any::<u32>(),
        any::<Option<u32>>(),
    );
    let rows = rows.prop_map(|row| integers::Model {
        id: u32::MAX,
        tiny: row.0,
        tiny_optional: row.1,
        tiny_unsigned: row.2,
        small_unsigned: row.3,
        unsigned: row.4,
        unsigned_optional: row.5,
    });
    compare(t, 40, rows).await;
});

db_test!(i6_every_path_writes_the_same_integers_as_other_types, on(postgres), async |t| {
    create_table(t, signed::Entity).await;
    let rows = (
        0..u32::MAX / 2,
        any::<i16>(),
        any::<i16>(),
        any::<Option<i32>>(),
        any::<i64>(),
        option::of(-2_000_000_000_000_000_i64..4_000_000_000_000_000),
    );
    let stamp = |m: i64| chrono::DateTime::from_timestamp_micros(m).expect("a time").naive_utc();
    let rows = rows.prop_map(move |row| signed::Model {
        id: i64::MIN,
        unsigned: row.0,
        tiny: row.1,
        tiny_unsigned: row.2,
        small_unsigned: row.3,
        big_unsigned: row.4,
        stamp: row.5.map(stamp),
    });
    assert_eq!(compare(t, 40, rows).await, ALL);
});

db_test!(i6_every_path_writes_the_same_values_of_mysql, on(mysql), async |t| {
    create_table(t, mysql::Entity).await;
    let rows = (
        any::<u64>(),
        any::<Option<u64>>(),
        1901_u16..2155,
        0_u64..256,
        -1_000_000_000_i64..1_000_000_000,
        100_000_000_i64..2_000_000_000,
    );
    let rows = rows.prop_map(|row| mysql::Model {
        id: u64::MAX,
        big_unsigned: row.0,
        big_unsigned_optional: row.1,
        year: row.2,
        bits: row.3,
        money: Decimal::new(row.4, 2),
        stamp: chrono::DateTime::from_timestamp(row.5, 0).expect("a time"),
    });
    compare(t, 40, rows).await;
});

db_test!(i6_every_path_writes_the_same_values_of_postgres, on(postgres), async |t| {
    create_table(t, postgres::Entity).await;
    let decimal = || (-10_000_000_000_i64..10_000_000_000, 0_u32..9).prop_map(|(n, s)| Decimal::new(n, s));
    let word = || prop_oneof![10 => "[a-zA-Z äß€😀\"\\\\/',{}\n]{0,12}", 1 => Just("NULL".to_owned())];
    let day = || {
        (-30_000_i32..60_000).prop_map(|days| {
            chrono::DateTime::UNIX_EPOCH.date_naive() + chrono::Days::new(days.unsigned_abs().into())
        })
    };
    let rows = (
        vec(any::<bool>(), 0..4),
        vec(any::<i32>(), 0..4),
        option::of(vec(any::<i64>(), 0..4)),
        vec(prop_oneof![Just(0.1), Just(-0.0), Just(1e15), -1e9..1e9], 0..4),
        option::of(vec(word(), 0..4)),
        vec(any::<u128>().prop_map(uuid::Uuid::from_u128), 0..3),
        vec(day(), 0..3),
        vec(decimal(), 0..3),
        any::<i8>(),
        0..u32::MAX / 2,
        any::<u32>(),
        decimal(),
    );
    let rows = rows.prop_map(|row| postgres::Model {
        id: 1,
        bools: row.0,
        numbers: row.1,
        big_numbers: row.2,
        doubles: row.3,
        words: row.4,
        uuids: row.5,
        days: row.6,
        decimals: row.7,
        tiny: row.8,
        unsigned: row.9,
        oid: row.10,
        decimal: row.11,
    });
    assert_eq!(compare(t, 40, rows).await, [0; 3], "arrays are compared by the program");
});
