//! The entries of a log, applied to tables: I2 and I3.

use std::collections::BTreeMap;

use audit_seaorm::capture::render;
use audit_seaorm::entity::audit_log;
use audit_seaorm::{Audit, MASK, join_key};
use audit_tests::TestDb;
use sea_orm::{
    ColumnDef, ColumnTrait, ColumnType, DbErr, EntityTrait, IdenStatic, Iterable, ModelTrait,
    PrimaryKeyToColumn, Value,
};
use serde_json::{Map, Value as Json};

/// Asserts that entries, replayed over what the tables were, give what they are now.
pub(crate) fn assert_faithful(before: Tables, entries: &[audit_log::Model], now: &Tables) {
    let replayed = replay_over(before, entries);
    let shown = |list: &[String]| list.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(replayed.faults.is_empty(), "{} faults:\n{}", replayed.faults.len(), shown(&replayed.faults));
    let differences = differences(&replayed.tables, now);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), shown(&differences));
}

pub(crate) type Row = BTreeMap<String, Json>;

/// Resource, id, row.
pub(crate) type Tables = BTreeMap<String, BTreeMap<String, Row>>;

pub(crate) struct Replayed {
    pub(crate) tables: Tables,
    /// Where an entry contradicts those before it (I3) or itself.
    pub(crate) faults: Vec<String>,
}

/// Applies the entries to empty tables, in the order of their numbers.
pub(crate) fn replay(entries: &[audit_log::Model]) -> Replayed {
    replay_over(Tables::new(), entries)
}

/// Applies the entries to tables as they were before.
pub(crate) fn replay_over(tables: Tables, entries: &[audit_log::Model]) -> Replayed {
    let mut replayed = Replayed { tables, faults: Vec::new() };
    for entry in entries {
        let id = entry.resource_id.clone().unwrap_or_default();
        let what = format!("{} of {} {id}", entry.action, entry.resource_type);
        let mut fault = |text: String| replayed.faults.push(format!("{what}: {text}"));
        if entry.hash_matches() != Some(true) {
            fault("its hash doesn't match".to_owned());
        }
        if entry.status != "success" || !["create", "update", "delete"].contains(&entry.action.as_str()) {
            continue;
        }
        let changes = entry.changes_json().expect("changes");
        let rows = replayed.tables.entry(entry.resource_type.clone()).or_default();
        match entry.action.as_str() {
            "create" => {
                if rows.insert(id, side(&changes, "new")).is_some() {
                    fault("the row is there already".to_owned());
                }
                if !side(&changes, "old").is_empty() {
                    fault("it has old values".to_owned());
                }
            }
            "update" => match rows.get_mut(&id) {
                None => fault("no such row".to_owned()),
                Some(row) => {
                    for (field, old) in side(&changes, "old") {
                        let before = row.get(&field).unwrap_or(&Json::Null);
                        if *before != old {
                            fault(format!("`{field}` was {old} by the entry, {before} by those before it"));
                        }
                    }
                    for (field, new) in side(&changes, "new") {
                        let before = row.insert(field.clone(), new.clone());
                        if before.as_ref() == Some(&new) && new != MASK {
                            fault(format!("`{field}` didn't change"));
                        }
                    }
                }
            },
            _ => match rows.remove(&id) {
                None => fault("no such row".to_owned()),
                Some(row) if row != side(&changes, "old") => fault(format!("the row was {row:?}")),
                Some(_) => {}
            },
        }
    }
    replayed
}

fn side(changes: &Map<String, Json>, side: &str) -> Row {
    let value = |change: &Json| change.get(side).cloned();
    changes.iter().filter_map(|(field, change)| Some((field.clone(), value(change)?))).collect()
}

/// A real table, read through SeaORM and rendered as entries render it.
pub(crate) async fn table<E: EntityTrait>(
    t: &TestDb,
    audit: &Audit,
) -> Result<(String, BTreeMap<String, Row>), DbErr> {
    let audited = audit.registry().get::<E>().expect("a policy").expect("an audited entity");
    let policy = audited.policy();
    let mut rows = BTreeMap::new();
    for model in E::find().all(&t.db).await? {
        let text = |column: E::Column| render::value(model.get(column)).to_text();
        let keys: Vec<_> = E::PrimaryKey::iter().map(|key| text(key.into_column())).collect();
        let id = if keys.len() == 1 { keys[0].clone() } else { join_key(&keys) };
        let row = E::Column::iter().map(|column| {
            let field = policy.field_of_column(column.as_str()).expect("a field for each column");
            let value = if policy.fields[field].masked {
                Json::from(MASK)
            } else {
                let value = render::value(with_scale(model.get(column), &column.def()));
                serde_json::from_str(&value.to_json()).expect("JSON")
            };
            (policy.fields[field].name.clone(), value)
        });
        rows.insert(id, row.collect());
    }
    Ok((policy.resource.clone(), rows))
}

/// A decimal with as many digits behind the point as its column has: SQLite hands out `1.5` of a `1.50`, and PostgreSQL's
/// driver `0` of a `0.00`.
fn with_scale(value: Value, column: &ColumnDef) -> Value {
    match (value, column.get_column_type()) {
        (Value::Decimal(Some(mut decimal)), ColumnType::Decimal(Some((_, scale)))) => {
            decimal.rescale(decimal.scale().max(*scale));
            decimal.into()
        }
        (value, _) => value,
    }
}

pub(crate) fn differences(log: &Tables, stored: &Tables) -> Vec<String> {
    let none = BTreeMap::new();
    let mut found = Vec::new();
    let mut tables: Vec<_> = log.keys().chain(stored.keys()).collect();
    tables.sort();
    tables.dedup();
    for table in tables {
        let (log, stored) = (log.get(table).unwrap_or(&none), stored.get(table).unwrap_or(&none));
        for (id, row) in log {
            let Some(real) = stored.get(id) else {
                found.push(format!("{table} {id}: only in the log: {row:?}"));
                continue;
            };
            let mut fields: Vec<_> = row.keys().chain(real.keys()).collect();
            fields.sort();
            fields.dedup();
            for field in fields.into_iter().filter(|field| row.get(*field) != real.get(*field)) {
                let shown = |row: &Row| row.get(field).map_or("missing".to_owned(), Json::to_string);
                found.push(format!(
                    "{table} {id} {field}: {} in the log, {} in the table",
                    shown(row),
                    shown(real)
                ));
            }
        }
        for (id, row) in stored.iter().filter(|(id, _)| !log.contains_key(*id)) {
            found.push(format!("{table} {id}: only in the table: {row:?}"));
        }
    }
    found
}
