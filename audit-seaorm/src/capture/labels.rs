//! What the rows are called that changed rows refer to: `#[audit(label = "..")]`.
//!
//! Labels are read over the connection of the write, within its transaction: one statement for each reference and all its
//! rows, none if no reference changed. What is gone by then was read before, or is among the changed rows itself. On
//! SQLite the triggers read them; only what a table says of its own rows is asked for here.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use audit_core::{Changes, ResourcePolicy, Value as Rendered};
use sea_orm::sea_query::{Expr, MysqlQueryBuilder, SelectStatement, UnionType};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};

use super::images::Image;
use super::render;
use crate::registry::{Audited, Reference, Row};
use crate::store::batches;

/// Most keys in one statement: SQLite takes no more than 500 parts.
const BATCH: usize = 256;

/// The labels of a row's references before and after, as far as they are known: each with its field. `None`: there is
/// none.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) old: Vec<(usize, Option<String>)>,
    pub(super) new: Vec<(usize, Option<String>)>,
}

/// A row with what its references are called.
pub(super) type Labelled = (Row, Labels);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

impl Labels {
    /// Adds the labels to the changes that they belong to.
    pub(super) fn put(&self, policy: &ResourcePolicy, changes: &mut Changes) {
        let label = |side: &[(usize, Option<String>)], field: usize| {
            side.iter().find(|(at, _)| *at == field).and_then(|(_, label)| label.clone())
        };
        for field in self.old.iter().chain(&self.new).map(|(field, _)| *field) {
            changes.label(policy, field, label(&self.old, field), label(&self.new, field));
        }
    }

    /// Takes over the labels of a later change of the same row.
    pub(super) fn follow(&mut self, later: Self) {
        self.new.retain(|(field, _)| !later.new.iter().any(|(at, _)| at == field));
        self.new.extend(later.new);
    }

    fn side(&mut self, side: Side) -> &mut Vec<(usize, Option<String>)> {
        match side {
            Side::Old => &mut self.old,
            Side::New => &mut self.new,
        }
    }

    fn knows(&self, side: Side, field: usize) -> bool {
        let known = if side == Side::Old { &self.old } else { &self.new };
        known.iter().any(|(at, _)| *at == field)
    }
}

/// Reads the labels that the images lack; `locked` as for [`Asked::answer`].
pub(super) async fn complete<C: ConnectionTrait>(
    db: &C,
    locked: bool,
    images: &mut [Image],
) -> Result<(), DbErr> {
    if images.iter().all(|image| image.audited.references.is_empty()) {
        return Ok(());
    }
    let mut asked = Asked::default();
    let referred = Referred::among(images);
    for (at, image) in images.iter_mut().enumerate() {
        let (old, new) = (any(image.old.as_ref()), any(image.new.as_ref()));
        asked.add(at, &image.audited, old, new, &mut image.labels, &referred);
    }
    for (at, side, field, label) in asked.answer(db, locked).await? {
        if let Some(image) = images.get_mut(at) {
            image.labels.side(side).push((field, label));
        }
    }
    Ok(())
}

/// Reads what the references of these rows are called, before something happens to them.
pub(super) async fn before<C: ConnectionTrait>(
    db: &C,
    audited: &Arc<Audited>,
    rows: Vec<Row>,
) -> Result<Vec<Labelled>, DbErr> {
    let mut rows: Vec<Labelled> = rows.into_iter().map(|row| (row, Labels::default())).collect();
    let mut asked = Asked::default();
    let referred = Referred::default();
    for (at, (row, labels)) in rows.iter_mut().enumerate() {
        asked.add(at, audited, Some(&**row), None, labels, &referred);
    }
    for (at, side, field, label) in asked.answer(db, true).await? {
        if let Some((_, labels)) = rows.get_mut(at) {
            labels.side(side).push((field, label));
        }
    }
    Ok(rows)
}

/// What has to be asked for one row that was changed through the hooks.
pub(super) fn of_row(audited: &Arc<Audited>, old: Option<&dyn Any>, new: Option<&dyn Any>) -> OfRow {
    let mut of_row = OfRow::default();
    if !audited.references.is_empty() {
        let mut referred = Referred::default();
        if let Some(old) = old {
            referred.add(&audited.references, audited, old);
        }
        of_row.asked.add(0, audited, old, new, &mut of_row.known, &referred);
    }
    of_row
}

/// See [`of_row`].
#[derive(Default)]
pub(super) struct OfRow {
    asked: Asked,
    known: Labels,
}

impl OfRow {
    pub(super) async fn answer<C: ConnectionTrait>(self, db: &C, locked: bool) -> Result<Labels, DbErr> {
        let mut labels = self.known;
        for (_, side, field, label) in self.asked.answer(db, locked).await? {
            labels.side(side).push((field, label));
        }
        Ok(labels)
    }
}

fn any(row: Option<&Row>) -> Option<&dyn Any> {
    row.map(|row| &**row as &dyn Any)
}

/// Changed rows that others of them may refer to, as they were: the statement may have removed or renamed them. By table,
/// key column and key.
#[derive(Default)]
struct Referred(HashMap<(String, String, String), HashMap<String, Option<String>>>);

impl Referred {
    fn among(images: &[Image]) -> Self {
        let mut referred = Self::default();
        // Few entities have references, and few of those images are of what they refer to.
        let mut references: Vec<&Arc<Audited>> = Vec::new();
        for Image { audited, .. } in images {
            if !audited.references.is_empty() && !references.iter().any(|known| Arc::ptr_eq(known, audited)) {
                references.push(audited);
            }
        }
        for image in images {
            if let Some(old) = any(image.old.as_ref()) {
                for audited in &references {
                    referred.add(&audited.references, &image.audited, old);
                }
            }
        }
        referred
    }

    /// Keeps the labels of a row for these references, as far as they lead to its table.
    fn add(&mut self, references: &[Reference], audited: &Audited, row: &dyn Any) {
        for reference in references.iter().filter(|reference| reference.table == audited.policy.table) {
            let (key, label) = (audited.get(row, &reference.key), audited.get(row, &reference.label));
            if let (Some(key), Some(label)) = (key, label) {
                self.0.entry(path(reference)).or_default().insert(text(key), label_text(label));
            }
        }
    }

    fn label(&self, reference: &Reference, key: &str) -> Option<Option<String>> {
        self.0.get(&path(reference))?.get(key).cloned()
    }
}

fn path(reference: &Reference) -> (String, String, String) {
    (reference.table.clone(), reference.key.clone(), reference.label.clone())
}

fn text(key: Value) -> String {
    render::value(key).to_json()
}

fn label_text(label: Value) -> Option<String> {
    match render::value(label) {
        Rendered::Text(text) => Some(text),
        _ => None,
    }
}

/// A label that was asked for: of which row, which side of it, which field.
type Answered = (usize, Side, usize, Option<String>);

/// Labels to be read.
#[derive(Default)]
struct Asked {
    keys: Vec<Keys>,
}

/// The different keys of one reference.
struct Keys {
    audited: Arc<Audited>,
    reference: usize,
    values: Vec<Value>,
    positions: HashMap<String, usize>,
    /// Row and side with the position of the key.
    uses: Vec<(usize, Side, usize)>,
}

impl Asked {
    /// Adds the references of a row that have changed, except for labels that are known.
    fn add(
        &mut self,
        row: usize,
        audited: &Arc<Audited>,
        old: Option<&dyn Any>,
        new: Option<&dyn Any>,
        labels: &mut Labels,
        referred: &Referred,
    ) {
        for (index, reference) in audited.references.iter().enumerate() {
            let value = |row: Option<&dyn Any>| row.and_then(|row| audited.get(row, &reference.column));
            let (old, new) = (value(old), value(new));
            if let (Some(old), Some(new)) = (&old, &new)
                && render::same(old, new)
            {
                continue;
            }
            for (side, key) in [(Side::Old, old), (Side::New, new)] {
                let Some(key) = key.filter(|key| *key != key.as_null()) else { continue };
                if labels.knows(side, reference.field) {
                    continue;
                }
                let rendered = text(key.clone());
                match referred.label(reference, &rendered).filter(|_| side == Side::Old) {
                    Some(label) => labels.side(side).push((reference.field, label)),
                    None => self.ask(row, audited, index, side, (key, rendered)),
                }
            }
        }
    }

    fn ask(
        &mut self,
        row: usize,
        audited: &Arc<Audited>,
        reference: usize,
        side: Side,
        (key, rendered): (Value, String),
    ) {
        let known = self
            .keys
            .iter()
            .position(|keys| keys.reference == reference && Arc::ptr_eq(&keys.audited, audited));
        let at = known.unwrap_or_else(|| {
            self.keys.push(Keys {
                audited: Arc::clone(audited),
                reference,
                values: Vec::new(),
                positions: HashMap::new(),
                uses: Vec::new(),
            });
            self.keys.len() - 1
        });
        let Some(keys) = self.keys.get_mut(at) else { return };
        let position = *keys.positions.entry(rendered).or_insert_with(|| {
            keys.values.push(key);
            keys.values.len() - 1
        });
        keys.uses.push((row, side, position));
    }

    /// Reads the labels. `locked`: as they are now even if the transaction sees an older snapshot, which takes the lock on
    /// MySQL that a check of a foreign key takes there.
    async fn answer<C: ConnectionTrait>(self, db: &C, locked: bool) -> Result<Vec<Answered>, DbErr> {
        let backend = db.get_database_backend();
        let mut answers = Vec::new();
        for keys in self.keys {
            let Some(reference) = keys.audited.references.get(keys.reference) else { continue };
            let mut labels: Vec<Option<String>> = Vec::with_capacity(keys.values.len());
            for batch in batches(&keys.values).flat_map(|batch| batch.chunks(BATCH)) {
                let first = labels.len();
                labels.resize(first + batch.len(), None);
                for row in ask(db, backend, locked, reference, batch).await? {
                    let at = usize::try_from(row.try_get::<i32>("", "audit_n")?).unwrap_or(usize::MAX);
                    if let Some(label) = labels.get_mut(first.saturating_add(at)) {
                        *label = row.try_get("", "label")?;
                    }
                }
            }
            answers.extend(keys.uses.into_iter().map(|(row, side, position)| {
                (row, side, reference.field, labels.get(position).cloned().flatten())
            }));
        }
        Ok(answers)
    }
}

/// Asks for each key by itself, so that the database compares it as it does for the foreign key, and says which one a
/// label belongs to: neither types nor collations have to be known here.
async fn ask<C: ConnectionTrait>(
    db: &C,
    backend: DbBackend,
    locked: bool,
    reference: &Reference,
    keys: &[Value],
) -> Result<Vec<QueryResult>, DbErr> {
    let mut selects = keys.iter().enumerate().filter_map(|(at, key)| {
        let mut select = reference.lookup(key.clone())?;
        select.expr_as(Expr::cust(at.to_string()), "audit_n");
        Some(select)
    });
    if backend == DbBackend::MySql {
        return db.query_all_raw(with_locks(selects, locked)).await;
    }
    let Some(mut all) = selects.next() else { return Ok(Vec::new()) };
    for select in selects {
        all.union(UnionType::All, select);
    }
    db.query_all(&all).await
}

fn with_locks(selects: impl Iterator<Item = SelectStatement>, locked: bool) -> Statement {
    // MariaDB knows no `FOR SHARE`, which is what the builder would write.
    let lock = if locked { " LOCK IN SHARE MODE" } else { "" };
    let (mut sql, mut all) = (String::new(), Vec::new());
    for select in selects {
        let (part, values) = select.build(MysqlQueryBuilder);
        let union = if sql.is_empty() { "" } else { " UNION ALL " };
        sql.push_str(&format!("{union}({part}{lock})"));
        all.extend(values.0);
    }
    Statement::from_sql_and_values(DbBackend::MySql, sql, all)
}
