//! Other names under which the rows of a table are written: those of its views, of its partitions, and of tables that inherit from
//! it or it from them.

use std::collections::BTreeMap;

use super::TableId;
use crate::capture::sql::{TableName, Words};

/// Another name for a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::capture) struct OtherName {
    /// The schema that it is in, in lower case.
    pub(super) schema: String,
    /// The name itself, where its case counts (PostgreSQL).
    pub(super) exactly: Option<String>,
    /// The table whose rows they are.
    pub(in crate::capture) table: String,
    /// Whether that table is audited; else audited rows follow it by foreign keys.
    pub(in crate::capture) audited: bool,
    /// Whether the name is that of a table, which holds rows by itself, and not of a view.
    pub(in crate::capture) holds_rows: bool,
    /// Whether it has rules (PostgreSQL): what is written to it may do anything.
    pub(in crate::capture) ruled: bool,
    /// Whether something else is meant by the name where no schema is said.
    pub(super) hidden: bool,
}

/// The other names, in lower case.
#[derive(Debug, Default)]
pub(super) struct OtherNames(BTreeMap<String, Vec<OtherName>>);

impl OtherNames {
    /// Adds one. What is written under it may be rows of several tables: an audited one comes first.
    pub(super) fn add(&mut self, name: &str, other: OtherName) {
        let others = self.0.entry(name.to_lowercase()).or_default();
        if !others.contains(&other) {
            let at =
                if other.audited { others.iter().take_while(|o| o.audited).count() } else { others.len() };
            others.insert(at, other);
        }
    }

    /// What is written under a name in a statement.
    pub(super) fn get(&self, name: &TableName) -> Option<&OtherName> {
        let meant = |other: &&OtherName| {
            let named = other.exactly.as_ref().is_none_or(|exactly| *exactly == name.name);
            named
                && match name.schema.as_ref().map(|schema| schema.to_lowercase()) {
                    // Of whichever session it is.
                    Some(schema) if schema == "pg_temp" => other.schema.starts_with("pg_temp_"),
                    Some(schema) => other.schema == schema,
                    None => !other.hidden,
                }
        };
        self.0.get(&name.name.to_lowercase())?.iter().find(meant)
    }

    /// What the rows of this table or view are.
    pub(super) fn of(&self, (schema, name): &TableId) -> Option<&OtherName> {
        let schema = schema.to_lowercase();
        let is = |other: &&OtherName| {
            other.schema == schema && other.exactly.as_ref().is_none_or(|exactly| exactly == name)
        };
        self.0.get(&name.to_lowercase())?.iter().find(is)
    }

    /// One of the names in a text, whichever schema is meant.
    pub(super) fn find_in(&self, words: &Words) -> Option<(&str, &OtherName)> {
        let (name, others) = self.0.iter().find(|(name, _)| words.has(name))?;
        Some((name, others.first()?))
    }
}

#[cfg(test)]
mod tests {
    use super::{OtherName, OtherNames};
    use crate::capture::sql::{TableName, Words};

    #[test]
    fn c17_a_name_means_what_it_means_in_its_schema() {
        let other = |schema: &str, table: &str, audited: bool, hidden: bool| OtherName {
            schema: schema.into(),
            exactly: None,
            table: table.into(),
            audited,
            holds_rows: false,
            ruled: false,
            hidden,
        };
        let mut names = OtherNames::default();
        names.add("Recent", other("archive", "house", true, true));
        names.add("recent", other("public", "street", false, false));
        names.add("recent", other("public", "city", true, false));
        names.add(
            "Mine",
            OtherName { exactly: Some("Mine".into()), ..other("pg_temp_3", "house", true, false) },
        );
        let get = |schema: Option<&str>, name: &str| {
            let name = TableName { schema: schema.map(str::to_owned), name: name.to_owned() };
            names.get(&name).map(|other| other.table.as_str())
        };
        assert_eq!(get(None, "RECENT"), Some("city"));
        assert_eq!(get(Some("Archive"), "recent"), Some("house"));
        assert_eq!(get(Some("other"), "recent"), None);
        assert_eq!(get(None, "house"), None);
        assert_eq!(get(Some("pg_temp"), "Mine"), Some("house"));
        assert_eq!((get(None, "Mine"), get(None, "mine")), (Some("house"), None));
        let of = |schema: &str| names.of(&(schema.into(), "recent".into())).map(|other| other.table.as_str());
        assert_eq!((of("archive"), of("public"), of("main")), (Some("house"), Some("city"), None));
        assert!(names.find_in(&Words::of("CALL p('recent')")).is_some());
        assert!(names.find_in(&Words::of("CALL p('old')")).is_none());
    }
}
