//! How a row differs between two moments.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::timeline::{State, States, Timeline};
use super::version::{FieldState, Unknown};
use crate::decode::exact_json;
use crate::registry::Audited;

/// How a row differs between two moments.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// Whether the row was there at the first moment.
    pub existed_before: bool,
    /// Whether it was there at the second.
    pub exists_after: bool,
    /// The fields that differ, in the order of their names; also those that an entry in between changed and of which a value
    /// isn't known, such as masked ones.
    pub fields: Vec<FieldDifference>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FieldDifference {
    /// Its name in entries.
    pub name: String,
    /// What is known of it at the first moment; nothing if the row wasn't there.
    pub old: Option<FieldState>,
    /// What is known of it at the second.
    pub new: Option<FieldState>,
}

impl Difference {
    pub(super) fn between(
        audited: &Audited,
        timeline: &Timeline,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Self {
        let (first, second) = (timeline.at(from), timeline.at(to));
        let old = timeline.states(first, &audited.policy);
        let new = timeline.states(second, &audited.policy);
        let (existed_before, exists_after) = (old.is_some(), new.is_some());
        let touched: BTreeSet<&str> = timeline
            .events
            .iter()
            .take(second)
            .skip(first)
            .flat_map(|event| event.changed.iter().map(String::as_str))
            .collect();
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).map(|name| &**name).collect();
        let fields = names.into_iter().filter(|name| differs(&old, &new, name, touched.contains(name)));
        let fields = fields.map(|name| FieldDifference {
            name: name.to_owned(),
            old: old.get(name).map(|known| shown(&known.state)),
            new: new.get(name).map(|known| shown(&known.state)),
        });
        Self { existed_before, exists_after, fields: fields.collect() }
    }
}

fn differs(old: &States, new: &States, name: &str, touched: bool) -> bool {
    match (old.get(name).map(|known| &known.state), new.get(name).map(|known| &known.state)) {
        (Some(State::Known(old, _)), Some(State::Known(new, _))) => old != new,
        (Some(_), Some(_)) => touched,
        _ => true,
    }
}

fn shown(state: &State) -> FieldState {
    match state {
        State::Unknown(why) => FieldState::Unknown(*why),
        State::Known(recorded, _) => {
            exact_json(recorded).map_or(FieldState::Unknown(Unknown::Unreadable), FieldState::Known)
        }
    }
}
