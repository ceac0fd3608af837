//! How the code that `#[derive(Auditable)]` writes compares and renders a field of any type.
//!
//! A field's type only has to be what SeaORM asks of it: `Clone + Into<sea_orm::Value>`. Types that are known here
//! are compared and rendered in place, without an allocation; database enums are compared by variant; all others go
//! through their SeaORM value. Which of these applies is decided at compile time by method resolution: the traits
//! below are implemented for more and more references, and the derive calls through the most.

use audit_core::Value;
use sea_orm::ActiveEnum;

use crate::capture::render;

/// A type whose comparison and rendering are known without a detour over a SeaORM value.
///
/// Contract: `same` is true exactly if the renderings are equal, and `render` equals the rendering of the type's
/// SeaORM value. A test holds both together.
pub trait Field {
    /// Whether both are recorded alike.
    fn same(&self, other: &Self) -> bool;
    /// The value as it is recorded.
    fn render(&self) -> Value;
}

macro_rules! by_equality {
    ($($ty:ty => |$value:ident| $render:expr),* $(,)?) => {$(
        impl Field for $ty {
            #[inline]
            fn same(&self, other: &Self) -> bool { self == other }
            #[inline]
            fn render(&self) -> Value { let $value = self; $render }
        }
    )*};
}

by_equality! {
    bool => |v| Value::Bool(*v),
    i8 => |v| Value::Int(i64::from(*v)),
    i16 => |v| Value::Int(i64::from(*v)),
    i32 => |v| Value::Int(i64::from(*v)),
    i64 => |v| Value::Int(*v),
    u8 => |v| Value::Uint(u64::from(*v)),
    u16 => |v| Value::Uint(u64::from(*v)),
    u32 => |v| Value::Uint(u64::from(*v)),
    u64 => |v| Value::Uint(*v),
    char => |v| Value::Text(v.to_string()),
    String => |v| Value::Text(v.clone()),
    uuid::Uuid => |v| Value::Text(v.to_string()),
    chrono::NaiveDate => |v| Value::Text(v.to_string()),
    chrono::NaiveTime => |v| Value::Text(render::time(*v)),
    chrono::NaiveDateTime => |v| Value::Text(render::datetime(*v)),
    chrono::DateTime<chrono::Utc> => |v| Value::Text(render::instant(&v.fixed_offset())),
    Vec<u8> => |v| Value::Text(render::bytes(v)),
}

/// Two instants with different offsets are equal to chrono, but not in the record.
impl Field for chrono::DateTime<chrono::FixedOffset> {
    fn same(&self, other: &Self) -> bool {
        self == other && self.offset() == other.offset()
    }
    fn render(&self) -> Value {
        Value::Text(render::instant(self))
    }
}

/// `1.0` and `1.00` are equal numbers, but not the same content of a column.
impl Field for rust_decimal::Decimal {
    fn same(&self, other: &Self) -> bool {
        self.scale() == other.scale() && self == other
    }
    fn render(&self) -> Value {
        Value::Decimal(self.to_string())
    }
}

/// A float is the same if it has the same bits, or if both are no number at all.
impl Field for f64 {
    fn same(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }
    fn render(&self) -> Value {
        Value::Float64(*self)
    }
}

/// See `f64`.
impl Field for f32 {
    fn same(&self, other: &Self) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }
    fn render(&self) -> Value {
        Value::Float32(*self)
    }
}

impl Field for serde_json::Value {
    fn same(&self, other: &Self) -> bool {
        // `0.0 == -0.0` inside a document: equal to serde_json, but written differently.
        self == other && render::same_zeros(self, other)
    }
    fn render(&self) -> Value {
        Value::Json(self.clone())
    }
}

impl<T: Field> Field for Option<T> {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (None, None) => true,
            (Some(a), Some(b)) => a.same(b),
            _ => false,
        }
    }
    fn render(&self) -> Value {
        self.as_ref().map_or(Value::Null, Field::render)
    }
}

/// Two values of a field.
#[derive(Debug)]
pub struct Pair<'a, T>(pub &'a T, pub &'a T);

/// One value of a field.
#[derive(Debug)]
pub struct One<'a, T>(pub &'a T);

/// Comparison of known types; first choice.
pub trait SameField {
    /// Whether both values are recorded alike.
    fn same(&self) -> bool;
}

impl<T: Field> SameField for &&Pair<'_, T> {
    #[inline]
    fn same(&self) -> bool {
        self.0.same(self.1)
    }
}

/// Comparison of database enums by their variant; second choice.
pub trait SameVariant {
    /// Whether both values are recorded alike.
    fn same(&self) -> bool;
}

impl<T: ActiveEnum> SameVariant for &Pair<'_, T> {
    #[inline]
    fn same(&self) -> bool {
        std::mem::discriminant(self.0) == std::mem::discriminant(self.1)
    }
}

/// Comparison over SeaORM's value; for everything else.
pub trait SameValue {
    /// Whether both values are recorded alike.
    fn same(&self) -> bool;
}

impl<T: Clone + Into<sea_orm::Value>> SameValue for Pair<'_, T> {
    fn same(&self) -> bool {
        render::same(&self.0.clone().into(), &self.1.clone().into())
    }
}

/// Rendering of known types; first choice.
pub trait RenderField {
    /// The value as it is recorded.
    fn render(&self) -> Value;
}

impl<T: Field> RenderField for &One<'_, T> {
    #[inline]
    fn render(&self) -> Value {
        self.0.render()
    }
}

/// Rendering over SeaORM's value; for everything else.
pub trait RenderValue {
    /// The value as it is recorded.
    fn render(&self) -> Value;
}

impl<T: Clone + Into<sea_orm::Value>> RenderValue for One<'_, T> {
    fn render(&self) -> Value {
        render::value(self.0.clone().into())
    }
}
