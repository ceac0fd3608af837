//! Changed rows, as they were and as they are, and the entries that follow from them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use audit_core::{Entry, FieldValues, join_key};
use sea_orm::sea_query::{LockType, SelectStatement};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr};

use super::labels::Labels;
use super::work::Work;
use crate::registry::{Audited, Row};
use crate::store::batches;

/// A changed row: without `old` it began, without `new` it ended.
pub(super) struct Image {
    pub(super) audited: Arc<Audited>,
    pub(super) old: Option<Row>,
    pub(super) new: Option<Row>,
    pub(super) labels: Labels,
}

impl Image {
    pub(super) fn new(audited: &Arc<Audited>, old: Option<Row>, new: Option<Row>) -> Self {
        Self { audited: Arc::clone(audited), old, new, labels: Labels::default() }
    }
}

/// The entries of these rows, in their order.
pub(super) fn entries(work: &Work<'_>, images: &[Image]) -> Vec<Entry> {
    let recorder = work.recorder();
    let mut entries = Vec::with_capacity(images.len());
    for Image { audited, old, new, labels } in images {
        let operations = audited.policy.operations;
        match (old, new) {
            (None, Some(new)) if operations.create => entries.push(recorder.created(audited, &**new, labels)),
            (Some(old), Some(new)) if operations.update => {
                entries.extend(recorder.updated(audited, &**old, &**new, labels));
            }
            (Some(old), None) if operations.delete => {
                entries.push(recorder.deleted(audited, &**old, labels));
            }
            _ => {}
        }
    }
    entries.retain(|entry| work.audit.records(&entry.action));
    entries
}

/// One image for each row that one statement changed: what a trigger makes of the row afterwards belongs to the same change,
/// as it does where the database shows the row only once. `further` says of which tables rows may have been changed further.
pub(super) fn merged(images: Vec<Image>, further: impl Fn(&Arc<Audited>) -> bool) -> Vec<Image> {
    let mut merged: Vec<Image> = Vec::with_capacity(images.len());
    // Where the image is of the row that has this key now.
    let mut current = HashMap::new();
    for image in images {
        if !further(&image.audited) {
            merged.push(image);
            continue;
        }
        let key_of = |row: &Row| (Arc::as_ptr(&image.audited), key(&image.audited, &**row));
        let known = image.old.as_ref().and_then(|old| current.remove(&key_of(old)));
        let now = image.new.as_ref().map(key_of);
        // A row that gets the key of one that went in between must not have it before.
        let moved = now != image.old.as_ref().map(key_of);
        let known = known.filter(|at: &usize| !moved || at + 1 == merged.len());
        let at = match known.and_then(|at| merged.get_mut(at).map(|first| (at, first))) {
            Some((at, first)) if image.new.is_some() => {
                first.new = image.new;
                first.labels.follow(image.labels);
                at
            }
            _ => {
                merged.push(image);
                merged.len() - 1
            }
        };
        current.extend(now.map(|now| (now, at)));
    }
    merged
}

/// Reads rows again, by their keys.
pub(super) fn finds<'a>(audited: &Audited, rows: impl IntoIterator<Item = &'a Row>) -> Vec<SelectStatement> {
    let rows: Vec<&dyn Any> = rows.into_iter().map(|row| &**row as &dyn Any).collect();
    batches(&rows).map(|batch| audited.find(batch)).collect()
}

/// The same rows, with nothing selected yet.
pub(super) fn without_columns(mut finds: Vec<SelectStatement>) -> Vec<SelectStatement> {
    for find in &mut finds {
        find.clear_selects();
    }
    finds
}

/// The rows as they are now, each under its key; rows that are gone are missing.
///
/// The read locks, so that it sees the present even if the transaction sees an older snapshot.
pub(super) async fn current(
    db: &DatabaseTransaction,
    audited: &Audited,
    finds: Vec<SelectStatement>,
) -> Result<HashMap<String, Row>, DbErr> {
    let mut found = HashMap::new();
    for mut select in finds {
        if ConnectionTrait::get_database_backend(db) != DbBackend::Sqlite {
            select.lock(LockType::Update);
        }
        for row in db.query_all(&select).await? {
            let row = audited.decode(&row, "")?;
            found.insert(key(audited, &*row), row);
        }
    }
    Ok(found)
}

/// The text of a row's primary key: what tells rows of one table apart.
pub(super) fn key(audited: &Audited, row: &dyn Any) -> String {
    let mut identity = FieldValues::identity(&audited.policy);
    audited.values(row, &mut identity);
    let parts: Vec<String> = identity
        .finish()
        .into_iter()
        .filter(|(index, _)| audited.policy.fields.get(*index).is_some_and(|field| field.key))
        .map(|(_, value)| value.to_json())
        .collect();
    join_key(&parts)
}
