//! What is known of a row at any moment, from its entries. Pure: no database.
//!
//! A field is known by the last entry that set it, or else by what the next entry found in it. Where those two
//! disagree something changed it unrecorded, and in between nobody knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use audit_core::ResourcePolicy;
use chrono::{DateTime, Utc};

use super::line::{Event, Kind};
use super::version::{Source, Unknown};
use crate::decode::{Marker, marker};

/// The entries of one row, and of the rows that had its key before it, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    pub(crate) events: Vec<Event>,
    lives: Vec<Life>,
    /// By field the entries that name it.
    index: BTreeMap<Arc<str>, Vec<usize>>,
}

/// From the beginning of a row to its end.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: usize,
    to: usize,
    /// Its beginning is recorded.
    created: bool,
}

/// What is known of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Known(Arc<str>, Source),
    Unknown(Unknown),
}

/// A field's state, and what was last recorded of it, however long ago.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) state: State,
    pub(crate) last: Option<Arc<str>>,
}

/// The fields of a row at a moment, by name.
pub(crate) type States = BTreeMap<Arc<str>, Known>;

impl Timeline {
    pub(crate) fn new(mut events: Vec<Event>) -> Self {
        let mut lives: Vec<Life> = Vec::new();
        let mut index: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        let mut clock: Option<DateTime<Utc>> = None;
        let mut ended = true;
        for (at, event) in events.iter_mut().enumerate() {
            event.when = clock.map_or(event.when, |clock| clock.max(event.when));
            clock = Some(event.when);
            let created = event.kind == Kind::Created;
            if ended || created || event.starts {
                lives.push(Life { from: at, to: at, created });
            }
            if let Some(life) = lives.last_mut() {
                life.to = at + 1;
            }
            ended = matches!(event.kind, Kind::Deleted | Kind::Moved);
            for name in event.fields.keys() {
                index.entry(Arc::clone(name)).or_default().push(at);
            }
        }
        Self { events, lives, index }
    }

    /// How many entries count at this moment.
    pub(crate) fn at(&self, moment: DateTime<Utc>) -> usize {
        self.events.partition_point(|event| event.when <= moment)
    }

    /// The life that the row is in after so many entries, if it is there then.
    fn life_at(&self, applied: usize) -> Option<Life> {
        match applied.checked_sub(1) {
            None => self.lives.first().copied().filter(|first| !first.created),
            Some(last) => {
                let life = self.lives.iter().find(|life| (life.from..life.to).contains(&last))?;
                let ends = matches!(self.events.get(last)?.kind, Kind::Deleted | Kind::Moved);
                (!ends).then_some(*life)
            }
        }
    }

    /// Whether the life after so many entries is the one that the row is in now.
    pub(crate) fn lasts(&self, applied: usize) -> bool {
        let end = self.lives.last().map_or(0, |life| life.to);
        self.events.is_empty()
            || (self.life_at(applied).is_some_and(|life| life.to == end) && self.exists(self.events.len()))
    }

    /// The fields of a row without entries.
    pub(crate) fn nothing(policy: &ResourcePolicy) -> Vec<(Arc<str>, State)> {
        let life = Life { from: 0, to: 0, created: false };
        let states = Self::default().states_in(life, 0, policy);
        states.into_iter().map(|(name, known)| (name, known.state)).collect()
    }

    /// Whether the row is there after so many entries.
    pub(crate) fn exists(&self, applied: usize) -> bool {
        self.life_at(applied).is_some()
    }

    /// The fields after so many entries, or `None` if the row isn't there then.
    pub(crate) fn states(&self, applied: usize, policy: &ResourcePolicy) -> Option<States> {
        Some(self.states_in(self.life_at(applied)?, applied, policy))
    }

    /// The fields that an entry tells of: after it, or if it deleted the row, before it.
    pub(crate) fn told_by(&self, at: usize, policy: &ResourcePolicy) -> States {
        let Some(life) = self.lives.iter().find(|life| (life.from..life.to).contains(&at)) else {
            return States::new();
        };
        let deleted = self.events.get(at).is_some_and(|event| event.kind == Kind::Deleted);
        self.states_in(*life, if deleted { at } else { at + 1 }, policy)
    }

    fn states_in(&self, life: Life, applied: usize, policy: &ResourcePolicy) -> States {
        let mut states = States::new();
        for field in &policy.fields {
            let name = self.index.get_key_value(field.name.as_str()).map(|(name, _)| Arc::clone(name));
            let name = name.unwrap_or_else(|| field.name.as_str().into());
            let known = self.known(&name, life, applied);
            let unsure = field.silent && !known.settled;
            let state = if !field.tracked {
                State::Unknown(Unknown::NotRecorded)
            } else if field.masked {
                State::Unknown(Unknown::Masked)
            } else if field.transformed {
                State::Unknown(Unknown::Transformed)
            } else if unsure && matches!(known.state, State::Known(..)) {
                State::Unknown(Unknown::Silent)
            } else {
                known.state
            };
            // What isn't shown of a field isn't shown of its past either.
            let last = known.last.filter(|_| field.is_recorded_as_it_is());
            states.insert(name, Known { state, last });
        }
        for name in self.index.keys() {
            if !states.contains_key(name) {
                let Knowledge { state, last, .. } = self.known(name, life, applied);
                // A column that is no more, and that wasn't there then either.
                if last.is_some() || matches!(state, State::Known(..)) {
                    states.insert(Arc::clone(name), Known { state, last });
                }
            }
        }
        states
    }

    fn known(&self, name: &str, life: Life, applied: usize) -> Knowledge {
        let places = self.index.get(name).map_or(&[][..], Vec::as_slice);
        let middle = places.partition_point(|at| *at < applied);
        let (before, after) = places.split_at(middle);
        let sides = |at: &usize| self.events.get(*at).and_then(|event| event.fields.get(name));
        let last = before
            .iter()
            .rev()
            .take_while(|at| **at >= life.from)
            .find_map(|at| Some((*at, sides(at)?.new.clone()?)));
        let next = after.iter().take_while(|at| **at < life.to).find_map(|at| sides(at)?.old.clone());
        let just_now = last.as_ref().is_some_and(|(at, _)| at + 1 == applied);
        let settled = just_now || next.is_some();
        let state = match (&last, &next) {
            (Some((_, last)), Some(next)) if !just_now && last != next => {
                State::Unknown(marked(last).or(marked(next)).unwrap_or(Unknown::Contradicted))
            }
            (Some((_, last)), _) => shown(last, Source::Recorded),
            // Its beginning was recorded without this field: it wasn't recorded then, or not even there.
            (None, _) if life.created => State::Unknown(Unknown::NotRecorded),
            (None, Some(next)) => shown(next, Source::Inferred),
            (None, None) => State::Unknown(Unknown::BeforeFirstEntry),
        };
        Knowledge { state, last: last.map(|(_, last)| last).filter(|last| marker(last).is_none()), settled }
    }
}

struct Knowledge {
    state: State,
    last: Option<Arc<str>>,
    /// An entry at this very moment or a later one tells the value.
    settled: bool,
}

fn marked(recorded: &str) -> Option<Unknown> {
    marker(recorded).map(|marker| match marker {
        Marker::Masked => Unknown::Masked,
        Marker::Sanitised => Unknown::Sanitised,
        Marker::Oversized => Unknown::Oversized,
    })
}

pub(crate) fn shown(recorded: &Arc<str>, source: Source) -> State {
    match marked(recorded) {
        Some(why) => State::Unknown(why),
        None => State::Known(Arc::clone(recorded), source),
    }
}
