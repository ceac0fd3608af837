//! Rows as they are now.

use std::collections::BTreeMap;

use audit_core::{Error, FieldValues, MAX_ID_BYTES, split_key};
use sea_orm::sea_query::LockType;
use sea_orm::{ConnectionTrait, DbBackend, Value};

use super::refused;
use crate::capture::render;
use crate::history::load::unreadable;
use crate::registry::Audited;

/// A row as it is now.
pub(super) struct Current {
    /// By the names of fields, as entries would show them.
    pub(super) shown: BTreeMap<String, String>,
    /// By column, as it is.
    pub(super) columns: BTreeMap<String, String>,
}

/// Reads the row with this key; locked, if this is in a transaction that is to change it.
pub(super) async fn current<C: ConnectionTrait>(
    db: &C,
    audited: &Audited,
    key: &[(String, Value)],
    locked: bool,
) -> Result<Option<Current>, Error> {
    let mut find = (audited.codec().find)(key);
    if locked && db.get_database_backend() != DbBackend::Sqlite {
        find.lock(LockType::Update);
    }
    let Some(row) = db.query_one(&find).await.map_err(|error| unreadable(&error))? else { return Ok(None) };
    let row = audited.decode(&row, "").map_err(|error| unreadable(&error))?;
    let policy = &audited.policy;
    let mut tracked = FieldValues::tracked(policy);
    audited.values(&*row, &mut tracked);
    let shown = tracked
        .finish()
        .into_iter()
        .filter_map(|(at, value)| Some((policy.fields.get(at)?.name.clone(), value.to_json())))
        .collect();
    let columns = policy
        .fields
        .iter()
        .filter_map(|field| Some((field.column.clone(), rendered(&audited.get(&*row, &field.column)?))))
        .collect();
    Ok(Some(Current { shown, columns }))
}

/// A value as text, to compare it with others of its kind.
pub(super) fn rendered(value: &Value) -> String {
    render::value(value.clone()).to_json()
}

/// The key of the row with this id.
///
/// # Errors
/// [`Error::Restore`] if the id doesn't tell it: a part is hidden, or it is too long.
pub(super) fn key_of_id(audited: &Audited, id: &str) -> Result<Vec<(String, Value)>, Error> {
    let policy = &audited.policy;
    let fields: Vec<_> = policy.fields.iter().filter(|field| field.key).collect();
    let unknown = || {
        refused(format!(
            "the key of this {} isn't recorded as it is, so its row can't be found by its entries",
            policy.resource
        ))
    };
    let parts = if fields.len() == 1 { vec![id.to_owned()] } else { split_key(id) };
    let digest = id.starts_with("sha256:") && id.len() < MAX_ID_BYTES && id.len() == 71;
    if parts.len() != fields.len() || digest || fields.iter().any(|field| field.masked || field.excluded) {
        return Err(unknown());
    }
    fields
        .iter()
        .zip(parts)
        .map(|(field, part)| {
            // What was a text lost its quotes on the way into the id.
            let text = audit_core::Value::Text(part.clone()).to_json();
            let decode = audited.codec().decode;
            let value = decode(&field.column, &text).or_else(|| decode(&field.column, &part));
            Ok((field.column.clone(), value.ok_or_else(unknown)?))
        })
        .collect()
}
