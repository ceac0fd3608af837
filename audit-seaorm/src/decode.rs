//! Recorded values back to SeaORM values: the reverse of `capture::render`.
//!
//! A rendering alone doesn't tell the type that it came from: `"2024-02-29"` may be a date or a text. So it is read as
//! everything that it can be, and the field's own type takes what it knows, by SeaORM's own conversion.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit_core::MASK;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;
use sea_orm::sea_query::{ArrayType, ColumnType, Enum, OptionEnum};
use sea_orm::{ActiveModelTrait, ActiveValue, ColumnTrait, EntityTrait, Value};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use uuid::Uuid;

/// Deepest document that is read, as serde_json has it for whole texts.
const DEPTH: usize = 128;

/// What stands in an entry in place of a value that isn't there as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Masked,
    Sanitised,
    Oversized,
}

/// Whether a rendering shows its value, or something in its place.
///
/// A text that really contains `***` can't be told from one in which a secret was replaced by it: it counts as replaced.
pub(crate) fn marker(recorded: &str) -> Option<Marker> {
    if recorded.len() == MASK.len() + 2 && recorded.trim_matches('"') == MASK {
        Some(Marker::Masked)
    } else if recorded.starts_with(r#"{"$oversized":"#) {
        Some(Marker::Oversized)
    } else {
        recorded.contains(MASK).then_some(Marker::Sanitised)
    }
}

/// The JSON of a rendering, with all digits of its floats, which serde_json by itself reads only nearly.
///
/// `None`: it is no JSON, or nested beyond all reason.
pub(crate) fn exact_json(recorded: &str) -> Option<Json> {
    exact(recorded, DEPTH)
}

fn exact(recorded: &str, depth: usize) -> Option<Json> {
    let recorded = recorded.trim();
    let below = depth.checked_sub(1)?;
    match recorded.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(recorded).ok()?;
            members
                .into_iter()
                .map(|(key, raw)| Some((key, exact(raw.get(), below)?)))
                .collect::<Option<_>>()
                .map(Json::Object)
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(recorded).ok()?;
            items.into_iter().map(|raw| exact(raw.get(), below)).collect::<Option<_>>().map(Json::Array)
        }
        b'-' | b'0'..=b'9' if recorded.contains(['.', 'e', 'E']) || recorded == "-0" => {
            serde_json::Number::from_f64(recorded.parse().ok()?).map(Json::Number)
        }
        _ => serde_json::from_str(recorded).ok(),
    }
}

/// The value of a column from its rendering, as the entity's field has it. `None`: its type can't hold it.
pub(crate) fn decode<E: EntityTrait>(column: E::Column, recorded: &str) -> Option<Value> {
    let mut row = <E::ActiveModel as ActiveModelTrait>::default();
    if recorded == "null" {
        // Each type has a null of its own; that of an optional field is its default.
        let defaults = E::ActiveModel::default_values();
        return match defaults.get(column) {
            ActiveValue::Set(value) if is_null(&value) => Some(value),
            _ => None,
        };
    }
    let definition = column.def();
    candidates(recorded, definition.get_column_type())
        .into_iter()
        .find_map(|candidate| set(&mut row, column, candidate))
}

/// The value as the field's type has it, if it takes this one.
pub(crate) fn fit<E: EntityTrait>(column: E::Column, value: Value) -> Option<Value> {
    set(&mut <E::ActiveModel as ActiveModelTrait>::default(), column, value)
}

fn set<A: ActiveModelTrait>(
    row: &mut A,
    column: <A::Entity as EntityTrait>::Column,
    value: Value,
) -> Option<Value> {
    let accepted = if matches!(value, Value::Array(..)) {
        // SeaORM panics where an element is none of its enum's variants, as after a variant was removed.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| row.try_set(column, value))).ok()?
    } else {
        row.try_set(column, value)
    };
    accepted.ok()?;
    match row.get(column) {
        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => Some(value),
        ActiveValue::NotSet => None,
    }
}

pub(crate) fn is_null(value: &Value) -> bool {
    matches!(crate::capture::render::value(value.clone()), audit_core::Value::Null)
}

/// Everything that a rendering can be, the likeliest first.
fn candidates(recorded: &str, column_type: &ColumnType) -> Vec<Value> {
    let mut found = Vec::new();
    let Some(json) = exact_json(recorded) else { return found };
    match &json {
        Json::Null => {}
        Json::Bool(value) => found.push((*value).into()),
        Json::Number(_) => numbers(recorded, &mut found),
        Json::String(text) => texts(text, column_type, &mut found),
        Json::Array(_) => lists(recorded, column_type, &mut found),
        Json::Object(members) => {
            if members.len() == 1 && members.get("$json").is_some_and(Json::is_null) {
                found.push(Value::Json(Some(Box::new(Json::Null))));
                return found;
            }
        }
    }
    found.push(Value::Json(Some(Box::new(json))));
    found
}

fn numbers(recorded: &str, found: &mut Vec<Value>) {
    macro_rules! integers {
        ($($ty:ty),*) => {$(
            if let Ok(value) = recorded.parse::<$ty>() {
                found.push(value.into());
            }
        )*};
    }
    integers!(i64, i32, i16, i8, u64, u32, u16, u8);
    floats(recorded, found);
}

fn floats(text: &str, found: &mut Vec<Value>) {
    found.extend(text.parse::<f64>().ok().map(Value::from));
    found.extend(text.parse::<f32>().ok().map(Value::from));
}

fn texts(text: &str, column_type: &ColumnType, found: &mut Vec<Value>) {
    found.push(text.into());
    let mut characters = text.chars();
    if let (Some(only), None) = (characters.next(), characters.next()) {
        found.push(only.into());
    }
    found.push(Value::Enum(OptionEnum::Some(Box::new(Enum {
        type_name: enum_name(column_type),
        value: text.to_owned().into(),
    }))));
    found.extend(text.parse::<Uuid>().ok().map(Value::from));
    found.extend(text.parse::<NaiveDate>().ok().map(Value::from));
    found.extend(text.parse::<NaiveTime>().ok().map(Value::from));
    found.extend(text.parse::<NaiveDateTime>().ok().map(Value::from));
    if let Ok(moment) = text.parse::<DateTime<FixedOffset>>() {
        found.push(moment.to_utc().into());
        found.push(moment.into());
        found.push(moment.with_timezone(&chrono::Local).into());
    }
    found.extend(Decimal::from_str_exact(text).ok().map(Value::from));
    found.extend(bytes(text).map(Value::from));
    if ["NaN", "Infinity", "-Infinity"].contains(&text) {
        floats(text, found);
    }
    #[cfg(feature = "with-bigdecimal")]
    found.extend(text.parse::<bigdecimal::BigDecimal>().ok().map(Value::from));
    #[cfg(feature = "with-ipnetwork")]
    found.extend(text.parse::<ipnetwork::IpNetwork>().ok().map(Value::from));
    #[cfg(feature = "with-mac_address")]
    found.extend(text.parse::<mac_address::MacAddress>().ok().map(Value::from));
    #[cfg(feature = "with-time")]
    with_time::push(text, found);
}

fn enum_name(column_type: &ColumnType) -> Arc<str> {
    match column_type {
        ColumnType::Enum { name, .. } => name.to_string().into(),
        ColumnType::Array(element) => enum_name(element),
        _ => "".into(),
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// Arrays, each of elements of one type.
fn lists(recorded: &str, column_type: &ColumnType, found: &mut Vec<Value>) {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(recorded) else { return };
    let element = match column_type {
        ColumnType::Array(element) => element,
        other => other,
    };
    let readings: Vec<Vec<Value>> = items.iter().map(|item| candidates(item.get(), element)).collect();
    #[allow(unused_mut, reason = "features add more")]
    let mut types = vec![
        ArrayType::Bool,
        ArrayType::TinyInt,
        ArrayType::SmallInt,
        ArrayType::Int,
        ArrayType::BigInt,
        ArrayType::TinyUnsigned,
        ArrayType::SmallUnsigned,
        ArrayType::Unsigned,
        ArrayType::BigUnsigned,
        ArrayType::Float,
        ArrayType::Double,
        ArrayType::String,
        ArrayType::Enum(Box::new(enum_name(column_type))),
        ArrayType::Char,
        ArrayType::Bytes,
        ArrayType::Uuid,
        ArrayType::Decimal,
        ArrayType::ChronoDate,
        ArrayType::ChronoTime,
        ArrayType::ChronoDateTime,
        ArrayType::ChronoDateTimeUtc,
        ArrayType::ChronoDateTimeLocal,
        ArrayType::ChronoDateTimeWithTimeZone,
        ArrayType::Json,
    ];
    #[cfg(feature = "with-time")]
    types.extend([
        ArrayType::TimeDate,
        ArrayType::TimeTime,
        ArrayType::TimeDateTime,
        ArrayType::TimeDateTimeWithTimeZone,
    ]);
    #[cfg(feature = "with-bigdecimal")]
    types.push(ArrayType::BigDecimal);
    #[cfg(feature = "with-ipnetwork")]
    types.push(ArrayType::IpNetwork);
    #[cfg(feature = "with-mac_address")]
    types.push(ArrayType::MacAddress);
    for ty in types {
        let of_type = |reading: &Vec<Value>| {
            reading.iter().find(|candidate| element_type(candidate).as_ref() == Some(&ty)).cloned()
        };
        if let Some(values) = readings.iter().map(of_type).collect::<Option<Vec<Value>>>() {
            found.push(Value::Array(ty, Some(Box::new(values))));
        }
    }
}

fn element_type(value: &Value) -> Option<ArrayType> {
    Some(match value {
        Value::Bool(_) => ArrayType::Bool,
        Value::TinyInt(_) => ArrayType::TinyInt,
        Value::SmallInt(_) => ArrayType::SmallInt,
        Value::Int(_) => ArrayType::Int,
        Value::BigInt(_) => ArrayType::BigInt,
        Value::TinyUnsigned(_) => ArrayType::TinyUnsigned,
        Value::SmallUnsigned(_) => ArrayType::SmallUnsigned,
        Value::Unsigned(_) => ArrayType::Unsigned,
        Value::BigUnsigned(_) => ArrayType::BigUnsigned,
        Value::Float(_) => ArrayType::Float,
        Value::Double(_) => ArrayType::Double,
        Value::String(_) => ArrayType::String,
        Value::Enum(OptionEnum::Some(value)) => ArrayType::Enum(Box::new(value.type_name.clone())),
        Value::Char(_) => ArrayType::Char,
        Value::Bytes(_) => ArrayType::Bytes,
        Value::Uuid(_) => ArrayType::Uuid,
        Value::Decimal(_) => ArrayType::Decimal,
        Value::ChronoDate(_) => ArrayType::ChronoDate,
        Value::ChronoTime(_) => ArrayType::ChronoTime,
        Value::ChronoDateTime(_) => ArrayType::ChronoDateTime,
        Value::ChronoDateTimeUtc(_) => ArrayType::ChronoDateTimeUtc,
        Value::ChronoDateTimeLocal(_) => ArrayType::ChronoDateTimeLocal,
        Value::ChronoDateTimeWithTimeZone(_) => ArrayType::ChronoDateTimeWithTimeZone,
        Value::Json(_) => ArrayType::Json,
        #[cfg(feature = "with-time")]
        Value::TimeDate(_) => ArrayType::TimeDate,
        #[cfg(feature = "with-time")]
        Value::TimeTime(_) => ArrayType::TimeTime,
        #[cfg(feature = "with-time")]
        Value::TimeDateTime(_) => ArrayType::TimeDateTime,
        #[cfg(feature = "with-time")]
        Value::TimeDateTimeWithTimeZone(_) => ArrayType::TimeDateTimeWithTimeZone,
        #[cfg(feature = "with-bigdecimal")]
        Value::BigDecimal(_) => ArrayType::BigDecimal,
        #[cfg(feature = "with-ipnetwork")]
        Value::IpNetwork(_) => ArrayType::IpNetwork,
        #[cfg(feature = "with-mac_address")]
        Value::MacAddress(_) => ArrayType::MacAddress,
        _ => return None,
    })
}

#[cfg(feature = "with-time")]
mod with_time {
    use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
    use sea_orm::Value;
    use time::{Date, PrimitiveDateTime, Time, UtcOffset};

    pub(super) fn push(text: &str, found: &mut Vec<Value>) {
        found.extend(text.parse::<NaiveDate>().ok().and_then(date).map(Value::from));
        found.extend(text.parse::<NaiveTime>().ok().and_then(time).map(Value::from));
        found.extend(text.parse::<NaiveDateTime>().ok().and_then(datetime).map(Value::from));
        found.extend(text.parse::<DateTime<FixedOffset>>().ok().and_then(instant).map(Value::from));
    }

    fn date(date: NaiveDate) -> Option<Date> {
        Date::from_ordinal_date(date.year(), u16::try_from(date.ordinal()).ok()?).ok()
    }

    fn time(time: NaiveTime) -> Option<Time> {
        let part = |value: u32| u8::try_from(value).ok();
        Time::from_hms_nano(part(time.hour())?, part(time.minute())?, part(time.second())?, time.nanosecond())
            .ok()
    }

    fn datetime(value: NaiveDateTime) -> Option<PrimitiveDateTime> {
        Some(PrimitiveDateTime::new(date(value.date())?, time(value.time())?))
    }

    fn instant(value: DateTime<FixedOffset>) -> Option<time::OffsetDateTime> {
        let offset = UtcOffset::from_whole_seconds(value.offset().local_minus_utc()).ok()?;
        Some(datetime(value.naive_local())?.assume_offset(offset))
    }
}

#[cfg(test)]
mod tests;
