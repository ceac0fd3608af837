//! The one rendering of SeaORM values. `docs/RECORD_FORMAT.md` has the table; `tests/` holds it to its vectors.

use audit_core::Value;
use chrono::{DateTime, FixedOffset, NaiveDateTime, NaiveTime, Timelike};
use sea_orm::Value as Sea;
use sea_orm::sea_query::OptionEnum;

/// What is recorded of a SeaORM value.
pub fn value(sea: Sea) -> Value {
    match sea {
        Sea::Bool(v) => v.into(),
        Sea::TinyInt(v) => v.into(),
        Sea::SmallInt(v) => v.into(),
        Sea::Int(v) => v.into(),
        Sea::BigInt(v) => v.into(),
        Sea::TinyUnsigned(v) => v.into(),
        Sea::SmallUnsigned(v) => v.into(),
        Sea::Unsigned(v) => v.into(),
        Sea::BigUnsigned(v) => v.into(),
        Sea::Float(v) => v.into(),
        Sea::Double(v) => v.into(),
        Sea::String(v) => v.into(),
        Sea::Char(v) => v.into(),
        Sea::Enum(OptionEnum::Some(v)) => Value::Text(v.value.into_owned()),
        Sea::Enum(OptionEnum::None(_)) => Value::Null,
        Sea::Bytes(v) => text(v, |v| bytes(&v)),
        Sea::Json(v) => v.map_or(Value::Null, |v| Value::Json(*v)),
        Sea::ChronoDate(v) => text(v, |v| v.to_string()),
        Sea::ChronoTime(v) => text(v, time),
        Sea::ChronoDateTime(v) => text(v, datetime),
        Sea::ChronoDateTimeUtc(v) => text(v, |v| instant(&v.fixed_offset())),
        // In UTC: the record must not depend on the zone of the machine.
        Sea::ChronoDateTimeLocal(v) => text(v, |v| instant(&v.to_utc().fixed_offset())),
        Sea::ChronoDateTimeWithTimeZone(v) => text(v, |v| instant(&v)),
        Sea::Uuid(v) => text(v, |v| v.to_string()),
        Sea::Decimal(v) => v.map_or(Value::Null, |v| Value::Decimal(v.to_string())),
        #[cfg(feature = "with-bigdecimal")]
        Sea::BigDecimal(v) => v.map_or(Value::Null, |v| Value::Decimal(v.to_plain_string())),
        #[cfg(feature = "with-time")]
        Sea::TimeDate(v) => text(v, with_time::date),
        #[cfg(feature = "with-time")]
        Sea::TimeTime(v) => text(v, with_time::time),
        #[cfg(feature = "with-time")]
        Sea::TimeDateTime(v) => text(v, with_time::datetime),
        #[cfg(feature = "with-time")]
        Sea::TimeDateTimeWithTimeZone(v) => text(v, with_time::instant),
        #[cfg(feature = "with-ipnetwork")]
        Sea::IpNetwork(v) => text(v, |v| v.to_string()),
        #[cfg(feature = "with-mac_address")]
        Sea::MacAddress(v) => text(v, |v| v.to_string().to_lowercase()),
        Sea::Array(_, v) => v.map_or(Value::Null, |v| Value::List(v.into_iter().map(value).collect())),
        #[allow(
            unreachable_patterns,
            reason = "which variants exist depends on the features of the whole program"
        )]
        other => other_kinds(&other),
    }
}

/// Kinds of values that exist only if the program switched a feature of SeaORM on that this crate wasn't told of.
fn other_kinds(value: &Sea) -> Value {
    match sea_orm::sea_query::sea_value_to_json_value(value) {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(v) => Value::Bool(v),
        serde_json::Value::String(v) => Value::Text(v),
        document => Value::Json(document),
    }
}

fn text<T>(value: Option<T>, render: impl FnOnce(T) -> String) -> Value {
    value.map_or(Value::Null, |value| Value::Text(render(value)))
}

/// Whether two values of one column are recorded alike.
pub fn same(a: &Sea, b: &Sea) -> bool {
    // Numbers that are equal may be written differently (`1.0` and `1.00`), and NaN is not equal to itself: only the
    // renderings decide.
    value(a.clone()).to_json() == value(b.clone()).to_json()
}

/// Whether equal documents also agree in the signs of their zeros.
pub(crate) fn same_zeros(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            a.as_f64().map(f64::to_bits) == b.as_f64().map(f64::to_bits) || !a.is_f64()
        }
        (Json::Array(a), Json::Array(b)) => a.iter().zip(b).all(|(a, b)| same_zeros(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_zeros(a, b)))
        }
        _ => true,
    }
}

/// `0x` and two lower-case hexadecimal digits a byte.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 + bytes.len() * 2);
    out.push_str("0x");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
    out
}

/// `10:30:00.5`: the fraction without trailing zeros, none if it is zero.
pub(crate) fn time(time: NaiveTime) -> String {
    let mut out = time.format("%H:%M:%S").to_string();
    push_fraction(&mut out, time.nanosecond());
    out
}

/// `2024-01-15T10:30:00.5`.
pub(crate) fn datetime(value: NaiveDateTime) -> String {
    format!("{}T{}", value.date(), time(value.time()))
}

/// `2024-01-15T10:30:00.5Z`; another offset than UTC is kept, as `+02:00`.
pub(crate) fn instant(value: &DateTime<FixedOffset>) -> String {
    let mut out = datetime(value.naive_local());
    if value.offset().local_minus_utc() == 0 {
        out.push('Z');
    } else {
        out.push_str(&value.offset().to_string());
    }
    out
}

fn push_fraction(out: &mut String, nanoseconds: u32) {
    // chrono writes a leap second as second 59 with more than 10^9 nanoseconds.
    let nanoseconds = nanoseconds % 1_000_000_000;
    if nanoseconds > 0 {
        let digits = format!(".{nanoseconds:09}");
        out.push_str(digits.trim_end_matches('0'));
    }
}

#[cfg(feature = "with-time")]
mod with_time {
    use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

    pub(super) fn date(date: Date) -> String {
        let (year, month, day) = date.to_calendar_date();
        if (0..=9999).contains(&year) {
            format!("{year:04}-{:02}-{day:02}", u8::from(month))
        } else {
            format!("{year:+05}-{:02}-{day:02}", u8::from(month))
        }
    }

    pub(super) fn time(time: Time) -> String {
        let mut out = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
        super::push_fraction(&mut out, time.nanosecond());
        out
    }

    pub(super) fn datetime(value: PrimitiveDateTime) -> String {
        format!("{}T{}", date(value.date()), time(value.time()))
    }

    pub(super) fn instant(value: OffsetDateTime) -> String {
        let mut out = format!("{}T{}", date(value.date()), time(value.time()));
        if value.offset() == UtcOffset::UTC {
            out.push('Z');
        } else {
            let (hours, minutes, _) = value.offset().as_hms();
            let sign = if value.offset().is_negative() { '-' } else { '+' };
            out.push_str(&format!("{sign}{:02}:{:02}", hours.unsigned_abs(), minutes.unsigned_abs()));
        }
        out
    }
}
