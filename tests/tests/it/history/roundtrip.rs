//! Model to entry to model, for every kind of value.

use audit_seaorm::AuditedEntity;
use audit_tests::{DbBackend, db_test};
use sea_orm::{ActiveModelTrait, ActiveValue::NotSet, EntityTrait, QueryOrder, Set, entity::prelude::*};
use serde_json::json;

use crate::connection::connect;
use crate::fixtures::{create_table, everything, scalars};
use crate::random::Random;

fn bits(random: &mut Random) -> u64 {
    (u64::from(random.below(u32::MAX)) << 32) | u64::from(random.below(u32::MAX))
}

/// Finite, of every magnitude; what a database may store otherwise than it was sent is left out.
fn double(random: &mut Random) -> f64 {
    const ODD: [f64; 7] =
        [0.0, 0.1, 1e15, 1e-5, 1.797_693_134_862_315_7e308, 16_777_217.0, -123_456_789.123_456_79];
    match random.below(3) {
        0 => ODD[random.below(7) as usize],
        1 => f64::from(random.below(1_000_000)) / 7.0,
        _ => Some(f64::from_bits(bits(random))).filter(|value| value.is_normal()).unwrap_or(1.5),
    }
}

fn document(random: &mut Random) -> serde_json::Value {
    match random.below(6) {
        0 => json!(null),
        1 => json!({"$json": 1, "b": [1, 2.5, null, {"z": "a\"b"}], "a": true}),
        2 => json!(i64::MAX),
        3 => json!([random.text(), "2024-01-01", "0x00"]),
        4 => json!("2024-02-29"),
        _ => json!({ "n": random.below(1000), "f": 0.30000000000000004 }),
    }
}

fn moment(random: &mut Random) -> chrono::DateTime<chrono::Utc> {
    let micros = [0, 1, 120_000, 999_999][random.below(4) as usize];
    let seconds = i64::from(random.below(2_000_000_000));
    chrono::DateTime::from_timestamp(seconds, micros * 1000).expect("a time")
}

fn everything(random: &mut Random) -> everything::ActiveModel {
    let utc = moment(random);
    let offset =
        chrono::FixedOffset::east_opt([0, 7200, -12_600][random.below(3) as usize]).expect("an offset");
    everything::ActiveModel {
        id: NotSet,
        flag: Set(random.below(2) == 0),
        small: Set([i16::MIN, 0, i16::MAX][random.below(3) as usize]),
        int: Set([i32::MIN, -1, i32::MAX][random.below(3) as usize]),
        big: Set(bits(random).cast_signed()),
        big_negative: Set([i64::MIN, i64::MAX, 9_007_199_254_740_993][random.below(3) as usize]),
        single: Set([0.1, 16_777_216.0, 1.5e-7, -3.25][random.below(4) as usize]),
        double: Set(double(random)),
        text: Set(
            ["null", "\"", "{}", "12.50", "NaN", "0x00", "2024-01-01", " "][random.below(8) as usize].into()
        ),
        empty: Set((random.below(2) == 0).then(|| random.text())),
        missing: Set((random.below(2) == 0).then(String::new)),
        bytes: Set((0..random.below(5)).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect()),
        json: Set(document(random)),
        date: Set(utc.date_naive()),
        time: Set(moment(random).time()),
        naive: Set(moment(random).naive_utc()),
        utc: Set(utc),
        zoned: Set(moment(random).with_timezone(&offset)),
        uuid: Set(uuid::Uuid::from_u64_pair(bits(random), 7)),
        decimal: Set(Decimal::new(i64::from(random.below(u32::MAX)) - 2_000_000_000, random.below(5))),
    }
}

db_test!(q6_every_type_comes_back_from_its_entries, async |t| {
    create_table(t, everything::Entity).await;
    let db = connect(t);
    let mut random = Random(20_260_717);
    for round in 0..40 {
        // Both ways of capture.
        let row = everything(&mut random);
        let id = if round % 2 == 0 {
            row.insert(&t.db).await.unwrap().id
        } else {
            row.insert(&db).await.unwrap().id
        };
        let stored = everything::Entity::find_by_id(id).one(&t.db).await.unwrap().unwrap();
        let version = everything::Entity::history(id).all(&t.db).await.unwrap().remove(0);
        let model = version.model().unwrap_or_else(|error| panic!("{error}: {stored:?}"));
        assert_eq!(model, stored);
        assert_eq!(model.double.to_bits(), stored.double.to_bits());
    }
});

db_test!(q6_optional_and_enumerated_values_come_back, async |t| {
    if t.backend == DbBackend::Postgres {
        t.execute("CREATE TYPE mood AS ENUM ('calm', 'so so')").await.unwrap();
    }
    create_table(t, scalars::Entity).await;
    let db = connect(t);
    for (id, full) in [(1, true), (2, false)] {
        let some = |text: &str| full.then(|| text.to_owned());
        let row = scalars::ActiveModel {
            id: Set(id),
            part: Set("p/1".into()),
            title: Set("t".into()),
            flag: Set(full),
            small: Set(-3),
            int: Set(full.then_some(i32::MIN)),
            big: Set(i64::MAX),
            big_optional: Set(full.then_some(i64::MIN)),
            single: Set(0.1),
            double: Set(full.then_some(0.1 + 0.2)),
            text: Set(some("x")),
            fixed: Set("fixed".into()),
            bytes: Set(vec![0, 255]),
            binary: Set(vec![1, 2, 3, 4]),
            var_binary: Set(full.then(|| vec![7])),
            date: Set("2024-02-29".parse().unwrap()),
            time: Set(full.then(|| "10:30:00".parse().unwrap())),
            naive: Set("2024-01-15T10:30:00".parse().unwrap()),
            utc: Set(full.then(|| "2024-01-15T10:30:00Z".parse().unwrap())),
            zoned: Set("2024-01-15T10:30:00Z".parse().unwrap()),
            uuid: Set(full.then_some(uuid::Uuid::from_u128(3))),
            decimal: Set("1.5000".parse().unwrap()),
            mood: Set(scalars::Mood::SoSo),
            other_mood: Set(full.then_some(scalars::Mood::Calm)),
            masked: Set(some("m")),
            api_token: Set(some("t0ken")),
            excluded: Set(some("e")),
            silent: Set(full.then_some(5)),
            odd: Set(9),
        };
        scalars::Entity::insert(row).exec_without_returning(&db).await.unwrap();
        let key = (id, "p/1".to_owned());
        let stored = scalars::Entity::find_by_id(key.clone()).one(&t.db).await.unwrap().unwrap();
        let version = scalars::Entity::history(key).all(&t.db).await.unwrap().remove(0);
        let error = version.model().unwrap_err();
        let named: Vec<_> = error.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(named, ["masked", "api_token", "excluded"]);
        assert_eq!(version.model_or(&stored).unwrap(), stored);
    }
    assert_eq!(scalars::Entity::find().order_by_asc(scalars::Column::Id).all(&t.db).await.unwrap().len(), 2);
});

db_test!(q6_arrays_come_back, on(postgres), async |t| {
    use everything::arrays;
    create_table(t, arrays::Entity).await;
    for (numbers, words) in [
        (vec![1, -2, 3], Some(vec!["a\"b".to_owned(), String::new(), "2024-01-01".to_owned()])),
        (vec![], Some(vec![])),
        (vec![i32::MAX], None),
    ] {
        let row = arrays::ActiveModel { id: NotSet, numbers: Set(numbers), words: Set(words) };
        let row = row.insert(&t.db).await.unwrap();
        let version = arrays::Entity::history(row.id).all(&t.db).await.unwrap().remove(0);
        assert_eq!(version.model().unwrap(), row);
    }
});

db_test!(q6_numbers_that_json_has_not_come_back, on(postgres), async |t| {
    create_table(t, everything::Entity).await;
    for double in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
        #[allow(clippy::cast_possible_truncation, reason = "they are the same")]
        let row = everything::ActiveModel {
            double: Set(double),
            single: Set(double as f32),
            ..everything::plain()
        };
        let id = row.insert(&t.db).await.unwrap().id;
        let model = everything::Entity::history(id).all(&t.db).await.unwrap()[0].model().unwrap();
        assert_eq!(model.double.to_bits(), double.to_bits());
        assert!(
            model.single.is_nan() == double.is_nan()
                && model.single.is_sign_negative() == double.is_sign_negative()
        );
    }
});
