//! The identity of a recorded thing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::policy::hex;
use crate::{ResourcePolicy, Value};

/// Separates the parts of a composite key in a resource id.
pub const KEY_SEPARATOR: char = '/';

/// Ids longer than this many bytes are recorded as `sha256:` and the digest of their text, so that they fit into
/// every database's index.
pub const MAX_ID_BYTES: usize = 1024;

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// Type, such as `"BankAccount"`.
    pub kind: Cow<'static, str>,
    /// Id as text; composite keys as [`join_key`] makes them.
    pub id: Option<String>,
    /// Name for people.
    pub name: Option<String>,
}

impl Resource {
    /// A resource of this type without an id.
    pub fn new(kind: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: kind.into(), id: None, name: None }
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: impl ToString) -> Self {
        self.id = Some(fit_id(id.to_string()));
        self
    }

    /// Sets the name for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The identity of a row from its [`FieldValues::identity`](crate::FieldValues::identity).
    ///
    /// A key part that must not be recorded is replaced by the first half of its SHA-256, so that the entries of one
    /// row still belong together.
    pub fn of_row(policy: &ResourcePolicy, identity: &[(usize, Value)]) -> Self {
        let mut parts = Vec::with_capacity(1);
        let mut name = None;
        for (index, value) in identity {
            let Some(field) = policy.fields.get(*index) else { continue };
            if field.key {
                let text = value.to_text();
                let secret = matches!(policy.sanitizer.sanitize_text(&text), Cow::Owned(_));
                let hidden = field.masked || field.excluded || secret;
                parts.push(if hidden { hex(&Sha256::digest(text.as_bytes())[..16]) } else { text });
            }
            if policy.name_field == Some(*index) {
                name = Some(policy.guard(field, value.clone()).to_text());
            }
        }
        let id = match parts.as_slice() {
            [] => None,
            [_] => parts.pop(),
            _ => Some(join_key(&parts)),
        };
        Self { kind: Cow::Owned(policy.resource.clone()), id: id.map(fit_id), name }
    }
}

/// The id as it is recorded: with a digest in its place if it is too long, without NUL.
pub(crate) fn fit_id(id: String) -> String {
    if id.len() > MAX_ID_BYTES {
        format!("sha256:{}", hex(&Sha256::digest(id.as_bytes())))
    } else if id.contains('\0') {
        id.replace('\0', "\u{fffd}")
    } else {
        id
    }
}

/// Joins the parts of a composite key by `/`; a `/` or `\` inside a part is preceded by `\`.
///
/// ```
/// use audit_core::{join_key, split_key};
/// let id = join_key(&["a/b", "c\\"]);
/// assert_eq!(id, r"a\/b/c\\");
/// assert_eq!(split_key(&id), ["a/b", "c\\"]);
/// ```
pub fn join_key<S: AsRef<str>>(parts: &[S]) -> String {
    let mut out = String::with_capacity(parts.iter().map(|part| part.as_ref().len() + 1).sum());
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(KEY_SEPARATOR);
        }
        for c in part.as_ref().chars() {
            if matches!(c, KEY_SEPARATOR | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out
}

/// The parts that [`join_key`] joined.
pub fn split_key(id: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = id.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => chars.next().unwrap_or('\\'),
            KEY_SEPARATOR => {
                parts.push(String::new());
                continue;
            }
            other => other,
        };
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn composite_keys_are_unambiguous(parts in prop::collection::vec("[a/\\\\b]{0,6}", 2..5)) {
            prop_assert_eq!(split_key(&join_key(&parts)), parts);
        }
    }

    #[test]
    fn an_overlong_id_becomes_its_digest() {
        let id = Resource::new("t").id("x".repeat(1025)).id.unwrap();
        assert!(id.starts_with("sha256:") && id.len() == 71);
        assert_eq!(Resource::new("t").id("x".repeat(1024)).id.unwrap().len(), 1024);
    }
}
