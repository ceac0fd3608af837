//! What capture has to do about a statement.

mod own;
mod refusal;
mod settings;
mod sort;
mod step;
mod tables;

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sea_orm::DbBackend;

use super::catalogue::Catalogue;
use super::reads::Reads;
use super::sql::{Parsed, Script, TableName, What};
use crate::Registry;
pub(super) use refusal::{About, Refusal, may_record};
pub(super) use settings::is_harmless;
use settings::{DEPENDS, begins, changes_names, names_one, sets_names, sets_unnamed};
use sort::leads;
pub(super) use step::{Step, target_of};
use tables::{Tables, name_of};

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
    /// Whether names may mean other tables after it.
    pub(super) renames: bool,
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

impl Plan {
    /// The statements to capture.
    pub(super) fn steps(&self) -> &[Step] {
        match self {
            Self::Capture(steps) => steps,
            _ => &[],
        }
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
            tables: Tables::new(registry, backend),
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
        let renames =
            script.statements.iter().any(|parsed| changes_names(&parsed.what)) || sets_names(sql, script);
        let plan = Arc::new(Planned { plan, reads, divides, begins, writes, renames });
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
                tables.filter_map(|name| table(&name_of(name))).collect()
            }
        };
        let there = |name: &TableName| {
            catalogue.is_none_or(|catalogue| table(name).is_some_and(|audited| catalogue.has(&audited)))
        };
        let all = || {
            let names =
                self.tables.all().map(|audited| TableName { schema: None, ..name_of(&audited.policy.table) });
            names.filter(there).collect()
        };
        let parsed = script.statements.iter();
        parsed.filter_map(|parsed| Reads::of(sql, self.backend, parsed, &audited, &all)).collect()
    }

    fn plan(&self, script: Script, catalogue: &Catalogue) -> Result<Plan, Refusal> {
        let steps = script.statements.into_iter().map(|parsed| self.step(parsed, catalogue));
        let mut steps: Vec<Step> = steps.collect::<Result<_, _>>()?;
        if let (DbBackend::Sqlite, [step]) = (self.backend, steps.as_mut_slice()) {
            // Triggers that name a column which another connection has renamed are in the way of what is defined of any table.
            step.needs_way = !step.captured && matches!(step.parsed.what, What::Define(_));
            step.captured |= step.needs_way;
        }
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
        if let Some(sets) = steps.iter().position(|step| changes_names(&step.parsed.what)) {
            // Which of them then have audited rows behind them isn't known yet.
            let mut after = steps.get(sets + 1..).unwrap_or_default().iter();
            if !self.tables.is_empty() && after.any(|step| target_of(&step.parsed).is_some()) {
                let why =
                    "this text sets what their names mean, and then writes; send the statements one by one";
                return Err(format!("audited tables may be concerned, and {why}").into());
            }
        }
        let matters = |step: &Step| match &step.parsed.what {
            What::Define(names) => step.captured || names.iter().any(|name| leads(catalogue, name)),
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
    pub(super) fn doubt(&self, sql: &str, script: &Script) -> Option<Refusal> {
        let text = sql.to_lowercase();
        let sets = script.statements.iter().flat_map(|parsed| &parsed.functions);
        if sets.clone().any(|name| name.ends_with("set_config")) && (sets_unnamed(&text) || names_one(&text))
        {
            let reason =
                "settings can change what statements mean; name the setting, and none that capture relies on";
            return Some(Refusal { about: About::Setting, ..reason.to_owned().into() });
        }
        let named = || self.tables.names().find(|name| text.contains(name.as_str()));
        if script.depends_on_sql_mode
            && let Some(name) = named()
        {
            let unread = script.statements.iter().find_map(|parsed| match &parsed.what {
                What::Unreadable { reason, .. } => Some(reason),
                _ => None,
            });
            let reason = match unread {
                Some(reason) => format!(
                    "`{name}` is audited, and this statement may change it but can't be parsed: {reason}"
                ),
                None => format!("`{name}` is audited, and this text may change it: {DEPENDS}"),
            };
            return Some(reason.into());
        }
        None
    }
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

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans").field("cached", &self.cache.len()).finish_non_exhaustive()
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
