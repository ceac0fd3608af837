//! Capture on SQLite: the database itself says what changed.
//!
//! Each connection gets TEMP triggers on the audited tables, which live in the connection and not in the database. They copy the
//! rows before and after each change into a TEMP table, whatever made the change: a bulk statement, an upsert, a foreign
//! key, another trigger. After the statement these images are read, compared by the derived code, and written as
//! entries. TEMP tables follow the transaction: a rolled-back change leaves no image.
//!
//! The triggers do nothing unless they are armed, and they are armed only between a captured statement's beginning and
//! its end: the same connection may serve code that isn't audited, or audited by hooks.

mod labels;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::prelude::Uuid;
use sea_orm::sea_query::{Alias, Expr, Query, SqliteQueryBuilder};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
    QueryResult, Statement,
};

use self::labels::{KEPT, Keeper, References};
use super::catalogue::Catalogue;
use super::images::{Image, entries, merged};
use super::plan::{Step, target_of};
use super::refusal::refused;
use super::request::{Answer, Ask, Request};
use super::sql::{Conflict, What};
use super::transaction::Unfinished;
use super::work::Work;
use crate::Registry;
use crate::entity::audit_log;
use crate::registry::Audited;

/// Reads the schema anew.
const ANEW: &str = "PRAGMA writable_schema = RESET";

/// Prefix of everything that lives in a connection.
const INSTALLED: &str =
    "SELECT name, type FROM sqlite_temp_master WHERE name GLOB 'audit_capture_*' ORDER BY type DESC";
const CREATE: i32 = 0;
const UPDATE: i32 = 1;
const DELETE: i32 = 2;

/// Images of one table, each with its place among all, and whether there are images of others.
type Images = (Vec<(i64, Image)>, bool);

/// What capture on SQLite knows of the audited tables.
#[derive(Debug)]
pub(super) struct Engine {
    tables: Vec<Table>,
    keepers: Vec<Keeper>,
    /// Tells this set of triggers from another one in the same connection.
    fingerprint: i64,
    /// The table of images.
    images: String,
    /// Arms the triggers, or fails if they aren't there or aren't for the schema as it is.
    arm_or_fail: String,
    /// Whether a schema was met that isn't the one that capture knows.
    outdated: AtomicBool,
}

#[derive(Debug)]
struct Table {
    audited: Arc<Audited>,
    /// Schema and name, as statements write them.
    name: (Option<String>, String),
    triggers: Vec<String>,
    /// Whether the table had triggers of the user's when ours were last installed.
    triggered: AtomicBool,
    references: References,
    /// Reads this table's images.
    read: String,
}

impl Engine {
    pub(super) fn new(registry: &Registry) -> Self {
        let audited = registry.tables().values().flatten();
        let mut references = 0;
        let tables: Vec<Table> = audited
            .enumerate()
            .map(|(index, audited)| {
                let table = Table::new(index, audited, References::new(audited, references));
                references += table.references.len();
                table
            })
            .collect();
        let keepers: Vec<Keeper> = tables.iter().flat_map(|table| table.references.keepers()).collect();
        let width = tables.iter().map(|table| table.audited.policy.fields.len()).max().unwrap_or(0);
        let mut columns: String = (0..width).map(|at| format!(", o{at}, n{at}")).collect();
        let labels = tables.iter().map(|table| table.references.len()).max().unwrap_or(0);
        columns.extend((0..labels).map(|at| format!(", lo{at}, ln{at}")));
        let mut hasher = DefaultHasher::new();
        ARMING.hash(&mut hasher);
        for table in &tables {
            table.triggers.hash(&mut hasher);
        }
        keepers.hash(&mut hasher);
        let fingerprint = hasher.finish().cast_signed();
        // A view with a trigger: what it changes doesn't count as rows that were affected, and it may raise an error.
        let arm_or_fail = format!("INSERT INTO temp.audit_capture_arm VALUES ({fingerprint})");
        Self {
            tables,
            keepers,
            fingerprint,
            arm_or_fail,
            outdated: AtomicBool::new(false),
            images: format!("CREATE TEMP TABLE audit_capture_image (n INTEGER PRIMARY KEY, t, op{columns})"),
        }
    }

    /// Runs a statement and records what it changed.
    pub(super) async fn run(
        &self,
        work: &Work<'_>,
        steps: &[Step],
        request: Request<'_>,
        ask: Ask,
    ) -> Result<Answer, DbErr> {
        // Else no trigger sees the rows that make room for others.
        let mut recursive = self.replaces(work.catalogue, steps)? && !recurses(work.db).await?;
        self.lock(work, steps).await;
        if recursive {
            work.db.execute_unprepared("PRAGMA recursive_triggers = 1").await?;
        }
        work.state.begin_write(&work.context);
        let mut done = self.armed(work, steps, &request, ask).await;
        if done.as_ref().is_err_and(|error| error.to_string().contains("audit_capture")) {
            // The connection is new to us, or the schema has changed. Nothing has been done.
            done = match self.prepare(work, steps, &mut recursive).await {
                Ok(()) => self.armed(work, steps, &request, ask).await,
                Err(error) => Err(error),
            };
        }
        if recursive {
            work.db.execute_unprepared("PRAGMA recursive_triggers = 0").await?;
        }
        match done {
            Ok((answer, read)) => {
                match read {
                    Some((images, others)) => self.write(work, steps, images, others).await?,
                    None => self.record(work, steps).await?,
                }
                work.state.end_write();
                Ok(answer)
            }
            Err(error) => {
                // The failed statement's images are gone with it; those of what it kept (OR FAIL), or of statements
                // before it in the same text, are not. If this fails as well, the transaction can't be committed.
                if work.alone || self.record(work, steps).await.is_ok() {
                    work.state.end_write();
                }
                Err(error)
            }
        }
    }

    /// Makes a connection ready, and finds out what another program has defined since capture looked last.
    async fn prepare(&self, work: &Work<'_>, steps: &[Step], recursive: &mut bool) -> Result<(), DbErr> {
        self.install(work.db).await?;
        if let Some(catalogue) = work.catalogue.renewed(work.db, work.registry).await? {
            self.outdated.store(true, Ordering::Release);
            if self.replaces(&catalogue, steps)? && !*recursive && !recurses(work.db).await? {
                work.db.execute_unprepared("PRAGMA recursive_triggers = 1").await?;
                *recursive = true;
            }
        }
        Ok(())
    }

    /// Arms the triggers and runs the statement in one call of the driver, each of which costs a change of threads;
    /// together with the reading of the images, where rows are wanted.
    ///
    /// If the connection isn't as it has to be, arming fails with an error that names it, and nothing else is done.
    async fn armed(
        &self,
        work: &Work<'_>,
        steps: &[Step],
        request: &Request<'_>,
        ask: Ask,
    ) -> Result<(Answer, Option<Images>), DbErr> {
        let backend = sea_orm::DbBackend::Sqlite;
        let text = match steps {
            [step] => request.sql().get(step.parsed.range.clone()).unwrap_or_default(),
            _ => request.sql(),
        };
        let mut sql = format!("{}; {text}", self.arm_or_fail);
        let prepared = |sql| Statement::from_sql_and_values(backend, sql, request.values().iter().cloned());
        if ask == Ask::Execute {
            let result = match request {
                Request::Prepared(_) => work.db.execute_raw(prepared(sql)).await?,
                Request::Unprepared(_) => work.db.execute_unprepared(&sql).await?,
            };
            return Ok((Answer::Executed(result), None));
        }
        // All rows, also where one is asked for: the driver would stop at the first, and triggers with it.
        let table = steps.first().and_then(|step| self.position(step)).and_then(|at| self.tables.get(at));
        let Some(table) = table else {
            return Ok((Answer::Rows(work.db.query_all_raw(prepared(sql)).await?), None));
        };
        sql.push_str("; ");
        sql.push_str(&table.read);
        let (mut rows, mut images, mut others) = (Vec::new(), Vec::new(), false);
        for row in work.db.query_all_raw(prepared(sql)).await? {
            match row.try_get::<i64>("", "audit_capture_others") {
                Ok(count) => {
                    others |= count > 0;
                    images.extend(table.image(&row)?);
                }
                Err(_) => rows.push(row),
            }
        }
        Ok((Answer::Rows(rows), Some((images, others))))
    }

    /// Whether rows may be deleted to make room for others.
    ///
    /// # Errors
    /// If the table has triggers of the user's, which then would run where they otherwise don't.
    fn replaces(&self, catalogue: &Catalogue, steps: &[Step]) -> Result<bool, DbErr> {
        let mut any = false;
        for step in steps {
            let conflict = match &step.parsed.what {
                What::Insert(insert) => &insert.conflict,
                What::Update(update) => &update.or,
                _ => &Conflict::None,
            };
            if let Some(name) = target_of(&step.parsed) {
                let [writes, replaces] = catalogue.triggers_write(&name.name);
                // A statement's conflict clause counts for what its triggers write.
                if replaces || (writes && *conflict == Conflict::Replace) {
                    return Err(refused(
                        &name.name,
                        "its triggers replace rows of audited tables; delete and insert them, or use ON CONFLICT .. DO UPDATE",
                    ));
                }
            }
            let Some(target) = step.target() else { continue };
            let facts = catalogue.table(target);
            if *conflict == Conflict::Replace || facts.is_some_and(|facts| facts.replaces) {
                if facts.is_some_and(|facts| facts.triggers) {
                    return Err(refused(
                        &target.policy.table,
                        "it replaces rows of a table with triggers; delete and insert them, or use ON CONFLICT .. DO UPDATE",
                    ));
                }
                any = true;
            }
        }
        Ok(any)
    }

    /// Records what a dropped future's statement has changed; false if that is not possible.
    pub(super) async fn complete(&self, work: &Work<'_>, left: &Unfinished) -> Result<bool, DbErr> {
        let written = match left.entries {
            None => 0,
            Some([first, last]) => {
                let ids: BTreeSet<Uuid> = [first, last].into();
                let wanted = ids.len() as u64;
                let found =
                    audit_log::Entity::find().filter(audit_log::Column::Id.is_in(ids)).count(work.db).await?;
                match found {
                    0 => 0,
                    found if found == wanted => found,
                    _ => return Ok(false),
                }
            }
        };
        if written > 0 {
            // Their future was dropped after the entries, before the images were cleared.
            work.db.execute_unprepared(CLEAR).await?;
        } else {
            // Those of its entries that are in the spool are made once more.
            work.state.tickets.cancel_from(left.tickets);
            self.record(work, &[]).await?;
        }
        Ok(true)
    }

    /// Whether what capture knows of the database has to be read again: another program has defined something since.
    pub(super) fn take_outdated(&self) -> bool {
        self.outdated.swap(false, Ordering::AcqRel)
    }

    /// Takes the write lock in a user's transaction.
    ///
    /// A deferred transaction must get it before it reads, as it would by the statement alone: later it would be
    /// refused if another writer came in between.
    async fn lock(&self, work: &Work<'_>, steps: &[Step]) {
        if work.alone || !work.state.first_write() {
            return;
        }
        // Which table it is doesn't matter, if it is there. If it isn't, what the statement itself meets is what counts.
        let target = steps.iter().find_map(|step| self.position(step)).and_then(|at| self.tables.get(at));
        let table = target.map_or_else(|| "audit_log".to_owned(), Table::quoted);
        _ = work.db.execute_unprepared(&format!("DELETE FROM {table} WHERE 0")).await;
    }

    /// Takes the write lock by whichever table is there.
    pub(super) async fn lock_any(&self, db: &DatabaseTransaction) {
        for table in self.tables.iter().map(Table::quoted).chain(["audit_log".to_owned()]) {
            let taken = db.execute_unprepared(&format!("DELETE FROM {table} WHERE 0")).await;
            if !taken.is_err_and(|error| error.to_string().contains("no such table")) {
                return;
            }
        }
    }

    /// Makes way for a definition: a trigger that names a column is in the way of dropping it, and SQLite would go by what the
    /// connection knew of the table before another one had changed it.
    pub(super) async fn make_way(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        db.execute_unprepared(ANEW).await?;
        self.uninstall(db).await
    }

    /// Takes the triggers away from a connection.
    ///
    /// If this connection looked at the schema while another one had dropped a table, it has forgotten that table's triggers, but
    /// not their rows: they could be neither dropped nor made again. So the schema is read anew before.
    pub(super) async fn uninstall(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        let mut script = format!("{ANEW};\n");
        let nothing = script.len();
        for row in db.query_all_raw(Statement::from_string(sea_orm::DbBackend::Sqlite, INSTALLED)).await? {
            let (name, kind): (String, String) = (row.try_get("", "name")?, row.try_get("", "type")?);
            _ = writeln!(script, "DROP {kind} IF EXISTS temp.{};", quote(&name));
        }
        if script.len() == nothing {
            return Ok(());
        }
        db.execute_unprepared(&script).await.map(|_| ())
    }

    async fn install(&self, db: &DatabaseTransaction) -> Result<(), DbErr> {
        self.uninstall(db).await?;
        let query = |sql: &str| Statement::from_string(sea_orm::DbBackend::Sqlite, sql);
        // What the triggers need comes before them, and that everything is there is said last: if the future is dropped, the driver stops
        // between two of these statements.
        let mut script = format!(
            "{}; CREATE TEMP TABLE audit_capture_state (armed, fingerprint, version); {ARMING};\n",
            self.images
        );
        if !self.keepers.is_empty() {
            _ = writeln!(script, "{KEPT};");
        }
        let mut present = BTreeSet::new();
        let tables =
            "SELECT lower(schema) AS schema, lower(name) AS name FROM pragma_table_list WHERE type = 'table'";
        for row in db.query_all_raw(query(tables)).await? {
            present.insert((row.try_get::<String>("", "schema")?, row.try_get::<String>("", "name")?));
        }
        let triggers = "SELECT lower(tbl_name) AS name FROM sqlite_schema WHERE type = 'trigger' UNION ALL \
            SELECT lower(tbl_name) FROM sqlite_temp_schema WHERE type = 'trigger' AND name NOT GLOB 'audit_capture_*'";
        let mut triggered = BTreeSet::new();
        for row in db.query_all_raw(query(triggers)).await? {
            triggered.insert(row.try_get::<String>("", "name")?);
        }
        for table in &self.tables {
            let schema = table.name.0.as_deref().unwrap_or("main");
            table.triggered.store(triggered.contains(&table.name.1.to_ascii_lowercase()), Ordering::Relaxed);
            if present.contains(&(schema.to_ascii_lowercase(), table.name.1.to_ascii_lowercase())) {
                for trigger in &table.triggers {
                    _ = writeln!(script, "{trigger};");
                }
            }
        }
        for Keeper { table: (schema, name), trigger } in &self.keepers {
            if present.contains(&(schema.to_ascii_lowercase(), name.to_ascii_lowercase())) {
                _ = writeln!(script, "{trigger};");
            }
        }
        _ = write!(
            script,
            "INSERT INTO temp.audit_capture_state SELECT 0, {}, schema_version FROM pragma_schema_version",
            self.fingerprint
        );
        db.execute_unprepared(&script).await.map(|_| ())
    }

    /// Reads the images and writes their entries.
    async fn record(&self, work: &Work<'_>, steps: &[Step]) -> Result<(), DbErr> {
        let mut images = Vec::new();
        let mut others = true;
        if let Some(table) = steps.first().and_then(|step| self.position(step)) {
            others = self.read(work.db, table, &mut images).await?;
        }
        self.write(work, steps, images, others).await
    }

    /// Writes the entries of images, after reading those of other tables than the statement's; clears and disarms.
    async fn write(
        &self,
        work: &Work<'_>,
        steps: &[Step],
        mut images: Vec<(i64, Image)>,
        others: bool,
    ) -> Result<(), DbErr> {
        if others {
            let known = steps.first().and_then(|step| self.position(step));
            let present = "SELECT DISTINCT t FROM temp.audit_capture_image";
            let rows =
                work.db.query_all_raw(Statement::from_string(sea_orm::DbBackend::Sqlite, present)).await?;
            for row in rows {
                let table = usize::try_from(row.try_get::<i64>("", "t")?).unwrap_or(usize::MAX);
                if Some(table) != known {
                    self.read(work.db, table, &mut images).await?;
                }
            }
        }
        images.sort_by_key(|(order, _)| *order);
        let mut images: Vec<Image> = images.into_iter().map(|(_, image)| image).collect();
        // Several statements in one text may change a row one after the other.
        if let [_] = steps {
            let triggered = self.tables.iter().filter(|table| table.triggered.load(Ordering::Relaxed));
            let triggered: Vec<_> = triggered.map(|table| Arc::as_ptr(&table.audited)).collect();
            if !triggered.is_empty() {
                images = merged(images, |audited| triggered.contains(&Arc::as_ptr(audited)));
            }
        }
        work.label(&mut images).await?;
        let entries = entries(work, &images);
        let end = if images.is_empty() { DISARM } else { CLEAR };
        drop(images);
        work.write_then(entries, end).await
    }

    /// Reads one table's images; whether there are images of others.
    async fn read(
        &self,
        db: &DatabaseTransaction,
        index: usize,
        images: &mut Vec<(i64, Image)>,
    ) -> Result<bool, DbErr> {
        let Some(table) = self.tables.get(index) else { return Ok(false) };
        let statement = Statement::from_string(sea_orm::DbBackend::Sqlite, table.read.as_str());
        let mut others = false;
        for row in db.query_all_raw(statement).await? {
            others |= row.try_get::<i64>("", "audit_capture_others")? > 0;
            if let Some(image) = table.image(&row)? {
                images.push(image);
            }
        }
        Ok(others)
    }

    fn position(&self, step: &Step) -> Option<usize> {
        let target = step.target()?;
        self.tables.iter().position(|table| Arc::ptr_eq(&table.audited, target))
    }
}

/// Whether the user has let triggers fire triggers.
async fn recurses(db: &DatabaseTransaction) -> Result<bool, DbErr> {
    let ask = Statement::from_string(sea_orm::DbBackend::Sqlite, "PRAGMA recursive_triggers");
    let row = db.query_one_raw(ask).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index::<i64>(0).map(|on| on != 0))
}

/// What `arm_or_fail` and `CLEAR` write to: the driver tells the result of each statement apart, and is waited for each time. (To delete
/// from a view, SQLite would first copy it into a table of its own.)
const ARMING: &str = "\
    CREATE TEMP VIEW audit_capture_arm AS SELECT fingerprint FROM audit_capture_state; \
    CREATE TEMP TRIGGER audit_capture_arming INSTEAD OF INSERT ON audit_capture_arm WHEN NEW.fingerprint IS NOT NULL BEGIN \
      SELECT RAISE(ABORT, 'audit_capture is for another schema') WHERE NOT EXISTS (SELECT 1 FROM audit_capture_state \
        WHERE fingerprint = NEW.fingerprint AND version = (SELECT schema_version FROM pragma_schema_version)); \
      UPDATE audit_capture_state SET armed = 1; \
    END; \
    CREATE TEMP TRIGGER audit_capture_clearing INSTEAD OF INSERT ON audit_capture_arm WHEN NEW.fingerprint IS NULL BEGIN \
      DELETE FROM audit_capture_image; \
      UPDATE audit_capture_state SET armed = 0; \
    END";
const DISARM: &str = "UPDATE temp.audit_capture_state SET armed = 0";
const CLEAR: &str = "INSERT INTO temp.audit_capture_arm VALUES (NULL)";

impl Table {
    fn new(index: usize, audited: &Arc<Audited>, references: References) -> Self {
        let policy = &audited.policy;
        let name = match policy.table.split_once('.') {
            Some((schema, table)) => (Some(schema.to_owned()), table.to_owned()),
            None => (None, policy.table.clone()),
        };
        let mut table = Self {
            audited: Arc::clone(audited),
            name,
            triggers: Vec::new(),
            triggered: AtomicBool::new(false),
            read: read_images(index, audited, &references),
            references,
        };
        let on = table.quoted();
        for (wanted, letter, event, op, old, new) in [
            (policy.operations.create, 'c', "INSERT", CREATE, false, true),
            (policy.operations.update, 'u', "UPDATE", UPDATE, true, true),
            (policy.operations.delete, 'd', "DELETE", DELETE, true, false),
        ] {
            if !wanted {
                continue;
            }
            let (mut columns, mut values) = table.references.read(audited, [old, new]);
            for (at, field) in policy.fields.iter().enumerate() {
                for (side, letter, there) in [("OLD", 'o', old), ("NEW", 'n', new)] {
                    if there {
                        _ = write!(columns, ", {letter}{at}");
                        _ = write!(values, ", {side}.{}", quote(&field.column));
                    }
                }
            }
            table.triggers.push(format!(
                "CREATE TEMP TRIGGER audit_capture_{letter}{index} AFTER {event} ON {on} \
                 WHEN (SELECT armed FROM temp.audit_capture_state) \
                 BEGIN INSERT INTO audit_capture_image (t, op{columns}) VALUES ({index}, {op}{values}); END"
            ));
        }
        table
    }

    fn quoted(&self) -> String {
        let schema = self.name.0.as_deref().unwrap_or("main");
        format!("{}.{}", quote(schema), quote(&self.name.1))
    }

    fn image(&self, row: &QueryResult) -> Result<Option<(i64, Image)>, DbErr> {
        let Some(op) = row.try_get::<Option<i32>>("", "audit_op")? else { return Ok(None) };
        let old = if op == CREATE { None } else { Some(self.audited.decode(row, "o.")?) };
        let new = if op == DELETE { None } else { Some(self.audited.decode(row, "n.")?) };
        let mut image = Image::new(&self.audited, old, new);
        image.labels = self.references.labels(&self.audited, row)?;
        Ok(Some((row.try_get("", "audit_n")?, image)))
    }
}

/// The images of one table, named as the entity's columns behind `o.` and `n.`; one row at least, which says whether
/// there are images of other tables.
fn read_images(index: usize, audited: &Audited, references: &References) -> String {
    let mut query = Query::select();
    let image = Alias::new("i");
    for (name, alias) in [("n", "audit_n"), ("op", "audit_op")] {
        query.expr_as(Expr::col((image.clone(), Alias::new(name))), Alias::new(alias));
    }
    let fields = &audited.policy.fields;
    for side in ["o", "n"] {
        let source = |column: &str| {
            let at = fields.iter().position(|field| field.column == column).unwrap_or(usize::MAX);
            Expr::col((image.clone(), Alias::new(format!("{side}{at}"))))
        };
        for (column, expr) in audited.select(&source) {
            query.expr_as(expr, Alias::new(format!("{side}.{column}")));
        }
    }
    query.expr_as(
        Expr::cust(format!("(SELECT count(*) FROM temp.audit_capture_image WHERE t <> {index})")),
        Alias::new("audit_capture_others"),
    );
    let (columns, labels) = (query.to_string(SqliteQueryBuilder), references.columns());
    // With a `+` before the column SQLite makes no index, which would be a copy of all images, for this one question.
    format!(
        "{columns}{labels} FROM temp.audit_capture_state s LEFT JOIN temp.audit_capture_image i ON +i.t = {index}"
    )
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
