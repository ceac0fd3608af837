//! How the fields of a family are cleared, cut and hashed.

use std::borrow::Cow;

use uuid::Uuid;

use super::{EventKind, LoginStatus, ViolationStatus};
use crate::record::{fit, list_json};
use crate::{Classification, QueryType, Sanitizer, Severity, Status, Value};

/// What of a field is hashed.
pub(crate) trait Field {
    /// Its text, or `None` if it is unknown.
    fn content(&self) -> Option<Cow<'_, str>>;
}

impl Field for String {
    fn content(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self))
    }
}

impl Field for Vec<String> {
    fn content(&self) -> Option<Cow<'_, str>> {
        list_json(self).map(Cow::Owned)
    }
}

impl Field for bool {
    fn content(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(if *self { "true" } else { "false" }))
    }
}

impl Field for f64 {
    fn content(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Owned(Value::Float64(*self).to_json()))
    }
}

impl<T: Field> Field for Option<T> {
    fn content(&self) -> Option<Cow<'_, str>> {
        self.as_ref().and_then(Field::content)
    }
}

macro_rules! displayed {
    ($($type:ty),+) => { $(
        impl Field for $type {
            fn content(&self) -> Option<Cow<'_, str>> {
                Some(Cow::Owned(self.to_string()))
            }
        }
    )+ };
}
displayed!(i32, i64, Uuid);

macro_rules! words {
    ($($type:ty),+) => { $(
        impl Field for $type {
            fn content(&self) -> Option<Cow<'_, str>> {
                Some(Cow::Borrowed(self.as_str()))
            }
        }
    )+ };
}
words!(Classification, EventKind, LoginStatus, QueryType, Severity, Status, ViolationStatus);

/// A field with texts.
pub(crate) trait Text {
    /// Calls `with` with each text.
    fn each(&mut self, with: impl FnMut(&mut String));

    /// Replaces secrets.
    fn sanitise(&mut self, sanitizer: &Sanitizer) {
        self.each(|text| {
            if let Cow::Owned(clean) = sanitizer.sanitize_text(text) {
                *text = clean;
            }
        });
    }

    /// Cuts to so many characters, and replaces NUL, which PostgreSQL has no text for.
    fn cut(&mut self, limit: usize) {
        self.each(|text| fit(text, limit));
    }
}

impl Text for String {
    fn each(&mut self, mut with: impl FnMut(&mut String)) {
        with(self);
    }
}

impl Text for Option<String> {
    fn each(&mut self, with: impl FnMut(&mut String)) {
        self.as_mut().map(with);
    }
}

impl Text for Vec<String> {
    fn each(&mut self, with: impl FnMut(&mut String)) {
        self.iter_mut().for_each(with);
    }
}

/// Replaces secrets in JSON by the names of its members. A text that is no JSON is cleared as a text, and becomes a JSON string.
pub(crate) fn sanitise_json(text: &mut Option<String>, sanitizer: &Sanitizer) {
    if let Some(text) = text {
        let json =
            serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(std::mem::take(text)));
        *text = Value::Json(sanitizer.sanitize_json(json)).to_json();
    }
}

/// Replaces a name that tells records apart by its digest, if a secret seems to be in it: cleared, others would be the same.
pub(crate) fn sanitise_key(key: &mut Option<String>, sanitizer: &Sanitizer) {
    if let Some(key) = key
        && matches!(sanitizer.sanitize_text(key), Cow::Owned(clean) if clean != *key)
    {
        *key = digest(key);
    }
}

/// Replaces a name that tells records apart by its digest, if it has more characters: cut, others would be the same.
pub(crate) fn fit_key(key: &mut Option<String>, limit: usize) {
    if let Some(key) = key {
        if key.chars().nth(limit).is_some() {
            *key = digest(key);
        }
        fit(key, limit);
    }
}

fn digest(key: &str) -> String {
    let digest = <sha2::Sha256 as sha2::Digest>::digest(key);
    format!("sha256:{}", crate::policy::hex(&digest))
}
