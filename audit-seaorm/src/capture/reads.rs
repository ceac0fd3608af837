//! Reads: which of them are recorded, and how.

use std::sync::Arc;
use std::time::Instant;

use audit_core::{
    AuditContext, Error, FailurePolicy, FieldPolicy, Query, QueryEntry, QueryType, Record, ResourcePolicy,
    Sanitizer, Status, Value,
};
use sea_orm::{DbBackend, QueryResult};

use super::plan::target_of;
use super::render;
use super::sql::question::{Column, Filter, Operand, Question, Scalar, question};
use super::sql::{Parsed, TableName, What, Words};
use crate::Audit;
use crate::registry::Audited;
use crate::writer::Places;

/// What one statement reads and is to be recorded.
#[derive(Debug)]
pub(super) struct Reads {
    /// What it asks; `None` if only the database understands it.
    question: Option<Question>,
    read: Vec<Read>,
    /// All audited tables that it names, also the one that it writes, for the treatment of values.
    known: Vec<Known>,
}

/// An audited table by the name that a statement uses.
#[derive(Debug)]
struct Known {
    name: TableName,
    audited: Arc<Audited>,
    /// Whether it is the table itself, and no view, whose columns may be called anything.
    itself: bool,
}

impl Known {
    fn has_secrets(&self) -> bool {
        self.audited.policy.fields.iter().any(is_secret)
    }
}

fn is_secret(field: &FieldPolicy) -> bool {
    field.masked || !field.tracked
}

/// What is read of one table.
#[derive(Debug)]
struct Read {
    table: TableName,
    audited: Arc<Audited>,
    fields: Vec<String>,
}

impl Reads {
    /// What a statement of a text reads, or `None` if nothing of it is to be recorded. `all` are the tables that a copy of the
    /// whole database reads.
    pub(super) fn of(
        sql: &str,
        backend: DbBackend,
        parsed: &Parsed,
        audited: &dyn Fn(&TableName) -> Vec<Arc<Audited>>,
        all: &dyn Fn() -> Vec<TableName>,
    ) -> Option<Self> {
        let mut reads: Vec<TableName> = parsed.reads.clone();
        if copies_all(sql, backend, parsed) {
            reads = all();
        }
        if reads.is_empty() {
            reads = mentioned(sql, parsed);
        }
        let known = |name: &TableName| {
            let name = name.clone();
            audited(&name).into_iter().map(move |audited| {
                let table = audited.policy.table.rsplit('.').next().unwrap_or_default();
                let itself = table.eq_ignore_ascii_case(&name.name);
                Known { name: name.clone(), audited, itself }
            })
        };
        let mut all: Vec<Known> = reads.iter().flat_map(known).collect();
        let recorded = |known: &&Known| known.audited.policy.operations.read;
        if !all.iter().any(|known| recorded(&known)) {
            return None;
        }
        let question = question(sql, backend, parsed);
        let mut read: Vec<Read> = Vec::new();
        for Known { name, audited, .. } in all.iter().filter(recorded) {
            let fields = question.as_ref().map(|q| fields(&audited.policy, q, name)).unwrap_or_default();
            // A view and its table, say.
            match read.iter_mut().find(|read| Arc::ptr_eq(&read.audited, audited)) {
                Some(read) => {
                    let new: Vec<_> = fields.into_iter().filter(|f| !read.fields.contains(f)).collect();
                    read.fields.extend(new);
                }
                None => read.push(Read { table: name.clone(), audited: Arc::clone(audited), fields }),
            }
        }
        all.extend(target_of(parsed).into_iter().flat_map(known));
        let known = all;
        Some(Self { question, read, known })
    }

    /// The first resource that is read, for errors.
    pub(super) fn resource(&self) -> &str {
        self.read.first().map_or("", |read| &read.audited.policy.resource)
    }

    fn kind(&self) -> QueryType {
        self.question.as_ref().map_or(QueryType::Select, |question| question.kind)
    }
}

/// The names of the fields that a question reads of a table, in the order of the resource's.
fn fields(policy: &ResourcePolicy, question: &Question, table: &TableName) -> Vec<String> {
    let asked: Vec<_> = question.asked.iter().filter(|asked| asked.table == *table).collect();
    let is_read = |field: &&FieldPolicy| {
        asked
            .iter()
            .any(|asked| asked.all || asked.columns.iter().any(|c| c.eq_ignore_ascii_case(&field.column)))
    };
    policy.fields.iter().filter(is_read).map(|field| field.name.clone()).collect()
}

/// A read on its way, with the records that are made of it.
#[derive(Debug)]
pub(super) struct Reading {
    /// Empty once they have been sent.
    queries: Vec<QueryEntry>,
    kind: QueryType,
    begun: Instant,
    count: Option<i64>,
    status: Status,
    /// In force.
    audit: Audit,
    /// The connection's, whose writer is used if the other one has no database.
    own: Audit,
    /// For its records in the queue, if they had to be had before.
    places: Option<Places>,
}

impl Reading {
    /// Begins the records of a statement with these values.
    pub(super) fn begin(
        audit: Audit,
        own: &Audit,
        reads: &[Reads],
        context: &AuditContext,
        transaction: Option<&str>,
        values: &[sea_orm::Value],
    ) -> Self {
        let mut queries = Vec::with_capacity(reads.len());
        let now = audit.clock().now();
        for reads in reads {
            for read in &reads.read {
                let policy = &read.audited.policy;
                let mut query = Query::new(reads.kind(), &*policy.resource);
                query.fields.clone_from(&read.fields);
                query.filters = match &reads.question {
                    Some(question) => question.filter.as_ref().map(|filter| {
                        let show = Show { reads, read, sanitizer: audit.sanitizer(), values };
                        show.filter(filter, policy.max_value_bytes())
                    }),
                    None => Some(UNKNOWN.to_owned()),
                };
                let mut query = QueryEntry::new(now, query.with_policy(policy));
                query.transaction_id = transaction.map(str::to_owned);
                queries.push(query.with_context(context, audit.sanitizer()));
            }
        }
        // Of several statements in one text only the last one's rows are there to be counted.
        let kind = reads.last().map_or(QueryType::Select, Reads::kind);
        let own = own.clone();
        let (begun, status) = (Instant::now(), Status::Success);
        Self { queries, kind, begun, count: None, status, audit, own, places: None }
    }

    /// Takes places for its records now: for a statement that also writes, and would have been done in vain if they couldn't be
    /// taken afterwards.
    ///
    /// # Errors
    /// [`Error::Store`] if there are none, unless the policy is best effort.
    pub(super) async fn reserve(&mut self) -> Result<(), Error> {
        if self.audit.sink().is_some() || self.is_lossy() {
            return Ok(());
        }
        let resource = self.queries.first().map_or("", |query| &query.what.resource_type);
        let places = self.audit.writer_or(&self.own).reserve(self.queries.len(), resource).await;
        match places {
            Ok(places) => self.places = Some(places),
            Err(error) => {
                // Nothing of it is recorded: it doesn't happen.
                self.queries.clear();
                return Err(error);
            }
        }
        self.begun = Instant::now();
        Ok(())
    }

    fn is_lossy(&self) -> bool {
        self.audit.config().on_failure == FailurePolicy::BestEffort
    }

    /// Rows can be counted; there was none so far.
    pub(super) fn seen_none(&mut self) {
        self.count = Some(0);
    }

    /// A row has come.
    pub(super) fn seen(&mut self, row: &QueryResult) {
        let told = match self.kind {
            QueryType::Count => row.try_get_by_index::<i64>(0).ok(),
            QueryType::Exists => {
                let truth = row.try_get_by_index::<bool>(0).ok();
                truth
                    .map(i64::from)
                    .or_else(|| row.try_get_by_index::<i64>(0).ok().map(|n| i64::from(n != 0)))
            }
            _ => None,
        };
        self.count = Some(self.count.unwrap_or(0).saturating_add(told.unwrap_or(1)));
    }

    /// It failed, from here on.
    pub(super) fn failed(&mut self) {
        self.status = Status::Failed;
    }

    /// Records it.
    ///
    /// # Errors
    /// [`Error::Store`] if it can't be recorded, unless the policy is best effort.
    pub(super) async fn end(mut self) -> Result<(), Error> {
        let queries = self.complete();
        if let Some(places) = self.places.take() {
            places.fill(queries.into_iter().map(Record::from).collect()).await;
            return Ok(());
        }
        let lossy = self.is_lossy();
        let (audit, own) = (self.audit.clone(), self.own.clone());
        drop(self);
        let count = queries.len();
        match (record(&audit, &own, queries).await, lossy) {
            (Err(error), true) => {
                tracing::error!(%error, "records of reads are lost; the policy is best effort");
                own.writer().counters().lose(count);
                Ok(())
            }
            (result, _) => result,
        }
    }

    fn complete(&mut self) -> Vec<QueryEntry> {
        let duration = i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX);
        let mut queries = std::mem::take(&mut self.queries);
        for query in &mut queries {
            query.what.duration_us = duration;
            query.what.record_count = self.count;
            query.what.status = self.status;
            query.finish();
        }
        queries
    }
}

async fn record(audit: &Audit, own: &Audit, queries: Vec<QueryEntry>) -> Result<(), Error> {
    if let Some(sink) = audit.sink() {
        let records: Vec<_> = queries.into_iter().map(Record::from).collect();
        return sink.record_others(&records).await;
    }
    for query in queries {
        audit.writer_or(own).send(Record::from(query)).await?;
    }
    Ok(())
}

/// Dropped before its end: a stream that nobody read on, or a cancelled future. What was read was read.
impl Drop for Reading {
    fn drop(&mut self) {
        if self.queries.is_empty() {
            return;
        }
        if self.status == Status::Success {
            self.status = Status::Warning;
        }
        let queries = self.complete();
        if let Some(places) = self.places.take() {
            places.fill_now(queries.into_iter().map(Record::from).collect());
            return;
        }
        if self.audit.sink().is_none() {
            let writer = self.audit.writer_or(&self.own);
            queries.into_iter().for_each(|query| writer.send_now(Record::from(query)));
            return;
        }
        let (audit, own) = (self.audit.clone(), self.own.clone());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let task = runtime.spawn(async move {
                    if let Err(error) = record(&audit, &own, queries).await {
                        tracing::error!(%error, "the record of a read is lost");
                    }
                });
                self.audit.defer(task);
            }
            Err(_) => {
                tracing::error!("the record of a read is lost: its stream was dropped outside of a runtime")
            }
        }
    }
}

/// A condition that can't be shown.
const UNKNOWN: &str = r#"{"unknown":true}"#;

/// Shows conditions with the values that may be shown.
struct Show<'a> {
    reads: &'a Reads,
    read: &'a Read,
    sanitizer: &'a Sanitizer,
    values: &'a [sea_orm::Value],
}

/// SQLite's `VACUUM INTO`.
fn copies_all(sql: &str, backend: DbBackend, parsed: &Parsed) -> bool {
    backend == DbBackend::Sqlite && parsed.what == What::Upkeep && {
        let words = Words::of(sql.get(parsed.range.clone()).unwrap_or_default());
        words.found.contains("vacuum") && words.found.contains("into")
    }
}

/// Tables whose reads are recorded may be read by definitions that copy, and by statements with a query in them.
fn mentioned(sql: &str, parsed: &Parsed) -> Vec<TableName> {
    if matches!(parsed.what, What::Read | What::Insert(_) | What::Update(_) | What::Delete(_)) {
        return Vec::new();
    }
    let words = Words::of(sql.get(parsed.range.clone()).unwrap_or_default());
    let has = |word: &str| words.found.contains(word);
    if has("refresh") && has("materialized") {
        return words.found.into_iter().map(|name| TableName { schema: None, name }).collect();
    }
    let queries = has("select") || (has("as") && has("table"));
    if !queries || (has("view") && !has("materialized")) {
        return Vec::new();
    }
    words.found.into_iter().map(|name| TableName { schema: None, name }).collect()
}

impl Show<'_> {
    /// A condition as JSON; of one that is longer than `limit` bytes its length and digest.
    fn filter(&self, filter: &Filter, limit: usize) -> String {
        let mut out = String::with_capacity(64);
        self.write(filter, &mut out);
        if out.len() <= limit {
            return out;
        }
        Value::oversized(&out).to_json()
    }

    fn write(&self, filter: &Filter, out: &mut String) {
        match filter {
            Filter::All(members) => self.write_members("and", members, out),
            Filter::Any(members) => self.write_members("or", members, out),
            Filter::Not(inner) => {
                out.push_str(r#"{"not":"#);
                self.write(inner, out);
                out.push('}');
            }
            Filter::Compare { column, op, with } => {
                let unsure = matches!(with, Operand::Column(other) if !self.may_name(other));
                if !self.may_name(column) || unsure {
                    out.push_str(UNKNOWN);
                    return;
                }
                out.push_str(r#"{"field":"#);
                text(&self.name(column), out);
                out.push_str(r#","op":"#);
                text(op, out);
                match with {
                    Operand::Nothing => {}
                    Operand::One(value) => {
                        out.push_str(r#","value":"#);
                        self.value(column, value).write_json(out);
                    }
                    Operand::List(values) => {
                        let values = values.iter().map(|value| self.value(column, value));
                        out.push_str(r#","value":"#);
                        Value::List(values.collect()).write_json(out);
                    }
                    Operand::Column(other) => {
                        out.push_str(r#","other":"#);
                        text(&self.name(other), out);
                    }
                    Operand::Query(filter) => {
                        out.push_str(r#","query":"#);
                        match filter {
                            Some(filter) => self.write(filter, out),
                            None => out.push_str("{}"),
                        }
                    }
                }
                out.push('}');
            }
            Filter::Expression { text: expression, values, columns } => {
                if columns.is_empty() || !columns.iter().all(|column| self.may_name(column)) {
                    out.push_str(UNKNOWN);
                    return;
                }
                let shown = columns.iter().all(|column| self.may_show(column));
                let values = values.iter().map(|value| match shown {
                    true => self.clean(self.plain(value)),
                    false => Value::Masked,
                });
                out.push_str(r#"{"expression":"#);
                text(&self.sanitizer.sanitize_text(expression), out);
                out.push_str(r#","values":"#);
                Value::List(values.collect()).write_json(out);
                out.push('}');
            }
        }
    }

    fn write_members(&self, word: &str, members: &[Filter], out: &mut String) {
        out.push_str("{\"");
        out.push_str(word);
        out.push_str("\":[");
        for (at, member) in members.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            self.write(member, out);
        }
        out.push_str("]}");
    }

    /// The field that a name means for certain: of a table itself, and neither of a view or another query nor a name that the
    /// statement gives.
    fn field(&self, column: &Column) -> Option<(&ResourcePolicy, &FieldPolicy)> {
        if column.loose {
            return None;
        }
        let mut found: Option<(&ResourcePolicy, &FieldPolicy)> = None;
        for known in self.reads.known.iter().filter(|known| column.tables.contains(&known.name)) {
            let policy = &known.audited.policy;
            let field = policy.fields.iter().find(|f| f.column.eq_ignore_ascii_case(&column.name));
            match field {
                Some(_) if !known.itself => return None,
                // Of two that it may be, the secret one.
                Some(field) if found.is_none() || is_secret(field) => found = Some((policy, field)),
                _ => {}
            }
        }
        found
    }

    /// Whether the statement names a table with secrets. Then only what is certain is shown.
    fn is_guarded(&self) -> bool {
        self.reads.known.iter().any(Known::has_secrets)
    }

    /// Whether a name may be shown: SQLite takes a text in double quotes for one.
    fn may_name(&self, column: &Column) -> bool {
        self.field(column).is_some() || (!self.is_guarded() && !column.loose)
    }

    /// Whether a value that a column is compared with may be shown.
    fn may_show(&self, column: &Column) -> bool {
        match self.field(column) {
            Some((_, field)) => !is_secret(field),
            None => !self.is_guarded() && !self.sanitizer.is_sensitive_name(&column.name),
        }
    }

    /// The name of a column: the field's, with its resource if that is another one.
    fn name(&self, column: &Column) -> String {
        match (self.field(column), column.tables.as_slice()) {
            (Some((policy, field)), _) if policy.resource == self.read.audited.policy.resource => {
                field.name.clone()
            }
            (Some((policy, field)), _) => format!("{}.{}", policy.resource, field.name),
            (None, [table]) if *table != self.read.table => format!("{}.{}", table.name, column.name),
            _ => column.name.clone(),
        }
    }

    /// A value that a column is compared with, as the column's own values are recorded.
    fn value(&self, column: &Column, scalar: &Scalar) -> Value {
        if !self.may_show(column) {
            return Value::Masked;
        }
        match self.field(column) {
            Some((policy, field)) => policy.guard(field, self.plain(scalar)),
            None => self.clean(self.plain(scalar)),
        }
    }

    fn plain(&self, scalar: &Scalar) -> Value {
        match scalar {
            Scalar::Param(index) => self.values.get(*index).cloned().map_or(Value::Null, render::value),
            Scalar::Text(text) => Value::Text(text.clone()),
            Scalar::Number(number) => match number.parse() {
                Ok(int) => Value::Int(int),
                Err(_) => Value::Decimal(number.clone()),
            },
            Scalar::Bool(truth) => Value::Bool(*truth),
            Scalar::Null => Value::Null,
        }
    }

    fn clean(&self, value: Value) -> Value {
        match value {
            Value::Text(text) => Value::Text(self.sanitizer.sanitize_text(&text).into_owned()),
            Value::Json(document) => Value::Json(self.sanitizer.sanitize_json(document)),
            Value::List(items) => Value::List(items.into_iter().map(|item| self.clean(item)).collect()),
            other => other,
        }
    }
}

fn text(text: &str, out: &mut String) {
    Value::Text(text.to_owned()).write_json(out);
}
