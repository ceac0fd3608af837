//! Which statements are captured, and which are refused.

use std::sync::{Arc, OnceLock};

use sea_orm::DbBackend;

use super::own::{append_only, is_own, own, redefined, rewrites};
use super::settings::changes_meaning;
use super::step::{is_wanted, target_of};
use super::{About, Plans, Refusal, Step};
use crate::capture::catalogue::{Catalogue, OtherName};
use crate::capture::sql::{Conflict, Parsed, TableName, What, Words};
use crate::registry::Audited;

/// What of concern a text names, or may name.
struct Concern<'a> {
    /// What is said of it in errors.
    says: String,
    /// A name under which other rows are written.
    other: Option<&'a OtherName>,
    /// A table that isn't audited, and that audited rows follow.
    parent: Option<&'a str>,
}

impl Plans {
    /// What has to be done about a statement.
    pub(super) fn step(&self, parsed: Parsed, catalogue: &Catalogue) -> Result<Step, Refusal> {
        let mut step = Step {
            parsed,
            target: None,
            others: Vec::new(),
            captured: false,
            needs_way: false,
            rewritten: OnceLock::new(),
        };
        if let What::Other { words, .. } | What::Unreadable { words, .. } = &step.parsed.what
            && let Some(name) = redefined(words)
        {
            return Err(own(name));
        }
        match &step.parsed.what {
            What::Read | What::Transaction | What::Upkeep => {}
            // Such a setting is about every table, so none is named.
            What::Setting(names) => {
                if let Some(name) = changes_meaning(names) {
                    let reason = format!(
                        "`{name}` changes what statements mean, and capture relies on it; set it on a connection of its own"
                    );
                    return Err(setting(reason));
                }
            }
            What::Insert(_) | What::Update(_) | What::Delete(_) => self.write(&mut step, catalogue)?,
            What::Truncate(_) | What::Define(_) => self.whole(&mut step, catalogue)?,
            What::Other { reason, tables, .. } if empties(reason) && !self.tables.is_empty() => {
                let reason =
                    format!("tables are audited, and this statement may empty them unseen: {reason}");
                let mut refusal = self.refuse(reason, tables);
                refusal.any = self.tables.all().cloned().collect();
                return Err(refusal);
            }
            // SQLite's triggers see what it does, whatever it is.
            What::Other { words, .. } if self.backend == DbBackend::Sqlite => {
                step.captured = self.tables.names().any(|name| words.may_mean(name))
                    || self.parent_in(words, catalogue).is_some();
            }
            What::Other { reason, tables, words } => {
                if let Some(concern) = self.concern(tables, words, catalogue) {
                    let text = format!("{}, and this statement can't be recorded: {reason}", concern.says);
                    let mut refusal = self.refuse(text, tables);
                    refusal.why.clone_from(reason);
                    refusal.tables.extend(self.meant(words));
                    refusal.tables.extend(concern.other.and_then(|other| self.registered(other)));
                    // What foreign keys do to tables isn't looked at either.
                    let leads =
                        |name: &TableName| catalogue.parent(name).is_some() && catalogue.reaches(&name.name);
                    let indirect = concern.parent.is_some() || concern.other.is_some();
                    if words.incomplete || indirect || tables.iter().any(leads) {
                        refusal.any = self.tables.all().cloned().collect();
                    }
                    refusal.tables.sort_by(|a, b| a.policy.table.cmp(&b.policy.table));
                    refusal.tables.dedup_by(|a, b| Arc::ptr_eq(a, b));
                    return Err(refusal);
                }
            }
            What::Unreadable { reason, words } => {
                if let Some(concern) = self.concern(&[], words, catalogue) {
                    let text = format!(
                        "{}, and this statement may change it but can't be parsed: {reason}",
                        concern.says
                    );
                    // It must neither end the transaction that its entry is in, nor switch off capture.
                    let harmful = super::settings::is_harmful(words);
                    let mut refusal = Refusal::from(text);
                    refusal.why.clone_from(reason);
                    if !harmful {
                        refusal.tables = self.meant(words);
                        refusal.tables.extend(concern.other.and_then(|other| self.registered(other)));
                    }
                    let indirect = concern.parent.is_some() || concern.other.is_some();
                    if !harmful && (words.incomplete || indirect) {
                        refusal.any = self.tables.all().cloned().collect();
                    }
                    return Err(refusal);
                }
            }
        }
        Ok(step)
    }

    /// A statement that writes rows of one table.
    fn write(&self, step: &mut Step, catalogue: &Catalogue) -> Result<(), Refusal> {
        let Some(name) = target_of(&step.parsed) else { return Ok(()) };
        if let Some(name) = rewrites(&step.parsed.what) {
            return Err(append_only(name));
        }
        if name.name == "pg_settings" {
            return Err(setting("settings can change what statements mean; use SET".to_owned()));
        }
        // Only deletes and updates reach other tables by foreign keys; on SQLite, triggers count as well.
        let removes = match &step.parsed.what {
            What::Insert(insert) => {
                self.backend == DbBackend::Sqlite
                    || matches!(insert.conflict, Conflict::Replace | Conflict::Update { .. })
            }
            _ => true,
        };
        match catalogue.other(name) {
            Some(other) if other.audited => {
                let reason = format!("{}; write to that table", stands_for(&name.name, other));
                return Err(Refusal {
                    tables: self.registered(other).into_iter().collect(),
                    ..reason.into()
                });
            }
            Some(other) if removes || other.holds_rows && other.ruled => {
                return Err(format!(
                    "`{}` is a view or a partition of `{}`, or has rules about it, and audited rows follow that by foreign keys; \
                     write to that table",
                    name.name, other.table
                )
                .into());
            }
            _ => {}
        }
        let target = self.audited(name)?.cloned();
        let wanted = target.as_ref().is_some_and(|target| is_wanted(&step.parsed.what, target));
        step.captured = wanted || (removes && catalogue.reaches(&name.name));
        step.target = target;
        Ok(())
    }

    /// A statement about tables as a whole.
    fn whole(&self, step: &mut Step, catalogue: &Catalogue) -> Result<(), Refusal> {
        let (What::Truncate(names) | What::Define(names)) = &step.parsed.what else { return Ok(()) };
        for name in names {
            if is_own(&name.name) {
                return Err(own(&name.name));
            }
            // Of another schema it is another table.
            let other = |audited: &&Arc<Audited>| match (&name.schema, catalogue.table(audited)) {
                (Some(schema), Some(facts)) if self.backend == DbBackend::Postgres => facts.id.0 != *schema,
                _ => false,
            };
            step.others.extend(self.audited(name)?.filter(|audited| !other(audited)).cloned());
            if let Some(other) = catalogue.other(name).filter(|other| other.audited && other.holds_rows) {
                step.others.extend(self.registered(other));
            }
        }
        // A table may be named together with a part of it.
        step.others.sort_by(|a, b| a.policy.table.cmp(&b.policy.table));
        step.others.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let sqlite = self.backend == DbBackend::Sqlite;
        // SQLite's triggers name the tables that labels come from, and would be in the way.
        let labels = sqlite && names.iter().any(|name| self.tables.gives_labels(name));
        // On SQLite, rows of a table that is dropped are deleted before, and others follow.
        let cascades = sqlite && names.iter().any(|name| catalogue.reaches(&name.name));
        step.captured = !step.others.is_empty() || labels || cascades;
        Ok(())
    }

    /// A refusal of a statement that may change these tables.
    fn refuse<'a>(&self, reason: String, names: impl IntoIterator<Item = &'a TableName>) -> Refusal {
        let audited = |name| self.tables.get(name)?.as_ref().ok().cloned();
        Refusal { tables: names.into_iter().filter_map(audited).collect(), ..Refusal::from(reason) }
    }

    /// What of concern a text names: one of the tables that it mentions, or else any word of it.
    fn concern<'a>(
        &self,
        tables: &[TableName],
        words: &Words,
        catalogue: &'a Catalogue,
    ) -> Option<Concern<'a>> {
        let parent = self.parent_in(words, catalogue);
        let other = catalogue.other_in(words);
        let named =
            tables.iter().find(|name| self.tables.get(name).is_some() || catalogue.reaches(&name.name));
        let says = if let Some(name) = named.map(|name| name.name.as_str()).or_else(|| self.named(words)) {
            match self.tables.has(name) {
                true => format!("`{name}` is audited"),
                false => follow(name),
            }
        } else if let Some(name) = parent {
            follow(name)
        } else if let Some((name, other)) = other {
            if other.audited { stands_for(name, other) } else { follow(name) }
        } else if words.incomplete && !self.tables.is_empty() {
            "a table that is audited may be meant".to_owned()
        } else {
            return None;
        };
        Some(Concern { says, other: other.map(|(_, other)| other), parent })
    }

    /// An audited table whose name is in a text.
    fn named(&self, words: &Words) -> Option<&str> {
        self.tables.names().find(|name| words.has(name)).map(String::as_str)
    }

    /// What the table is audited as whose rows another name stands for.
    fn registered(&self, other: &OtherName) -> Option<Arc<Audited>> {
        self.tables.get(&super::tables::name_of(&other.table))?.as_ref().ok().cloned()
    }

    /// A table in a text that isn't audited, and that audited rows follow.
    fn parent_in<'a>(&self, words: &Words, catalogue: &'a Catalogue) -> Option<&'a str> {
        let mut reaching = catalogue.reaching_in(words).map(String::as_str);
        reaching.find(|name| !self.tables.has(name))
    }

    /// The audited tables whose names are in a text.
    fn meant(&self, words: &Words) -> Vec<Arc<Audited>> {
        self.tables.in_words(words).cloned().collect()
    }

    fn audited(&self, name: &TableName) -> Result<Option<&Arc<Audited>>, String> {
        self.tables.get(name).map(|audited| audited.as_ref().map_err(Clone::clone)).transpose()
    }
}

/// Whether a statement may empty tables that it doesn't name.
fn empties(reason: &str) -> bool {
    reason.contains("TRUNCATE") || reason.contains("DROP of more")
}

fn setting(reason: String) -> Refusal {
    Refusal { about: About::Setting, ..reason.into() }
}

fn stands_for(name: &str, other: &OtherName) -> String {
    format!("`{name}` is a view, a partition or a relative of `{}`, which is audited", other.table)
}

fn follow(name: &str) -> String {
    format!("audited rows follow `{name}`")
}

/// Whether audited rows may follow what is written under this name.
pub(super) fn leads(catalogue: &Catalogue, name: &TableName) -> bool {
    catalogue.reaches(&name.name) || catalogue.other(name).is_some_and(|other| !other.audited)
}
