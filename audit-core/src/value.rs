//! A field's value as it is recorded, and its one rendering.
//!
//! Every way of capturing a change must write the same bytes for the same database value. The rendering is
//! therefore defined here once, as JSON text, and chosen so that a database can produce it as well: floats look
//! as PostgreSQL prints them, timestamps are ISO 8601 with trailing zeros trimmed. `docs/RECORD_FORMAT.md` has
//! the table and the test vectors.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::MASK;
use crate::policy::hex;

/// A field's value in the form in which it is recorded.
///
/// Decimals, timestamps, UUIDs and bytes have already become their text; numbers are kept as numbers, so that no
/// digit is lost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// SQL `NULL`; not the same as an empty text.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer, written with all its digits.
    Int(i64),
    /// An unsigned integer, written with all its digits.
    Uint(u64),
    /// A single-precision float, written with the fewest digits that read back as the same float.
    Float32(f32),
    /// A double-precision float, written with the fewest digits that read back as the same float.
    Float64(f64),
    /// A decimal number, written as a text with all its digits.
    Decimal(String),
    /// Text, and everything that is recorded as text.
    Text(String),
    /// A JSON document, embedded as it is, with the keys of its objects in byte order.
    Json(serde_json::Value),
    /// An array.
    List(Vec<Value>),
    /// A value that must not be recorded; it is written as [`MASK`].
    Masked,
    /// A value over the size cap: its length in bytes and the SHA-256 of its rendering, in hexadecimal.
    Oversized {
        /// Length of the whole rendering, in bytes.
        bytes: usize,
        /// SHA-256 of the whole rendering, 64 hexadecimal digits.
        sha256: String,
    },
}

impl Value {
    /// Appends the JSON rendering to `out`.
    ///
    /// ```
    /// use audit_core::Value;
    /// let mut out = String::new();
    /// Value::List(vec![Value::Int(i64::MAX), Value::Float64(1e20), Value::Text("a\"b".into())]).write_json(&mut out);
    /// assert_eq!(out, r#"[9223372036854775807,1e+20,"a\"b"]"#);
    /// ```
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            // Writing to a String can't fail.
            Self::Int(v) => _ = write!(out, "{v}"),
            Self::Uint(v) => _ = write!(out, "{v}"),
            Self::Float32(v) => write_float(out, *v, f64::from(*v), 6),
            Self::Float64(v) => write_float(out, *v, *v, 15),
            Self::Text(v) | Self::Decimal(v) => write_text(out, v),
            // A document that is null isn't the same as no document.
            Self::Json(serde_json::Value::Null) => out.push_str(r#"{"$json":null}"#),
            Self::Json(v) => write_document(out, v),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Masked => write_text(out, MASK),
            Self::Oversized { bytes, sha256 } => {
                _ = write!(out, r#"{{"$oversized":{{"bytes":{bytes},"sha256":"{sha256}"}}}}"#);
            }
        }
    }

    /// The JSON rendering.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// The value as plain text, for keys and names: text without quotes, everything else as in JSON.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) | Self::Decimal(text) => text.clone(),
            Self::Null => String::new(),
            other => other.to_json(),
        }
    }

    /// What is recorded in place of a value whose rendering is over the size cap.
    pub fn oversized(rendering: &str) -> Self {
        Self::Oversized { bytes: rendering.len(), sha256: hex(&Sha256::digest(rendering.as_bytes())) }
    }

    /// A decimal number with at least so many digits after the point; other values as they are.
    ///
    /// Drivers don't agree on the zeros at the end: SQLite stores `10.00` as the float 10, and PostgreSQL's driver reads
    /// `0.00` as 0. A column that declares its scale is recorded with it, everywhere.
    pub(crate) fn with_scale(self, scale: u32) -> Self {
        let Self::Decimal(mut text) = self else { return self };
        let digits = text.split_once('.').map_or(0, |(_, digits)| digits.len());
        let scale = usize::try_from(scale).unwrap_or(0);
        if digits < scale {
            if digits == 0 {
                text.push('.');
            }
            text.extend(std::iter::repeat_n('0', scale - digits));
        }
        Self::Decimal(text)
    }

    /// Length of the text or document inside, in bytes, as an estimate of what the rendering takes.
    pub(crate) fn size_hint(&self) -> usize {
        match self {
            Self::Text(text) | Self::Decimal(text) => text.len(),
            Self::Json(document) => json_size_hint(document),
            Self::List(items) => items.iter().map(Value::size_hint).sum(),
            _ => 8,
        }
    }
}

fn json_size_hint(document: &serde_json::Value) -> usize {
    match document {
        serde_json::Value::String(text) => text.len(),
        serde_json::Value::Array(items) => items.iter().map(json_size_hint).sum(),
        serde_json::Value::Object(map) => map.iter().map(|(k, v)| k.len() + json_size_hint(v)).sum(),
        _ => 8,
    }
}

macro_rules! from {
    ($($ty:ty => $variant:ident $(as $cast:ty)?),* $(,)?) => {$(
        impl From<$ty> for Value {
            fn from(value: $ty) -> Self { Self::$variant(value $(as $cast)?) }
        }
    )*};
}
from! {
    bool => Bool, i8 => Int as i64, i16 => Int as i64, i32 => Int as i64, i64 => Int,
    u8 => Uint as u64, u16 => Uint as u64, u32 => Uint as u64, u64 => Uint,
    f32 => Float32, f64 => Float64, String => Text, serde_json::Value => Json,
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<char> for Value {
    fn from(value: char) -> Self {
        Self::Text(value.to_string())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0x08 => "\\b",
            0x0c => "\\f",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x00..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[clean_from..at]);
        if escape.is_empty() {
            _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        clean_from = at + 1;
    }
    out.push_str(&text[clean_from..]);
    out.push('"');
}

/// Appends a JSON document with object keys in byte order.
///
/// serde_json keeps keys sorted by itself, unless some crate of the program switched `preserve_order` on: then the
/// same document would look different in different programs. Hence our own writer.
fn write_document(out: &mut String, document: &serde_json::Value) {
    match document {
        serde_json::Value::Null => out.push_str("null"),
        serde_json::Value::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        serde_json::Value::Number(v) => _ = write!(out, "{v}"),
        serde_json::Value::String(v) => write_text(out, v),
        serde_json::Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_document(out, item);
            }
            out.push(']');
        }
        serde_json::Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_unstable_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (i, (key, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(out, key);
                out.push(':');
                write_document(out, value);
            }
            out.push('}');
        }
    }
}

/// Appends a float as PostgreSQL prints it: the digits that Ryu finds, exponent form from `10^fixed_below` upwards and
/// below `10^-4`, two exponent digits at least. What JSON has no number for becomes a text: `"NaN"`, `"Infinity"`,
/// `"-Infinity"`.
///
/// Rust's own formatting is as short, but between two equally short and equally near results it takes the other one.
fn write_float<F: ryu::Float>(out: &mut String, value: F, wide: f64, fixed_below: i32) {
    if wide.is_nan() {
        return out.push_str("\"NaN\"");
    }
    if wide.is_infinite() {
        return out.push_str(if wide > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    }
    let mut buffer = ryu::Buffer::new();
    let printed = buffer.format_finite(value);
    let (sign, printed) = printed.strip_prefix('-').map_or(("", printed), |rest| ("-", rest));
    out.push_str(sign);
    if wide == 0.0 {
        return out.push('0');
    }
    // `123.45`, `0.0012`, `1.5e20`: the digits, and the power of ten of the first of them.
    let (mantissa, power) = printed.split_once('e').unwrap_or((printed, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: String = [whole, fraction].concat();
    let digits = all.trim_start_matches('0');
    let skipped = all.len() - digits.len();
    let digits = digits.trim_end_matches('0');
    let offset = |n: usize| i32::try_from(n).unwrap_or(0);
    let exponent = power + offset(whole.len()) - 1 - offset(skipped);

    if exponent < -4 || exponent >= fixed_below {
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        _ = write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
        return;
    }
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', usize::try_from(-exponent - 1).unwrap_or(0)));
        out.push_str(digits);
        return;
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= whole {
        out.push_str(digits);
        out.extend(std::iter::repeat_n('0', whole - digits.len()));
    } else {
        out.push_str(&digits[..whole]);
        out.push('.');
        out.push_str(&digits[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_look_as_postgres_prints_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-1234.5, "-1234.5"),
            (1e14, "100000000000000"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.5e20, "1.5e+20"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-300, "1e-300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(Value::Float64(value).to_json(), expected);
        }
        assert_eq!(Value::Float32(0.1).to_json(), "0.1");
        assert_eq!(Value::Float32(123_456.0).to_json(), "123456");
        assert_eq!(Value::Float32(1_234_567.0).to_json(), "1.234567e+06");
    }

    #[test]
    fn integers_keep_every_digit() {
        assert_eq!(Value::Int(i64::MIN).to_json(), "-9223372036854775808");
        assert_eq!(Value::Uint(u64::MAX).to_json(), "18446744073709551615");
    }

    #[test]
    fn documents_have_sorted_keys_whatever_serde_json_does() {
        let document = serde_json::json!({"b": [1, {"z": null, "a": "x"}], "a": 1.0});
        assert_eq!(Value::Json(document).to_json(), r#"{"a":1.0,"b":[1,{"a":"x","z":null}]}"#);
    }

    proptest! {
        #[test]
        fn text_reads_back(text in any::<String>()) {
            let json = Value::Text(text.clone()).to_json();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn floats_read_back(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let json = Value::Float64(value).to_json();
            prop_assert_eq!(json.parse::<f64>().unwrap().to_bits(), value.to_bits());
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }

        #[test]
        fn singles_read_back(value in any::<f32>().prop_filter("finite", |v| v.is_finite())) {
            let json = Value::Float32(value).to_json();
            prop_assert_eq!(json.parse::<f32>().unwrap().to_bits(), value.to_bits());
        }
    }
}
