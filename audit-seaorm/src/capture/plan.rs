//! What capture has to do about a statement.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use audit_core::{Unplannable, action};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sea_orm::DbBackend;

use super::catalogue::Catalogue;
use super::postgres;
use super::reads::Reads;
use super::sql::{Conflict, Parsed, Script, TableName, What, Words, outline};
use super::unplanned::Unplanned;
use crate::Registry;
use crate::registry::Audited;

/// Memory that plans may take, in bytes of their statements' texts.
const CACHED: u64 = 8 << 20;

/// A text that is longer is planned each time: the plans of a few such texts would drive out all others.
const LONGEST: usize = 256 << 10;

/// What is known of a text of SQL.
#[derive(Debug)]
pub(super) struct Planned {
    /// What capture has to do about what it writes.
    pub(super) plan: Plan,
    /// What it reads and is to be recorded.
    pub(super) reads: Vec<Reads>,
    /// Whether it may begin, end or divide a transaction by itself.
    pub(super) divides: bool,
    /// Whether it leaves a transaction open.
    pub(super) begins: bool,
    /// Whether it does more than read.
    pub(super) writes: bool,
}

/// What capture has to do about what a text of SQL writes.
#[derive(Debug)]
pub(super) enum Plan {
    /// Nothing: it changes no audited table.
    Pass,
    /// It defines tables that aren't audited: what is known of the database has to be read again.
    Redefine,
    /// Record what it changes, statement by statement.
    Capture(Vec<Step>),
    /// Refuse it, or record that it was done: it may change an audited table in a way that can't be recorded row by row.
    Refuse(Refusal),
}

/// Why a statement can't be captured.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Which table, and why.
    pub(super) reason: String,
    /// Why, whichever table it is.
    why: String,
    /// The audited tables that it may change, as far as its text tells.
    tables: Vec<Arc<Audited>>,
    /// All audited tables, if its text doesn't tell. With none of either, it must not be done at all.
    any: Vec<Arc<Audited>>,
    /// Whether it would change what is the audit's own.
    pub(super) own: bool,
}

impl Refusal {
    /// What is to be recorded of it, if it may be done.
    pub(super) fn recorded(&self) -> Option<Unplanned> {
        let Self { why, tables, any, .. } = self;
        let unplanned = || Unplanned { tables: tables.clone(), any: any.clone(), reason: why.clone() };
        may_record(tables.iter().chain(any)).then(unplanned)
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { why: reason.clone(), reason, tables: Vec::new(), any: Vec::new(), own: false }
    }
}

/// Whether statements that can't be recorded row by row may change these tables. There has to be one.
pub(super) fn may_record<'a>(tables: impl IntoIterator<Item = &'a Arc<Audited>>) -> bool {
    let mut tables = tables.into_iter().peekable();
    tables.peek().is_some() && tables.all(|audited| audited.policy.unplannable == Unplannable::Record)
}

impl Plan {
    /// The statements to capture.
    pub(super) fn steps(&self) -> &[Step] {
        match self {
            Self::Capture(steps) => steps,
            _ => &[],
        }
    }
}

/// One statement of a text.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) parsed: Parsed,
    /// What the table that it names is audited as; `None` if it isn't.
    target: Option<Arc<Audited>>,
    /// The audited tables that it changes as a whole.
    others: Vec<Arc<Audited>>,
    /// Whether there is something to record.
    captured: bool,
    /// The statement as PostgreSQL gets it, once it was needed.
    pub(super) rewritten: OnceLock<Result<postgres::Rewritten, String>>,
}

impl Step {
    /// What the table that the statement changes is audited as.
    pub(super) fn target(&self) -> Option<&Arc<Audited>> {
        self.target.as_ref()
    }

    /// All audited tables that it is known to change.
    pub(super) fn audited(&self) -> impl Iterator<Item = &Arc<Audited>> {
        self.target.iter().chain(&self.others)
    }

    /// The schema that it names for that table.
    pub(super) fn schema(&self) -> Option<&str> {
        target_of(&self.parsed)?.schema.as_deref()
    }

    /// The audited tables that a statement changes as a whole.
    pub(super) fn others(&self) -> &[Arc<Audited>] {
        &self.others
    }

    /// Whether what other reads find may decide which rows it changes.
    pub(super) fn chooses_by_reads(&self) -> bool {
        matches!(self.parsed.what, What::Update(_) | What::Delete(_)) && !self.parsed.reads.is_empty()
    }

    /// Whether rows that it doesn't change decide which it does.
    pub(super) fn chooses_by_others(&self) -> bool {
        let limited = match &self.parsed.what {
            What::Update(update) => update.tail.is_some(),
            What::Delete(delete) => delete.tail.is_some(),
            _ => false,
        };
        limited || self.chooses_by_reads()
    }

    /// Whether it changes rows that are in the way of new ones.
    pub(super) fn is_upsert(&self) -> bool {
        matches!(&self.parsed.what, What::Insert(insert) if matches!(insert.conflict, Conflict::Update { .. }))
    }

    /// Whether it deletes rows that are in the way of new ones.
    pub(super) fn replaces(&self) -> bool {
        match &self.parsed.what {
            What::Insert(insert) => insert.conflict == Conflict::Replace,
            What::Update(update) => update.or == Conflict::Replace,
            _ => false,
        }
    }

    /// Whether rows may change by it.
    pub(super) fn is_write(&self) -> bool {
        !matches!(self.parsed.what, What::Read | What::Transaction | What::Setting(_) | What::Upkeep)
    }

    /// What it does to what, for errors.
    pub(super) fn subject(&self) -> (&'static str, &str) {
        let action = match self.parsed.what {
            What::Insert(_) => action::CREATE,
            What::Update(_) => action::UPDATE,
            What::Delete(_) => action::DELETE,
            _ => "write",
        };
        (action, self.target.as_ref().map_or("an audited table", |audited| &audited.policy.resource))
    }
}

/// The plans of the statements that an application sends, by their text.
pub(super) struct Plans {
    backend: DbBackend,
    tables: Tables,
    /// Whether reads of any table are to be recorded.
    records_reads: bool,
    cache: Cache<String, Arc<Planned>, ByLength>,
}

impl Plans {
    pub(super) fn new(registry: &Registry, backend: DbBackend) -> Self {
        Self {
            backend,
            tables: Tables::new(registry),
            records_reads: registry.policies().iter().any(|policy| policy.operations.read),
            cache: Cache::with_weighter(4096, CACHED, ByLength),
        }
    }

    /// The plan of this text, if it was seen before.
    pub(super) fn known(&self, sql: &str) -> Option<Arc<Planned>> {
        self.cache.get(sql)
    }

    /// Remembers a plan, if it is one for others as well.
    pub(super) fn keep(
        &self,
        sql: &str,
        plan: Plan,
        reads: Vec<Reads>,
        script: &Script,
        shared: bool,
    ) -> Arc<Planned> {
        // MySQL commits before it defines anything.
        let divides = |parsed: &Parsed| match parsed.what {
            What::Transaction => true,
            What::Define(_) | What::Truncate(_) | What::Upkeep => self.backend == DbBackend::MySql,
            _ => false,
        };
        let divides = script.statements.iter().any(divides);
        let begins = begins(sql, script, self.backend);
        let writes = script.statements.iter().any(|parsed| !matches!(parsed.what, What::Read));
        let plan = Arc::new(Planned { plan, reads, divides, begins, writes });
        if shared && sql.len() <= LONGEST {
            self.cache.insert(sql.to_owned(), Arc::clone(&plan));
        }
        plan
    }

    /// Forgets a plan.
    pub(super) fn drop(&self, sql: &str) {
        self.cache.remove(sql);
    }

    pub(super) fn clear(&self) {
        self.cache.clear();
    }

    /// Plans a text.
    pub(super) fn make(
        &self,
        sql: &str,
        script: Script,
        catalogue: &Catalogue,
        shared: bool,
    ) -> Arc<Planned> {
        let reads = self.reads(sql, &script, Some(catalogue));
        let plan = self.plan(script.clone(), catalogue).unwrap_or_else(Plan::Refuse);
        self.keep(sql, plan, reads, &script, shared)
    }

    /// Whether a text reads what it doesn't name, where reads are recorded: a view of a table, or the whole database.
    pub(super) fn may_read_unnamed(&self, script: &Script) -> bool {
        let named = |name: &TableName| self.tables.get(name).is_some();
        let unnamed =
            |parsed: &Parsed| matches!(parsed.what, What::Upkeep) || !parsed.reads.iter().all(named);
        self.records_reads && script.statements.iter().any(unnamed)
    }

    /// What a text reads and is to be recorded. Without a catalogue, views stay unknown.
    pub(super) fn reads(&self, sql: &str, script: &Script, catalogue: Option<&Catalogue>) -> Vec<Reads> {
        if !self.records_reads {
            return Vec::new();
        }
        let table = |name: &TableName| self.tables.get(name)?.as_ref().ok().map(Arc::clone);
        let audited = |name: &TableName| match table(name) {
            Some(audited) => vec![audited],
            None => {
                let tables = catalogue.into_iter().flat_map(|catalogue| catalogue.read_by(&name.name));
                let names = tables.map(|name| split_name(&name.to_lowercase()));
                names.filter_map(|(schema, name)| table(&TableName { schema, name })).collect()
            }
        };
        let there = |name: &TableName| {
            catalogue.is_none_or(|catalogue| table(name).is_some_and(|audited| catalogue.has(&audited)))
        };
        let all = || {
            let names = self.tables.names().map(|name| TableName { schema: None, name: name.clone() });
            names.filter(there).collect()
        };
        let parsed = script.statements.iter();
        parsed.filter_map(|parsed| Reads::of(sql, self.backend, parsed, &audited, &all)).collect()
    }

    fn plan(&self, script: Script, catalogue: &Catalogue) -> Result<Plan, Refusal> {
        let steps = script.statements.into_iter().map(|parsed| self.step(parsed, catalogue));
        let steps: Vec<Step> = steps.collect::<Result<_, _>>()?;
        self.one_by_one(&steps, catalogue)?;
        let defines = steps.iter().any(|step| matches!(step.parsed.what, What::Define(_)));
        if !steps.iter().any(|step| step.captured) {
            return Ok(if defines { Plan::Redefine } else { Plan::Pass });
        }
        if steps.len() > 1 && steps.iter().any(|step| matches!(step.parsed.what, What::Transaction)) {
            let why = "a text that begins or ends transactions by itself can't be recorded; use `begin()`";
            return Err(format!("{}: {why}", audited(&steps)).into());
        }
        if script.depends_on_sql_mode {
            return Err(format!("{}: {DEPENDS}", audited(&steps)).into());
        }
        Ok(Plan::Capture(steps))
    }

    /// Refuses writes after a definition that they may be about: what it makes isn't known yet. SQLite's triggers see what they do.
    fn one_by_one(&self, steps: &[Step], catalogue: &Catalogue) -> Result<(), Refusal> {
        let matters = |step: &Step| match &step.parsed.what {
            What::Define(names) => step.captured || names.iter().any(|name| leads(catalogue, &name.name)),
            _ => false,
        };
        let Some(definition) = steps.iter().position(matters) else { return Ok(()) };
        let after = steps.get(definition + 1..).unwrap_or_default();
        let writes = |step: &Step| step.is_write() && !matches!(step.parsed.what, What::Define(_));
        if self.backend == DbBackend::Sqlite || !after.iter().any(writes) {
            return Ok(());
        }
        let why = "this text writes after it has defined something that the write may be about; send the statements one by one";
        Err(format!("audited tables are concerned, and {why}").into())
    }

    /// Whether a text that only reads may be more than it seems.
    pub(super) fn doubt(&self, sql: &str, script: &Script) -> Option<String> {
        let text = sql.to_lowercase();
        let sets = script.statements.iter().flat_map(|parsed| &parsed.functions);
        if sets.clone().any(|name| name.ends_with("set_config"))
            && (sets_unnamed(&text) || CHANGES_MEANING.iter().any(|name| text.contains(name)))
        {
            return Some(
                "settings can change what statements mean; name the setting, and none that capture relies on"
                    .into(),
            );
        }
        let named = || self.tables.names().find(|name| text.contains(name.as_str()));
        if script.depends_on_sql_mode
            && let Some(name) = named()
        {
            let unread = script.statements.iter().find_map(|parsed| match &parsed.what {
                What::Unreadable { reason, .. } => Some(reason),
                _ => None,
            });
            return Some(match unread {
                Some(reason) => format!(
                    "`{name}` is audited, and this statement may change it but can't be parsed: {reason}"
                ),
                None => format!("`{name}` is audited, and this text may change it: {DEPENDS}"),
            });
        }
        None
    }

    fn step(&self, parsed: Parsed, catalogue: &Catalogue) -> Result<Step, Refusal> {
        let sqlite = self.backend == DbBackend::Sqlite;
        let mut step =
            Step { parsed, target: None, others: Vec::new(), captured: false, rewritten: OnceLock::new() };
        if let What::Other { words, .. } | What::Unreadable { words, .. } = &step.parsed.what
            && let Some(name) = redefined(words)
        {
            return Err(own(name));
        }
        match &step.parsed.what {
            What::Read | What::Transaction | What::Upkeep => {}
            // Such a setting is about every table, so none is named.
            What::Setting(names) => {
                if let Some(name) = names.iter().find(|name| CHANGES_MEANING.contains(&name.as_str())) {
                    return Err(
                        format!("`{name}` changes what statements mean, and capture relies on it").into()
                    );
                }
            }
            What::Insert(_) | What::Update(_) | What::Delete(_) => {
                let Some(name) = target_of(&step.parsed) else { return Ok(step) };
                if name.name == "pg_settings" {
                    return Err("settings can change what statements mean; use SET".to_owned().into());
                }
                if let Some(table) = catalogue.stands_for(&name.name) {
                    let reason = format!(
                        "`{}` is a view, a partition or a relative of `{table}`, which is audited; write to that table",
                        name.name
                    );
                    let (schema, name) = split_name(&table.to_lowercase());
                    return Err(self.refuse(reason, [&TableName { schema, name }]));
                }
                // Only deletes and updates reach other tables by foreign keys; on SQLite, triggers count as well.
                let removes = match &step.parsed.what {
                    What::Insert(insert) => {
                        sqlite || matches!(insert.conflict, Conflict::Replace | Conflict::Update { .. })
                    }
                    _ => true,
                };
                if let Some(table) = catalogue.leads_to(&name.name)
                    && (removes || catalogue.is_ruled(&name.name))
                {
                    return Err(format!(
                        "`{}` is a view or a partition of `{table}`, or has rules about it, and audited rows follow that by foreign keys; \
                         write to that table",
                        name.name
                    )
                    .into());
                }
                let target = self.audited(name)?.cloned();
                let wanted = target.as_ref().is_some_and(|target| is_wanted(&step.parsed.what, target));
                step.captured = wanted || (removes && catalogue.reaches(&name.name));
                step.target = target;
            }
            What::Truncate(names) | What::Define(names) => {
                for name in names {
                    if is_own(&name.name) {
                        return Err(own(&name.name));
                    }
                    step.others.extend(self.audited(name)?.cloned());
                    if let Some(table) = catalogue.part_of(&name.name) {
                        let (schema, name) = split_name(&table.to_lowercase());
                        step.others.extend(self.audited(&TableName { schema, name })?.cloned());
                    }
                }
                // A table may be named together with a part of it.
                step.others.sort_by(|a, b| a.policy.table.cmp(&b.policy.table));
                step.others.dedup_by(|a, b| Arc::ptr_eq(a, b));
                // SQLite's triggers name the tables that labels come from, and would be in the way.
                let labels = sqlite && names.iter().any(|name| self.tables.gives_labels(name));
                // On SQLite, rows of a table that is dropped are deleted before, and others follow.
                let cascades = sqlite && names.iter().any(|name| catalogue.reaches(&name.name));
                step.captured = !step.others.is_empty() || labels || cascades;
            }
            What::Other { reason, tables, .. }
                if (reason.contains("TRUNCATE") || reason.contains("DROP of more"))
                    && !self.tables.0.is_empty() =>
            {
                let reason =
                    format!("tables are audited, and this statement may empty them unseen: {reason}");
                let mut refusal = self.refuse(reason, tables);
                refusal.any = self.tables.all().cloned().collect();
                return Err(refusal);
            }
            // SQLite's triggers see what it does, whatever it is.
            What::Other { words, .. } if sqlite => {
                step.captured = self.tables.names().any(|name| words.may_mean(name))
                    || self.parent_in(words, catalogue).is_some();
            }
            What::Other { reason, tables, words } => {
                let named = tables
                    .iter()
                    .find(|name| self.tables.get(name).is_some() || catalogue.reaches(&name.name));
                let named = named.map(|name| &name.name);
                let parent = self.parent_in(words, catalogue);
                let other = catalogue.other_name_in(words);
                if let Some(name) =
                    named.or_else(|| self.named(words)).or(parent).or(other.map(|(name, _)| name))
                {
                    let text = format!(
                        "{}, and this statement can't be recorded: {reason}",
                        self.concern(name, catalogue)
                    );
                    let mut refusal = self.refuse(text, tables);
                    refusal.why.clone_from(reason);
                    refusal.tables.extend(self.meant(words));
                    refusal.tables.extend(other.and_then(|(_, table)| self.registered(table)));
                    // What foreign keys do to tables isn't looked at either.
                    let leads =
                        |name: &TableName| catalogue.parent(name).is_some() && catalogue.reaches(&name.name);
                    if words.incomplete
                        || parent.or(other.map(|(name, _)| name)).is_some()
                        || tables.iter().any(leads)
                    {
                        refusal.any = self.tables.all().cloned().collect();
                    }
                    refusal.tables.sort_by(|a, b| a.policy.table.cmp(&b.policy.table));
                    refusal.tables.dedup_by(|a, b| Arc::ptr_eq(a, b));
                    return Err(refusal);
                }
            }
            What::Unreadable { reason, words } => {
                let parent = self.parent_in(words, catalogue);
                let other = catalogue.other_name_in(words);
                if let Some(name) = self.named(words).or(parent).or(other.map(|(name, _)| name)) {
                    let text = format!(
                        "{}, and this statement may change it but can't be parsed: {reason}",
                        self.concern(name, catalogue)
                    );
                    // It must neither end the transaction that its entry is in, nor switch off capture.
                    let never = ["abort", "commit", "rollback", "set_config"].iter().chain(CHANGES_MEANING);
                    let harmful = never.into_iter().any(|word| words.found.contains(*word));
                    let mut refusal = Refusal::from(text);
                    refusal.why.clone_from(reason);
                    if !harmful {
                        refusal.tables = self.meant(words);
                        refusal.tables.extend(other.and_then(|(_, table)| self.registered(table)));
                    }
                    if !harmful && (words.incomplete || parent.is_some() || other.is_some()) {
                        refusal.any = self.tables.all().cloned().collect();
                    }
                    return Err(refusal);
                }
            }
        }
        Ok(step)
    }

    /// A refusal of a statement that may change these tables.
    fn refuse<'a>(&self, reason: String, names: impl IntoIterator<Item = &'a TableName>) -> Refusal {
        let audited = |name| self.tables.get(name)?.as_ref().ok().cloned();
        Refusal { tables: names.into_iter().filter_map(audited).collect(), ..Refusal::from(reason) }
    }

    /// An audited table that a text may mean; one that is in it, if there is one.
    fn named(&self, words: &Words) -> Option<&String> {
        let there = self.tables.names().find(|name| words.has(name));
        there.or_else(|| self.tables.names().find(|name| words.may_mean(name)))
    }

    /// Why a table is of concern.
    fn concern(&self, name: &str, catalogue: &Catalogue) -> String {
        if self.tables.0.contains_key(&name.to_lowercase()) {
            return format!("`{name}` is audited");
        }
        match catalogue.stands_for(name) {
            Some(table) => {
                format!("`{name}` is a view, a partition or a relative of `{table}`, which is audited")
            }
            None => format!("audited rows follow `{name}`"),
        }
    }

    /// The audited table that is registered under this name.
    fn registered(&self, table: &str) -> Option<Arc<Audited>> {
        let (schema, name) = split_name(&table.to_lowercase());
        self.tables.get(&TableName { schema, name })?.as_ref().ok().cloned()
    }

    /// A table in a text that isn't audited, and that audited rows follow.
    fn parent_in<'a>(&self, words: &Words, catalogue: &'a Catalogue) -> Option<&'a String> {
        catalogue.reaching_in(words).find(|name| !self.tables.0.contains_key(*name))
    }

    /// The audited tables whose names are in a text.
    fn meant(&self, words: &Words) -> Vec<Arc<Audited>> {
        let found = self.tables.0.iter().filter(|(name, _)| words.has(name)).flat_map(|(_, found)| found);
        found.filter_map(|entry| entry.audited.as_ref().ok().cloned()).collect()
    }

    fn audited(&self, name: &TableName) -> Result<Option<&Arc<Audited>>, String> {
        self.tables.get(name).map(|audited| audited.as_ref().map_err(Clone::clone)).transpose()
    }
}

/// Whether audited rows may follow what is written under this name.
fn leads(catalogue: &Catalogue, name: &str) -> bool {
    catalogue.reaches(name) || catalogue.leads_to(name).is_some()
}

/// Whether a text leaves a transaction open.
fn begins(sql: &str, script: &Script, backend: DbBackend) -> bool {
    let mut open = false;
    for parsed in script.statements.iter().filter(|parsed| matches!(parsed.what, What::Transaction)) {
        let text = sql.get(parsed.range.clone()).unwrap_or_default();
        let words = outline(text, backend).text.unwrap_or_default().to_ascii_uppercase();
        let has = |word: &str| words.split_whitespace().any(|other| other == word);
        open = match words.split_whitespace().next() {
            Some("BEGIN" | "START" | "XA") => true,
            // SQLite's first savepoint begins one, which its release ends.
            Some("SAVEPOINT") => open || backend == DbBackend::Sqlite,
            Some("RELEASE") => open && backend != DbBackend::Sqlite,
            Some("COMMIT" | "END" | "ROLLBACK" | "ABORT") => has("CHAIN") && !has("NO") || open && has("TO"),
            _ => open,
        };
    }
    open
}

/// Says of the first statement to be captured which table it changes.
fn audited(steps: &[Step]) -> String {
    let name = |step: &Step| match step.audited().next() {
        Some(audited) => audited.policy.table.clone(),
        // What foreign keys of it reach is audited.
        None => target_of(&step.parsed).map(|name| name.name.clone()).unwrap_or_default(),
    };
    let table = steps.iter().find(|step| step.captured).map(name).unwrap_or_default();
    format!("`{table}` is audited, and this text changes it")
}

/// Whether a call of `set_config` in a text in lower case doesn't name its setting by a plain literal.
fn sets_unnamed(text: &str) -> bool {
    text.split("set_config").skip(1).any(|rest| {
        let name =
            rest.trim_start_matches(['"', ' ', '\t', '\n', '\r']).strip_prefix('(').map(str::trim_start);
        let after = name.and_then(|name| name.strip_prefix('\'')).and_then(|name| name.split_once('\''));
        !after.is_some_and(|(_, after)| after.trim_start().starts_with(','))
    })
}

const DEPENDS: &str = "what a backslash or a double quote means in this text depends on the server's settings; pass values as parameters";

/// Settings that change how a text is read, or switch off what capture stands on.
const CHANGES_MEANING: &[&str] = &[
    "count_changes",
    "extra_float_digits",
    "full_column_names",
    "recursive_triggers",
    "session_replication_role",
    "short_column_names",
    "sql_mode",
    "sql_select_limit",
    "standard_conforming_strings",
];

/// Whether nothing has to be known of the database to let a statement pass. Nothing may be asked before some settings, as that of a
/// transaction's isolation.
pub(super) fn is_harmless(what: &What) -> bool {
    match what {
        What::Read | What::Transaction | What::Upkeep => true,
        What::Setting(names) => !names.iter().any(|name| CHANGES_MEANING.contains(&name.as_str())),
        _ => false,
    }
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans").field("cached", &self.cache.len()).finish_non_exhaustive()
    }
}

/// Whether what the statement does to the table's rows makes entries.
fn is_wanted(what: &What, target: &Audited) -> bool {
    let operations = target.policy.operations;
    match what {
        What::Insert(insert) if matches!(insert.conflict, Conflict::None) => operations.create,
        What::Update(update) if matches!(update.or, Conflict::None) => operations.update,
        What::Delete(_) => operations.delete,
        _ => operations.create || operations.update || operations.delete,
    }
}

/// Whether it is a table or view of the audit, or a guard of one: who redefines these switches capture or its guards off.
fn is_own(name: &str) -> bool {
    const GUARDS: [&str; 4] = ["append_only", "refuse_", "replace_guard", "truncate_guard"];
    let name = name.to_ascii_lowercase();
    // What capture has put on SQLite's connections.
    if name.starts_with("audit_capture_") {
        return true;
    }
    crate::entity::own().any(|own| {
        let rest = name.strip_prefix(own);
        rest == Some("")
            || rest
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(|rest| GUARDS.iter().any(|guard| rest.starts_with(guard)))
    })
}

/// The refusal of a change of what is the audit's own.
fn own(name: &str) -> Refusal {
    let reason = format!("`{name}` is the audit's own; migrations change it, over another connection");
    Refusal { own: true, ..reason.into() }
}

/// Something of the audit's own that a text names which may redefine it, whatever it is: a block of code, say.
fn redefined(words: &Words) -> Option<&String> {
    const VERBS: [&str; 5] = ["alter", "disable", "drop", "replace", "truncate"];
    let redefines = VERBS.iter().any(|verb| words.found.contains(*verb));
    words.found.iter().find(|word| redefines && is_own(word))
}

/// The table that a statement names as the one that it changes.
pub(super) fn target_of(parsed: &Parsed) -> Option<&TableName> {
    match &parsed.what {
        What::Insert(insert) => Some(&insert.target.name),
        What::Update(update) => Some(&update.target.name),
        What::Delete(delete) => Some(&delete.target.name),
        _ => None,
    }
}

/// A registered table's name in its parts.
fn split_name(name: &str) -> (Option<String>, String) {
    match name.split_once('.') {
        Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
        None => (None, name.to_owned()),
    }
}

/// The audited tables by the names that statements use.
#[derive(Debug)]
struct Tables(BTreeMap<String, Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    schema: Option<String>,
    audited: Result<Arc<Audited>, String>,
}

impl Tables {
    fn new(registry: &Registry) -> Self {
        let mut tables: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (name, audited) in registry.tables() {
            let (schema, name) = split_name(&name.to_lowercase());
            tables.entry(name).or_default().push(Entry { schema, audited: audited.clone() });
        }
        Self(tables)
    }

    /// What the table with this name is audited as. Case is disregarded, and a schema counts only where both sides name
    /// one: which table an unqualified name means is known to the database alone, and rather one too many is captured.
    fn get(&self, name: &TableName) -> Option<&Result<Arc<Audited>, String>> {
        let candidates = self.0.get(&name.name.to_lowercase())?;
        let schema = name.schema.as_ref().map(|schema| schema.to_lowercase());
        let exact = candidates.iter().find(|entry| entry.schema == schema);
        let entry =
            exact.or_else(|| candidates.iter().find(|entry| entry.schema.is_none() || schema.is_none()))?;
        Some(&entry.audited)
    }

    /// Whether labels come from the table with this name.
    fn gives_labels(&self, name: &TableName) -> bool {
        let audited = self.0.values().flatten().filter_map(|entry| entry.audited.as_ref().ok());
        let mut tables = audited.flat_map(|audited| &audited.references).map(|reference| &reference.table);
        tables
            .any(|table| table.rsplit('.').next().is_some_and(|table| table.eq_ignore_ascii_case(&name.name)))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Audited>> {
        self.0.values().flatten().filter_map(|entry| entry.audited.as_ref().ok())
    }

    /// The tables' names, in lower case, without schemas.
    fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// Plans weigh as much as their texts.
#[derive(Clone, Debug)]
struct ByLength;

impl Weighter<String, Arc<Planned>> for ByLength {
    fn weight(&self, sql: &String, _: &Arc<Planned>) -> u64 {
        sql.len() as u64 + 256
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::{CACHED, DbBackend, LONGEST, Plan, Plans};
    use crate::Audit;

    #[test]
    fn c18_plans_take_a_bounded_amount_of_memory() {
        let audit = Audit::builder().build().unwrap();
        let plans = Plans::new(audit.registry(), DbBackend::Postgres);
        let keep = |text: &str| {
            let script = crate::capture::sql::read("SELECT 1", DbBackend::Postgres);
            plans.keep(text, Plan::Pass, Vec::new(), &script, true);
        };
        let text = |n: usize, length: usize| format!("SELECT {n} /* {} */", "x".repeat(length));
        // Small ones by the thousand, and long ones of many times the bound.
        for (count, length) in [(100_000, 10), (2_000, 20_000)] {
            for n in 0..count {
                keep(&text(n, length));
                assert!(plans.cache.weight() <= CACHED, "{n} of {length}: {}", plans.cache.weight());
            }
            let kept = (0..count).filter(|n| plans.known(&text(*n, length)).is_some()).count();
            assert!(kept > 10 && kept < count, "{kept} of {count} texts of {length}");
            plans.clear();
            assert_eq!((plans.cache.len(), plans.cache.weight()), (0, 0));
        }
        // One that would drive out many others isn't kept at all.
        let before = plans.cache.len();
        keep(&text(0, LONGEST));
        assert!(plans.known(&text(0, LONGEST)).is_none());
        assert_eq!(plans.cache.len(), before);
    }

    /// Prints what looking up a plan takes; docs/BENCHMARKS.md says how to run it.
    #[test]
    #[ignore = "a measurement, meaningful in release builds only"]
    fn a_plan_that_is_known_is_found_within_a_microsecond() {
        let audit = Audit::builder().build().unwrap();
        let plans = Plans::new(audit.registry(), DbBackend::Postgres);
        let texts: Vec<String> = (0..200)
            .map(|n| {
                format!(
                    "UPDATE \"account_{n}\" SET \"owner\" = $1, \"balance\" = $2, \"rating\" = $3 WHERE \"account_{n}\".\"id\" = $4 \
                     RETURNING \"id\", \"owner\", \"email\", \"city\", \"balance\", \"overdraft\", \"active\", \"rating\", \"opened\""
                )
            })
            .collect();
        for text in &texts {
            plans.keep(
                text,
                Plan::Pass,
                Vec::new(),
                &crate::capture::sql::read(text, DbBackend::Postgres),
                true,
            );
        }
        let mut rounds: Vec<u128> = (0..101)
            .map(|_| {
                let start = Instant::now();
                for text in &texts {
                    assert!(black_box(plans.known(black_box(text))).is_some());
                }
                start.elapsed().as_nanos() / 200
            })
            .collect();
        rounds.sort_unstable();
        eprintln!("a look-up: median {} ns ({} .. {})", rounds[50], rounds[0], rounds[100]);
        assert!(rounds[50] < 1_000, "{rounds:?}");
    }
}
