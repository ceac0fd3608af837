//! A plan from what is wanted and what is there.

use std::collections::{BTreeMap, HashMap, HashSet};

use audit_core::{Error, FieldPolicy, Resource, action, stored_tenant};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, IntoTableRef, Query, SelectStatement, TableRef};
use sea_orm::{ConnectionTrait, DatabaseConnection, Value};
use serde_json::Value as Json;

use super::foreign_keys::{ForeignKey, ForeignKeys, Table};
use super::given::{self, Given};
use super::order::{order, values};
use super::plan::{Conflict, ConflictKind, Effect, Plan, Step, StepAction, StepField, Unrestorable, Work};
use super::rows::{self, Current, rendered};
use super::wanted::{Found, Goal, Goals, Wanted};
use super::{Restore, What, refused};
use crate::AuditConnection;
use crate::decode::exact_json;
use crate::history::Unknown;
use crate::history::load::unreadable;
use crate::history::timeline::State;

/// Makes the plan.
///
/// # Errors
/// As [`Restore::plan`].
pub(super) async fn plan(restore: &Restore, db: &AuditConnection) -> Result<Plan, Error> {
    let (inner, context) = db.over();
    let context = context.cloned().or_else(crate::try_current);
    let tenant = restore.tenant.clone().or_else(|| context.as_ref()?.tenant.clone());
    let tenant = tenant.map(|tenant| stored_tenant(&tenant).into_owned());
    let found = Found { db: inner, audit: db.audit(), tenant: tenant.as_deref() };
    let wanted = found.wanted(restore).await?;
    given::check(&restore.given, &wanted)?;
    let about = about(restore, &wanted);
    let module = wanted.first().and_then(|wanted| wanted.audited.policy.module.clone());
    let (mut steps, mut conflicts, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for (at, wanted) in wanted.iter().enumerate() {
        let current = rows::current(db, &wanted.audited, &wanted.key, false).await?;
        if current.is_some() {
            found.check_own(wanted).await?;
        }
        let mut composer =
            Composer { wanted, restore, root: at == 0, conflicts: &mut conflicts, unrestorable: Vec::new() };
        match composer.step(current)? {
            Some(step) => steps.push(step),
            None => kept.append(&mut composer.unrestorable),
        }
    }
    if steps.is_empty() && conflicts.is_empty() {
        let what = format!("{} {}", about.kind, about.id.as_deref().unwrap_or("-"));
        return Err(refused(if kept.is_empty() {
            format!("nothing to do: {what} is as it was")
        } else {
            let fields: Vec<_> =
                kept.iter().map(|field| format!("`{}` ({})", field.field, field.why)).collect();
            format!("nothing of {what} can be restored: {}", fields.join(", "))
        }));
    }
    let keys = if steps.is_empty() { ForeignKeys::default() } else { ForeignKeys::load(inner).await? };
    let mut steps = order(steps, &keys);
    check_references(inner, &mut steps, &keys, &mut conflicts).await?;
    if tenant.is_some() {
        forget_numbers(&mut conflicts);
    }
    Ok(Plan {
        steps,
        conflicts,
        action: match restore.what {
            What::Deleted(_) | What::AsOf(..) | What::After(_) => action::RESTORE,
            What::Entry(..) | What::Transaction(_) => action::REVERT,
        },
        reverted: if let What::Transaction(id) = &restore.what { Some(id.clone()) } else { None },
        about,
        module,
        reason: restore.reason.clone(),
        forced: false,
    })
}

/// What the summary is about.
fn about(restore: &Restore, wanted: &[Wanted]) -> Resource {
    match (&restore.what, wanted.first()) {
        (What::Transaction(id), _) => Resource::new("transaction").id(id),
        (_, Some(wanted)) => Resource::new(wanted.audited.policy.resource.clone()).id(&wanted.id),
        (_, None) => Resource::new("row"),
    }
}

/// Makes the step for one row.
struct Composer<'a> {
    wanted: &'a Wanted,
    restore: &'a Restore,
    root: bool,
    conflicts: &'a mut Vec<Conflict>,
    unrestorable: Vec<Unrestorable>,
}

impl Composer<'_> {
    fn step(&mut self, current: Option<Current>) -> Result<Option<Step>, Error> {
        match (&self.wanted.goal, current) {
            (Goal::Absent, None) => Ok(None),
            (Goal::Absent, Some(current)) => Ok(Some(self.delete(current))),
            (Goal::Whole(goals), None) => self.insert(goals).map(Some),
            (Goal::Whole(goals), Some(current)) => {
                let step = self.update(goals, current)?;
                if !self.wanted.may_exist && step.is_some() {
                    self.conflict(ConflictKind::Exists);
                }
                Ok(step)
            }
            (Goal::Fields(_), None) => {
                self.conflict(ConflictKind::Gone);
                Ok(None)
            }
            (Goal::Fields(goals), Some(current)) => self.update(goals, current),
        }
    }

    fn delete(&mut self, current: Current) -> Step {
        for (name, expected) in &self.wanted.expected {
            self.compare(name, expected, &current);
        }
        let policy = &self.wanted.audited.policy;
        let shown = policy.fields.iter().filter(|field| field.is_recorded_as_it_is());
        let fields = shown.filter_map(|field| {
            let old = exact_json(current.shown.get(&field.name)?);
            Some(StepField { name: field.name.clone(), old, new: None })
        });
        let fields = fields.collect();
        self.finish(StepAction::Delete, fields, Vec::new(), Some(current.columns), self.wanted.key.clone())
    }

    fn insert(&mut self, goals: &Goals) -> Result<Step, Error> {
        let audited = &self.wanted.audited;
        let (mut fields, mut values) = (Vec::new(), Vec::new());
        for field in &audited.policy.fields {
            let why = match goals.get(field.name.as_str()) {
                Some(State::Known(recorded, _)) => match (audited.codec().decode)(&field.column, recorded) {
                    Some(value) => {
                        fields.push(StepField {
                            name: field.name.clone(),
                            old: None,
                            new: exact_json(recorded),
                        });
                        values.push((field.column.clone(), value));
                        continue;
                    }
                    None => Unknown::Unreadable,
                },
                Some(State::Unknown(why)) => *why,
                None => Unknown::NotRecorded,
            };
            let (nullable, has_default) = (audited.codec().optional)(&field.column);
            let key = self.wanted.key.iter().find(|(column, _)| *column == field.column);
            if let Some(value) = self.given(field)? {
                values.push((field.column.clone(), value));
                self.cannot_restore(field, why, Effect::Given);
            } else if let Some((column, value)) = key {
                values.push((column.clone(), value.clone()));
            } else if let Some(null) = (audited.codec().decode)(&field.column, "null").filter(|_| nullable) {
                values.push((field.column.clone(), null));
                self.cannot_restore(field, why, Effect::BecomesNull);
            } else if has_default {
                self.cannot_restore(field, why, Effect::BecomesDefault);
            } else {
                self.cannot_restore(field, why, Effect::Needed);
                self.conflict(ConflictKind::Needed { field: field.name.clone(), why });
            }
        }
        Ok(self.finish(StepAction::Insert, fields, values, None, self.wanted.key.clone()))
    }

    fn update(&mut self, goals: &Goals, current: Current) -> Result<Option<Step>, Error> {
        let audited = &self.wanted.audited;
        let (mut fields, mut values) = (Vec::new(), Vec::new());
        for field in &audited.policy.fields {
            let why = match goals.get(field.name.as_str()) {
                None => continue,
                Some(State::Unknown(Unknown::NotRecorded))
                    if !field.tracked && self.given(field)?.is_none() =>
                {
                    continue;
                }
                Some(State::Unknown(why)) => *why,
                Some(State::Known(recorded, _)) => {
                    let now = current.shown.get(&field.name);
                    if now.map(String::as_str) == Some(&**recorded) {
                        continue;
                    }
                    if let Some(expected) = self.wanted.expected.get(field.name.as_str()) {
                        self.compare(&field.name, expected, &current);
                    }
                    match (audited.codec().decode)(&field.column, recorded) {
                        Some(value) => {
                            let (old, new) = (now.and_then(|now| exact_json(now)), exact_json(recorded));
                            fields.push(StepField { name: field.name.clone(), old, new });
                            values.push((field.column.clone(), value));
                            continue;
                        }
                        None => Unknown::Unreadable,
                    }
                }
            };
            match self.given(field)? {
                Some(value) => {
                    values.push((field.column.clone(), value));
                    self.cannot_restore(field, why, Effect::Given);
                }
                None => self.cannot_restore(field, why, Effect::Stays),
            }
        }
        if values.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.finish(
            StepAction::Update,
            fields,
            values,
            Some(current.columns),
            self.wanted.key.clone(),
        )))
    }

    fn finish(
        &mut self,
        action: StepAction,
        fields: Vec<StepField>,
        values: Vec<(String, Value)>,
        before: Option<BTreeMap<String, String>>,
        key: Vec<(String, Value)>,
    ) -> Step {
        let after = (action != StepAction::Delete).then(|| {
            let mut after = before.clone().unwrap_or_default();
            after.extend(values.iter().map(|(column, value)| (column.clone(), rendered(value))));
            after
        });
        Step {
            action,
            resource: self.wanted.audited.policy.resource.clone(),
            id: self.wanted.id.clone(),
            fields,
            unrestorable: std::mem::take(&mut self.unrestorable),
            entries: self.wanted.entries.clone(),
            work: Work {
                audited: self.wanted.audited.clone(),
                key,
                values,
                before,
                after,
                referrers: Vec::new(),
                seq: self.wanted.seq,
                deferred: false,
            },
        }
    }

    /// What the caller gives for a field, as its column takes it.
    fn given(&self, field: &FieldPolicy) -> Result<Option<Value>, Error> {
        let policy = &self.wanted.audited.policy;
        let mine = |given: &&Given| {
            let named = policy.field_of_name(&given.field).and_then(|at| policy.fields.get(at));
            given.is_of(self.wanted, self.root) && named.is_some_and(|named| named.column == field.column)
        };
        let Some(given) = self.restore.given.iter().find(mine) else { return Ok(None) };
        let value = (self.wanted.audited.codec().fit)(&field.column, given.value.clone());
        value.map(Some).ok_or_else(|| {
            refused(format!("the value given for `{}` of {} isn't of its type", given.field, policy.resource))
        })
    }

    fn compare(&mut self, name: &str, expected: &str, current: &Current) {
        let policy = &self.wanted.audited.policy;
        let field = policy.field_of_name(name).and_then(|at| policy.fields.get(at));
        if !field.is_some_and(FieldPolicy::is_recorded_as_it_is) {
            return;
        }
        let now = current.shown.get(name);
        if now.map(String::as_str) != Some(expected) {
            let json = |text: &str| -> Option<Json> { exact_json(text) };
            let found = now.and_then(|now| json(now));
            self.conflict(ConflictKind::Changed { field: name.to_owned(), expected: json(expected), found });
        }
    }

    fn conflict(&mut self, kind: ConflictKind) {
        let resource = self.wanted.audited.policy.resource.clone();
        // A transaction is about many rows, whichever of them is the first.
        let by_row = !self.root || matches!(self.restore.what, What::Transaction(_));
        self.conflicts.push(Conflict { resource, id: self.wanted.id.clone(), kind, by_row });
    }

    fn cannot_restore(&mut self, field: &FieldPolicy, why: Unknown, effect: Effect) {
        self.unrestorable.push(Unrestorable { field: field.name.clone(), why, effect });
    }
}

/// Looks whether what rows will refer to is there, and whether others refer to rows that go.
async fn check_references(
    db: &DatabaseConnection,
    steps: &mut [Step],
    keys: &ForeignKeys,
    conflicts: &mut Vec<Conflict>,
) -> Result<(), Error> {
    let conflict = |step: &Step, kind| Conflict {
        resource: step.resource.clone(),
        id: step.id.clone(),
        kind,
        by_row: true,
    };
    let mut found = Vec::new();
    for key in keys.all() {
        let of = |table: &Table| {
            let matching = |step: &&Step| table.is(&step.work.audited.policy.table);
            steps.iter().enumerate().filter(|(_, step)| matching(step)).collect::<Vec<_>>()
        };
        let (parents, children) = (of(&key.parent), of(&key.child));
        let brought =
            parents.iter().filter_map(|(_, step)| values(step.work.after.as_ref(), &key.parent_columns));
        let brought: HashSet<Vec<&str>> = brought.collect();
        let mut leaving: HashMap<Vec<&str>, u64> = HashMap::new();
        for (_, step) in &children {
            let refers = values(step.work.after.as_ref(), &key.child_columns);
            let referred = values(step.work.before.as_ref(), &key.child_columns);
            if refers == referred {
                continue;
            }
            if let Some(referred) = referred {
                *leaving.entry(referred).or_default() += 1;
            }
            if refers.is_none_or(|refers| brought.contains(&refers)) {
                continue;
            }
            // What isn't written by this step was there, with what it refers to.
            let row = key.child_columns.iter().map(|column| {
                let written = &step.work.values;
                let value = written.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
                value.map(|(_, value)| value.clone())
            });
            let Some(row) = row.collect::<Option<Vec<Value>>>() else { continue };
            if count(db, &counting(&key.parent, &key.parent_columns, row)).await? == 0 {
                let kind = ConflictKind::MissingParent { table: key.parent.name.clone() };
                conflicts.push(conflict(step, kind));
            }
        }
        for (at, step) in parents.iter().filter(|(_, step)| step.action == StepAction::Delete) {
            let referred = values(step.work.before.as_ref(), &key.parent_columns);
            let (Some(referred), Some(row)) = (referred, row_values(step, key)) else { continue };
            let select = counting(&key.child, &key.child_columns, row);
            let leaving = leaving.get(&referred).copied().unwrap_or(0);
            let rows = count(db, &select).await?.saturating_sub(leaving);
            if rows > 0 {
                let kind = ConflictKind::Referenced { table: key.child.name.clone(), rows: Some(rows) };
                conflicts.push(conflict(step, kind));
            }
            // A row that refers to itself goes with itself.
            let own = key.child.is(&step.work.audited.policy.table)
                && values(step.work.before.as_ref(), &key.child_columns).as_ref() == Some(&referred);
            if !own {
                found.push((*at, key.child.name.clone(), select));
            }
        }
    }
    for (at, table, select) in found {
        if let Some(step) = steps.get_mut(at) {
            step.work.referrers.push((table, select));
        }
    }
    Ok(())
}

/// Some of the rows that refer to a tenant's may be others'.
fn forget_numbers(conflicts: &mut [Conflict]) {
    for conflict in conflicts {
        if let ConflictKind::Referenced { rows, .. } = &mut conflict.kind {
            *rows = None;
        }
    }
}

/// The values that others refer to this row by.
fn row_values(step: &Step, key: &ForeignKey) -> Option<Vec<Value>> {
    let before = step.work.before.as_ref()?;
    let decode = step.work.audited.codec().decode;
    let value = |column: &String| {
        let (name, recorded) = before.iter().find(|(name, _)| name.eq_ignore_ascii_case(column))?;
        let of_key = step.work.key.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        of_key.or_else(|| decode(name, recorded))
    };
    key.parent_columns.iter().map(value).collect()
}

fn counting(table: &Table, columns: &[String], row: Vec<Value>) -> SelectStatement {
    let of: TableRef = (Alias::new(&table.schema), Alias::new(&table.name)).into_table_ref();
    let mut select = Query::select();
    select.expr_as(Expr::cust("COUNT(*)"), Alias::new("n")).from(of);
    for (column, value) in columns.iter().zip(row) {
        select.and_where(Expr::col(Alias::new(column)).eq(value));
    }
    select
}

pub(super) async fn count<C: ConnectionTrait>(db: &C, select: &SelectStatement) -> Result<u64, Error> {
    let row = db.query_one(select).await.map_err(|error| unreadable(&error))?;
    let count = row.map_or(Ok(0), |row| row.try_get::<i64>("", "n")).map_err(|error| unreadable(&error))?;
    Ok(u64::try_from(count).unwrap_or(0))
}
