//! What the records of every family share: words, ids, fitting into columns, the input of their digests.

use std::borrow::Cow;
use std::sync::{LazyLock, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::{ContextV7, NoContext, Timestamp, Uuid};

use crate::family::{Export, Family, LoginAttempt, Query, Recorded, SystemEvent, Transition, Violation};
use crate::value::write_text;
use crate::{Entry, Sanitizer};

macro_rules! records {
    ($($(#[$doc:meta])* $variant:ident($family:ty), $is:ident),+ $(,)?) => {
        /// A record of any family, on its way to its table.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Record {
            /// For `audit_log`.
            Entry(Box<Entry>),
            $($(#[$doc])* $variant(Box<Recorded<$family>>)),+
        }

        impl Record {
            /// Its id; no two records have the same.
            pub fn id(&self) -> Uuid {
                match self {
                    Self::Entry(entry) => entry.id,
                    $(Self::$variant(record) => record.id),+
                }
            }

            /// The entry, if it is one.
            pub fn as_entry(&self) -> Option<&Entry> {
                if let Self::Entry(entry) = self { Some(entry) } else { None }
            }

            $(
                /// The record, if it is one of this family.
                pub fn $is(&self) -> Option<&Recorded<$family>> {
                    if let Self::$variant(record) = self { Some(record) } else { None }
                }
            )+

            /// When it was made.
            pub fn timestamp(&self) -> DateTime<Utc> {
                match self {
                    Self::Entry(entry) => entry.timestamp,
                    $(Self::$variant(record) => record.timestamp),+
                }
            }

            /// The table that it is for.
            pub fn table(&self) -> &'static str {
                match self {
                    Self::Entry(_) => "audit_log",
                    $(Self::$variant(_) => <$family as Family>::TABLE),+
                }
            }
        }

        impl From<Entry> for Record {
            fn from(entry: Entry) -> Self {
                Self::Entry(Box::new(entry))
            }
        }

        $(
            impl From<Recorded<$family>> for Record {
                fn from(record: Recorded<$family>) -> Self {
                    Self::$variant(Box::new(record))
                }
            }
        )+
    };
}

records! {
    /// For `audit_query`.
    Query(Query), as_query,
    /// For `audit_export`.
    Export(Export), as_export,
    /// For `audit_violation`.
    Violation(Violation), as_violation,
    /// For `audit_login_attempt`.
    Login(LoginAttempt), as_login,
    /// For `audit_system_event`.
    Event(SystemEvent), as_event,
    /// For `audit_transition`.
    Transition(Transition), as_transition,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the database, in JSON and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::Error;

            fn from_str(text: &str) -> Result<Self, $crate::Error> {
                $(if text.eq_ignore_ascii_case($word) { return Ok(Self::$variant); })+
                Err($crate::Error::Format(format!(concat!("unknown ", $what, "; known are {}"), [$($word),+].join(", "))))
            }
        }
    };
}

pub(crate) use words;

words! {
    /// How an operation ended.
    Status, "status" {
        /// It was done.
        Success = "success",
        /// It was not done.
        Failed = "failed",
        /// It was done, with something to look at.
        Warning = "warning",
        /// Nothing was to be done; for information.
        Info = "info",
    }
}

words! {
    /// How much an entry matters.
    Severity, "severity" {
        /// Routine.
        Low = "low",
        /// Worth knowing.
        Medium = "medium",
        /// Critical operations.
        High = "high",
        /// Security is at stake.
        Critical = "critical",
    }
}

words! {
    /// What a read asked for.
    QueryType, "query type" {
        /// Rows.
        Select = "select",
        /// How many rows there are.
        Count = "count",
        /// Sums, averages and the like, or groups.
        Aggregate = "aggregate",
        /// Whether there is a row.
        Exists = "exists",
    }
}

/// A field as [`Entry::digest`] hashes it.
pub fn digest_field(name: &str, content: &str) -> String {
    let mut field = String::with_capacity(name.len() + content.len() + 8);
    push_digest_field(&mut field, name, content);
    field
}

/// Appends it. Every audited write does this for some twenty fields, so nothing is allocated or formatted for one.
pub(crate) fn push_digest_field(input: &mut String, name: &str, content: &str) {
    input.push_str(name);
    input.push('=');
    input.push_str(itoa::Buffer::new().format(content.len()));
    input.push(':');
    input.push_str(content);
    input.push('\n');
}

/// Usual size of what is hashed of a record.
pub(crate) const DIGESTED: usize = 768;

/// Hashes fields as they come, put together before: a hash is quicker with few long pieces than with many short ones.
pub(crate) struct Digester {
    hash: Sha256,
    pending: String,
}

impl Digester {
    pub(crate) fn new() -> Self {
        Self { hash: Sha256::new(), pending: String::with_capacity(DIGESTED) }
    }

    /// Adds a field; one that is unknown is left out.
    pub(crate) fn field(&mut self, name: &str, content: Option<&str>) {
        let Some(content) = content else { return };
        if self.pending.len() + content.len() > DIGESTED {
            self.hash.update(&self.pending);
            self.pending.clear();
        }
        push_digest_field(&mut self.pending, name, content);
    }

    pub(crate) fn finish(mut self) -> [u8; 32] {
        self.hash.update(&self.pending);
        self.hash.finalize().into()
    }
}

/// Limit of free texts, in characters.
pub(crate) const MAX_TEXT: usize = 16_384;

/// Cuts `text` to `limit` characters, the last of which then is an ellipsis, and replaces NUL.
pub(crate) fn fit(text: &mut String, limit: usize) {
    if text.len() > limit
        && let Some((end, _)) = text.char_indices().nth(limit)
    {
        let keep = text[..end].char_indices().next_back().map_or(0, |(at, _)| at);
        text.truncate(keep);
        text.push('\u{2026}');
    }
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

pub(crate) fn fit_cow(text: &mut Cow<'static, str>, limit: usize) {
    if text.len() > limit || text.contains('\0') {
        fit(text.to_mut(), limit);
    }
}

pub(crate) fn clean(sanitizer: &Sanitizer, text: &str) -> String {
    sanitizer.sanitize_text(text).into_owned()
}

/// A list of names as JSON, or `None` if it is empty: how lists are stored.
pub fn list_json(names: &[String]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let mut json = String::with_capacity(names.iter().map(|name| name.len() + 3).sum::<usize>() + 1);
    for name in names {
        json.push(if json.is_empty() { '[' } else { ',' });
        write_text(&mut json, name);
    }
    json.push(']');
    Some(json)
}

/// A UUID v7 of this millisecond, greater than every other that this process made for it before, as long as time goes on.
///
/// What is made for an earlier time, as after a clock was set back, isn't ordered among its like: `ContextV7` would give it
/// the newest time that it has seen. But questions about periods rest on ids beginning with their entry's time.
pub(crate) fn new_id(timestamp: DateTime<Utc>) -> Uuid {
    static CONTEXT: LazyLock<Mutex<(ContextV7, i64)>> =
        LazyLock::new(|| Mutex::new((ContextV7::new().with_additional_precision(), 0)));
    // A panic elsewhere can't have left the counter in a bad state: at worst it skipped a value.
    let mut context = CONTEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = u64::try_from(timestamp.timestamp()).unwrap_or(0);
    let (milliseconds, nanos) = (timestamp.timestamp_millis(), timestamp.timestamp_subsec_nanos());
    if milliseconds < context.1 {
        return Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos));
    }
    context.1 = milliseconds;
    Uuid::new_v7(Timestamp::from_unix(&context.0, seconds, nanos))
}

/// A digest as hexadecimal text, for serde.
pub(crate) mod hex_digest {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[allow(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        digest: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        digest.map(|digest| crate::policy::hex(&digest)).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        let Some(text) = <Option<String>>::deserialize(deserializer)? else { return Ok(None) };
        let mut digest = [0; 32];
        let digits = text.as_bytes().as_chunks::<2>();
        if digits.0.len() != digest.len() || !digits.1.is_empty() {
            return Err(D::Error::custom("a digest has 64 hexadecimal digits"));
        }
        for (byte, digits) in digest.iter_mut().zip(digits.0) {
            let parsed = std::str::from_utf8(digits).ok().and_then(|two| u8::from_str_radix(two, 16).ok());
            *byte = parsed.ok_or_else(|| D::Error::custom("a digest has 64 hexadecimal digits"))?;
        }
        Ok(Some(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::list_json;

    #[test]
    fn lists_are_as_serde_json_writes_them() {
        for c in (0..0x11_0000_u32).filter_map(char::from_u32) {
            let names = vec![c.to_string(), format!("a{c}b{c}"), String::new()];
            assert_eq!(list_json(&names), serde_json::to_string(&names).ok(), "{c:?}");
        }
        assert_eq!(list_json(&[]), None);
    }
}
