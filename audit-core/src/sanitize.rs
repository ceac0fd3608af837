//! Takes secrets out of what is recorded: by the name of a field, and by the look of a value.

mod names;
mod patterns;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::words;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// A longer name, in bytes, counts as sensitive.
const MAX_NAME: usize = 256;

/// Containers of a JSON document nested deeper than this are replaced by [`MASK`] instead of being searched.
const MAX_DEPTH: usize = 128;

static DEFAULT_NAMES: LazyLock<Arc<[Box<str>]>> =
    LazyLock::new(|| sorted(names::DEFAULT.iter().map(|name| words::join(name).into_boxed_str()).collect()));

/// Replaces secrets by [`MASK`].
///
/// A secret is known by the **name** of its field (`password`, `apiKey`, `credit_card_number`; see
/// [`is_sensitive_name`](Self::is_sensitive_name)) or by the look of its **value** (a payment card, a JWT, a private
/// key, ...; see [`sanitize_text`](Self::sanitize_text)). Cloning is cheap.
///
/// It is a net below the attributes `#[audit(exclude)]` and `#[audit(mask)]`, not a replacement: a password in a
/// field called `remark` looks like any other word.
///
/// ```
/// use audit_core::Sanitizer;
/// use serde_json::json;
///
/// let sanitizer = Sanitizer::default().with_names(["employee_badge"]).without_names(["salt"]);
/// assert_eq!(
///     sanitizer.sanitize_json(json!({
///         "user": {"name": "Ann", "passwordHash": "8f3a", "employeeBadge": 77},
///         "url": "postgres://ann:hunter2@db/app",
///         "salt": "a pinch",
///     })),
///     json!({
///         "user": {"name": "Ann", "passwordHash": "***", "employeeBadge": "***"},
///         "url": "postgres://ann:***@db/app",
///         "salt": "a pinch",
///     }),
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Sanitizer {
    /// Joined lower-case names, sorted, none empty.
    names: Arc<[Box<str>]>,
    value_patterns: bool,
}

impl Default for Sanitizer {
    /// The default list of names, value patterns on.
    fn default() -> Self {
        Self { names: Arc::clone(&DEFAULT_NAMES), value_patterns: true }
    }
}

impl Sanitizer {
    /// Adds sensitive names. Case and separators don't matter: `apiKey`, `API_KEY` and `api key` are one name.
    /// A name without any letter or digit is ignored.
    #[must_use]
    pub fn with_names<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let added = names.into_iter().map(|name| words::join(name.as_ref()).into_boxed_str());
        self.names = sorted(self.names.iter().cloned().chain(added).collect());
        self
    }

    /// Removes sensitive names.
    ///
    /// Only the names given go: without `token`, a field `access_token` stays sensitive, because the default list
    /// names it too; without `password_hash` it stays so because of `password`.
    #[must_use]
    pub fn without_names<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let removed: Vec<String> = names.into_iter().map(|name| words::join(name.as_ref())).collect();
        let kept = |name: &str| !removed.iter().any(|removed| removed == name);
        self.names = self.names.iter().filter(|name| kept(name)).cloned().collect();
        self
    }

    /// Whether [`sanitize_text`](Self::sanitize_text) looks for secrets at all. On by default.
    #[must_use]
    pub fn value_patterns(mut self, on: bool) -> Self {
        self.value_patterns = on;
        self
    }

    /// Whether a field of this name holds a secret.
    ///
    /// The name is split into words at capitals, digits and everything that is neither letter nor digit; it is
    /// sensitive if some of its words in a row, joined, are a sensitive name (or its plural). So `user_password`,
    /// `passwordHash` and `X-API-Key` are, `secretary` and `tokenizer` are not.
    ///
    /// Names that only say something *about* a secret are not sensitive: they begin with a word like `is`, `has`,
    /// `must` (`has_password`) or end with one like `at`, `by`, `count`, `enabled`, `expires`, `length`, `name`,
    /// `status`, `type` (`password_changed_at`, `token_type`); nor are references to a record (`bank_account_id`,
    /// `credit_card_id`) and numbers of language-model tokens (`max_tokens`). Add such a name by
    /// [`with_names`](Self::with_names) if it is secret after all.
    ///
    /// ```
    /// # use audit_core::Sanitizer;
    /// let sanitizer = Sanitizer::default();
    /// assert!(sanitizer.is_sensitive_name("userAPIKey"));
    /// assert!(!sanitizer.is_sensitive_name("author"));
    /// ```
    pub fn is_sensitive_name(&self, name: &str) -> bool {
        // No field is called that; looking closer would take time that grows with its square.
        if name.len() > MAX_NAME {
            return true;
        }
        let words = words::split(name);
        words::starts(&words).any(|start| {
            let first = words.as_bytes().get(start).copied().unwrap_or_default();
            self.names_from(first).any(|name| {
                words::run_end(&words, start, name)
                    .is_some_and(|end| !names::is_about(&words, start, end, name))
            })
        })
    }

    /// The names that begin with this byte.
    fn names_from(&self, first: u8) -> impl Iterator<Item = &str> {
        let begin = |name: &str| name.bytes().next().unwrap_or_default();
        let from = self.names.partition_point(|name| begin(name) < first);
        self.names.iter().skip(from).map(|name| &**name).take_while(move |name| begin(name) == first)
    }

    /// Replaces the secrets in a text by [`MASK`] and leaves the rest as it is:
    ///
    /// - payment-card numbers: 13 to 19 digits of a known issuer with a valid check digit, plain or in groups with
    ///   single spaces or dashes; not part of a longer number, a fraction, a phone number (`+`), a UUID or a digest
    /// - JSON web tokens
    /// - PEM blocks of private keys, from `-----BEGIN` to `-----END`, or to the end of the text if that is missing
    /// - the token after `Bearer` and `Basic`, if it looks like one (`Basic training` does not)
    /// - the password in a URL, `scheme://user:password@host`
    /// - the value of `name=value` with a sensitive name, as in URL queries, forms and connection strings
    ///
    /// Without a secret nothing is allocated and the text is read once. The time is proportional to the length,
    /// whatever the text. Sanitising twice gives the same as once; a text made so that every pass uncovers something
    /// new is replaced as a whole.
    ///
    /// ```
    /// # use audit_core::Sanitizer;
    /// let sanitizer = Sanitizer::default();
    /// assert_eq!(sanitizer.sanitize_text("paid with 4111 1111 1111 1111"), "paid with ***");
    /// assert_eq!(sanitizer.sanitize_text("GET /reset?token=8f3a&lang=en"), "GET /reset?token=***&lang=en");
    /// assert!(matches!(sanitizer.sanitize_text("order 4000123"), std::borrow::Cow::Borrowed(_)));
    /// ```
    pub fn sanitize_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.value_patterns {
            patterns::mask(text, &|name| self.is_sensitive_name(name))
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Sanitises a JSON document: the value of a sensitive key becomes [`MASK`] whatever its type (`null` stays
    /// `null`), every other string and key goes through [`sanitize_text`](Self::sanitize_text). Numbers and booleans
    /// under other keys stay as they are.
    ///
    /// Objects and arrays nested more than 128 levels deep are replaced by [`MASK`] unseen, so that no document can
    /// exhaust the stack. If two keys become the same by being masked, the later one gets further `*`.
    pub fn sanitize_json(&self, mut document: Value) -> Value {
        self.scrub(&mut document, 1);
        document
    }

    fn scrub(&self, value: &mut Value, depth: usize) {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
            Value::String(text) => {
                if let Cow::Owned(clean) = self.sanitize_text(text) {
                    *text = clean;
                }
            }
            Value::Array(_) | Value::Object(_) if depth > MAX_DEPTH => mask(value),
            Value::Array(items) => items.iter_mut().for_each(|item| self.scrub(item, depth + 1)),
            Value::Object(fields) => {
                let mut renamed = Vec::new();
                for (key, value) in fields.iter_mut() {
                    if self.is_sensitive_name(key) {
                        mask(value);
                    } else {
                        self.scrub(value, depth + 1);
                    }
                    if let Cow::Owned(clean) = self.sanitize_text(key) {
                        renamed.push((key.clone(), clean));
                    }
                }
                for (key, mut clean) in renamed {
                    let value = fields.remove(&key).unwrap_or_default();
                    while fields.contains_key(&clean) {
                        clean.push('*');
                    }
                    fields.insert(clean, value);
                }
            }
        }
    }
}

/// Replaces a value other than null by [`MASK`].
fn mask(value: &mut Value) {
    if !value.is_null() {
        // Dropping a `Value` recurses; a deep one has to be taken apart level by level.
        let mut rest = vec![std::mem::replace(value, Value::from(MASK))];
        while let Some(value) = rest.pop() {
            match value {
                Value::Array(items) => rest.extend(items),
                Value::Object(fields) => rest.extend(fields.into_iter().map(|(_, value)| value)),
                _ => {}
            }
        }
    }
}

fn sorted(mut names: Vec<Box<str>>) -> Arc<[Box<str>]> {
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// Sanitises a JSON document with the default list of sensitive names, plus the names given.
///
/// See [`Sanitizer::sanitize_json`]. To sanitise many documents with names of your own, keep a [`Sanitizer`].
///
/// ```
/// use audit_core::sanitize_data;
/// use serde_json::json;
///
/// let data = json!({"name": "Ann", "password": "hunter2", "salary": 5200});
/// assert_eq!(
///     sanitize_data(data, Some(&["salary"])),
///     json!({"name": "Ann", "password": "***", "salary": "***"}),
/// );
/// ```
pub fn sanitize_data(data: Value, sensitive_fields: Option<&[&str]>) -> Value {
    let sanitizer = Sanitizer::default();
    match sensitive_fields {
        Some(fields) if !fields.is_empty() => sanitizer.with_names(fields).sanitize_json(data),
        _ => sanitizer.sanitize_json(data),
    }
}

#[cfg(test)]
mod tests;
