//! The audited tables, by the names that statements use.

use std::collections::BTreeMap;
use std::sync::Arc;

use sea_orm::DbBackend;

use crate::Registry;
use crate::capture::sql::{TableName, Words};
use crate::registry::Audited;

/// A registered table's name in its parts.
pub(super) fn name_of(table: &str) -> TableName {
    match table.split_once('.') {
        Some((schema, name)) => TableName { schema: Some(schema.to_owned()), name: name.to_owned() },
        None => TableName { schema: None, name: table.to_owned() },
    }
}

/// The audited tables by the names that statements use.
#[derive(Debug)]
pub(super) struct Tables(BTreeMap<String, Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    schema: Option<String>,
    /// The name itself, where its case counts (PostgreSQL).
    exactly: Option<String>,
    audited: Result<Arc<Audited>, String>,
}

impl Tables {
    pub(super) fn new(registry: &Registry, backend: DbBackend) -> Self {
        let mut tables: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (name, audited) in registry.tables() {
            let TableName { schema, name } = name_of(name);
            let schema = schema.map(|schema| schema.to_lowercase());
            let key = name.to_lowercase();
            let exactly = (backend == DbBackend::Postgres).then_some(name);
            tables.entry(key).or_default().push(Entry { schema, exactly, audited: audited.clone() });
        }
        Self(tables)
    }

    /// What the table with this name is audited as. Case is disregarded but on PostgreSQL, and a schema counts only where both sides name
    /// one: which table an unqualified name means is known to the database alone, and rather one too many is captured.
    pub(super) fn get(&self, name: &TableName) -> Option<&Result<Arc<Audited>, String>> {
        let candidates = self.0.get(&name.name.to_lowercase())?;
        let schema = name.schema.as_ref().map(|schema| schema.to_lowercase());
        let mut candidates: Vec<_> = candidates
            .iter()
            .filter(|entry| entry.exactly.as_ref().is_none_or(|exactly| *exactly == name.name))
            .collect();
        // Of its own schema first.
        candidates.sort_by_key(|entry| entry.schema != schema);
        let meant = |entry: &&&Entry| entry.schema == schema || entry.schema.is_none() || schema.is_none();
        let entry = candidates.iter().find(meant)?;
        Some(&entry.audited)
    }

    /// Whether labels come from the table with this name.
    pub(super) fn gives_labels(&self, name: &TableName) -> bool {
        let mut tables = self.all().flat_map(|audited| &audited.references).map(|reference| &reference.table);
        tables
            .any(|table| table.rsplit('.').next().is_some_and(|table| table.eq_ignore_ascii_case(&name.name)))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Audited>> {
        self.0.values().flatten().filter_map(|entry| entry.audited.as_ref().ok())
    }

    /// The tables' names, in lower case, without schemas.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Whether a table of this name is audited, in whichever schema.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(&name.to_lowercase())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The audited tables whose names are in a text.
    pub(super) fn in_words(&self, words: &Words) -> impl Iterator<Item = &Arc<Audited>> {
        let found = self.0.iter().filter(|(name, _)| words.has(name)).flat_map(|(_, found)| found);
        found.filter_map(|entry| entry.audited.as_ref().ok())
    }
}
