//! Values, recorded and read.

#![allow(unreachable_pub, reason = "entities are public in the format that SeaORM generates")]

use proptest::prelude::*;
use sea_orm::prelude::*;

use super::*;
use crate::capture::render;

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Enum", enum_name = "tone")]
pub enum Tone {
    #[sea_orm(string_value = "high")]
    High,
    #[sea_orm(string_value = "very low")]
    Low,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Step {
    #[sea_orm(num_value = -1)]
    Down,
    #[sea_orm(num_value = 1)]
    Up,
}

mod row {
    use sea_orm::entity::prelude::*;

    use super::{Step, Tone};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "row")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub tiny: i8,
        pub unsigned: u64,
        pub small: Option<u16>,
        pub single: f32,
        pub double: Option<f64>,
        pub flag: Option<bool>,
        pub text: Option<String>,
        pub bytes: Option<Vec<u8>>,
        pub json: Option<Json>,
        pub uuid: Option<Uuid>,
        #[sea_orm(column_type = "Decimal(Some((28, 6)))")]
        pub decimal: Option<Decimal>,
        pub date: Option<Date>,
        pub time: Option<Time>,
        pub naive: Option<DateTime>,
        pub utc: Option<DateTimeUtc>,
        pub zoned: Option<DateTimeWithTimeZone>,
        pub tone: Option<Tone>,
        pub step: Step,
        pub numbers: Option<Vec<i32>>,
        pub words: Vec<String>,
        pub tones: Vec<Tone>,
        pub moments: Vec<DateTimeUtc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use row::{Column, Entity};

/// What a value is after it was recorded and read.
fn again(column: Column, value: Value) -> (Option<Value>, Value) {
    (decode::<Entity>(column, &render::value(value.clone()).to_json()), value)
}

fn document() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-z$]{1,3}", inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn moment() -> impl Strategy<Value = DateTimeUtc> {
    (-62_000_000_000_i64..250_000_000_000, 0..1_000_000_000_u32)
        .prop_map(|(seconds, nanos)| chrono::DateTime::from_timestamp(seconds, nanos).unwrap_or_default())
}

macro_rules! comes_back {
    ($($column:ident: $value:expr),* $(,)?) => {$(
        let (read, value) = again(Column::$column, Value::from($value));
        prop_assert_eq!(read, Some(value), "{}", stringify!($column));
    )*};
}

proptest! {
    #[test]
    fn q6_every_value_comes_back_from_its_rendering(
        ints in (any::<i64>(), any::<i8>(), any::<u64>(), any::<Option<u16>>()),
        floats in (any::<f32>(), any::<Option<f64>>()),
        texts in (any::<Option<String>>(), any::<Option<Vec<u8>>>(), any::<Option<bool>>()),
        json in prop::option::of(document()),
        decimal in prop::option::of((any::<i64>(), 0..20_u32)),
        moments in (moment(), moment(), -43_200..43_200_i32),
        lists in (any::<Option<Vec<i32>>>(), any::<Vec<String>>(), any::<Vec<bool>>()),
        none in any::<bool>(),
    ) {
        // A document that looks like the marker of a document that is null isn't told apart from it.
        prop_assume!(json.as_ref().is_none_or(|json| json.get("$json").is_none()));
        let maybe = |moment: DateTimeUtc| (!none).then_some(moment);
        let minutes = moments.2 / 60 * 60;
        let offset = chrono::FixedOffset::east_opt(minutes).expect("an offset");
        let tones = lists.2.iter().map(|high| if *high { Tone::High } else { Tone::Low });
        comes_back! {
            Id: ints.0, Tiny: ints.1, Unsigned: ints.2, Small: ints.3,
            Single: floats.0, Double: floats.1, Flag: texts.2,
            Text: texts.0, Bytes: texts.1, Json: json,
            Uuid: maybe(moments.0).map(|moment| Uuid::from_u64_pair(moment.timestamp().cast_unsigned(), 1)),
            Decimal: decimal.map(|(number, scale)| rust_decimal::Decimal::new(number, scale)),
            Date: maybe(moments.0).map(|moment| moment.date_naive()),
            Time: maybe(moments.0).map(|moment| moment.time()),
            Naive: maybe(moments.0).map(|moment| moment.naive_utc()),
            Utc: maybe(moments.1),
            Zoned: maybe(moments.1).map(|moment| moment.with_timezone(&offset)),
            Tone: (!none).then_some(Tone::Low), Step: Step::Down,
            Numbers: lists.0, Words: lists.1, Tones: tones.collect::<Vec<Tone>>(),
            Moments: vec![moments.0, moments.1],
        }
    }
}

#[test]
fn q6_numbers_that_json_has_not_come_back() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
        let read = decode::<Entity>(Column::Double, &render::value(value.into()).to_json());
        assert!(
            matches!(read, Some(Value::Double(Some(read))) if read.to_bits() == value.to_bits()),
            "{value}"
        );
    }
}

#[test]
fn q6_what_a_column_cannot_hold_is_not_read() {
    for (column, recorded) in [
        (Column::Id, "null"),
        (Column::Id, "1.5"),
        (Column::Tiny, "128"),
        (Column::Uuid, "\"0x00\""),
        (Column::Bytes, "\"0x0\""),
        (Column::Bytes, "\"0xaé\""),
        (Column::Tone, "\"removed\""),
        (Column::Tones, "[\"high\",\"removed\"]"),
        (Column::Numbers, "[1,null]"),
        (Column::Text, "not JSON"),
        (Column::Json, "[1e400]"),
    ] {
        assert_eq!(decode::<Entity>(column, recorded), None, "{column:?} {recorded}");
    }
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(decode::<Entity>(Column::Json, &deep), None);
}

#[test]
fn q6_what_stands_in_place_of_a_value_is_seen() {
    for (recorded, expected) in [
        ("\"***\"", Some(Marker::Masked)),
        ("\"card ***\"", Some(Marker::Sanitised)),
        (r#"{"a":"***"}"#, Some(Marker::Sanitised)),
        (r#"{"$oversized":{"bytes":9,"sha256":"00"}}"#, Some(Marker::Oversized)),
        ("\"**\"", None),
        ("null", None),
    ] {
        assert_eq!(marker(recorded), expected, "{recorded}");
    }
}
