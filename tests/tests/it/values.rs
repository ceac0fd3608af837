//! Rendering: one for all columns, all databases, all ways.

use audit_seaorm::{Audit, Config, capture::render};
use audit_tests::{DbBackend, db_test};
use sea_orm::{ActiveModelTrait, ActiveValue::NotSet, ModelTrait, Set, Value, sea_query::ArrayType};
use serde_json::json;

use crate::fixtures::{changes, create_table, entries, everything, only_entry};

/// The rows of the table in `docs/RECORD_FORMAT.md`: SeaORM value, content, recorded.
fn vectors() -> Vec<[String; 3]> {
    let text = include_str!("../../../docs/RECORD_FORMAT.md");
    let (_, table) =
        text.split_once("| SeaORM value | content | recorded |\n|---|---|---|\n").expect("the table");
    table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').splitn(3, " | ").map(|cell| {
                let cell = cell.trim();
                cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap_or(cell).to_owned()
            });
            cells.collect::<Vec<_>>().try_into().expect("three cells")
        })
        .collect()
}

fn value(kind: &str, content: &str) -> Value {
    fn parsed<T: std::str::FromStr>(content: &str) -> T
    where
        T::Err: std::fmt::Debug,
    {
        content.parse().expect(content)
    }
    match kind {
        "Bool" => parsed::<bool>(content).into(),
        "TinyInt" => parsed::<i8>(content).into(),
        "SmallInt" => parsed::<i16>(content).into(),
        "Int" => parsed::<i32>(content).into(),
        "BigInt" => parsed::<i64>(content).into(),
        "TinyUnsigned" => parsed::<u8>(content).into(),
        "SmallUnsigned" => parsed::<u16>(content).into(),
        "Unsigned" => parsed::<u32>(content).into(),
        "BigUnsigned" => parsed::<u64>(content).into(),
        "Float" => parsed::<f32>(content).into(),
        "Double" => parsed::<f64>(content).into(),
        "Decimal" => parsed::<sea_orm::prelude::Decimal>(content).into(),
        "String" => content.into(),
        "Char" => parsed::<char>(content).into(),
        "Enum" => Value::Enum(sea_orm::sea_query::OptionEnum::Some(Box::new(sea_orm::sea_query::Enum {
            type_name: "tier".into(),
            value: content.to_owned().into(),
        }))),
        "Bytes" => {
            let digits: Vec<char> = content.chars().collect();
            let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
            digits.chunks(2).map(byte).collect::<Vec<u8>>().into()
        }
        "Uuid" => parsed::<uuid::Uuid>(content).into(),
        "ChronoDate" => parsed::<chrono::NaiveDate>(content).into(),
        "ChronoTime" => parsed::<chrono::NaiveTime>(content).into(),
        "ChronoDateTime" => parsed::<chrono::NaiveDateTime>(content).into(),
        "ChronoDateTimeUtc" => parsed::<chrono::DateTime<chrono::Utc>>(content).into(),
        "ChronoDateTimeWithTimeZone" => parsed::<chrono::DateTime<chrono::FixedOffset>>(content).into(),
        "Json" => parsed::<serde_json::Value>(content).into(),
        "ChronoDateTimeLocal" => {
            parsed::<chrono::DateTime<chrono::FixedOffset>>(content).with_timezone(&chrono::Local).into()
        }
        "TimeDate" => time_of::date(parsed(content)).into(),
        "TimeTime" => time_of::time(parsed(content)).into(),
        "TimeDateTime" => time_of::datetime(parsed(content)).into(),
        "TimeDateTimeWithTimeZone" => time_of::instant(parsed(content)).into(),
        "BigDecimal" => parsed::<sea_orm::prelude::BigDecimal>(content).into(),
        "IpNetwork" => parsed::<sea_orm::prelude::IpNetwork>(content).into(),
        "MacAddress" => parsed::<sea_orm::sea_query::value::prelude::MacAddress>(content).into(),
        "Null" => Value::String(None),
        other => {
            let element = other.strip_prefix("Array of ").expect(other);
            let items: Vec<serde_json::Value> = serde_json::from_str(content).expect(content);
            array(element, &items)
        }
    }
}

fn array(element: &str, items: &[serde_json::Value]) -> Value {
    let kind = match element {
        "Bool" => ArrayType::Bool,
        "Int" => ArrayType::Int,
        "BigInt" => ArrayType::BigInt,
        "Double" => ArrayType::Double,
        "Decimal" => ArrayType::Decimal,
        "String" => ArrayType::String,
        "ChronoDate" => ArrayType::ChronoDate,
        "Uuid" => ArrayType::Uuid,
        other => panic!("unknown elements {other} in RECORD_FORMAT"),
    };
    let item = |item: &serde_json::Value| match (item, element) {
        (serde_json::Value::Null, "Int") => Value::Int(None),
        (serde_json::Value::Null, "Decimal") => Value::Decimal(None),
        (serde_json::Value::String(text), _) => value(element, text),
        (other, _) => value(element, &other.to_string()),
    };
    Value::Array(kind, Some(Box::new(items.iter().map(item).collect())))
}

/// Values of the `time` crate with the contents of chrono's.
mod time_of {
    use chrono::{Datelike, Timelike};
    use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

    pub(super) fn date(date: chrono::NaiveDate) -> Date {
        Date::from_ordinal_date(date.year(), u16::try_from(date.ordinal()).expect("a day")).expect("a date")
    }

    pub(super) fn time(time: chrono::NaiveTime) -> Time {
        let [hour, minute, second] =
            [time.hour(), time.minute(), time.second()].map(|part| u8::try_from(part).expect("a part"));
        Time::from_hms_nano(hour, minute, second, time.nanosecond()).expect("a time")
    }

    pub(super) fn datetime(value: chrono::NaiveDateTime) -> PrimitiveDateTime {
        PrimitiveDateTime::new(date(value.date()), time(value.time()))
    }

    pub(super) fn instant(value: chrono::DateTime<chrono::FixedOffset>) -> OffsetDateTime {
        let offset = UtcOffset::from_whole_seconds(value.offset().local_minus_utc()).expect("an offset");
        datetime(value.naive_local()).assume_offset(offset)
    }
}

#[test]
fn i6_the_published_vectors_hold() {
    let vectors = vectors();
    assert!(vectors.len() > 65, "the whole table was read");
    for [kind, content, recorded] in vectors {
        assert_eq!(render::value(value(&kind, &content)).to_json(), recorded, "{kind} {content}");
    }
}

// PostgreSQL will have to write the record itself. Floats of every magnitude, and those between two short ones.
db_test!(i6_postgres_prints_floats_alike, on(postgres), async |t| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..400 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let near = f64::from(u32::try_from(state >> 40).unwrap()) / 8.0;
        let (double, single) = if round % 2 == 0 {
            (f64::from_bits(state), f32::from_bits(u32::try_from(state >> 32).unwrap()))
        } else {
            (near * 1e9, near as f32)
        };
        for (mine, asked) in [
            (render::value(double.into()), format!("'{double:e}'::float8")),
            (render::value(single.into()), format!("'{single:e}'::float4")),
        ] {
            let printed: String = t.value(&format!("SELECT to_json({asked})::text")).await.unwrap();
            assert_eq!(mine.to_json(), printed, "{asked}");
        }
    }
});

db_test!(i6_extremes_survive_the_database_and_are_recorded, async |t| {
    create_table(t, everything::Entity).await;
    if t.db.get_database_backend() == DbBackend::MySql {
        // By default its columns keep whole seconds.
        t.execute(
            "ALTER TABLE everything MODIFY time TIME(6) NOT NULL, MODIFY naive DATETIME(6) NOT NULL, \
             MODIFY utc TIMESTAMP(6) NOT NULL, MODIFY zoned TIMESTAMP(6) NOT NULL",
        )
        .await
        .unwrap();
    }
    // MariaDB takes documents that are 32 deep.
    let deep = (0..t.pick(60, 60, 30)).fold(json!("core"), |inner, _| json!({ "in": inner }));
    let row = everything::ActiveModel {
        id: NotSet,
        flag: Set(true),
        small: Set(i16::MAX),
        int: Set(i32::MIN),
        big: Set(i64::MAX),
        big_negative: Set(i64::MIN),
        single: Set(0.1),
        double: Set(0.1 + 0.2),
        text: Set("😀 Grüße \"x\" \\ \u{1} \n".to_owned()),
        empty: Set(Some(String::new())),
        missing: Set(None),
        bytes: Set(vec![0, 255, 16]),
        json: Set(deep.clone()),
        date: Set("2024-02-29".parse().unwrap()),
        time: Set("23:59:59.000123".parse().unwrap()),
        naive: Set("2024-01-15T10:30:00.123456".parse().unwrap()),
        utc: Set("2024-01-15T10:30:00.000001Z".parse().unwrap()),
        zoned: Set("2024-01-15T10:30:00.999999+02:00".parse().unwrap()),
        uuid: Set(uuid::Uuid::from_u128(1)),
        decimal: Set("12345678901234.5600".parse().unwrap()),
    };
    let row = row.insert(&t.db).await.unwrap();
    let recorded = changes(&only_entry(t).await);
    let expected = |field: &str, value: serde_json::Value| {
        assert_eq!(recorded[field], json!({ "new": value }), "{field}");
    };
    expected("flag", json!(true));
    expected("small", json!(32767));
    expected("int", json!(i32::MIN));
    expected("big", json!(i64::MAX));
    expected("big_negative", json!(i64::MIN));
    expected("double", json!(0.1 + 0.2));
    expected("text", json!("😀 Grüße \"x\" \\ \u{1} \n"));
    expected("empty", json!(""));
    expected("missing", json!(null));
    expected("bytes", json!("0x00ff10"));
    expected("json", deep);
    expected("date", json!("2024-02-29"));
    expected("time", json!("23:59:59.000123"));
    expected("uuid", json!("00000000-0000-0000-0000-000000000001"));
    expected("single", json!(0.1));
    expected("naive", json!("2024-01-15T10:30:00.123456"));
    expected("utc", json!("2024-01-15T10:30:00.000001Z"));
    // SQLite keeps offsets as they came.
    let (kept, utc) = ("2024-01-15T10:30:00.999999+02:00", "2024-01-15T08:30:00.999999Z");
    expected("zoned", json!(t.pick(kept, utc, utc)));
    expected("decimal", json!("12345678901234.5600"));
    // Over the connection, and as it ends: the database renders what it can.
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    row.clone().delete(&db).await.unwrap();
    let ended = changes(&entries(t).await[1]);
    for (field, began) in recorded.as_object().unwrap() {
        assert_eq!(ended[field]["old"], began["new"], "{field}");
    }
    assert_eq!(row.big, i64::MAX);
});

db_test!(i6_nan_set_to_nan_is_no_change, on(postgres), async |t| {
    create_table(t, everything::Entity).await;
    let row =
        everything::ActiveModel { double: Set(f64::NAN), ..everything::plain() }.insert(&t.db).await.unwrap();
    let again = everything::ActiveModel { id: Set(row.id), double: Set(f64::NAN), ..Default::default() };
    again.update(&t.db).await.unwrap();
    let number = everything::ActiveModel { id: Set(row.id), double: Set(1.5), ..Default::default() };
    number.update(&t.db).await.unwrap();
    let all = entries(t).await;
    assert_eq!(all.len(), 2);
    assert_eq!(changes(&all[1]), json!({"double": {"old": "NaN", "new": 1.5}}));

    // Rendered by the database.
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    for double in [f64::NAN, f64::NAN, f64::NEG_INFINITY, -0.0, 0.0] {
        let row = everything::ActiveModel { id: Set(row.id), double: Set(double), ..Default::default() };
        row.update(&db).await.unwrap();
    }
    let all: Vec<String> =
        entries(t).await.split_off(2).iter().map(|e| changes(e)["double"].to_string()).collect();
    assert_eq!(
        all,
        [
            r#"{"new":"NaN","old":1.5}"#,
            r#"{"new":"-Infinity","old":"NaN"}"#,
            r#"{"new":-0.0,"old":"-Infinity"}"#,
            r#"{"new":0,"old":-0.0}"#
        ]
    );
});

db_test!(r1_ten_megabytes_of_text_are_recorded_by_length_and_digest, async |t| {
    create_table(t, everything::Entity).await;
    if t.db.get_database_backend() == DbBackend::MySql {
        t.execute("ALTER TABLE everything MODIFY text LONGTEXT NOT NULL").await.unwrap();
    }
    let long = "ä".repeat(5 * 1024 * 1024);
    let row = everything::ActiveModel { text: Set(long.clone()), ..everything::plain() };
    let row = row.insert(&t.db).await.unwrap();
    let entry = only_entry(t).await;
    let marker = changes(&entry)["text"]["new"]["$oversized"].clone();
    assert_eq!(marker["bytes"], json!(long.len() + 2));
    assert_eq!(marker["sha256"].as_str().map(str::len), Some(64));
    assert!(entry.changes.unwrap().len() < 4096);

    // A cap above it stores it whole, where the server's packet takes it.
    let mut config = Config::default();
    config.max_value_bytes = 16 << 20;
    let audit = Audit::builder().config(config).build().unwrap();
    let shorter =
        everything::ActiveModel { id: Set(row.id), text: Set("short".into()), ..Default::default() };
    audit.within(shorter.update(&t.db)).await.unwrap();
    assert_eq!(changes(&entries(t).await[1])["text"], json!({"old": long, "new": "short"}));
});

db_test!(i6_nul_is_recorded_where_the_database_takes_it, async |t| {
    create_table(t, everything::Entity).await;
    let row = everything::ActiveModel { text: Set("a\0b".into()), ..everything::plain() };
    match row.insert(&t.db).await {
        Ok(_) => assert_eq!(changes(&only_entry(t).await)["text"], json!({"new": "a\0b"})),
        Err(_) => {
            assert_eq!(t.db.get_database_backend(), DbBackend::Postgres);
            assert_eq!(entries(t).await, []);
        }
    }
});

db_test!(i6_arrays_are_recorded, on(postgres), async |t| {
    use crate::fixtures::everything::arrays;
    create_table(t, arrays::Entity).await;
    let row = arrays::ActiveModel {
        id: NotSet,
        numbers: Set(vec![1, -2, 3]),
        words: Set(Some(vec!["a\"b".to_owned(), String::new()])),
    };
    let mut row: arrays::ActiveModel = row.insert(&t.db).await.unwrap().into();
    row.numbers = Set(vec![]);
    row.words = Set(None);
    row.update(&t.db).await.unwrap();
    let all = entries(t).await;
    assert_eq!(changes(&all[0])["numbers"], json!({"new": [1, -2, 3]}));
    assert_eq!(
        changes(&all[1]),
        json!({"numbers": {"old": [1, -2, 3], "new": []}, "words": {"old": ["a\"b", ""], "new": null}})
    );
});

#[test]
fn c1_comparing_an_unchanged_row_allocates_nothing() {
    use audit_seaorm::{Auditable, Diff};
    use sea_orm::TryIntoModel;
    let audit = Audit::builder().build().unwrap();
    let policies = audit.registry().policies();
    let policy = policies.into_iter().find(|policy| policy.resource == "everything").unwrap();
    let row = everything::ActiveModel {
        id: Set(1),
        text: Set("some text".into()),
        json: Set(json!({"a": [1, 2, 3]})),
        ..everything::plain()
    };
    let (row, other): (everything::Model, everything::Model) =
        (row.clone().try_into_model().unwrap(), row.try_into_model().unwrap());
    let mut changes = None;
    let counted = allocation_counter::measure(|| {
        let mut diff = Diff::new(policy);
        row.diff(&other, &mut diff);
        changes = diff.finish();
    });
    assert!(changes.is_none());
    assert_eq!(counted.count_total, 0);
    let counted = allocation_counter::measure(|| drop(other.clone()));
    assert!(counted.count_total > 0, "the counter counts");
}

db_test!(i6_types_behind_features_are_recorded, async |t| {
    use crate::fixtures::rare;
    create_table(t, rare::Entity).await;
    if t.db.get_database_backend() == DbBackend::MySql {
        t.execute(
            "ALTER TABLE rare MODIFY time TIME(6) NOT NULL, MODIFY naive DATETIME(6) NOT NULL, \
             MODIFY zoned TIMESTAMP(6) NOT NULL",
        )
        .await
        .unwrap();
    }
    let row = || rare::ActiveModel {
        id: NotSet,
        date: Set(time_of::date("2024-02-29".parse().unwrap())),
        time: Set(time_of::time("23:59:59.000123".parse().unwrap())),
        naive: Set(time_of::datetime("2024-01-15T10:30:00.123456".parse().unwrap())),
        zoned: Set(time_of::instant("2024-01-15T10:30:00.5+02:00".parse().unwrap())),
        // SQLite keeps it as a float; of this one no digits are lost or added.
        amount: Set("12345678.5000".parse().unwrap()),
    };
    row().insert(&t.db).await.unwrap();
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    row().insert(&db).await.unwrap().delete(&db).await.unwrap();
    let (kept, utc) = ("2024-01-15T10:30:00.5+02:00", "2024-01-15T08:30:00.5Z");
    let expected = json!({
        "date": "2024-02-29", "time": "23:59:59.000123", "naive": "2024-01-15T10:30:00.123456",
        "zoned": t.pick(kept, utc, utc), "amount": "12345678.5000",
    });
    let all = entries(t).await;
    for (entry, side) in all.iter().zip(["new", "new", "old"]) {
        let mut recorded = changes(entry);
        recorded.as_object_mut().unwrap().remove("id");
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(recorded[field][side], *value, "{field} {side}");
        }
    }
    assert_eq!(all.len(), 3);
});

db_test!(i6_addresses_are_recorded, on(postgres), async |t| {
    use crate::fixtures::rare::address;
    create_table(t, address::Entity).await;
    let row = || address::ActiveModel {
        id: NotSet,
        network: Set("192.0.2.0/24".parse().unwrap()),
        card: Set(Some("00:1B:44:11:3A:B7".parse().unwrap())),
    };
    row().insert(&t.db).await.unwrap();
    let db = Audit::builder().build().unwrap().connect(t.db.clone());
    let change = address::ActiveModel { card: Set(None), ..row().insert(&db).await.unwrap().into() };
    change.update(&db).await.unwrap();
    let all: Vec<_> = entries(t).await.iter().map(changes).collect();
    for (id, change) in (1..).zip(&all[..2]) {
        let (network, card) = (json!({"new": "192.0.2.0/24"}), json!({"new": "00:1b:44:11:3a:b7"}));
        assert_eq!(*change, json!({"id": {"new": id}, "network": network, "card": card}));
    }
    assert_eq!(all[2], json!({"card": {"old": "00:1b:44:11:3a:b7", "new": null}}));
});
