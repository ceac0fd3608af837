//! Whether everything that a program can write is audited, or waived by name with a reason.
//!
//! ```no_run
//! # async fn example(db: &sea_orm::DatabaseConnection) -> Result<(), Box<dyn std::error::Error>> {
//! use audit_seaorm::Audit;
//! let audit = Audit::builder()
//!     .waive("session", "no business data; rows live for an hour")
//!     .waive("bank_account.legacy_flag", "nothing writes it any more")
//!     .waive("page_view:update", "only the counter changes")
//!     .build()?;
//! println!("{}", audit.coverage(db).await?);    // a table of what is audited, waived and missing
//! audit.require_coverage(db).await?;            // at start-up: an error that lists each gap and what to do
//! # Ok(()) }
//! ```

mod guards;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use audit_core::{Error, Operations, action, closest_name};
use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;

use crate::Audit;
use crate::entity;
use crate::registry::{Audited, Fate, Known};
use crate::store::to_db_err;
use guards::Guards;
use tables::{Table, Tables};

/// Names of our own tables begin so, those of other programs shouldn't.
const OWN: &str = "audit_";
/// In a waiver of an action: of every table.
const ALL: &str = "*";
/// Where SeaORM's migrator keeps its account.
const MIGRATIONS: &str = "seaql_migrations";

/// What is audited of a database; see [`Audit::coverage`]. `Display` shows it as a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Coverage {
    /// One row for each table, ordered by name; then the waivers that are about nothing.
    pub tables: Vec<TableCoverage>,
}

/// What is audited of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TableCoverage {
    /// The table, with its schema where its name alone doesn't mean it. Of a waiver about nothing: the waiver's name.
    pub table: String,
    /// Path of the type of its entity, where the audit knows one.
    pub entity: Option<String>,
    /// Whether it is audited.
    pub state: State,
    /// Columns of an audited table that its entity doesn't know and nobody waived: what is written there isn't recorded.
    pub unknown_columns: Vec<String>,
    /// Writes to an audited table that attributes or configuration leave out, and nobody waived: `create`, `update`, `delete`.
    pub unrecorded_actions: Vec<&'static str>,
    /// Writes that are left out with a reason.
    pub waived_actions: BTreeMap<&'static str, String>,
    /// Whether `#[audited]` stands on the entity's hooks; without it they see nothing, and only an
    /// [`AuditConnection`](crate::AuditConnection) does.
    pub hooks: bool,
}

/// Whether a table is audited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Its writes are recorded.
    Audited {
        /// Under which name.
        resource: String,
    },
    /// It isn't, and somebody said why.
    Waived {
        /// Why.
        reason: String,
    },
    /// It isn't, and nobody said why.
    Uncovered {
        /// What the audit knows about it.
        cause: String,
    },
    /// It is to be audited, but the database has no such table.
    Missing,
    /// A table of the audit itself isn't there, or not as it has to be: nothing could be recorded.
    Unmigrated {
        /// What is missing.
        cause: String,
    },
    /// A table of the audit's records can be changed: guards of it are gone or switched off. A waiver with the table's name says
    /// why they may be. MySQL and MariaDB show them to those who may see triggers.
    Unguarded {
        /// Their names.
        missing: Vec<String>,
    },
    /// A name in the configuration that is no entity's: it does nothing, and something may be audited, or treated, as nobody
    /// wanted. It may be right for a resource of operations that are recorded by hand; then it is to be waived.
    Unmatched {
        /// The setting that has it.
        setting: &'static str,
    },
    /// A waiver of something that isn't there.
    Stale {
        /// The reason that it gives.
        reason: String,
    },
}

impl Audit {
    /// Compares the tables of the database's current schema, and of schemas that entities name, with what this audit
    /// records and what is waived by name with a reason: by `#[audit(skip, reason = "..")]`,
    /// [`AuditBuilder::waive`](crate::AuditBuilder::waive) or [`Config::waivers`](crate::Config::waivers).
    ///
    /// Views aren't tables, partitions belong to their parent. Left out are the tables of the database itself, of its
    /// extensions and of migrators, and those whose names begin with `audit_`, unless an entity has one. Of the audit's own tables
    /// those are in the report that it needs and that aren't there, or can be changed.
    ///
    /// # Errors
    /// The database's.
    pub async fn coverage<C: ConnectionTrait>(&self, db: &C) -> Result<Coverage, DbErr> {
        let known = self.registry().known();
        let schemas: BTreeSet<String> =
            known.iter().filter_map(|known| Some(known.table.split_once('.')?.0.to_owned())).collect();
        let schemas: Vec<String> = schemas.into_iter().collect();
        let tables = Tables::load(db, &schemas).await?;
        let guards = Guards::load(db).await?;
        Ok(Report { audit: self, known, tables: &tables, guards: &guards }.coverage())
    }

    /// Like [`coverage`](Self::coverage); for start-up.
    ///
    /// # Errors
    /// If there is a [gap](Coverage::gaps): [`Error::Coverage`] as an error that [`is_audit_error`](crate::is_audit_error)
    /// knows. It lists each gap with what to do about it. Otherwise the database's.
    pub async fn require_coverage<C: ConnectionTrait>(&self, db: &C) -> Result<Coverage, DbErr> {
        let coverage = self.coverage(db).await?;
        for row in &coverage.tables {
            match &row.state {
                State::Stale { .. } => {
                    tracing::warn!(waiver = row.table, "a waiver is about nothing; remove it")
                }
                State::Missing => tracing::warn!(table = row.table, "an audited entity has no table here"),
                _ => {}
            }
        }
        if coverage.is_complete() { Ok(coverage) } else { Err(to_db_err(Error::Coverage(coverage.demand()))) }
    }
}

impl Coverage {
    /// Whether nothing can be written unrecorded except what is waived: there are no [gaps](Self::gaps).
    pub fn is_complete(&self) -> bool {
        self.gaps().next().is_none()
    }

    /// The tables that are neither audited nor waived, those with columns or actions that are neither, tables that the audit
    /// itself needs, those of its records that can be changed, and names in the configuration that are nobody's. A waiver about nothing and an entity without a table
    /// leave nothing unrecorded: they are in the report, but no gaps.
    pub fn gaps(&self) -> impl Iterator<Item = &TableCoverage> {
        self.tables.iter().filter(|row| row.is_gap())
    }

    /// Each gap and what to do about it.
    fn demand(&self) -> String {
        let mut text = String::new();
        let mut part = |rows: Vec<&TableCoverage>, headline: &dyn Fn(usize) -> String| {
            if rows.is_empty() {
                return;
            }
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&headline(rows.len()));
            for row in rows {
                for what_to_do in row.demands() {
                    let hint = self.misspelt(row).unwrap_or_default();
                    text.push_str(&format!("\n- {}: {what_to_do}{hint}", row.table));
                }
            }
        };
        part(self.gaps().filter(|row| row.kind() == Gap::Own).collect(), &|rows| {
            let are = if rows == 1 { "audit table is" } else { "audit tables are" };
            format!(
                "{rows} {are} missing or not up to date; run the migrations (`audit_migration::Migrator::up`):"
            )
        });
        part(self.gaps().filter(|row| row.kind() == Gap::Guard).collect(), &|rows| {
            format!("{} of records can be changed by whoever may write to the database:", counted(rows))
        });
        part(self.gaps().filter(|row| row.kind() == Gap::Table).collect(), &|rows| {
            format!("the audit doesn't cover {}:", counted(rows))
        });
        part(self.gaps().filter(|row| row.kind() == Gap::Name).collect(), &|rows| {
            let names = if rows == 1 { "name" } else { "names" };
            format!("the settings have {rows} {names} of nothing that there is:")
        });
        text
    }

    /// Where a name that means nothing and a table that nobody names resemble each other: which is meant by which.
    fn misspelt(&self, row: &TableCoverage) -> Option<String> {
        let names = |is: fn(&TableCoverage) -> bool| {
            self.tables.iter().filter(move |row| is(row)).map(|row| row.table.as_str()).collect::<Vec<_>>()
        };
        match row.state {
            State::Unmatched { .. } => {
                let mut known =
                    names(|row| matches!(row.state, State::Uncovered { .. } | State::Audited { .. }));
                known.extend(self.tables.iter().filter_map(|row| match &row.state {
                    State::Audited { resource } => Some(resource.as_str()),
                    _ => None,
                }));
                let meant = closest_name(&row.table, &known)?;
                Some(format!("; did you mean `{meant}`?"))
            }
            State::Uncovered { .. } => {
                let stale = names(|row| matches!(row.state, State::Stale { .. }) && row.entity.is_none());
                let uncovered = names(|row| matches!(row.state, State::Uncovered { .. }));
                let named =
                    stale.into_iter().find(|name| closest_name(name, &uncovered) == Some(&row.table))?;
                Some(format!("; a waiver names `{named}`, which isn't there: did you mean `{}`?", row.table))
            }
            _ => None,
        }
    }
}

impl TableCoverage {
    /// Whether something can be written here that is neither recorded nor waived.
    pub fn is_gap(&self) -> bool {
        matches!(
            self.state,
            State::Uncovered { .. }
                | State::Unmigrated { .. }
                | State::Unguarded { .. }
                | State::Unmatched { .. }
        ) || !self.unknown_columns.is_empty()
            || !self.unrecorded_actions.is_empty()
    }

    fn kind(&self) -> Gap {
        match self.state {
            State::Unmigrated { .. } => Gap::Own,
            State::Unguarded { .. } => Gap::Guard,
            State::Unmatched { .. } => Gap::Name,
            _ => Gap::Table,
        }
    }

    /// What to do about it.
    fn demands(&self) -> Vec<String> {
        let table = &self.table;
        let mut demands = Vec::new();
        match (&self.state, &self.entity) {
            (State::Uncovered { cause }, Some(entity)) => demands.push(format!(
                "{cause}; audit `{entity}` (`#[derive(Auditable)]` and `#[audited]`, or `AuditBuilder::register`), or say why not: `#[audit(skip, reason = \"..\")]` or `AuditBuilder::waive(\"{table}\", \"..\")`"
            )),
            (State::Uncovered { cause }, None) => demands.push(format!(
                "{cause}; derive `Auditable` on its entity, register the entity by `AuditBuilder::register`, or say why not: `AuditBuilder::waive(\"{table}\", \"..\")`"
            )),
            (State::Unmigrated { cause }, _) => demands.push(format!(
                "{cause}, and the audit writes to it"
            )),
            (State::Unguarded { missing }, _) => demands.push(format!(
                "{} missing or switched off; find out why, create them again as the migration does (`guard.sql` of `audit-migration`), or say why not: `AuditBuilder::waive(\"{table}\", \"..\")`",
                triggers(missing)
            )),
            (State::Unmatched { setting }, _) => demands.push(format!(
                "the setting `{setting}` names it, and no entity's resource or table is called so; correct the name, or, if it is a resource of operations that are recorded by hand, say so: `AuditBuilder::waive(\"{table}\", \"..\")`"
            )),
            _ => {}
        }
        if let Some(column) = self.unknown_columns.first() {
            demands.push(format!(
                "its entity doesn't know {}; add what is missing to the entity, or say why not, column by column: `AuditBuilder::waive(\"{table}.{column}\", \"..\")`",
                list(&self.unknown_columns)
            ));
        }
        for action in &self.unrecorded_actions {
            demands.push(format!(
                "`{action}` isn't recorded, because attributes or `skip_actions` leave it out; record it, or say why not: `AuditBuilder::waive(\"{table}:{action}\", \"..\")`"
            ));
        }
        demands
    }

    fn new(table: String, entity: Option<&Known>, state: State) -> Self {
        Self {
            table,
            entity: entity.map(|known| known.entity.to_owned()),
            state,
            unknown_columns: Vec::new(),
            unrecorded_actions: Vec::new(),
            waived_actions: BTreeMap::new(),
            hooks: false,
        }
    }

    fn remarks(&self) -> String {
        let mut remarks = match &self.state {
            State::Audited { resource } => format!("audited as {resource}"),
            State::Waived { reason } => format!("waived: {reason}"),
            State::Uncovered { cause } => format!("NOT COVERED: {cause}"),
            State::Missing => "to be audited, but there is no such table".to_owned(),
            State::Unmigrated { cause } => format!("NOT THERE: {cause}"),
            State::Unguarded { missing } => {
                format!("NOT GUARDED: {} missing or switched off", triggers(missing))
            }
            State::Unmatched { setting } => format!("UNKNOWN NAME in `{setting}`"),
            State::Stale { reason } => format!("waived, but there is no such thing: {reason}"),
        };
        if !self.unknown_columns.is_empty() {
            remarks.push_str(&format!("; NOT COVERED: {}", list(&self.unknown_columns)));
        }
        if !self.unrecorded_actions.is_empty() {
            remarks.push_str(&format!("; NOT COVERED: {}", self.unrecorded_actions.join(", ")));
        }
        for (action, reason) in &self.waived_actions {
            remarks.push_str(&format!("; without {action}: {reason}"));
        }
        if matches!(self.state, State::Audited { .. }) && !self.hooks {
            remarks.push_str("; not by hooks");
        }
        remarks
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entity = |row: &TableCoverage| row.entity.clone().unwrap_or_else(|| "-".to_owned());
        let width = |text: &dyn Fn(&TableCoverage) -> usize| self.tables.iter().map(text).max().unwrap_or(0);
        let table_width = width(&|row| row.table.chars().count());
        let entity_width = width(&|row| entity(row).chars().count());
        for row in &self.tables {
            writeln!(f, "{:table_width$}  {:entity_width$}  {}", row.table, entity(row), row.remarks())?;
        }
        let number = |kind| self.gaps().filter(|row| row.kind() == kind).count();
        let (own, guards, tables, names) =
            (number(Gap::Own), number(Gap::Guard), number(Gap::Table), number(Gap::Name));
        let parts = [
            (own, format!("{own} of the audit's own missing or not up to date")),
            (guards, format!("{guards} of the audit's own not guarded")),
            (tables, format!("{} not covered", counted(tables))),
            (names, format!("{names} unknown in the settings")),
        ];
        let parts: Vec<String> =
            parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, part)| part).collect();
        if parts.is_empty() {
            return f.write_str("complete: every table is audited or waived");
        }
        f.write_str(&parts.join("; "))
    }
}

/// What a gap is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// A table of the audit.
    Own,
    /// A table of the audit that can be changed.
    Guard,
    /// A table of the program.
    Table,
    /// A name in the settings.
    Name,
}

fn counted(tables: usize) -> String {
    format!("{tables} {}", if tables == 1 { "table" } else { "tables" })
}

/// The making of the report.
struct Report<'a> {
    audit: &'a Audit,
    known: &'a [Known],
    tables: &'a Tables,
    guards: &'a Guards,
}

impl Report<'_> {
    fn coverage(&self) -> Coverage {
        let mut rows = Vec::new();
        for table in self.tables.iter() {
            let ours = table.name.starts_with(OWN) || table.name == MIGRATIONS;
            if !ours || self.entities_of(table).next().is_some() {
                rows.push(self.of_table(table));
            }
        }
        let mut seen = BTreeSet::new();
        for known in self.known.iter().filter(|known| self.tables.find(&known.table).is_none()) {
            let state = match &known.fate {
                Fate::Audited | Fate::Invalid(_) => State::Missing,
                Fate::Waived(reason) => State::Stale { reason: reason.clone() },
                Fate::LeftOut(_) => continue,
            };
            if seen.insert(&known.table) {
                rows.push(TableCoverage::new(known.table.clone(), Some(known), state));
            }
        }
        rows.extend(self.unmigrated());
        let waivers = self.audit.registry().waivers();
        let unmatched = self.audit.registry().unmatched();
        for (setting, name) in unmatched.iter().filter(|(_, name)| !waivers.contains_key(name)) {
            rows.push(TableCoverage::new(name.clone(), None, State::Unmatched { setting }));
        }
        let is_known = |name: &String| unmatched.iter().any(|(_, unmatched)| unmatched == name);
        for (name, reason) in waivers {
            if !is_known(name) && !seen.contains(name) && !self.is_about_something(name) {
                let state = State::Stale { reason: reason.clone() };
                rows.push(TableCoverage::new(name.clone(), None, state));
            }
        }
        rows.sort_by(|a, b| {
            let stale = |row: &TableCoverage| matches!(row.state, State::Stale { .. });
            (stale(a), &a.table).cmp(&(stale(b), &b.table))
        });
        Coverage { tables: rows }
    }

    /// The audit's own tables that aren't as it needs them.
    fn unmigrated(&self) -> Vec<TableCoverage> {
        if self.audit.sink().is_some() {
            return Vec::new();
        }
        let needed = entity::needed().into_iter().filter_map(|(name, columns)| {
            let state = match self.tables.find(name) {
                None => State::Unmigrated { cause: "there is no such table".to_owned() },
                Some(table) => {
                    let is_there =
                        |column: &String| table.columns.iter().any(|c| self.tables.same_column(c, column));
                    let missing: Vec<String> = columns.into_iter().filter(|c| !is_there(c)).collect();
                    if missing.is_empty() {
                        self.unguarded(name)?
                    } else {
                        State::Unmigrated { cause: format!("it doesn't have {}", list(&missing)) }
                    }
                }
            };
            Some(TableCoverage::new(name.to_owned(), None, state))
        });
        needed.collect()
    }

    fn unguarded(&self, table: &str) -> Option<State> {
        let missing = self.guards.missing(table);
        let waived = self.audit.registry().waivers().contains_key(table);
        (!missing.is_empty() && !waived).then_some(State::Unguarded { missing })
    }

    fn of_table(&self, table: &Table) -> TableCoverage {
        let mut row = match self.audited(table) {
            Some(audited) => self.of_audited(table, audited),
            None => {
                let entity = self.entities_of(table).min_by_key(|known| match known.fate {
                    Fate::Invalid(_) => 0,
                    Fate::Waived(_) => 1,
                    _ => 2,
                });
                TableCoverage::new(table.shown(), entity, self.state_of(table, entity))
            }
        };
        if !self.audit.config().enabled && matches!(row.state, State::Audited { .. }) {
            row.state =
                State::Uncovered { cause: "auditing is switched off by `enabled = false`".to_owned() };
        }
        row
    }

    fn of_audited(&self, table: &Table, audited: &Audited) -> TableCoverage {
        let policy = audited.policy();
        let entity = self.entities_of(table).find(|known| matches!(known.fate, Fate::Audited));
        let state = State::Audited { resource: policy.resource.clone() };
        let mut row = TableCoverage::new(table.shown(), entity, state);
        row.hooks = audited.is_hooked();
        let unknown = table.columns.iter().filter(|column| {
            let fields = policy.fields.iter();
            let waived = [&row.table, &policy.table, &policy.resource]
                .into_iter()
                .any(|table| self.audit.registry().waivers().contains_key(&format!("{table}.{column}")));
            !waived && !fields.map(|field| &field.column).any(|known| self.tables.same_column(known, column))
        });
        row.unknown_columns = unknown.cloned().collect();
        let Operations { create, update, delete, .. } = policy.operations;
        for (wanted, action) in [(create, action::CREATE), (update, action::UPDATE), (delete, action::DELETE)]
        {
            if wanted && !self.audit.skips(action) {
                continue;
            }
            let waivers = self.audit.registry().waivers();
            let names = [&row.table, &policy.table, &policy.resource, ALL].map(|of| format!("{of}:{action}"));
            match names.iter().find_map(|name| waivers.get(name)) {
                Some(reason) => _ = row.waived_actions.insert(action, reason.clone()),
                None => row.unrecorded_actions.push(action),
            }
        }
        row
    }

    /// The state of a table that isn't audited.
    fn state_of(&self, table: &Table, entity: Option<&Known>) -> State {
        let waivers = self.audit.registry().waivers();
        let full = format!("{}.{}", table.schema, table.name);
        let by_name = waivers
            .iter()
            .find(|(name, _)| **name == full || self.tables.find(name).is_some_and(|found| found == table));
        match (by_name, entity.map(|known| &known.fate)) {
            (Some((_, reason)), _) | (None, Some(Fate::Waived(reason))) => {
                State::Waived { reason: reason.clone() }
            }
            (None, Some(Fate::Invalid(error))) => State::Uncovered { cause: error.clone() },
            (None, Some(Fate::LeftOut(why))) => {
                State::Uncovered { cause: format!("its entity isn't audited: {why}") }
            }
            (None, _) => {
                State::Uncovered { cause: "no entity with this table is known to the audit".to_owned() }
            }
        }
    }

    fn audited(&self, table: &Table) -> Option<&Audited> {
        let tables = self.audit.registry().tables();
        let found =
            tables.iter().find(|(name, _)| self.tables.find(name).is_some_and(|found| found == table));
        found.and_then(|(_, audited)| audited.as_deref().ok())
    }

    /// The entities whose table it is.
    fn entities_of(&self, table: &Table) -> impl Iterator<Item = &Known> {
        self.known
            .iter()
            .filter(move |known| self.tables.find(&known.table).is_some_and(|found| found == table))
    }

    /// Whether a waiver's name is a table's, that of a resource with a table, an unknown column's or an action's of an audited
    /// table.
    fn is_about_something(&self, name: &str) -> bool {
        let of_resource = |name: &str| {
            let entities = self.known.iter().filter(|known| known.resource == name);
            entities.filter_map(|known| self.tables.find(&known.table)).next()
        };
        if self.tables.find(name).is_some() || of_resource(name).is_some() {
            return true;
        }
        if let Some((table, action)) = name.rsplit_once(':')
            && [action::CREATE, action::UPDATE, action::DELETE].contains(&action)
        {
            return table == ALL || self.tables.find(table).is_some() || of_resource(table).is_some();
        }
        let Some((table, column)) = name.rsplit_once('.') else { return false };
        let table = self.tables.find(table).or_else(|| of_resource(table));
        table.is_some_and(|table| table.columns.iter().any(|known| self.tables.same_column(known, column)))
    }
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("the column{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

fn triggers(names: &[String]) -> String {
    let (one, are) = if names.len() == 1 { ("", "is") } else { ("s", "are") };
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("the trigger{one} {} {are}", names.join(", "))
}
