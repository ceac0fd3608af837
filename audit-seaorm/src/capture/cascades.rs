//! What foreign keys do to other tables' rows when a row is deleted or a key changes.
//!
//! PostgreSQL's and MySQL's engines do that inside the statement, and show it to nobody. So the rows that will be
//! reached are read and locked before the statement, by following the catalogue's foreign keys, and read again after
//! it. New ones can't come in between: the rows that they would refer to are locked.

use std::collections::BTreeSet;
use std::sync::Arc;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, LockType, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr};

use super::catalogue::{Action, Catalogue, Rule, TableId};
use super::images::{Image, current, finds, key};
use super::labels::{self, Labelled};
use super::refusal::{refused, refused_parent};
use crate::Registry;
use crate::registry::{Audited, Row};

/// Chains of foreign keys that are longer are refused: a cycle would never end.
const DEEPEST: usize = 64;

/// What happens to the rows that foreign keys refer to.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Deleted,
    /// These columns get other values.
    Updated(Vec<String>),
}

impl Change {
    /// What an action makes of the referring rows; `None` if nothing.
    fn reaches(&self, action: &Action) -> Option<Self> {
        match self {
            Self::Deleted => deleted(action),
            // It may leave the part of its table that is referred to.
            Self::Updated(columns) if leaves(columns, action) && action.on_delete != Rule::Nothing => {
                deleted(action)
            }
            Self::Updated(_) if action.parent_may_change && action.on_update != Rule::Nothing => {
                Some(Self::Updated(action.child_columns.clone()))
            }
            Self::Updated(columns) => {
                let set = set(columns, action);
                (!set.is_empty()).then_some(Self::Updated(set))
            }
        }
    }

    /// Whether rows of this table get other keys by it.
    fn rekeys(&self, audited: &Audited) -> bool {
        let keys = audited.policy.fields.iter().filter(|field| field.key);
        matches!(self, Self::Updated(columns) if keys.into_iter().any(|field| named(columns, &field.column)))
    }
}

/// What an action makes of the rows that refer to one that is deleted.
fn deleted(action: &Action) -> Option<Change> {
    match action.on_delete {
        Rule::Nothing => None,
        Rule::Cascade => Some(Change::Deleted),
        Rule::Set => Some(Change::Updated(action.child_columns.clone())),
    }
}

fn leaves(columns: &[String], action: &Action) -> bool {
    action.leaves.iter().any(|column| column.as_ref().is_none_or(|column| named(columns, column)))
}

/// The columns that an action sets when these columns of the rows that are referred to are set.
fn set(columns: &[String], action: &Action) -> Vec<String> {
    let pairs = action.parent_columns.iter().zip(&action.child_columns);
    let follow = pairs.filter(|(parent, _)| named(columns, parent)).map(|(_, child)| child.clone());
    match action.on_update {
        Rule::Nothing => Vec::new(),
        Rule::Cascade => follow.collect(),
        Rule::Set if follow.count() > 0 => action.child_columns.clone(),
        Rule::Set => Vec::new(),
    }
}

/// Whether a column is one of these. MySQL's names have no case; elsewhere one too many is followed, and found unchanged.
fn named(columns: &[String], column: &str) -> bool {
    columns.iter().any(|other| other.to_lowercase() == column.to_lowercase())
}

/// Whether a change of this table's rows may reach other rows.
pub(super) fn any(catalogue: &Catalogue, table: &TableId, change: &Change) -> bool {
    catalogue.actions_on(table).any(|action| change.reaches(action).is_some())
}

/// Rows that a statement will reach by foreign keys, as they are before it.
#[derive(Default)]
pub(super) struct Reached {
    rows: Vec<(Arc<Audited>, Vec<Labelled>)>,
    /// Those that are deleted, and those that may get other keys; by table and key.
    ended: BTreeSet<(String, String)>,
}

/// Locks and reads the audited rows that a change of the rows of `table` that `origins` select (without select lists) will reach.
pub(super) async fn before(
    db: &DatabaseTransaction,
    catalogue: &Catalogue,
    registry: &Registry,
    table: &TableId,
    origins: Vec<SelectStatement>,
    change: &Change,
) -> Result<Reached, DbErr> {
    let backend = ConnectionTrait::get_database_backend(db);
    let mut reached = Reached::default();
    let mut seen: BTreeSet<(TableId, String, bool)> = BTreeSet::new();
    let mut open: Vec<_> =
        origins.into_iter().map(|origin| (table.clone(), origin, change.clone(), 0)).collect();
    while let Some((parent, parents, change, depth)) = open.pop() {
        if depth > DEEPEST {
            return Err(DbErr::Custom(format!(
                "audit: refused: foreign keys lead from `{}` over more than {DEEPEST} steps",
                table.1
            )));
        }
        for action in catalogue.actions_on(&parent) {
            let Some(effect) = change.reaches(action) else { continue };
            if action.child_columns.iter().chain(&action.parent_columns).any(String::is_empty) {
                let reason = format!(
                    "a foreign key of `{}` ends at, or begins in, a part of its table by columns that the table itself hasn't; \
                     declare it on the whole table",
                    action.child.1
                );
                return Err(refused_parent(&parent.1, &reason));
            }
            let children = children_of(backend, action, &parent, &parents);
            let fresh = match catalogue.audited(registry, &action.child) {
                Some(audited) => {
                    let mut rows = read(db, audited, &action.child, &children).await?;
                    let said = matches!(&change, Change::Updated(columns) if Change::Updated(set(columns, action)).rekeys(audited));
                    if said && !rows.is_empty() {
                        let reason = format!(
                            "a foreign key changes the key of its rows along with `{}`, and which row becomes which can't be told",
                            parent.1
                        );
                        return Err(refused(&audited.policy.table, &reason));
                    }
                    let ended = matches!(effect, Change::Deleted);
                    rows.retain(|row| {
                        let key = key(audited, &**row);
                        let id = (audited.policy.table.clone(), key.clone());
                        if ended {
                            reached.ended.insert(id);
                        }
                        seen.insert((action.child.clone(), key, ended))
                    });
                    let fresh = !rows.is_empty();
                    // The rows that they refer to may be gone after the statement.
                    let rows = labels::before(db, audited, rows).await?;
                    reached.rows.push((Arc::clone(audited), rows));
                    fresh
                }
                // The same foreign key is known of its table as well, whose rows these are.
                None if catalogue.part_of(&action.child).is_some() => continue,
                // Not audited itself, but perhaps a step on the way to one that is.
                None => {
                    let mut fresh = false;
                    for row in referred_to(db, catalogue, &action.child, &children).await? {
                        fresh |= seen.insert((action.child.clone(), row, matches!(effect, Change::Deleted)));
                    }
                    fresh
                }
            };
            if fresh {
                open.push((action.child.clone(), children, effect, depth + 1));
            }
        }
    }
    Ok(reached)
}

/// What tells rows apart as far as other rows refer to them; nothing where none can.
async fn referred_to(
    db: &DatabaseTransaction,
    catalogue: &Catalogue,
    table: &TableId,
    rows: &SelectStatement,
) -> Result<Vec<String>, DbErr> {
    let columns: BTreeSet<&String> =
        catalogue.actions_on(table).flat_map(|action| &action.parent_columns).collect();
    // One that the table hasn't got is refused if it matters.
    let columns: BTreeSet<&String> = columns.into_iter().filter(|name| !name.is_empty()).collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let text = if db.get_database_backend() == DbBackend::MySql { "char" } else { "text" };
    let mut select = rows.clone();
    // So that nobody comes to refer to them; and on MySQL to see the present.
    select.lock(LockType::Update);
    for (at, name) in columns.iter().enumerate() {
        let column = Expr::col((Alias::new(&table.1), Alias::new(*name)));
        select.expr_as(column.cast_as(Alias::new(text)), Alias::new(format!("audit_k{at}")));
    }
    let found = db.query_all(&select).await?;
    found
        .iter()
        .map(|row| {
            let values: Result<Vec<Option<String>>, DbErr> =
                (0..columns.len()).map(|at| row.try_get("", &format!("audit_k{at}"))).collect();
            values.map(|values| format!("{values:?}"))
        })
        .collect()
}

/// The rows that refer to `parents`, without a select list.
fn children_of(
    backend: DbBackend,
    action: &Action,
    parent: &TableId,
    parents: &SelectStatement,
) -> SelectStatement {
    let column = |table: &TableId, name: &String| Expr::col((Alias::new(&table.1), Alias::new(name)));
    let mut referred = parents.clone();
    for name in &action.parent_columns {
        referred.expr(column(parent, name));
    }
    if backend == DbBackend::MySql {
        // Without a lock of its own it would see the transaction's snapshot, and the statement sees the present.
        referred.lock(LockType::Update);
    }
    let own = action.child_columns.iter().map(|name| column(&action.child, name));
    let refers = match action.child_columns.as_slice() {
        [name] => column(&action.child, name).in_subquery(referred),
        _ => Expr::tuple(own).in_subquery(referred),
    };
    Query::select()
        .from((Alias::new(&action.child.0), Alias::new(&action.child.1)))
        .and_where(refers)
        .to_owned()
}

async fn read(
    db: &DatabaseTransaction,
    audited: &Audited,
    table: &TableId,
    rows: &SelectStatement,
) -> Result<Vec<Row>, DbErr> {
    let mut select = rows.clone();
    let source = |column: &str| Expr::col((Alias::new(&table.1), Alias::new(column)));
    for (column, expr) in audited.select(&source) {
        select.expr_as(expr, Alias::new(column));
    }
    select.lock(LockType::Update);
    db.query_all(&select).await?.iter().map(|row| audited.decode(row, "")).collect()
}

impl Reached {
    /// Reads the rows again, after the statement.
    pub(super) async fn after(self, db: &DatabaseTransaction, images: &mut Vec<Image>) -> Result<(), DbErr> {
        // A row counts once, whichever ways lead to it; what the statement itself has changed is there already.
        let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
        for image in images.iter() {
            let row = image.old.as_ref().or(image.new.as_ref());
            seen.extend(row.map(|row| (image.audited.policy.table.clone(), key(&image.audited, &**row))));
        }
        for (audited, rows) in self.rows {
            let mut rows = rows;
            rows.retain(|(row, _)| seen.insert((audited.policy.table.clone(), key(&audited, &**row))));
            let finds = finds(&audited, rows.iter().map(|(row, _)| row));
            let mut now = current(db, &audited, finds).await?;
            for (old, labels) in rows {
                let id = (audited.policy.table.clone(), key(&audited, &*old));
                let new = now.remove(&id.1);
                if new.is_none() && !self.ended.contains(&id) {
                    let reason = "a foreign key, or a trigger after it, has changed the key of its rows, and which row became which can't be told";
                    return Err(refused(&id.0, reason));
                }
                images.push(Image { audited: Arc::clone(&audited), old: Some(old), new, labels });
            }
        }
        Ok(())
    }
}
