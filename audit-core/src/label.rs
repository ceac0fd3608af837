//! What is said about the label of a reference: the readable name of the row that a field refers to.

use std::fmt;

/// Where the label of a reference comes from, as `#[audit(label = "..")]` says it.
///
/// | text | the label is |
/// |---|---|
/// | `label` alone, or `""` | the field that names the referenced resource (`#[audit(name)]`) |
/// | `"title"` | this column of the referenced table |
/// | `"Relation::Album"` | as `label` alone, of the table that this relation leads to |
/// | `"Relation::Album.title"` | this column of the table that this relation leads to |
///
/// The relation has to be said only where several `belongs_to` begin at the field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSource {
    /// Variant of the entity's `Relation`. `None`: the only one that begins at the field.
    pub relation: Option<String>,
    /// Column of the referenced table. `None`: the one that names the referenced resource.
    pub column: Option<String>,
}

impl LabelSource {
    /// The accepted forms, for messages.
    pub const FORMS: &'static str =
        "`label`, `label = \"column\"`, `label = \"Relation::Name\"` or `label = \"Relation::Name.column\"`";

    /// Reads the text of an attribute or a registration; `None` if it has none of the accepted forms.
    ///
    /// ```
    /// use audit_core::LabelSource;
    /// let source = LabelSource::parse("Relation::Album.title").unwrap();
    /// assert_eq!((source.relation.as_deref(), source.column.as_deref()), (Some("Album"), Some("title")));
    /// assert_eq!(LabelSource::parse("Relation::"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let some = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
        if text.is_empty() {
            return Some(Self::default());
        }
        let Some(rest) = text.strip_prefix("Relation::") else {
            return Some(Self { relation: None, column: Some(some(text)?) });
        };
        let (relation, column) = match rest.split_once('.') {
            Some((relation, column)) => (relation, Some(some(column)?)),
            None => (rest, None),
        };
        let is_name = relation.chars().all(|c| c.is_alphanumeric() || c == '_');
        is_name.then_some(Self { relation: Some(some(relation)?), column })
    }
}

impl fmt::Display for LabelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.relation, &self.column) {
            (None, None) => f.write_str("label"),
            (None, Some(column)) => write!(f, "label = \"{column}\""),
            (Some(relation), None) => write!(f, "label = \"Relation::{relation}\""),
            (Some(relation), Some(column)) => write!(f, "label = \"Relation::{relation}.{column}\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c20_the_forms_of_a_label_are_told_apart() {
        for (text, expected) in [
            ("", Some("label")),
            ("name", Some("label = \"name\"")),
            ("Relation", Some("label = \"Relation\"")),
            ("Relation::Artist", Some("label = \"Relation::Artist\"")),
            ("Relation::Artist.name", Some("label = \"Relation::Artist.name\"")),
            ("Relation::Artist.full name.x", Some("label = \"Relation::Artist.full name.x\"")),
            (" ", None),
            ("Relation::", None),
            ("Relation::.name", None),
            ("Relation::Artist.", None),
            ("Relation::Art ist", None),
            ("Relation::artist::Name", None),
        ] {
            assert_eq!(
                LabelSource::parse(text).map(|source| source.to_string()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
