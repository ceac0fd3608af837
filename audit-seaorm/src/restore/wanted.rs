//! What rows are to become, by their entries. Nothing of what they are now is known here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use audit_core::{Error, ResourcePolicy};
use sea_orm::{ColumnTrait, DatabaseConnection, QueryFilter, Value};
use uuid::Uuid;

use super::foreign_keys::{ForeignKey, ForeignKeys};
use super::{Restore, Target, What, refused, rows};
use crate::Audit;
use crate::decode::marker;
use crate::entity::audit_log::Column;
use crate::history::load::{self, Log, unreadable};
use crate::history::timeline::{State, shown};
use crate::history::{Event, Kind, Line, Source, Unknown, lines, timeline_of};
use crate::registry::Audited;

/// Fields with what they are to become, by name.
pub(super) type Goals = BTreeMap<Arc<str>, State>;

/// What becomes of a row.
pub(super) enum Goal {
    /// It isn't there.
    Absent,
    /// It is there, with all of this.
    Whole(Goals),
    /// It is there anyway; this changes.
    Fields(Goals),
}

/// Names of fields, or what is recorded of them.
type Texts = Vec<Arc<str>>;

/// Columns of a key with their values.
type Key = Vec<(String, Value)>;

/// What is wanted of one row.
pub(super) struct Wanted {
    pub(super) audited: Arc<Audited>,
    pub(super) id: String,
    /// Where it is looked for.
    pub(super) key: Key,
    pub(super) goal: Goal,
    /// What it should be now, by field; otherwise something changed it later.
    pub(super) expected: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether it may be there though it is to come back.
    pub(super) may_exist: bool,
    pub(super) entries: Vec<Uuid>,
    /// Number of the last of them.
    pub(super) seq: i64,
}

/// Where entries are read from, and what they are about.
pub(super) struct Found<'a> {
    pub(super) db: &'a DatabaseConnection,
    pub(super) audit: &'a Audit,
    pub(super) tenant: Option<&'a str>,
}

impl Found<'_> {
    /// What is wanted of each row.
    ///
    /// # Errors
    /// [`Error::Restore`] if entries don't tell.
    pub(super) async fn wanted(&self, restore: &Restore) -> Result<Vec<Wanted>, Error> {
        match &restore.what {
            What::Deleted(target) => self.deleted(target, restore.children).await,
            What::AsOf(target, moment) => {
                let (audited, key, id) = self.target(target)?;
                let timeline = timeline_of(&self.log(&audited), &key).await?;
                let applied = timeline.at(*moment);
                if timeline.events.is_empty() {
                    return Err(self.never_recorded(&audited, &id));
                }
                let states = timeline.states(applied, &audited.policy);
                let taken = timeline.events.get(applied..).unwrap_or_default();
                Ok(vec![whole(audited, id, key, states, taken)])
            }
            What::After(entry) => {
                let (audited, event) = self.entry(*entry).await?;
                let id = event.line.resource_id.clone().unwrap_or_default();
                let key = rows::key_of_id(&audited, &id)?;
                let timeline = timeline_of(&self.log(&audited), &key).await?;
                let at = timeline.events.iter().position(|known| known.line.seq == event.line.seq);
                let Some(applied) = at.map(|at| at + 1) else {
                    return Err(refused(format!(
                        "entry {entry} names no row of {} as entries of its changes do",
                        audited.policy.resource
                    )));
                };
                let taken = timeline.events.get(applied..).unwrap_or_default();
                if taken.iter().any(|event| event.kind == Kind::Moved) {
                    return Err(refused(format!("{} {id} has another key now", audited.policy.resource)));
                }
                let states = timeline.states(applied, &audited.policy);
                Ok(vec![whole(audited, id, key, states, taken)])
            }
            What::Entry(entry, field) => {
                let (audited, event) = self.entry(*entry).await?;
                let mut wanted = of_events(&audited, std::slice::from_ref(&event))?;
                if let (Some(wanted), Some(field)) = (&mut wanted, field) {
                    only_field(wanted, &event, field)?;
                }
                Ok(wanted.into_iter().collect())
            }
            What::Transaction(id) => self.transaction(id).await,
        }
    }

    /// Refuses a row that is there and that somebody outside of the tenant changed last: under the key of a row that was the
    /// tenant's there may be another's now, which must be neither shown nor overwritten.
    pub(super) async fn check_own(&self, wanted: &Wanted) -> Result<(), Error> {
        let log = self.log(&wanted.audited);
        let mut ids = vec![load::id_of(&wanted.audited, &wanted.key)?];
        if ids.first() != Some(&wanted.id) {
            ids.push(wanted.id.clone());
        }
        for id in ids {
            if !log.is_own(&id).await? {
                return Err(refused(format!(
                    "{} {id} was changed last by somebody outside of the tenant; only who isn't bound to one can restore it",
                    wanted.audited.policy.resource
                )));
            }
        }
        Ok(())
    }

    fn log<'b>(&'b self, audited: &'b Audited) -> Log<'b, DatabaseConnection> {
        Log { db: self.db, audited, tenant: self.tenant }
    }

    fn target(&self, target: &Target) -> Result<(Arc<Audited>, Key, String), Error> {
        match target {
            Target::Key(entity, name, key) => {
                let audited = self.audit.registry().of_type(*entity)?.ok_or_else(|| {
                    Error::Registration(format!("`{name}` isn't audited, so nothing of it can be restored"))
                })?;
                let id = load::id_of(audited, key)?;
                Ok((Arc::clone(audited), key.clone(), id))
            }
            Target::Named(resource, id) => {
                let audited = self.resource(resource)?;
                let key = rows::key_of_id(&audited, id)?;
                Ok((audited, key, id.clone()))
            }
        }
    }

    fn resource(&self, resource: &str) -> Result<Arc<Audited>, Error> {
        self.audit.registry().of_resource(resource).cloned().ok_or_else(|| {
            Error::Registration(format!(
                "no entity is audited as `{resource}`, so nothing of it can be restored"
            ))
        })
    }

    async fn entry(&self, id: Uuid) -> Result<(Arc<Audited>, Event), Error> {
        let line = lines(self.tenant).filter(Column::Id.eq(id)).into_model::<Line>().one(self.db).await;
        let line = line.map_err(|error| unreadable(&error))?;
        let line = line.ok_or_else(|| refused(format!("there is no entry {id} about a change of a row")))?;
        let audited = self.resource(&line.resource_type)?;
        let event = Event::read(line, &audited.policy)?;
        Ok((audited, event))
    }

    async fn deleted(&self, target: &Target, children: bool) -> Result<Vec<Wanted>, Error> {
        let (audited, key, id) = self.target(target)?;
        let timeline = timeline_of(&self.log(&audited), &key).await?;
        let resource = &audited.policy.resource;
        let Some(last) = timeline.events.len().checked_sub(1) else {
            return Err(self.never_recorded(&audited, &id));
        };
        let there = rows::current(self.db, &audited, &key, false).await?.is_some();
        let event = timeline.events.get(last).filter(|event| event.kind == Kind::Deleted);
        let event = match event {
            _ if there => return Err(refused(format!("{resource} {id} is there; nothing of it is deleted"))),
            Some(event) => event.clone(),
            None => {
                return Err(refused(format!(
                    "{resource} {id} isn't there, but no entry says that it was deleted; restore it by `as_of`"
                )));
            }
        };
        let states = timeline.told_by(last, &audited.policy);
        let goals: Goals = states.into_iter().map(|(name, known)| (name, known.state)).collect();
        let root = Wanted {
            key: key_of_goals(&audited, &goals, &key),
            audited,
            id,
            goal: Goal::Whole(goals),
            expected: BTreeMap::new(),
            may_exist: false,
            entries: vec![event.line.id],
            seq: event.line.seq,
        };
        let mut all = vec![root];
        if let (true, Some(transaction)) = (children, &event.line.transaction_id) {
            let others = self.events_of(transaction).await?;
            self.gather_children(&mut all, others).await?;
        }
        Ok(all)
    }

    /// Adds what foreign keys did along: rows that went with those that come back, and references to them that became NULL.
    async fn gather_children(
        &self,
        all: &mut Vec<Wanted>,
        events: Vec<(Arc<Audited>, Event)>,
    ) -> Result<(), Error> {
        let keys = ForeignKeys::load(self.db).await?;
        // By foreign key and what it referred to: the entries, with its fields.
        let mut referring: HashMap<(usize, Texts), Vec<(usize, Texts)>> = HashMap::new();
        for (at, (audited, event)) in events.iter().enumerate() {
            let of_child = |(_, key): &(usize, &ForeignKey)| key.child.is(&audited.policy.table);
            for (number, key) in keys.all().enumerate().filter(of_child) {
                let Some(fields) = names(&audited.policy, &key.child_columns) else { continue };
                let olds = fields.iter().map(|name| event.fields.get(&**name)?.old.clone());
                if let Some(olds) = olds.collect::<Option<Vec<_>>>() {
                    referring.entry((number, olds)).or_default().push((at, fields));
                }
            }
        }
        let mut seen: BTreeSet<Uuid> = all.iter().flat_map(|wanted| wanted.entries.clone()).collect();
        let mut at = 0;
        while let Some(parent) = all.get(at) {
            at += 1;
            let Goal::Whole(goals) = &parent.goal else { continue };
            let policy = &parent.audited.policy;
            let mut reached: BTreeMap<usize, Vec<Arc<str>>> = BTreeMap::new();
            for (number, key) in keys.all().enumerate().filter(|(_, key)| key.parent.is(&policy.table)) {
                let Some(names) = names(policy, &key.parent_columns) else { continue };
                let values = names.iter().map(|name| match goals.get(&**name)? {
                    State::Known(recorded, _) => Some(Arc::clone(recorded)),
                    State::Unknown(_) => None,
                });
                let Some(values) = values.collect::<Option<Vec<_>>>() else { continue };
                for (event, fields) in referring.get(&(number, values)).into_iter().flatten() {
                    reached.entry(*event).or_default().extend(fields.iter().cloned());
                }
            }
            let mut found = Vec::new();
            for (event, fields) in reached {
                let Some((audited, event)) = events.get(event) else { continue };
                if seen.contains(&event.line.id) {
                    continue;
                }
                let Some(mut wanted) = of_events(audited, std::slice::from_ref(event))? else { continue };
                if let Goal::Fields(goals) = &mut wanted.goal {
                    // Only what the deletion took away; the transaction may have changed more.
                    let became_null = |name: &Arc<str>| {
                        event.fields.get(name).is_some_and(|sides| sides.new.as_deref() == Some("null"))
                    };
                    goals.retain(|name, _| fields.contains(name) && became_null(name));
                    if goals.is_empty() {
                        continue;
                    }
                } else {
                    seen.insert(event.line.id);
                }
                found.push(wanted);
            }
            all.extend(found);
        }
        Ok(())
    }

    async fn transaction(&self, id: &str) -> Result<Vec<Wanted>, Error> {
        let events = self.events_of(id).await?;
        if events.is_empty() {
            return Err(refused(format!("no entry about a change of a row belongs to a transaction {id:?}")));
        }
        let mut by_resource: BTreeMap<String, (Arc<Audited>, Vec<Event>)> = BTreeMap::new();
        for (audited, event) in events {
            let resource = audited.policy.resource.clone();
            by_resource.entry(resource).or_insert_with(|| (audited, Vec::new())).1.push(event);
        }
        let mut all = Vec::new();
        for (audited, events) in by_resource.into_values() {
            for (_, timeline) in load::by_row(events, &audited.policy) {
                all.extend(of_events(&audited, &timeline.events)?);
            }
        }
        Ok(all)
    }

    async fn events_of(&self, transaction: &str) -> Result<Vec<(Arc<Audited>, Event)>, Error> {
        let select = lines(self.tenant).filter(Column::TransactionId.eq(transaction));
        let lines = select.into_model::<Line>().all(self.db).await.map_err(|error| unreadable(&error))?;
        let read = |line: Line| {
            let audited = self.resource(&line.resource_type)?;
            let event = Event::read(line, &audited.policy)?;
            Ok((audited, event))
        };
        lines.into_iter().map(read).collect()
    }

    fn never_recorded(&self, audited: &Audited, id: &str) -> Error {
        let tenant = self.tenant.map(|tenant| format!(" in the tenant `{tenant}`")).unwrap_or_default();
        refused(format!("nothing is recorded of {} {id}{tenant}", audited.policy.resource))
    }
}

/// A row as it was, whatever it is now.
fn whole(
    audited: Arc<Audited>,
    id: String,
    key: Key,
    states: Option<crate::history::timeline::States>,
    taken: &[Event],
) -> Wanted {
    let goal = match states {
        None => Goal::Absent,
        Some(states) => Goal::Whole(states.into_iter().map(|(name, known)| (name, known.state)).collect()),
    };
    Wanted {
        audited,
        id,
        key,
        goal,
        expected: BTreeMap::new(),
        may_exist: true,
        entries: taken.iter().map(|event| event.line.id).collect(),
        seq: taken.last().map_or(0, |event| event.line.seq),
    }
}

/// What takes these entries of one row back. `None`: it came and went in them.
fn of_events(audited: &Arc<Audited>, events: &[Event]) -> Result<Option<Wanted>, Error> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(None) };
    let (mut olds, mut news) = (BTreeMap::new(), BTreeMap::new());
    for event in events {
        for (name, sides) in &event.fields {
            if let Some(old) = &sides.old {
                olds.entry(Arc::clone(name)).or_insert_with(|| Arc::clone(old));
            }
            if let Some(new) = &sides.new {
                news.insert(Arc::clone(name), Arc::clone(new));
            }
        }
    }
    let policy = &audited.policy;
    let id = last.line.resource_id.clone().unwrap_or_default();
    let mut key = rows::key_of_id(audited, &id)?;
    let goal = match (first.kind == Kind::Created, last.kind == Kind::Deleted) {
        (true, true) => return Ok(None),
        (true, false) => Goal::Absent,
        (false, true) => {
            let goals = policy.fields.iter().map(|field| {
                let name: Arc<str> = field.name.as_str().into();
                let state = olds
                    .get(&name)
                    .map_or(State::Unknown(Unknown::NotRecorded), |old| state(policy, &name, old));
                (name, state)
            });
            let goals: Goals = goals.collect();
            key = key_of_goals(audited, &goals, &key);
            Goal::Whole(goals)
        }
        (false, false) => {
            let touched =
                |name: &str| events.iter().any(|event| event.changed.iter().any(|field| field == name));
            let goals = olds.iter().filter(|(name, old)| {
                let hidden = marker(old).is_some() && touched(name);
                policy.field_of_name(name).is_some() && (news.get(*name) != Some(*old) || hidden)
            });
            Goal::Fields(goals.map(|(name, old)| (Arc::clone(name), state(policy, name, old))).collect())
        }
    };
    news.retain(|_, new| marker(new).is_none());
    Ok(Some(Wanted {
        audited: Arc::clone(audited),
        id,
        key,
        goal,
        expected: if last.kind == Kind::Deleted { BTreeMap::new() } else { news },
        may_exist: false,
        entries: events.iter().map(|event| event.line.id).collect(),
        seq: last.line.seq,
    }))
}

fn state(policy: &ResourcePolicy, name: &str, recorded: &Arc<str>) -> State {
    match policy.field_of_name(name).and_then(|at| policy.fields.get(at)) {
        Some(field) if !field.tracked => State::Unknown(Unknown::NotRecorded),
        Some(field) if field.masked => State::Unknown(Unknown::Masked),
        Some(field) if field.transformed => State::Unknown(Unknown::Transformed),
        _ => shown(recorded, Source::Recorded),
    }
}

/// The key under which the row comes back, where its entries tell it; otherwise that of its id.
fn key_of_goals(audited: &Audited, goals: &Goals, of_id: &[(String, Value)]) -> Vec<(String, Value)> {
    let policy = &audited.policy;
    let told = |column: &str| {
        let field = policy.field_of_column(column).and_then(|at| policy.fields.get(at))?;
        match goals.get(field.name.as_str())? {
            State::Known(recorded, _) => (audited.codec().decode)(column, recorded),
            State::Unknown(_) => None,
        }
    };
    of_id
        .iter()
        .map(|(column, value)| (column.clone(), told(column).unwrap_or_else(|| value.clone())))
        .collect()
}

/// Leaves one field of what an entry says.
fn only_field(wanted: &mut Wanted, event: &Event, field: &str) -> Result<(), Error> {
    let policy = &wanted.audited.policy;
    let id = event.line.id;
    let Goal::Fields(goals) = &mut wanted.goal else {
        return Err(refused(format!(
            "entry {id} is about the whole row ({}); take it back by `revert_entry`",
            event.line.action
        )));
    };
    let name =
        policy.field_of_name(field).and_then(|at| policy.fields.get(at)).map(|field| field.name.as_str());
    let Some(name) = name else {
        return Err(refused(format!("`{}` has no field `{field}`", policy.resource)));
    };
    goals.retain(|known, _| &**known == name);
    if goals.is_empty() {
        return Err(refused(format!("entry {id} says nothing of a change of `{field}`")));
    }
    Ok(())
}

/// The names in entries of the fields with these columns.
fn names(policy: &ResourcePolicy, columns: &[String]) -> Option<Vec<Arc<str>>> {
    let name = |column: &String| {
        let field = policy.fields.iter().find(|field| field.column.eq_ignore_ascii_case(column))?;
        Some(Arc::<str>::from(field.name.as_str()))
    };
    columns.iter().map(name).collect()
}
